"""The audit log of servers in containers: lines on stdout, or a stream in Redis, with a chain for each writer.

Several processes write, and none waits for another: each line names its `writer` (one process, since its start) and
carries that writer's number and the SHA-256 of that writer's line before.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtype_mcp.storage.audit_log import FIRST, AuditError, entry_of, json_line
from runtype_mcp.storage.redis_connection import RedisConnection, RedisFailure

STREAM = "runtype-mcp:audit"
_START = b'{"seq":'


class WriterLog:
    """A log whose lines `send` puts somewhere for good, or raises OSError."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send, self._mutex = send, threading.Lock()
        self._writer, self._seq, self._prev = secrets.token_hex(8), 0, FIRST

    def append(self, entry: Mapping[str, object]) -> None:
        """Add one line; AuditError when it may not have been recorded."""
        with self._mutex:
            line = json_line({"writer": self._writer, **entry}, self._seq + 1, self._prev)
            try:
                self._send(line)
            except OSError as error:
                # Nobody knows whether the line is there. Another chain has no gap, whichever it is.
                self._writer, self._seq, self._prev = secrets.token_hex(8), 0, FIRST
                raise AuditError(f"The audit log could not be written: {error.strerror or error}.") from error
            self._seq, self._prev = self._seq + 1, hashlib.sha256(line).hexdigest()


def stdout_log() -> WriterLog:
    """Lines on standard output, each in one write."""

    def send(line: bytes) -> None:
        data = memoryview(line + b"\n")
        while data:
            data = data[os.write(1, data) :]

    return WriterLog(send)


def redis_log(url: str) -> WriterLog:
    """Entries of the stream `runtype-mcp:audit` in a Redis. Nothing here ever takes one out."""
    connection = RedisConnection(url)

    def send(line: bytes) -> None:
        try:
            connection.run("XADD", STREAM, "*", "line", line.decode("ascii"))
        except RedisFailure as error:
            raise OSError(str(error)) from error

    return WriterLog(send)


def captured(path: Path) -> Iterator[bytes]:
    """The lines of writers in a file of what containers printed, whatever stands before and between them."""
    try:
        with path.open("rb") as file:
            for text in file:
                start = text.find(_START)
                if start >= 0 and b'"writer":"' in text:
                    yield text[start:].rstrip(b"\r\n")
    except OSError as error:
        raise AuditError(f"{path} could not be read: {error.strerror}. Check the path and who may read it.") from error


def streamed(url: str) -> Iterator[bytes]:
    """The lines of writers in the stream of a Redis."""
    connection, last = RedisConnection(url), "-"
    try:
        while entries := connection.run("XRANGE", STREAM, last, "+", "COUNT", 1000):
            for identity, fields in entries:
                last = f"({identity}"
                yield str(fields.get("line", "")).encode()
    except RedisFailure as error:
        raise AuditError(f"The audit log could not be read: {error}.") from error
    finally:
        connection.close()


@dataclass
class Chain:
    """What was found of one writer. `problems` are sentences; `head` is the hash of its last line."""

    lines: int = 0
    seq: int = 0
    head: str = FIRST
    problems: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add(self, entry: Mapping[str, Any], line: bytes) -> None:
        sha = hashlib.sha256(line).hexdigest()
        if sha in self.seen:  # two files that overlap
            return
        self.seen.add(sha)
        self.lines += 1
        seq = int(entry["seq"])
        if seq != self.seq + 1:
            first, last = self.seq + 1, seq - 1
            missing = f"lines {first} to {last} are missing" if last > first else f"line {first} is missing"
            what = missing if seq > self.seq else f"line {seq} comes after line {self.seq}"
            self.problems.append(f"A gap: {what}.")
        elif entry["prev"] != self.head:
            self.problems.append(f"Line {seq} does not continue line {seq - 1}: one of the two was edited.")
        self.seq, self.head = seq, sha


def chains(lines: Iterable[bytes]) -> dict[str, Chain]:
    """The chain of each writer. A damaged line belongs to nobody, and leaves a gap."""
    found: dict[str, Chain] = {}
    for line in lines:
        entry = entry_of(line)
        if entry and isinstance(writer := entry.get("writer"), str):
            found.setdefault(writer, Chain()).add(entry, line)
    return found


def entries(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The entries of all writers by their time."""
    return iter(sorted(filter(None, map(entry_of, lines)), key=lambda entry: str(entry["time"])))
