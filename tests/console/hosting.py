"""A host that shows the page in a conversation: the official host library, in a real browser.

The page is framed as the specification says: sandboxed, without a network, and with the default policy for its content.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import mcp_types
from playwright.async_api import Browser, Frame, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.console.chromium import CONSOLE, WIDE, needed, watch
from tests.support import MODERN, Api, McpClient, mcp_client, running

POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self' data:; connect-src 'none'"
)
HOST = """<!doctype html>
<html lang="en">
<title>Host</title>
<link rel="icon" href="data:,">
<style>iframe { width: 100%; border: 0; }</style>
<body>
<script type="module" src="/host.js"></script>"""


@contextmanager
def host_page() -> Iterator[str]:
    """Serves the host's page, and below it ours; yields its address."""
    node = shutil.which("node")
    needed(node and (CONSOLE / "node_modules").is_dir(), "The host needs Node.js, and `npm ci` in console/.")
    script = subprocess.run([str(node), "scripts/host.mjs"], cwd=CONSOLE, check=True, capture_output=True).stdout

    async def host(_: Request) -> Response:
        return HTMLResponse(HOST)

    async def javascript(_: Request) -> Response:
        return Response(script, media_type="text/javascript")

    async def page(_: Request) -> Response:
        return HTMLResponse(
            (files("runtype_mcp.console") / "page.html").read_text(encoding="utf-8"),
            headers={"content-security-policy": POLICY},
        )

    routes = [Route("/", host), Route("/host.js", javascript), Route("/page", page)]
    with running(Starlette(routes=routes)) as url:
        yield url


@dataclass
class Chat:
    """A conversation: the model's calls, the page that the host shows for them, and what the page said to the host.

    `refuses` names what the host does not do for the page.
    """

    api: Api
    model: McpClient
    window: Page
    heard: list[tuple[str, Any]] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    more: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def page(self) -> Frame:
        return self.window.frames[-1]

    async def told(self, method: str) -> Any:
        """What the page sent with `method`, once it has."""
        async with self.more, asyncio.timeout(10):
            await self.more.wait_for(lambda: method in dict(self.heard))
        return dict(self.heard)[method]

    async def said(self, method: str) -> str:
        """The text that the page sent with `method`, once it has."""
        return str((await self.told(method))["content"][0]["text"])

    async def call(self, tool: str, /, **arguments: Any) -> mcp_types.CallToolResult:
        """The model calls a tool, and the host shows the page for its result."""
        result = await self.model.call(tool, **arguments)
        await self.show(tool, arguments, result.model_dump(mode="json", by_alias=True, exclude_none=True))
        return result

    async def show(self, tool: str, arguments: dict[str, Any], result: dict[str, Any], **context: Any) -> None:
        told = {"toolInfo": {"tool": {"name": tool, "inputSchema": {"type": "object"}}}, "theme": "light"} | context
        await self.window.evaluate(
            "shown => window.present(shown)", {"context": told, "input": arguments, "result": result}
        )
        await self.page.locator("main > :not(h1)").first.wait_for()

    async def _from_page(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        async with self.more:
            self.heard.append((method, params))
            self.more.notify_all()
        if method in self.refuses:
            return {"isError": True, "content": []} if method == "tools/call" else {"isError": True}
        if method == "tools/call":
            result = await self.model.call(params["name"], **params["arguments"])
            answer: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            return answer
        return {"mode": params["mode"]} if method == "ui/request-display-mode" else {}


@asynccontextmanager
async def chat(
    api: Api, chromium: Browser, host: str, context: dict[str, Any] | None = None, /, **environ: str
) -> AsyncIterator[Chat]:
    """A conversation in a browser with the options of `context`. At the end the page may have had no fault."""
    async with mcp_client(api, MODERN, None, **environ) as model:
        window = await chromium.new_context(**{"viewport": WIDE, "reduced_motion": "reduce"} | (context or {}))
        page = await window.new_page()
        at = Chat(api, model, page)
        watch(page, host, at.faults)
        await page.expose_function("fromPage", at._from_page)
        await page.goto(host)
        await page.wait_for_function("window.present !== undefined")
        yield at
        await window.close()
    assert not at.faults, at.faults
