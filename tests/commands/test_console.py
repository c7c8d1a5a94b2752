"""`runtype-mcp console` as a person starts it: a real process on a terminal, and a browser that asks over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp.storage.audit_log import AuditLog
from runtype_mcp.storage.sqlite_state import SqliteState
from tests.confirmations import SECRET, SITE, put
from tests.console.browsing import Browser, request
from tests.processes import Terminal, on_terminal, run, started, until
from tests.support import KEY, Api, seed_many

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)(/[\w-]+/)open/[\w-]+")
SANDBOX = {"RUNTYPE_MCP_SANDBOX": "true"}


def environ(api: Api, **more: str) -> dict[str, str]:
    return {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, **more}


@contextmanager
def opened(address: str) -> Iterator[Browser]:
    """The browser of the person who opens an address."""
    found = ADDRESS.fullmatch(address)
    assert found, address
    with httpx.Client(timeout=30) as client:
        browser = Browser(client, found[1], f"{found[1]}{found[2]}")
        assert browser.open(address).status_code == 200
        yield browser


def printed(terminal: Terminal) -> str:
    """The address that stands on the terminal."""
    while not (found := re.search(rf"{ADDRESS.pattern}(?=\r?\n)", terminal.shown)):
        assert terminal.read(), terminal.shown
    return found[0]


@contextmanager
def console(**environ: str) -> Iterator[Browser]:
    """A browser that has the console open."""
    with (
        on_terminal("console", "--no-open", COLUMNS="60", **environ) as terminal,
        opened(printed(terminal)) as browser,
    ):
        yield browser


def shown(browser: Browser, path: str) -> Any:
    answer = browser.get(f"api/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


# Starting and ending


def test_it_prints_the_address_to_the_terminal_and_ends_with_ctrl_c() -> None:
    with on_terminal("console", "--sandbox", "--no-open") as terminal:
        with opened(printed(terminal)) as browser:
            session = shown(browser, "session")
            assert (session["kind"], session["sandbox"]) == ("console", True)
        terminal.press_ctrl_c()
        assert terminal.ended() == -signal.SIGINT
        assert "Traceback" not in terminal.shown


def test_the_printed_address_opens_once() -> None:
    with on_terminal("console", "--sandbox", "--no-open") as terminal:
        address = printed(terminal)
        with opened(address) as browser, httpx.Client() as other:
            assert other.get(address).status_code == 403
            assert other.get(f"{browser.base}api/tokens").status_code == 403
            assert other.get(f"{browser.base}api/audit").status_code == 403


@pytest.mark.parametrize("arguments", [["--no-open"], []], ids=["asked not to", "no browser here"])
def test_an_address_is_printed_to_nobody_but_a_person(arguments: list[str]) -> None:
    done = run("console", "--sandbox", *arguments, CI="true")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "a terminal to print the address to" in done.stderr


def test_it_opens_the_persons_browser_and_prints_no_address_into_a_pipe(tmp_path: Path) -> None:
    said, program = tmp_path / "address", tmp_path / "browser"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {said}.new && mv {said}.new {said}\n')
    program.chmod(0o755)
    with started("console", "--sandbox", BROWSER=str(program), CI="") as process:
        assert process.line() == b"The console opens in your browser. Ctrl+C ends it."
        until(said.exists, "the browser is opened")
        with opened(said.read_text()) as browser:
            assert shown(browser, "tokens")["tokens"]
        process.popen.send_signal(signal.SIGINT)
        assert process.ended() == -signal.SIGINT
        assert process.errors() == ""


def test_on_a_terminal_a_second_address_is_there_if_the_browser_does_not_open() -> None:
    with on_terminal("console", "--sandbox", BROWSER="false", CI="") as terminal, opened(printed(terminal)) as browser:
        assert shown(browser, "session")["kind"] == "console"
        assert "If no page appears, open this address." in terminal.shown


def test_a_port_can_be_chosen_and_one_that_is_taken_is_told(api: Api) -> None:
    port = api.url.rpartition(":")[2]
    with on_terminal("console", "--sandbox", "--no-open", "--port", port) as terminal:
        assert terminal.ended() == 1
        assert f"port {port} cannot be used" in terminal.shown
        assert "Choose another --port." in terminal.shown


# What is read


def test_every_token_is_listed_with_all_of_its_settings_and_no_value(api: Api) -> None:
    seed_many(api.store, 450)
    put(api.store, id="ct_hostile", name="<script>\u202ex\n", config={"note": SECRET})
    with console(**environ(api)) as browser:
        listed = shown(browser, "tokens")
    assert (len(listed["tokens"]), listed["total"]) == (451, 451)
    assert len({token["id"] for token in listed["tokens"]}) == 451
    (hostile,) = [token for token in listed["tokens"] if token["id"] == "ct_hostile"]
    assert hostile["name"].startswith("<script>")
    assert hostile["name"].isprintable()
    assert {"isActive", "allowedOrigins", "rateLimitPerMinute", "valueEndsWith"} <= hostile.keys()
    text = json.dumps(listed)
    assert SECRET not in text
    assert not [record.value for record in api.store.newest_first() if record.value and record.value in text]
    assert not api.writes


def test_findings_and_conversations_are_those_of_the_tools() -> None:
    with console(**SANDBOX) as browser:
        found = shown(browser, "findings")
        assert found["checked"] == len(shown(browser, "tokens")["tokens"])
        assert found["findings"][0].keys() >= {"severity", "rule", "id", "reason", "fix"}
        talked = [
            talk
            for token in shown(browser, "tokens")["tokens"]
            if (talk := shown(browser, f"conversations?clientTokenId={token['id']}"))["conversations"]
        ]
        assert talked
        assert any("visitor" in talk["visitorText"] for talk in talked)


def test_the_settings_of_the_server_hold_for_the_console(api: Api) -> None:
    live, test = put(api.store, name="Live"), put(api.store, name="Test", environment="test")
    only = environ(api, RUNTYPE_MCP_ENVIRONMENT="test", RUNTYPE_MCP_TOOLS="!audit_*")
    with console(**only) as browser:
        assert [token["id"] for token in shown(browser, "tokens")["tokens"]] == [test]
        for path, says in ((f"conversations?clientTokenId={live}", "test"), ("findings", "RUNTYPE_MCP_TOOLS")):
            refused = browser.get(f"api/{path}")
            assert refused.status_code == 502
            assert says in refused.json()["error"]


@pytest.mark.parametrize(
    "path", ["conversations", "conversations?clientTokenId=ct_unknown", "audit?limit=0", "audit?before=x"]
)
def test_what_cannot_be_read_is_told_without_a_trace(path: str) -> None:
    with console(**SANDBOX) as browser:
        refused = browser.get(f"api/{path}")
        assert refused.status_code in (400, 502)
        assert refused.json().keys() == {"error"}
        assert "Traceback" not in refused.text


def test_a_key_that_the_api_refuses_is_told(api: Api) -> None:
    api.install(keys=["another"])
    with console(**environ(api)) as browser:
        refused = browser.get("api/tokens")
        assert refused.status_code == 502
        assert "key" in refused.json()["error"]
        assert KEY not in refused.text


# Approvals


def test_every_open_request_is_shown_and_a_person_decides_it(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "own")
    first, second = (asyncio.run(state.request_ticket(request(n))) for n in (1, 2))
    with console(**SANDBOX, RUNTYPE_MCP_STATE_DIR=str(tmp_path / "own")) as browser:
        assert [card["code"] for card in browser.cards()] == [first.code, second.code]
        assert browser.decide(first, "approve", "typo").json()["state"] == "wrong_name"
        assert browser.decide(first, "approve", "Shop").json()["state"] == "approved"
        assert browser.decide(second, "deny").json()["state"] == "denied"
    approved, denied = asyncio.run(state.open_tickets())
    assert (approved.state, approved.decided_in) == ("approved", "console")
    assert (denied.state, denied.decided_in) == ("denied", "console")
    asyncio.run(state.aclose())


def test_a_call_of_an_assistant_goes_ahead_once_it_is_approved_in_the_console(api: Api) -> None:
    shop = put(api.store, allowedOrigins=[SITE])
    settings = environ(api, RUNTYPE_MCP_APPROVAL="human", CI="true")
    call = {"client_token": shop, "confirm": True, "expected_name": "Shop"}
    with started(**settings) as assistant, console(**environ(api)) as browser:
        assistant.hello()
        assert "approve" in assistant.text("delete_client_token", **call)
        (card,) = browser.cards()
        assert card["token"]["id"] == shop
        body = {"decision": "approve", "name": "Shop", "decisionToken": card["decisionToken"]}
        assert browser.post(f"api/approvals/{card['code']}", body).json()["state"] == "approved"
        assert not api.writes
        assert "Deleted" in assistant.text("delete_client_token", **call)
        assert len(api.writes) == 1


# The audit log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    for number in range(1, 6):
        AuditLog(path).append({"event": "ended", "call": f"c{number}", "tool": "t\u202e\n", "request": "9"})
    return path


def test_the_audit_log_is_shown_newest_first_and_page_by_page(log: Path) -> None:
    with console(**SANDBOX, RUNTYPE_MCP_AUDIT=str(log)) as browser:
        page = shown(browser, "audit?limit=2")
        assert [line["call"] for line in page["lines"]] == ["c5", "c4"]
        assert (page["verified"], page["brokenAt"], page["file"]) == (True, None, str(log))
        assert page["lines"][0].keys() == {"seq", "time", "event", "call", "tool"}
        assert page["lines"][0]["tool"].isprintable()
        older = shown(browser, f"audit?limit=3&before={page['lines'][-1]['seq']}")
        assert [line["call"] for line in older["lines"]] == ["c3", "c2", "c1"]
        assert shown(browser, "audit?before=1")["lines"] == []


def test_a_log_that_somebody_edited_is_told_with_the_line_where_it_breaks(log: Path) -> None:
    log.write_text(log.read_text().replace('"c2"', '"cX"'))
    with console(**SANDBOX, RUNTYPE_MCP_AUDIT=str(log)) as browser:
        page = shown(browser, "audit")
        assert (page["verified"], page["brokenAt"]) == (False, 3)
        assert [line["call"] for line in page["lines"]] == ["c5", "c4", "c3", "cX", "c1"]


def test_where_no_log_is_kept_or_nothing_is_in_it_yet_it_says_so(tmp_path: Path) -> None:
    none: dict[str, Any] = {"lines": [], "verified": None, "brokenAt": None}
    with console(**SANDBOX) as browser:
        assert shown(browser, "audit") == none | {"file": None}
    with console(**SANDBOX, RUNTYPE_MCP_AUDIT=str(tmp_path / "later.jsonl")) as browser:
        assert shown(browser, "audit") == none | {"file": str(tmp_path / "later.jsonl")}


def test_a_log_that_cannot_be_read_is_told(log: Path) -> None:
    with console(**SANDBOX, RUNTYPE_MCP_AUDIT=str(log)) as browser:
        log.unlink()
        log.mkdir()
        refused = browser.get("api/audit")
        assert refused.status_code == 503
        assert "could not be read" in refused.json()["error"]
