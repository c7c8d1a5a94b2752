"""`ScopedClient`: the API as far as one caller may go. No tool has to remember a lock, and none can forget it.

Two things bound it: the operator's environment lock, and the caller's scopes. A token of the other environment is
refused when it is read by its id, left out of every list, and cannot be created. A call by id is admitted only for a
token that this client has read before, because only a read tells which environment an id belongs to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Literal

from runtype_mcp.api import models
from runtype_mcp.api.client import AgentsOrFlows, RuntypeClient
from runtype_mcp.errors import CallerLacksScope, OutsideEnvironment

Scope = Literal["read", "write", "delete", "reveal", "approve"]
SCOPES: frozenset[Scope] = frozenset({"read", "write", "delete", "reveal", "approve"})
READ_SCOPES: frozenset[Scope] = SCOPES - {"write", "delete"}


def scope_name(scope: Scope) -> str:
    """A scope as OAuth has it."""
    return f"client_tokens:{scope}"


class ScopedClient:
    """A `RuntypeClient` for one caller. Every method raises `ClientTokenError`, and nothing else.

    Args:
        client: what really calls the API.
        environment: `test` or `live`, if only tokens of this one are in reach.
        scopes: what the caller may do at all.
    """

    def __init__(
        self,
        client: RuntypeClient,
        environment: Literal["test", "live"] | None = None,
        scopes: frozenset[Scope] = SCOPES,
    ) -> None:
        self._client, self.environment, self._scopes = client, environment, scopes
        self._admitted: set[str] = set()

    async def list_client_tokens(self, limit: int, offset: int) -> models.ClientTokenPage:
        """One page of the API's list. Under a lock it may hold fewer than `limit`."""
        self._require("read")
        page = await self._client.list_client_tokens(limit, offset)
        return page.model_copy(update={"client_tokens": self._within(page.client_tokens)})

    async def iterate_client_tokens(self) -> AsyncIterator[list[models.ClientToken]]:
        """All tokens in reach, a page at a time."""
        self._require("read")
        async for page in self._client.iterate_client_tokens():
            yield self._within(page)

    async def iterate_agents_or_flows(self, kind: AgentsOrFlows) -> AsyncIterator[list[models.AgentOrFlow]]:
        """All agents or flows, a page at a time. They belong to no environment."""
        self._require("read")
        async for page in self._client.iterate_agents_or_flows(kind):
            yield page

    async def get_client_token(self, token_id: str) -> models.ClientToken:
        self._require("read")
        token = await self._client.get_client_token(token_id)
        self.check_environment(token.environment, f"{token.id} is a {token.environment} token")
        self._admitted.add(token.id)
        return token

    async def create_client_token(self, request: models.CreateClientToken) -> models.ClientTokenWithValue:
        self._require("write")
        self.check_environment(request.environment, f"environment is {request.environment}")
        made = await self._client.create_client_token(request)
        self._admitted.add(made.client_token.id)
        return made

    async def update_client_token(self, token_id: str, request: models.UpdateClientToken) -> models.UpdatedClientToken:
        self._require("write", token_id)
        return await self._client.update_client_token(token_id, request)

    async def delete_client_token(self, token_id: str) -> models.Deleted:
        self._require("delete", token_id)
        return await self._client.delete_client_token(token_id)

    async def get_client_token_value(self, token_id: str) -> str:
        self._require("reveal", token_id)
        return await self._client.get_client_token_value(token_id)

    async def regenerate_client_token(self, token_id: str) -> models.ClientTokenWithValue:
        self._require("write", token_id)
        return await self._client.regenerate_client_token(token_id)

    async def list_client_token_conversations(
        self, token_id: str, limit: int, offset: int, flow_id: str | None = None
    ) -> models.ConversationPage:
        self._require("read", token_id)
        return await self._client.list_client_token_conversations(token_id, limit, offset, flow_id)

    def _within(self, tokens: Iterable[models.ClientToken]) -> list[models.ClientToken]:
        found = [token for token in tokens if self.environment in (None, token.environment)]
        if self.environment is not None:
            self._admitted.update(token.id for token in found)
        return found

    def check_environment(self, environment: str, what: str) -> None:
        """Refuse `what` (a clause for people) if it is about the other environment.

        Raises:
            OutsideEnvironment: it is. Nothing was sent.
        """
        if self.environment not in (None, environment):
            raise OutsideEnvironment(f"{what}, and this server is locked to {self.environment} tokens.")

    def _require(self, scope: Scope, token_id: str | None = None) -> None:
        if scope not in self._scopes:
            raise CallerLacksScope(f"This caller may not do this: it lacks the scope {scope_name(scope)}.")
        if token_id is not None and self.environment is not None and token_id not in self._admitted:
            # Fails closed: a tool that did not read the token first cannot know on which side of the lock it is.
            raise OutsideEnvironment(
                f"{token_id} was not read first, and this server is locked to {self.environment} tokens."
            )
