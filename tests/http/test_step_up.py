"""A client whose call lacks a scope is told which (RFC 6750), and where to ask for it (RFC 9728), on both eras."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp.api.scoped_client import SCOPES, Scope
from runtype_mcp.tools import SPECS
from tests.http.processes import http_server
from tests.http.team import FakeIssuer, called, issuer, modern, post
from tests.support import KEY, Api

PUBLIC = "https://mcp.example.com"
METADATA = f"{PUBLIC}/.well-known/oauth-protected-resource/mcp"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeIssuer]:
    with issuer() as made:
        yield made


@pytest.fixture
def url(api: Api, fake: FakeIssuer) -> Iterator[str]:
    api.seeded()
    environ = {
        "RUNTYPE_API_KEY": KEY,
        "RUNTYPE_BASE_URL": api.url,
        "RUNTYPE_MCP_AUTH": "jwt",
        "RUNTYPE_MCP_JWT_ISSUER": fake.url,
        "RUNTYPE_MCP_PUBLIC_URL": PUBLIC,
    }
    with http_server(**environ) as (_, url):
        yield url


def bearer(fake: FakeIssuer, *scopes: Scope) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {fake.token(*(f'client_tokens:{scope}' for scope in scopes))}")]


def session(url: str, headers: list[tuple[str, str]]) -> tuple[str, str]:
    """The header of a session of the older era."""
    client = {"name": "test", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    answer = post(url, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, headers)
    return "mcp-session-id", answer.headers["mcp-session-id"]


def older(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_call_says_all_scopes_that_it_needs(url: str, api: Api, fake: FakeIssuer, spec: Any) -> None:
    mine = bearer(fake, *(SCOPES - {spec.scope}))
    own = session(url, mine)
    for answer in (
        post(url, called(spec.name), [*mine, *modern(spec.name)]),
        post(url, older(spec.name), [*mine, own]),
    ):
        assert answer.status_code == 403
        needed = " ".join(f"client_tokens:{scope}" for scope in dict.fromkeys(["read", spec.scope]))
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer error="insufficient_scope", ')
        assert f'scope="{needed}"' in challenge
        assert f'resource_metadata="{METADATA}"' in challenge
        assert answer.json()["error"] == "insufficient_scope"
    assert not api.received


def test_where_scopes_are_asked_for_is_said_to_whoever_asks(url: str, fake: FakeIssuer) -> None:
    found = httpx.get(f"{url}/.well-known/oauth-protected-resource/mcp").json()
    assert found["resource"] == f"{PUBLIC}/mcp"
    assert found["authorization_servers"] == [fake.url], "to the letter: clients compare it"
    assert found["scopes_supported"] == sorted(f"client_tokens:{scope}" for scope in SCOPES)
    assert found["bearer_methods_supported"] == ["header"]
    answer = post(url, called("list_client_tokens"), modern("list_client_tokens"))
    assert answer.status_code == 401
    assert f'resource_metadata="{METADATA}"' in answer.headers["www-authenticate"]


def test_what_needs_no_scope_passes_whole(url: str, fake: FakeIssuer) -> None:
    mine = bearer(fake, "read")
    own = session(url, mine)
    listed = post(url, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, [*mine, own])
    names = {tool["name"] for tool in json.loads(listed.text.partition("data: ")[2])["result"]["tools"]}
    assert names == {spec.name for spec in SPECS if spec.scope == "read"}
    assert post(url, called("list_client_tokens"), [*mine, *modern("list_client_tokens")]).status_code == 200


def raw(url: str, body: str | bytes, headers: list[tuple[str, str]]) -> httpx.Response:
    sent = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    content = body.encode() if isinstance(body, str) else body
    return httpx.post(f"{url}/mcp", content=content, headers=[*sent.items(), *headers])


def test_no_body_sneaks_a_call_past(url: str, api: Api, fake: FakeIssuer) -> None:
    """Whatever this layer makes of a body, the call itself needs its scope: nothing is deleted."""
    token = api.store.newest_first()[0].token
    sure = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
    mine = bearer(fake, "read")
    own = session(url, mine)
    delete, read = "delete_client_token", "list_client_tokens"
    for message, headers in ((called(delete, **sure), modern(delete)), (older(delete, **sure), [own])):
        plain = json.dumps(message)
        params = json.dumps(message["params"])
        bodies: dict[str, str | bytes] = {
            "a batch": f"[{plain}]",
            "a batch of two": f"[{json.dumps(older(read))},{plain}]",
            "a doubled method": plain.replace('"method": "tools/call"', '"method": "ping", "method": "tools/call"', 1),
            "a doubled method, turned": plain.replace(
                '"method": "tools/call"', '"method": "tools/call", "method": "ping"', 1
            ),
            "a doubled name": plain.replace(f'"name": "{delete}"', f'"name": "{read}", "name": "{delete}"', 1),
            "a doubled name, turned": plain.replace(f'"name": "{delete}"', f'"name": "{delete}", "name": "{read}"', 1),
            "doubled params": plain[:-1] + f', "params": {params}}}',
            "escapes": plain.replace(delete, "\\u0064elete_client_token", 1),
            "a mark in front": "\ufeff" + plain,
            "spaces": f"\n\n {plain} \n",
            "another case": plain.replace(delete, delete.upper(), 1),
            "a space in the name": plain.replace(delete, f"{delete} ", 1),
            "UTF-16": plain.encode("utf-16"),
            "UTF-32": plain.encode("utf-32-le"),
            "deep": plain[:-1] + ', "x": ' + "[" * 50_000 + "]" * 50_000 + "}",
            "long": plain[:-1] + ', "x": "' + "a" * 900_000 + '"}',
            "too long": plain[:-1] + ', "x": "' + "a" * 1_100_000 + '"}',
            "NaN": plain[:-1] + ', "x": NaN}',
        }
        for what, body in bodies.items():
            answer = raw(url, body, [*mine, *headers])
            assert answer.status_code < 500, (what, answer.text)
            assert not api.writes, what
    # The same body with the scope does delete: the test could fail.
    allowed = bearer(fake, "read", "delete")
    assert raw(url, json.dumps(called(delete, **sure)), [*allowed, *modern(delete)]).status_code == 200
    assert [method for method, _, _ in api.writes] == ["DELETE"]
