"""The rules of tickets: an approval is for one call, once, and never an accident."""

import hashlib
import re
from dataclasses import asdict, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtype_mcp.storage.tickets import (
    BY_ANOTHER,
    BY_ONE,
    MAX_WAITING,
    MAX_WAITING_EACH,
    DecidedIn,
    StateError,
    Ticket,
    TicketBook,
    TicketRequest,
    new_code,
    normalize_code,
)

NOW = 1_000_000.0


def digest(of: object) -> str:
    return hashlib.sha256(str(of).encode()).hexdigest()


def request(of: object = "delete ct_1", **fields: Any) -> TicketRequest:
    """A request of a call; calls that differ have scopes that differ, unless `scope` says otherwise."""
    facts: dict[str, Any] = {
        "scope": f"scope of {of}",
        "operation": "delete",
        "subject_id": "ct_1",
        "subject_name": "Support",
        "environment": "live",
        "card": {"name": "Support", "effects": [{"sentence": "Every widget that embeds it stops."}]},
        "base_url": "https://api.example.test",
        "requested_by": "claude",
    }
    return TicketRequest(digest=digest(of), **{**facts, **fields})


def book(*tickets: Ticket, now: float = NOW) -> TicketBook:
    return TicketBook(tickets, now, ttl=100)


def decided(approve: bool, of: object = "delete ct_1", **fields: Any) -> Ticket:
    desk = book()
    return desk.decide(desk.request(request(of, **fields)).code, approve=approve, by="ada", decided_in="terminal")


def test_an_approved_call_is_let_through_once() -> None:
    desk = book()
    asked = desk.request(request())
    assert asked == Ticket(**asdict(request()), code=asked.code, created=NOW, expires=NOW + 100)
    assert desk.take(asked.digest) is None
    approved = desk.decide(asked.code, approve=True, by="ada", decided_in="terminal")
    assert approved == replace(asked, state="approved", decided_by="ada", decided_in="terminal")
    assert desk.request(request()) == approved
    assert desk.take(asked.digest) == replace(approved, state="used")
    assert desk.take(asked.digest) is None
    assert desk.find(asked.code) is None


def test_an_approval_is_for_exactly_one_call_and_its_code_opens_nothing() -> None:
    desk = book(approved := decided(True))
    for other in (digest("regenerate ct_1"), approved.digest[:-1], approved.digest.upper(), "", "é", approved.code):
        assert desk.take(other) is None
    assert desk.take(approved.digest) is not None


def test_a_denial_holds_for_every_call_of_its_scope() -> None:
    denied = decided(False, scope="ct_1")
    desk = book(denied)
    assert desk.request(request()) == denied
    assert desk.request(request("the same with one more field", scope="ct_1")) == denied
    assert desk.request(request("another token", scope="ct_2")).state == "waiting"
    assert desk.take(denied.digest) is None


def test_a_denial_holds_against_a_call_of_its_scope_that_waited_already() -> None:
    desk = book()
    waiting = desk.request(request("first", scope="ct_1"))
    second = desk.request(request("second", scope="ct_1"))
    denied = desk.decide(second.code, approve=False, by="ada", decided_in="terminal")
    assert desk.request(request("first", scope="ct_1")) == denied
    approved = desk.decide(
        waiting.code, approve=True, by="ada", decided_in="terminal"
    )  # a person may still want exactly that one
    assert desk.request(request("first", scope="ct_1")) == approved


def test_a_denial_ends_with_its_ticket() -> None:
    denied = decided(False)
    again = book(denied, now=NOW + 100).request(request())
    assert again.state == "waiting"
    assert again.code != denied.code


def test_a_person_can_take_a_denial_back_and_withdraw_an_approval() -> None:
    denied = decided(False)
    desk = book(denied, now=NOW + 50)
    approved = desk.decide(denied.code, approve=True, by="bob", decided_in="terminal")
    assert (approved.state, approved.decided_by, approved.expires) == ("approved", "bob", NOW + 150)
    with pytest.raises(StateError, match="already approved"):
        desk.decide(denied.code, approve=True, by="eve", decided_in="terminal")
    assert desk.find(denied.code) == approved
    withdrawn = desk.decide(denied.code, approve=False, by="ada", decided_in="terminal")
    assert (withdrawn.state, withdrawn.decided_by) == ("denied", "ada")
    assert desk.take(denied.digest) is None


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("code", ["ZZZZ-ZZZZ", "", "-", digest("delete ct_1")])
def test_an_unknown_code_decides_nothing(code: str, approve: bool) -> None:
    desk = book()
    asked = desk.request(request())
    with pytest.raises(StateError, match="Nothing was changed"):
        desk.decide(code, approve=approve, by="ada", decided_in="terminal")
    assert desk.oldest_first() == [asked]


@pytest.mark.parametrize("ticket", [decided(True), decided(False), book().request(request())])
@pytest.mark.parametrize(
    ("passed", "counts"),
    [(99.9, True), (100, False), (-30, True), (-3600, False)],
    ids=["in its time", "expired", "the clock was put right", "the clock was set back"],
)
def test_a_ticket_counts_in_its_time_and_no_clock_prolongs_it(ticket: Ticket, passed: float, counts: bool) -> None:
    assert book(ticket, now=NOW + passed).oldest_first() == ([ticket] if counts else [])


def test_a_late_approval_is_good_for_its_own_time() -> None:
    asked = book().request(request())
    approved = book(asked, now=NOW + 90).decide(asked.code, approve=True, by="ada", decided_in="terminal")
    assert book(approved, now=NOW + 189).take(asked.digest) is not None
    assert book(approved, now=NOW + 190).take(asked.digest) is None


def test_a_call_is_told_what_was_denied_of_its_scope() -> None:
    desk = book(decided(False, "first", scope="ct_1"))
    denied = desk.take(digest("second"), "ct_1")
    assert denied is not None
    assert denied.state == "denied"
    assert desk.take(digest("second"), "ct_2") is None
    assert desk.take(digest("first")) is None
    approved = desk.decide_request(request("second", scope="ct_1"), approve=True, by="ada", decided_in="app")
    assert desk.take(approved.digest, "ct_1") == replace(approved, state="used"), "the yes to exactly this call counts"


def test_an_approval_counts_only_where_it_may_and_waits_again_elsewhere() -> None:
    desk, others = book(), BY_ONE - {"app"}
    approved = desk.decide_request(request(), approve=True, by="ada", decided_in="app")
    assert desk.take(approved.digest, counted=others) is None
    assert desk.request(request()) == approved
    waiting = desk.request(request(), counted=others)
    assert waiting == replace(approved, state="waiting", decided_by="", decided_in="")
    again = desk.decide(waiting.code, approve=True, by="bob", decided_in="terminal")
    assert desk.take(approved.digest, counted=others) == replace(again, state="used")


@pytest.mark.parametrize("place", sorted(BY_ANOTHER))
def test_an_approval_by_another_waits_again_where_it_does_not_count(place: DecidedIn) -> None:
    desk, of_ada = book(), request(requested_by="ada", second_person=True)
    waiting = desk.request(of_ada)
    approved = desk.decide(waiting.code, approve=True, by="Bob", by_subject="bob", decided_in=place)
    assert (approved.decided_by, approved.decided_by_subject) == ("Bob", "bob")
    assert desk.take(approved.digest) is None
    assert desk.request(of_ada) == waiting
    again = desk.decide(waiting.code, approve=True, by="Bob", by_subject="bob", decided_in=place)
    assert desk.take(approved.digest, counted=BY_ANOTHER) == replace(again, state="used")


@pytest.mark.parametrize("second_person", [True, False])
@pytest.mark.parametrize("place", get_args(DecidedIn))
def test_a_yes_is_taken_where_the_call_needs_it_and_a_no_everywhere(place: DecidedIn, second_person: bool) -> None:
    desk = book()
    waiting = desk.request(request(requested_by="ada", second_person=second_person))
    if (place in BY_ANOTHER) is second_person:
        assert desk.decide(waiting.code, approve=True, by="B", by_subject="bob", decided_in=place).state == "approved"
    else:
        with pytest.raises(StateError, match="second"):
            desk.decide(waiting.code, approve=True, by="B", by_subject="bob", decided_in=place)
        assert desk.find(waiting.code) == waiting
    assert desk.decide(waiting.code, approve=False, by="B", by_subject="bob", decided_in=place).state == "denied"


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("place", sorted(BY_ANOTHER))
@pytest.mark.parametrize(
    ("asks", "decides", "problem"),
    [
        ("ada", "ada", "yourself"),
        ("ada", "", "It is not known"),
        ("", "bob", "It is not known"),
        ("", "", "It is not known"),
    ],
)
def test_where_another_must_decide_nobody_decides_what_they_asked_for(
    asks: str, decides: str, problem: str, place: DecidedIn, approve: bool
) -> None:
    desk = book()
    waiting = desk.request(request(requested_by=asks, second_person=True))
    with pytest.raises(StateError, match=problem):
        desk.decide(waiting.code, approve=approve, by="Ada", by_subject=decides, decided_in=place)
    assert desk.find(waiting.code) == waiting


def test_neither_one_caller_nor_all_can_fill_the_desk() -> None:
    desk = book()
    first, *_ = [desk.request(request(n)) for n in range(MAX_WAITING_EACH)]
    with pytest.raises(StateError, match="10 requests of yours already wait"):
        desk.request(request("one more"))
    assert desk.request(request("one more", requested_by="cursor")).state == "waiting"
    assert desk.request(request(0)) == first, "the same call keeps its ticket"
    desk.decide(first.code, approve=False, by="ada", decided_in="terminal")
    assert desk.request(request("one more after a decision")).state == "waiting"
    for n in range(MAX_WAITING - MAX_WAITING_EACH - 1):
        desk.request(request(f"another {n}", requested_by=f"caller {n // 10}"))
    with pytest.raises(StateError, match="200 requests already wait"):
        desk.request(request("too many", requested_by="new"))


@pytest.mark.parametrize("text", ["", "0" * 63, "g" * 64, digest("x").upper()])
def test_a_digest_that_binds_nothing_is_refused(text: str) -> None:
    desk = book()
    with pytest.raises(StateError, match="not a SHA-256"):
        desk.request(replace(request(), digest=text))
    assert desk.oldest_first() == []


def test_a_code_is_eight_letters_that_nobody_misreads() -> None:
    codes = {new_code(()) for _ in range(50)}
    assert len(codes) == 50
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", code) for code in codes)


def test_a_code_that_is_taken_is_not_given_again() -> None:
    letters = iter("A" * 8 + "B" * 8)
    assert new_code({"AAAA-AAAA"}, lambda _: next(letters)) == "BBBB-BBBB"


@pytest.mark.parametrize("typed", ["10AB-01CD", "10ab01cd", " ioab-olcd\n", "10-ab-01-cd", "LOAB OICD"])
def test_a_code_is_understood_however_it_is_typed(typed: str) -> None:
    assert normalize_code(typed) == "10AB-01CD"


@given(st.text())
def test_any_text_is_safe_to_look_up(code: str) -> None:
    assert book().find(code) is None
