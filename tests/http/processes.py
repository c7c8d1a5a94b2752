"""`runtype-mcp http` as a real process, and an upstream that answers when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.processes import Process, started
from tests.support import MODERN

LINE = re.compile(r"Serving MCP on (https?://\S+)/mcp \(health: \1/healthz\)\n")


def address(process: Process) -> str:
    """Where it says that it serves; what is logged before that is skipped."""
    assert process.popen.stderr is not None
    before = []
    while line := process.popen.stderr.readline().decode():
        if found := LINE.fullmatch(line):
            return found[1]
        before.append(line)
    raise AssertionError(before)


@contextlib.contextmanager
def http_server(*arguments: str, **environ: str) -> Iterator[tuple[Process, str]]:
    """`runtype-mcp http ARGUMENTS` on a free port: the process and its URL."""
    with started("http", "--port", "0", *arguments, **environ) as process:
        yield process, address(process)


def call(client: httpx.Client, tool: str, /, brought: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
    """A call of the newer protocol: one request, without a session. `brought`: the answers to a question before it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {} if brought is None else {"elicitation": {"form": {}}},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta, **(brought or {})}
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": tool,
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return client.post("/mcp", headers=headers, content=body)


class Held:
    """An API whose requests of one method wait until they are released."""

    def __init__(self, app: ASGIApp, method: str) -> None:
        self._app, self._method = app, method
        self.arrived, self.released = threading.Event(), threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == self._method:
            self.arrived.set()
            while not self.released.is_set():  # noqa: ASYNC110 - by another thread
                await asyncio.sleep(0.01)
        await self._app(scope, receive, send)
