"""A card is decided once, by its holder, in its time; the disk has only the hash of its code."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from runtype_mcp.storage.cards import CARD_TTL, MAX_CARDS, Card
from runtype_mcp.storage.state import State
from tests.storage.test_state import Clock, clock, open_state, state
from tests.storage.test_tickets import NOW, request

__all__ = ["clock", "open_state", "state"]  # the fixtures of every kind of state

pytestmark = pytest.mark.anyio

KEY, HOLDER = "hash of a code", "claude"


async def decide(state: State, key: str = KEY, *, approve: bool = True, holder: str = HOLDER) -> str | None:
    ticket = await state.decide_card(key, holder, approve=approve, by="ada")
    return ticket.state if ticket else None


async def test_a_card_is_found_by_its_holder_and_decided_once(state: State) -> None:
    card = await state.keep_card(KEY, request(), HOLDER)
    assert (card.created, card.expires) == (NOW, NOW + 600)
    assert await state.find_card(KEY, HOLDER) == request()
    assert await state.find_card(KEY, "cursor") is None
    assert await state.find_card("another", HOLDER) is None
    assert await decide(state, holder="cursor") is None
    ticket = await state.decide_card(KEY, HOLDER, approve=True, by="ada")
    assert ticket is not None
    assert (ticket.state, ticket.decided_by, ticket.decided_in) == ("approved", "ada", "app")
    assert await decide(state) is None
    assert await state.find_card(KEY, HOLDER) is None
    assert await state.take_ticket(request().digest) is not None
    assert await state.take_ticket(request().digest) is None


@pytest.mark.parametrize(("passed", "open_"), [(0, True), (-60, True), (-61, False), (599.9, True), (CARD_TTL, False)])
async def test_a_card_can_be_decided_in_its_time_and_no_clock_prolongs_it(
    state: State, clock: Clock, passed: float, open_: bool
) -> None:
    await state.keep_card(KEY, request(), HOLDER)
    clock.time += passed
    assert (await state.find_card(KEY, HOLDER) is not None) is open_
    assert (await decide(state) is not None) is open_


async def test_a_decision_closes_every_card_of_the_call_and_no_other(state: State) -> None:
    for key, of in (("first", "a"), ("second", "a"), ("third", "b")):
        await state.keep_card(key, request(of), HOLDER)
    assert await decide(state, "first", approve=False) == "denied"
    assert await decide(state, "second") is None
    assert await decide(state, "third") == "approved"


async def test_a_card_decides_the_ticket_that_waits_for_its_call(state: State) -> None:
    waiting = await state.request_ticket(request())
    await state.keep_card(KEY, request(), HOLDER)
    assert await decide(state) == "approved"
    (ticket,) = await state.open_tickets()
    assert (ticket.code, ticket.state) == (waiting.code, "approved")


async def test_a_card_approves_its_own_call_and_never_the_one_that_was_denied(state: State) -> None:
    """A denial stands for its scope where a ticket is asked for. The yes on a card is for what the card shows."""
    denied = await state.request_ticket(request("wide", scope="ct_1"))
    await state.decide_ticket(denied.code, approve=False, by="ada", decided_in="terminal")
    await state.keep_card(KEY, request("narrow", scope="ct_1"), HOLDER)
    assert await decide(state) == "approved"
    assert await state.take_ticket(request("wide").digest) is None
    assert await state.take_ticket(request("narrow").digest) is not None


async def test_what_was_approved_elsewhere_stays_so(state: State) -> None:
    ticket = await state.request_ticket(request())
    approved = await state.decide_ticket(ticket.code, approve=True, by="ada", decided_in="terminal")
    await state.keep_card(KEY, request(), HOLDER)
    assert await state.decide_card(KEY, HOLDER, approve=True, by="bob") == approved


async def test_the_oldest_cards_give_way(state: State, clock: Clock) -> None:
    for number in range(MAX_CARDS + 2):
        await state.keep_card(str(number), request(number), HOLDER)
        clock.time += 1
    found = [await state.find_card(str(number), HOLDER) is not None for number in range(MAX_CARDS + 2)]
    assert found == [False, False, *[True] * MAX_CARDS]


@pytest.mark.parametrize(
    "broken",
    [[], {}, {"request": 1}, {"request": {}}, {"holder": 1, "x": 2}, {"created": "x"}, {"created": float("nan")}],
)
def test_what_is_no_card_is_refused(broken: Any) -> None:
    whole = asdict(Card(request(), HOLDER, NOW))
    assert Card.parse(whole) == Card(request(), HOLDER, NOW)
    with pytest.raises(ValueError, match="card"):
        Card.parse(whole | broken if isinstance(broken, dict) and broken else broken)
