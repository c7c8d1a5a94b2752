"""Over real sockets: what is tried again, what is not, where it ends, and that the key stays where it belongs."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtype_mcp import errors
from runtype_mcp.api import client as module
from runtype_mcp.api import models
from runtype_mcp.api.client import MAX_BODY, TRIES, RuntypeClient, next_delay
from runtype_mcp.sandbox.serve import running
from tests.api.upstream import ID, KEY, READS, TOKEN, VALUE, Answer, Operation, Upstream
from tests.faults import proxy as faults
from tests.faults.proxy import HANG_GUARD, Exchange, Fault, proxying
from tests.faults.tls import self_signed

pytestmark = pytest.mark.anyio

CREATE = models.CreateClientToken(name="Shop", allowed_origins=["https://shop.example"], agent_ids=["agent_1"])
WRITES: dict[str, Operation] = {
    "create_client_token": lambda client: client.create_client_token(CREATE),
    "update_client_token": lambda client: client.update_client_token(ID, models.UpdateClientToken(name="New")),
    "delete_client_token": lambda client: client.delete_client_token(ID),
    "regenerate_client_token": lambda client: client.regenerate_client_token(ID),
}
GOOD = Answer(
    200,
    {"clientToken": TOKEN, "token": VALUE, "clientTokens": [TOKEN], "conversations": [], "success": True},
)
"""Right for every operation."""


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for. None of them takes its time."""
    asked: list[float] = []

    async def at_once(seconds: float) -> None:
        asked.append(seconds)

    instead_of_sleep(monkeypatch, at_once)
    return asked


def instead_of_sleep(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], Awaitable[None]]) -> None:
    # For the client alone: the server at the other end sleeps too.
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep, timeout=asyncio.timeout))


# How long to wait.


@pytest.mark.parametrize(
    ("attempt", "retry_after", "left", "least", "most"),
    [
        (1, None, 30.0, 0.25, 0.5),
        (2, None, 30.0, 0.5, 1.0),
        (1, 0.0, 30.0, 0.0, 0.0),
        (2, 7.0, 30.0, 7.0, 7.0),
        (1, 29.9, 30.0, 29.9, 29.9),
        (1, None, 0.6, 0.25, 0.5),
    ],
)
def test_a_wait_grows_but_the_api_decides(
    attempt: int, retry_after: float | None, left: float, least: float, most: float
) -> None:
    for _ in range(50):
        delay = next_delay(attempt, retry_after, left)
        assert delay is not None
        assert least <= delay <= most


@pytest.mark.parametrize(
    ("attempt", "retry_after", "left"),
    [
        (TRIES, None, 30.0),
        (TRIES, 0.0, 30.0),
        (TRIES + 5, None, 30.0),
        (1, 30.0, 30.0),
        (1, 3600.0, 30.0),
        (1, None, 0.25),
        (1, None, 0.0),
        (1, None, -1.0),
        (1, 0.0, -1.0),
    ],
)
def test_no_wait_where_no_further_try_fits(attempt: int, retry_after: float | None, left: float) -> None:
    assert next_delay(attempt, retry_after, left) is None


def test_waits_differ_so_that_callers_do_not_return_together() -> None:
    assert len({next_delay(1, None, 30.0) for _ in range(50)}) > 1


# What is tried again.


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", READS)
async def test_a_read_is_tried_three_times(
    upstream: Upstream, client: RuntypeClient, waits: list[float], operation: str, status: int
) -> None:
    upstream.says(Answer(status, {"error": "Busy"}))
    with pytest.raises(errors.RetryableError, match="Busy"):
        await READS[operation](client)
    assert len(upstream.received) == TRIES
    assert len(waits) == TRIES - 1


@pytest.mark.parametrize("operation", READS)
async def test_a_read_works_once_the_api_does(
    upstream: Upstream, client: RuntypeClient, waits: list[float], operation: str
) -> None:
    upstream.says(Answer(503), Answer(500, b"<html>"), GOOD)
    await READS[operation](client)
    assert [request.method for request in upstream.received] == ["GET"] * 3


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 409, 418, 422])
@pytest.mark.parametrize("operation", READS)
async def test_a_read_that_was_refused_is_not_tried_again(
    upstream: Upstream, client: RuntypeClient, waits: list[float], operation: str, status: int
) -> None:
    upstream.says(Answer(status, {"error": "No"}))
    with pytest.raises(errors.ClientTokenError):
        await READS[operation](client)
    assert len(upstream.received) == 1
    assert waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", WRITES)
async def test_a_write_that_was_answered_is_sent_once(
    upstream: Upstream, client: RuntypeClient, waits: list[float], operation: str, status: int
) -> None:
    upstream.says(Answer(status, {"error": "No"}, {"retry-after": "0"}))
    with pytest.raises(errors.ClientTokenError) as caught:
        await WRITES[operation](client)
    assert len(upstream.received) == 1
    assert waits == []
    assert (type(caught.value) is errors.OutcomeUnknown) == (status in (408, 500, 502, 503, 504))


@pytest.mark.parametrize("status", [429, 503])
async def test_a_read_waits_as_long_as_the_api_asks(
    upstream: Upstream, client: RuntypeClient, waits: list[float], status: int
) -> None:
    upstream.says(Answer(status, headers={"Retry-After": "7"}), Answer(status, headers={"Retry-After": "0"}), GOOD)
    await client.get_client_token(ID)
    assert waits == [7.0, 0.0]


async def test_a_wait_beyond_the_time_limit_is_left_to_the_caller(
    upstream: Upstream, client: RuntypeClient, waits: list[float]
) -> None:
    upstream.says(Answer(429, {"error": "Slow down"}, {"Retry-After": "120"}))
    with pytest.raises(errors.RateLimited, match=r"Slow down\..*Try again in 120 seconds") as caught:
        await client.get_client_token(ID)
    assert (caught.value.retry_after, len(upstream.received), waits) == (120.0, 1, [])


async def test_waits_that_add_up_beyond_the_time_limit_are_left_to_the_caller(
    upstream: Upstream, client: RuntypeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waits = [1000.0], list[float]()

    async def later(seconds: float) -> None:
        now[0] += seconds
        waits.append(seconds)

    instead_of_sleep(monkeypatch, later)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    upstream.says(Answer(429, {"error": "Slow down"}, {"Retry-After": "20"}))
    with pytest.raises(errors.RateLimited, match="Slow down"):
        await client.get_client_token(ID)
    assert waits == [20.0], "30 seconds are have room for one"


@pytest.mark.parametrize("operation", READS | WRITES)
async def test_a_refused_connection_is_tried_again_even_for_a_write(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Nothing can have arrived where nobody listened."""
    upstream.says(GOOD)
    proxy, servers = faults.Proxy(upstream=upstream.url), list[asyncio.Server]()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = RuntypeClient(KEY, f"http://127.0.0.1:{bound.getsockname()[1]}")

        async def opened(seconds: float) -> None:
            servers.append(await asyncio.start_server(proxy.serve, sock=bound))

        instead_of_sleep(monkeypatch, opened)
        await (READS | WRITES)[operation](client)
        await client.aclose()
        await proxy.settled()
        for server in servers:
            server.close()
            await server.wait_closed()
    assert len(servers) == len(upstream.received) == 1


@pytest.mark.parametrize("operation", READS | WRITES)
async def test_a_host_that_stays_away_is_told_as_such_and_changed_nothing(waits: list[float], operation: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        client = RuntypeClient(KEY, url)
        with pytest.raises(errors.RetryableError, match=rf"{url} cannot be reached.*Nothing was changed") as caught:
            await (READS | WRITES)[operation](client)
        await client.aclose()
    assert len(waits) == TRIES - 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(
    "fault",
    [faults.closed_unread, faults.reset_unread, faults.closed_after_commit, faults.truncated_json, faults.garbage],
    ids=lambda fault: fault.__name__,
)
async def test_a_write_whose_answer_is_lost_is_not_sent_again(
    upstream: Upstream, waits: list[float], operation: str, fault: Fault
) -> None:
    upstream.says(GOOD)
    async with proxying(upstream.url) as proxy:
        proxy.spoil(fault)
        client = RuntypeClient(KEY, proxy.url)
        with pytest.raises(errors.OutcomeUnknown) as caught:
            await WRITES[operation](client)
        await client.aclose()
    assert len(proxy.requests) == 1
    assert errors.NOTHING_CHANGED not in str(caught.value)
    assert not re.search(f"{KEY}|{VALUE}", str(caught.value))


async def test_a_pooled_connection_that_the_api_closed_meanwhile_costs_a_read_nothing(upstream: Upstream) -> None:
    async with proxying(upstream.url) as proxy:
        client = RuntypeClient(KEY, proxy.url)
        for _ in range(3):
            await client.get_client_token(ID)
            proxy.spoil(faults.closed_unread, times=1)
        await client.aclose()
    assert len(upstream.received) == 3


# Where it ends.


@pytest.mark.parametrize(
    ("operation", "error"),
    [("get_client_token", errors.RetryableError), ("delete_client_token", errors.OutcomeUnknown)],
)
async def test_a_call_ends_at_its_time_limit(upstream: Upstream, operation: str, error: type[Exception]) -> None:
    async with asyncio.timeout(HANG_GUARD), proxying(upstream.url) as proxy:
        proxy.spoil(faults.silence)
        client = RuntypeClient(KEY, proxy.url, total_timeout=0.3)
        with pytest.raises(error, match=r"no complete answer within 0\.3 seconds \(RUNTYPE_MCP_TIMEOUT\)"):
            await getattr(client, operation)(ID)
        await client.aclose()


async def test_a_steady_drip_does_not_outlive_the_time_limit(upstream: Upstream) -> None:
    async with asyncio.timeout(HANG_GUARD), proxying(upstream.url) as proxy:
        proxy.spoil(faults.drip)
        client = RuntypeClient(KEY, proxy.url, total_timeout=0.3)
        with pytest.raises(errors.RetryableError, match="no complete answer"):
            await client.get_client_token(ID)
        await client.aclose()


@pytest.mark.parametrize("operation", ["get_client_token", "delete_client_token"])
async def test_a_host_that_does_not_even_connect_ends_at_its_own_limit(operation: str) -> None:
    """A queue that is full drops what comes: nothing was sent, so nothing was changed."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        client = RuntypeClient(KEY, f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout=0.1, total_timeout=20)
        async with asyncio.timeout(HANG_GUARD):
            with pytest.raises(
                errors.RetryableError, match=r"cannot be reached \(ConnectTimeout\)\. Nothing was changed"
            ):
                await getattr(client, operation)(ID)
        await client.aclose()


async def test_a_cancelled_call_leaves_a_client_that_works(upstream: Upstream) -> None:
    async with asyncio.timeout(HANG_GUARD), proxying(upstream.url) as proxy:
        arrived = asyncio.Event()

        async def silence(x: faults.Exchange) -> None:
            arrived.set()
            await faults.silence(x)

        proxy.spoil(silence, times=1)
        client = RuntypeClient(KEY, proxy.url)
        call = asyncio.create_task(client.get_client_token(ID))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.get_client_token(ID)).id == ID
        await client.aclose()


async def test_many_calls_at_once_share_a_few_connections(upstream: Upstream) -> None:
    async with proxying(upstream.url) as proxy:
        client = RuntypeClient(KEY, proxy.url)
        tokens = await asyncio.gather(*(client.get_client_token(ID) for _ in range(150)))
        await client.aclose()
    assert {token.id for token in tokens} == {ID}
    assert len(upstream.received) == 150
    assert 1 < proxy.connections <= 16


@pytest.mark.parametrize(
    ("operation", "error"),
    [("get_client_token", errors.PermanentError), ("regenerate_client_token", errors.OutcomeUnknown)],
)
@pytest.mark.parametrize("zipped", [False, True])
async def test_an_answer_larger_than_any_list_is_not_read_to_its_end(
    upstream: Upstream, client: RuntypeClient, operation: str, error: type[errors.ClientTokenError], zipped: bool
) -> None:
    body = b" " * (MAX_BODY + 1)
    upstream.says(Answer(200, gzip.compress(body), {"content-encoding": "gzip"}) if zipped else Answer(200, body))
    with pytest.raises(error, match="larger than 32 MiB") as caught:
        await getattr(client, operation)(ID)
    assert (errors.NOTHING_CHANGED in str(caught.value)) == (operation == "get_client_token")
    assert len(upstream.received) == 1


async def test_the_largest_answer_that_is_allowed_is_read(upstream: Upstream, client: RuntypeClient) -> None:
    whole = b'{"token":"%s"}' % VALUE.encode()
    upstream.says(Answer(200, whole + b" " * (MAX_BODY - len(whole))))
    assert await client.get_client_token_value(ID) == VALUE


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "the whole"),
        (b"{", "the whole"),
        (b"<html>", "the whole"),
        (b"null", "the whole"),
        (b"[]", "the whole"),
        (b"\xff\xfe", "the whole"),
        (b"[" * 100_000, "the whole"),
        (b"{}", "clientToken"),
        (b'{"clientToken":null}', "clientToken"),
        (
            b'{"clientToken":{"id":"' + VALUE.encode() + b'","isActive":"' + VALUE.encode() + b'"}}',
            "clientToken.agentIds",
        ),
    ],
)
async def test_an_answer_that_cannot_be_understood_is_told_by_its_places(
    upstream: Upstream, client: RuntypeClient, body: bytes, place: str
) -> None:
    upstream.says(Answer(200, body))
    with pytest.raises(errors.PermanentError, match=rf"cannot be understood \({place}") as caught:
        await client.get_client_token(ID)
    assert type(caught.value) is errors.PermanentError
    with pytest.raises(errors.OutcomeUnknown, match="cannot be understood") as lost:
        await client.update_client_token(ID, models.UpdateClientToken(name="New"))
    assert VALUE not in f"{caught.value!r} {lost.value!r} {caught.value.__cause__!r} {lost.value.__cause__!r}"


# Where the key goes.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", READS | WRITES)
async def test_no_redirect_takes_the_key_to_another_host(
    upstream: Upstream, client: RuntypeClient, elsewhere: Upstream, operation: str, status: int
) -> None:
    upstream.says(Answer(status, b"", {"location": f"{elsewhere.url}/v1/client-tokens"}))
    with pytest.raises(errors.PermanentError, match=rf"redirect \({status}\)"):
        await (READS | WRITES)[operation](client)
    assert len(upstream.received) == 1
    assert elsewhere.received == []


@pytest.fixture(scope="module")
def _elsewhere() -> Iterator[Upstream]:
    other = Upstream("")
    with running(other) as url:
        other.url = url
        yield other


@pytest.fixture
def elsewhere(_elsewhere: Upstream) -> Upstream:
    """A second host, which records."""
    _elsewhere.received.clear()
    return _elsewhere


async def test_no_proxy_of_the_environment_hears_the_key_in_the_clear(
    upstream: Upstream, elsewhere: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, elsewhere.url)
    client = upstream.client()
    await client.get_client_token(ID)
    await client.aclose()
    assert len(upstream.received) == 1
    assert elsewhere.received == []


async def test_no_log_line_holds_the_key_or_a_value(
    upstream: Upstream, client: RuntypeClient, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.says(Answer(503, {"error": KEY}), Answer(200, {"token": VALUE}))
    await client.get_client_token_value(ID)
    assert caplog.records
    assert not re.search(f"{KEY}|{VALUE}", caplog.text)


@pytest.mark.parametrize(
    ("operation", "error"),
    [("get_client_token", errors.RetryableError), ("delete_client_token", errors.OutcomeUnknown)],
)
async def test_a_damaged_tls_record_is_a_lost_answer(
    upstream: Upstream,
    waits: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    error: type[errors.ClientTokenError],
) -> None:
    async def damaged(x: Exchange) -> None:
        raw = x.writer.get_extra_info("socket")
        os.write(raw.fileno(), b"\x17\x03\x03\x00\x40" + bytes(64))  # a record that no key opens
        await x.hang()

    pem = self_signed(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with proxying(upstream.url, served_with(pem)) as proxy:
        proxy.spoil(damaged)
        client = RuntypeClient(KEY, proxy.url)
        with pytest.raises(error, match="connection to the API failed") as caught:
            await getattr(client, operation)(ID)
        await client.aclose()
    assert type(caught.value) is error
    assert len(proxy.requests) == (TRIES if operation == "get_client_token" else 1)


@pytest.mark.parametrize("operation", ["get_client_token", "delete_client_token"])
async def test_a_certificate_that_nobody_vouches_for_ends_the_call_before_anything_is_sent(
    upstream: Upstream, waits: list[float], tmp_path: Path, operation: str
) -> None:
    async with proxying(upstream.url, served_with(self_signed(tmp_path / "server.pem"))) as proxy:
        client = RuntypeClient(KEY, proxy.url)
        with pytest.raises(errors.PermanentError, match=r"certificate.*not trust.*Nothing was changed") as caught:
            await getattr(client, operation)(ID)
        await client.aclose()
    assert type(caught.value) is errors.PermanentError
    assert not proxy.requests
    assert not upstream.received
    assert not waits
    assert KEY not in str(caught.value)


async def test_a_certificate_that_the_operator_trusts_is_enough(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with proxying(upstream.url, served_with(certificate)) as proxy:
        client = RuntypeClient(KEY, proxy.url)
        assert (await client.get_client_token(ID)).id == ID
        await client.aclose()


def served_with(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
        ("HTTPS_PROXY", "http://somebody:hunter2@[::1"),
        ("HTTPS_PROXY", "ftp://somebody:hunter2@proxy.example"),
        ("ALL_PROXY", "socks5://somebody:hunter2@proxy.example"),  # takes a package that is not there
    ],
)
async def test_an_environment_that_no_connection_can_be_made_with_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    client = RuntypeClient(KEY, "https://localhost:9", connect_timeout=0.5, total_timeout=0.5)
    with pytest.raises(errors.PermanentError, match=r"Nothing was changed.*HTTPS_PROXY") as caught:
        await client.delete_client_token(ID)
    await client.aclose()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "exa mple.invalid", "[::1", "host.invalid:99999"])
async def test_a_host_that_cannot_exist_is_told(waits: list[float], host: str) -> None:
    client = RuntypeClient(KEY, f"https://{host}")
    with pytest.raises(errors.ClientTokenError, match=r"Nothing was changed.*RUNTYPE_BASE_URL") as caught:
        await client.get_client_token(ID)
    assert host in str(caught.value)
    await client.aclose()


async def test_an_app_in_this_process_takes_the_place_of_the_network() -> None:
    made: list[Upstream] = []

    def app() -> Upstream:
        made.append(Upstream(""))
        return made[-1]

    client = RuntypeClient(KEY, "http://sandbox.invalid", app=app)
    assert made == []
    for _ in range(2):
        assert (await client.get_client_token(ID)).id == ID
    await client.aclose()
    assert [len(upstream.received) for upstream in made] == [2]
