"""HTTP/1.1 with a bound on how large the head of a request may be, and on how long it may take to arrive.

uvicorn bounds neither the time of a connection's first head nor that of one which has begun: a client that sends a
byte now and then would keep its connection for ever.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""For the head of a request to arrive, from the connection or its first byte on."""
MAX_HEAD = 32 * 1024
"""Bytes of a head that is still incomplete. The head itself is looked at in `limits.py`."""


class Protocol(H11Protocol):
    """uvicorn's protocol for one connection, cut where a head takes too long."""

    head_seconds = HEAD_SECONDS
    _cutting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Wait for a head, unless its request is being answered. What follows an answer has uvicorn's own bound."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._cutting is None and not self.transport.is_closing():
            self._cutting = self.loop.call_later(self.head_seconds, self._cut)

    def _unwatch(self) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None

    def _cut(self) -> None:
        self._cutting = None
        if self.conn.our_state is h11.IDLE:  # else an answer went out, and what still comes is the rest of its request
            headers = [("connection", "close"), ("content-length", "0")]
            refused = h11.Response(status_code=408, headers=headers, reason="Request Timeout")
            self.transport.write(self.conn.send(refused) or b"")
        self.transport.close()
