"""Writes `docs/confirmations.md`: what each call needs under each policy, found out by making the call.

    python -m tests.confirmations

The calls and tokens in here are also what the tests of the gate stand on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import mcp_types

from runtype_mcp.api.scoped_client import SCOPES
from runtype_mcp.sandbox.rules import created
from runtype_mcp.sandbox.seed import stamp, utc_now
from runtype_mcp.sandbox.store import Record, Store, digest, ulid
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.tools.pipeline import ERROR
from tests.console.desktop import Desktop, decide, desktop_in
from tests.support import AGENT, FLOW, MODERN, Api, McpClient, SwappableApp, accept, mcp_client, running, text_of
from tests.tools.people import Person, client_of

PAGE = Path(__file__).parents[1] / "docs" / "confirmations.md"

AGENT_2 = "agent_01jv0000000000000000000002"
FLOW_2 = "flow_01jv0000000000000000000002"
SITE, OTHER_SITE = "https://shop.example", "https://www.shop.example"
SECRET = "rt_live_" + "0a1b2c3d" * 4

DECLINE = mcp_types.ElicitResult(action="decline")

RUNS, CONFIRM, ASKS, PAGED = "runs", "confirm and name", "**asks a person**", "**page**"
TICKET, SECOND, REFUSED = "**ticket**", "**second person**", "refused"
Json = dict[str, Any]
Group = Literal["It can stop pages", "It can let more in", "Neither"]


@dataclass(frozen=True, slots=True)
class Case:
    """A call, and the token that it is about.

    `token`: what sets it apart from a live token for one agent and one site; None: the call names no token.
    """

    does: str
    group: Group
    tool: str
    arguments: Json
    token: Json | None = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What confirms the call."""
        return str(self.arguments.get("name", "Shop") if self.token is None else self.token.get("name", "Shop"))


def _update(does: str, group: Group, change: Json, **token: Any) -> Case:
    return Case(does, group, "update_client_token", change, token)


def _create(does: str, group: Group, **fields: Any) -> Case:
    plain = {"name": "Shop", "allowed_origins": [SITE], "agent_ids": [AGENT], "environment": "live"}
    return Case(does, group, "create_client_token", plain | fields, None)


DELETE = Case("Delete a token", "It can stop pages", "delete_client_token", {})
REGENERATE = Case("Replace a token's value (regenerate)", "It can stop pages", "regenerate_client_token", {})
DEACTIVATE = _update("Deactivate a token", "It can stop pages", {"is_active": False})
BREAK = _update(
    "Remove an allowed origin",
    "It can stop pages",
    {"allowed_origins": [SITE]},
    allowedOrigins=[SITE, OTHER_SITE],
)
EXPOSE = _update("Allow every website, `*`", "It can let more in", {"allowed_origins": [SITE, "*"]})
CREATE_OPEN = _create("Create a token for every website, `*`", "It can let more in", allowed_origins=["*"])
SHOW_OPEN = Case(
    "Show the value of a token for every website, `*`",
    "It can let more in",
    "get_client_token_value",
    {},
    {"allowedOrigins": ["*"]},
)
GATED = (DELETE, REGENERATE, BREAK, EXPOSE, DEACTIVATE, CREATE_OPEN, SHOW_OPEN)
"""One of each kind of call that is gated: what the tests of the gate go through."""

CASES: tuple[Case, ...] = (
    DELETE,
    REGENERATE,
    DEACTIVATE,
    BREAK,
    _update("Remove an agent", "It can stop pages", {"agent_ids": [AGENT]}, agentIds=[AGENT, AGENT_2]),
    _update("Remove a flow", "It can stop pages", {"flow_ids": [FLOW]}, flowIds=[FLOW, FLOW_2]),
    _update("Lower a limit", "It can stop pages", {"rate_limit_per_hour": 50}),
    _update(
        "Clear the default flow",
        "It can stop pages",
        {"clear": ["default_flow_id"]},
        flowIds=[FLOW],
        defaultFlowId=FLOW,
    ),
    _update("Let a live token follow a preview release", "It can stop pages", {"target_alias": "pr-482"}),
    _update("Stop following the release `live`", "It can stop pages", {"clear": ["target_alias"]}, targetAlias="live"),
    _update(
        "Pin a live token to another agent version",
        "It can stop pages",
        {"target_version_id": "agentver_2"},
        targetVersionId="agentver_1",
    ),
    _update(
        "Change a live token's default flow",
        "It can stop pages",
        {"default_flow_id": FLOW_2},
        flowIds=[FLOW, FLOW_2],
        defaultFlowId=FLOW,
    ),
    _create("Create a live token that follows a preview release", "It can stop pages", target_alias="pr-482"),
    EXPOSE,
    _update("Allow requests without an origin, `native`", "It can let more in", {"allowed_origins": [SITE, "native"]}),
    _update(
        "Allow every subdomain, `https://*.shop.example`",
        "It can let more in",
        {"allowed_origins": [SITE, "https://*.shop.example"]},
    ),
    _update(
        "Allow every site of a host that lets anybody in, `https://*.vercel.app`",
        "It can let more in",
        {"allowed_origins": [SITE, "https://*.vercel.app"]},
    ),
    _update(
        "Allow an app's own scheme on a live token, `capacitor://localhost`",
        "It can let more in",
        {"allowed_origins": [SITE, "capacitor://localhost"]},
    ),
    _update(
        "Allow an `http://` site on a live token",
        "It can let more in",
        {"allowed_origins": [SITE, "http://shop.example"]},
    ),
    _update(
        "Allow localhost on a live token", "It can let more in", {"allowed_origins": [SITE, "http://localhost:3000"]}
    ),
    _update("Add an agent", "It can let more in", {"agent_ids": [AGENT, AGENT_2]}),
    _update("Add a flow", "It can let more in", {"flow_ids": [FLOW]}),
    _update("Raise a limit", "It can let more in", {"rate_limit_per_hour": 500}),
    _update("Activate a token", "It can let more in", {"is_active": True}, isActive=False),
    _update("Put what looks like a secret into `config`", "It can let more in", {"config": {"key": SECRET}}),
    CREATE_OPEN,
    _create("Create one that allows `native`", "It can let more in", allowed_origins=[SITE, "native"]),
    _create("Create one for every subdomain", "It can let more in", allowed_origins=["https://*.shop.example"]),
    _create("Create a live one for an `http://` site", "It can let more in", allowed_origins=["http://shop.example"]),
    _create("Create a live one for localhost", "It can let more in", allowed_origins=["http://localhost:3000"]),
    _create("Create one with a secret in `config`", "It can let more in", config={"key": SECRET}),
    SHOW_OPEN,
    Case(
        "Show the value of a token that allows `native`",
        "It can let more in",
        "get_client_token_value",
        {},
        {"allowedOrigins": [SITE, "native"]},
    ),
    _create("Create a token for exact https sites", "Neither"),
    _create(
        "Create a test token for localhost", "Neither", environment="test", allowed_origins=["http://localhost:3000"]
    ),
    _update("Rename a token", "Neither", {"name": "Shop, new"}),
    _update("Allow one more exact https site", "Neither", {"allowed_origins": [SITE, OTHER_SITE]}),
    _update("Change texts and colours in `config`", "Neither", {"config": {"welcomeMessage": "Hello!"}}),
    _update("Let a token follow the release `live`", "Neither", {"target_alias": "live"}),
    Case("Show the value of a token for exact https sites", "Neither", "get_client_token_value", {}),
    Case(
        "Write the value of any token into an env file",
        "Neither",
        "get_client_token_value",
        {"deliver": "env_file", "env_file": ".env:RUNTYPE_CLIENT_TOKEN", "replace": True},
        {"allowedOrigins": ["*"]},
    ),
    Case("Read one token", "Neither", "get_client_token", {}),
    Case("List tokens", "Neither", "list_client_tokens", {}, None),
    Case("List a token's conversations", "Neither", "list_client_token_conversations", {}),
    Case("Audit all tokens", "Neither", "audit_client_tokens", {}, None),
    Case("List agents and flows", "Neither", "list_agents_and_flows", {}, None),
)

FORM, DESKTOP, NEITHER = "can ask", "cannot, on a desktop", "cannot, elsewhere"
COLUMNS: tuple[tuple[str, str], ...] = (
    *(("auto", how) for how in (FORM, DESKTOP, NEITHER)),
    *(("human", how) for how in (FORM, DESKTOP, NEITHER)),
    ("second-person", FORM),
    ("flag", FORM),
    ("deny", FORM),
)
"""A policy, and how a person can be asked: in a form of the client, else in a browser that the server can open, else
not at all. For `second-person`, `flag` and `deny` it is all the same."""
ANYHOW = ("second-person", "flag", "deny")
ASKER, COLLEAGUE = Person("Ana", "ana", SCOPES - {"approve"}), Person("Bob", "bob", frozenset({"approve"}))


def put(store: Store, **fields: Any) -> str:
    """Put a token into the sandbox, a live one for one agent and one site but for `fields`. Returns its id."""
    identity = fields.pop("id", None) or f"ct_{ulid(secrets.randbits(115))}"
    state = {"isActive": fields.pop("isActive", True)}
    body = {"name": "Shop", "allowedOrigins": [SITE], "agentIds": [AGENT], "environment": "live"} | fields
    now = stamp(utc_now())
    token = created(body) | state | {"id": identity, "createdAt": now, "updatedAt": now, "lastUsedAt": None}
    store.put(Record(token, None).with_value(hashlib.sha256(identity.encode()).hexdigest()[:32]))
    return str(identity)


@dataclass
class Bench:
    """A client under one policy, and a person who says what `says` says, or approves what a page shows.

    `colleague` is the client of another person who may approve, on a server for a team.
    """

    api: Api
    model: McpClient
    says: list[mcp_types.ElicitResult]
    desktop: Desktop | None = None
    colleague: McpClient | None = None


def prepare(api: Api, case: Case) -> Json:
    """Put the case's token there, new and alone. Returns the call's arguments, without confirmation."""
    for record in api.store.newest_first():
        api.store.delete(record.token["id"])
    api.received.clear()
    if case.token is None:
        return dict(case.arguments)
    return {"client_token": put(api.store, **case.token), **case.arguments}


def confirmed(case: Case, arguments: Json) -> Json:
    """The call with every confirmation that an argument can give."""
    return arguments | {"confirm": True} | ({} if case.token is None else {"expected_name": case.name})


def went_ahead(result: mcp_types.CallToolResult) -> bool:
    """Whether the call did what it is for; a preview and a refusal do not."""
    return not result.is_error and (result.structured_content or {}).get("status", "done") == "done"


def code_in(text: str) -> str:
    """The code of the ticket that a refusal speaks of."""
    found = re.search(r"runtype-mcp approve ([0-9A-Z]{4}-[0-9A-Z]{4})", text)
    assert found, text
    return found[1]


async def decide_ticket(code: str, *, approve: bool = True) -> None:
    """What a person does in a terminal."""
    state = SqliteState(Path(os.environ["RUNTYPE_MCP_STATE_DIR"]))
    try:
        await state.decide_ticket(code, approve=approve, by="a person", decided_in="terminal")
    finally:
        await state.aclose()


@asynccontextmanager
async def bench(
    api: Api, era: str, policy: str, asks: bool, desktop: Desktop | None = None, **environ: str
) -> AsyncIterator[Bench]:
    says = [DECLINE]
    answer = (lambda _: says[0]) if asks else None
    environ = {"RUNTYPE_MCP_APPROVAL": policy, "RUNTYPE_MCP_APPROVAL_WAIT": "0.1", **environ}
    if policy == "second-person":
        folder = Path(os.environ["RUNTYPE_MCP_STATE_DIR"])
        async with (
            client_of(ASKER, api, SqliteState(folder), era, answer, **environ) as model,
            client_of(COLLEAGUE, api, SqliteState(folder), era, **environ) as colleague,
        ):
            yield Bench(api, model, says, desktop, colleague)
        return
    async with mcp_client(api, era, answer, None, desktop is not None, **environ) as model:
        yield Bench(api, model, says, desktop)


async def needs(bench: Bench, case: Case) -> str:
    """What it takes for the call to go ahead, found out by trying, from the least to the most.

    Raises AssertionError where something is written before that, or where no word here fits.
    """
    arguments = prepare(bench.api, case)
    bench.model.asked.clear()
    writes = 0 if case.tool.startswith(("get_", "list_", "audit_")) else 1

    def done(result: mcp_types.CallToolResult) -> bool:
        assert len(bench.api.writes) == (writes if went_ahead(result) else 0), (case.does, text_of(result))
        return went_ahead(result)

    if done(await bench.model.call(case.tool, **arguments)):
        return RUNS
    yes = confirmed(case, arguments)
    bench.says[0] = DECLINE
    result = await bench.model.call(case.tool, **yes)
    if done(result):
        assert not bench.model.asked, case.does
        return CONFIRM
    if bench.model.asked:
        bench.says[0] = accept(case.name)
        assert done(await bench.model.call(case.tool, **yes)), case.does
        return ASKS
    if "A page is open" in text_of(result):
        assert bench.desktop is not None
        code = next(iter(re.findall(r"[0-9A-Z]{4}-[0-9A-Z]{4}", text_of(result))))
        await bench.desktop.in_open_page(lambda page: decide(page, "approve", case.name, code=code))
        assert done(await bench.model.call(case.tool, **yes)), case.does
        return PAGED
    if bench.colleague is not None:
        code = (result.meta or {})[ERROR]["approval"]
        said = await bench.colleague.call("decide_approval", approval=code, decision="approve", expected_name=case.name)
        assert not said.is_error, text_of(said)
        assert done(await bench.model.call(case.tool, **yes)), case.does
        return SECOND
    if "runtype-mcp approve" not in text_of(result):
        return REFUSED
    await decide_ticket(code_in(text_of(result)))
    assert done(await bench.model.call(case.tool, **yes)), case.does
    return TICKET


async def table(api: Api, era: str, root: Path) -> dict[str, list[str]]:
    """For each case, by what it does: what it needs, a word for each of `COLUMNS`."""
    rows: dict[str, list[str]] = {case.does: [] for case in CASES}
    for policy, how in COLUMNS:
        with TemporaryDirectory() as folder, desktop_in(Path(folder)) as desktop:
            asks, at_desk = how == FORM, desktop if how == DESKTOP else None
            async with bench(api, era, policy, asks, at_desk, RUNTYPE_MCP_FILES_ROOT=str(root)) as at:
                for case in CASES:
                    rows[case.does].append(await needs(at, case))
    return rows


async def effects(api: Api) -> dict[str, list[str]]:
    """For each gated case, by what it does: the sentences of its preview."""
    found: dict[str, list[str]] = {}
    async with bench(api, MODERN, "auto", asks=False) as at:
        for case in CASES:
            if case.group != "Neither":
                result = await at.model.call(case.tool, **prepare(api, case))
                found[case.does] = (result.structured_content or {})["effects"]
    return found


async def example(api: Api) -> str:
    """What a person is asked before a deletion."""
    async with bench(api, MODERN, "auto", asks=True) as at:
        # Always the same token, so that the page comes out the same.
        arguments = {"client_token": put(api.store, id=f"ct_{ulid(digest('example'))}")}
        await at.model.call(DELETE.tool, **confirmed(DELETE, arguments))
        return at.model.asked[0]


_INTRO = """\
<!-- Written by `python -m tests.confirmations`, which makes every call below under every policy. Do not edit. -->

# What it will never do without asking

A client token stands in the HTML of your pages. Delete it, or replace its value, and every chat that embeds it stops
immediately. Open it to every website, and anyone can spend your quota. An assistant that is wrong, in a hurry, or
talked into something by a visitor's message must not be able to do either on its own.

So the server looks at what a call *would do* to the token as it is now:

| a call that … | happens | these are |
| --- | --- | --- |
{groups}

People who are asked about everything stop reading, so harmless calls are not asked about.

## How a call gets its yes

1. **Preview.** Without `confirm`, the call changes nothing. It answers with the token, what would break or open up,
   what cannot be undone, and the exact call that would go ahead.
2. **Confirm and name.** With `confirm`, the call must also carry the token's present name as `expected_name`. A
   mixed-up id is refused, and the approval dialog of your assistant shows a name that you know. (A new token is named
   by its own `name`.)
3. **A person.** Where the client can show a form, you are asked in it, and type the token's name. Where it cannot, and
   the server runs on your desktop, a page in your browser asks the same. For example:

   > {question}

   Another name, no, or closing the form: nothing happens, and the assistant is told not to try again by itself. On the
   page, a mistyped name may be corrected, only *Deny* denies, and to close it decides nothing. The call waits for you
   (50 seconds, or `RUNTYPE_MCP_APPROVAL_WAIT`); after that, approve in your time and have the assistant repeat it. A
   yes is good for one call, once.
4. **A ticket.** Where neither can be shown and the policy wants a person, the call is refused with a code. Run
   `runtype-mcp approve CODE` in a terminal, and the same call goes ahead, once. A changed call, a changed token, or 15
   minutes, and the code is worth nothing. A no holds for the same operation on the same token, until it expires or you
   take it back.
5. **A second person.** On a server for a team, the policy may want somebody else than the one who asks, with the scope
   `client_tokens:approve`. The call waits, and names a code. A colleague decides it in their own assistant
   (`list_approvals`, `decide_approval`) or on the team's page, behind a sign-in. Whoever approves gives the token's
   name, and types it on the page, or where their client shows a form. Nobody decides what they asked for, whichever
   client they use, and no terminal, card or form of the one who asks counts.

In between, nothing may move: a token that somebody else has changed since the assistant, or you, last saw it is left
alone, and the difference is told. You are shown everything that a call would do; a call that would do more than fits
on a screen is refused.

How many of these steps a call takes is your choice: `RUNTYPE_MCP_APPROVAL`, and `RUNTYPE_MCP_APPROVAL_LIVE` for live
tokens alone. No call can change it.

"""

_WORTH = """
## What each step is worth

| step | stops | does not stop |
| --- | --- | --- |
| preview | an assistant that acts before it looks | one that confirms immediately |
| name | the wrong token | the wrong decision: an assistant can look the name up |
| person, in the client | an assistant on its own, whatever it was told | a client that answers for you; not reading |
| person, on a page | the same, with any client; other websites | an agent with a shell as your user; not reading |
| ticket | the same, with any client | an agent with a shell as your user: it can approve for itself |
| ticket, where the agent has no shell on the server's machine | that too | not reading |
| second person | one person or assistant alone, with any client | two of them; two identities of one; not reading |
| `deny` | every such call through this server | |

The last limit is the API key: whoever can read it needs no server to use it, so keep it where an agent's shell cannot
read it. And `auto` asks nobody where the client shows no forms and no browser can be opened: over SSH, in a container,
in CI, or with `RUNTYPE_MCP_PAGES=off`. Choose `human` there.

## Call by call

Every call above, tried under every policy. The first line is the policy; the second says whether the client can ask,
and where it cannot, whether the server can open your browser.

"""


def render(rows: Mapping[str, list[str]], sentences: Mapping[str, list[str]], question: str) -> str:
    """The page."""
    intro = _INTRO.format(question=question, groups=_groups())
    return "".join([intro, _in_short(rows), _WORTH, _call_by_call(rows), _told(sentences)])


def _groups() -> str:
    happens = ("only after a yes", "only after a yes", "immediately")
    says = ("could stop pages that work", "could let more in, or spend more", "does neither")
    lines = []
    for group, what, when in zip(get_args(Group), says, happens, strict=True):
        calls = "; ".join(case.does[0].lower() + case.does[1:] for case in CASES if case.group == group)
        lines.append(f"| {what} | {when} | {calls} |")
    return "\n".join(lines)


def _in_short(rows: Mapping[str, list[str]]) -> str:
    lines = [
        "| `RUNTYPE_MCP_APPROVAL` | your client | could stop pages, or let more in | any other call |",
        "| --- | --- | --- | --- |",
    ]
    for column, (policy, _) in enumerate(COLUMNS):
        gated, others = (
            " or ".join(dict.fromkeys(rows[case.does][column] for case in CASES if (case.group == "Neither") is other))
            for other in (False, True)
        )
        default = " (default)" if policy == "auto" else ""
        lines.append(f"| `{policy}`{default} | {_client(column)} | {gated} | {others} |")
    lines.append("")
    lines.append(
        f"*{RUNS}*: immediately. *{CONFIRM}*: once the call carries both. {ASKS}: that, and your yes in the client. "
        f"{PAGED}: that, and your yes on a page in your browser. "
        f"{TICKET}: that, and your yes in a terminal. {SECOND}: that, and the yes of somebody else who may approve. "
        f"*{REFUSED}*: never."
    )
    return "\n".join(lines) + "\n"


def _client(column: int) -> str:
    policy, how = COLUMNS[column]
    return "either" if policy in ANYHOW else how


def _call_by_call(rows: Mapping[str, list[str]]) -> str:
    lines = [
        "| | " + " | ".join(f"`{policy}`" for policy, _ in COLUMNS) + " |",
        "| --- " * (len(COLUMNS) + 1) + "|",
        "| | " + " | ".join(map(_client, range(len(COLUMNS)))) + " |",
    ]
    group = ""
    for case in CASES:
        if case.group != group:
            group = case.group
            lines.append(f"| **{group}** " + "| " * len(COLUMNS) + "|")
        lines.append(f"| {case.does} | " + " | ".join(rows[case.does]) + " |")
    return "\n".join(lines) + "\n"


def _told(sentences: Mapping[str, list[str]]) -> str:
    lines = [
        "",
        "## What you are told first",
        "",
        "The sentences of the preview, which the question and the ticket repeat.",
        "",
        "| call | what would happen |",
        "| --- | --- |",
        *(f"| {does} | {' '.join(said)} |" for does, said in sentences.items()),
    ]
    return "\n".join(lines) + "\n"


async def page(api: Api, root: Path) -> str:
    """The page, as the code behaves now."""
    return render(await table(api, MODERN, root), await effects(api), await example(api))


def main() -> None:
    with TemporaryDirectory() as folder:
        os.environ["RUNTYPE_MCP_STATE_DIR"] = str(Path(folder, "state"))
        stage = SwappableApp()
        with running(stage) as url:
            text = asyncio.run(page(Api(url, stage).install(), Path(folder)))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
