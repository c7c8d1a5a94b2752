"""`runtype-mcp http`: the application on an address or a socket file, by one process or by several."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import uvicorn

from runtype_mcp.credentials import ApiKey
from runtype_mcp.http.app import HttpApp, create_app
from runtype_mcp.http.protocol import MAX_HEAD, Protocol
from runtype_mcp.http.sockets import listening_file, listening_tcp
from runtype_mcp.http.start import Listening, check_listening, check_settings, start_lines
from runtype_mcp.settings import Settings


class HttpServer(uvicorn.Server):
    """uvicorn with our limits, which calls `ready` once it accepts connections, and ends well."""

    def __init__(
        self, app: HttpApp, settings: Settings, listening: Listening, ready: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                h11_max_incomplete_event_size=MAX_HEAD,
                lifespan="on",
                ws="none",
                log_config=None,  # ours redacts
                access_log=False,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies or ()),
                ssl_certfile=listening.tls_cert,
                ssl_keyfile=listening.tls_key,
                timeout_graceful_shutdown=1,  # what is left when the drain is over
            )
        )
        self._app, self._drain_seconds, self._ready = app, settings.drain, ready
        self.received = list[int]()
        """The signals that ended it."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First of all, so that a load balancer is refused a connection, and sends the caller to another server.
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        await self._app.drain.finish(self._drain_seconds, lambda: self.force_exit)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn raises them again before anything that is around it can be cleaned up; `serve` does behind that.
        with super().capture_signals():
            yield
            self.received += self._captured_signals
            self._captured_signals.clear()


def serve(settings: Settings, key: ApiKey, listening: Listening, flags: Mapping[str, object]) -> int:
    """Serve until a signal. Says on stderr what, once it really listens.

    Args:
        settings: what the operator decided.
        key: the API key that the settings name.
        listening: where.
        flags: those that the settings were made with, for processes that make them again.

    Returns:
        The exit code: 1 where it cannot listen, or a worker does not start.

    Raises:
        SettingsError: the settings contradict each other.
    """
    check_settings(settings, listening.workers)
    check_listening(settings, listening)
    with ExitStack() as stack:
        try:
            bound, address = stack.enter_context(_bound(settings, listening))
        except (OSError, OverflowError) as exc:
            where = f"the socket {listening.socket}" if listening.socket else f"port {listening.port}"
            other = "--socket" if listening.socket else "--port"
            reason = getattr(exc, "strerror", None) or exc
            sys.stderr.write(f"runtype-mcp: {where} cannot be used ({reason}). Choose another {other}.\n")
            return 1
        received: Sequence[int]
        if listening.workers > 1:
            from runtype_mcp.http.workers import supervise

            received = supervise(settings, listening, flags, bound, address)
        else:
            received = _serve(settings, key, listening, bound, address)
    for number in received:
        signal.raise_signal(number)
    return 0 if received else 1


def _serve(settings: Settings, key: ApiKey, listening: Listening, bound: socket.socket, address: str) -> Sequence[int]:
    """Serve in this process. Returns the signals that ended it."""

    async def announce() -> None:
        sys.stderr.write("\n".join(await start_lines(settings, listening, key, address)) + "\n")
        sys.stderr.flush()

    app = create_app(settings, key=key, hosts=listening.hosts, scheme=listening.scheme)
    server = HttpServer(app, settings, listening, announce)
    run(server, bound)
    return server.received


def run(server: uvicorn.Server, bound: socket.socket) -> None:
    """Serve on a socket that listens, until a signal."""
    # What is built by now stays, and a call leaves little that only a collection would find: with the interpreter's own
    # pace, searching for it is a sixth of the work under load, and most of the slowest answers.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    server.run([bound])


@contextmanager
def _bound(settings: Settings, listening: Listening) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket, and how people are told of it."""
    if listening.socket is not None:
        # Where callers are authenticated, a proxy of another user may pass them on: one in the group of this one.
        mode = 0o600 if settings.auth == "none" else 0o660
        with listening_file(listening.socket, mode) as bound:
            yield bound, f"the socket {listening.socket}, at /mcp (health: /healthz)"
        return
    with listening_tcp(listening.host, listening.port) as (bound, url):
        url = url.replace("http:", f"{listening.scheme}:", 1)
        yield bound, f"{url}/mcp (health: {url}/healthz)"
