"""How much one request may bring, how long it may take to bring it, and how many are answered at the same time.

A stream that a client keeps open is bounded in number alone: nothing here cuts it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.http.asgi import CLOSE, answer, busy, is_stream

MAX_HEADERS = 32 * 1024
"""Bytes of all names and values. A token with many groups of a company takes a few thousand."""
MAX_BODY = 1024 * 1024
"""Bytes. The largest arguments are a config's texts."""
BODY_SECONDS = 20.0
"""For the whole body: a client that sends a byte now and then is cut too."""


class RequestLimits:
    """Refuses what is too large (431, 413), too slow (408), or too much at the same time (503).

    Args:
        app: what answers the others.
        at_once: how many requests may be answered at the same time, and how many streams may be open.
        body_seconds: how long a body may take.
    """

    def __init__(self, app: ASGIApp, at_once: int, body_seconds: float = BODY_SECONDS) -> None:
        self._app, self._at_once, self._body_seconds = app, at_once, body_seconds
        self._open = Counter[bool]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size, length = 0, 0
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 20 else MAX_BODY + 1
        if size > MAX_HEADERS:
            await answer(send, 431, f"The request's headers take more than {MAX_HEADERS} bytes.", [CLOSE])
            return
        if length > MAX_BODY:
            await _too_large(send)
            return
        # Before it counts: who is slow to send holds up nobody else.
        read: deque[Message] = deque()
        try:
            async with asyncio.timeout(self._body_seconds):
                whole = await _read(receive, read)
        except TimeoutError:
            await answer(send, 408, f"The body did not arrive within {self._body_seconds:g} seconds.", [CLOSE])
            return
        if not whole:
            await _too_large(send)
            return
        kind = is_stream(scope)
        if self._open[kind] >= self._at_once:
            await busy(send, 503, "This server is answering as many requests as it may. Try again.", 1)
            return

        async def replay() -> Message:
            return read.popleft() if read else await receive()

        self._open[kind] += 1
        try:
            await self._app(scope, replay, send)
        finally:
            self._open[kind] -= 1


async def _too_large(send: Send) -> None:
    await answer(send, 413, f"The request's body is larger than {MAX_BODY} bytes.", [CLOSE])


async def _read(receive: Receive, into: deque[Message]) -> bool:
    """Read the body, or as much of it as came before the client left. False: it is too large."""
    chunks, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            into.append(message)
            return True
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY:
            return False
        if not message.get("more_body", False):
            into.append({"type": "http.request", "body": b"".join(chunks), "more_body": False})
            return True
