"""What outlives a call, or must be seen by the other servers of a user or a team: the `State`, and one in memory.

Four things are kept: what a caller last read of a token, which answers of people are used, who acts on what right now,
and tickets (`tickets.py`). Everything that is shared goes through this interface, so that one process, several
processes of one machine and several machines differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from runtype_mcp.storage.tickets import Ticket, TicketRequest

TokenSettings = dict[str, Any]
"""A token's settings by their names in Python, as `ClientToken.settings()` gives them."""


class State(Protocol):
    """Every method may be called by any number of tasks, processes and machines at the same time."""

    async def last_read(self, subject: str, token_id: str) -> TokenSettings | None:
        """The settings of the token that `subject` was last shown; None if it was shown none, or they are forgotten."""

    async def record_reads(
        self, subject: str, reads: Mapping[str, TokenSettings], fields: Iterable[str] | None = None
    ) -> None:
        """Remember, by token id, the settings that `subject` was just shown.

        Where only `fields` were shown, what was shown before of the others still counts. Of a token that is new to
        the subject all of it counts: what changes from now on was changed behind their back.
        """

    async def approvals_used(self, digest: str) -> int:
        """How many approvals of exactly this plan were used."""

    async def use_approval(self, digest: str, used: int) -> bool:
        """Use one approval of this plan. False if not exactly `used` of them were used before: it is used already."""

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold `key` alone: one call at a time acts on a token. A holder that dies lets go.

        Raises:
            StateError: it was not to be had in time; nothing was changed.
        """

    async def write_epoch(self) -> int:
        """A number that grows before and after each write of any server that shares this state."""

    async def advance_write_epoch(self) -> None:
        """Tell every plan made so far that the tokens may have changed since."""

    async def request_ticket(self, request: TicketRequest) -> Ticket:
        """The ticket of exactly this call: the one that exists, or a new one that waits. Look at its `state`."""

    async def take_ticket(self, digest: str) -> Ticket | None:
        """Use up the approval of exactly this call, once, over all servers; None when there is none."""

    async def find_ticket(self, code: str) -> Ticket | None:
        """The ticket with this code, if it has not expired and was not used."""

    async def decide_ticket(self, code: str, *, approve: bool, by: str) -> Ticket:
        """Approve or deny the one call behind this code; `by` names the person."""

    async def open_tickets(self) -> list[Ticket]:
        """The tickets that wait or were decided and not used, oldest first."""

    async def aclose(self) -> None:
        """Let go of files and connections."""
