"""The end of a server: what runs is finished, what is new is refused, and what only listens is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.http.asgi import CLOSE, busy, is_stream

GRACE = 0.25
"""Seconds for requests that were on their way when the server was told to end. They are answered as usual."""
RETRY_AFTER = 5.0
"""Seconds after which another server, or this one's successor, should be there."""


class Drain:
    """Knows what is being answered, so that the server can end after it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running = 0
        self._streams = set[anyio.CancelScope]()
        self._refusing = False
        self.begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._refusing:
            await busy(send, 503, "This server is ending. Nothing was done: try again.", RETRY_AFTER, CLOSE)
        elif is_stream(scope):
            await self._stream(scope, receive, send)
        else:
            self._running += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._running -= 1

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        unfinished = False

        async def sending(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        with anyio.CancelScope() as open_stream:
            self._streams.add(open_stream)
            try:
                await self._app(scope, receive, sending)
            finally:
                self._streams.discard(open_stream)
        if unfinished:  # whoever was told to end it
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def finish(self, seconds: float, hurried: Callable[[], bool]) -> None:
        """Wait for what runs, for at most `seconds`, or until `hurried` says so; refuse what comes."""
        self.begun = True
        deadline = asyncio.get_running_loop().time() + seconds
        await asyncio.sleep(min(GRACE, seconds))
        self._refusing = True
        for stream in list(self._streams):
            stream.cancel()
        # hurried() is up to a signal handler, which is outside of the loop.
        while self._running and not hurried() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
