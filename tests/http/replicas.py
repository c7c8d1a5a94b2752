"""Replicas of a team's server in this process, each on a port of its own, with one public address and one state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runtype_mcp.http import create_app
from runtype_mcp.listen import Server, bind
from tests.support import Api, settings_for


@contextmanager
def replica(api: Api, public_url: str | None = None, **environ: str) -> Iterator[str]:
    """The address of one. It is the public address too, if none is given."""
    ready = threading.Event()
    bound, url = bind("127.0.0.1", 0)
    settings = settings_for(api, RUNTYPE_MCP_PUBLIC_URL=public_url or url, **environ)
    server = Server(create_app(settings), ready.set, lifespan="on")
    with bound:
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        assert ready.wait(10), "the replica does not start"
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()
