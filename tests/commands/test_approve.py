"""Approving from a terminal: `runtype-mcp approve` and `approvals`, on a real pseudo-terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.commands.approve import approve
from runtype_mcp.sandbox.store import Record
from runtype_mcp.storage import audit_log
from runtype_mcp.storage.tickets import Ticket, Tickets, state_dir
from tests.processes import SECONDS, Process, environment, on_terminal, run, started
from tests.support import KEY, Api

QUESTION = "Type the token's name to approve, or nothing to deny: "


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


def waiting(now: Callable[[], float] = time.time, **fields: Any) -> Ticket:
    """A ticket that a server would have left."""
    call: dict[str, Any] = {
        "operation": "delete_client_token",
        "subject_id": "ct_1",
        "subject_name": "Shop",
        "environment": "live",
        "lines": ["Every page that embeds this token stops working at once, for good."],
        "base_url": "https://api.runtype.com",
    }
    digest = fields.pop("digest", "0" * 64)
    return Tickets(state_dir(), now=now).request(digest, **call | fields)


def state_of(code: str) -> str:
    found = Tickets(state_dir()).find(code)
    assert found is not None
    return found.state


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
        with on_terminal("approve", code.lower(), **environ(api)) as terminal:
            terminal.until(QUESTION)
            assert f"get_client_token_value: the live client token '{token['name']}' {token['id']}" in terminal.shown
            assert f"API: {api.url}" in terminal.shown
            assert "- The value would stand in this conversation" in terminal.shown
            used = token["lastUsedAt"][:10]
            assert f"Now: {token['id']} (live, active, *, last used {used})" in terminal.shown
            assert not [path for _, path, _ in api.received if path.endswith("/token")]
            terminal.types(f"{token['name']}\n")
            assert terminal.ended() == 0
            assert terminal.shown.endswith("Approved. The same call now goes ahead once.\r\n")
        assert "Nothing waits" in run("approvals").stdout
        # Another call is not the approved one, and does not use the approval up.
        assert ask(server, "regenerate_client_token", **call) != code
        assert not api.writes
        assert server.call("get_client_token_value", **call)["structuredContent"]["value"] == shop.value
        again = ask(server, "get_client_token_value", **call)
        assert again != code
    (done,) = [row for row in audit_log.rows(log) if row.outcome == "done"]
    assert (done.tool, done.approval) == ("get_client_token_value", f"ticket {code}")


def test_an_approval_counts_only_for_the_token_as_it_was(api: Api, shop: Record) -> None:
    token = shop.token
    call = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
    with started(RUNTYPE_MCP_APPROVAL="human", **environ(api)) as server:
        server.hello()
        code = ask(server, "delete_client_token", **call)
        with on_terminal("approve", code, **environ(api)) as terminal:
            terminal.until(QUESTION)
            terminal.types(f"{token['name']}\n")
            assert terminal.ended() == 0
        api.store.put(Record(token | {"rateLimitPerHour": 1}, shop.value, shop.conversations))
        answer = server.text("delete_client_token", **call)
        assert "changed" in answer
        assert not api.writes
        # On the settings as they are now the call is another one.
        assert ask(server, "delete_client_token", **call) != code
        assert not api.writes


def test_another_name_denies_and_the_call_is_told(api: Api, shop: Record) -> None:
    token = shop.token
    call = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
    with started(RUNTYPE_MCP_APPROVAL="human", **environ(api)) as server:
        server.hello()
        code = ask(server, "delete_client_token", **call)
        with on_terminal("approve", code, **environ(api)) as terminal:
            terminal.until(QUESTION)
            terminal.types("yes\n")
            assert terminal.ended() == 1
            assert "Denied. Nothing was approved." in terminal.shown
        text = server.text("delete_client_token", **call)
    assert f"A person denied this call ({code})" in text
    assert "Do not call again" in text
    assert not api.writes
    assert run("approvals").stdout == "Nothing waits for approval.\n"


def test_an_empty_line_denies(api: Api) -> None:
    code = waiting().code
    with on_terminal("approve", code) as terminal:
        terminal.until(QUESTION)
        terminal.types("\n")
        assert terminal.ended() == 1
    assert state_of(code) == "denied"


def test_no_answer_decides_nothing(api: Api) -> None:
    code = waiting().code
    with on_terminal("approve", code) as terminal:
        terminal.until(QUESTION)
        terminal.types("\x04")  # end of input
        assert terminal.ended() == 1
        assert "No answer. Nothing was approved." in terminal.shown
    assert state_of(code) == "waiting"


def test_ctrl_c_decides_nothing(api: Api) -> None:
    code = waiting().code
    with on_terminal("approve", code) as terminal:
        terminal.until(QUESTION)
        terminal.press_ctrl_c()
        assert terminal.ended() != 0
        assert "Traceback" not in terminal.shown
    assert state_of(code) == "waiting"


def test_without_a_terminal_nothing_is_approved(api: Api) -> None:
    code = waiting().code
    done = run("approve", code, stdin="Shop\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "runtype-mcp: approve needs a terminal: a person has to read and type. Nothing was approved.\n"
    )
    assert state_of(code) == "waiting"


def test_a_terminal_that_shows_nothing_is_not_enough(api: Api) -> None:
    """Input from a terminal alone would approve what nobody could read."""
    code = waiting().code
    master, slave = os.openpty()
    try:
        os.write(master, b"Shop\n")
        command = [sys.executable, "-m", "runtype_mcp", "approve", code]
        done = subprocess.run(
            command, stdin=slave, capture_output=True, timeout=SECONDS, env=environment(), check=False
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 1
    assert b"needs a terminal" in done.stderr
    assert state_of(code) == "waiting"


@pytest.mark.parametrize("code", ["0000-0000", "x", "../../etc/passwd", "\x1b[31m"])
def test_an_unknown_code_is_told_so(code: str) -> None:
    with on_terminal("approve", code) as terminal:
        assert terminal.ended() == 1
        assert "No call waits under this code" in terminal.shown
        assert "\x1b" not in terminal.shown


def test_an_expired_code_is_an_unknown_one() -> None:
    code = waiting(now=lambda: time.time() - 901).code
    with on_terminal("approve", code) as terminal:
        assert terminal.ended() == 1
        assert "No call waits under this code" in terminal.shown


@pytest.mark.parametrize("failure", [KeyError, OSError])
def test_a_person_whom_the_system_has_no_name_for_can_approve(
    failure: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody() -> str:
        raise failure

    code = waiting().code
    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr("builtins.input", lambda _: "Shop")
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True)
    assert approve(code) == 0
    assert "Approved." in capsys.readouterr().out
    ticket = Tickets(state_dir()).find(code)
    assert ticket is not None
    assert (ticket.state, ticket.approved_by) == ("approved", "a user without a name")


def test_what_is_decided_cannot_be_approved_again() -> None:
    code = waiting().code
    Tickets(state_dir()).deny(code)
    with on_terminal("approve", code) as terminal:
        assert terminal.ended() == 1
        assert "is decided already" in terminal.shown
    assert state_of(code) == "denied"


def test_no_control_character_reaches_the_terminal(api: Api) -> None:
    """Names and effects carry what others wrote: none of it moves the cursor, colours, adds a line or turns text."""
    nasty = "\x1b[2J\x1b]0;owned\x07\r\n\u202eShop\u2066\x9b31m"
    code = waiting(
        subject_name=nasty,
        lines=[f"{nasty} stops"],
        subject_id=nasty,
        environment=nasty,
        base_url="https://x\x1b[2J.example",
    ).code
    listed = run("approvals").stdout
    with on_terminal("approve", code, **environ(api)) as terminal:
        terminal.until(QUESTION)
        before = terminal.shown
        terminal.types("Shop\n")
        assert terminal.ended() == 0
    for text in (listed, before):
        assert "Shop" in text
        hidden = {character for character in text if not character.isprintable()} - {"\r", "\n"}
        assert not hidden
    assert "\r" not in before.replace("\r\n", "")
    assert len(listed.splitlines()) == 1
    assert state_of(code) == "approved"


def test_approvals_lists_what_waits_and_nothing_else() -> None:
    waiting(now=lambda: time.time() - 901, digest="4" * 64)
    first = waiting(now=lambda: time.time() - 600, digest="1" * 64, subject_name="First").code
    second = waiting(digest="2" * 64, operation="create_client_token", subject_id="", subject_name="Second").code
    denied = waiting(digest="3" * 64).code
    Tickets(state_dir()).deny(denied)
    done = run("approvals")
    assert (done.returncode, done.stderr) == (0, "")
    one, two = done.stdout.splitlines()
    assert one.startswith(f"{first}  delete_client_token: the live client token 'First' ct_1  (")
    assert one.endswith(("(4 min left)", "(5 min left)"))
    assert two.startswith(f"{second}  create_client_token: the live client token 'Second' ")


def test_the_facts_of_a_token_cannot_move_the_cursor(api: Api, shop: Record) -> None:
    token = shop.token
    api.store.put(Record(token | {"environment": "live\x1b[2J\nApproved."}, shop.value, shop.conversations))
    code = waiting(subject_id=token["id"], base_url=api.url).code
    with on_terminal("approve", code, **environ(api)) as terminal:
        terminal.until(QUESTION)
        assert "live Approved." in terminal.shown
        assert "\x1b" not in terminal.shown
        terminal.types("\n")


def test_a_terminals_commands_do_without_the_sdk() -> None:
    code = "import runtype_mcp.commands.approve, sys; print({'mcp', 'mcp_types', 'starlette', 'httpx2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "{'httpx2'}\n"


def test_a_name_that_the_output_cannot_hold_is_listed_all_the_same() -> None:
    waiting(subject_name="Crêpes 🥐")
    listed = run("approvals", PYTHONIOENCODING="ascii")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "'Cr?pes ?'" in listed.stdout


def test_the_facts_say_where_they_cannot_be_read(api: Api) -> None:
    elsewhere = waiting(digest="1" * 64).code
    gone = waiting(digest="2" * 64, base_url=api.url, subject_id="ct_01gone").code
    new = waiting(digest="3" * 64, base_url=api.url, operation="create_client_token", subject_id="").code
    for code, fact in (
        (elsewhere, "It cannot be read from here (RUNTYPE_API_KEY and RUNTYPE_BASE_URL differ from the server's)."),
        (gone, "It cannot be read now: The API found no such client token"),
        (new, "It does not exist yet."),
    ):
        with on_terminal("approve", code, **environ(api)) as terminal:
            terminal.until(QUESTION)
            assert fact in terminal.shown
            assert KEY not in terminal.shown


def test_damaged_approvals_are_one_line_and_exit_code_1() -> None:
    code = waiting().code
    (state_dir() / "tickets.json").write_text("{")
    listed = run("approvals")
    assert (listed.returncode, listed.stdout) == (1, "")
    assert len(listed.stderr.splitlines()) == 1
    assert "damaged" in listed.stderr
    with on_terminal("approve", code) as terminal:
        assert terminal.ended() == 1
        assert "damaged" in terminal.shown
