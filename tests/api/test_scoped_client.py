"""What a caller may not do is refused here, whatever the tool above forgets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from runtype_mcp.api import models
from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.api.scoped_client import SCOPES, Scope, ScopedClient
from runtype_mcp.errors import MissingScope, OutsideEnvironment
from tests.confirmations import put
from tests.support import AGENT, KEY, Api

pytestmark = pytest.mark.anyio

Call = Callable[[ScopedClient, str], Awaitable[object]]


def _create(environment: str) -> models.CreateClientToken:
    return models.CreateClientToken(
        name="New", allowed_origins=["https://a.example"], agent_ids=[AGENT], environment=environment
    )


BY_ID: dict[str, tuple[Scope, Call]] = {
    "update": ("write", lambda api, token: api.update_client_token(token, models.UpdateClientToken(name="Renamed"))),
    "delete": ("delete", lambda api, token: api.delete_client_token(token)),
    "value": ("reveal", lambda api, token: api.get_client_token_value(token)),
    "regenerate": ("write", lambda api, token: api.regenerate_client_token(token)),
    "conversations": ("read", lambda api, token: api.list_client_token_conversations(token, 10, 0)),
}
by_id = pytest.mark.parametrize("name", BY_ID)


@pytest.fixture
async def client(api: Api) -> AsyncIterator[RuntypeClient]:
    client = RuntypeClient(KEY, api.url)
    yield client
    await client.aclose()


async def ids(api: ScopedClient) -> list[str]:
    return [token.id async for page in api.iterate_client_tokens() for token in page]


async def test_a_lock_leaves_the_other_environment_out_of_every_list(api: Api, client: RuntypeClient) -> None:
    live, test = put(api.store), put(api.store, environment="test")
    locked = ScopedClient(client, "test")
    assert await ids(locked) == [test]
    assert [token.id for token in (await locked.list_client_tokens(10, 0)).client_tokens] == [test]
    assert sorted(await ids(ScopedClient(client))) == sorted([live, test])


async def test_a_lock_refuses_a_token_of_the_other_environment_by_its_id(api: Api, client: RuntypeClient) -> None:
    locked = ScopedClient(client, "test")
    with pytest.raises(OutsideEnvironment, match="is a live token, and this server is locked to test tokens"):
        await locked.get_client_token(put(api.store))
    assert (await locked.get_client_token(put(api.store, environment="test"))).environment == "test"


async def test_a_lock_refuses_to_create_in_the_other_environment(api: Api, client: RuntypeClient) -> None:
    locked = ScopedClient(client, "test")
    with pytest.raises(OutsideEnvironment):
        await locked.create_client_token(_create("live"))
    assert not api.received
    made = await locked.create_client_token(_create("test"))
    await locked.get_client_token_value(made.client_token.id)


@by_id
async def test_under_a_lock_an_id_that_was_not_read_is_refused(api: Api, client: RuntypeClient, name: str) -> None:
    """A tool that forgets to read the token first must not open the lock."""
    _, call = BY_ID[name]
    locked = ScopedClient(client, "test")
    other, token = put(api.store), put(api.store, environment="test")
    for unread in (other, token):
        with pytest.raises(OutsideEnvironment):
            await call(locked, unread)
    assert not api.received
    await ids(locked)
    await call(locked, token)
    with pytest.raises(OutsideEnvironment):
        await call(locked, other)


@by_id
async def test_a_call_by_id_needs_its_scope(api: Api, client: RuntypeClient, name: str) -> None:
    scope, call = BY_ID[name]
    token = put(api.store)
    with pytest.raises(MissingScope, match=f"client_tokens:{scope}"):
        await call(ScopedClient(client, scopes=SCOPES - {scope}), token)
    assert not api.received
    await call(ScopedClient(client, scopes=frozenset({scope})), token)


async def test_reading_and_creating_need_their_scopes(api: Api, client: RuntypeClient) -> None:
    blind = ScopedClient(client, scopes=SCOPES - {"read"})
    token = put(api.store)
    for call in (blind.get_client_token(token), blind.list_client_tokens(10, 0), ids(blind)):
        with pytest.raises(MissingScope, match="client_tokens:read"):
            await call
    with pytest.raises(MissingScope, match="client_tokens:write"):
        await ScopedClient(client, scopes=frozenset({"read"})).create_client_token(_create("test"))
    assert not api.received
