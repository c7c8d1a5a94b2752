"""What outlives a call, or must be seen by the other servers of a user or a team: the `State`, and one in memory.

Five things are kept: what a caller last read of a token, which answers of people are used, who acts on what right now,
tickets (`tickets.py`), and cards (`cards.py`). All but the first are shared by the processes that have the same store.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import anyio

from runtype_mcp.storage.cards import Card, superfluous
from runtype_mcp.storage.tickets import BY_ONE, TTL, DecidedIn, StateError, Ticket, TicketBook, TicketRequest

__all__ = ["MemoryState", "State", "StateError", "TokenSettings"]

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds to wait for a lock."""
MAX_READS = 2000
"""How many last reads are remembered, over all callers."""
_DAY = 24 * 3600.0
_FOREVER = float("inf")

TokenSettings = dict[str, Any]
"""A token's settings by their names in Python, as `ClientToken.settings()` gives them."""


class Store(Protocol):
    """JSON values by kind and key, during one step that happens as a whole or not at all."""

    def get(self, kind: str, key: str) -> Any:
        """The value; None if there is none."""

    def items(self, kind: str) -> dict[str, Any]:
        """All values of a kind."""

    def put(self, kind: str, key: str, value: Any, expires: float) -> None:
        """Keep a value, which may be dropped from `expires` (unix seconds) on."""

    def delete(self, kind: str, key: str) -> None:
        """Drop a value."""


class State(ABC):
    """Every method may be called by any number of tasks and processes at the same time.

    A subclass brings the store, and the locks that reach beyond this process.
    """

    def __init__(self, now: Callable[[], float], ttl: float, patience: float) -> None:
        self._now, self._ttl, self._patience = now, ttl, patience
        self._reads: OrderedDict[tuple[str, str], TokenSettings] = OrderedDict()
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @abstractmethod
    async def _step(self, work: Callable[[Store], T], *, change: bool) -> T:
        """Give `work` a store to read or, alone, to change. A change is on the disk, if there is one, at the return."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of files and connections."""

    # Reads stay in this process: a session lives in one, and a write to disk for each read would buy nothing.

    async def last_read(self, subject: str, token_id: str) -> TokenSettings | None:
        """The settings of the token that `subject` was last shown; None if it was shown none, or they are forgotten."""
        return self._reads.get((subject, token_id))

    async def record_reads(
        self, subject: str, reads: Mapping[str, TokenSettings], fields: Iterable[str] | None = None
    ) -> None:
        """Remember, by token id, the settings that `subject` was just shown.

        Where only `fields` were shown, what was shown before of the others still counts. Of a token that is new to
        the subject all of it counts: what changes from now on was changed behind their back.
        """
        shown = None if fields is None else tuple(fields)
        for token_id, settings in reads.items():
            key = (subject, token_id)
            before = self._reads.get(key)
            if before is None or shown is None:
                self._reads[key] = dict(settings)
            else:
                self._reads[key] = before | {name: settings[name] for name in shown}
            self._reads.move_to_end(key)
        while len(self._reads) > MAX_READS:
            self._reads.popitem(last=False)

    async def approvals_used(self, digest: str) -> int:
        """How many approvals of exactly this plan were used."""
        return await self._step(lambda store: int(store.get("used", digest) or 0), change=False)

    async def use_approval(self, digest: str, used: int) -> bool:
        """Use one approval of this plan. False if not exactly `used` of them were used before: it is used already."""

        def work(store: Store) -> bool:
            if (store.get("used", digest) or 0) != used:
                return False
            store.put("used", digest, used + 1, self._now() + _DAY)
            return True

        return await self._step(work, change=True)

    async def write_epoch(self) -> int:
        """A number that grows before and after each write of any server that shares this state."""
        return await self._step(lambda store: int(store.get("epoch", "") or 0), change=False)

    async def advance_write_epoch(self) -> None:
        """Tell every plan made so far that the tokens may have changed since."""
        await self._step(lambda store: store.put("epoch", "", (store.get("epoch", "") or 0) + 1, _FOREVER), change=True)

    async def request_ticket(self, request: TicketRequest, *, counted: frozenset[DecidedIn] = BY_ONE) -> Ticket:
        """The ticket of exactly this call: the one that exists, or a new one that waits. Look at its `state`.

        `counted`: where an approval counts.
        """
        return await self._change_tickets(lambda book: book.request(request, counted=counted))

    async def take_ticket(
        self, digest: str, scope: str = "", *, counted: frozenset[DecidedIn] = BY_ONE
    ) -> Ticket | None:
        """What a person decided of exactly this call: its approval, used up by this, or else a denial of its scope.

        An approval is used once, over all servers. `counted`: where one counts.
        """
        return await self._change_tickets(lambda book: book.take(digest, scope, counted=counted))

    async def decide_ticket(
        self,
        code: str,
        *,
        approve: bool,
        by: str,
        decided_in: DecidedIn,
        by_subject: str = "",
        only_waiting: bool = False,
    ) -> Ticket:
        """Approve or deny the one call behind this code; `by` names the person. See `TicketBook.decide`."""

        def decide(book: TicketBook) -> Ticket:
            return book.decide(
                code, approve=approve, by=by, decided_in=decided_in, by_subject=by_subject, only_waiting=only_waiting
            )

        return await self._change_tickets(decide)

    async def find_ticket(self, code: str) -> Ticket | None:
        """The ticket with this code, if it has not expired and was not used."""
        return await self._step(lambda store: self._book(store).find(code), change=False)

    async def open_tickets(self) -> list[Ticket]:
        """The tickets that wait or were decided and not used, oldest first."""
        return await self._step(lambda store: self._book(store).oldest_first(), change=False)

    async def keep_card(self, key: str, request: TicketRequest, holder: str) -> Card:
        """Keep what `holder` may decide on a card, under the hash `key` of the card's code."""

        def work(store: Store) -> Card:
            card = Card(request, holder, self._now())
            for old in superfluous(store.items("card")):
                store.delete("card", old)
            store.put("card", key, asdict(card), card.expires)
            return card

        return await self._step(work, change=True)

    async def find_card(self, key: str, holder: str) -> TicketRequest | None:
        """What `holder` may decide with the code of this hash; None if there is nothing, or nothing any more."""
        return await self._step(lambda store: self._card(store, key, holder), change=False)

    async def decide_card(self, key: str, holder: str, *, approve: bool, by: str) -> Ticket | None:
        """Decide what is on the card of this hash, once: its ticket, or None if there is no such card any more."""

        def work(store: Store) -> Ticket | None:
            request = self._card(store, key, holder)
            if request is None:
                return None
            for other, card in store.items("card").items():
                if Card.parse(card).request.digest == request.digest:  # of every preview of this call: it is decided
                    store.delete("card", other)
            return self._with_book(
                store, lambda book: book.decide_request(request, approve=approve, by=by, decided_in="app")
            )

        return await self._step(work, change=True)

    def _card(self, store: Store, key: str, holder: str) -> TicketRequest | None:
        stored = store.get("card", key)
        card = Card.parse(stored) if stored is not None else None
        return card.request if card and card.is_open_to(holder, self._now()) else None

    def _book(self, store: Store) -> TicketBook:
        return TicketBook(map(Ticket.parse, store.items("ticket").values()), self._now(), self._ttl)

    async def _change_tickets(self, act: Callable[[TicketBook], T]) -> T:
        return await self._step(lambda store: self._with_book(store, act), change=True)

    def _with_book(self, store: Store, act: Callable[[TicketBook], T]) -> T:
        codes = store.items("ticket").keys()
        book = self._book(store)
        before = dict(book.tickets)
        result = act(book)
        for code in codes - book.tickets.keys():
            store.delete("ticket", code)
        for code, ticket in book.tickets.items():
            if before.get(code) != ticket:
                store.put("ticket", code, asdict(ticket), ticket.expires)
        return result

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """Hold `key` alone: one call at a time acts on a token. A holder that dies lets go.

        Raises:
            StateError: it was not to be had in time; nothing was changed.
        """
        lock = self._locks.setdefault(key, anyio.Lock())
        with bounded_wait(self._patience):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()


class MemoryState(State):
    """A `State` that lives and dies with one process: for the sandbox, for tests, and for embedding."""

    def __init__(self, *, now: Callable[[], float] = time.time, ttl: float = TTL, patience: float = PATIENCE) -> None:
        super().__init__(now, ttl, patience)
        self._store = MemoryStore()

    async def _step(self, work: Callable[[Store], T], *, change: bool) -> T:
        self._store.prune(self._now())
        return work(self._store)  # alone, because the work awaits nothing

    async def aclose(self) -> None:
        """Nothing is open."""


class MemoryStore:
    """A store without a disk."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[Any, float]] = {}

    def get(self, kind: str, key: str) -> Any:
        return self._kept.get((kind, key), (None, 0))[0]

    def items(self, kind: str) -> dict[str, Any]:
        return {key: value for (of, key), (value, _) in self._kept.items() if of == kind}

    def put(self, kind: str, key: str, value: Any, expires: float) -> None:
        self._kept[kind, key] = (value, expires)

    def delete(self, kind: str, key: str) -> None:
        del self._kept[kind, key]

    def prune(self, now: float) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if kept[1] > now}


@contextmanager
def bounded_wait(seconds: float) -> Iterator[None]:
    """StateError where what is inside has not got its lock after `seconds`."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise StateError(
            f"Another call has been at work on the same token for {seconds:.0f} s. Nothing was changed. "
            "Try again when it has ended."
        ) from None
