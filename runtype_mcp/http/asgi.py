"""What the layers of the HTTP server share: reading a request's head, and answering without the server behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from starlette.types import Scope, Send

CLOSE = (b"connection", b"close")


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header, whose `name` is in lower case; None if it is not there, or there more than once."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0] if len(found) == 1 else None


def is_stream(scope: Scope) -> bool:
    """Whether a client keeps this request open to be told what happens, and waits for no answer.

    The SDK refuses a request whose `Mcp-Method` is not the method in its body.
    """
    return scope["method"] == "GET" or header(scope, b"mcp-method") == b"subscriptions/listen"


async def answer(send: Send, status: int, body: object, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a whole answer: a sentence as text, anything else as JSON."""
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    kind = b"text/plain; charset=utf-8" if isinstance(body, str) else b"application/json"
    raw = text.encode()
    start: dict[str, Any] = {"type": "http.response.start", "status": HTTPStatus(status).value}
    length = str(len(raw)).encode()
    await send(
        start | {"headers": [(b"content-type", kind), (b"content-length", length), *headers]},
    )
    await send({"type": "http.response.body", "body": raw})


async def busy(send: Send, status: int, sentence: str, seconds: float, *more: tuple[bytes, bytes]) -> None:
    """Refuse a request that can work after `seconds`."""
    await answer(send, status, sentence, [(b"retry-after", str(max(1, round(seconds + 0.5))).encode()), *more])
