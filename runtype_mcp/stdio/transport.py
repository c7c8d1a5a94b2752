"""Carry JSON-RPC messages between two file descriptors and the SDK, one per line.

The SDK's own stdio transport drops a line that it cannot parse, so that the client waits for ever, and replaces bytes
that are not UTF-8, so that a damaged name is written as if it were meant. Here such a line is answered with the error
that JSON-RPC has for it. The SDK's own model parses each line once, as bytes; only what it refuses is read again.

The SDK's transport also reads and writes in threads and hands each message from task to task, which costs a call a
sixth of its time. The event loop can wait for a pipe itself. What a pipe does not take immediately still goes through a
thread, so that a host which does not read never stops the server from reading.
"""

from __future__ import annotations

import json
import os
import select
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from runtype_mcp.stdio.recording import RecordingSession
from runtype_mcp.stdio.replay import send

_ATOMIC = getattr(select, "PIPE_BUF", 512)
"""Bytes that a writable pipe takes without blocking: 4096 on Linux, 512 on macOS."""
_READ = 65536
_MAX_DIGITS = 4000  # of a number that `int` reads by default


@contextmanager
def diverted() -> Iterator[tuple[int, int]]:
    """Private duplicates of stdin and stdout; until the end, 0 reads nothing and 1 writes to stderr.

    So neither a stray print nor a child process reaches the client, nor takes a line from it.
    """
    null = os.open(os.devnull, os.O_RDWR)  # first: it takes the place of a closed stderr
    source, sink = os.dup(0), os.dup(1)
    os.dup2(null, 0)
    os.dup2(2 if sys.stderr else null, 1)
    sys.stdout.flush()
    try:
        yield source, sink
    finally:
        sys.stdout.flush()  # what was printed until here goes to stderr too
        os.dup2(source, 0)  # the duplicates stay open: a thread may still read
        os.dup2(sink, 1)


def loop_can_wait(fd: int, platform: str = sys.platform) -> bool:
    """Whether an event loop can wait for this descriptor: for pipes and sockets, but not on Windows."""
    mode = os.fstat(fd).st_mode
    return platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


class _Stream:
    """What the SDK asks of either stream beside messages: both end with the process."""

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class LineWriter(_Stream):
    """The SDK's write stream: each message becomes a line, whole and in the order of sending."""

    def __init__(self, sink: int, session: RecordingSession | None = None) -> None:
        self._sink, self._session = sink, session
        self._loop_waits = loop_can_wait(sink)
        self._lock = anyio.Lock(fast_acquire=True)

    async def send(self, item: SessionMessage, /) -> None:
        if self._session and self._session.is_repeat(item.message):
            return
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        data = f"{text}\n".encode()
        async with self._lock:
            if len(data) <= _ATOMIC and self._loop_waits and select.select((), (self._sink,), (), 0)[1]:
                self._write(data, item.message, text)
            else:
                await anyio.to_thread.run_sync(self._write, data, item.message, text)

    def _write(self, data: bytes, message: JSONRPCMessage, text: str) -> None:
        try:
            send(self._sink, data)
        except ConnectionError:
            return  # the client does not listen any more; the end of its input will end the server
        if self._session:
            self._session.record(message, text)  # here, because a client that has its last reply leaves immediately


class LineReader(_Stream):
    """The SDK's read stream: each line becomes a message, or an error for the client."""

    def __init__(
        self, source: int, writer: LineWriter, session: RecordingSession | None = None, unread: bytes = b""
    ) -> None:
        self._source, self._writer, self._session = source, writer, session
        self._loop_waits = loop_can_wait(source)
        self._backlog = deque(session.backlog if session else ())
        self._lines, self._partial, self._ended = deque[bytes](), list[bytes](), False
        self._split(unread)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage:
        """The next message.

        Raises:
            anyio.EndOfStream: the client has closed its side.
        """
        while True:
            line = await self._next_line()
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                # With an id that is neither a string nor an integer, the model takes a request for a notification.
                if not isinstance(message, JSONRPCNotification) or "id" not in _members(line):
                    return SessionMessage(message)
                refusal, is_response = refuse(line, None)
            except ValidationError as exc:
                refusal, is_response = refuse(line, exc)
            if is_response:  # the request that waits for it must fail; the client does not wait for anything
                return SessionMessage(refusal)
            await self._writer.send(SessionMessage(refusal))

    async def _next_line(self) -> bytes:
        if self._backlog:
            return self._backlog.popleft()
        while not self._lines:
            if self._ended:
                # Let the SDK start the last request before the end of the input cancels it.
                await anyio.to_thread.run_sync(time.sleep, 0)
                raise anyio.EndOfStream
            self._split(await self._read())
        line = self._lines.popleft()
        if self._session:
            self._session.observe(line)
        return line

    async def _read(self) -> bytes:
        if not self._loop_waits:
            data = await anyio.to_thread.run_sync(os.read, self._source, _READ)
        else:
            await anyio.wait_readable(self._source)
            data = os.read(self._source, _READ)
        self._ended = not data
        return data or b"\n"  # the last line may have no end

    def _split(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join((*self._partial, line))
            self._partial.clear()
            if whole.strip():  # an empty line does not ask for anything
                self._lines.append(whole)
        self._partial.append(rest)


def refuse(line: bytes, problem: ValidationError | None) -> tuple[JSONRPCError, bool]:
    """The error for a line that is not a message, and whether the line was to be a response.

    The error has the line's id wherever that can be read. `problem` is what the SDK's model says, if it refuses it.
    """
    members = _members(line)
    name = members.get("id")
    if type(name) is not int and (type(name) is not str or any("\ud800" <= char <= "\udfff" for char in name)):
        name = None  # cannot be printed, or is not an id
    text = "Invalid request: the line is not one JSON-RPC 2.0 message with a string or an integer as its id."
    code, text = INVALID_REQUEST, f"{text} Send each message on a line of its own."
    for detail in problem.errors(include_url=False, include_input=False) if problem else ():
        if detail["type"] == "json_invalid":
            code, text = PARSE_ERROR, f"Parse error: the line is not JSON in UTF-8 ({detail['ctx']['error']})."
    error = JSONRPCError(jsonrpc="2.0", id=name, error=ErrorData(code=code, message=f"{text} Nothing was done."))
    return error, "method" not in members and ("result" in members or "error" in members)


def _members(line: bytes) -> dict[str, Any]:
    """A line's members, read as leniently as can be; none where it is not an object."""
    try:
        text = line.decode(errors="surrogateescape")
        message = json.loads(text, strict=False, parse_int=lambda n: int(n) if len(n) < _MAX_DIGITS else None)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
