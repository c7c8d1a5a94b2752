"""Under which names the server may be reached: those of this machine, and its public one.

A website that lets its own name resolve to this machine comes with that name in `Host`, and a website that calls this
server from a visitor's browser comes with its own origin.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from runtype_mcp.http.asgi import answer, header

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
logger = logging.getLogger("runtype_mcp")


class KnownHosts:
    """Refuses other names in `Host` (421) and other origins (403).

    Args:
        app: what answers the others.
        hosts: names and addresses, as they stand in `Host`; any port goes with them.
        public: the public address, if there is one: its host and its origin are known too.
        scheme: `https` where this server speaks TLS itself.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], public: str | None, scheme: str) -> None:
        parts = urlsplit(public or "")
        names = [*hosts, *([parts.netloc.rpartition("@")[2], _bare(parts.netloc)] if public else [])]
        ours = "|".join(map(re.escape, hosts))
        origins = [rf"{scheme}://(?:{ours})(?::\d{{1,5}})?"]
        if public:
            origins.append(re.escape(f"{parts.scheme}://{parts.netloc}"))
        self._app = app
        self._host = re.compile(rf"(?:{'|'.join(map(re.escape, names))})(?::\d{{1,5}})?", re.I | re.A)
        self._origin = re.compile("|".join(origins), re.I | re.A)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = (header(scope, b"host") or b"").decode("latin-1")
        if not self._host.fullmatch(host):
            logger.warning("Invalid Host header: %s", host[:200])
            await answer(send, 421, "Invalid Host header")
            return
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if not all(map(self._origin.fullmatch, origins)):
            logger.warning("Invalid Origin header: %s", ", ".join(origins)[:200])
            await answer(send, 403, "Invalid Origin header")
            return
        await self._app(scope, receive, send)


def _bare(netloc: str) -> str:
    """A host without its port."""
    return re.sub(r":\d*$", "", netloc)
