"""An ASGI application behind the protocol of `runtype-mcp http`, and raw connections to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from runtype_mcp.http.protocol import MAX_HEAD, Protocol
from runtype_mcp.listen import bind
from tests.processes import TIMEOUT


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._up = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._up.set()


@contextlib.contextmanager
def serving(app: ASGIApp, protocol: type[Protocol] = Protocol) -> Iterator[int]:
    """Serve `app` from a thread; yields the port."""
    ready = threading.Event()
    config = uvicorn.Config(
        app,
        http=protocol,
        h11_max_incomplete_event_size=MAX_HEAD,
        lifespan="off",
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, ready)
    bound, _ = bind("127.0.0.1", 0)
    with bound:
        port: int = bound.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        assert ready.wait(TIMEOUT)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        yield connection


def to_the_end(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):  # it closed while we still sent
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


class Echo:
    """Answers a request with its body, and counts requests."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})
