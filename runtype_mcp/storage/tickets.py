"""One-time approvals that are given outside the conversation: what a ticket is, and the rules of its life.

A call that needs a person leaves a ticket; somebody approves its code elsewhere (a terminal); the same call then
takes the approval, once. The model sees the code, so a code opens nothing: `take` goes by the digest of the exact
call and the state that it was shown, and only `decide` turns a waiting ticket into an approved one.

The rules are pure. Each `State` keeps the tickets in its own way and applies one rule as one step.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

TTL = 900.0
"""Seconds for which a ticket waits, and for which a decision counts once it is made."""
MAX_WAITING, MAX_WAITING_EACH = 200, 10
"""How many tickets may wait, in all and of one `requested_by`."""

DecidedIn = Literal["terminal", "page", "console", "app", "tool", "team page"]
"""Where a person decided: in a terminal, on the page of one call, in the console, on a card in the conversation; or,
as somebody else than the one who asks, by the tool `decide_approval` or on the page for a team."""
BY_ONE: frozenset[DecidedIn] = frozenset({"terminal", "page", "console", "app"})
"""Where the one who asks may be the one who approves."""
BY_ANOTHER: frozenset[DecidedIn] = frozenset({"tool", "team page"})
"""Where nobody approves what they asked for themselves."""
CLOCK_CORRECTION = 60
"""Seconds by which a clock may be set back without ending every ticket."""
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O or U to misread
_DIGEST = re.compile("[0-9a-f]{64}")


class StateError(Exception):
    """What is kept could not be read or changed. The message is for people; nothing counts as approved."""


@dataclass(frozen=True, slots=True)
class TicketRequest:
    """What a person is asked to judge. Texts may come from others: sanitize them before a terminal shows them.

    `digest` (SHA-256, hex) binds the exact call, the token's state and the account. `scope` stands for account,
    operation and token: a denial holds for all of it. `card` is what a person is shown, as JSON. `requested_by` says
    whose waiting tickets are counted together. With `second_person`, that one cannot approve it.
    """

    digest: str
    scope: str
    operation: str
    subject_id: str
    subject_name: str
    environment: str
    card: dict[str, Any]
    base_url: str
    requested_by: str
    second_person: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Ticket(TicketRequest):
    """A request under its `code`. Times are unix seconds.

    `decided_by` names the person, once there is one; `decided_by_subject` is their identity, where they have one.
    """

    code: str
    created: float
    expires: float
    state: Literal["waiting", "approved", "denied", "used"] = "waiting"
    decided_by: str = ""
    decided_in: DecidedIn | Literal[""] = ""
    decided_by_subject: str = ""

    @property
    def shown(self) -> dict[str, Any]:
        """The card with what becomes of the request: all that a page needs to show it."""
        names = ("code", "created", "expires", "state")
        return self.card | {name: getattr(self, name) for name in names} | {"decidedBy": self.decided_by}

    @classmethod
    def parse(cls, stored: Any) -> Ticket:
        """The ticket that `asdict` made `stored` of. ValueError if it is anything else."""
        try:
            ticket = cls(**stored)
            sound = math.isfinite(ticket.created) and math.isfinite(ticket.expires) and isinstance(ticket.card, dict)
        except TypeError as error:
            raise ValueError("it is not a ticket") from error
        if not sound or ticket.state == "used" or normalize_code(ticket.code) != ticket.code:
            raise ValueError("it is not a ticket that can be stored")
        return ticket


class TicketBook:
    """The live ones of `tickets`, by code, as they are at `now`. What a method changes is changed in `tickets`."""

    def __init__(self, tickets: Iterable[Ticket], now: float, ttl: float) -> None:
        self._now, self._ttl = now, ttl
        # A clock that is set back must not keep a yes alive.
        self.tickets = {t.code: t for t in tickets if t.expires - ttl - CLOCK_CORRECTION <= now < t.expires}

    def request(self, request: TicketRequest, *, counted: frozenset[DecidedIn] = BY_ONE) -> Ticket:
        """The ticket of exactly this call, or what a person denied of the same scope, or a new one that waits.

        `counted`: where an approval counts. What was approved elsewhere waits again.
        """
        if not _DIGEST.fullmatch(request.digest):
            raise StateError("The digest is not a SHA-256 in hex. No approval was asked for.")
        own = next((t for t in self.tickets.values() if t.digest == request.digest), None)
        if own and own.state == "approved" and own.decided_in not in counted:
            own = replace(own, state="waiting", decided_by="", decided_in="", decided_by_subject="")
            self.tickets[own.code] = own
        if own and own.state != "waiting":
            return own
        # Otherwise a call with one more harmless field would ask the person again who has just said no.
        denied = next((t for t in self.tickets.values() if t.state == "denied" and t.scope == request.scope), None)
        if found := denied or own:
            return found
        waiting = [t for t in self.tickets.values() if t.state == "waiting"]
        own_waiting = [t for t in waiting if t.requested_by == request.requested_by]
        for count, limit, whose in (
            (len(own_waiting), MAX_WAITING_EACH, " of yours"),
            (len(waiting), MAX_WAITING, ""),
        ):
            if count >= limit:
                raise StateError(
                    f"{limit} requests{whose} already wait for a person. No approval was asked for, and nothing was "
                    "changed. Have some of them approved or denied, or let them expire, then call again."
                )
        return self._new(request)

    def _new(self, request: TicketRequest) -> Ticket:
        code = new_code(self.tickets)
        ticket = Ticket(**asdict(request), code=code, created=self._now, expires=self._now + self._ttl)
        self.tickets[code] = ticket
        return ticket

    def decide_request(self, request: TicketRequest, *, approve: bool, by: str, decided_in: DecidedIn) -> Ticket:
        """Decide exactly this call, whether or not a ticket waits for it, or another of its scope was denied."""
        own = next((t for t in self.tickets.values() if t.digest == request.digest), None) or self._new(request)
        if approve and own.state == "approved":
            return own
        return self.decide(own.code, approve=approve, by=by, decided_in=decided_in)

    def take(self, digest: str, scope: str = "", *, counted: frozenset[DecidedIn] = BY_ONE) -> Ticket | None:
        """What a person decided of exactly this call: its approval, used up by this, or else a denial of its scope.

        `counted`: where an approval counts. A denial counts wherever it was given.
        """
        denied = None
        for code, ticket in self.tickets.items():
            if ticket.state == "approved" and ticket.digest == digest and ticket.decided_in in counted:
                if ticket.second_person:
                    _check_another(ticket, ticket.decided_by_subject)
                del self.tickets[code]
                return replace(ticket, state="used")
            if ticket.state == "denied" and ticket.scope == scope:
                denied = ticket
        return denied

    def find(self, code: str) -> Ticket | None:
        """The ticket with this code, however it was typed."""
        return self.tickets.get(normalize_code(code))

    def decide(
        self,
        code: str,
        *,
        approve: bool,
        by: str,
        decided_in: DecidedIn,
        by_subject: str = "",
        only_waiting: bool = False,
    ) -> Ticket:
        """Approve or deny; a denial can be taken back, and an approval that was not used can be withdrawn.

        `by_subject` is the identity of the person whom `by` names. With `only_waiting`, what was decided stays as it
        is: a page that shows it as waiting is behind.
        """
        ticket = self.find(code)
        if ticket is None:
            raise StateError(
                "No ticket has this code: it was mistyped, has expired or has been used. Nothing was changed. "
                "Make the call again for a new code."
            )
        if decided_in in BY_ANOTHER:
            _check_another(ticket, by_subject)
        if approve and decided_in not in (BY_ANOTHER if ticket.second_person else BY_ONE):
            raise StateError(f"{_WHO[ticket.second_person].format(ticket.code)} Nothing was decided.")
        if ticket.state == "approved" and (approve or only_waiting):
            raise StateError(f"{ticket.code} is already approved. Nothing was changed.")
        if ticket.state == "denied" and only_waiting:
            raise StateError(f"{ticket.code} is already denied. Nothing was changed.")
        decided = replace(
            ticket,
            state="approved" if approve else "denied",
            decided_by=by,
            decided_in=decided_in,
            decided_by_subject=by_subject,
            expires=self._now + self._ttl,
        )
        self.tickets[ticket.code] = decided
        return decided

    def oldest_first(self) -> list[Ticket]:
        return sorted(self.tickets.values(), key=lambda ticket: ticket.created)


_WHO = {
    True: "{} needs a second person: somebody else who may approve, by the tool decide_approval or on the team's page.",
    False: "{} is for the person who asked, and not for a second one.",
}


def _check_another(ticket: Ticket, subject: str) -> None:
    """Refuse a decision that is not known to be somebody else's than the one who asks."""
    if not (subject and ticket.requested_by):
        raise StateError(f"It is not known who asks for {ticket.code}, or who decides. Nothing was decided.")
    if subject == ticket.requested_by:
        raise StateError(f"You asked for {ticket.code} yourself. Nothing was decided: another person must decide it.")


def new_code(taken: Container[str], choose: Callable[[Sequence[str]], str] = secrets.choice) -> str:
    """A code like 4F7K-9TQX that is not taken."""
    while True:
        letters = "".join(choose(_ALPHABET) for _ in range(8))
        if (code := f"{letters[:4]}-{letters[4:]}") not in taken:
            return code


def normalize_code(typed: str) -> str:
    """The code that a person means, whatever the case and the dashes, with O for 0 and I or L for 1."""
    letters = re.sub(r"[\s-]", "", typed).upper().translate(str.maketrans("OIL", "011"))
    return f"{letters[:4]}-{letters[4:]}"
