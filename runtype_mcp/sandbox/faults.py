"""Answers that go wrong on demand, so that a client's manners can be tested."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, get_args

from starlette.requests import Request
from starlette.responses import Response

Kind = Literal[
    "status",  # `status` (500) with a JSON `body` and `headers`
    "html_502",  # a gateway's error page
    "plain_text",  # `status` (500) and a sentence that is not JSON
    "empty",  # `status` (200) and nothing else
    "wrong_shape",  # `status` (200) and `body` ([]), which is JSON of the wrong type
    "slow",  # the real answer, after `seconds`
    "truncated_json",  # the real answer, cut in half
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
        """Add a rule; the options are the fields of `Fault`. ValueError: no such kind; TypeError: no such option.

        `status`, `html_502`, `plain_text`, `empty` and `wrong_shape` stand in for the operation, which does not
        happen; with `after_commit` it happens and its answer is lost. `slow` waits before the operation, which is
        dropped when the caller hangs up; with `after_commit`, behind it. The other kinds let it happen.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"{kind!r} is not a kind of fault; there are {', '.join(get_args(Kind))}")
        self._rules.append(Fault(kind, **options))

    def take(self, method: str, target: str) -> Fault | None:
        """The rule for this request, which counts as applied."""
        for rule in self._rules:
            if rule.times > 0 and rule.method in (None, method) and rule.path in target:
                rule.times -= 1
                return rule
        return None


def json_response(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    # Half a surrogate pair is legal in JSON but not in UTF-8: it goes out escaped, as JavaScript does it.
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return Response(text, status, headers, "application/json")


async def answer(fault: Fault | None, request: Request, operate: Callable[[], Response]) -> Response:
    """The response to `request`: what `operate` returns, spoiled by `fault`."""
    if fault is None:
        return operate()
    match fault.kind:
        case "slow":
            done = operate() if fault.after_commit else None
            left = await _hangs_up(request, fault.seconds)
            return done or (Response(status_code=499) if left else operate())
        case "truncated_json":
            whole = operate()
            return Response(whole.body[: len(whole.body) // 2], whole.status_code, None, "application/json")
        case "extra_fields":
            plain = operate()
            return json_response(plain.status_code, _with_extra(json.loads(bytes(plain.body))))
        case "legacy_list":
            request.scope["query_string"] = b""
            return operate()
    if fault.after_commit:
        operate()
    match fault.kind:
        case "html_502":
            return Response("<html><body><h1>502 Bad Gateway</h1></body></html>", 502, fault.headers, "text/html")
        case "plain_text":
            return Response("upstream connect error", fault.status or 500, fault.headers, "text/plain")
        case "empty":
            return Response(b"", fault.status or 200, fault.headers)
        case "wrong_shape":
            return json_response(fault.status or 200, [] if fault.body is None else fault.body, fault.headers)
    status = fault.status or 500
    return json_response(status, fault.body or {"error": HTTPStatus(status).phrase}, fault.headers)


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
