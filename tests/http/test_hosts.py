"""Under which names and from which pages the server may be called."""

from __future__ import annotations

import httpx2 as httpx
import pytest

from runtype_mcp.http.hosts import LOOPBACK, KnownHosts
from tests.http.serving import Echo

pytestmark = pytest.mark.anyio

PUBLIC = "https://mcp.example.com"


async def status(app: KnownHosts, **headers: str) -> int:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.post("/", headers=headers)).status_code


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("127.0.0.1:8765", 200),
        ("[::1]:8765", 200),
        ("mcp.example.com", 200),
        ("mcp.example.com:443", 200),
        ("10.0.0.5:8765", 200),
        ("", 421),
        ("localhost.", 421),
        ("localhost:", 421),
        ("localhost:x", 421),
        ("localhost:123456", 421),
        ("localhost.evil.example", 421),
        ("evil.mcp.example.com", 421),
        ("mcpXexample.com", 421),
        ("mcp.example.com@evil.example", 421),
        ("10.0.0.6", 421),
        ("127.0.0.2", 421),
        ("::1", 421),
    ],
)
async def test_only_known_hosts_are_answered(host: str, expected: int) -> None:
    app = KnownHosts(Echo(), [*LOOPBACK, "10.0.0.5"], PUBLIC, "http")
    assert await status(app, host=host) == expected


@pytest.mark.parametrize(
    ("origin", "scheme", "expected"),
    [
        ("http://localhost:6274", "http", 200),
        ("http://127.0.0.1", "http", 200),
        ("https://localhost:6274", "http", 403),
        ("https://localhost:6274", "https", 200),
        ("http://localhost:6274", "https", 403),
        (PUBLIC, "http", 200),
        (f"{PUBLIC}:8443", "http", 403),
        (f"{PUBLIC}.evil.example", "http", 403),
        ("http://mcp.example.com", "http", 403),
        ("null", "http", 403),
        ("https://evil.example", "http", 403),
    ],
)
async def test_only_known_origins_are_answered(origin: str, scheme: str, expected: int) -> None:
    app = KnownHosts(Echo(), LOOPBACK, PUBLIC, scheme)
    assert await status(app, origin=origin) == expected


@pytest.mark.parametrize("name", ["host", "origin"])
async def test_a_header_that_comes_twice_is_no_way_around(name: str) -> None:
    good = {"host": "localhost", "origin": "http://localhost"}[name]
    echo = Echo()
    transport = httpx.ASGITransport(app=KnownHosts(echo, LOOPBACK, None, "http"))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        twice = [("host", "localhost")] * (name != "host") + [(name, good), (name, "https://evil.example")]
        assert (await client.post("/", headers=twice)).status_code in (403, 421)
    assert echo.requests == 0


async def test_a_port_of_the_public_address_goes_with_its_host() -> None:
    app = KnownHosts(Echo(), LOOPBACK, "https://mcp.example.com:8443", "http")
    assert await status(app, host="mcp.example.com:8443", origin="https://mcp.example.com:8443") == 200
    assert await status(app, host="mcp.example.com") == 200
    assert await status(app, origin="https://mcp.example.com") == 403
