"""What a caller's scopes allow: which tools are offered, and what a call without its scope is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import Context

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.api.scoped_client import READ_SCOPES, SCOPES, Scope
from runtype_mcp.console.mcp_apps import CONFIRM
from runtype_mcp.credentials import ApiKey
from runtype_mcp.identity import StaticKey
from runtype_mcp.server import build_server
from runtype_mcp.settings import Settings
from runtype_mcp.tools import SPECS
from tests.confirmations import CASES, confirmed, prepare
from tests.support import KEY, Api, McpClient, mcp_client, settings_for, text_of

pytestmark = pytest.mark.anyio

READS = {spec.name for spec in SPECS if spec.scope == "read"}
NEEDS = {
    "read": READS,
    "write": {"create_client_token", "update_client_token", "regenerate_client_token"},
    "delete": {"delete_client_token"},
    "reveal": {"get_client_token_value"},
}


class Limited(StaticKey):
    """Everybody has the server's key, and these scopes alone. The API would do more for it."""

    def __init__(self, settings: Settings, *scopes: Scope) -> None:
        key = ApiKey(settings)
        super().__init__(settings, key, RuntypeClient(None, settings.base_url))
        self._scopes = frozenset(scopes)


@asynccontextmanager
async def limited(api: Api, era: str, *scopes: Scope, **environ: str) -> AsyncIterator[McpClient]:
    settings = settings_for(api, **environ)
    async with Client(build_server(settings, identity=Limited(settings, *scopes)), mode=era) as client:
        yield McpClient(client, [])


async def offered(model: McpClient) -> set[str]:
    return {tool.name for tool in (await model.client.list_tools()).tools}


def test_every_tool_says_what_it_needs() -> None:
    assert {scope: {spec.name for spec in SPECS if spec.scope == scope} for scope in NEEDS} == NEEDS
    assert READS | NEEDS["write"] | NEEDS["delete"] | NEEDS["reveal"] >= {spec.name for spec in SPECS if spec.writes}
    assert all(spec.scope != "read" for spec in SPECS if spec.writes)


async def test_a_caller_is_offered_what_the_scopes_allow(api: Api, era: str) -> None:
    scopes: tuple[Scope, ...]
    for scopes, names in (
        (("read",), READS),
        (("read", "write"), READS | NEEDS["write"] | {CONFIRM.name}),
        (("read", "delete"), READS | NEEDS["delete"] | {CONFIRM.name}),
        (("read", "reveal"), READS | NEEDS["reveal"] | {CONFIRM.name}),
        (("write", "delete", "reveal"), set()),  # each of them shows a token first
        ((), set()),
        (tuple(SCOPES), {spec.name for spec in (*SPECS, CONFIRM)}),
    ):
        async with limited(api, era, *scopes) as model:
            assert await offered(model) == names, scopes


async def test_the_key_of_stdio_has_all_scopes_and_what_is_read_only_those_that_write_nothing(
    api: Api, era: str
) -> None:
    async with mcp_client(api, era) as model:
        assert await offered(model) == {spec.name for spec in (*SPECS, CONFIRM)}
    settings = settings_for(api, RUNTYPE_MCP_READ_ONLY="1")
    identity = StaticKey(settings, ApiKey(settings), RuntypeClient(None, settings.base_url))
    nobody: Context[Any, Any] = Context()
    assert await identity.scopes(nobody) == READ_SCOPES
    await identity.aclose()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.does)
async def test_a_call_without_its_scope_is_told_which_and_reaches_nothing(api: Api, era: str, case: Any) -> None:
    spec = next(spec for spec in SPECS if spec.name == case.tool)
    arguments = prepare(api, case)
    sets: tuple[set[Scope], ...] = ({spec.scope}, {"read"}, {"read", spec.scope})
    for lacking in sets:
        async with limited(api, era, *(SCOPES - lacking)) as model:
            before = len(api.received)
            result = await model.call(case.tool, **confirmed(case, arguments))
            told = text_of(result)
            assert result.is_error
            assert len(api.received) == before
            for scope in SCOPES:
                assert (f"client_tokens:{scope}" in told) is (scope in lacking), told
            assert told.startswith("Error (auth): ")
            assert "Nothing was changed. Do not retry" in told


async def test_a_call_without_its_scope_is_no_hint_to_what_the_arguments_lack(api: Api, era: str) -> None:
    async with limited(api, era, "read") as model:
        assert "client_tokens:delete" in await model.text("delete_client_token", nonsense=1)


async def test_what_the_operator_forbids_comes_first(api: Api, era: str) -> None:
    async with limited(api, era, "read", RUNTYPE_MCP_READ_ONLY="1") as model:
        assert "RUNTYPE_MCP_READ_ONLY" in await model.text("delete_client_token", client_token="ct_1")


async def test_a_refused_call_that_is_gated_is_recorded_as_refused(api: Api, era: str, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with limited(api, era, "read", RUNTYPE_MCP_AUDIT=str(log)) as model:
        await model.call("delete_client_token", client_token="ct_1")
    (line,) = map(json.loads, log.read_text().splitlines())
    assert line["outcome"].startswith("refused: delete_client_token needs the scope client_tokens:delete")
    assert KEY not in log.read_text()


async def test_resources_and_completions_hold_nothing_without_the_scope_to_read(api: Api, era: str) -> None:
    api.seeded()
    async with limited(api, era, "write", "delete", "reveal", "approve") as model:
        for uri in ("runtype://client-tokens", "runtype://client-tokens/ct_1"):
            with pytest.raises(Exception, match="client_tokens:read"):
                await model.client.read_resource(uri)
    assert not api.received
