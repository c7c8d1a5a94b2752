"""The sandbox on a port of this machine."""

import contextlib
import sys
from pathlib import Path

from runtype_mcp.listen import Server, bind

from .app import create_app
from .seed import seed
from .store import Store


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def serve(port: int, data: Path | None) -> int:
    """Run the sandbox until it is stopped, and return 0; 1 when it could not start.

    `port` 0 picks a free one. `data`: a file that keeps changes (made and seeded when missing); None keeps them in
    memory.
    """
    try:
        store = Store(data)
        if store.is_new:
            seed(store)
        bound, url = bind("127.0.0.1", port)
    except OSError as error:
        _say(f"The sandbox did not start: {error}. Choose another --port or --data and run it again.")
        return 1
    # uvicorn ends its work on the first Ctrl+C, then raises it again.
    with bound, contextlib.suppress(KeyboardInterrupt):
        Server(create_app(store), lambda: _say(f"Sandbox API on {url} (any key that starts with rt_ works)")).run(
            [bound]
        )
    return 0
