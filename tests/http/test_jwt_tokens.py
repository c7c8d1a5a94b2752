"""Callers with tokens of an issuer, against a real server and a real issuer: who is let in, as whom, and who is not."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runtype_mcp.http.auth import ON_BEHALF_OF
from runtype_mcp.http.jwt_tokens import granted
from tests.http.processes import http_server
from tests.http.team import FakeIssuer, called, caller, issuer, modern, post
from tests.processes import Process
from tests.support import KEY, Api, text_of

pytestmark = pytest.mark.anyio

READ = "client_tokens:read"
PUBLIC = "https://mcp.example.com"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeIssuer]:
    with issuer() as made:
        made.add("ec", "EC")
        made.add("ed", "OKP")
        yield made


def environ(fake: FakeIssuer, **more: str) -> dict[str, str]:
    return {
        "RUNTYPE_MCP_AUTH": "jwt",
        "RUNTYPE_MCP_JWT_ISSUER": fake.url,
        "RUNTYPE_MCP_PUBLIC_URL": PUBLIC,
        **more,
    }


@pytest.fixture(scope="module")
def served(fake: FakeIssuer) -> Iterator[tuple[str, Process]]:
    with http_server("--sandbox", **environ(fake)) as (process, url):
        yield url, process


@pytest.fixture
def url(served: tuple[str, Process]) -> str:
    return served[0]


def ask(url: str, token: str, *more: tuple[str, str]) -> httpx.Response:
    message = called("list_client_tokens", limit=1)
    return post(url, message, [("authorization", f"Bearer {token}"), *modern("list_client_tokens"), *more])


def b64(data: bytes | str | dict[str, Any]) -> str:
    raw = json.dumps(data).encode() if isinstance(data, dict) else data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_header(token: str, header: dict[str, Any] | str) -> str:
    """The token with another header, and so without a good signature."""
    return ".".join([b64(header), *token.split(".")[1:]])


@pytest.mark.parametrize("kid", ["k1", "ec", "ed"])
def test_a_token_of_the_issuer_lets_in(url: str, fake: FakeIssuer, kid: str) -> None:
    answer = ask(url, fake.token(READ, kid=kid))
    assert answer.status_code == 200, answer.text
    assert not answer.json()["result"].get("isError")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": -90},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e400},
        {"nbf": 120},
        {"iat": 120},
        {"iat": None},
        {"iss": "https://somebody-else.example"},
        {"iss": None},
        {"iss": ["{issuer}"]},
        {"iss": "{issuer}/"},
        {"aud": "https://another.example/mcp"},
        {"aud": PUBLIC},
        {"aud": f"{PUBLIC}/mcp/"},
        {"aud": f"{PUBLIC}/MCP"},
        {"aud": []},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "ana\nbob"},
        {"sub": "a" * 256},
    ],
    ids=lambda claims: str(claims)[:40],
)
def test_a_token_that_is_not_good_here_and_now_is_refused(url: str, fake: FakeIssuer, claims: dict[str, Any]) -> None:
    now = int(time.time())
    for name in ("exp", "nbf", "iat"):
        if isinstance(claims.get(name), int):
            claims = claims | {name: now + claims[name]}
    issuers = {k: json.loads(json.dumps(v).replace("{issuer}", fake.url)) for k, v in claims.items() if k == "iss"}
    refused(ask(url, forged(fake, **(claims | issuers))))


def forged(fake: FakeIssuer, **claims: Any) -> str:
    """Signed by the issuer's key, whatever the claims are: PyJWT does not write all of them."""
    said = jwt.decode(fake.token(READ), options={"verify_signature": False})
    said = {name: value for name, value in (said | claims).items() if value is not None}
    return jwt.api_jws.encode(json.dumps(said).encode(), fake.keys["k1"], "RS256", {"kid": "k1"})


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'resource_metadata="{PUBLIC}/.well-known/oauth-protected-resource/mcp"' in challenge


def test_clocks_may_differ_by_a_minute(url: str, fake: FakeIssuer) -> None:
    now = int(time.time())
    near: tuple[dict[str, Any], ...] = ({"exp": now - 30}, {"nbf": now + 30}, {"iat": now + 30})
    for claims in near:
        assert ask(url, fake.token(READ, **claims)).status_code == 200, claims


def test_nothing_but_a_signature_of_a_published_key_pair_counts(url: str, fake: FakeIssuer) -> None:
    good = fake.token(READ)
    public = fake.keys["k1"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said = jwt.decode(good, options={"verify_signature": False})
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key()))

    def hmac_with(secret: bytes) -> str:
        """Key confusion: what everybody can read is taken for a secret."""
        signed = f"{b64({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{good.split('.')[1]}"
        algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        return f"{signed}.{b64(algorithm.sign(signed.encode(), secret))}"

    head, body, signature = good.split(".")
    for what, token in {
        "none": f"{b64({'alg': 'none', 'kid': 'k1'})}.{body}.",
        "None": f"{b64({'alg': 'None', 'kid': 'k1'})}.{body}.",
        "no algorithm": with_header(good, {"kid": "k1"}),
        "confusion": hmac_with(pem),
        "confusion, one line": hmac_with(pem.strip()),
        "confusion, the JWK": hmac_with(json.dumps(fake.jwks()["keys"][0]).encode()),
        "nothing": hmac_with(b""),
        "a stranger's key": jwt.encode(said, stranger, "RS256", {"kid": "k1"}),
        "jwk": jwt.encode(said, stranger, "RS256", {"kid": "k1", "jwk": own}),
        "jku": jwt.encode(said, stranger, "RS256", {"kid": "x1", "jku": f"{fake.url}/theirs"}),
        "x5u": jwt.encode(said, stranger, "RS256", {"kid": "x2", "x5u": f"{fake.url}/theirs", "x5c": ["AA"]}),
        "another kind of key": with_header(good, {"alg": "ES256", "kid": "k1"}),
        "another algorithm": with_header(good, {"alg": "RS512", "kid": "k1"}),
        "another key's name": with_header(good, {"alg": "RS256", "kid": "ec"}),
        "no key's name": jwt.encode(said, stranger, "RS256"),
        "a path": with_header(good, {"alg": "RS256", "kid": "../../keys"}),
        "crit": jwt.encode(said, fake.keys["k1"], "RS256", {"kid": "k1", "crit": ["exp"]}),
        "another body": f"{head}.{b64(said | {'sub': 'bob'})}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "five parts": f"{good}.{body}.{signature}",
        "a list as algorithm": with_header(good, {"alg": [], "kid": "k1"}),
        "an object as algorithm": with_header(good, {"alg": {}, "kid": "k1"}),
        "a list as name": with_header(good, {"alg": "RS256", "kid": ["k1"]}),
        "deep": with_header(good, "[" * 4000),
        "no JSON": with_header(good, "{"),
        "a list": with_header(good, "[]"),
        "nothing at all": "..",
    }.items():
        answer = ask(url, token)
        assert answer.status_code == 401, (what, answer.text)
    assert "/theirs" not in fake.requests
    assert ask(url, good).status_code == 200


def test_a_flood_of_unknown_keys_is_none_at_the_issuer(url: str, fake: FakeIssuer) -> None:
    assert ask(url, fake.token(READ)).status_code == 200
    before = len(fake.requests)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for number in range(50):
        assert ask(url, fake.token(READ, kid=f"flood {number}", key=stranger)).status_code == 401
    assert len(fake.requests) - before <= 2


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer {good}"), ("authorization", "Bearer {good}")],
        [("authorization", "Bearer {good}"), ("Authorization", "Basic eDp5")],
        [("authorization", "Bearer {good}"), (ON_BEHALF_OF, "bob")],
        [("authorization", "Bearer {good}, Bearer {good}")],
        [("authorization", "Bearer {good} {good}")],
        [("authorization", "Bearer  {good}")],
        [("authorization", "Bearer\t{good}")],
        [("authorization", "Basic {good}")],
        [("authorization", "{good}")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer {good}\u00e9")],
        [("authorization", "Bearer \u00ff\u00fe")],
        [("authorization", "Bearer " + "a" * 9000)],
        [("x-authorization", "Bearer {good}"), ("x-forwarded-user", "ana"), ("cookie", "token={good}")],
    ],
    ids=lambda headers: str(headers)[:70],
)
def test_a_request_names_its_caller_once_and_in_one_way(
    url: str, fake: FakeIssuer, headers: list[tuple[str, str]]
) -> None:
    good = fake.token(READ)
    sent = [(name, value.replace("{good}", good)) for name, value in headers]
    answer = post(url, called("list_client_tokens"), [*sent, *modern("list_client_tokens")])
    assert answer.status_code in (400, 401), answer.text
    assert good not in answer.text


def test_a_token_in_the_address_or_the_body_is_none(url: str, fake: FakeIssuer) -> None:
    good = fake.token(READ)
    headers = {"accept": "application/json, text/event-stream", **dict(modern("list_client_tokens"))}
    message = called("list_client_tokens") | {"access_token": good}
    answer = httpx.post(f"{url}/mcp", params={"access_token": good}, headers=headers, json=message)
    assert answer.status_code == 401


@pytest.mark.parametrize("claim", ["scope", "scp", "permissions"])
@pytest.mark.parametrize("form", [str, list])
def test_scopes_stand_where_issuers_put_them(claim: str, form: type) -> None:
    scopes = [READ, "client_tokens:write"]
    assert granted({claim: " ".join(scopes) if form is str else scopes}) == scopes


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "read",
        "CLIENT_TOKENS:READ",
        "client_tokens:Read",
        "client_tokens:*",
        "client_tokens:",
        "client_tokens",
        "*",
        "xclient_tokens:read",
        "client_tokens:reads",
        "client_tokens:read,client_tokens:write",
        "client_tokens:read\u200b",
        "client_tokens\u003a\u00a0read",
        "client_tokens:read\tclient_tokens:write",
        '["client_tokens:read"]',
        "['client_tokens:read']",
    ],
)
def test_a_scope_by_another_name_is_none(url: str, fake: FakeIssuer, scope: str) -> None:
    for claims in ({"scope": scope}, {"scope": [scope]}, {"scope": None, "scp": [[READ]]}, {"scope": {READ: 1}}):
        answer = ask(url, fake.token(**claims))
        assert answer.status_code == 403, (claims, answer.text)


async def test_a_caller_is_the_issuer_s_person_whatever_the_client_is_called(
    api: Api, fake: FakeIssuer, tmp_path: Path, era: str
) -> None:
    api.seeded()
    token = api.store.newest_first()[0].token["id"]
    log = tmp_path / "audit.jsonl"
    more = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_AUDIT": str(log)}
    with http_server(**environ(fake, **more)) as (_, url):
        for client_id, claim, name in (("cursor", "name", "Ana"), ("claude", "email", "ana@example.com")):
            more = {"client_id": client_id, claim: name}
            bearer = forged(fake, scope=f"{READ} client_tokens:write", **more)
            async with caller(url, era, bearer) as model:
                result = await model.call("update_client_token", client_token=token, config={"by": client_id})
                assert not result.is_error, text_of(result)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["subject"] for line in lines} == {f"jwt:{fake.url}:ana"}
    assert {line["caller"] for line in lines} == {"Ana", "ana@example.com"}


async def test_a_session_is_its_caller_s_alone(url: str, fake: FakeIssuer) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    ana = [("authorization", f"Bearer {fake.token(READ)}")]
    session = post(url, hello, ana).headers["mcp-session-id"]
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    own = ("mcp-session-id", session)
    assert post(url, listing, [*ana, own]).status_code == 200
    # Another person, and the same one by another client: what a session was asked is not for them.
    for bearer in (fake.token(READ, sub="bob"), fake.token(READ, client_id="another")):
        other = [("authorization", f"Bearer {bearer}")]
        assert post(url, listing, [*other, own]).status_code == 404
    assert post(url, listing, [own]).status_code == 401


def test_no_token_stands_in_the_log(fake: FakeIssuer) -> None:
    with http_server("--sandbox", **environ(fake, RUNTYPE_MCP_LOG_LEVEL="DEBUG")) as (process, url):
        good = fake.token(READ)
        bad = [good[:-4] + "AAAA", fake.token(READ, exp=1), with_header(good, {"alg": [], "kid": "k1"})]
        assert ask(url, good).status_code == 200
        for token in bad:
            assert ask(url, token).status_code == 401
        process.popen.send_signal(signal.SIGTERM)
        process.ended()
        log = process.errors()
    assert "Traceback" not in log
    for part in {part for token in (good, *bad) for part in token.split(".") if len(part) > 8}:
        assert part not in log
