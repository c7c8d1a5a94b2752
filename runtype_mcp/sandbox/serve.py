"""The sandbox on a port: for a person (`serve`), or for the length of a `with` block (`running`)."""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from .app import create_app
from .seed import seed
from .store import Store

_STARTUP_SECONDS = 10


class _Server(uvicorn.Server):
    """uvicorn, quiet, which calls `ready` once it accepts connections."""

    def __init__(self, app: ASGIApp, ready: Callable[[], None]) -> None:
        # A caller that never hangs up may hold the server back for one second, not for ever.
        super().__init__(
            uvicorn.Config(
                app, log_level="critical", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def _bind(host: str, port: int) -> tuple[socket.socket, str]:
    """A listening socket and its base URL. OSError: taken, or not our address; OverflowError: no such port."""
    # asyncio turns Nagle's delay off only for sockets whose protocol is spelled out; it costs 40 ms per answer.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share the port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()
    except (OSError, OverflowError):
        bound.close()
        raise
    shown = f"[{host}]" if ":" in host else host
    return bound, f"http://{shown}:{bound.getsockname()[1]}"


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def serve(host: str, port: int, data: str | None, *, announce: Callable[[str], None] = _to_stderr) -> int:
    """Run the sandbox until Ctrl+C; the exit code is 0 then, and 1 when it could not start.

    `port` 0 picks a free one. `data`: an SQLite file that keeps changes (made and seeded when missing); None keeps
    them in memory.
    """
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(Store.open(data) if data else Store())
            bound, url = _bind(host, port)
        except (OSError, OverflowError) as error:
            announce(f"The sandbox did not start: {error}. Choose another --port or --data and run it again.")
            return 1
        stack.enter_context(bound)
        if store.is_new:
            seed(store)
        line = f"Sandbox API on {url} (any key that starts with rt_ works)"
        # uvicorn ends its work on the first Ctrl+C, then raises it again.
        with contextlib.suppress(KeyboardInterrupt):
            _Server(create_app(store), lambda: announce(line)).run([bound])
    return 0


@contextlib.contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serve `app` on a free loopback port from a thread; yields its base URL, without a slash at the end."""
    ready = threading.Event()
    server = _Server(app, ready.set)
    bound, url = _bind("127.0.0.1", 0)
    with bound:
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        if not ready.wait(_STARTUP_SECONDS):
            raise RuntimeError(f"the server did not start within {_STARTUP_SECONDS} seconds")
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()
