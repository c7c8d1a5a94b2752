"""Every fault against every tool: a classed answer in bounded time, no write twice, no secret, nothing left open."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import mcp_types
import pytest

from runtype_mcp.api.client import TRIES
from runtype_mcp.tools import SPECS
from tests.faults import proxy as faults
from tests.faults.proxy import DONE, FINAL, HANG_GUARD, HARMLESS, REFUSED, SLOW, UNDONE, Fault, proxying
from tests.support import AGENT, KEY, LEGACY, MODERN, Api, mcp_client, seed_many, text_of

pytestmark = pytest.mark.anyio

NAME = "Shop 00001"
BOMBS = (faults.gzip_bomb, faults.nested_gzip_bomb)
READS: dict[str, dict[str, Any]] = {
    "list_client_tokens": {},
    "get_client_token": {"client_token": NAME},
    "get_client_token_value": {"client_token": NAME},
    "list_client_token_conversations": {"client_token": NAME},
    "audit_client_tokens": {},
    "list_agents_and_flows": {},
}
WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "create_client_token": (
        "POST",
        {"name": "New", "allowed_origins": ["https://new.example"], "agent_ids": [AGENT]},
    ),
    "update_client_token": ("PUT", {"client_token": NAME, "name": "Renamed"}),
    "delete_client_token": ("DELETE", {"client_token": NAME, "confirm": True, "expected_name": NAME}),
    "regenerate_client_token": ("POST", {"client_token": NAME, "confirm": True, "expected_name": NAME}),
}


def named(value: Any) -> str:
    return value.__name__ if callable(value) else str(value)


def limits(fault: Fault) -> dict[str, str]:
    """Time limits: short where only they end a fault, and far away where they must not matter."""
    return {"RUNTYPE_MCP_TIMEOUT": "0.6" if fault in SLOW else "20", "RUNTYPE_MCP_CONNECT_TIMEOUT": "5"}


def check(result: mcp_types.CallToolResult, values: set[str]) -> str:
    """An error of one of the four kinds that says neither too much nor where it was raised. Its text."""
    text = text_of(result)
    assert re.match(r"Error \((retryable|permanent|user_input|auth)\): ", text), text
    assert "where it should not" not in text, text
    assert not re.search(r"Traceback|File \"|\bline \d+|object at 0x", text), text
    assert KEY not in text
    assert not [value for value in values if value in text]
    return text


def values(api: Api) -> set[str]:
    return {record.value for record in api.store.newest_first() if record.value}


def test_every_tool_is_in_the_matrix() -> None:
    assert READS.keys() | WRITES.keys() == {spec.name for spec in SPECS}
    assert WRITES.keys() == {spec.name for spec in SPECS if spec.writes}


@pytest.mark.parametrize("fault", UNDONE + DONE, ids=named)
@pytest.mark.parametrize("tool", READS)
async def test_a_read_that_always_fails_says_what_kind_of_failure_it_is(api: Api, tool: str, fault: Fault) -> None:
    seed_many(api.store, 3)
    async with asyncio.timeout(HANG_GUARD), proxying(api.url) as proxy:
        proxy.spoil(fault)
        async with mcp_client(api, MODERN, None, RUNTYPE_BASE_URL=proxy.url, **limits(fault)) as model:
            result = await model.call(tool, **READS[tool])
    text = check(result, values(api))
    assert fault not in BOMBS or "larger than 32 MiB" in text
    # A key that may not list agents may still list flows, so that it is asked for both.
    both = tool == "list_agents_and_flows" and fault is faults.forbidden
    assert len(proxy.requests) == (1 if fault in FINAL or fault in SLOW else TRIES) + both
    assert api.writes == []


@pytest.mark.parametrize("fault", [f for f in UNDONE + DONE if f not in FINAL + SLOW], ids=named)
@pytest.mark.parametrize("tool", READS)
async def test_a_read_that_fails_once_works_after_a_retry(api: Api, tool: str, fault: Fault) -> None:
    seed_many(api.store, 3)
    async with asyncio.timeout(HANG_GUARD), proxying(api.url) as proxy:
        proxy.spoil(fault, times=1)
        async with mcp_client(api, MODERN, None, RUNTYPE_BASE_URL=proxy.url, **limits(fault)) as model:
            result = await model.call(tool, **READS[tool])
    assert not result.is_error, text_of(result)


@pytest.mark.parametrize("fault", UNDONE + DONE, ids=named)
@pytest.mark.parametrize("tool", WRITES)
async def test_a_write_is_sent_once_and_its_fate_is_told(api: Api, tool: str, fault: Fault) -> None:
    await a_write_is_sent_once_and_its_fate_is_told(api, tool, fault, MODERN)


@pytest.mark.parametrize("fault", [faults.reset_after_commit, faults.drip, faults.unavailable], ids=named)
@pytest.mark.parametrize("tool", WRITES)
async def test_an_older_client_is_told_the_same(api: Api, tool: str, fault: Fault) -> None:
    await a_write_is_sent_once_and_its_fate_is_told(api, tool, fault, LEGACY)


async def a_write_is_sent_once_and_its_fate_is_told(api: Api, tool: str, fault: Fault, era: str) -> None:
    seed_many(api.store, 3)
    before, there = values(api), api.store.newest_first()
    method, arguments = WRITES[tool]
    async with asyncio.timeout(HANG_GUARD), proxying(api.url) as proxy:
        proxy.spoil(fault, method)
        async with mcp_client(api, era, None, RUNTYPE_BASE_URL=proxy.url, **limits(fault)) as model:
            result = await model.call(tool, **arguments)
    sent = [request for request in proxy.requests if request[0] != "GET"]
    assert len(sent) <= 1
    assert len(api.writes) <= len(sent)
    if fault in SLOW:
        # On a busy machine the short limit may also end what comes before and after; either way the text is true.
        if not result.is_error:
            assert api.store.newest_first() != there
        elif "Nothing was changed" in check(result, values(api)):
            assert api.store.newest_first() == there
        return
    assert len(sent) == 1
    assert len(api.writes) == (1 if fault in DONE else 0)
    if fault in DONE:
        assert not result.is_error, text_of(result)
        assert "The API's answer was lost" in text_of(result)
        assert not [value for value in before if value in text_of(result)]
    else:
        text = check(result, values(api))
        assert ("Nothing was changed." if fault in REFUSED else "Nothing was changed so far.") in text


@pytest.mark.parametrize("fault", HARMLESS, ids=named)
@pytest.mark.parametrize("tool", [*READS, *WRITES])
async def test_an_unusual_answer_is_an_answer(api: Api, tool: str, fault: Fault) -> None:
    seed_many(api.store, 3)
    arguments = READS[tool] if tool in READS else WRITES[tool][1]
    async with asyncio.timeout(HANG_GUARD), proxying(api.url) as proxy:
        proxy.spoil(fault)
        async with mcp_client(api, MODERN, None, RUNTYPE_BASE_URL=proxy.url, **limits(fault)) as model:
            result = await model.call(tool, **arguments)
    assert not result.is_error, text_of(result)
    assert "lost" not in text_of(result)
    assert len(api.writes) == (tool in WRITES)


@pytest.mark.parametrize(
    "fault",
    [*(faults.late, faults.closed_after_commit, faults.reset_after_commit, faults.reset_in_the_body), faults.garbage],
    ids=named,
)
@pytest.mark.parametrize("tool", ["get_client_token", "update_client_token"])
async def test_encrypted_connections_break_in_the_same_ways(
    api: Api, tool: str, fault: Fault, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    seed_many(api.store, 3)
    method, arguments = ("GET", READS[tool]) if tool in READS else WRITES[tool]
    async with asyncio.timeout(HANG_GUARD), proxying(api.url, tls) as proxy:
        proxy.spoil(fault, method, times=1)
        async with mcp_client(api, MODERN, None, RUNTYPE_BASE_URL=proxy.url) as model:
            result = await model.call(tool, **arguments)
    if tool in READS or fault is not faults.garbage:
        assert not result.is_error, text_of(result)
    else:
        assert "it was not updated" in check(result, values(api))
    assert len(api.writes) == (tool in WRITES and fault is not faults.garbage)


# Where no request gets through at all.


async def _no_answer(api: Api, tool: str, url: str) -> str:
    arguments = READS[tool] if tool in READS else WRITES[tool][1]
    seed_many(api.store, 3)
    limit = {"RUNTYPE_MCP_TIMEOUT": "5", "RUNTYPE_MCP_CONNECT_TIMEOUT": "0.5"}
    async with asyncio.timeout(HANG_GUARD), mcp_client(api, MODERN, None, RUNTYPE_BASE_URL=url, **limit) as model:
        result = await model.call(tool, **arguments)
    assert api.received == []
    return check(result, values(api))


@pytest.mark.parametrize("tool", [*READS, *WRITES])
async def test_a_refused_connection_is_told(api: Api, tool: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        text = await _no_answer(api, tool, url)
    assert text.startswith(f"Error (retryable): The API at {url} cannot be reached")


@pytest.mark.parametrize("tool", [*READS, *WRITES])
async def test_a_certificate_that_nobody_vouches_for_is_told(api: Api, tool: str, tls: ssl.SSLContext) -> None:
    async with proxying(api.url, tls) as proxy:
        text = await _no_answer(api, tool, proxy.url)
    assert "certificate" in text
    assert proxy.requests == []


@pytest.mark.parametrize("tool", [*READS, *WRITES])
async def test_a_server_that_speaks_no_tls_is_told(api: Api, tool: str) -> None:
    text = await _no_answer(api, tool, api.url.replace("http:", "https:"))
    assert "SSL" in text
