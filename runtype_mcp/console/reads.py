"""What the console shows besides approvals: tokens, findings, conversations, and the audit log.

Everything about tokens is read with the server's own tools, so it is masked, cleaned and locked to an environment as
it is for a model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from runtype_mcp.storage import audit_log
from runtype_mcp.tools.plan import plain

MAX_TOKENS = 2000
"""Tokens that the console lists. Of more, it says how many there are."""
MAX_LINES = 500
_PAGE = 200
_HIDDEN = ("prev", "request")
"""Fields of an audit line that only `verify` and the protocol need."""

ReadTool = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Calls a tool of the server, by its name and arguments, and gives the structured result.

Raises:
    ReadError: the tool refused or failed; the message is for people.
"""


class ReadError(Exception):
    """A tool refused or failed. The message is for people."""


def read_routes(read: ReadTool, audit: Path | None) -> list[BaseRoute]:
    """`tokens`, `findings`, `conversations` and `audit` for the console. `audit` is the log's file, if one is kept."""

    async def tokens(_: Request) -> Response:
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"nextOffset": 0}
        while (offset := page.get("nextOffset")) is not None and offset < MAX_TOKENS:
            page = await read("list_client_tokens", {"detail": "full", "limit": _PAGE, "offset": offset})
            found += page["clientTokens"]
        return JSONResponse({"tokens": found, "total": page["total"]})

    async def findings(_: Request) -> Response:
        return JSONResponse(await read("audit_client_tokens", {}))

    async def conversations(request: Request) -> Response:
        token = request.query_params.get("clientTokenId", "")
        return JSONResponse(await read("list_client_token_conversations", {"client_token": token, "limit": 100}))

    async def lines(request: Request) -> Response:
        limit, before = _number(request, "limit", 100), _number(request, "before", 2**53)
        try:
            return JSONResponse(await anyio.to_thread.run_sync(_log, audit, min(limit, MAX_LINES), before))
        except audit_log.AuditError as exc:
            raise HTTPException(503, str(exc)) from exc

    routes = {"tokens": tokens, "findings": findings, "conversations": conversations, "audit": lines}
    return [Route(f"/{name}", _answered(act), methods=["GET"]) for name, act in routes.items()]


def _answered(act: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await act(request)
        except ReadError as exc:
            raise HTTPException(502, str(exc)) from exc

    return answer


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and 0 < int(given[:16]) <= 2**53):
        raise HTTPException(400, f"{name} must be a whole number from 1 on.")
    return int(given[:16])


def _log(file: Path | None, limit: int, before: int) -> dict[str, Any]:
    """The newest lines before a number, and whether every line of the log continues the one before it."""
    if file is None or not file.exists():
        return {"lines": [], "verified": None, "brokenAt": None, "file": file and str(file)}
    found, problems = audit_log.newest(file, limit, before), audit_log.verify(file).problems
    return {
        "lines": [plain({key: value for key, value in line.items() if key not in _HIDDEN}) for line in found],
        "verified": not problems,
        "brokenAt": problems[0][0] if problems else None,
        "file": str(file),
    }
