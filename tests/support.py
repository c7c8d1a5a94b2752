"""What the tests stand on: the sandbox over real HTTP, and a real MCP client on either protocol era.

A test looks at what the API received (`api.writes`), never at what a mock was told.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import mcp_types
from mcp import Client, StdioServerParameters
from starlette.types import ASGIApp, Receive, Scope, Send

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.faults import Faults
from runtype_mcp.sandbox.seed import seed
from runtype_mcp.sandbox.store import Store
from runtype_mcp.server import build_server
from runtype_mcp.settings import load

KEY = "rt_test_support"
AGENT = "agent_01jv0000000000000000000001"
FLOW = "flow_01jv0000000000000000000001"
LEGACY, MODERN = "legacy", "2026-07-28"
ERAS = (LEGACY, MODERN)

Era = Literal["legacy", "2026-07-28"]
Answer = mcp_types.ElicitResult | Callable[[str], mcp_types.ElicitResult] | Exception | None


class SwappableApp:
    """One HTTP server for a whole session; each test puts its own app on it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass
class Api:
    """A sandbox that listens at `url`."""

    url: str
    stage: SwappableApp
    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)

    def install(self, **options: Any) -> Api:
        app = create_app(self.store, faults=self.faults, **options)
        self.received: list[tuple[str, str, Any]] = app.state.received
        self.stage.app = app
        return self

    def seeded(self) -> Api:
        seed(self.store)
        return self

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        """Every request that can change something."""
        return [request for request in self.received if request[0] != "GET"]


@dataclass
class McpClient:
    """A client and what it was asked. `call` gives the result; `text` its text."""

    client: Client
    asked: list[str]

    async def call(self, tool: str, /, **arguments: Any) -> mcp_types.CallToolResult:
        return await self.client.call_tool(tool, arguments)

    async def text(self, tool: str, /, **arguments: Any) -> str:
        return text_of(await self.call(tool, **arguments))

    async def create(self, **fields: Any) -> dict[str, Any]:
        """A new token for one agent and one https origin, other `fields` aside; its summary."""
        arguments = {"name": "Shop", "allowed_origins": ["https://shop.example"], "agent_ids": [AGENT]} | fields
        result = await self.call("create_client_token", **arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content is not None
        token: dict[str, Any] = result.structured_content["clientToken"]
        return token


def text_of(result: mcp_types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, mcp_types.TextContent)
    return content.text


def accept(name: str) -> mcp_types.ElicitResult:
    return mcp_types.ElicitResult(action="accept", content={"name": name})


def _callback(answer: Answer, asked: list[str]) -> Any:
    async def respond(_: Any, params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        asked.append(params.message)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(params.message)
        assert answer is not None
        return answer

    return respond


@asynccontextmanager
async def mcp_client(api: Api, era: str, answer: Answer = None, **environ: str) -> AsyncIterator[McpClient]:
    """A client of our server in this process, which calls `api` over HTTP.

    `answer` is what a person says when they are asked; None makes a client that cannot ask. `environ` sets settings
    by the names of their variables.
    """
    settings = load({"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, **environ})
    asked: list[str] = []
    callback = _callback(answer, asked) if answer is not None else None
    async with Client(build_server(settings), mode=era, elicitation_callback=callback) as client:
        yield McpClient(client, asked)


@asynccontextmanager
async def stdio_client(
    arguments: list[str], era: str, answer: Answer = None, **environ: str
) -> AsyncIterator[McpClient]:
    """The same over stdio, with our server as a real subprocess: `runtype-mcp ARGUMENTS`."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "runtype_mcp", *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("RUNTYPE")} | environ,
    )
    asked: list[str] = []
    callback = _callback(answer, asked) if answer is not None else None
    async with Client(server, mode=era, elicitation_callback=callback) as client:
        yield McpClient(client, asked)
