"""What one request may bring, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from starlette.types import Receive, Scope, Send

from runtype_mcp.http.limits import MAX_BODY, MAX_HEADERS, RequestLimits
from tests.http.serving import Echo, connected, serving, to_the_end
from tests.processes import TIMEOUT


class Held:
    """Answers nothing until it is released. A request with a line `X-Begin` is told that it is being answered."""

    def __init__(self) -> None:
        self.arrived, self.released = threading.Semaphore(0), threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.arrived.release()
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        while not self.released.is_set():  # noqa: ASYNC110 - by another thread
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def port(echo: Echo) -> Iterator[int]:
    with serving(RequestLimits(echo, at_once=8)) as found:
        yield found


def post(port: int, head: str, body: bytes = b"") -> bytes:
    with connected(port) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):  # it does not want the rest
            connection.sendall(body)
        return to_the_end(connection)


def chunks(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def test_a_body_as_large_as_allowed_arrives_whole(port: int) -> None:
    body = b"x" * MAX_BODY
    assert post(port, f"Content-Length: {MAX_BODY}", body).endswith(b"\r\n\r\n" + body)
    assert post(port, "Transfer-Encoding: chunked", chunks(body)).endswith(b"\r\n\r\n" + body)


def test_a_body_that_says_that_it_is_too_large_is_not_waited_for(port: int, echo: Echo) -> None:
    assert post(port, f"Content-Length: {MAX_BODY + 1}").startswith(b"HTTP/1.1 413 ")
    assert echo.requests == 0


def test_a_body_that_turns_out_too_large_is_refused(port: int, echo: Echo) -> None:
    got = post(port, "Transfer-Encoding: chunked", chunks(b"x" * (MAX_BODY + 1)))
    assert got.startswith(b"HTTP/1.1 413 ") or got == b""  # cut while it was still sending
    assert echo.requests == 0


def test_headers_that_are_too_large_are_refused_however_they_arrive(port: int, echo: Echo) -> None:
    lines = "\r\n".join(f"X-{n}: {'x' * 1000}" for n in range(MAX_HEADERS // 1000 + 1))
    assert post(port, f"{lines}\r\nContent-Length: 0").startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert echo.requests == 0


def test_a_body_that_stalls_is_cut(echo: Echo) -> None:
    with serving(RequestLimits(echo, at_once=8, body_seconds=0.1)) as port, connected(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        got = to_the_end(connection)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in got
    assert echo.requests == 0


def test_a_client_that_leaves_before_its_body_is_whole_is_no_request(echo: Echo) -> None:
    with serving(RequestLimits(echo, at_once=1)) as port:
        with connected(port) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert post(port, "Content-Length: 2", b"{}").endswith(b"{}")


def ask(port: int, method: str = "POST", **headers: str) -> tuple[socket.socket, bytes]:
    """A request whose answer has begun, on a connection that stays open."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
    return connection, connection.recv(12)


def test_more_requests_at_once_are_told_to_come_again() -> None:
    app = Held()
    with serving(RequestLimits(app, at_once=2)) as port:
        running = [ask(port) for _ in range(2)]
        answer = httpx.post(f"http://127.0.0.1:{port}/")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        app.released.set()
        for connection, first in running:
            with connection:
                assert first == b"HTTP/1.1 200"
                assert b"done" in to_the_end(connection)
        assert httpx.post(f"http://127.0.0.1:{port}/").text == "begun done"


@pytest.mark.parametrize("stream", [{"method": "GET"}, {"Mcp_Method": "subscriptions/listen"}])
def test_streams_that_clients_keep_open_take_no_place_of_a_request(stream: dict[str, str]) -> None:
    app = Held()
    with serving(RequestLimits(app, at_once=1)) as port:
        (kept, first), (request, second) = ask(port, **stream), ask(port)
        third, status = ask(port, **stream)
        app.released.set()
        for connection in (kept, request, third):
            with connection:
                to_the_end(connection)
    assert (first, second, status) == (b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 503")


def test_a_stream_outlives_every_limit_of_time() -> None:
    app = Held()
    with serving(RequestLimits(app, at_once=1, body_seconds=0.05)) as port:
        kept, first = ask(port, "GET")
        with connected(port) as slow:  # which is cut: so much time has gone by
            slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
            assert to_the_end(slow).startswith(b"HTTP/1.1 408 ")
        app.released.set()
        with kept:
            assert first == b"HTTP/1.1 200"
            assert b"done" in to_the_end(kept)
