"""`/healthz`, `/readyz` and `/metrics`, for whatever starts this server, sends callers to it and watches it.

They answer under every name and without authentication, because a probe comes by the address of a container. So they
say nothing that matters to anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.credentials import ApiKey
from runtype_mcp.errors import AuthError, ClientTokenError, KeyUnavailable, MissingScope, NoApiKey, RateLimited
from runtype_mcp.http.asgi import answer
from runtype_mcp.storage.state import State, StateError

READY_FOR = 10.0
"""Seconds for which a good answer of the API and of the state counts."""
UNREADY_FOR = 2.0
"""Seconds for which a bad one does."""

Check = Callable[[], Awaitable[str]]
"""Finds out whether something works: `ok`, or what is wrong in a word or two."""


class Readiness:
    """Whether calls can be answered, found out at most once in a while and once at a time.

    Args:
        checks: by name, what has to work.
        clock: seconds that only grow.
    """

    def __init__(self, checks: Mapping[str, Check], clock: Callable[[], float]) -> None:
        self._checks, self._clock = checks, clock
        self._checking = asyncio.Lock()
        self._known: dict[str, str] = {}
        self._until = float("-inf")

    async def __call__(self) -> Mapping[str, str]:
        async with self._checking:
            if self._clock() >= self._until:
                self._known = {name: await check() for name, check in self._checks.items()}
                good = all(found == "ok" for found in self._known.values())
                self._until = self._clock() + (READY_FOR if good else UNREADY_FOR)
        return self._known


async def check_api(client: RuntypeClient, key: ApiKey | None) -> str:
    """Whether the API can be reached and accepts the key; without one, whether it can be reached."""
    try:
        if key is None:
            await client.probe()
        else:
            await client.with_key(await key.get()).list_client_tokens(1, 0)
    except (MissingScope, RateLimited):  # it knows the key
        return "ok"
    except (NoApiKey, KeyUnavailable):
        return "no key"
    except AuthError:
        return "key rejected"
    except ClientTokenError:
        return "unreachable"
    return "ok"


async def check_state(state: State) -> str:
    """Whether the state can be read."""
    try:
        await state.write_epoch()
    except StateError:
        return "unusable"
    return "ok"


class Probes:
    """Answers the probes and Prometheus, and leaves the rest to `app`.

    Args:
        app: what answers everything else.
        readiness: what works.
        ending: whether the server is about to end.
        metrics: what Prometheus reads; None: there is no `/metrics`.
    """

    def __init__(
        self,
        app: ASGIApp,
        readiness: Readiness,
        ending: Callable[[], bool],
        metrics: Callable[[], Awaitable[bytes]] | None,
    ) -> None:
        self._app, self._readiness, self._ending, self._metrics = app, readiness, ending, metrics
        self._paths = ("/healthz", "/readyz", *(["/metrics"] if metrics else []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else None
        if path not in self._paths:
            await self._app(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await answer(send, 405, "Only GET.", [(b"allow", b"GET, HEAD")])
        elif path == "/healthz":
            await answer(send, 200, {"status": "ok"})
        elif path == "/metrics" and self._metrics:
            await answer(send, 200, (await self._metrics()).decode())
        elif self._ending():
            await answer(send, 503, {"status": "ending"})
        else:
            found = await self._readiness()
            ready = all(state == "ok" for state in found.values())
            await answer(send, 200 if ready else 503, {"status": "ready" if ready else "not ready", **found})
