"""Streamable HTTP on this machine: both protocol eras at `/mcp`, health at `/healthz`.

It listens on loopback alone. Names other than this machine's in `Host` or `Origin` are refused, so that a website
cannot reach it through a visitor's browser. It does not know who calls: whoever reaches the port uses the key.
"""

from __future__ import annotations

import gc
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtype_mcp import __version__
from runtype_mcp.listen import Server, bind
from runtype_mcp.server import RuntypeServer

HOST = "127.0.0.1"


def create_http_app(server: RuntypeServer) -> Starlette:
    """The ASGI application around a built server."""
    # For a loopback host the SDK turns its Host and Origin allow-lists on by itself.
    app = server.streamable_http_app(host=HOST)
    app.router.routes.append(Route("/healthz", _healthz, methods=["GET"]))
    return app


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


def serve(server: RuntypeServer, port: int) -> int:
    """Serve until Ctrl+C. Says on stderr where, once it really listens; 0 picks a free port."""
    try:
        bound, url = bind(HOST, port)
    except OSError as exc:
        sys.stderr.write(f"runtype-mcp: port {port} cannot be used ({exc.strerror}). Choose another --port.\n")
        return 1

    def announce() -> None:
        sys.stderr.write(f"Serving MCP on {url}/mcp (health: {url}/healthz)\n")
        sys.stderr.flush()

    # What is built by now stays, and a call leaves little that only a collection would find: with the interpreter's own
    # pace, searching for it is a sixth of the work under load, and most of the slowest answers.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    with bound:
        Server(create_http_app(server), announce, lifespan="on").run([bound])
    return 0
