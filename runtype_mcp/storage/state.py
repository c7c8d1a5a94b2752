"""What outlives a call, or must be seen by the other servers of a user or a team: the `State`, and one in memory.

Seven things are kept: what a caller last read of a token, which answers of people are used, who acts on what right now,
how fast a caller goes, who is signed in on the team's page, tickets (`tickets.py`), and cards (`cards.py`). The
processes that have the same store share them; last reads only where several processes answer the same callers.
"""

from __future__ import annotations

import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import anyio

from runtype_mcp.storage.cards import Card, superfluous
from runtype_mcp.storage.last_reads import LastReads, TokenSettings, merged
from runtype_mcp.storage.rate_limit import admit
from runtype_mcp.storage.store import MemoryStore, Store
from runtype_mcp.storage.tickets import BY_ONE, TTL, DecidedIn, StateError, Ticket, TicketBook, TicketRequest

__all__ = ["MemoryState", "State", "StateError", "TokenSettings"]

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds to wait for a lock."""
_HOUR = 3600.0
_DAY = 24 * _HOUR
_FOREVER = float("inf")

logger = logging.getLogger("runtype_mcp")


class HeldLock:
    """A lock that a call holds."""

    async def ensure_held(self) -> None:
        """Make sure, right before a write, that nobody else has the lock.

        Raises:
            StateError: somebody else may have it.
        """
        # A lock in a process, or on a file, is held until its holder lets go or dies.


class State(ABC):
    """Every method may be called by any number of tasks and processes at the same time.

    A subclass brings the store, and the locks that reach beyond this process.
    """

    def __init__(self, now: Callable[[], float], ttl: float, patience: float, *, shared_reads: bool = False) -> None:
        self._now, self._ttl, self._patience = now, ttl, patience
        # Where one process answers a caller, a write to disk for each read would buy nothing.
        self._own_reads = None if shared_reads else LastReads()
        self._reads_unrecorded = False
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @abstractmethod
    async def _step(self, work: Callable[[Store], T], *, change: bool, durable: bool = True) -> T:
        """Give `work` a store to read or, alone, to change. It may be called again, so it does nothing else.

        A change is on the disk, if there is one, at the return; one that is not `durable` may be lost with the power.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of files and connections."""

    async def last_read(self, subject: str, token_id: str) -> TokenSettings | None:
        """The settings of the token that `subject` was last shown; None if it was shown none, or they are forgotten."""
        if self._own_reads:
            return self._own_reads.get(subject, token_id)
        kept = await self._step(lambda store: store.get("read", _read_key(subject, token_id)), change=False)
        return kept["settings"] if kept else None

    async def record_reads(
        self, subject: str, reads: Mapping[str, TokenSettings], fields: Iterable[str] | None = None
    ) -> None:
        """Remember, by token id, the settings that `subject` was just shown; for a day, or until newer ones need room.

        Where only `fields` were shown, what was shown before of the others still counts. Where the store cannot be
        used, that is logged, once, and nothing is raised: to read needs no shared state.
        """
        shown = None if fields is None else tuple(fields)
        if self._own_reads:
            return self._own_reads.record(subject, reads, shown)
        keys = {_read_key(subject, token_id): settings for token_id, settings in reads.items()}

        def news(store: Store) -> dict[str, Any]:
            now, kept = self._now(), store.get_many("read", keys)
            found = {}
            for key, settings in keys.items():
                before = kept.get(key)
                after = merged(before and before["settings"], settings, shown)
                # What is as it was is written again only now and then: most reads then cost one look.
                if before is None or before["settings"] != after or now - before["at"] > _HOUR:
                    found[key] = {"at": now, "settings": after}
            return found

        def write(store: Store) -> None:
            for key, value in news(store).items():
                store.put("read", key, value, value["at"] + _DAY)

        try:
            if await self._step(news, change=False):
                await self._step(write, change=True, durable=False)
            self._reads_unrecorded = False
        except StateError as error:
            if not self._reads_unrecorded:
                logger.warning("What callers are shown is not remembered, and reads go on: %s", error)
            self._reads_unrecorded = True

    async def hit(self, key: str, limit: int, window: float) -> float:
        """Count a request of `key`, of which `limit` may come at the same time and again in each `window` (seconds).

        Returns:
            0.0 if it is admitted, else the seconds after which it would be.

        Raises:
            StateError: it could not be counted. Whether it is admitted then is the caller's decision.
        """

        def work(store: Store) -> float:
            full_at, wait = admit(store.get("rate", key), self._now(), limit, window)
            if not wait:
                store.put("rate", key, full_at, full_at)
            return wait

        return await self._step(work, change=True, durable=False)

    async def approvals_used(self, digest: str) -> int:
        """How many approvals of exactly this plan were used, counted from a number that is fixed while none is lost."""
        return await self._step(lambda store: int(store.get("used", digest) or store.first_count), change=False)

    async def use_approval(self, digest: str, used: int) -> bool:
        """Use one approval of this plan. False if not exactly `used` of them were used before: it is used already."""

        def work(store: Store) -> bool:
            if (store.get("used", digest) or store.first_count) != used:
                return False
            store.put("used", digest, used + 1, self._now() + _DAY)
            return True

        return await self._step(work, change=True)

    async def write_epoch(self) -> int:
        """A number that grows before and after each write of any server that shares this state.

        It grows also where the store lost its memory in between, because it is never behind the clock (in ms).
        """
        return await self._step(lambda store: int(store.get("epoch", "") or 0), change=False)

    async def advance_write_epoch(self) -> None:
        """Tell every plan made so far that the tokens may have changed since."""

        def work(store: Store) -> None:
            epoch = max((store.get("epoch", "") or 0) + 1, int(self._now() * 1000))
            store.put("epoch", "", epoch, _FOREVER)

        await self._step(work, change=True)

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

    async def keep_sign_in(self, key: str, person: Mapping[str, Any], seconds: float) -> None:
        """Keep who is signed in under the hash `key` of a cookie."""
        await self._step(lambda store: store.put("sign-in", key, dict(person), self._now() + seconds), change=True)

    async def find_sign_in(self, key: str) -> dict[str, Any] | None:
        """Who is signed in under the hash of a cookie; None if nobody is, or any more."""
        return await self._step(lambda store: store.get("sign-in", key), change=False)

    async def end_sign_in(self, key: str) -> None:
        """Sign out whoever is signed in under the hash of a cookie."""

        def work(store: Store) -> None:
            if store.get("sign-in", key) is not None:
                store.delete("sign-in", key)

        await self._step(work, change=True)

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
    async def lock(self, key: str) -> AsyncIterator[HeldLock]:
        """Hold `key` alone: one call at a time acts on a token. A holder that dies lets go.

        Where locks can be lost while they are held, `ensure_held` of what this gives finds out.

        Raises:
            StateError: it was not to be had in time; nothing was changed.
        """
        lock = self._locks.setdefault(key, anyio.Lock())
        with bounded_wait(self._patience):
            await lock.acquire()
        try:
            yield HeldLock()
        finally:
            lock.release()


class MemoryState(State):
    """A `State` that lives and dies with one process: for the sandbox, for tests, and for embedding."""

    def __init__(self, *, now: Callable[[], float] = time.time, ttl: float = TTL, patience: float = PATIENCE) -> None:
        super().__init__(now, ttl, patience)
        self._store = MemoryStore()

    async def _step(self, work: Callable[[Store], T], *, change: bool, durable: bool = True) -> T:
        self._store.prune(self._now())
        return work(self._store)  # alone, because the work awaits nothing

    async def aclose(self) -> None:
        """Nothing is open."""


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


def _read_key(subject: str, token_id: str) -> str:
    """A name of a fixed length that holds no names of people."""
    return hashlib.sha256(f"{len(subject)} {subject}{token_id}".encode("utf-8", "surrogatepass")).hexdigest()
