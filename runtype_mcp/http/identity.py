"""Who calls over HTTP: whoever the SDK authenticated for this very request."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.api.scoped_client import READ_SCOPES, SCOPES, Scope, ScopedClient
from runtype_mcp.credentials import ApiKey
from runtype_mcp.errors import CallerUnknown
from runtype_mcp.identity import Caller, account_of
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.settings import Settings

MAX_NAME = 80
MAX_REDACTORS = 256
"""How many callers' redactors are kept: to make one takes longer than the rest of a call's preparation."""


class CallerToken(AccessToken):
    """A bearer token that was verified.

    Attributes:
        caller: the `Caller.subject` that it stands for.
        name: the caller's name for people, as somebody else wrote it.
    """

    caller: str
    name: str


def scope_names(scopes: list[str]) -> frozenset[Scope]:
    """The scopes of ours among those of a token. Other spellings are none."""
    given = set(scopes)
    return frozenset(scope for scope in SCOPES if f"client_tokens:{scope}" in given)


class _Authenticated:
    """What both ways share: a caller has the scopes of their token, as far as the operator's policy goes."""

    def __init__(self, settings: Settings, client: RuntypeClient) -> None:
        self._client = client
        self._base_url, self._environment = settings.base_url, settings.environment
        self._allowed = READ_SCOPES if settings.read_only else SCOPES

    async def scopes(self, context: Context[Any, Any]) -> frozenset[Scope]:
        try:
            return self._scopes(_token(context))
        except CallerUnknown:
            return frozenset()

    def _scopes(self, token: CallerToken) -> frozenset[Scope]:
        return scope_names(token.scopes) & self._allowed

    def _caller(self, token: CallerToken, key: str | None, redactor: Redactor) -> Caller:
        scopes = self._scopes(token)
        return Caller(
            name=sanitize_line(redactor.redact_text(token.name), MAX_NAME),
            subject=token.caller,
            scopes=scopes,
            api=ScopedClient(self._client.with_key(key), self._environment, scopes),
            redactor=redactor,
            account=account_of(self._base_url, key),
        )

    async def aclose(self) -> None:
        await self._client.aclose()


class TeamIdentity(_Authenticated):
    """Callers act under their own names, with the server's key."""

    def __init__(self, settings: Settings, key: ApiKey, client: RuntypeClient) -> None:
        super().__init__(settings, client)
        self._key, self.redactor = key, key.redactor

    async def caller(self, context: Context[Any, Any]) -> Caller:
        token = _token(context)
        return self._caller(token, await self._key.get(), self.redactor)


class PassthroughIdentity(_Authenticated):
    """Callers act with their own keys, which this server passes on and keeps no longer than the call."""

    def __init__(self, settings: Settings, client: RuntypeClient) -> None:
        super().__init__(settings, client)
        self.redactor = Redactor()
        self._redactors: OrderedDict[bytes, Redactor] = OrderedDict()

    async def caller(self, context: Context[Any, Any]) -> Caller:
        token = _token(context)
        return self._caller(token, token.token, self._redactor(token.token))

    def _redactor(self, key: str) -> Redactor:
        known = hashlib.sha256(key.encode()).digest()
        redactor = self._redactors[known] = self._redactors.get(known) or Redactor([key])
        self._redactors.move_to_end(known)
        while len(self._redactors) > MAX_REDACTORS:
            self._redactors.popitem(last=False)
        return redactor


def _token(context: Context[Any, Any]) -> CallerToken:
    """The token of this request. A context variable would tell whose request began the session.

    Raises:
        CallerUnknown: it was not authenticated.
    """
    request = context.request_context.request
    user = request.scope.get("user") if request is not None else None
    if not isinstance(user, AuthenticatedUser) or not isinstance(user.access_token, CallerToken):
        raise CallerUnknown("It is not known who makes this call.")
    return user.access_token
