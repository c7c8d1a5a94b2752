"""What the tests stand on: the sandbox over real HTTP, and a real MCP client on either protocol era.

A test looks at what the API received (`api.writes`), never at what a mock was told.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import mcp_types
from mcp import Client, StdioServerParameters
from starlette.types import ASGIApp, Receive, Scope, Send

from runtype_mcp.listen import Server, bind
from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.rules import DEFAULTS
from runtype_mcp.sandbox.seed import seed, stamp, utc_now
from runtype_mcp.sandbox.store import Record, Store, digest, ulid
from runtype_mcp.server import build_server
from runtype_mcp.settings import Settings
from runtype_mcp.storage.state import MemoryState, State
from tests.faults.faulty_app import Faults, FaultyApp

KEY = "rt_test_support"
AGENT = "agent_01jv0000000000000000000001"
FLOW = "flow_01jv0000000000000000000001"
LEGACY, MODERN = "legacy", "2026-07-28"
ERAS = (LEGACY, MODERN)

Era = Literal["legacy", "2026-07-28"]
Answer = mcp_types.ElicitResult | Callable[[str], mcp_types.ElicitResult] | Exception | None


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serve `app` on a free loopback port from a thread; yields its base URL, without a slash at the end."""
    ready = threading.Event()
    server = Server(app, ready.set)
    bound, url = bind("127.0.0.1", 0)
    with bound:
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        assert ready.wait(10), "the server does not start"
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


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
        app = FaultyApp(create_app(self.store, **options), self.faults)
        self.received = app.received
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


def settings_for(api: Api, **environ: str) -> Settings:
    own = {name: os.environ[name] for name in ("RUNTYPE_MCP_STATE_DIR",) if name in os.environ}
    return Settings.from_env({"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, **own, **environ})


async def no_wait(seconds: float) -> None:
    """A pause that is over, once others had their turn."""
    await asyncio.sleep(0)


class ForgetfulState(MemoryState):
    """For tests that put the same tokens back before each call: nobody was shown what they are not any more."""

    async def last_read(self, subject: str, token_id: str) -> None:
        return None


def seed_many(store: Store, n: int) -> None:
    """Put `n` plain, unused client tokens into `store`, made a minute apart; every third is a test token."""
    now = utc_now()
    for i in range(n):
        made = stamp(now - timedelta(minutes=n - i))
        token = DEFAULTS | {"id": f"ct_{ulid(digest(f'many {i}'))}", "name": f"Shop {i:05}", "agentIds": [AGENT]}
        token |= {"allowedOrigins": [f"https://shop-{i:05}.example"], "environment": "live" if i % 3 else "test"}
        token |= {"lastUsedAt": None, "createdAt": made, "updatedAt": made}
        store.put(Record(token, None).with_value(f"{digest(f'value {i}'):064x}"[:32]))


def text_of(result: mcp_types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, mcp_types.TextContent)
    return content.text


def accept(name: str) -> mcp_types.ElicitResult:
    return mcp_types.ElicitResult(action="accept", content={"name": name})


def callback_for(answer: Answer, asked: list[str]) -> Any:
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
async def mcp_client(
    api: Api, era: str, answer: Answer = None, state: State | None = None, pages: bool = False, /, **environ: str
) -> AsyncIterator[McpClient]:
    """A client of our server in this process, which calls `api` over HTTP.

    `answer` is what a person says when they are asked; None makes a client that cannot ask. `environ` sets settings
    by the names of their variables. With `pages` a person may be asked in a browser, as over stdio. The server waits
    for nothing before it looks again.
    """
    settings = settings_for(api, **environ)
    asked: list[str] = []
    callback = callback_for(answer, asked) if answer is not None else None
    async with Client(
        build_server(settings, state=state, pages=pages, sleep=no_wait), mode=era, elicitation_callback=callback
    ) as client:
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
    callback = callback_for(answer, asked) if answer is not None else None
    async with Client(server, mode=era, elicitation_callback=callback) as client:
        yield McpClient(client, asked)
