"""The sandbox behind something that keeps what it received and spoils answers on demand, before or after the commit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Kind = Literal[
    "status",  # `status` (500) with a JSON `body` and `headers`
    "html_502",  # a gateway's error page
    "empty",  # 200 and nothing else
    "wrong_shape",  # 200 and `body`, which is JSON of the wrong type
    "slow",  # the real answer, after `seconds`
    "extra_fields",  # the real answer, with a field that nobody knows in every object
    "legacy_list",  # a list from before pagination: everything, whatever the query says
]


@dataclass(slots=True)
class Fault:
    """One rule: which requests it spoils (`method`, a part of path and query, how many `times`), and how."""

    kind: Kind
    method: str | None = None
    path: str = ""
    times: int = 1
    after_commit: bool = False
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] | None = None
    seconds: float = 0


@dataclass(slots=True)
class Faults:
    """Rules in the order they were added; the first that fits a request and is not used up applies to it."""

    _rules: list[Fault] = field(default_factory=list)

    def add(self, kind: Kind, **options: Any) -> None:
        """Add a rule; the options are the fields of `Fault`.

        `slow` waits before the operation, which is dropped when the caller hangs up; with `after_commit`, behind it.
        `extra_fields` and `legacy_list` let the operation happen. The other kinds stand in for it; with
        `after_commit` it happens and its answer is lost.
        """
        assert kind in get_args(Kind)
        self._rules.append(Fault(kind, **options))

    def take(self, method: str, target: str) -> Fault | None:
        """The rule for this request, which counts as applied."""
        for rule in self._rules:
            if rule.times > 0 and rule.method in (None, method) and rule.path in target:
                rule.times -= 1
                return rule
        return None


class FaultyApp:
    """`received`: all requests, as (method, path and query, JSON body or None)."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app, self._faults = app, faults
        self.received: list[tuple[str, str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        raw, query = await request.body(), scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        self.received.append((request.method, target, body))

        async def operate(**differs: Any) -> Response:
            return await _answer_of(self._app, {**scope, **differs}, raw)

        fault = self._faults.take(request.method, target)
        answer = await (operate() if fault is None else _spoiled(fault, request, operate))
        await answer(scope, receive, send)


async def _answer_of(app: ASGIApp, scope: Scope, raw: bytes) -> Response:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": raw}

    async def keep(message: Message) -> None:
        said.append(message)

    await app(scope, receive, keep)
    answer = Response(b"".join(message.get("body", b"") for message in said), said[0]["status"])
    answer.raw_headers = said[0]["headers"]
    return answer


async def _spoiled(fault: Fault, request: Request, operate: Callable[..., Awaitable[Response]]) -> Response:
    match fault.kind:
        case "slow":
            done = await operate() if fault.after_commit else None
            left = await _hangs_up(request, fault.seconds)
            return done or (Response(status_code=499) if left else await operate())
        case "extra_fields":
            plain = await operate()
            return JSONResponse(_with_extra(json.loads(bytes(plain.body))), plain.status_code)
        case "legacy_list":
            return await operate(query_string=b"")
    if fault.after_commit:
        await operate()
    match fault.kind:
        case "html_502":
            return Response("<html><body><h1>502 Bad Gateway</h1></body></html>", 502, fault.headers, "text/html")
        case "empty":
            return Response(b"")
        case "wrong_shape":
            return JSONResponse(fault.body)
    status = fault.status or 500
    return JSONResponse(fault.body or {"error": HTTPStatus(status).phrase}, status, fault.headers)


async def _hangs_up(request: Request, seconds: float) -> bool:
    """Whether the caller hangs up within `seconds`; its body was read, so nothing else can arrive."""
    try:
        await asyncio.wait_for(request.receive(), seconds)
    except TimeoutError:
        return False
    return True


def _with_extra(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_extra(entry) for entry in value]
    if isinstance(value, dict):
        # `config` is the user's own object: nothing may appear in it.
        return {k: v if k == "config" else _with_extra(v) for k, v in value.items()} | {"addedLater": [1, None]}
    return value
