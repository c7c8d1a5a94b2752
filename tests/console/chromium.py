"""A person's browser: the system's own Chromium, the page on loopback in it, and a model that calls meanwhile."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

from runtype_mcp.console.app import create_app
from runtype_mcp.console.approvals import approval_routes
from runtype_mcp.console.session import Session
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.tickets import Ticket
from tests.support import MODERN, Api, McpClient, SwappableApp, mcp_client, running, settings_for

CONSOLE = Path(__file__).parents[2] / "console"
AXE = CONSOLE / "node_modules" / "axe-core" / "axe.min.js"
NARROW, WIDE = {"width": 320, "height": 800}, {"width": 1280, "height": 800}
Scheme = Literal["light", "dark"]


def needed(present: object, missing: str) -> None:
    """Skip the test where a tool is missing. In CI it fails: there, a test that does not run is a defect."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Headless Chromium."""
    path = shutil.which("chromium")
    needed(path, "There is no chromium on PATH: run `apt-get install chromium`.")
    # Chromium's own sandbox cannot start as root, as CI runs.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        await browser.close()


def watch(page: Page, url: str, faults: list[str]) -> None:
    """Add to `faults` each error of a page, what its policy refused, and each request elsewhere than to `url`."""

    def said(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            faults.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((url, "data:")):
            faults.append(request.url)

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", said)
    page.on("request", asked)


@dataclass
class Clock:
    """The server's clock. Time passes when a test says so."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """A server that waits for a person, the model that calls it, and the person's browser.

    `faults` is what went wrong on the pages, and where they asked for something that is not theirs.
    """

    api: Api
    client: McpClient
    state: SqliteState
    clock: Clock
    session: Session
    url: str
    chromium: Browser
    server: ExitStack
    closing: list[Any] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def ask(self, tool: str, /, **arguments: Any) -> str:
        """Make a call that waits for a person; its ticket's code."""
        before = {ticket.code for ticket in await self.state.open_tickets()}
        await self.client.call(tool, **arguments)
        (code,) = {ticket.code for ticket in await self.state.open_tickets()} - before
        return code

    async def open(self, **options: Any) -> Page:
        """The page in a new window of a person's, with an address that nobody used yet."""
        context = await self.chromium.new_context(**{"viewport": WIDE, "reduced_motion": "reduce"} | options)
        self.closing.append(context)
        page = await self.tab(context)
        await page.goto(self.session.address(self.url))
        await page.locator("main").wait_for()
        return page

    async def tab(self, context: BrowserContext) -> Page:
        """A tab in a window, which shows nothing yet."""
        page = await context.new_page()
        watch(page, self.url, self.faults)
        # Polls come when a test lets time pass too, so that no test waits for one.
        await page.clock.install()
        return page

    async def look(self, page: Page) -> None:
        """Let the page ask the server again."""
        await page.clock.run_for(2000)

    def end(self) -> None:
        """The server ends."""
        self.server.close()


@asynccontextmanager
async def desk(api: Api, chromium: Browser, clock: Clock) -> AsyncIterator[Desk]:
    """A desk at which calls with effects need a person. At the end no page may have had a fault."""
    state = SqliteState(Path(os.environ["RUNTYPE_MCP_STATE_DIR"]), now=clock)
    session, stage = Session(), SwappableApp()

    async def waiting(_: object) -> list[Ticket]:
        return [ticket for ticket in await state.open_tickets() if ticket.state == "waiting"]

    with ExitStack() as server:
        url = server.enter_context(running(stage))
        routes = approval_routes(state, session.person, "page", tickets=waiting, now=clock)
        stage.app = create_app("approval", settings_for(api), session, url, routes)
        async with mcp_client(api, MODERN, None, state, RUNTYPE_MCP_APPROVAL="human") as client:
            at = Desk(api, client, state, clock, session, url, chromium, server)
            yield at
            for context in at.closing:
                await context.close()
    await state.aclose()
    assert not at.faults, at.faults


async def violations(page: Page) -> list[str]:
    """What axe-core finds on a page, in all of its rules."""
    needed(AXE.is_file(), "axe-core is not installed: run `npm ci` in console/.")
    frame = page.frames[-1]  # the page itself, or what a host shows of it
    await frame.evaluate(AXE.read_text(encoding="utf-8"))
    found = await frame.evaluate("async () => (await axe.run()).violations")
    return [f"{rule['id']}: {json.dumps([node['target'] for node in rule['nodes']])} {rule['help']}" for rule in found]
