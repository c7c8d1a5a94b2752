"""People of a team: callers who are told apart, as a server for a team does, without its authentication."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import mcp_types
from mcp import Client
from mcp.server.mcpserver import Context

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.api.scoped_client import SCOPES, Scope, ScopedClient
from runtype_mcp.credentials import ApiKey
from runtype_mcp.identity import Caller, StaticKey
from runtype_mcp.server import build_server
from runtype_mcp.settings import Settings
from runtype_mcp.storage.state import State
from tests.support import Answer, Api, McpClient, callback_for, no_wait, settings_for

MAY_WRITE: frozenset[Scope] = SCOPES - {"approve"}
MAY_APPROVE: frozenset[Scope] = frozenset({"approve"})


@dataclass
class Person:
    """Somebody, and what they may do; a test changes it while they are at work."""

    name: str
    subject: str
    may: frozenset[Scope] = SCOPES


class OnePerson:
    """The `Identity` of a server that one person alone calls."""

    def __init__(self, person: Person, settings: Settings) -> None:
        self._person, self._settings = person, settings
        self._client = RuntypeClient(None, settings.base_url)
        self._key = StaticKey(settings, ApiKey(settings), self._client)
        self.redactor = self._key.redactor

    async def caller(self, context: Context[Any, Any]) -> Caller:
        person, known = self._person, await self._key.caller(context)
        key = await ApiKey(self._settings).get()
        api = ScopedClient(self._client.with_key(key), self._settings.environment, person.may)
        return replace(known, name=person.name, subject=person.subject, scopes=person.may, api=api)

    async def scopes(self, context: Context[Any, Any]) -> frozenset[Scope]:
        return self._person.may

    async def aclose(self) -> None:
        await self._key.aclose()


@asynccontextmanager
async def client_of(
    person: Person, api: Api, state: State, era: str, answer: Answer = None, client: str = "claude", /, **environ: str
) -> AsyncIterator[McpClient]:
    """A client of `person`, on a server of its own that shares `state` with others. Calls wait 0.1 s for others."""
    usual = {"RUNTYPE_MCP_APPROVAL": "second-person", "RUNTYPE_MCP_APPROVAL_WAIT": "0.1"}
    settings = settings_for(api, **usual | environ)
    server = build_server(settings, state=state, identity=OnePerson(person, settings), sleep=no_wait)
    asked: list[str] = []
    callback = callback_for(answer, asked) if answer is not None else None
    info = mcp_types.Implementation(name=client, version="1")
    async with Client(server, mode=era, elicitation_callback=callback, client_info=info) as model:
        yield McpClient(model, asked)
