"""One-time approvals that are given outside the conversation.

A call that needs a person leaves a ticket; somebody approves its code elsewhere (a terminal); the same call
then takes the approval, once. The model sees the code, so a code opens nothing: `take` goes by the digest of
the exact call and the state that it was shown, and only `approve` turns a waiting ticket into an approved one.
"""

import hmac
import json
import math
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from runtype_mcp.storage.files import create_private, exclusive, opened, read_up_to, sync_directory

MAX_WAITING = 100
"""So many tickets may wait at once; beyond that `request` refuses."""

_DRIFT = 60
"""Seconds by which a clock may be put right."""
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O or U to misread
_CODE = re.compile(f"[{_ALPHABET}]{{4}}-[{_ALPHABET}]{{4}}")
_DIGEST = re.compile("[0-9a-f]{64}")
_MOST_BYTES = 1024 * 1024
_TEXTS = (
    "code",
    "digest",
    "operation",
    "subject_id",
    "subject_name",
    "environment",
    "base_url",
    "approved_by",
)


class TicketError(Exception):
    """Approvals could not be read or changed; the message is for people, and nothing has been approved."""


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the server and `runtype-mcp approve` meet; an empty variable counts as unset.

    Raises:
        TicketError: there is no such place.
    """
    try:
        return _state_dir(environ)
    except RuntimeError as exc:
        raise TicketError("There is no home directory to keep approvals in: set RUNTYPE_MCP_STATE_DIR.") from exc


def _state_dir(environ: Mapping[str, str]) -> Path:
    if own := environ.get("RUNTYPE_MCP_STATE_DIR", "").strip():
        return Path(own).expanduser()
    # The XDG rules say that a relative path here is to be ignored.
    if (xdg := environ.get("XDG_STATE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg, "runtype-mcp")
    if sys.platform == "win32":
        home = environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        home = "~/Library/Application Support"
    else:
        home = "~/.local/state"
    return Path(home, "runtype-mcp").expanduser()


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request for approval. `lines` are sentences for people; times are unix seconds.

    Names and lines may carry text that others wrote: strip control characters before a terminal shows them.
    """

    code: str
    digest: str
    operation: str
    subject_id: str
    subject_name: str
    environment: str
    lines: tuple[str, ...]
    base_url: str
    created: float
    expires: float
    state: Literal["waiting", "approved", "used", "denied"] = "waiting"
    approved_by: str = ""


class Tickets:
    """The tickets below `directory`, shared by all server processes and the terminal of one user.

    Every method raises TicketError when the file is damaged, locked for too long, or open to other users;
    then nothing counts as approved. `ttl` is in seconds: a request waits that long, and an approval stays
    good that long after it was given.
    """

    def __init__(self, directory: Path, *, now: Callable[[], float] = time.time, ttl: float = 900.0) -> None:
        self._directory = directory
        self._file = directory / "tickets.json"
        self._now = now
        self._ttl = ttl

    def request(
        self,
        digest: str,
        *,
        operation: str,
        subject_id: str,
        subject_name: str,
        environment: str,
        lines: Sequence[str],
        base_url: str,
    ) -> Ticket:
        """The ticket for exactly this call: the one that exists, or a new one that waits.

        Look at its `state`: a ticket that was approved in the meantime comes back as approved (call `take`),
        and one that a person denied comes back as denied until it expires, so that asking again does not
        wear the person down.
        """
        if not _DIGEST.fullmatch(digest):
            raise TicketError("The digest is not a SHA-256 in hex. No approval was asked for.")
        with self._changing() as tickets:
            for ticket in tickets:
                if hmac.compare_digest(ticket.digest, digest):
                    return ticket
            if sum(ticket.state == "waiting" for ticket in tickets) >= MAX_WAITING:
                raise TicketError(
                    f"{MAX_WAITING} requests already wait for a person. No approval was asked for. "
                    "Approve or deny some of them, or let them expire."
                )
            now = self._now()
            ticket = Ticket(
                code=_new_code({ticket.code for ticket in tickets}),
                digest=digest,
                operation=operation,
                subject_id=subject_id,
                subject_name=subject_name,
                environment=environment,
                lines=tuple(lines),
                base_url=base_url,
                created=now,
                expires=now + self._ttl,
            )
            tickets.append(ticket)
        return ticket

    def take(self, digest: str) -> Ticket | None:
        """Use up the approval of exactly this call; None when there is none.

        The approval is gone from the disk before this returns, so of several takers one gets it.
        """
        with self._changing() as tickets:
            for ticket in tickets:
                if ticket.state == "approved" and hmac.compare_digest(ticket.digest.encode(), digest.encode()):
                    tickets.remove(ticket)
                    return replace(ticket, state="used")
        return None

    def find(self, code: str) -> Ticket | None:
        """The unexpired, unused ticket with this code, however it was typed (case, dashes, O for 0, I for 1)."""
        return next((ticket for ticket in self._live() if ticket.code == _typed(code)), None)

    def approve(self, code: str, by: str) -> Ticket:
        """Let the one call behind this code through, once; `by` names the person."""
        return self._decide(code, lambda ticket: self._approved(ticket, by))

    def deny(self, code: str) -> Ticket:
        """Refuse the call behind this code, or withdraw an approval that has not been used."""
        return self._decide(code, lambda ticket: replace(ticket, state="denied", approved_by=""))

    def waiting(self) -> list[Ticket]:
        """The tickets that a person has yet to decide, oldest first."""
        return [ticket for ticket in self._live() if ticket.state == "waiting"]

    def _approved(self, ticket: Ticket, by: str) -> Ticket:
        if ticket.state != "waiting":
            raise TicketError(f"{ticket.code} is already {ticket.state}. Nothing was changed.")
        return replace(ticket, state="approved", approved_by=by, expires=self._now() + self._ttl)

    def _decide(self, code: str, decision: Callable[[Ticket], Ticket]) -> Ticket:
        with self._changing() as tickets:
            for index, ticket in enumerate(tickets):
                if ticket.code == _typed(code):
                    tickets[index] = decision(ticket)
                    return tickets[index]
            raise TicketError(
                "No ticket has this code: it was mistyped, has expired or has been used. Nothing was changed. "
                "Make the call again for a new code."
            )

    def _live(self) -> list[Ticket]:
        with _plainly(self._file):
            return self._unexpired(self._load()) if self._directory.exists() else []

    def _unexpired(self, tickets: list[Ticket]) -> list[Ticket]:
        now = self._now()
        # A clock that is set back must not keep a yes alive.
        return [ticket for ticket in tickets if ticket.expires - self._ttl - _DRIFT <= now < ticket.expires]

    @contextmanager
    def _changing(self) -> Iterator[list[Ticket]]:
        """The unexpired tickets, under the lock; what the list holds at the end is what the disk holds then."""
        with _plainly(self._file):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_directory()
            lock = self._directory / "tickets.lock"
            with opened(lock, os.O_RDWR | os.O_CREAT) as fd, exclusive(fd):
                stored = self._load()
                tickets = self._unexpired(stored)
                yield tickets
                if tickets != stored:
                    self._save(tickets)

    def _check_directory(self) -> None:
        # Whoever may rename files in the directory can bring an approval of their own.
        info = os.lstat(self._directory)
        if not stat.S_ISDIR(info.st_mode):
            raise TicketError(f"{self._directory} is a symbolic link or not a folder. No approval counts.")
        _check_private(self._directory, info)

    def _load(self) -> list[Ticket]:
        self._check_directory()
        try:
            with opened(self._file, os.O_RDONLY) as fd:
                _check_private(self._file, os.fstat(fd))
                data = read_up_to(fd, _MOST_BYTES + 1)
        except FileNotFoundError:
            return []
        try:
            return _parse(data)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise TicketError(
                f"{self._file} is damaged. No approval counts. Delete the file and make the calls again."
            ) from None

    def _save(self, tickets: list[Ticket]) -> None:
        data = json.dumps({"version": 1, "tickets": [asdict(ticket) for ticket in tickets]}).encode()
        if len(data) > _MOST_BYTES:
            raise TicketError(f"{self._file} would grow too large. Nothing was changed. Deny old requests.")
        new = self._directory / "tickets.json.new"
        new.unlink(missing_ok=True)  # left by a process that was killed; the lock is ours
        try:
            create_private(new, data)
            os.replace(new, self._file)
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
        sync_directory(self._directory)


def _new_code(taken: set[str]) -> str:
    while True:
        letters = "".join(secrets.choice(_ALPHABET) for _ in range(8))
        code = f"{letters[:4]}-{letters[4:]}"
        if code not in taken:
            return code


def _typed(code: str) -> str:
    letters = re.sub(r"[\s-]", "", code).upper().translate(str.maketrans("OIL", "011"))
    return f"{letters[:4]}-{letters[4:]}"


@contextmanager
def _plainly(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TicketError(
            f"The approvals in {file} could not be used: {error.strerror}. Nothing was changed, and no "
            "approval counts. Repair the file or its folder, then try again."
        ) from error


def _check_private(path: Path, info: os.stat_result) -> None:
    if sys.platform != "win32" and (info.st_uid != os.geteuid() or info.st_mode & 0o022):
        raise TicketError(
            f"{path} belongs to another user, or others may write to it. No approval counts. "
            "Check what is in it, then take it over with chown and chmod go-w."
        )


def _parse(data: bytes) -> list[Ticket]:
    stored = json.loads(data)
    if len(data) > _MOST_BYTES or stored["version"] != 1:
        raise ValueError
    return [_ticket(row) for row in stored["tickets"]]


def _ticket(row: dict[str, Any]) -> Ticket:
    ticket = Ticket(**{**row, "lines": tuple(row["lines"])})
    texts = [*(getattr(ticket, name) for name in _TEXTS), *ticket.lines]
    times = (ticket.created, ticket.expires)
    if (
        not all(isinstance(text, str) for text in texts)
        or not all(type(moment) in (int, float) and math.isfinite(moment) for moment in times)
        or not _CODE.fullmatch(ticket.code)
        or not _DIGEST.fullmatch(ticket.digest)
        or ticket.state not in ("waiting", "approved", "denied")
    ):
        raise ValueError
    return ticket
