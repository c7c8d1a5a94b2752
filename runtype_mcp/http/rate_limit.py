"""How fast one caller may go, and one address that brings no good token."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.http.asgi import busy
from runtype_mcp.storage.rate_limit import admit
from runtype_mcp.storage.state import State, StateError

WINDOW = 60.0
"""Seconds that a limit is about."""
PARTS = 60
"""A shared count is asked for a part of the limit at a time: to ask for each request would take longer than many do."""
MOST = 10_000
"""Callers, or addresses, that one process remembers. The one that was seen longest ago gives way."""
logger = logging.getLogger("runtype_mcp")


class Buckets:
    """Counts in this process: for each key, when its bucket of requests is full again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def hit(self, key: str, limit: int) -> float:
        """Count a request. 0.0 if it is admitted, else the seconds after which it would be."""
        self._full_at[key], wait = admit(self._full_at.get(key), self._clock(), limit, WINDOW)
        self._full_at.move_to_end(key)
        if len(self._full_at) > MOST:
            self._full_at.popitem(last=False)
        return wait

    def wait(self, key: str, limit: int) -> float:
        """What `hit` would say, without counting."""
        return admit(self._full_at.get(key), self._clock(), limit, WINDOW)[1]


class CallerLimit:
    """Refuses a caller's requests beyond so many a minute (429). It stands behind the authentication.

    Args:
        app: what answers the others.
        limit: requests a minute.
        shared: where several processes count together; None: this one counts alone. While it cannot be used, each
            process counts alone.
        clock: seconds that only grow.
    """

    def __init__(
        self, app: ASGIApp, limit: int, shared: State | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._limit, self._shared = app, limit, shared
        self._part = max(1, limit // PARTS)
        self._own = Buckets(clock)
        self._left: OrderedDict[str, int] = OrderedDict()
        self._asking: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._alone = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        if scope["type"] == "http" and isinstance(user, AuthenticatedUser):
            token = user.access_token
            if wait := await self._hit(token.subject or token.client_id):
                await busy(send, 429, "This caller makes more requests than it may. Nothing was done.", wait)
                return
        await self._app(scope, receive, send)

    async def _hit(self, caller: str) -> float:
        if self._shared is None:
            return self._own.hit(caller, self._limit)
        if self._take(caller):
            return 0.0
        # One asks for all that wait: each for itself would take a part, and a burst the whole limit.
        async with self._asking.setdefault(caller, anyio.Lock()):
            if self._take(caller):
                return 0.0
            try:
                wait = await self._shared.hit(_name(caller), self._limit // self._part, WINDOW)
            except StateError as exc:
                if not self._alone:
                    logger.warning("Requests are counted by each process alone: %s", exc)
                self._alone = True
                return self._own.hit(caller, self._limit)
            self._alone = False
            if not wait:
                self._left[caller] = self._part - 1
                if len(self._left) > MOST:
                    self._left.popitem(last=False)
            return wait

    def _take(self, caller: str) -> bool:
        """Take one of the requests that were asked for and are left."""
        left = self._left.pop(caller, 0)
        if left > 1:
            self._left[caller] = left - 1
        return left > 0


class StrangerLimit:
    """Refuses an address that was refused so many times in a minute for its token (429): guessing takes for ever.

    It stands before the authentication, and counts what that refuses, so that a good token costs nothing here.
    """

    def __init__(self, app: ASGIApp, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._limit, self._refused = app, limit, Buckets(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = scope["client"][0] if scope.get("client") else ""  # who comes by a socket file has none
        if wait := self._refused.wait(address, self._limit):
            await busy(send, 429, "Too many requests without a good token came from this address.", wait)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._refused.hit(address, self._limit)
            await send(message)

        await self._app(scope, receive, sending)


def _name(caller: str) -> str:
    """A key of a fixed length that holds no name of a person."""
    return f"caller {hashlib.sha256(caller.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
