"""Tells a client over HTTP which scope a call lacks, so that it can ask its user for it and call again (RFC 6750).

The call itself would be refused without this, in words that a model reads and a client does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.api.scoped_client import SCOPES, scope_name
from runtype_mcp.http.asgi import answer
from runtype_mcp.http.identity import scope_names
from runtype_mcp.tools.spec import ToolSpec, missing_scopes, needed_scopes


def offer_scopes(app: Starlette, public_url: str, auth: AuthSettings, specs: Iterable[ToolSpec]) -> None:
    """Have an application say which scopes there are, and which one a call lacks."""
    resource = AnyHttpUrl(f"{public_url}/mcp")
    metadata = create_protected_resource_routes(resource, [auth.issuer_url], sorted(map(scope_name, SCOPES)))
    # Before the SDK's own route, which names as scopes only what every caller must have.
    app.router.routes[:0] = metadata
    url = str(build_resource_metadata_url(resource))
    # Innermost: behind the SDK's authentication.
    app.user_middleware.append(Middleware(StepUp, specs={spec.name: spec for spec in specs}, metadata_url=url))


class StepUp:
    """Answers 403 with the scopes that a tool needs, where the caller lacks one. It stands behind the authentication.

    Args:
        app: what answers the others.
        specs: the tools by name.
        metadata_url: where clients read who gives tokens.
    """

    def __init__(self, app: ASGIApp, specs: Mapping[str, ToolSpec], metadata_url: str) -> None:
        self._app, self._specs, self._metadata_url = app, specs, metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        if scope["type"] != "http" or scope["method"] != "POST" or not isinstance(user, AuthenticatedUser):
            await self._app(scope, receive, send)
            return
        body, received = await _body(receive)
        spec = self._called(body)
        if spec is not None and missing_scopes(spec, scope_names(user.access_token.scopes)):
            needed = " ".join(map(scope_name, needed_scopes(spec)))
            sentence = f"{spec.name} needs the scopes {needed}. Nothing was changed."
            challenge = (
                f'Bearer error="insufficient_scope", error_description="{sentence}", scope="{needed}", '
                f'resource_metadata="{self._metadata_url}"'
            )
            error = {"error": "insufficient_scope", "error_description": sentence}
            await answer(send, 403, error, [(b"www-authenticate", challenge.encode())])
            return
        await self._app(scope, _again(received, receive), send)

    def _called(self, body: bytes) -> ToolSpec | None:
        """The tool that a message calls, if it calls one."""
        try:
            message = json.loads(body)
            name = message["params"]["name"] if message["method"] == "tools/call" else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None  # what is no call is refused behind
        return self._specs.get(name) if isinstance(name, str) else None


async def _body(receive: Receive) -> tuple[bytes, list[Message]]:
    """The body, whose length is limited before, and the messages that it came in."""
    received: list[Message] = []
    parts: list[bytes] = []
    while True:
        message = await receive()
        received.append(message)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts), received


def _again(received: list[Message], receive: Receive) -> Receive:
    left = iter(received)

    async def next_message() -> Message:
        return next(left, None) or await receive()

    return next_message
