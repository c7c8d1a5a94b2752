"""The official SDK's generated client as a witness: it completes all eight operations against the sandbox."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from runtype._generated.client import AsyncRuntypeApi, RuntypeApi

from .conftest import AGENT, FLOW, OTHER_FLOW, TOKENS, Sandbox

KEY = "Bearer rt_test_1"
WIDGET: dict[str, Any] = {
    "allowed_origins": ["https://example.com", "http://localhost:3000"],
    "config": {"placeholder": "Type your message...", "theme": {"mode": "light", "primaryColor": "#007bff"}},
    "default_flow_id": FLOW,
    "environment": "live",
    "flow_ids": [FLOW, OTHER_FLOW],
    "agent_ids": [AGENT],
    "max_messages_per_session": 100.0,
    "rate_limit_per_hour": 100.0,
    "rate_limit_per_minute": 10.0,
    "session_idle_timeout_minutes": 30.0,
}


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[RuntypeApi]:
    with httpx.Client() as http:
        yield RuntypeApi(base_url=sandbox.url, authorization=KEY, api_key=KEY, httpx_client=http, max_retries=0)


@pytest.fixture
def sent() -> list[tuple[str, str]]:
    """Method, path and query of each request of the asynchronous client."""
    return []


@pytest.fixture
async def async_client(sandbox: Sandbox, sent: list[tuple[str, str]]) -> AsyncIterator[AsyncRuntypeApi]:
    async def keep(request: httpx.Request) -> None:
        sent.append((request.method, request.url.raw_path.decode()))

    async with httpx.AsyncClient(event_hooks={"request": [keep]}) as http:
        yield AsyncRuntypeApi(base_url=sandbox.url, authorization=KEY, api_key=KEY, httpx_client=http, max_retries=0)


def _speak(sandbox: Sandbox, token_id: str) -> None:
    record = sandbox.store.get(token_id)
    assert record is not None
    now = "2026-11-24T12:00:00.000Z"
    entry = {"name": None, "firstMessage": "Hi", "createdAt": now, "updatedAt": now, "messageCount": 2}
    entries = [entry | {"id": f"conv_{i}", "flowId": flow} for i, flow in enumerate([FLOW, OTHER_FLOW, FLOW])]
    sandbox.store.put(replace(record, conversations=entries))


def test_the_sync_client_completes_all_eight_operations(sandbox: Sandbox, client: RuntypeApi) -> None:
    api = client.client_tokens
    created = api.create_client_token(name="My Chat Widget", **WIDGET)
    token_id = created.client_token.id
    assert created.client_token.rate_limit_per_hour == 100
    assert [warning.type for warning in created.warnings] == ["localhost_origin"]
    api.create_client_token(name="Second", **WIDGET)

    whole = api.list_client_tokens()
    assert (len(whole.client_tokens), whole.pagination) == (2, None)
    page = api.list_client_tokens(limit="1", offset="0")
    assert page.pagination is not None
    assert (len(page.client_tokens), page.pagination.has_more) == (1, True)

    _speak(sandbox, token_id)
    got = api.get_client_token(token_id).client_token
    assert (got.name, got.conversation_count, got.default_flow_id) == ("My Chat Widget", 3, FLOW)

    updated = api.update_client_token(token_id, is_active=False, default_flow_id=None, target_alias="live")
    assert (updated.client_token.is_active, updated.client_token.target_alias) == (False, "live")
    assert updated.client_token.default_flow_id is None

    assert api.get_client_token_value(token_id).token == created.token
    regenerated = api.regenerate_client_token(token_id)
    assert regenerated.client_token.id == token_id
    assert api.get_client_token_value(token_id).token == regenerated.token != created.token

    assert len(api.list_conversations_for_client_token(token_id).conversations) == 3
    filtered = api.list_conversations_for_client_token(token_id, limit="1", offset="0", flow_id=FLOW)
    assert ([entry.id for entry in filtered.conversations], filtered.pagination.has_more) == (["conv_0"], True)

    assert api.delete_client_token(token_id).success is True
    assert [token.name for token in api.list_client_tokens().client_tokens] == ["Second"]


@pytest.mark.anyio
async def test_the_async_client_completes_all_eight_operations(
    async_client: AsyncRuntypeApi, sent: list[tuple[str, str]]
) -> None:
    api = async_client.client_tokens
    created = await api.create_client_token(name="My Chat Widget", **WIDGET)
    token_id = created.client_token.id
    await api.list_client_tokens()
    assert [token.id for token in (await api.list_client_tokens(limit="10")).client_tokens] == [token_id]
    assert (await api.get_client_token(token_id)).client_token.conversation_count == 0
    updated = await api.update_client_token(token_id, name="Renamed")
    assert updated.client_token.name == "Renamed"
    assert (await api.get_client_token_value(token_id)).token == created.token
    assert (await api.regenerate_client_token(token_id)).token != created.token
    assert (await api.list_conversations_for_client_token(token_id, flow_id=FLOW)).conversations == []
    assert (await api.delete_client_token(token_id)).success is True
    assert [(method, path.replace(token_id, "{id}")) for method, path in sent] == [
        ("POST", TOKENS),
        ("GET", TOKENS),
        ("GET", f"{TOKENS}?limit=10"),
        ("GET", f"{TOKENS}/{{id}}"),
        ("PUT", f"{TOKENS}/{{id}}"),
        ("GET", f"{TOKENS}/{{id}}/token"),
        ("POST", f"{TOKENS}/{{id}}/regenerate"),
        ("GET", f"{TOKENS}/{{id}}/conversations?flow_id={FLOW}"),
        ("DELETE", f"{TOKENS}/{{id}}"),
    ]
