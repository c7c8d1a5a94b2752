"""Over real sockets: what is tried again, what is not, and where it ends."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtype_mcp import errors
from runtype_mcp.api.client import MAX_BODY, TRIES, RuntypeClient, next_delay
from tests.api.upstream import ALL, GOOD, ID, KEY, READS, VALUE, WRITES, Answer, Upstream, client_of
from tests.faults import proxy as faults
from tests.faults.proxy import HANG_GUARD, Exchange, Fault, proxying

pytestmark = pytest.mark.anyio

READ_AND_WRITE: list[tuple[str, type[errors.ClientTokenError]]] = [
    ("get_client_token", errors.RetryableError),
    ("delete_client_token", errors.OutcomeUnknown),
]


@contextmanager
def nobody_listens() -> Iterator[tuple[socket.socket, str]]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound, f"http://127.0.0.1:{bound.getsockname()[1]}"


# How long to wait.


@pytest.mark.parametrize(
    ("attempt", "retry_after", "left", "least", "most"),
    [
        (1, None, 30.0, 0.25, 0.5),
        (2, None, 30.0, 0.5, 1.0),
        (1, 0.0, 30.0, 0.0, 0.0),
        (2, 7.0, 30.0, 7.0, 7.0),
        (1, 29.9, 30.0, 29.9, 29.9),
    ],
)
def test_a_wait_grows_but_the_api_decides(
    attempt: int, retry_after: float | None, left: float, least: float, most: float
) -> None:
    delays = [next_delay(attempt, retry_after, left) for _ in range(50)]
    assert all(delay is not None and least <= delay <= most for delay in delays)
    assert (len(set(delays)) > 1) == (retry_after is None), "callers do not return together"


@pytest.mark.parametrize(
    ("attempt", "retry_after", "left"),
    [(TRIES, None, 30.0), (TRIES, 0.0, 30.0), (1, 30.0, 30.0), (1, None, 0.25), (1, None, 0.0), (1, 0.0, -1.0)],
)
def test_no_wait_where_no_further_try_fits(attempt: int, retry_after: float | None, left: float) -> None:
    assert next_delay(attempt, retry_after, left) is None


# What is tried again.


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", READS)
async def test_a_read_is_tried_three_times(
    upstream: Upstream, client: RuntypeClient, waits: list[float], operation: str, status: int
) -> None:
    upstream.says(Answer(status, {"error": "Busy"}))
    with pytest.raises(errors.RetryableError, match="Busy"):
        await READS[operation](client)
    assert (len(upstream.received), len(waits)) == (TRIES, TRIES - 1)


@pytest.mark.parametrize("operation", READS)
async def test_a_read_works_once_the_api_does(upstream: Upstream, client: RuntypeClient, operation: str) -> None:
    upstream.says(Answer(503), Answer(500, b"<html>"), GOOD)
    await READS[operation](client)
    assert [request.method for request in upstream.received] == ["GET"] * 3


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 409, 418, 422])
async def test_a_read_that_was_refused_is_not_tried_again(
    upstream: Upstream, client: RuntypeClient, waits: list[float], status: int
) -> None:
    upstream.says(Answer(status, {"error": "No"}))
    with pytest.raises(errors.ClientTokenError):
        await client.get_client_token(ID)
    assert (len(upstream.received), waits) == (1, [])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", WRITES)
async def test_a_write_that_was_answered_is_sent_once(
    upstream: Upstream, client: RuntypeClient, waits: list[float], operation: str, status: int
) -> None:
    upstream.says(Answer(status, {"error": "No"}, {"retry-after": "0"}))
    with pytest.raises(errors.ClientTokenError) as caught:
        await WRITES[operation](client)
    assert (len(upstream.received), waits) == (1, [])
    assert (type(caught.value) is errors.OutcomeUnknown) == (status in (408, 500, 502, 503, 504))


@pytest.mark.parametrize("status", [429, 503])
async def test_a_read_waits_as_long_as_the_api_asks(
    upstream: Upstream, client: RuntypeClient, waits: list[float], status: int
) -> None:
    upstream.says(Answer(status, headers={"Retry-After": "7"}), Answer(status, headers={"Retry-After": "0"}), GOOD)
    await client.get_client_token(ID)
    assert waits == [7.0, 0.0]


async def test_waits_beyond_the_time_limit_are_left_to_the_caller(upstream: Upstream) -> None:
    now, waits = [1000.0], list[float]()

    async def later(seconds: float) -> None:
        now[0] += seconds
        waits.append(seconds)

    async with client_of(upstream.url, sleep=later, clock=lambda: now[0]) as client:
        upstream.says(Answer(429, {"error": "Slow down"}, {"Retry-After": "120"}))
        with pytest.raises(errors.RateLimited, match=r"Slow down\..*Try again in 120 seconds") as caught:
            await client.get_client_token(ID)
        assert (caught.value.retry_after, waits) == (120.0, [])
        upstream.says(Answer(429, {"error": "Slow down"}, {"Retry-After": "20"}))
        with pytest.raises(errors.RateLimited):
            await client.get_client_token(ID)
    assert waits == [20.0], "30 seconds have room for one"


@pytest.mark.parametrize("operation", ALL)
async def test_a_refused_connection_is_tried_again_even_for_a_write(upstream: Upstream, operation: str) -> None:
    """Nothing can have arrived where nobody listened."""
    upstream.says(GOOD)
    proxy, servers = faults.Proxy(upstream=upstream.url), list[asyncio.Server]()
    with nobody_listens() as (bound, url):

        async def opened(seconds: float) -> None:
            servers.append(await asyncio.start_server(proxy.serve, sock=bound))

        async with client_of(url, sleep=opened) as client:
            await ALL[operation](client)
        await proxy.settled()
        for server in servers:
            server.close()
            await server.wait_closed()
    assert len(servers) == len(upstream.received) == 1


@pytest.mark.parametrize("operation", ALL)
async def test_a_host_that_stays_away_is_told_as_such_and_changed_nothing(operation: str) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with nobody_listens() as (_, url):
        async with client_of(url, sleep=sleep) as client:
            with pytest.raises(errors.Unreachable, match=rf"{url} cannot be reached.*Nothing was changed") as caught:
                await ALL[operation](client)
    assert len(waits) == TRIES - 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(
    "fault",
    [faults.closed_unread, faults.reset_unread, faults.closed_after_commit, faults.truncated_json, faults.garbage],
    ids=lambda fault: fault.__name__,
)
async def test_a_write_whose_answer_is_lost_is_not_sent_again(upstream: Upstream, operation: str, fault: Fault) -> None:
    upstream.says(GOOD)
    async with proxying(upstream.url) as proxy, client_of(proxy.url) as client:
        proxy.spoil(fault)
        with pytest.raises(errors.OutcomeUnknown) as caught:
            await WRITES[operation](client)
    assert len(proxy.requests) == 1
    assert errors.NOTHING_CHANGED not in str(caught.value)
    assert not re.search(f"{KEY}|{VALUE}", str(caught.value))


async def test_a_pooled_connection_that_the_api_closed_in_between_costs_a_read_nothing(upstream: Upstream) -> None:
    async with proxying(upstream.url) as proxy, client_of(proxy.url) as client:
        for _ in range(3):
            await client.get_client_token(ID)
            proxy.spoil(faults.closed_unread, times=1)
    assert len(upstream.received) == 3


# Where it ends.


@pytest.mark.parametrize("fault", [faults.silence, faults.drip], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize(
    ("operation", "error"), [("get_client_token", errors.TimedOut), ("delete_client_token", errors.OutcomeUnknown)]
)
async def test_a_call_ends_at_its_time_limit(
    upstream: Upstream, fault: Fault, operation: str, error: type[errors.ClientTokenError]
) -> None:
    async with asyncio.timeout(HANG_GUARD), proxying(upstream.url) as proxy:
        proxy.spoil(fault)
        async with client_of(proxy.url, total_timeout=0.3) as client:
            with pytest.raises(error, match=r"no complete answer within 0\.3 seconds") as caught:
                await ALL[operation](client)
    assert (errors.NOTHING_CHANGED in str(caught.value)) == (error is errors.TimedOut)


@pytest.mark.parametrize("operation", ["get_client_token", "delete_client_token"])
async def test_a_call_that_ends_while_it_waits_to_be_sent_again_changed_nothing(operation: str) -> None:
    with nobody_listens() as (_, url):
        async with client_of(url, total_timeout=0.8, sleep=lambda _: asyncio.sleep(HANG_GUARD)) as client:
            with pytest.raises(
                errors.TimedOut, match=r"within 0\.8 seconds\. Nothing was changed.*RUNTYPE_MCP_TIMEOUT"
            ):
                await ALL[operation](client)


@pytest.mark.parametrize("operation", ["get_client_token", "delete_client_token"])
async def test_a_host_that_does_not_even_connect_ends_at_its_own_limit(operation: str) -> None:
    """A queue that is full drops what comes: nothing was sent, so nothing was changed."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with asyncio.timeout(HANG_GUARD), client_of(url, connect_timeout=0.1, total_timeout=20) as client:
            with pytest.raises(errors.Unreachable, match=r"reached \(ConnectTimeout\)\. Nothing was changed"):
                await ALL[operation](client)


async def test_a_cancelled_call_leaves_a_client_that_works(upstream: Upstream) -> None:
    arrived = asyncio.Event()

    async def silence(x: Exchange) -> None:
        arrived.set()
        await faults.silence(x)

    async with asyncio.timeout(HANG_GUARD), proxying(upstream.url) as proxy, client_of(proxy.url) as client:
        proxy.spoil(silence, times=1)
        call = asyncio.create_task(client.get_client_token(ID))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.get_client_token(ID)).id == ID


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
        await ALL[operation](client)
    assert (errors.NOTHING_CHANGED in str(caught.value)) == (error is errors.PermanentError)
    assert len(upstream.received) == 1


async def test_the_largest_answer_that_is_allowed_is_read(upstream: Upstream, client: RuntypeClient) -> None:
    whole = b'{"token":"%s"}' % VALUE.encode()
    upstream.says(Answer(200, whole + b" " * (MAX_BODY - len(whole))))
    assert await client.get_client_token_value(ID) == VALUE


# Certificates, hosts, and an environment that no connection can be made with.


@pytest.mark.parametrize(("operation", "error"), READ_AND_WRITE)
async def test_a_damaged_tls_record_is_a_lost_answer(
    upstream: Upstream,
    certificate: Path,
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    error: type[errors.ClientTokenError],
) -> None:
    async def damaged(x: Exchange) -> None:
        raw = x.writer.get_extra_info("socket")
        os.write(raw.fileno(), b"\x17\x03\x03\x00\x40" + bytes(64))  # a record that no key opens
        await x.hang()

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with proxying(upstream.url, tls) as proxy, client_of(proxy.url) as client:
        assert (await client.get_client_token(ID)).id == ID, "a certificate that the operator trusts is enough"
        proxy.requests.clear()
        proxy.spoil(damaged)
        with pytest.raises(error, match="connection to the API failed") as caught:
            await ALL[operation](client)
    assert type(caught.value) is error
    assert len(proxy.requests) == (TRIES if operation == "get_client_token" else 1)


@pytest.mark.parametrize("operation", ["get_client_token", "delete_client_token"])
async def test_a_certificate_that_nobody_vouches_for_ends_the_call_before_anything_is_sent(
    upstream: Upstream, tls: ssl.SSLContext, operation: str
) -> None:
    async with proxying(upstream.url, tls) as proxy, client_of(proxy.url) as client:
        with pytest.raises(errors.UntrustedCertificate, match=r"not trust.*Nothing was changed") as caught:
            await ALL[operation](client)
    assert (proxy.connections, proxy.requests, upstream.received) == (0, [], [])
    assert KEY not in str(caught.value)


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
    async with client_of("https://localhost:9", connect_timeout=0.5, total_timeout=0.5) as client:
        with pytest.raises(errors.NoConnectionPossible, match=r"Nothing was changed.*HTTPS_PROXY") as caught:
            await client.delete_client_token(ID)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "exa mple.invalid", "[::1", "host.invalid:99999"])
async def test_a_host_that_cannot_exist_is_told(host: str) -> None:
    async with client_of(f"https://{host}") as client:
        with pytest.raises(errors.ClientTokenError, match=r"Nothing was changed.*RUNTYPE_BASE_URL") as caught:
            await client.get_client_token(ID)
    assert host in str(caught.value)
