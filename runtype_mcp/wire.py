"""The rest of a conversation over stdio, on the event loop.

The SDK reads and writes its files in threads; the three hops cost a call a sixth of its time. A pipe does not need
them: the loop can wait for it. What a pipe cannot take at once still goes through a thread, so that a host which
does not read never stops the server from reading.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import stat
import sys
from typing import Any, TextIO, cast

import anyio
import anyio.to_thread

from runtype_mcp.front import Conversation

_AT_ONCE = 4096
"""Bytes that a writable pipe takes without blocking, on every POSIX system that has pipes of a useful size."""
_READ = 65536


def files(conversation: Conversation) -> tuple[Any, Any]:
    """What the SDK's stdio transport reads from and writes to: asynchronous text files, as far as it uses them."""
    if sys.platform == "win32" or any(
        stat.S_ISREG(os.fstat(fd).st_mode) for fd in (conversation.source, conversation.sink)
    ):
        file: Any = anyio.wrap_file(cast(TextIO, conversation))  # it has what is used of a text file
        return file, file  # a loop cannot wait for these
    wire = Wire(conversation)
    return wire, wire


class Wire:
    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        # The same reading of bytes as a text file's: replaced where they are no UTF-8, and three ends of a line.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._text = self._decoder.decode(conversation.unread)
        self._ended = False

    def __aiter__(self) -> Wire:
        return self

    async def __anext__(self) -> str:
        if line := self._conversation.told_again():
            return line
        while "\n" not in self._text and not self._ended:
            await anyio.wait_readable(self._conversation.source)
            data = os.read(self._conversation.source, _READ)
            self._ended = not data
            self._text += self._decoder.decode(data, final=self._ended)
        line, newline, self._text = self._text.partition("\n")
        if not line and not newline:
            raise StopAsyncIteration
        return self._conversation.listen(line + newline)

    async def write(self, text: str) -> None:
        if len(text.encode()) <= _AT_ONCE and select.select((), (self._conversation.sink,), (), 0)[1]:
            self._conversation.write(text)
        else:
            await anyio.to_thread.run_sync(self._conversation.write, text)

    async def flush(self) -> None:
        """Nothing waits: `write` has sent it."""
