"""The eight client-token endpoints as a Starlette app, faithful to Runtype's API on the wire."""

import json
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .faults import Faults, answer, json_response
from .rules import ApiError, created, page, updated, warnings
from .seed import seed, stamp, utc_now
from .store import Json, Record, Store, digest, ulid

Operation = Callable[[Request, Any], tuple[int, Json]]

_TOKEN_ID = re.compile(r"ct_(?!live_|test_)[A-Za-z0-9_-]{1,125}")
_READ_ONLY_KEY = "rt_test_read_only"
_NOT_IN_REGENERATED = {
    *("productSurfaceId", "rateLimitPerMinute", "rateLimitPerHour", "maxMessagesPerSession"),
    *("sessionIdleTimeoutMinutes", "config", "lastUsedAt"),
}


def create_app(
    store: Store | None = None,
    *,
    faults: Faults | None = None,
    keys: Collection[str] | None = None,
    lenient: bool = False,
) -> Starlette:
    """The sandbox API over `store`; None makes a seeded one in memory.

    `keys`: the API keys that work; None lets every key in that starts with `rt_`. `rt_test_read_only` may only read.
    `lenient`: an update that names `environment` or `productSurfaceId` has them ignored instead of refused.
    `app.state` has `store`, `faults` and `received`: all requests, as (method, path and query, JSON body or None).
    """
    if store is None:
        store = Store()
        seed(store)
    faults = faults or Faults()
    received: list[tuple[str, str, Any]] = []
    api = _Api(store, lenient)

    def route(method: str, path: str, operation: Operation) -> Route:
        async def respond(request: Request) -> Response:
            body = _parsed(await request.body())
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            received.append((request.method, target, body))

            def operate() -> Response:
                try:
                    if operation is not _no_such_path:
                        _authorize(request, keys)
                    return json_response(*operation(request, body))
                except ApiError as error:
                    return json_response(error.status, error.body, error.headers)

            response = await answer(faults.take(request.method, target), request, operate)
            response.headers["x-request-id"] = f"req_{secrets.token_hex(8)}"
            return response

        return Route(path, respond, methods=method.split())

    every, one = "/v1/client-tokens", "/v1/client-tokens/{id}"
    app = Starlette(
        routes=[
            route("GET", every, api.list_client_tokens),
            route("POST", every, api.create_client_token),
            route("GET", one, api.get_client_token),
            route("PUT", one, api.update_client_token),
            route("DELETE", one, api.delete_client_token),
            route("GET", f"{one}/token", api.get_client_token_value),
            route("POST", f"{one}/regenerate", api.regenerate_client_token),
            route("GET", f"{one}/conversations", api.list_conversations),
            route("GET POST PUT PATCH DELETE OPTIONS", "/{path:path}", _no_such_path),
        ],
        middleware=[Middleware(_RawPath)],
    )
    app.state.store, app.state.faults, app.state.received = store, faults, received
    return app


class _RawPath:
    """Routes see the path as it was sent, so that `%2F` in an id cannot pass for a separator."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if raw := scope.get("raw_path"):
            scope = {**scope, "path": raw.decode("ascii", "replace")}
        await self._app(scope, receive, send)


def _no_such_path(request: Request, body: Any) -> tuple[int, Json]:
    raise ApiError(404, "Not found")


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _authorize(request: Request, keys: Collection[str] | None) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    known = key.startswith("rt_") if keys is None else key in keys
    if scheme.lower() != "bearer" or not known:
        raise ApiError(401, "Unauthorized", {"www-authenticate": 'Bearer realm="Runtype API"'})
    if key == _READ_ONLY_KEY and request.method not in ("GET", "HEAD"):
        raise ApiError(403, "Insufficient permissions")


class _Api:
    """One method per endpoint: a request and its JSON body make a status and an answer, or an ApiError."""

    def __init__(self, store: Store, lenient: bool) -> None:
        self._store, self._lenient = store, lenient

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
        record = _touched(replace(record, token=updated(record.token, body, lenient=self._lenient)))
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


def _pagination(limit: int, offset: int, total: int) -> Json:
    return {"limit": limit, "offset": offset, "hasMore": offset + limit < total}


def _touched(record: Record) -> Record:
    """Updated now, or a millisecond after the last time: `updatedAt` tells any two states apart."""
    last = datetime.fromisoformat(record.token["updatedAt"])
    updated_at = stamp(max(utc_now(), last + timedelta(milliseconds=1)))
    return replace(record, token=record.token | {"updatedAt": updated_at})
