"""Approval in the browser: one page on loopback for the calls of this server that wait for a person.

It listens from the first call that needs it, until none waits any more.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio

from runtype_mcp.console.app import HOST, create_app
from runtype_mcp.console.approvals import approval_routes
from runtype_mcp.console.browser import can_open_browser, open_browser, this_machine
from runtype_mcp.console.session import Session
from runtype_mcp.listen import Server, bind
from runtype_mcp.settings import Settings
from runtype_mcp.storage.state import State
from runtype_mcp.storage.tickets import Ticket

LINGER = 3.0
"""Seconds for which the page is served when nothing waits any more, so that every tab learns of it."""
OPEN = 10.0
"""Seconds for which a page that asked, or was just opened, counts as open. It asks every second or two."""
_LOOK_AGAIN = 1.0
"""Seconds until a decision in a terminal, or an expiry, is noticed."""


class BrowserPages:
    """The `ApprovalPages` of one server over stdio."""

    def __init__(self, settings: Settings, state: State, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._state, self._now = settings, state, now
        self._serving: _Serving | None = None

    def can_open(self) -> bool:
        return can_open_browser(os.environ, this_machine())

    def is_open(self) -> bool:
        return self._serving is not None and self._serving.is_open()

    def address(self, ticket: Ticket) -> str:
        return self._served(ticket).address()

    def show(self, ticket: Ticket) -> None:
        self._served(ticket).show()

    async def wait(self, ticket: Ticket, seconds: float) -> None:
        serving = self._served(ticket)
        with anyio.move_on_after(min(seconds, _LOOK_AGAIN)):
            await serving.decided.wait()
        if not serving.can_be_shown():
            raise OSError("The browser could not be opened.")

    @contextmanager
    def waiting(self, ticket: Ticket) -> Generator[None]:
        serving = self._served(ticket)
        serving.waiting.append(ticket.code)
        try:
            yield
        finally:
            serving.waiting.remove(ticket.code)

    async def aclose(self) -> None:
        if self._serving is not None:
            await self._serving.aclose()

    def _served(self, ticket: Ticket) -> _Serving:
        if self._serving is None or self._serving.ended:
            self._serving = _Serving(self._settings, self._state, self._now)
        self._serving.codes.add(ticket.code)
        return self._serving


class _Serving:
    """One port and one session.

    Attributes:
        codes: of the tickets that the page shows while they wait.
        waiting: the codes that a call waits for at this moment.
        decided: set when a person has decided, and replaced.
    """

    def __init__(self, settings: Settings, state: State, now: Callable[[], float]) -> None:
        self.codes, self.waiting, self.decided, self.ended = set[str](), list[str](), anyio.Event(), False
        self._state, self._now = state, now
        self._opener: subprocess.Popen[bytes] | None = None
        self._seen = float("-inf")
        self._session = Session(now)
        bound, self._origin = bind(HOST, 0)
        routes = approval_routes(state, self._session.person, "page", tickets=self._asked, decided=self._decide)
        app = create_app("approval", settings, self._session, self._origin, routes)
        self._server = _BesideStdio(app, lambda: None)
        self._task = asyncio.create_task(self._server.serve([bound]))
        self._ending = asyncio.create_task(self._end_when_nothing_waits())

    def address(self) -> str:
        return self._session.address(self._origin)

    def show(self) -> None:
        """Open the page, unless it is open: a person has one page, which shows all that waits."""
        if not self.is_open():
            self._seen = self._now()  # it takes a moment, in which another call may come
            self._opener = open_browser(self.address())

    def is_open(self) -> bool:
        return self._now() - self._seen < OPEN

    def can_be_shown(self) -> bool:
        """False once the browser could not be opened."""
        return self._opener is None or self._opener.poll() in (None, 0)

    async def aclose(self) -> None:
        self._ending.cancel()
        self._server.should_exit = self.ended = True
        await self._task

    async def _waiting(self) -> list[Ticket]:
        tickets = await self._state.open_tickets()
        return [ticket for ticket in tickets if ticket.code in self.codes and ticket.state == "waiting"]

    async def _asked(self, _: object) -> list[Ticket]:
        self._seen = self._now()
        return await self._waiting()

    def _decide(self, ticket: Ticket) -> str:
        event, self.decided = self.decided, anyio.Event()
        event.set()
        if ticket.state == "denied":
            return "Denied. Nothing was changed, and your assistant is told so."
        if ticket.code in self.waiting:
            return "Approved. The call goes ahead now."
        return "Approved. Tell your assistant to repeat the call: it goes ahead once, within 15 minutes."

    async def _end_when_nothing_waits(self) -> None:
        while True:
            if not await self._waiting():
                await anyio.sleep(LINGER)
                if not await self._waiting():
                    break
            with anyio.move_on_after(_LOOK_AGAIN):
                await self.decided.wait()
        self._server.should_exit = self.ended = True


class _BesideStdio(Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # Ctrl+C ends the MCP server, of which this is a part
