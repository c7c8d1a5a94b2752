"""The API that all replicas share: it knows which process sent a request, and can be halted at each."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.store import Store
from tests.processes import TIMEOUT
from tests.support import running

Moment = Literal["received", "applied", "answered"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request: `path` without the prefix of all, and the id of the process that sent it."""

    method: str
    path: str
    body: Any
    pid: int | None

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass
class SharedApi:
    """A sandbox that listens at `url`.

    Attributes:
        seen: every request that arrived.
        applied: every write that was carried out, in order.
        hook: awaited at each moment of each request. What it raises ends the connection without an answer.
    """

    store: Store = field(default_factory=Store)
    url: str = ""
    pids: Callable[[], list[int]] = list
    seen: list[Seen] = field(default_factory=list)
    applied: list[Seen] = field(default_factory=list)
    hook: Callable[[Moment, Seen], Awaitable[None]] | None = None

    async def at(self, moment: Moment, seen: Seen) -> None:
        if self.hook:
            await self.hook(moment, seen)

    async def answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await Request(scope, receive).body()
        path = scope["raw_path"].decode().removeprefix("/v1/")
        seen = Seen(
            scope["method"],
            path,
            json.loads(raw) if raw else None,
            sender(scope["client"][1], scope["server"][1], self.pids()),
        )
        self.seen.append(seen)
        await self.at("received", seen)
        said: list[Message] = []

        async def again() -> Message:
            return {"type": "http.request", "body": raw}

        async def keep(message: Message) -> None:
            said.append(message)

        await app(scope, again, keep)
        if seen.writes and said[0]["status"] < 300:
            self.applied.append(seen)
        await self.at("applied", seen)
        for message in said:
            await send(message)
        await self.at("answered", seen)


@contextmanager
def shared_api(store: Store | None = None) -> Iterator[SharedApi]:
    api = SharedApi(store or Store())
    app = create_app(api.store)

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        await api.answer(app, scope, receive, send)

    with running(respond) as api.url:
        yield api


def sender(port: int, to: int, pids: list[int]) -> int | None:
    """Which of these processes has the connection from one port of this machine to another."""
    ends = [f"0100007F:{port:04X}", f"0100007F:{to:04X}"]
    with open("/proc/net/tcp", encoding="ascii") as table:
        inode = next((line.split()[9] for line in table if line.split()[1:3] == ends), None)
    for pid in pids:
        with suppress(OSError):  # it has ended
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):  # it has closed this one
                    if os.readlink(f"/proc/{pid}/fd/{name}") == f"socket:[{inode}]":
                        return pid
    return None


class Halt:
    """Holds whoever comes to it until it is lifted, and tells when somebody has come."""

    def __init__(self) -> None:
        self.reached, self._lifted = threading.Event(), threading.Event()

    async def hold(self) -> None:
        self.reached.set()
        assert await asyncio.to_thread(self._lifted.wait, TIMEOUT), "nobody lifts the halt"

    def lift(self) -> None:
        self._lifted.set()
