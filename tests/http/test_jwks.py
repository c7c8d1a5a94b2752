"""An issuer's keys: found by its metadata, kept for a while, read again when one is missing, and never in a flood."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from runtype_mcp.http.jwks import (
    KEYS_AT_MOST,
    KEYS_FOR,
    LOOK_AGAIN_AFTER,
    MAX_BYTES,
    Issuer,
    IssuerError,
    checked_url,
)
from tests.http.team import FakeIssuer, issuer

pytestmark = pytest.mark.anyio


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fake() -> Iterator[FakeIssuer]:
    with issuer() as made:
        yield made


@asynccontextmanager
async def asked(url: str, jwks_url: str | None = None, **options: Any) -> AsyncIterator[tuple[Issuer, Clock]]:
    clock = Clock()
    made = Issuer(url, jwks_url, clock=clock, **options)
    try:
        yield made, clock
    finally:
        await made.aclose()


async def test_keys_are_found_by_the_metadata_and_read_once(fake: FakeIssuer) -> None:
    async with asked(fake.url) as (keys, _):
        found = await asyncio.gather(*(keys.key("k1") for _ in range(50)))
        assert {key.kind for key in found if key} == {"RSA"}
        assert await keys.key(None) is not None, "without a name it is the only key"
    assert fake.requests == ["/.well-known/openid-configuration", "/keys"]


async def test_keys_at_an_address_that_the_operator_names_need_no_metadata(fake: FakeIssuer) -> None:
    async with asked("https://elsewhere.example", f"{fake.url}/keys") as (keys, _):
        assert await keys.key("k1") is not None
    assert fake.requests == ["/keys"]


async def test_a_flood_of_unknown_names_is_none_at_the_issuer(fake: FakeIssuer) -> None:
    async with asked(fake.url) as (keys, clock):
        for second in range(10):
            clock.now += 1
            assert not any(await asyncio.gather(*(keys.key(f"unknown {second} {n}") for n in range(100))))
        assert len(fake.requests) == 2
        assert await keys.key("k1") is not None


async def test_a_new_key_is_taken_and_one_that_was_withdrawn_is_not(fake: FakeIssuer) -> None:
    async with asked(fake.url) as (keys, clock):
        assert await keys.key("k1") is not None
        fake.add("k2", "EC")
        del fake.keys["k1"]
        assert await keys.key("k2") is None, "too soon after the last look"
        clock.now += LOOK_AGAIN_AFTER
        found = await keys.key("k2")
        assert found is not None
        assert found.kind == "EC"
        assert await keys.key("k1") is None


async def test_a_key_that_was_withdrawn_counts_no_longer_than_keys_are_kept(fake: FakeIssuer) -> None:
    async with asked(fake.url) as (keys, clock):
        assert await keys.key("k1") is not None
        fake.add("k2")
        del fake.keys["k1"]
        clock.now += KEYS_FOR
        assert await keys.key("k1") is None


async def test_known_keys_outlast_an_issuer_that_fails_and_not_for_ever(fake: FakeIssuer) -> None:
    async with asked(fake.url) as (keys, clock):
        assert await keys.key("k1") is not None
        fake.status = 500
        for _ in range(5):
            clock.now += (KEYS_AT_MOST - 1) / 5
            assert await keys.key("k1") is not None
        clock.now += 1
        assert await keys.key("k1") is None
        fake.status = 200
        clock.now += LOOK_AGAIN_AFTER
        assert await keys.key("k1") is not None


class Hanging(httpx2.AsyncBaseTransport):
    """Answers with keys once; then it takes a request and says nothing until it is released."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self._first = answer, True
        self.arrived, self.released = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self._first:
            self.arrived.set()
            await self.released.wait()
        self._first = False
        return httpx2.Response(200, content=self._answer)


async def test_nobody_with_a_known_key_waits_for_an_issuer_that_hangs(fake: FakeIssuer) -> None:
    transport = Hanging(json.dumps(fake.jwks()).encode())
    async with asked("https://x.example", "https://x.example/keys", transport=transport) as (keys, clock):
        assert await keys.key("k1") is not None
        clock.now += KEYS_FOR
        looking = asyncio.create_task(keys.key("k1"))
        await transport.arrived.wait()
        assert await keys.key("k1") is not None
        assert not looking.done()
        transport.released.set()
        assert await looking is not None


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://somebody-else.example"},
        {"issuer": None},
        {"jwks_uri": "http://keys.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://"},
        {"jwks_uri": "https://["},
        {"jwks_uri": "https://a b"},
        {"jwks_uri": 1},
        {"jwks_uri": None},
    ],
    ids=str,
)
async def test_metadata_that_is_wrong_gives_no_keys(fake: FakeIssuer, metadata: dict[str, Any]) -> None:
    fake.metadata = metadata
    async with asked(fake.url) as (keys, _):
        assert await keys.key("k1") is None
    assert "/keys" not in fake.requests


async def test_an_issuer_is_compared_to_the_letter(fake: FakeIssuer) -> None:
    async with asked(f"{fake.url}/") as (keys, _):
        assert await keys.key("k1") is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(302, headers={"location": "https://x.example/other"}),
        httpx2.Response(200, content=b" " * (MAX_BYTES + 1)),
        httpx2.Response(200, content=b"[" * 100_000),
        httpx2.Response(200, content=b"not JSON"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={"keys": []}),
        httpx2.Response(200, json={"keys": "k1"}),
        httpx2.Response(200, json={"keys": [None, 1, {}, {"kty": "RSA"}, {"kty": "RSA", "n": [], "e": {}}]}),
        # Whoever can read a secret key can sign with it.
        httpx2.Response(200, json={"keys": [{"kty": "oct", "kid": "k1", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.text[:30].strip()}",
)
async def test_an_answer_that_holds_no_keys_gives_none_and_no_redirect_is_followed(answer: httpx2.Response) -> None:
    seen: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        seen.append(str(request.url))
        return answer

    transport = httpx2.MockTransport(respond)
    async with asked("https://x.example", "https://x.example/keys", transport=transport) as (keys, _):
        assert await keys.key("k1") is None
        assert await keys.key(None) is None
    assert seen == ["https://x.example/keys"]


async def test_keys_that_encrypt_do_not_sign(fake: FakeIssuer) -> None:
    (key,) = fake.jwks()["keys"]
    answer = {"keys": [key | {"use": "enc"}]}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=answer))
    async with asked("https://x.example", "https://x.example/keys", transport=transport) as (keys, _):
        assert await keys.key("k1") is None


def test_only_https_and_this_machine_are_asked() -> None:
    for url in ("https://keys.example/x", "http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]/x"):
        assert checked_url(url) == url
    for wrong in ("http://keys.example", "ftp://localhost", "//keys.example", "", "http://localhost.evil.example"):
        with pytest.raises(IssuerError):
            checked_url(wrong)
