"""Listening on a port: the one way in which this package serves HTTP."""

import os
import socket
from collections.abc import Callable
from typing import Literal

import uvicorn
from starlette.types import ASGIApp


class Server(uvicorn.Server):
    """uvicorn, quiet, which calls `ready` once it accepts connections."""

    def __init__(self, app: ASGIApp, ready: Callable[[], None], *, lifespan: Literal["on", "off"] = "off") -> None:
        # A caller that never hangs up may hold the server back for one second, not for ever.
        super().__init__(
            uvicorn.Config(
                app,
                log_level="critical",
                access_log=False,
                lifespan=lifespan,
                ws="none",
                proxy_headers=False,  # nobody stands in front of a loopback port, so nobody may say who calls
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def bind(host: str, port: int) -> tuple[socket.socket, str]:
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
