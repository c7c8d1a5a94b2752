"""The SDK's low-level `Server`: schemas by hand, no argument validation of its own, compact text as the result."""

import json
import sys
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from benchmarks.peers.tools import TOOLS

STRING, NUMBER, STRINGS = {"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": "string"}}
TOKEN: dict[str, Any] = {"client_token": STRING}
PAGE = {"limit": NUMBER, "offset": NUMBER}
LIMITS = {"rate_limit_per_minute": NUMBER, "rate_limit_per_hour": NUMBER}
WRITABLE = {"name": STRING, "allowed_origins": STRINGS, **LIMITS}
PROPERTIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "list_client_tokens": (PAGE, []),
    "create_client_token": (
        WRITABLE
        | {"flow_ids": STRINGS, "agent_ids": STRINGS, "environment": {"type": "string", "enum": ["test", "live"]}},
        ["name", "allowed_origins"],
    ),
    "get_client_token": (TOKEN, ["client_token"]),
    "update_client_token": (TOKEN | WRITABLE | {"is_active": {"type": "boolean"}}, ["client_token"]),
    "delete_client_token": (TOKEN, ["client_token"]),
    "get_client_token_value": (TOKEN, ["client_token"]),
    "regenerate_client_token": (TOKEN, ["client_token"]),
    "list_client_token_conversations": (TOKEN | PAGE, ["client_token"]),
}
FUNCTIONS = {function.__name__: function for function in TOOLS}
LISTED = [
    types.Tool(
        name=name,
        description=FUNCTIONS[name].__doc__,
        input_schema={"type": "object", "properties": properties, "required": required},
    )
    for name, (properties, required) in PROPERTIES.items()
]
SCHEMAS = {tool.name: tool.input_schema for tool in LISTED}


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=LISTED)


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    result = await FUNCTIONS[params.name](**(params.arguments or {}))
    text = json.dumps(result, separators=(",", ":"))
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=result)


# Without get_tool_input_schema, every modern HTTP call with arguments runs a tools/list first.
server = Server("client-tokens", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=SCHEMAS.get)


async def stdio() -> None:
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


if len(sys.argv) > 1:
    uvicorn.run(server.streamable_http_app(), port=int(sys.argv[1]), log_level="warning")
else:
    anyio.run(stdio)
