"""What leaves this machine: method, path, query, body and headers of each endpoint, and where the key goes."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
from pathlib import Path

import httpx2 as httpx
import pytest

import runtype_mcp.api
from runtype_mcp import __version__, errors
from runtype_mcp.api import models
from runtype_mcp.api.client import RuntypeClient, asgi_transport
from runtype_mcp.tools import SPECS
from tests.api.upstream import ALL, GOOD, ID, KEY, VALUE, Answer, Upstream, client_of
from tests.faults.proxy import proxying

pytestmark = pytest.mark.anyio

ONE = f"/v1/client-tokens/{ID}"
CREATED = b'{"name":"Shop","allowedOrigins":["https://shop.example"],"agentIds":["agent_1"]}'


@pytest.mark.parametrize(
    ("operation", "method", "path", "query", "body"),
    [
        ("list_client_tokens", "GET", "/v1/client-tokens", "limit=200&offset=0", b""),
        ("create_client_token", "POST", "/v1/client-tokens", "", CREATED),
        ("get_client_token", "GET", ONE, "", b""),
        ("update_client_token", "PUT", ONE, "", b'{"name":"New"}'),
        ("delete_client_token", "DELETE", ONE, "", b""),
        ("get_client_token_value", "GET", f"{ONE}/token", "", b""),
        ("regenerate_client_token", "POST", f"{ONE}/regenerate", "", b""),
        ("list_client_token_conversations", "GET", f"{ONE}/conversations", "limit=25&offset=0", b""),
    ],
)
async def test_each_operation_has_its_endpoint_and_the_key_travels_in_one_header_only(
    upstream: Upstream, client: RuntypeClient, operation: str, method: str, path: str, query: str, body: bytes
) -> None:
    upstream.says(GOOD)
    await ALL[operation](client)
    (request,) = upstream.received
    assert (request.method, request.path, request.query, request.body) == (method, path, query, body)
    assert request.headers.get("content-type") == ("application/json" if body else None)
    assert request.headers.pop("authorization") == f"Bearer {KEY}"
    assert KEY not in repr(request)
    # An own name: the API's audit tells its official client by `x-runtype-client`.
    assert request.headers["user-agent"] == f"runtype-mcp/{__version__} (python)"
    assert request.headers["accept"] == "application/json"
    assert "x-runtype-client" not in request.headers


async def test_null_clears_and_what_is_not_given_is_left_out(upstream: Upstream, client: RuntypeClient) -> None:
    await client.update_client_token(ID, models.UpdateClientToken(target_alias=None, target_version_id="agentver_1"))
    await client.update_client_token(ID, models.UpdateClientToken())
    sent = {"targetAlias": None, "targetVersionId": "agentver_1"}
    assert [request.json for request in upstream.received] == [sent, {}]


async def test_a_null_that_the_api_refuses_is_an_answer_and_said_so(upstream: Upstream, client: RuntypeClient) -> None:
    upstream.says(Answer(400, {"error": "Expected string, received null"}))
    clears = models.UpdateClientToken(default_flow_id=None, name="New")
    with pytest.raises(errors.UserInputError, match=r"received null\..*cannot clear defaultFlowId\. Nothing") as caught:
        await client.update_client_token(ID, clears)
    assert caught.value.status == 400
    with pytest.raises(errors.UserInputError) as plain:
        await client.update_client_token(ID, models.UpdateClientToken(name="New"))
    upstream.says(Answer(404, {"error": "Client token not found"}))
    with pytest.raises(errors.NotFound) as gone:
        await client.update_client_token(ID, clears)
    assert "clear" not in f"{plain.value} {gone.value}"


async def test_text_arrives_as_it_was_given(upstream: Upstream, client: RuntypeClient) -> None:
    name, config = 'Zoë\'s "Crêpes" 🥐\u2028</script>', {"théme": {"π": 3.5, "n": None, "l": [True, -1]}}
    await client.update_client_token(ID, models.UpdateClientToken(name=name, config=config))
    assert upstream.received[0].json == {"name": name, "config": config}


async def test_conversations_are_filtered_by_the_one_parameter_in_snake_case(
    upstream: Upstream, client: RuntypeClient
) -> None:
    upstream.says(GOOD)
    await client.list_client_token_conversations(ID, 100, 50, "flow_1&limit=9")
    assert upstream.received[0].query == "limit=100&offset=50&flow_id=flow_1%26limit%3D9"


@pytest.mark.parametrize(
    ("token_id", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("../../v1/agents", "%2E%2E%2F%2E%2E%2Fv1%2Fagents"),
        ("%2e%2e", "%252e%252e"),
        ("ct_1?limit=1", "ct_1%3Flimit%3D1"),
        ("ct_1#x", "ct_1%23x"),
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
    upstream.says(GOOD)
    await client.regenerate_client_token(token_id)
    (request,) = upstream.received
    assert (request.path, request.query) == (f"/v1/client-tokens/{segment}/regenerate", "")
    assert "x-evil" not in request.headers


@pytest.mark.parametrize("token_id", ["", ".", ".."])
async def test_an_id_that_a_url_parser_would_fold_away_is_never_sent(
    upstream: Upstream, client: RuntypeClient, token_id: str
) -> None:
    for operation in (client.delete_client_token, client.regenerate_client_token, client.get_client_token):
        with pytest.raises(errors.UserInputError, match="is not an id"):
            await operation(token_id)
    assert upstream.received == []


async def test_characters_that_cannot_be_sent_are_refused_by_class_and_without_their_text(upstream: Upstream) -> None:
    half = models.UpdateClientToken.model_construct(_fields_set={"config"}, config={"x": "\ud83d"})
    async with client_of(upstream.url) as client:
        for call in (
            client.update_client_token(ID, half),
            client.list_client_token_conversations(ID, 25, 0, "flow_\ud83d"),
            client.with_key("rt_live_clé").delete_client_token(ID),
        ):
            with pytest.raises(errors.UserInputError, match=r"cannot be sent\. Nothing was changed\.$"):
                await call
        assert upstream.received == []
        await client.get_client_token("ct_\ud83d")
    assert upstream.received[0].path == "/v1/client-tokens/ct_%ED%A0%BD"


# Keys and connections.


@pytest.mark.parametrize("operation", ALL)
async def test_without_a_key_nothing_is_sent_and_the_next_step_is_named(upstream: Upstream, operation: str) -> None:
    client = RuntypeClient(None, upstream.url)
    with pytest.raises(errors.NoApiKey, match=r"No Runtype API key is set.*RUNTYPE_API_KEY.*--sandbox"):
        await ALL[operation](client)
    assert upstream.received == []


async def test_many_keys_share_the_connections_and_each_call_carries_its_own(upstream: Upstream) -> None:
    upstream.says(Answer(200, GOOD.body, {"set-cookie": "session=of-the-first; Path=/"}))
    async with proxying(upstream.url) as proxy, client_of(proxy.url) as client:
        second, nobody = client.with_key("rt_live_second"), client.with_key(None)
        for caller in (client, second, client):
            await caller.get_client_token(ID)
        with pytest.raises(errors.NoApiKey):
            await nobody.get_client_token(ID)
    keys = [request.headers["authorization"] for request in upstream.received]
    assert keys == [f"Bearer {KEY}", "Bearer rt_live_second", f"Bearer {KEY}"]
    assert proxy.connections == 1
    assert not any("cookie" in request.headers for request in upstream.received), "a cookie is a credential too"


async def test_many_calls_at_the_same_time_share_a_few_connections(upstream: Upstream) -> None:
    async with proxying(upstream.url) as proxy, client_of(proxy.url) as client:
        tokens = await asyncio.gather(*(client.get_client_token(ID) for _ in range(150)))
    assert {token.id for token in tokens} == {ID}
    assert len(upstream.received) == 150
    assert 1 < proxy.connections <= 16


async def test_one_transport_is_made_at_the_first_call_and_closed_and_made_again_after_that() -> None:
    class Counted(httpx.ASGITransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    upstream, made = Upstream(""), list[Counted]()

    def transport() -> Counted:
        made.append(Counted(app=upstream))
        return made[-1]

    client = RuntypeClient(KEY, "https://api.invalid", transport=transport)
    await client.aclose()
    assert made == []
    for _ in range(2):
        await client.get_client_token(ID)
        await client.with_key("rt_live_second").get_client_token(ID)
        await client.aclose()
        await client.aclose()
    assert [transport.closed for transport in made] == [1, 1]
    assert len(upstream.received) == 4


async def test_an_app_in_this_process_takes_the_place_of_the_network(
    elsewhere: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", elsewhere.url)
    app = Upstream("")
    async with client_of("https://sandbox.invalid", transport=asgi_transport(lambda: app)) as client:
        assert (await client.get_client_token(ID)).id == ID
    assert (len(app.received), elsewhere.received) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", ["get_client_token", "create_client_token", "delete_client_token"])
async def test_no_redirect_takes_the_key_to_another_host(
    upstream: Upstream, client: RuntypeClient, elsewhere: Upstream, operation: str, status: int
) -> None:
    upstream.says(Answer(status, b"", {"location": f"{elsewhere.url}/v1/client-tokens"}))
    with pytest.raises(errors.PermanentError, match=rf"redirect \({status}\)"):
        await ALL[operation](client)
    assert len(upstream.received) == 1
    assert elsewhere.received == []


async def test_no_proxy_of_the_environment_hears_the_key_in_the_clear(
    upstream: Upstream, elsewhere: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, elsewhere.url)
    async with client_of(upstream.url) as client:
        await client.get_client_token(ID)
    assert len(upstream.received) == 1
    assert elsewhere.received == []


async def test_no_log_line_holds_the_key_or_a_value(
    upstream: Upstream, client: RuntypeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.says(Answer(503, {"error": KEY}), Answer(200, {"token": VALUE}))
    await client.get_client_token_value(ID)
    assert caplog.records
    assert not re.search(f"{KEY}|{VALUE}", caplog.text)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 502, 301])
@pytest.mark.parametrize(
    "body", [{"error": KEY}, KEY.encode(), {"error": "x " * 140 + KEY}, {"error": f"{KEY[:20]}\n{KEY[20:]}"}]
)
async def test_an_error_that_repeats_the_key_never_shows_any_of_it(
    upstream: Upstream, client: RuntypeClient, status: int, body: object
) -> None:
    upstream.says(Answer(status, body, {"retry-after": "600"}))
    with pytest.raises(errors.ClientTokenError) as caught:
        await client.delete_client_token(ID)
    assert KEY[:8] not in str(caught.value)


def test_the_api_layer_names_no_setting_flag_or_tool() -> None:
    """Advice is given by the classes in `errors`: who calls this layer may be no MCP server at all."""
    methods = {name for name in vars(RuntypeClient) if not name.startswith("_")}
    for source in Path(runtype_mcp.api.__path__[0]).glob("*.py"):
        strings = [n.value for n in ast.walk(ast.parse(source.read_text())) if isinstance(n, ast.Constant)]
        text = "\n".join(value for value in strings if isinstance(value, str))
        assert not re.search(r"RUNTYPE_|--[a-z]|\bMCP\b", text), source.name
        assert not [spec.name for spec in SPECS if spec.name in text], source.name
    assert {spec.name for spec in SPECS} & methods, "the methods are named like the tools, in code"
