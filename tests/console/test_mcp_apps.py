"""MCP Apps: the page that hosts show beside a result, and what every client is told of it, from the first reply on."""

from __future__ import annotations

import json
from pathlib import Path

import mcp_types
import pytest
from mcp import Client
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from runtype_mcp.console.mcp_apps import CONFIRM, PAGE, PAGE_URI
from runtype_mcp.server import build_server
from runtype_mcp.tools import SPECS
from tests.stdio.sessions import LEGACY_START, LISTS, StdioPair, envelope, hello, request, say
from tests.support import Api, mcp_client, settings_for


@pytest.mark.anyio
async def test_the_tools_whose_results_it_shows_are_bound_to_the_page(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        listed = {tool.name: tool for tool in (await model.client.list_tools()).tools}
    for spec in SPECS:
        shown = {"ui": {"resourceUri": PAGE_URI}} if spec.name != "list_agents_and_flows" else None
        assert listed.pop(spec.name).meta == shown
    (for_pages,) = listed.values()  # which hosts keep from their models
    assert (for_pages.name, for_pages.meta) == (CONFIRM.name, {"ui": {"resourceUri": PAGE_URI, "visibility": ["app"]}})


@pytest.mark.anyio
async def test_the_page_is_a_resource_that_hosts_render(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        (listed,) = [r for r in (await model.client.list_resources()).resources if r.uri == PAGE_URI]
        (content,) = (await model.client.read_resource(PAGE_URI)).contents
    assert listed.mime_type == content.mime_type == APP_MIME_TYPE
    assert isinstance(content, mcp_types.TextResourceContents)
    assert content.text == PAGE.read_text(encoding="utf-8")
    # Hosts give a page without `csp` no way to any network, which is all that it needs.
    assert not listed.meta
    assert not content.meta


@pytest.mark.anyio
async def test_a_client_of_the_protocol_with_extensions_is_told_of_the_extension(api: Api) -> None:
    async with Client(build_server(settings_for(api)), mode="auto") as client:
        assert client.server_capabilities.extensions == {EXTENSION_ID: {}}


UI = {"extensions": {EXTENSION_ID: {"mimeTypes": [APP_MIME_TYPE]}}}
LEGACY_HOST = [hello(capabilities=UI), *LEGACY_START[1:]]
MODERN_HOST = [request(method, method, envelope(capabilities=UI)) for method in ("server/discover", *LISTS)]


@pytest.mark.parametrize("lines", [LEGACY_HOST, MODERN_HOST], ids=["legacy", "modern"])
def test_the_replies_that_come_before_the_sdk_is_imported_have_all_of_it(tmp_path: Path, lines: list[str]) -> None:
    pair = StdioPair(tmp_path).warmed(lines)
    replies = {reply["id"]: reply["result"] for reply in map(json.loads, say(pair.replayed, lines))}
    assert pair.sdk_sessions == 0
    bound = [tool["name"] for tool in replies["tools/list"]["tools"] if "_meta" in tool]
    assert bound == [spec.name for spec in (*SPECS, CONFIRM) if spec.name != "list_agents_and_flows"]
    assert PAGE_URI in [resource["uri"] for resource in replies["resources/list"]["resources"]]
    if "server/discover" in replies:  # the protocol before it has no place for a server's extensions
        assert replies["server/discover"]["capabilities"]["extensions"] == {EXTENSION_ID: {}}
