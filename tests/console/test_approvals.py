"""What a person decides on the page: once, for what was shown, and by the token's name."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.person import person
from runtype_mcp.storage.tickets import Ticket
from tests.console.browsing import Browser, Pages, pages


def test_the_page_is_told_what_waits_and_which_server_asks(server: Pages, browser: Browser) -> None:
    first, second = server.ask(1), server.ask(2)
    listed = browser.get("api/approvals").json()
    assert [card["code"] for card in listed["approvals"]] == [first.code, second.code]
    assert first.created <= listed["now"] < first.expires
    card = listed["approvals"][0]
    assert {name: card[name] for name in first.shown} == first.shown
    told = browser.get("api/session").json()
    assert told | {"version": ""} == {
        "kind": "approval",
        "server": "Runtype client tokens",
        "version": "",
        "apiHost": "api.runtype.com",
        "sandbox": False,
    }


@pytest.mark.parametrize("typed", ["Shop", "  Shop "])
def test_the_name_approves(server: Pages, browser: Browser, typed: str) -> None:
    ticket = server.ask()
    answer = browser.decide(ticket, "approve", typed)
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    found = server.found(ticket)
    assert found is not None
    assert (found.state, found.decided_by, found.decided_in) == ("approved", person(), "page")
    assert browser.cards() == []


@pytest.mark.parametrize("typed", ["", " ", "shop", "Sho", "Shop!", "yes", "\u200b"])
def test_another_name_decides_nothing_and_may_be_corrected(server: Pages, browser: Browser, typed: str) -> None:
    ticket = server.ask()
    answer = browser.decide(ticket, "approve", typed)
    assert (answer.status_code, answer.json()["state"], server.state_of(ticket)) == (409, "wrong_name", "waiting")
    assert browser.decide(ticket, "approve", "Shop").status_code == 200
    assert server.state_of(ticket) == "approved"


def test_deny_denies_whatever_is_typed(server: Pages, browser: Browser) -> None:
    for n, typed in enumerate(("", "Shop", "wrong")):
        ticket = server.ask(n)
        answer = browser.decide(ticket, "deny", typed)
        assert (answer.status_code, answer.json()["state"], server.state_of(ticket)) == (200, "denied", "denied")


@pytest.mark.parametrize("first", ["approve", "deny"])
@pytest.mark.parametrize("second", ["approve", "deny"])
def test_what_was_decided_is_decided(server: Pages, browser: Browser, first: str, second: str) -> None:
    ticket = server.ask()
    token = browser.cards()[0]["decisionToken"]
    assert browser.decide(ticket, first, "Shop").status_code == 200
    before = server.found(ticket)
    body = {"decision": second, "name": "Shop", "decisionToken": token}
    again = browser.post(f"api/approvals/{ticket.code}", body)
    assert (again.status_code, again.json()["state"]) == (410, "gone")
    assert server.found(ticket) == before


def test_two_tabs_that_decide_at_the_same_time_decide_once(server: Pages, browser: Browser) -> None:
    for n in range(5):
        ticket = server.ask(n)
        token = browser.cards()[0]["decisionToken"]

        def send(decision: str, ticket: Ticket = ticket, token: str = token) -> int:
            body = {"decision": decision, "name": "Shop", "decisionToken": token}
            return browser.post(f"api/approvals/{ticket.code}", body).status_code

        with ThreadPoolExecutor(4) as tabs:
            assert sorted(tabs.map(send, ["approve", "deny"] * 2)) == [200, 410, 410, 410]


@pytest.mark.parametrize("how", ["approved", "denied", "used"])
def test_what_was_decided_in_a_terminal_is_gone_here(server: Pages, browser: Browser, how: str) -> None:
    ticket = server.ask()
    token = browser.cards()[0]["decisionToken"]
    asyncio.run(server.state.decide_ticket(ticket.code, approve=how != "denied", by="somebody", decided_in="terminal"))
    if how == "used":
        assert asyncio.run(server.state.take_ticket(ticket.digest))
    body = {"decision": "approve", "name": "Shop", "decisionToken": token}
    answer = browser.post(f"api/approvals/{ticket.code}", body)
    assert (answer.status_code, answer.json()["state"]) == (410, "gone")
    assert server.state_of(ticket) == {"used": "gone"}.get(how, how)


def test_a_decision_is_for_the_call_that_was_shown(server: Pages, browser: Browser, tmp_path: Path) -> None:
    ticket, other = server.ask(1), server.ask(2)
    mine, theirs = (card["decisionToken"] for card in browser.cards())
    with pages(tmp_path / "own") as another, another.browser() as elsewhere:
        foreign = elsewhere.cards()[0]["decisionToken"]
    for token in (theirs, foreign, "", mine[:-1], mine.upper(), ticket.code, ticket.digest, "é"):
        answer = browser.decide(ticket, "approve", "Shop", decisionToken=token)
        assert answer.status_code == 403, token
        assert "not for the call that is shown" in answer.json()["error"]
    assert [server.state_of(found) for found in (ticket, other)] == ["waiting", "waiting"]


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "maybe"},
        {"decision": True},
        {"decision": None},
        {"name": 1},
        {"name": None},
        {"name": "x" * 256},
        {"decisionToken": None},
        {"decisionToken": "x" * 65},
        {"more": 1},
    ],
    ids=str,
)
def test_a_decision_of_another_shape_decides_nothing(server: Pages, browser: Browser, changes: dict[str, Any]) -> None:
    ticket = server.ask()
    answer = browser.decide(ticket, "deny", "Shop", **changes)
    assert (answer.status_code, server.state_of(ticket)) == (400, "waiting")


@pytest.mark.parametrize("code", ["0000-0000", "x", "%2e%2e", "é"])
def test_a_code_that_nothing_waits_under_is_gone(server: Pages, browser: Browser, code: str) -> None:
    ticket = server.ask()
    body = {"decision": "approve", "name": "Shop", "decisionToken": browser.cards()[0]["decisionToken"]}
    assert browser.post(f"api/approvals/{code}", body).status_code in (404, 410)
    assert server.state_of(ticket) == "waiting"
