"""An append-only log of calls: JSON lines, each carrying the SHA-256 of the line before it.

The log is written ahead: `{"event": "started", "call": ID, ...}` before a write is sent and
`{"event": "ended", "call": ID, ...}` afterwards, so that a call whose process died is still on record.
Several processes may share one file; they wait for each other at `NAME.lock` beside it, because they need share no
other directory. `append` blocks for the lock (5 s at most) and an fsync.
"""

import errno
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from runtype_mcp.storage.files import locked, opened, sync_directory

MAX_LINE = 256 * 1024
"""The longest line in bytes. It bounds what `append` reads back and what `verify` holds in memory."""

FIRST = "0" * 64
_ADDED = ("seq", "prev", "time")
_MAX_PROBLEMS = 100
_UNENDED = "unknown (no end recorded)"


class AuditError(Exception):
    """The log could not be written or read; the message is a sentence for people."""


@runtime_checkable
class AuditSink(Protocol):
    """Where entries are recorded."""

    def append(self, entry: Mapping[str, object]) -> None:
        """Record an entry for good; AuditError when it was not, or may not have been, recorded. It may block."""


# Writing


class AuditLog:
    """The log at `path`; the file (mode 0600) and its folder (0700) are created by the first entry."""

    def __init__(self, path: Path, *, patience: float = 5.0) -> None:
        self.path, self._patience = path, patience

    def append(self, entry: Mapping[str, object]) -> None:
        """Add one line, on the disk when this returns; AuditError when the entry was not recorded.

        `seq`, `prev` and `time` (UTC, ms) are added, so an entry may not bring its own. The line is one
        write, and a write that comes up short is taken back. A value that is too long for a line is cut and ends
        in "…": no caller can keep a call off the record by its length.

        A last line that is damaged, or was cut off because a process died while it wrote, stays as it is:
        it is closed with a line end, and an `{"event": "recovered"}` line is put between it and the new
        entry. `verify` reports both for good, and logging goes on.
        """
        if taken := sorted(entry.keys() & set(_ADDED)):
            raise AuditError(f"An audit entry may not bring its own {', '.join(taken)}. It was not recorded.")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            with locked(_lock_file(self.path), seconds=self._patience), opened(self.path, flags) as fd:
                size = os.fstat(fd).st_size
                last = _last(fd, size)
                data = b"" if last.closed else b"\n"
                seq, prev = last.seq, last.sha
                for fields in (entry,) if last.sound else ({"event": "recovered"}, entry):
                    seq += 1
                    line = json_line(fields, seq, prev)
                    data += line + b"\n"
                    prev = hashlib.sha256(line).hexdigest()
                try:
                    if os.write(fd, data) != len(data):
                        raise OSError(errno.ENOSPC, "the disk is full")  # noqa: TRY301 - as a failed write
                    os.fsync(fd)
                except OSError:
                    # Where even this fails the line is torn, and the next append says so.
                    with suppress(OSError):
                        os.ftruncate(fd, size)
                    raise
            if size == 0:
                sync_directory(self.path.parent)
        except OSError as error:
            raise AuditError(
                f"The audit log {self.path} could not be written: {error.strerror}. "
                "The entry was not recorded. Free or repair the file, then try again."
            ) from error


def json_line(fields: Mapping[str, object], seq: int, prev: str) -> bytes:
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    share = MAX_LINE // (len(fields) + 1)
    try:
        cut = {name: _cut(value, share) for name, value in fields.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(f"The audit entry is not JSON ({error}). It was not recorded.") from error
    return json.dumps({"seq": seq, "prev": prev, "time": time, **cut}, separators=(",", ":")).encode("ascii")


def _cut(value: object, share: int) -> object:
    """The value, or the beginning of its text: as JSON that takes less than `share` bytes, its name included."""
    text = json.dumps(value, allow_nan=False)
    if len(text) < share - 100:
        return value
    # A character takes up to twelve bytes, in a text as in the JSON of anything else.
    return (value if isinstance(value, str) else text)[: share // 12 - 20] + "…"


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


# Reading


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    entry: dict[str, Any] | None  # None: it cannot be a line of this log
    sha: str
    closed: bool  # it has a line end

    @property
    def sound(self) -> bool:
        """Whether the next line can continue this one as it is."""
        return self.closed and self.entry is not None

    @property
    def seq(self) -> int:
        return int(self.entry["seq"]) if self.entry else self.number


_NOTHING = _Line(0, {"seq": 0}, FIRST, closed=True)


def _last(fd: int, size: int) -> _Line:
    """The last line of the file, as far as the next one must know it."""
    if size == 0:
        return _NOTHING
    # The longest line, its end, and the end of the line before it.
    start = max(0, size - MAX_LINE - 2)
    with os.fdopen(fd, "rb", closefd=False) as file:
        file.seek(start)
        block = file.read(size - start)
        before = block.rfind(b"\n", 0, -1)
        if block.endswith(b"\n") and (before >= 0 or start == 0):
            data = block[before + 1 : -1]
            if entry := entry_of(data):
                return _Line(entry["seq"], entry, hashlib.sha256(data).hexdigest(), closed=True)
        # Only after damage is the whole file read, once: the line that is written next is sound again.
        file.seek(0)
        return deque(_lines(file, size), maxlen=1).pop()


def _lines(file: BinaryIO, size: int) -> Iterator[_Line]:
    """The lines within the first `size` bytes. Of a line that is too long, only its hash is known."""
    number = 0
    while size > 0:
        number += 1
        piece = first = file.readline(min(size, MAX_LINE + 1))
        sha = hashlib.sha256(piece.removesuffix(b"\n"))
        size -= len(piece)
        while size > 0 and piece and not piece.endswith(b"\n"):
            piece = file.readline(min(size, MAX_LINE + 1))
            first = b""
            sha.update(piece.removesuffix(b"\n"))
            size -= len(piece)
        if not piece:  # the file was cut shorter while it was read
            size = 0
        yield _Line(number, entry_of(first), sha.hexdigest(), piece.endswith(b"\n"))


def entry_of(line: bytes) -> dict[str, Any] | None:
    """The line's fields if it can be a line of this log, else None."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or type(entry.get("seq")) is not int or not 0 < entry["seq"] < 2**53:
        return None
    return entry if all(isinstance(entry.get(key), str) for key in ("prev", "time")) else None


def _read(path: Path) -> Iterator[_Line]:
    try:
        with opened(path, os.O_RDONLY) as fd, os.fdopen(fd, "rb", closefd=False) as file:
            # Lines up to this size are whole and never change, so the lock need not be held any longer. A log that was
            # copied to be checked has no lock, and none is put beside it.
            lock = _lock_file(path)
            with locked(lock) if os.path.lexists(lock) else nullcontext():
                size = os.fstat(fd).st_size
            yield from _lines(file, size)
    except OSError as error:
        raise AuditError(
            f"The audit log {path} could not be read: {error.strerror}. "
            "Nothing was changed. Check the path and who may read it."
        ) from error


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found: `problems` are (line number, sentence); `head` is the hash of the last line."""

    lines: int
    problems: list[tuple[int, str]]
    head: str


def verify(path: Path, head: str | None = None) -> Verification:
    """Check that every line continues the line before it; AuditError when the log cannot be read.

    An edited, removed, inserted, moved or damaged line before the last one is found. No chain shows by itself that the
    last lines were removed, the last line was edited, or every line was rewritten from some point on. Those are found
    only against a head that was remembered out of the forger's reach: pass the `head` of one check to the next, which
    reports a problem unless that very line is still in the log. Later lines are covered by nothing but the chain.
    """
    wanted = FIRST if head is None else head.strip().lower()
    seen = wanted == FIRST
    problems: list[tuple[int, str]] = []
    any_entry = False
    before = _NOTHING
    for line in _read(path):
        if len(problems) < _MAX_PROBLEMS:
            problems += [(line.number, what) for what in _faults(line, before)]
            if len(problems) >= _MAX_PROBLEMS:
                problems.append((line.number, "Problems after this line are not listed."))
        any_entry = any_entry or line.entry is not None
        before = line
        seen = seen or line.sha == wanted
    if before.number and not any_entry:
        problems = [(1, "This is not an audit log: no line of it is an entry of one.")]
    if not seen:
        problems.append(
            (before.number, "The remembered head is not in the log: its line was edited, or removed with all after it.")
        )
    return Verification(before.number, problems, before.sha)


def _faults(line: _Line, before: _Line) -> Iterator[str]:
    if not line.closed:
        yield "The line has no end: it was cut off while it was written."
    if line.entry is None:
        yield "The line is damaged: it is not an entry of this log."
        return
    if line.entry["prev"] != before.sha:
        yield (
            "The line does not continue the line before it: one of the two was edited, "
            "or lines between them were removed, inserted or moved."
        )
    if line.seq != before.seq + 1:
        yield f"The line has number {line.seq} where {before.seq + 1} was due."
    if line.entry.get("event") == "recovered":
        yield "Logging went on here after the line before was cut off or damaged."


def newest(path: Path, limit: int, before: int) -> list[dict[str, Any]]:
    """The last `limit` lines of those numbered below `before`, newest first; AuditError when the log cannot be read.

    Damaged lines are left out; `verify` reports them.
    """
    entries = (line.entry for line in _read(path))
    return list(deque((entry for entry in entries if entry and entry["seq"] < before), maxlen=limit))[::-1]


@dataclass(frozen=True, slots=True)
class Row:
    """One call. `time` is when it started, UTC; `duration_ms` is None where it is not known."""

    time: str
    caller: str
    tool: str
    token: str
    effects: str
    approval: str
    outcome: str
    duration_ms: int | None


def rows(path: Path) -> Iterator[Row]:
    """One row per call, in the order in which the calls ended; AuditError when the log cannot be read.

    Calls that started and have no recorded end come last, with the outcome "unknown (no end recorded)": they are still
    running, or their process died and the write may have happened. Damaged lines are left out; `verify` reports them.
    """
    return rows_of(line.entry or {} for line in _read(path))


def rows_of(entries: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """The same, of entries from anywhere."""
    running: dict[str, dict[str, Any]] = {}
    for entry in entries:
        call = _text(entry.get("call"))
        match entry.get("event"):
            case "started":
                if call in running:
                    yield _row(running[call], None)
                running[call] = entry
            case "ended":
                yield _row(running.pop(call, entry), entry)
    for entry in running.values():
        yield _row(entry, None)


def _row(first: dict[str, Any], ended: dict[str, Any] | None) -> Row:
    entry = {**first, **(ended or {"outcome": _UNENDED, "duration_ms": None})}
    took = entry.get("duration_ms")
    token, name = _text(entry.get("token")), _text(entry.get("name"))
    return Row(
        time=first["time"],
        token=f"{name} ({token})" if name else token,
        duration_ms=took if isinstance(took, int) else None,
        **{field: _text(entry.get(field)) for field in ("caller", "tool", "effects", "approval", "outcome")},
    )


def _text(value: object) -> str:
    """A text or a list of texts, as people read it. Only a forged line holds anything else."""
    if isinstance(value, list):
        return ", ".join(item if isinstance(item, str) else "…" for item in value)
    return value if isinstance(value, str) else "" if value is None else "…"
