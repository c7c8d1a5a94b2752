"""An id for each request, in its answer and in every record about it, and one line of the log when it ends."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.http.asgi import header
from runtype_mcp.logs import REQUESTS, request_id

NAME = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
logger = logging.getLogger(REQUESTS)


class RequestLog:
    """The outermost layer.

    Args:
        app: what answers.
        answered: is told the status of each answer.
    """

    def __init__(self, app: ASGIApp, answered: Callable[[int], None]) -> None:
        self._app, self._answered = app, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header(scope, NAME) or b""
        identifier = given if _SANE.fullmatch(given) else uuid.uuid4().hex.encode()
        # In the place of what came, so that everything behind this reads the same one.
        others = [(name, value) for name, value in scope["headers"] if name != NAME]
        scope = {**scope, "headers": [*others, (NAME, identifier)]}
        status, began = 0, time.monotonic()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (NAME, identifier)]}
            await send(message)

        token = request_id.set(identifier.decode())
        try:
            await self._app(scope, receive, sending)
        finally:
            self._answered(status)
            if logger.isEnabledFor(logging.INFO):
                _log(scope, status, time.monotonic() - began)
            request_id.reset(token)


def _log(scope: Scope, status: int, seconds: float) -> None:
    user = scope.get("user")
    fields = {
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status or None,  # None: the client left before there was one
        "duration_ms": round(seconds * 1000, 1),
        "peer": scope["client"][0] if scope.get("client") else None,
        "caller": user.access_token.subject or user.access_token.client_id
        if isinstance(user, AuthenticatedUser)
        else None,
    }
    said = f"{fields['method']} {fields['path']} {fields['status'] or 'without an answer'}"
    logger.info("%s in %s ms", said, fields["duration_ms"], extra={"fields": fields})
