"""The rest of a conversation over stdio: what the SDK hears and says after the front, or from the first line.

The SDK's transport reads and writes two text files, in threads; the three hops cost a call a sixth of its time. A
pipe does not need them: the loop can wait for it. What a pipe cannot take at once still goes through a thread, so
that a host which does not read never stops the server from reading.

While the first questions are answered, the answers are kept for the front of the next process: see `front.py`.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import select
import stat
import sys
import time
from collections import deque
from typing import Any, TextIO, cast

import anyio
import anyio.to_thread

from runtype_mcp.stdio.replay import HEAD, Front, hear, send

_AT_ONCE = 4096
"""Bytes that a writable pipe takes without blocking, on every POSIX system that has pipes of a useful size."""
_READ = 65536


class Conversation:
    """What one client says to the SDK, and what the SDK says: as far as its transport uses them, both text files.

    A context manager: within it nothing else in the process reaches the wire.
    """

    def __init__(self, front: Front) -> None:
        self.source, self.sink, self.unread = front.source, front.sink, front.unread
        self._retold = list(front.retold)
        self._own_id = f"front-{os.urandom(8).hex()}"
        self._cache, self._known, self._state = front.cache, front.answers, front.state
        self._learning = True
        self._asked: dict[str, str] = {}  # the open questions by id, while learning
        self._learned: dict[str, str] = {}
        self._text: io.TextIOWrapper | None = None

    def __enter__(self) -> None:
        """Keep the wire to ourselves, as the SDK's own transport does: neither a stray print nor a child reaches it."""
        null = os.open(os.devnull, os.O_RDWR)  # first: it takes the place of a closed stderr
        self.source, self.sink = os.dup(self.source), os.dup(self.sink)
        os.dup2(null, 0)
        os.dup2(2 if sys.stderr else null, 1)
        sys.stdout.flush()

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()  # what was printed meanwhile goes to stderr too
        os.dup2(self.source, 0)  # the duplicates stay open: a thread may still read
        os.dup2(self.sink, 1)

    def readline(self) -> str:
        """The next line for the SDK: what it must be told again, then what is not answered yet. It may block."""
        if line := self.told_again():
            return line
        if self._text is None:
            raw = io.BufferedReader(_Rest(self.unread, self.source))
            self._text = io.TextIOWrapper(raw, encoding="utf-8", errors="replace")
        return self.listen(self._text.readline())

    def told_again(self) -> str:
        """The next line that the SDK must be told again; empty when it knows all."""
        if not self._retold:
            return ""
        name, line = self._retold.pop(0)
        return (json.dumps(json.loads(line) | {"id": self._own_id}) if name else line) + "\n"

    def listen(self, line: str) -> str:
        """A line on its way to the SDK: what it asks may be answered from the cache next time."""
        if line and (self._learning or self._asked):
            heard = hear(line, self._state)
            name, question, bears = heard or ("", "", False)
            if heard is None or name in self._asked:
                self._asked.clear()  # or an answer could be taken for another's
                question = ""
            self._learning = self._learning and question != ""
            if self._learning and name:
                self._asked[name] = question
            if self._learning and bears:
                self._state = question
        return line

    def write(self, text: str) -> int:
        """Send one line of the SDK's. An answer to a question that may come again is kept."""
        name, _, rest = text.removeprefix(HEAD).partition(',"')
        if name == f'"{self._own_id}"':
            return len(text)
        try:
            send(self.sink, text)
        except ConnectionError:
            return 0  # nobody listens; the end of the input will end the server
        if rest.startswith(('result":', 'error":')) and (question := self._asked.pop(name, "")) and rest[0] == "r":
            answer = rest.removeprefix('result":').removesuffix("}\n")
            if answer != self._known.get(question):
                self._known[question] = self._learned[question] = answer
                self._cache.keep(self._learned)
        return len(text)

    def flush(self) -> None:
        """Nothing waits: `write` has sent it."""


class _Rest(io.RawIOBase):
    """What was read already, then the descriptor."""

    def __init__(self, read: bytes, fd: int) -> None:
        self.read_already, self.fd = read, fd

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io.BufferedReader passes
        data = self.read_already[: len(buffer)] or os.read(self.fd, len(buffer))
        self.read_already = self.read_already[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def files(conversation: Conversation) -> tuple[Any, Any]:
    """What the SDK's stdio transport reads from and writes to: asynchronous text files, as far as it uses them."""
    modes = [os.fstat(fd).st_mode for fd in (conversation.source, conversation.sink)]
    if sys.platform != "win32" and all(stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) for mode in modes):
        wire = Wire(conversation)
        return wire, wire
    file: Any = anyio.wrap_file(cast(TextIO, conversation))  # it has what is used of a text file
    return file, file  # a loop cannot wait for every other kind


class Wire:
    """The conversation on the event loop."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        # The same reading of bytes as a text file's: replaced where they are no UTF-8, and three ends of a line.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._lines, self._open, self._ended = deque[str](), list[str](), False
        self._hear(self._decoder.decode(conversation.unread))

    def _hear(self, text: str) -> None:
        *lines, rest = text.split("\n")
        for line in lines:
            self._lines.append(f"{''.join(self._open)}{line}\n")
            self._open.clear()
        self._open.append(rest)

    def __aiter__(self) -> Wire:
        return self

    async def __anext__(self) -> str:
        if line := self._conversation.told_again():
            return line
        while not self._lines and not self._ended:
            await anyio.wait_readable(self._conversation.source)
            data = os.read(self._conversation.source, _READ)
            self._ended = not data
            self._hear(self._decoder.decode(data, final=self._ended))
        if not self._lines and (last := "".join(self._open)):
            self._lines.append(last)
            self._open.clear()
        if not self._lines:
            # What was asked last is begun before the end is told, which ends what is begun: as slow as a thread's read.
            await anyio.to_thread.run_sync(time.sleep, 0)
            raise StopAsyncIteration
        return self._conversation.listen(self._lines.popleft())

    async def write(self, text: str) -> None:
        if len(text.encode()) <= _AT_ONCE and select.select((), (self._conversation.sink,), (), 0)[1]:
            self._conversation.write(text)
        else:
            await anyio.to_thread.run_sync(self._conversation.write, text)

    async def flush(self) -> None:
        """Nothing waits: `write` has sent it."""
