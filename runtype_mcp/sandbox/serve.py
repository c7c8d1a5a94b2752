"""The sandbox on a port: for a person (`serve`), or for the length of a `with` block (`running`)."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from starlette.types import ASGIApp

from runtype_mcp.listen import Server, bind

from .app import create_app
from .seed import seed
from .store import Store

_STARTUP_SECONDS = 10


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def serve(host: str, port: int, data: str | None, *, announce: Callable[[str], None] = _to_stderr) -> int:
    """Run the sandbox until it is stopped, and return 0; 1 when it could not start.

    `port` 0 picks a free one. `data`: an SQLite file that keeps changes (made and seeded when missing); None keeps
    them in memory.
    """
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(Store.open(data) if data else Store())
            bound, url = bind(host, port)
        except (OSError, OverflowError) as error:
            announce(f"The sandbox did not start: {error}. Choose another --port or --data and run it again.")
            return 1
        stack.enter_context(bound)
        if store.is_new:
            seed(store)
        line = f"Sandbox API on {url} (any key that starts with rt_ works)"
        # uvicorn ends its work on the first Ctrl+C, then raises it again.
        with contextlib.suppress(KeyboardInterrupt):
            Server(create_app(store), lambda: announce(line)).run([bound])
    return 0


@contextlib.contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serve `app` on a free loopback port from a thread; yields its base URL, without a slash at the end."""
    ready = threading.Event()
    server = Server(app, ready.set)
    bound, url = bind("127.0.0.1", 0)
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
