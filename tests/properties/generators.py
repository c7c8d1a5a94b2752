"""One server and one client for many examples. Each call meets the same sixteen tokens, and a server that saw none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import mcp_types
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from starlette.types import ASGIApp

from runtype_mcp.sandbox.seed import seed
from runtype_mcp.sandbox.store import Record, Store
from runtype_mcp.server import RuntypeServer, build_server
from tests.support import KEY, MODERN, Api, ForgetfulState, SwappableApp, no_wait, running, settings_for, text_of


@dataclass
class Bench:
    portal: BlockingPortal
    server: RuntypeServer
    client: Client
    api: Api
    tokens: tuple[Record, ...]
    schemas: dict[str, dict[str, Any]]

    def call(
        self, tool: str, arguments: dict[str, Any], around: Callable[[ASGIApp], ASGIApp] = lambda app: app
    ) -> mcp_types.CallToolResult:
        """Call `tool` on the sixteen tokens; `around` puts something between the client and the sandbox."""
        self.api.store = Store()
        self.api.store.put(*self.tokens)
        self.api.install()
        self.api.stage.app = around(self.api.stage.app)
        return self.portal.call(partial(self.client.call_tool, tool, arguments))

    @property
    def changed(self) -> bool:
        return tuple(reversed(self.api.store.newest_first())) != self.tokens


@contextmanager
def bench() -> Iterator[Bench]:
    store, stage = Store(), SwappableApp()
    seed(store)
    with running(stage) as url, start_blocking_portal() as portal:
        api = Api(url, stage, store).install()
        server = build_server(settings_for(api), state=ForgetfulState(), sleep=no_wait)
        with portal.wrap_async_context_manager(Client(server, mode=MODERN)) as client:
            schemas = {tool.name: tool.input_schema for tool in portal.call(client.list_tools).tools}
            yield Bench(portal, server, client, api, tuple(reversed(store.newest_first())), schemas)


def checked(result: mcp_types.CallToolResult) -> str:
    """The text of an answer, which is a result, or an error of one of the four kinds, and never a crash."""
    text = text_of(result)
    assert not re.search(r'Traceback|File "|object at 0x|where it should not|pydantic', text), text
    if result.is_error:
        assert re.match(r"(?s)Error \((retryable|permanent|user_input|auth)\): .", text), text
    else:
        assert result.structured_content is not None
    assert KEY not in text
    (text + json.dumps(result.structured_content, ensure_ascii=False)).encode()  # or it ends a server over stdio
    return text
