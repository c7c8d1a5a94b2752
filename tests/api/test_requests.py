"""What leaves this machine: method, path, query, body and headers of each endpoint, as they stand on the wire."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp import __version__, errors
from runtype_mcp.api import models
from runtype_mcp.api.client import RuntypeClient
from tests.api.upstream import CONVERSATION, ID, KEY, READS, TOKEN, VALUE, Answer, Operation, Upstream

pytestmark = pytest.mark.anyio

CREATE = models.CreateClientToken(name="Shop", allowed_origins=["https://shop.example"], agent_ids=["agent_1"])
OPERATIONS: dict[str, Operation] = READS | {
    "create_client_token": lambda client: client.create_client_token(CREATE),
    "update_client_token": lambda client: client.update_client_token(ID, models.UpdateClientToken(name="New")),
    "delete_client_token": lambda client: client.delete_client_token(ID),
    "regenerate_client_token": lambda client: client.regenerate_client_token(ID),
}
ANSWERS: dict[str, Answer] = {
    "list_client_tokens": Answer(200, {"clientTokens": [TOKEN]}),
    "get_client_token": Answer(200, {"clientToken": TOKEN}),
    "get_client_token_value": Answer(200, {"token": VALUE}),
    "list_client_token_conversations": Answer(200, {"conversations": [CONVERSATION]}),
    "create_client_token": Answer(201, {"clientToken": TOKEN, "token": VALUE, "warnings": []}),
    "update_client_token": Answer(200, {"clientToken": TOKEN, "warnings": []}),
    "delete_client_token": Answer(200, {"success": True, "message": "Deleted"}),
    "regenerate_client_token": Answer(200, {"clientToken": TOKEN, "token": VALUE, "message": "Done"}),
}
PAGE = "limit=200&offset=0"


@pytest.mark.parametrize(
    ("operation", "method", "path", "query"),
    [
        ("list_client_tokens", "GET", "/v1/client-tokens", PAGE),
        ("create_client_token", "POST", "/v1/client-tokens", ""),
        ("get_client_token", "GET", f"/v1/client-tokens/{ID}", ""),
        ("update_client_token", "PUT", f"/v1/client-tokens/{ID}", ""),
        ("delete_client_token", "DELETE", f"/v1/client-tokens/{ID}", ""),
        ("get_client_token_value", "GET", f"/v1/client-tokens/{ID}/token", ""),
        ("regenerate_client_token", "POST", f"/v1/client-tokens/{ID}/regenerate", ""),
        ("list_client_token_conversations", "GET", f"/v1/client-tokens/{ID}/conversations", "limit=25&offset=0"),
    ],
)
async def test_each_operation_has_its_endpoint(
    upstream: Upstream, client: RuntypeClient, operation: str, method: str, path: str, query: str
) -> None:
    upstream.says(ANSWERS[operation])
    await OPERATIONS[operation](client)
    (request,) = upstream.received
    assert (request.method, request.path, request.query) == (method, path, query)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_key_travels_in_one_header_and_nowhere_else(
    upstream: Upstream, client: RuntypeClient, operation: str
) -> None:
    upstream.says(ANSWERS[operation])
    await OPERATIONS[operation](client)
    (request,) = upstream.received
    assert request.headers.pop("authorization") == f"Bearer {KEY}"
    assert KEY not in repr(request)


async def test_the_client_says_who_it_is_and_does_not_pose_as_the_official_one(
    upstream: Upstream, client: RuntypeClient
) -> None:
    await client.get_client_token(ID)
    headers = upstream.received[0].headers
    assert headers["user-agent"] == f"runtype-mcp/{__version__} (python)"
    assert headers["accept"] == "application/json"
    assert "x-runtype-client" not in headers


@pytest.mark.parametrize(
    ("operation", "content_type", "body"),
    [
        (
            "create_client_token",
            "application/json",
            b'{"name":"Shop","allowedOrigins":["https://shop.example"],"agentIds":["agent_1"]}',
        ),
        ("update_client_token", "application/json", b'{"name":"New"}'),
        ("delete_client_token", None, b""),
        ("regenerate_client_token", None, b""),
        ("get_client_token", None, b""),
    ],
)
async def test_only_create_and_update_have_a_body(
    upstream: Upstream, client: RuntypeClient, operation: str, content_type: str | None, body: bytes
) -> None:
    upstream.says(ANSWERS[operation])
    await OPERATIONS[operation](client)
    assert upstream.received[0].headers.get("content-type") == content_type
    assert upstream.received[0].body == body


async def test_null_clears_and_what_is_not_given_is_left_out(upstream: Upstream, client: RuntypeClient) -> None:
    upstream.says(ANSWERS["update_client_token"])
    change = models.UpdateClientToken(target_alias=None, target_version_id="agentver_1", agent_ids=["agent_1"])
    await client.update_client_token(ID, change)
    sent = {"targetAlias": None, "targetVersionId": "agentver_1", "agentIds": ["agent_1"]}
    assert upstream.received[0].json == sent


async def test_an_update_of_nothing_sends_an_empty_object(upstream: Upstream, client: RuntypeClient) -> None:
    upstream.says(ANSWERS["update_client_token"])
    await client.update_client_token(ID, models.UpdateClientToken())
    assert upstream.received[0].json == {}


async def test_text_arrives_as_it_was_given(upstream: Upstream, client: RuntypeClient) -> None:
    upstream.says(ANSWERS["update_client_token"])
    name, config = 'Zoë\'s "Crêpes" 🥐\u2028</script>', {"théme": {"π": 3.5, "n": None, "l": [True, -1]}}
    await client.update_client_token(ID, models.UpdateClientToken(name=name, config=config))
    assert upstream.received[0].json == {"name": name, "config": config}


async def test_conversations_are_filtered_by_the_one_parameter_in_snake_case(
    upstream: Upstream, client: RuntypeClient
) -> None:
    upstream.says(ANSWERS["list_client_token_conversations"])
    await client.list_client_token_conversations(ID, 100, 50, "flow_1&limit=9")
    assert upstream.received[0].query == "limit=100&offset=50&flow_id=flow_1%26limit%3D9"


@pytest.mark.parametrize(
    ("token_id", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("../../v1/agents", "%2E%2E%2F%2E%2E%2Fv1%2Fagents"),
        ("ct_1/..", "ct_1%2F%2E%2E"),
        ("%2e%2e", "%252e%252e"),
        ("ct_1?limit=1", "ct_1%3Flimit%3D1"),
        ("ct_1#x", "ct_1%23x"),
        ("ct_1;a=b", "ct_1%3Ba%3Db"),
        ("ct\\1", "ct%5C1"),
        ("ct 1\r\nX-Evil: 1", "ct%201%0D%0AX-Evil%3A%201"),
        ("ct_1\x00", "ct_1%00"),
        ("zoë_🥐", "zo%C3%AB_%F0%9F%A5%90"),
        ("http://evil.example", "http%3A%2F%2Fevil%2Eexample"),
        ("@evil.example", "%40evil%2Eexample"),
    ],
)
async def test_no_id_can_name_another_path(
    upstream: Upstream, client: RuntypeClient, token_id: str, segment: str
) -> None:
    upstream.says(ANSWERS["regenerate_client_token"])
    await client.regenerate_client_token(token_id)
    (request,) = upstream.received
    assert (request.path, request.query) == (f"/v1/client-tokens/{segment}/regenerate", "")
    assert "x-evil" not in request.headers


@pytest.mark.parametrize("token_id", ["", ".", ".."])
@pytest.mark.parametrize("operation", ["delete_client_token", "regenerate_client_token", "get_client_token"])
async def test_an_id_that_a_url_parser_would_fold_away_is_never_sent(
    upstream: Upstream, client: RuntypeClient, operation: str, token_id: str
) -> None:
    with pytest.raises(errors.UserInputError, match="is not an id"):
        await getattr(client, operation)(token_id)
    assert upstream.received == []


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_without_a_key_nothing_is_sent_and_the_next_step_is_named(upstream: Upstream, operation: str) -> None:
    client = RuntypeClient(None, upstream.url)
    with pytest.raises(errors.AuthError, match=r"No Runtype API key is set.*RUNTYPE_API_KEY.*--sandbox"):
        await OPERATIONS[operation](client)
    assert upstream.received == []
    await client.aclose()


async def test_nothing_is_opened_before_the_first_call(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[httpx.AsyncClient] = []
    initialise = httpx.AsyncClient.__init__

    def counted(self: httpx.AsyncClient, *args: Any, **options: Any) -> None:
        made.append(self)
        initialise(self, *args, **options)

    monkeypatch.setattr(httpx.AsyncClient, "__init__", counted)
    client = upstream.client()
    await client.aclose()
    assert made == []
    await client.get_client_token(ID)
    await client.get_client_token(ID)
    assert len(made) == 1
    await client.aclose()
    assert made[0].is_closed


async def test_a_closed_client_opens_again_at_the_next_call(upstream: Upstream, client: RuntypeClient) -> None:
    for _ in range(2):
        await client.get_client_token(ID)
        await client.aclose()
        await client.aclose()
    assert len(upstream.received) == 2
