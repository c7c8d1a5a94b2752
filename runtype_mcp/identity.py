"""Who calls: one frozen `Caller` for each call, made by the server's `Identity`.

Over stdio, and on a server of one key, everybody is the key: `StaticKey`. Whoever the caller is owns what they were
shown, the questions that they were asked, their tickets and their lines in the audit log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.api.scoped_client import READ_SCOPES, SCOPES, Scope, ScopedClient
from runtype_mcp.credentials import ApiKey
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller, for the length of one call.

    Attributes:
        name: for people and the audit log. Over stdio it is what the client says of itself, so nothing trusts it.
        subject: owns what was shown and asked. Two callers of one subject see each other's tickets.
        scopes: what this caller may do at all.
        api: the API, as far as this caller may go.
        redactor: masks secrets, this caller's own key included.
        account: names the Runtype account without telling its key. A yes for one account is none for another.
    """

    name: str
    subject: str
    scopes: frozenset[Scope]
    api: ScopedClient
    redactor: Redactor
    account: str


@runtime_checkable
class Identity(Protocol):
    """Finds out who calls."""

    redactor: Redactor
    """Masks secrets where nobody in particular calls: in logs, and in what a client names."""

    async def caller(self, context: Context[Any, Any]) -> Caller:
        """The caller of one request.

        Raises:
            ClientTokenError: it cannot be found out.
        """

    async def scopes(self, context: Context[Any, Any]) -> frozenset[Scope]:
        """What the caller of one request may do at all. It needs no key, and raises nothing."""

    async def aclose(self) -> None:
        """Close the connections to the API."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """How the callers of an HTTP server are told apart.

    Attributes:
        verifier: finds out whose a bearer token is; the SDK asks it for every request.
        settings: what the SDK tells those whom it refuses.
        identity: makes the `Identity` around the client that all callers share.
        steps_up: whether a client can ask for more scopes where it got its token.
        aclose: closes the connections to whoever issues the tokens.
    """

    verifier: TokenVerifier
    settings: AuthSettings
    identity: Callable[[RuntypeClient], Identity]
    steps_up: bool
    aclose: Callable[[], Awaitable[None]]


def account_of(base_url: str, key: str | None) -> str:
    """What names a Runtype account without telling its key."""
    return hashlib.sha256(f"{base_url} {key}".encode()).hexdigest()


class StaticKey:
    """Everybody acts with the one key that the server's settings name."""

    def __init__(self, settings: Settings, key: ApiKey, client: RuntypeClient) -> None:
        self._key, self._client = key, client
        self._base_url, self._environment = settings.base_url, settings.environment
        self._scopes = READ_SCOPES if settings.read_only else SCOPES
        self.redactor = key.redactor

    async def caller(self, context: Context[Any, Any]) -> Caller:
        key = await self._key.get()
        params = context.session.client_params
        info = params.client_info if params else None
        name = f"{info.name} {info.version}".strip() if info else "unknown client"
        session = (context.headers or {}).get("mcp-session-id", "")
        name = f"{name} {session[:8]}".strip()
        return Caller(
            name=name,
            subject=name,
            scopes=self._scopes,
            api=ScopedClient(self._client.with_key(key), self._environment, self._scopes),
            redactor=self.redactor,
            account=account_of(self._base_url, key),
        )

    async def scopes(self, context: Context[Any, Any]) -> frozenset[Scope]:
        return self._scopes

    async def aclose(self) -> None:
        await self._client.aclose()
