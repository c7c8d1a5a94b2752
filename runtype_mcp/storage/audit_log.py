"""An append-only log of calls: JSON lines, each carrying the SHA-256 of the line before it.

The log is written ahead: `{"event": "started", "call": ID, ...}` before a write is sent and
`{"event": "ended", "call": ID, ...}` afterwards, so that a call whose process died is still on record.
Several processes may share one file. `append` blocks for the lock (5 s at most) and an fsync.
"""

import errno
import hashlib
import json
import math
import os
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from runtype_mcp.storage.files import exclusive, opened, read_up_to, sync_directory

MAX_LINE = 256 * 1024
"""The longest line in bytes. It bounds what `append` reads back and what `verify` holds in memory."""

_FIRST = "0" * 64
_ADDED = ("seq", "prev", "time")
_MOST_PROBLEMS = 100
_UNENDED = "unknown (no end recorded)"


class AuditError(Exception):
    """The log could not be written or read; the message is a sentence for people."""


# Writing


class AuditLog:
    """The log at `path`; the file (mode 0600) and its folder (0700) are created by the first entry."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: Mapping[str, object]) -> None:
        """Add one line, on the disk when this returns; AuditError when the entry was not recorded.

        `seq`, `prev` and `time` (UTC, ms) are added, so an entry may not bring its own. The line is one
        write, and a write that comes up short is taken back.

        A last line that is damaged, or was cut off because a process died while it wrote, stays as it is:
        it is closed with a line end, and an `{"event": "recovered"}` line is put between it and the new
        entry. `verify` reports both for good, and logging goes on.
        """
        if taken := sorted(entry.keys() & set(_ADDED)):
            raise AuditError(f"An audit entry may not bring its own {', '.join(taken)}. It was not recorded.")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with opened(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND) as fd, exclusive(fd):
                size = os.fstat(fd).st_size
                end = _end(fd, size)
                data = b"" if end.closed else b"\n"
                for fields in (entry,) if end.sound else ({"event": "recovered"}, entry):
                    line = _line(fields, end)
                    data += line + b"\n"
                    end = _End(end.seq + 1, _sha(line))
                try:
                    _write_whole(fd, data)
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


def _write_whole(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, "the disk is full")


@dataclass(frozen=True, slots=True)
class _End:
    """What the next line continues."""

    seq: int
    sha: str
    closed: bool = True  # the last byte is a line end
    sound: bool = True  # the last line can be continued as it is


def _end(fd: int, size: int) -> _End:
    if size == 0:
        return _End(0, _FIRST)
    window = 4096
    while True:
        os.lseek(fd, max(0, size - window), os.SEEK_SET)
        block = read_up_to(fd, min(window, size))
        before = block.rfind(b"\n", 0, -1)
        if before >= 0 or window >= size or window > MAX_LINE:
            break
        window *= 2
    closed = block.endswith(b"\n")
    if closed and (before >= 0 or window >= size):
        line = block[before + 1 : -1]
        if entry := _entry(line):
            return _End(entry["seq"], _sha(line))
    # Only after damage is the whole file read, once: the line that is written next is sound again.
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, "rb", closefd=False) as file:
        last = deque(_lines(file, size), maxlen=1).pop()
    return _End(last.number, last.sha, closed=closed, sound=False)


def _line(fields: Mapping[str, object], end: _End) -> bytes:
    added = {"seq": end.seq + 1, "prev": end.sha, "time": _now()}
    try:
        line = json.dumps({**added, **fields}, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(f"The audit entry is not JSON ({error}). It was not recorded.") from error
    if len(line) > MAX_LINE:
        raise AuditError(f"The audit entry is longer than {MAX_LINE} bytes. It was not recorded.")
    return line


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sha(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


# Reading


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    data: bytes | None  # None: longer than MAX_LINE
    sha: str
    closed: bool


def _lines(file: BinaryIO, size: int) -> Iterator[_Line]:
    number = 0
    while size > 0:
        number += 1
        sha = hashlib.sha256()
        data: bytes | None = None
        piece, pieces = b"", 0
        while size > 0 and not piece.endswith(b"\n"):
            piece = file.readline(min(size, MAX_LINE + 1))
            if not piece:  # cut shorter while it was read
                size = 0
            size -= len(piece)
            body = piece.removesuffix(b"\n")
            sha.update(body)
            pieces += 1
            data = body if pieces == 1 and len(body) <= MAX_LINE else None
        yield _Line(number, data, sha.hexdigest(), piece.endswith(b"\n"))


def _entry(line: bytes | None) -> dict[str, Any] | None:
    """The line's fields if it can be a line of this log, else None."""
    try:
        entry = json.loads(line or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or type(entry.get("seq")) is not int or not 0 < entry["seq"] < 2**53:
        return None
    return entry if all(isinstance(entry.get(key), str) for key in ("prev", "time")) else None


def _read(path: Path) -> Iterator[_Line]:
    try:
        with opened(path, os.O_RDONLY) as fd, os.fdopen(fd, "rb", closefd=False) as file:
            # Lines up to this size are whole and never change, so the lock need not be held any longer.
            with exclusive(fd):
                size = os.fstat(fd).st_size
            os.lseek(fd, 0, os.SEEK_SET)
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

    An edited, removed, inserted, moved or damaged line before the last one is found. What no chain can show
    by itself: the last lines were removed, the last line was edited, or somebody rewrote every line from some
    point on. Those are found only against a head that was remembered elsewhere, out of the forger's reach:
    keep the `head` of one check and pass it to the next, which then reports a problem unless that very line
    is still in the log. Lines written after it was remembered are covered by nothing but the chain.
    """
    wanted = None if head is None else head.strip().lower()
    seen = wanted in (None, _FIRST)
    problems: list[tuple[int, str]] = []
    unlisted = 0
    number, before, expected = 0, _FIRST, 1
    for line in _read(path):
        number = line.number
        for what in _faults(line, before, expected):
            if len(problems) < _MOST_PROBLEMS:
                problems.append((number, what))
            else:
                unlisted += 1
        entry = _entry(line.data)
        expected = (entry["seq"] if entry else expected) + 1
        before = line.sha
        seen = seen or before == wanted
    if unlisted:
        problems.append((number, f"{unlisted} more problems are not listed."))
    if not seen:
        problems.append(
            (number, "The remembered head is not in the log: its line was edited, or removed with all after it.")
        )
    return Verification(number, problems, before)


def _faults(line: _Line, before: str, expected: int) -> Iterator[str]:
    if not line.closed:
        yield "The line has no end: it was cut off while it was written."
    entry = _entry(line.data)
    if entry is None:
        yield "The line is damaged: it is not an entry of this log."
        return
    if entry["prev"] != before:
        yield (
            "The line does not continue the line before it: one of the two was edited, "
            "or lines between them were removed, inserted or moved."
        )
    if entry["seq"] != expected:
        yield f"The line has number {entry['seq']} where {expected} was due."
    if entry.get("event") == "recovered":
        yield "Logging went on here after the line before was cut off or damaged."


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

    Calls that started and have no recorded end come last, with the outcome "unknown (no end recorded)":
    they are still running, or their process died and the write may have happened. Fields are read as
    `caller`, `tool`, `token`, `name` (the token's), `effects`, `approval`, `outcome` and `duration_ms`, from the
    start and the end alike. Damaged lines are left out; `verify` reports them.
    """
    running: dict[str, dict[str, Any]] = {}
    for line in _read(path):
        entry = _entry(line.data) or {}
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
    entry = {**first, **(ended or {"outcome": _UNENDED})}
    token, name = _text(entry.get("token")), _text(entry.get("name"))
    return Row(
        time=first["time"],
        caller=_text(entry.get("caller")),
        tool=_text(entry.get("tool")),
        token=f"{name} ({token})" if name else token,
        effects=_text(entry.get("effects")),
        approval=_text(entry.get("approval")),
        outcome=_text(entry.get("outcome")),
        duration_ms=_duration(first, ended) if ended else None,
    )


def _duration(first: dict[str, Any], ended: dict[str, Any]) -> int | None:
    told = ended.get("duration_ms")
    if isinstance(told, int) or (isinstance(told, float) and math.isfinite(told)):
        return round(told)
    if first is ended:
        return None
    try:
        passed = datetime.fromisoformat(ended["time"]) - datetime.fromisoformat(first["time"])
    except (TypeError, ValueError):
        return None
    return round(passed.total_seconds() * 1000)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case list():
            return ", ".join(item if isinstance(item, str) else _json(item) for item in value)
        case _:
            return _json(value)


def _json(value: object) -> str:
    try:
        return json.dumps(value)
    except RecursionError:  # only a forged line nests that deep; it must not hide the other rows
        return "…"


def table(rows: Iterable[Row], *, width: int = 160) -> str:
    """The rows as aligned plain text, each line at most `width` characters long.

    Names and effects may carry text that a visitor wrote: control and invisible characters are removed,
    so that no cell can move the cursor, colour the terminal, add a line or turn the reading direction.
    """
    cells: list[tuple[str, ...]] = [("time", "caller", "tool", "token", "effects", "approval", "outcome", "ms")]
    for row in rows:
        took = "" if row.duration_ms is None else str(row.duration_ms)
        texts = (row.time, row.caller, row.tool, row.token, row.effects, row.approval, row.outcome, took)
        cells.append(tuple(_cut(_visible(text), 40) for text in texts))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join(_cut(line, width) for line in lines)


def _visible(text: str) -> str:
    # Category C: control, format (bidi, zero width), surrogate, private use and unassigned characters.
    return "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or not unicodedata.category(char).startswith("C")
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
