"""Approving from a terminal: `runtype-mcp approve` and `approvals`, on a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.commands.approve import approvals
from runtype_mcp.person import person
from runtype_mcp.results import compact
from runtype_mcp.sandbox.store import Record
from runtype_mcp.settings import Settings
from runtype_mcp.storage import audit_log
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.tickets import Ticket, TicketRequest
from tests.processes import TIMEOUT, Process, environment, on_terminal, run, started
from tests.support import KEY, Api

QUESTION = "Type the token's name to approve, deny to deny, or nothing to leave it undecided: "
CTRL_C = "Ctrl+C"
NOBODY = "No call waits under this code: it was mistyped, has expired, or is approved already."


@pytest.fixture
def shop(api: Api) -> Record:
    """A live token on every website, and the API that has it."""
    api.seeded()
    return next(record for record in api.store.newest_first() if record.token["allowedOrigins"] == ["*"])


def environ(api: Api) -> dict[str, str]:
    return {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url}


def ask(server: Process, tool: str, **arguments: Any) -> str:
    """Make a call that needs a person; the code that it brings."""
    text = server.text(tool, **arguments)
    found = re.search(r"`runtype-mcp approve ([0-9A-Z]{4}-[0-9A-Z]{4})`", text)
    assert found, text
    return found[1]


def kept(now: Callable[[], float] = time.time) -> SqliteState:
    return SqliteState(Path(os.environ["RUNTYPE_MCP_STATE_DIR"]), now=now)


def waiting(now: Callable[[], float] = time.time, digit: str = "0", **fields: Any) -> str:
    """The code of a ticket that a server would have left."""
    request: dict[str, Any] = {
        "digest": digit * 64,
        "scope": digit,
        "operation": "delete_client_token",
        "subject_id": "ct_1",
        "subject_name": "Shop",
        "environment": "live",
        "card": card(),
        "base_url": "https://api.runtype.com",
        "requested_by": "somebody",
    }
    return asyncio.run(kept(now).request_ticket(TicketRequest(**request | fields))).code


def card(text: str = "", **fields: Any) -> dict[str, Any]:
    """What a server shows of a call; `text` stands for whatever others wrote."""
    token = {"id": "ct_1", "name": "Shop", "environment": "live", "isActive": True, "lastUsedAt": "2026-11-01"}
    return {
        "token": token | {"allowedOrigins": [text or "https://shop.example"]},
        "effects": [{"sentence": f"{text}Every page that embeds this token stops working, for good."}],
        "changes": [],
        "note": text,
    } | fields


def found(code: str) -> Ticket:
    ticket = asyncio.run(kept().find_ticket(code))
    assert ticket is not None
    return ticket


def answer(code: str, *typed: str, **environ: str) -> tuple[int, str]:
    """Answer each question of `approve CODE` in its turn: the exit code, and what the terminal showed."""
    with on_terminal("approve", code, **environ) as terminal:
        for number, line in enumerate(typed, 1):
            while terminal.shown.count(QUESTION) < number:
                assert terminal.read(), terminal.shown
            terminal.press_ctrl_c() if line == CTRL_C else terminal.types(line)
        ended = terminal.ended()
    return ended, terminal.shown.replace("\r\n", "\n")


def test_a_person_approves_in_a_terminal_and_the_same_call_goes_ahead_once(
    api: Api, shop: Record, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    token = shop.token
    call = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
    with started(RUNTYPE_MCP_APPROVAL="human", RUNTYPE_MCP_AUDIT=str(log), **environ(api)) as server:
        server.hello()
        code = ask(server, "get_client_token_value", **call)
        assert code == ask(server, "get_client_token_value", **call)  # to ask again is the same request
        assert code in run("approvals").stdout
        ended, shown = answer(code.lower(), f"{token['name']}\n", **environ(api))
        assert ended == 0
        assert f"get_client_token_value: the live client token '{token['name']}' {token['id']}\n" in shown
        assert re.search(rf"\nAPI: {re.escape(api.url)}\n- .*value", shown)
        used = token["lastUsedAt"][:10]
        assert re.search(rf"\nNow: {token['id']} \(live, active, .*\*.*, last used {used} UTC\)\n", shown)
        assert re.search(r"\nApproved. The same call now goes ahead once, within 1[45] minutes.\n$", shown)
        assert not [path for _, path, _ in api.received if path.endswith("/token")]
        # Another call is not the approved one, and does not use the approval up.
        assert ask(server, "regenerate_client_token", **call) != code
        assert not api.writes
        assert server.call("get_client_token_value", **call)["structuredContent"]["value"] == shop.value
        assert ask(server, "get_client_token_value", **call) != code
    (done,) = [row for row in audit_log.rows(log) if row.outcome == "done"]
    assert (done.tool, done.approval) == ("get_client_token_value", f"ticket {code} (terminal)")


def test_a_terminal_shows_all_that_a_call_would_do(api: Api, shop: Record) -> None:
    """The caller chooses the order: what is cut off would be what they want to hide."""
    agents = [f"agent_01jv00000000000000000000{n}" for n in range(10, 40)]
    with started(RUNTYPE_MCP_APPROVAL="human", **environ(api)) as server:
        server.hello()
        change = {"client_token": shop.token["id"], "agent_ids": [*shop.token["agentIds"], *agents]}
        code = ask(server, "update_client_token", **change, confirm=True, expected_name=shop.token["name"])
        _, shown = answer(code, "deny\n", **environ(api))
        assert not [agent for agent in agents if agent not in shown]
        before, after = (compact(list_) for list_ in (shop.token["agentIds"], change["agent_ids"]))
        assert f" agentIds: {before} -> {after} " in " ".join(shown.split())
        new = {"name": "New", "allowed_origins": ["*"], "agent_ids": agents[:1]}
        code = ask(server, "create_client_token", **new, confirm=True)
        _, shown = answer(code, "deny\n", **environ(api))
        assert f"Allowed origins: *. Runs: {agents[0]}." in shown


def test_an_approval_counts_only_for_the_token_as_it_was(api: Api, shop: Record) -> None:
    token = shop.token
    call = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
    with started(RUNTYPE_MCP_APPROVAL="human", **environ(api)) as server:
        server.hello()
        code = ask(server, "delete_client_token", **call)
        assert answer(code, f"{token['name']}\n", **environ(api))[0] == 0
        api.store.put(Record(token | {"rateLimitPerHour": 1}, shop.value, shop.conversations))
        assert "changed" in server.text("delete_client_token", **call)
        # On the settings as they are now the call is another one.
        assert ask(server, "delete_client_token", **call) != code
    assert not api.writes


def test_a_denied_call_is_told_so_and_can_be_approved_after_all(api: Api, shop: Record) -> None:
    token = shop.token
    call = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
    with started(RUNTYPE_MCP_APPROVAL="human", **environ(api)) as server:
        server.hello()
        code = ask(server, "delete_client_token", **call)
        ended, shown = answer(code, "Deny\n", **environ(api))
        assert (ended, shown.endswith(f"Denied. To take that back: runtype-mcp approve {code}\n")) == (1, True)
        text = server.text("delete_client_token", **call)
        assert re.search(rf"A person denied this.* \({code}\)\..* Do not call again", text)
        assert not api.writes
        assert f"{code}  denied  delete_client_token: " in run("approvals").stdout
        ended, shown = answer(code, f"{token['name']}\n", **environ(api))
        assert ended == 0
        assert f"It was denied by {person()}. To approve it takes that back.\n" in shown
        assert server.call("delete_client_token", **call)["structuredContent"]["status"] == "done"


@pytest.mark.parametrize(
    ("typed", "says", "state"),
    [
        (["Shpo\n", "Shop\n"], "That is not the token's name. Try again.\n", "approved"),
        (["yes\n", "y\n", "sure\n"], "That is not the token's name.\nruntype-mcp: Nothing was decided.\n", "waiting"),
        (["\n"], "No answer. Nothing was decided.\n", "waiting"),
        (["\x04"], "No answer. Nothing was decided.\n", "waiting"),  # end of input
        ([CTRL_C], "", "waiting"),
    ],
    ids=["typo", "three wrong names", "empty line", "no line", "Ctrl+C"],
)
def test_only_the_name_approves_and_only_deny_denies(typed: list[str], says: str, state: str) -> None:
    code = waiting()
    ended, shown = answer(code, *typed)
    assert (ended == 0) is (state == "approved")
    assert says in shown
    assert "Traceback" not in shown
    assert found(code).state == state


def test_a_token_that_is_named_deny_is_denied() -> None:
    code = waiting(subject_name="deny")
    assert answer(code, "deny\n")[0] == 1
    assert found(code).state == "denied"


def test_without_a_terminal_that_is_read_and_typed_on_nothing_is_approved() -> None:
    code = waiting()
    done = run("approve", code, stdin="Shop\n")
    assert (done.returncode, done.stdout) == (1, "")
    needs = "runtype-mcp: approve needs a terminal: a person has to read and type. Nothing was approved.\n"
    assert done.stderr == needs
    # Input from a terminal alone would approve what nobody could read.
    master, slave = os.openpty()
    try:
        os.write(master, b"Shop\n")
        argv = [sys.executable, "-m", "runtype_mcp", "approve", code]
        unseen = subprocess.run(argv, stdin=slave, capture_output=True, timeout=TIMEOUT, env=environment(), check=False)
    finally:
        os.close(master)
        os.close(slave)
    assert (unseen.returncode, unseen.stdout, unseen.stderr.decode()) == (1, b"", needs)
    assert found(code).state == "waiting"


@pytest.mark.parametrize("code", ["0000-0000", "../../etc/passwd", "\x1b[31m", "expired", "approved"])
def test_a_code_that_no_call_waits_under_is_told_so(code: str) -> None:
    if code == "expired":
        code = waiting(now=lambda: time.time() - 901)
    if code == "approved":
        code = waiting()
        asyncio.run(kept().decide_ticket(code, approve=True, by="me", decided_in="terminal"))
    assert answer(code) == (1, f"runtype-mcp: {NOBODY}\n")


def test_who_decided_is_kept_also_of_a_user_without_a_name() -> None:
    code = waiting()
    answer(code, "Shop\n")
    assert found(code).decided_by == person()
    for failure in (KeyError, OSError):

        def nobody(failure: type[Exception] = failure) -> str:
            raise failure

        assert person(nobody) == "a user without a name"


def test_no_control_character_reaches_the_terminal(api: Api) -> None:
    """What others wrote neither moves the cursor, colours, adds a line nor turns text."""
    nasty = "\x1b[2J\x1b]0;owned\x07\r\n\u202eShop\u2066\x9b31m"
    fields = ("subject_name", "subject_id", "environment", "operation", "base_url")
    request: dict[str, Any] = dict.fromkeys(fields, nasty)
    changes = [{"field": nasty, "before": nasty, "after": [nasty]}]
    code = waiting(**request, card=card(nasty, changes=changes))
    asyncio.run(kept().decide_ticket(code, approve=False, by=nasty, decided_in="terminal"))
    listed = run("approvals").stdout
    ended, shown = answer(code, "Shop\n", **environ(api))
    assert (ended, len(listed.splitlines())) == (0, 2)
    for text in (listed, shown):
        assert "Shop" in text
        assert text.replace("\n", "").isprintable()


def test_approvals_lists_what_is_open_with_its_state_and_its_time() -> None:
    waiting(now=lambda: time.time() - 901, digit="4")
    first = waiting(now=lambda: time.time() - 630, digit="1", subject_name="First")
    second = waiting(digit="2", operation="create_client_token", subject_id="", subject_name="Crêpes 🥐")
    asyncio.run(kept().decide_ticket(second, approve=False, by="me", decided_in="terminal"))
    done = run("approvals", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    _, one, two = done.stdout.splitlines()
    assert re.fullmatch(f"{first}  waiting  delete_client_token: the live client token 'First' ct_1 +[34]", one)
    what = "create_client_token: the live client token 'Cr.pes .'"
    assert re.fullmatch(f"{second}  denied   {what} +1[45]", two)


def test_approvals_prints_json_for_programs() -> None:
    code = waiting(subject_name="Crêpes 🥐")
    (ticket,) = json.loads(run("approvals", "--json").stdout)
    assert (ticket["code"], ticket["state"], ticket["decidedBy"]) == (code, "waiting", None)
    assert ticket["clientToken"] == {"id": "ct_1", "name": "Crêpes 🥐"}
    assert (ticket["effects"], ticket["changes"]) == ([card()["effects"][0]["sentence"]], [])
    made, ends = (datetime.fromisoformat(ticket[name]) for name in ("createdAt", "expiresAt"))
    assert (ends - made).total_seconds() == 900


def test_without_a_home_or_a_ticket_approvals_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("approvals").stdout == "Nothing waits for approval.\n"
    assert approvals(Settings()) == 1
    assert "set RUNTYPE_MCP_STATE_DIR" in capsys.readouterr().err


def test_the_facts_say_where_they_come_from(api: Api, shop: Record) -> None:
    then = "When it was asked: ct_1 (live, active, https://shop.example, last used 2026-11-01 UTC)\n"
    elsewhere = "Not read again: RUNTYPE_BASE_URL is not the server's here.\n"
    no_key = "Not read again: no API key is set or stored here. `runtype-mcp login` stores one.\n"
    token = shop.token
    api.store.put(Record(token | {"environment": "live\x1b[2J\nApproved."}, shop.value, shop.conversations))
    for digit, fields, variables, fact in (
        ("1", {}, environ(api), then + elsewhere),
        ("2", {"base_url": api.url}, {"RUNTYPE_BASE_URL": api.url}, then + no_key),
        ("3", {"base_url": api.url}, environ(api), f"{then}It cannot be read now: The API found no such client token"),
        ("4", {"base_url": api.url, "subject_id": token["id"]}, environ(api), f"Now: {token['id']} (live Approved., "),
        (
            "5",
            {"subject_id": "", "card": card("Allowed origins: *.", token=None)},
            environ(api),
            "It does not exist yet. Allowed origins: *.\n",
        ),
        ("6", {"base_url": "http://sandbox.invalid"}, {"RUNTYPE_MCP_SANDBOX": "1"}, then + elsewhere),
    ):
        shown = answer(waiting(digit=digit, **fields), "\n", **variables)[1]
        assert f"for good.\n{fact}" in shown
        assert "\x1b" not in shown
        assert KEY not in shown


def test_a_terminals_commands_do_without_the_sdk() -> None:
    code = "import runtype_mcp.commands.approve, sys; print({'mcp', 'starlette', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.stdout == "{'httpx2'}\n"


def test_damaged_approvals_are_one_line_and_exit_code_1() -> None:
    code = waiting()
    for file in Path(os.environ["RUNTYPE_MCP_STATE_DIR"]).glob("state.db*"):
        file.write_bytes(b"not a database" * 100)
    listed = run("approvals")
    assert (listed.returncode, listed.stdout) == (1, "")
    assert "damaged" in listed.stderr
    ended, shown = answer(code)
    assert (ended, shown) == (1, listed.stderr)
    assert len(shown.splitlines()) == 1
