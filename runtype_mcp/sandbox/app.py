"""The eight client-token endpoints, and the lists of agents and flows, as a Starlette app, faithful to Runtype's API
on the wire.
"""

import json
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .rules import ApiError, created, cursor, cursor_page, page, updated, warnings
from .seed import seed, seeded_agents, seeded_flows, stamp, utc_now
from .store import Json, Record, Store, digest, ulid

Operation = Callable[[Request, Any], tuple[int, Json]]

_TOKEN_ID = re.compile(r"ct_(?!live_|test_)[A-Za-z0-9_-]{1,125}")
_MAY_NOT = {"rt_test_read_only": ("POST", "PUT", "DELETE"), "rt_test_no_delete": ("DELETE",)}
_MAY_NOT_LIST = {"rt_test_no_lists": ("/v1/agents", "/v1/flows"), "rt_test_no_flows": ("/v1/flows",)}
_DEEPEST = 100  # Python copies and writes nested objects with a function call or three for each level
_NOT_IN_REGENERATED = {
    *("productSurfaceId", "rateLimitPerMinute", "rateLimitPerHour", "maxMessagesPerSession"),
    *("sessionIdleTimeoutMinutes", "config", "lastUsedAt"),
}


def create_app(
    store: Store | None = None,
    *,
    keys: Collection[str] | None = None,
    agents: Sequence[Json] | None = None,
    flows: Sequence[Json] | None = None,
) -> Starlette:
    """The sandbox API over `store`; None makes a seeded one in memory.

    `keys`: the API keys that work; None lets every key in that starts with `rt_`. `rt_test_read_only` may
    only read, `rt_test_no_delete` may not delete, `rt_test_no_lists` may list neither agents nor flows, and
    `rt_test_no_flows` no flows. `agents`, `flows`: what their lists hold; None is the seeds.
    """
    if store is None:
        store = Store()
        seed(store)
    api = _Api(store, seeded_agents() if agents is None else agents, seeded_flows() if flows is None else flows)

    def route(path: str, **operations: Operation) -> Route:
        async def respond(request: Request) -> Response:
            body = _parsed(await request.body())
            try:
                _authorize(request, keys)
                return _json(*operations["GET" if request.method == "HEAD" else request.method](request, body))
            except ApiError as error:
                return _json(error.status, error.body, error.headers)

        return Route(path, respond, methods=[*operations])

    async def no_such_operation(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _json(error.status_code, {"error": HTTPStatus(error.status_code).phrase.capitalize()}, error.headers)

    every, one = "/v1/client-tokens", "/v1/client-tokens/{id}"
    app = Starlette(
        routes=[
            route(every, GET=api.list_client_tokens, POST=api.create_client_token),
            route(one, GET=api.get_client_token, PUT=api.update_client_token, DELETE=api.delete_client_token),
            route(f"{one}/token", GET=api.get_client_token_value),
            route(f"{one}/regenerate", POST=api.regenerate_client_token),
            route(f"{one}/conversations", GET=api.list_conversations),
            route("/v1/agents", GET=api.list_agents),
            route("/v1/flows", GET=api.list_flows),
            Route("/openapi.json", _description),
        ],
        middleware=[Middleware(_RawPath)],
        exception_handlers={HTTPException: no_such_operation},
    )
    app.router.redirect_slashes = False
    return app


class _RawPath:
    """Routes see the path as it was sent, so that `%2F` in an id cannot pass for a separator."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if raw := scope.get("raw_path"):
            scope = {**scope, "path": raw.decode("ascii", "replace")}
        await self._app(scope, receive, send)


def _json(status: int, body: Json, headers: Mapping[str, str] | None = None) -> Response:
    # Half a surrogate pair is legal in JSON but not in UTF-8: it goes out escaped, as JavaScript does it.
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    request_id = {"x-request-id": f"req_{secrets.token_hex(8)}"}
    return Response(text, status, request_id | dict(headers or {}), "application/json")


async def _description(request: Request) -> Response:
    return FileResponse(Path(__file__).with_name("openapi.json"))


def _parsed(raw: bytes) -> Any:
    """The JSON in `raw`; None when there is none, or when it is nested too deeply to be stored and sent back."""
    try:
        value = json.loads(raw, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if _depth(value) <= _DEEPEST else None


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [entry for entry in level if isinstance(entry, dict | list)]:
        level = [inner for entry in level for inner in (entry.values() if isinstance(entry, dict) else entry)]
        depth += 1
    return depth


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    # 1e999 is JSON, but what Python makes of it is not.
    return number if isfinite(number := float(digits)) else _no_number(digits)


def _authorize(request: Request, keys: Collection[str] | None) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    known = key.startswith("rt_") if keys is None else key in keys
    if scheme.lower() != "bearer" or not known:
        raise ApiError(401, "Unauthorized", {"www-authenticate": 'Bearer realm="Runtype API"'})
    if request.method in _MAY_NOT.get(key, ()) or request.url.path in _MAY_NOT_LIST.get(key, ()):
        raise ApiError(403, "Insufficient permissions")


class _Api:
    """One method per endpoint: a request and its JSON body make a status and an answer, or an ApiError."""

    def __init__(self, store: Store, agents: Sequence[Json], flows: Sequence[Json]) -> None:
        self._store, self._agents, self._flows = store, agents, flows

    def list_agents(self, request: Request, body: Any) -> tuple[int, Json]:
        return 200, _by_cursor(request.query_params, self._agents)

    def list_flows(self, request: Request, body: Any) -> tuple[int, Json]:
        return 200, _by_cursor(request.query_params, self._flows)

    def list_client_tokens(self, request: Request, body: Any) -> tuple[int, Json]:
        limit, offset = page(request.query_params, most=200)
        records = self._store.newest_first()
        if limit is None:
            return 200, {"clientTokens": [_shown(record) for record in records]}
        shown = [_shown(record) for record in records[offset : offset + limit]]
        return 200, {"clientTokens": shown, "pagination": _pagination(limit, offset, len(records))}

    def create_client_token(self, request: Request, body: Any) -> tuple[int, Json]:
        now = stamp(utc_now())
        made = {"id": f"ct_{ulid(secrets.randbits(115))}", "lastUsedAt": None, "createdAt": now, "updatedAt": now}
        record = Record(created(body) | made, None).with_value(secrets.token_hex(16))
        self._store.put(record)
        remarks = warnings(record.token)
        return 201, {"clientToken": _shown(record), "token": record.value, "warnings": remarks}

    def get_client_token(self, request: Request, body: Any) -> tuple[int, Json]:
        record = self._found(request)
        return 200, {"clientToken": _shown(record) | {"conversationCount": len(record.conversations)}}

    def update_client_token(self, request: Request, body: Any) -> tuple[int, Json]:
        record = self._found(request)
        record = _touched(replace(record, token=updated(record.token, body)))
        self._store.put(record)
        return 200, {"clientToken": _shown(record), "warnings": warnings(record.token)}

    def delete_client_token(self, request: Request, body: Any) -> tuple[int, Json]:
        self._store.delete(self._found(request).token["id"])
        return 200, {"success": True, "message": "Client token deleted"}

    def get_client_token_value(self, request: Request, body: Any) -> tuple[int, Json]:
        record = self._found(request)
        if record.value is None:
            hint = f"Use POST /v1/client-tokens/{record.token['id']}/regenerate to create a fresh value"
            raise ApiError(400, "Token value is not stored", hint=hint)
        return 200, {"token": record.value}

    def regenerate_client_token(self, request: Request, body: Any) -> tuple[int, Json]:
        record = _touched(self._found(request)).with_value(secrets.token_hex(16))
        self._store.put(record)
        reduced = {k: v for k, v in _shown(record).items() if k not in _NOT_IN_REGENERATED}
        message = "Client token regenerated. The previous value no longer works."
        return 200, {"clientToken": reduced, "token": record.value, "message": message}

    def list_conversations(self, request: Request, body: Any) -> tuple[int, Json]:
        entries = self._found(request).conversations
        limit, offset = page(request.query_params, most=100)
        limit = limit or 25
        if flow_id := request.query_params.get("flow_id"):
            entries = [entry for entry in entries if entry.get("flowId") == flow_id]
        pagination = _pagination(limit, offset, len(entries))
        return 200, {"conversations": entries[offset : offset + limit], "pagination": pagination}

    def _found(self, request: Request) -> Record:
        token_id = unquote(request.path_params["id"])
        if not _TOKEN_ID.fullmatch(token_id):
            raise ApiError(400, "Invalid client token ID")
        if record := self._store.get(token_id):
            return record
        raise ApiError(404, "Client token not found")


def _shown(record: Record) -> Json:
    # When the real API fills `tokenValue` is undocumented; the sandbox does both, so that clients expect either.
    value = record.value if record.token["environment"] == "test" else None
    return record.token | {"tokenValue": value, "organizationId": f"org_{ulid(digest('organization'))}"}


def _by_cursor(query: Mapping[str, str], entries: Sequence[Json]) -> Json:
    limit, offset = cursor_page(query, most=100)
    wanted = query.get("search", "").casefold()
    found = [entry for entry in entries if wanted in entry["name"].casefold()]
    more, before = offset + limit < len(found), max(0, offset - limit)
    pagination = {
        "limit": limit,
        "hasMore": more,
        "hasPrev": offset > 0,
        "nextCursor": cursor(offset + limit) if more else None,
        "prevCursor": cursor(before) if offset else None,
        "currentOffset": offset,
    }
    counted = {"totalCount": len(found)} if query.get("includeCount") == "true" else {}
    return {"data": found[offset : offset + limit], "pagination": pagination | counted}


def _pagination(limit: int, offset: int, total: int) -> Json:
    return {"limit": limit, "offset": offset, "hasMore": offset + limit < total}


def _touched(record: Record) -> Record:
    """Updated now, or a millisecond after the last time: `updatedAt` tells any two states apart."""
    last = datetime.fromisoformat(record.token["updatedAt"])
    updated_at = stamp(max(utc_now(), last + timedelta(milliseconds=1)))
    return replace(record, token=record.token | {"updatedAt": updated_at})
