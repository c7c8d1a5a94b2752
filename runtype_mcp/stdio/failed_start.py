"""Tell a client over stdio why the server did not start.

A process that ends is "connection closed" to a host, and nothing to a model. So the handshake succeeds, on either
protocol era, and brings the reason as instructions and as the description of the only tool. A model reads that before
it calls anything, in hosts that ignore instructions too, and a person sees it in the host's list of tools. Every call,
also of a tool that the host remembers from another day, is answered with the reason. Nothing else is served.
"""

from __future__ import annotations

import json
import os
from typing import Any

from runtype_mcp import __version__
from runtype_mcp.stdio.replay import send

_LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_MODERN = "2026-07-28"
_INVALID_REQUEST, _PARSE_ERROR, _INTERNAL_ERROR = -32600, -32700, -32603
_SERVER = {"name": "runtype-mcp", "title": "Runtype client tokens: not started", "version": __version__}


def serve(reason: str, unread: bytes = b"", source: int = 0, sink: int = 1) -> None:
    """Answer until the client leaves.

    Args:
        reason: one sentence, without secrets.
        unread: what was read of the client's lines and not answered yet.
    """
    text = (
        f"runtype-mcp, which manages Runtype client tokens, did not start. {reason} Nothing was done. Tell the user to "
        "correct this server's configuration in the host and restart it; `runtype-mcp doctor` in a terminal says more."
    )
    try:
        while True:
            *lines, rest = unread.split(b"\n")
            for line in filter(bytes.strip, lines):
                if reply := answer(line, text, reason):
                    send(sink, json.dumps(reply).encode() + b"\n")
            data = os.read(source, 65536)
            if not data and not rest:
                return
            unread = rest + (data or b"\n")  # the last line may have no end
    except OSError:
        pass  # the client does not listen any more


def answer(line: bytes, text: str, reason: str) -> dict[str, Any] | None:
    """The reply to one line; None for what is not to be answered. `reason` alone is for programs, in the handshake."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return _error(None, _PARSE_ERROR, text)
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        is_response = isinstance(message, dict) and ("result" in message or "error" in message)
        return None if is_response else _error(None, _INVALID_REQUEST, text)
    if "id" not in message:
        return None
    params = message.get("params")
    params = params if isinstance(params, dict) else {}
    result = _result(message["method"], params, text)
    if result is None:
        return _error(message["id"], _INTERNAL_ERROR, text)
    if isinstance(params.get("_meta"), dict) and "io.modelcontextprotocol/protocolVersion" in params["_meta"]:
        # Nothing may be kept: after a restart the answers are others.
        result |= {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        result["_meta"] = {"io.modelcontextprotocol/serverInfo": _SERVER}
    elif message["method"] == "initialize":
        result["_meta"] = {"runtype-mcp/startup-error": reason}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def _result(method: str, params: dict[str, Any], text: str) -> dict[str, Any] | None:
    match method:
        case "initialize":
            asked = params.get("protocolVersion")
            version = asked if asked in _LEGACY else _LEGACY[0]
            described = {"capabilities": {"tools": {}}, "instructions": text}
            return {"protocolVersion": version, "serverInfo": _SERVER, **described}
        case "server/discover":
            return {"supportedVersions": [_MODERN], "capabilities": {"tools": {}}, "instructions": text}
        case "tools/list":
            schema = {"type": "object", "properties": {}, "additionalProperties": False}
            hints = {"readOnlyHint": True, "openWorldHint": False}
            tool = {"name": "get_startup_error", "title": "runtype-mcp did not start", "description": text}
            return {"tools": [tool | {"inputSchema": schema, "annotations": hints}]}
        case "tools/call":
            return {"content": [{"type": "text", "text": f"Error (settings): {text}"}], "isError": True}
        case "prompts/list" | "resources/list":
            return {method.partition("/")[0]: []}
        case "resources/templates/list":
            return {"resourceTemplates": []}
        case "ping":
            return {}
    return None


def _error(name: Any, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": name, "error": {"code": code, "message": text}}
