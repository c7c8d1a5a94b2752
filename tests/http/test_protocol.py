"""A head that is too large or comes too slowly is cut, and nothing else is."""

from __future__ import annotations

import pytest

from runtype_mcp.http.protocol import Protocol
from tests.http.serving import Echo, connected, serving, to_the_end

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


class Hurried(Protocol):
    head_seconds = 0.1


class Patient(Protocol):
    head_seconds = 3600.0


@pytest.mark.parametrize("begun", [b"", b"P", HEAD[:-2]])
def test_a_head_that_does_not_come_is_cut(begun: bytes) -> None:
    app = Echo()
    with serving(app, Hurried) as port, connected(port) as connection:
        connection.sendall(begun)
        got = to_the_end(connection)
    assert got == b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    assert app.requests == 0


def test_the_next_head_on_a_connection_is_cut_too() -> None:
    app = Echo()
    with serving(app, Hurried) as port, connected(port) as connection:
        connection.sendall(HEAD + b"{}")
        assert b" 200 " in connection.recv(1000)
        connection.sendall(b"POST")
        assert b" 408 " in to_the_end(connection)
    assert app.requests == 1


def test_bytes_that_drip_do_not_keep_a_connection() -> None:
    app = Echo()
    with serving(app, Hurried) as port, connected(port) as connection:
        connection.settimeout(0.01)
        got = b""
        for byte in iter(lambda: b"x", None):  # for ever, if nobody cuts it
            try:
                connection.sendall(byte)
                if not (part := connection.recv(1000)):
                    break
                got += part
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert app.requests == 0


def test_a_request_is_answered_however_long_its_body_takes() -> None:
    with serving(Echo(), Hurried) as port, connected(port) as connection:
        connection.sendall(HEAD + b"{")
        with connected(port) as other:  # which is cut: so much time has gone by
            to_the_end(other)
        connection.sendall(b"}")
        assert b"200" in connection.recv(1000)


def test_a_rest_that_nobody_reads_does_not_keep_a_connection() -> None:
    """The answer is out before the body is in, as where the body is too large."""

    async def refuse(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    with serving(refuse, Hurried) as port, connected(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert b"413" in connection.recv(1000)
        connection.sendall(b"1")
        assert to_the_end(connection) == b""


def test_a_head_that_does_not_end_is_refused_by_its_size() -> None:
    app = Echo()
    with serving(app, Patient) as port, connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000)
        assert to_the_end(connection).startswith(b"HTTP/1.1 4")
    assert app.requests == 0
