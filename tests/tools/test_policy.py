"""The operator's policy: who must say yes, which tools and tokens are in reach, and where values may go."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types
import pytest

from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.tickets import Ticket
from runtype_mcp.tools import SPECS
from tests.confirmations import (
    ASKS,
    CASES,
    CONFIRM,
    CREATE_OPEN,
    DELETE,
    EXPOSE,
    GATED,
    REFUSED,
    REGENERATE,
    SECRET,
    SHOW_OPEN,
    SITE,
    TICKET,
    Case,
    bench,
    code_in,
    confirmed,
    decide_ticket,
    needs,
    prepare,
    put,
    went_ahead,
)
from tests.support import AGENT, ERAS, KEY, LEGACY, MODERN, Api, McpClient, accept, mcp_client, text_of
from tests.tools.checks import listed

pytestmark = pytest.mark.anyio

POLICIES = ("auto", "human", "flag", "deny")
YES = accept("Shop")


def state_dir() -> Path:
    """Where this test's servers keep their state."""
    return Path(os.environ["RUNTYPE_MCP_STATE_DIR"])


# Who must say yes.


def expected(policy: str, asks: bool) -> str:
    if policy == "human" and not asks:
        return TICKET
    if policy in ("auto", "human") and asks:
        return ASKS
    return REFUSED if policy == "deny" else CONFIRM


@pytest.mark.parametrize("asks", [True, False], ids=["asks", "cannot ask"])
@pytest.mark.parametrize("live", ["", *POLICIES])
@pytest.mark.parametrize("policy", POLICIES)
async def test_live_tokens_follow_their_own_policy_where_there_is_one(
    api: Api, policy: str, live: str, asks: bool
) -> None:
    async with bench(api, MODERN, policy, asks, RUNTYPE_MCP_APPROVAL_LIVE=live) as at:
        for environment, rung in (("live", live or policy), ("test", policy)):
            case = replace(DELETE, token={"environment": environment})
            assert await needs(at, case) == expected(rung, asks), environment


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("asks", [True, False], ids=["asks", "cannot ask"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_every_gated_call_follows_the_policy(api: Api, era: str, policy: str, asks: bool) -> None:
    async with bench(api, era, policy, asks) as at:
        for case in GATED:
            assert await needs(at, case) == expected(policy, asks), case.does


async def test_an_environment_that_nobody_knows_counts_as_live(api: Api) -> None:
    async with mcp_client(api, MODERN, RUNTYPE_MCP_APPROVAL="flag", RUNTYPE_MCP_APPROVAL_LIVE="deny") as model:
        arguments = prepare(api, DELETE)
        (record,) = api.store.newest_first()
        api.store.put(replace(record, token=record.token | {"environment": "staging"}))
        assert "Policy deny" in await model.text("delete_client_token", **confirmed(DELETE, arguments))
        assert not api.writes


async def test_deny_does_not_even_preview(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES, RUNTYPE_MCP_APPROVAL="deny") as model:
        for case in GATED:
            arguments = prepare(api, case)
            for given in (arguments, confirmed(case, arguments)):
                result = await model.call(case.tool, **given)
                assert result.is_error, case.does
                assert "Policy deny" in text_of(result)
                assert not api.writes
        assert not model.asked


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Env files are written below the working directory, which must not be this checkout."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


# Tickets.


async def ticketed(api: Api, model: McpClient, case: Case, arguments: dict[str, Any]) -> str:
    """The code that a call is refused with. Nothing was written."""
    before = len(api.writes)
    result = await model.call(case.tool, **arguments)
    assert result.is_error, text_of(result)
    assert len(api.writes) == before
    return code_in(text_of(result))


async def open_tickets() -> list[Ticket]:
    state = SqliteState(state_dir())
    try:
        return await state.open_tickets()
    finally:
        await state.aclose()


async def test_the_same_call_waits_under_the_same_code(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        for case in GATED:
            yes = confirmed(case, prepare(api, case))
            assert len({await ticketed(api, model, case, yes) for _ in range(3)}) == 1
        assert len(await open_tickets()) == len(GATED)


async def test_an_approved_call_goes_ahead_once(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        for case in (REGENERATE, SHOW_OPEN):
            yes = confirmed(case, prepare(api, case))
            code = await ticketed(api, model, case, yes)
            await decide_ticket(code)
            assert went_ahead(await model.call(case.tool, **yes))
            assert await ticketed(api, model, case, yes) != code
        assert not [ticket for ticket in await open_tickets() if ticket.code == code]


async def test_a_yes_for_one_account_is_none_for_another(api: Api, era: str) -> None:
    """Servers of one user share their tickets, and two accounts may hold a token that looks the same."""
    yes = confirmed(DELETE, prepare(api, DELETE))
    elsewhere = api.url.replace("127.0.0.1", "localhost")
    async with (
        mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model,
        mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human", RUNTYPE_API_KEY="rt_test_another") as other,
        mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human", RUNTYPE_BASE_URL=elsewhere) as third,
    ):
        code = await ticketed(api, model, DELETE, yes)
        await decide_ticket(code)
        codes = {code, await ticketed(api, other, DELETE, yes), await ticketed(api, third, DELETE, yes)}
        assert len(codes) == 3
        assert not api.writes
        assert went_ahead(await model.call(DELETE.tool, **yes))


async def test_a_yes_to_a_create_is_for_the_tokens_that_there_were(api: Api, era: str) -> None:
    yes = confirmed(CREATE_OPEN, prepare(api, CREATE_OPEN)) | {"allow_duplicate_name": True}
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        await decide_ticket(await ticketed(api, model, CREATE_OPEN, yes))
        put(api.store)
        assert not went_ahead(await model.call(CREATE_OPEN.tool, **yes))
    assert not api.writes


async def test_a_twin_that_appears_while_a_person_is_asked_stops_their_yes(api: Api) -> None:
    yes = confirmed(CREATE_OPEN, prepare(api, CREATE_OPEN)) | {"allow_duplicate_name": True}

    def answer(_: str) -> mcp_types.ElicitResult:
        put(api.store)
        return accept("Shop")

    async with mcp_client(api, LEGACY, answer) as model:
        assert "somebody else" in await model.text(CREATE_OPEN.tool, **yes)
    assert not api.writes


async def test_a_ticket_tells_a_person_what_it_is_for(api: Api) -> None:
    async with mcp_client(api, MODERN, RUNTYPE_MCP_APPROVAL="human") as model:
        arguments = prepare(api, DELETE)
        preview = (await model.call(DELETE.tool, **arguments)).structured_content
        assert preview is not None
        await ticketed(api, model, DELETE, confirmed(DELETE, arguments))
        (ticket,) = await open_tickets()
        assert (ticket.operation, ticket.subject_id) == ("delete_client_token", arguments["client_token"])
        assert (ticket.subject_name, ticket.environment, ticket.base_url) == ("Shop", "live", api.url)
        card = ticket.shown
        assert [effect["sentence"] for effect in card["effects"]] == preview["effects"]
        assert (card["token"], card["undo"]) == (preview["clientToken"], preview["undo"])
        assert (card["name"], card["verb"], card["changes"]) == ("Shop", "Delete", [])
        assert card["apiHost"] == api.url.removeprefix("http://")
        assert (card["code"], card["state"], card["decidedBy"]) == (ticket.code, "waiting", "")
        assert card["expires"] - card["created"] == 900


async def test_a_ticket_shows_before_and_after_of_what_changes_in_plain_lines_without_secrets(api: Api) -> None:
    async with mcp_client(api, MODERN, RUNTYPE_MCP_APPROVAL="human") as model:
        token = put(api.store, config={"a": f"{SECRET} {KEY}", "b": 1})
        change = {"allowed_origins": [SITE, "*"], "name": "Shop", "config": {"c\u202ed": ["x\n\x1b[1my", SECRET]}}
        await ticketed(api, model, EXPOSE, confirmed(EXPOSE, {"client_token": token, **change}))
        (ticket,) = await open_tickets()
        live, key = "rt_live_[redacted]", "rt_test_[redacted]"
        assert ticket.card["changes"] == [
            {"field": "allowedOrigins", "before": [SITE], "after": [SITE, "*"]},
            {"field": "config", "before": {"a": f"{live} {key}", "b": 1}, "after": {"cd": ["x y", live]}},
        ]


async def test_a_preview_or_a_wrong_name_leaves_no_ticket(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        arguments = prepare(api, DELETE)
        await model.call(DELETE.tool, **arguments)
        await model.call(DELETE.tool, **arguments, confirm=True)
        await model.call(DELETE.tool, **arguments, confirm=True, expected_name="Support")
        assert not await open_tickets()
        assert not api.writes


async def test_a_ticket_is_for_exactly_one_call(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        arguments = prepare(api, EXPOSE)
        other = {"client_token": put(api.store)}
        yes = confirmed(EXPOSE, arguments)
        code = await ticketed(api, model, EXPOSE, yes)
        await decide_ticket(code)
        for changed in (
            yes | {"allowed_origins": [SITE, "*", "native"]},
            yes | {"allowed_origins": ["*"]},
            yes | {"is_active": False},
            yes | {"name": "Renamed as well"},
            yes | other,
        ):
            assert await ticketed(api, model, EXPOSE, changed) != code
        assert await ticketed(api, model, DELETE, confirmed(DELETE, {"client_token": yes["client_token"]})) != code
        assert went_ahead(await model.call(EXPOSE.tool, **yes))
        assert len(api.writes) == 1


@pytest.mark.parametrize("change", [{"rateLimitPerMinute": 7}, {"name": "Renamed"}, {"tokenHint": "ffff"}], ids=str)
async def test_a_ticket_is_for_the_token_as_it_was(api: Api, era: str, change: dict[str, Any]) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        yes = confirmed(DELETE, prepare(api, DELETE))
        code = await ticketed(api, model, DELETE, yes)
        await decide_ticket(code)
        (record,) = api.store.newest_first()
        api.store.put(replace(record, token=record.token | change))
        assert "Somebody else changed" in await model.text(DELETE.tool, **yes)
        yes |= {"expected_name": change.get("name", "Shop")}
        assert await ticketed(api, model, DELETE, yes) != code


async def test_a_ticket_made_by_one_server_lets_the_same_call_through_on_another(api: Api, era: str) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        await decide_ticket(await ticketed(api, model, DELETE, yes))
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        assert went_ahead(await model.call(DELETE.tool, **yes))


async def test_a_ticket_expires_whether_it_waits_or_is_approved(api: Api, era: str, tmp_path: Path) -> None:
    time = [1_000_000.0]
    state = SqliteState(tmp_path / "clocked", now=lambda: time[0])
    async with mcp_client(api, era, None, state, RUNTYPE_MCP_APPROVAL="human") as model:
        yes = confirmed(DELETE, prepare(api, DELETE))
        first = await ticketed(api, model, DELETE, yes)
        time[0] += 901
        second = await ticketed(api, model, DELETE, yes)
        assert second != first
        await state.decide_ticket(second, approve=True, by="a person", decided_in="terminal")
        time[0] += 901
        assert await ticketed(api, model, DELETE, yes) not in (first, second)


async def test_a_denied_call_is_told_so_and_brings_no_new_code(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        yes = confirmed(DELETE, prepare(api, DELETE))
        await decide_ticket(await ticketed(api, model, DELETE, yes), approve=False)
        text = await model.text(DELETE.tool, **yes)
        assert "denied" in text
        assert "Do not call again" in text
        assert "runtype-mcp approve" not in text
        assert not api.writes


async def test_a_denial_holds_for_the_same_operation_on_the_token_with_another_field(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        yes = confirmed(EXPOSE, prepare(api, EXPOSE))
        code = await ticketed(api, model, EXPOSE, yes)
        await decide_ticket(code, approve=False)
        assert "denied" in await model.text(EXPOSE.tool, **yes, config={"theme": "dark"})
        await ticketed(api, model, DELETE, confirmed(DELETE, {"client_token": yes["client_token"]}))
        await decide_ticket(code)  # the person takes it back
        assert went_ahead(await model.call(EXPOSE.tool, **yes))


async def test_approvals_that_cannot_be_read_are_no_approvals(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        yes = confirmed(DELETE, prepare(api, DELETE))
        await decide_ticket(await ticketed(api, model, DELETE, yes))
        for file in state_dir().glob("state.db*"):
            file.write_bytes(b"{" * 5000)
        text = await model.text(DELETE.tool, **yes)
        assert "damaged" in text
        assert "should not" not in text, "it is an answer, not a crash"
        assert not api.writes


# Read-only, and a list of tools.

WRITING = [spec.name for spec in SPECS if spec.writes]
READING = [spec.name for spec in SPECS if not spec.writes]
EVERY = [spec.name for spec in SPECS]


async def offers(model: McpClient) -> list[str]:
    """The tools that a host offers its models."""
    listed = (await model.client.list_tools()).tools
    return [tool.name for tool in listed if "model" in (tool.meta or {}).get("ui", {}).get("visibility", ["model"])]


def a_call_of(tool: str) -> Case:
    """One that runs at once where nothing forbids it."""
    return next((case for case in CASES if case.tool == tool and case.group == "Neither"), None) or next(
        case for case in CASES if case.tool == tool
    )


async def test_read_only_writes_no_file_either(api: Api, era: str, tmp_path: Path) -> None:
    token = put(api.store)
    file = tmp_path / ".env"
    file.write_text("CHAT=ct_live_another\n")
    one = {"client_token": token, "env_file": ".env:CHAT"}
    async with mcp_client(api, era, RUNTYPE_MCP_READ_ONLY="true", RUNTYPE_MCP_FILES_ROOT=str(tmp_path)) as model:
        text = await model.text("get_client_token_value", **one, deliver="env_file")
        assert "RUNTYPE_MCP_READ_ONLY" in text
        compared = await model.call("get_client_token_value", **one, deliver="verify")
        assert not compared.is_error, text_of(compared)
    assert file.read_text() == "CHAT=ct_live_another\n"


async def test_read_only_hides_and_refuses_what_writes(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES, RUNTYPE_MCP_READ_ONLY="true") as model:
        assert await offers(model) == READING
        for case in CASES:
            arguments = confirmed(case, prepare(api, case)) if case in GATED else prepare(api, case)
            result = await model.call(case.tool, **arguments)
            if case.tool in WRITING:
                assert result.is_error
                assert "RUNTYPE_MCP_READ_ONLY" in text_of(result)
                assert not api.received
            assert not api.writes


@pytest.mark.parametrize(
    ("patterns", "offered"),
    [
        ("*", EVERY),
        ("list_*", ["list_client_tokens", "list_client_token_conversations", "list_agents_and_flows"]),
        ("list_client_tokens, get_client_token", ["list_client_tokens", "get_client_token"]),
        ("*,!*_value", [name for name in EVERY if not name.endswith("_value")]),
        ("!delete_*,!regenerate_*", [name for name in EVERY if not name.startswith(("delete_", "regenerate_"))]),
        ("!*,get_client_token", ["get_client_token"]),
    ],
)
async def test_tools_that_the_operator_leaves_out_are_hidden_and_refused(
    api: Api, era: str, patterns: str, offered: list[str]
) -> None:
    async with mcp_client(api, era, YES, RUNTYPE_MCP_TOOLS=patterns) as model:
        assert await offers(model) == offered
        for name in EVERY:
            case = a_call_of(name)
            result = await model.call(name, **prepare(api, case))
            if name not in offered:
                assert result.is_error
                assert "RUNTYPE_MCP_TOOLS" in text_of(result)
                assert name in text_of(result)
                assert not api.received
            else:
                assert "RUNTYPE_MCP_TOOLS" not in text_of(result)


# One environment alone.


def other_than(environment: str) -> str:
    return {"test": "live", "live": "test"}[environment]


@pytest.mark.parametrize("by", ["id", "name"])
@pytest.mark.parametrize("environment", ["test", "live"])
async def test_tokens_of_another_environment_are_out_of_reach(api: Api, era: str, environment: str, by: str) -> None:
    async with mcp_client(api, era, YES, RUNTYPE_MCP_ENVIRONMENT=environment) as model:
        for case in CASES:
            if case.token is None:
                continue
            outside = replace(case, token={**case.token, "environment": other_than(environment)})
            arguments = confirmed(case, prepare(api, outside)) if case in GATED else prepare(api, outside)
            if by == "name":
                arguments["client_token"] = "Shop"
            result = await model.call(case.tool, **arguments)
            assert result.is_error, case.does
            assert "RUNTYPE_MCP_ENVIRONMENT" in text_of(result)
            assert not api.writes
            assert not [path for _, path, _ in api.received if path.endswith(("/token", "/conversations"))]
        assert not model.asked


@pytest.mark.parametrize("environment", ["test", "live"])
async def test_a_lock_leaves_its_own_environment_in_reach(api: Api, environment: str) -> None:
    async with bench(api, MODERN, "flag", False, RUNTYPE_MCP_ENVIRONMENT=environment) as at:
        for case in GATED:
            inside = replace(
                case, token=case.token if case.token is None else {**case.token, "environment": environment}
            )
            if case.token is None:
                inside = replace(inside, arguments={**case.arguments, "environment": environment})
            assert await needs(at, inside) == CONFIRM


async def test_no_token_is_created_in_another_environment(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES, RUNTYPE_MCP_ENVIRONMENT="test") as model:
        arguments = {"name": "Shop", "allowed_origins": [SITE], "agent_ids": [AGENT]}
        result = await model.call("create_client_token", **arguments, environment="live")
        assert result.is_error
        assert "RUNTYPE_MCP_ENVIRONMENT" in text_of(result)
        assert not api.received
        assert went_ahead(await model.call("create_client_token", **arguments))
    async with mcp_client(api, era, YES, RUNTYPE_MCP_ENVIRONMENT="live") as model:
        # Nothing is widened silently: the default stays test, so a lock to live wants it said.
        result = await model.call("create_client_token", **arguments | {"name": "Another"})
        assert result.is_error
        assert len(api.writes) == 1


async def test_a_list_shows_one_environment_and_says_so(api: Api, era: str) -> None:
    for number in range(5):
        put(api.store, name=f"Live {number}")
    inside = [put(api.store, name=f"Test {number}", environment="test") for number in range(3)]
    async with mcp_client(api, era, RUNTYPE_MCP_ENVIRONMENT="test") as model:
        result = await model.call("list_client_tokens", limit=2)
        assert result.structured_content is not None
        assert (result.structured_content["total"], result.structured_content["nextOffset"]) == (3, 2)
        assert "locked" in result.structured_content["note"]
        rest = await model.call("list_client_tokens", limit=2, offset=2)
        assert rest.structured_content is not None
        shown = [*listed(result.structured_content), *listed(rest.structured_content)]
        assert {token["id"] for token in shown} == set(inside)
        none = await model.call("list_client_tokens", environment="live")
        assert none.structured_content is not None
        assert none.structured_content["rows"] == []
        audit = await model.call("audit_client_tokens")
        assert audit.structured_content is not None
        assert audit.structured_content["checked"] == 3
        assert "Live" not in text_of(result) + text_of(rest) + text_of(none) + text_of(audit)


async def test_a_name_that_another_environment_has_too_is_not_ambiguous_under_a_lock(api: Api, era: str) -> None:
    put(api.store)
    inside = put(api.store, environment="test")
    async with mcp_client(api, era, RUNTYPE_MCP_ENVIRONMENT="test") as model:
        result = await model.call("get_client_token", client_token="Shop")
        assert result.structured_content is not None, text_of(result)
        assert result.structured_content["clientToken"]["id"] == inside


# Values.

DELIVERING = ("create_client_token", "get_client_token_value", "regenerate_client_token")


async def test_with_values_in_files_alone_no_schema_offers_to_show_one(api: Api, era: str) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_SECRETS="file") as model:
        for tool in (await model.client.list_tools()).tools:
            if tool.name in DELIVERING:
                ways = tool.input_schema["properties"]["deliver"]["enum"]
                assert "show" not in ways
                assert "env_file" in ways
            else:
                assert "deliver" not in tool.input_schema["properties"]


async def test_with_values_in_files_alone_showing_one_is_refused(api: Api, era: str, tmp_path: Path) -> None:
    environ = {"RUNTYPE_MCP_SECRETS": "file", "RUNTYPE_MCP_FILES_ROOT": str(tmp_path)}
    async with mcp_client(api, era, YES, **environ) as model:
        for tool in DELIVERING:
            case = next(case for case in CASES if case.tool == tool)
            for more in ({"deliver": "show"}, {}):
                result = await model.call(tool, **confirmed(case, prepare(api, case)), **more)
                assert result.is_error, tool
                assert "Nothing was sent." in text_of(result)
                assert not api.received
        create = next(case for case in CASES if case.does == "Create a token for exact https sites")
        result = await model.call(create.tool, **prepare(api, create), env_file=".env:CHAT_TOKEN")
        assert went_ahead(result), text_of(result)
        assert result.structured_content is not None
        assert "value" not in result.structured_content
        (record,) = api.store.newest_first()
        assert record.value is not None
        assert record.value in (tmp_path / ".env").read_text()
        assert record.value not in result.model_dump_json()


# What is told.


def said(policy: str) -> str:
    return f"Policy {policy}:"


@pytest.mark.parametrize("mode", [LEGACY, "auto"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_the_instructions_tell_the_policy(api: Api, mode: str, policy: str) -> None:
    async with mcp_client(api, mode, RUNTYPE_MCP_APPROVAL=policy) as model:
        instructions = model.client.instructions
        assert instructions is not None
        assert said(policy) in instructions
        assert "://" not in instructions, "many hosts let no model read a resource"
        assert "live tokens" not in instructions
    async with mcp_client(api, mode, RUNTYPE_MCP_APPROVAL="auto", RUNTYPE_MCP_APPROVAL_LIVE=policy) as model:
        instructions = model.client.instructions
        assert instructions is not None
        assert instructions.count("Policy ") == (1 if policy == "auto" else 2)
        assert said(policy) in instructions


async def test_the_instructions_tell_what_is_out_of_reach(api: Api) -> None:
    async with mcp_client(api, "auto", RUNTYPE_MCP_ENVIRONMENT="test", RUNTYPE_MCP_READ_ONLY="1") as model:
        assert model.client.instructions is not None
        assert "test tokens" in model.client.instructions
        assert "ead-only" in model.client.instructions


async def resource(model: McpClient) -> str:
    (content,) = (await model.client.read_resource("runtype://policy")).contents
    assert isinstance(content, mcp_types.TextResourceContents)
    return content.text


async def test_the_resource_tells_every_part_of_the_policy(api: Api, era: str, tmp_path: Path) -> None:
    environ = {
        "RUNTYPE_MCP_APPROVAL": "flag",
        "RUNTYPE_MCP_APPROVAL_LIVE": "deny",
        "RUNTYPE_MCP_ENVIRONMENT": "live",
        "RUNTYPE_MCP_SECRETS": "file",
        "RUNTYPE_MCP_TOOLS": "!delete_*",
        "RUNTYPE_MCP_READ_ONLY": "true",
        "RUNTYPE_MCP_AUDIT": str(tmp_path / "audit.jsonl"),
    }
    async with mcp_client(api, era, None, **environ) as model:
        text = await resource(model)
        for fact in (
            api.url,
            "API key: RUNTYPE_API_KEY",
            said("flag"),
            said("deny"),
            "Only live tokens",
            "files alone",
            "RUNTYPE_MCP_READ_ONLY",
            "delete_client_token",
            "are recorded",
        ):
            assert fact in text
        assert "rt_test_support" not in text
    async with mcp_client(api, era) as model:
        text = await resource(model)
        assert said("auto") in text
        assert "not recorded" in text
        for absent in ("files alone", "tokens can be used", "READ_ONLY", "For live"):
            assert absent not in text


async def test_previews_and_refusals_tell_the_policy(api: Api, era: str) -> None:
    for policy in POLICIES:
        async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL=policy) as model:
            assert said(policy) in await model.text(DELETE.tool, **prepare(api, DELETE))
    async with mcp_client(api, era, RUNTYPE_MCP_APPROVAL="human") as model:
        assert said("human") in await model.text(DELETE.tool, **confirmed(DELETE, prepare(api, DELETE)))
