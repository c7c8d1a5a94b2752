"""A TCP proxy in front of the sandbox that fails as networks and gateways do: below HTTP, in it, and above it.

A fault gets the whole request. Those that `commit` pass it on first, so the API has done it when its answer is lost.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ELSEWHERE = "https://elsewhere.invalid"
HANG_GUARD = 30.0
"""Seconds after which a test gives up. It only bounds a hang: nothing is measured by it."""


@dataclass
class Exchange:
    """One request, and the connection on which its answer is awaited."""

    method: str
    target: str
    raw: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    upstream: str
    keep: bool = False  # whether the connection serves another request afterwards

    async def forward(self) -> tuple[bytes, bytes]:
        """Let the API do it. Head and body of its answer."""
        parts = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(self.raw.replace(b"keep-alive", b"close", 1))
            answer = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        head, _, body = answer.partition(b"\r\n\r\n")
        return re.sub(rb"(?i)\r\nconnection: close", b"", head), body

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str, body: bytes, *headers: str, length: int | None = None) -> None:
        lines = [f"HTTP/1.1 {status}", *headers]
        if length != -1:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        await self.say("\r\n".join([*lines, "", ""]).encode() + body)

    async def hang(self) -> None:
        """Say nothing more until the caller has had enough."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """RST instead of FIN: whatever is on the way is lost."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Fault = Callable[[Exchange], Awaitable[None]]


@dataclass
class Rule:
    fault: Fault
    method: str | None
    times: int


@dataclass
class Proxy:
    """Listens at `url`; `spoil` says what goes wrong."""

    url: str = ""
    upstream: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0
    _rules: list[Rule] = field(default_factory=list)
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    def spoil(self, fault: Fault, method: str | None = None, times: int = 1_000_000) -> None:
        """`fault` befalls the next `times` requests (of `method`)."""
        self._rules.append(Rule(fault, method, times))

    async def settled(self) -> None:
        """Every caller has closed its connections."""
        async with asyncio.timeout(HANG_GUARD):
            await asyncio.gather(*self._open)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the caller left
        finally:
            self._open.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        raw = head + await reader.readexactly(int(length[1]) if length else 0)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.requests.append((method, target))
        exchange = Exchange(method, target, raw, reader, writer, self.upstream)
        for rule in self._rules:
            if rule.times > 0 and rule.method in (None, method):
                rule.times -= 1
                await rule.fault(exchange)
                return exchange.keep
        await exchange.say(b"\r\n\r\n".join(await exchange.forward()))
        return True


@asynccontextmanager
async def proxying(upstream: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A proxy in front of `upstream`. Leaving it checks that no caller left a connection open."""
    proxy = Proxy(upstream=upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
    proxy.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
        await proxy.settled()
    finally:
        server.close()
        await server.wait_closed()


# Nothing is done.


async def reset_unread(x: Exchange) -> None:
    x.reset()


async def closed_unread(x: Exchange) -> None:
    """The FIN that ends a pooled connection, met by a request that was already on its way."""


async def silence(x: Exchange) -> None:
    await x.hang()


async def garbage(x: Exchange) -> None:
    await x.say(b"\x00\xff\x16\x03\x01" * 200)


async def another_protocol(x: Exchange) -> None:
    await x.say(b"SSH-2.0-OpenSSH_9.6\r\n")


async def half_a_head(x: Exchange) -> None:
    await x.say(b"HTTP/1.1 200 OK\r\nContent-Type: applic")


async def header_flood(x: Exchange) -> None:
    await x.say(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: flood\r\n" % n for n in range(30_000)))


async def oversized_header(x: Exchange) -> None:
    await x.answer("200 OK", b"{}", "X-Big: " + "a" * 2**20)


async def informational_flood(x: Exchange) -> None:
    while True:
        await x.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10)
        await asyncio.sleep(0.01)


async def redirect(x: Exchange) -> None:
    await x.answer("307 Temporary Redirect", b"", f"Location: {ELSEWHERE}{x.target}")


async def too_many_requests(x: Exchange) -> None:
    x.keep = True
    await x.answer(
        "429 Too Many Requests", b'{"error":"Slow down"}', "Content-Type: application/json", "Retry-After: 0"
    )


async def forbidden(x: Exchange) -> None:
    x.keep = True
    await x.answer("403 Forbidden", b'{"error":"Insufficient permissions"}')


async def unavailable(x: Exchange) -> None:
    x.keep = True
    await x.answer("503 Service Unavailable", b"upstream connect error", "Content-Type: text/plain")


# It is done, and the answer is lost or unusable.


async def closed_after_commit(x: Exchange) -> None:
    await x.forward()


async def reset_after_commit(x: Exchange) -> None:
    await x.forward()
    x.reset()


async def reset_in_the_body(x: Exchange) -> None:
    head, body = await x.forward()
    await x.say(head + b"\r\n\r\n" + body[: len(body) // 2])
    x.reset()


async def silence_after_commit(x: Exchange) -> None:
    await x.forward()
    await x.hang()


async def half_closed_body(x: Exchange) -> None:
    head, body = await x.forward()
    await x.say(head + b"\r\n\r\n" + body[: len(body) // 2])
    x.writer.write_eof()
    await x.hang()


async def truncated_body(x: Exchange) -> None:
    head, body = await x.forward()
    await x.say(head + b"\r\n\r\n" + body[: len(body) // 2])


async def truncated_json(x: Exchange) -> None:
    _, body = await x.forward()
    x.keep = True
    await x.answer("200 OK", body[: len(body) // 2])


async def drip(x: Exchange) -> None:
    head, body = await x.forward()
    for byte in head + b"\r\n\r\n" + body:
        await x.say(bytes([byte]))
        await asyncio.sleep(0.05)


async def length_too_long(x: Exchange) -> None:
    _, body = await x.forward()
    await x.answer("200 OK", body, length=len(body) + 10)
    await x.hang()


async def length_too_short(x: Exchange) -> None:
    """What is left over stands in the way of the next answer on this connection."""
    _, body = await x.forward()
    x.keep = True
    await x.answer("200 OK", body, length=len(body) - 10)


async def no_length(x: Exchange) -> None:
    """Cut in half, and nothing says so: the end of the connection is the end of the body."""
    _, body = await x.forward()
    await x.answer("200 OK", body[: len(body) // 2], length=-1)


async def broken_chunks(x: Exchange) -> None:
    await x.forward()
    await x.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")


async def endless_body(x: Exchange) -> None:
    await x.forward()
    await x.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    while True:
        await x.say(chunk)


_BOMB = gzip.compress(b" " * (64 * 2**20))


async def gzip_bomb(x: Exchange) -> None:
    await x.forward()
    await x.answer("200 OK", _BOMB, "Content-Encoding: gzip")


async def nested_gzip_bomb(x: Exchange) -> None:
    await x.forward()
    await x.answer("200 OK", gzip.compress(gzip.compress(_BOMB)), "Content-Encoding: gzip, gzip, gzip")


async def not_gzip(x: Exchange) -> None:
    _, body = await x.forward()
    await x.answer("200 OK", body, "Content-Encoding: gzip")


async def invalid_utf8(x: Exchange) -> None:
    _, body = await x.forward()
    await x.answer("200 OK", body[:-1] + b',"x":"\xff\xfe"}')


async def nothing(x: Exchange) -> None:
    await x.forward()
    x.keep = True
    await x.answer("200 OK", b"")


async def no_content(x: Exchange) -> None:
    await x.forward()
    x.keep = True
    await x.answer("204 No Content", b"", length=-1)


async def bad_gateway_after_commit(x: Exchange) -> None:
    await x.forward()
    x.keep = True
    await x.answer("502 Bad Gateway", b"<html><h1>502 Bad Gateway</h1></html>", "Content-Type: text/html")


async def see_other_after_commit(x: Exchange) -> None:
    await x.forward()
    await x.answer("303 See Other", b"", f"Location: {ELSEWHERE}/done")


# It is done, and all is well in the end.


async def late(x: Exchange) -> None:
    answer = await x.forward()
    await asyncio.sleep(0.01)
    await x.say(b"\r\n\r\n".join(answer))


async def hints_first(x: Exchange) -> None:
    await x.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await x.say(b"\r\n\r\n".join(await x.forward()))


async def in_pieces(x: Exchange) -> None:
    answer = b"\r\n\r\n".join(await x.forward())
    for start in range(0, len(answer), 50):
        await x.say(answer[start : start + 50])
        await asyncio.sleep(0)


async def gzipped(x: Exchange) -> None:
    _, body = await x.forward()
    await x.answer("200 OK", gzip.compress(body), "Content-Encoding: gzip")


UNDONE: tuple[Fault, ...] = (
    *(reset_unread, closed_unread, silence, garbage, another_protocol, half_a_head, header_flood, oversized_header),
    *(informational_flood, redirect, too_many_requests, forbidden, unavailable),
)
"""The API never hears of the request."""
DONE: tuple[Fault, ...] = (
    *(closed_after_commit, reset_after_commit, reset_in_the_body, silence_after_commit, half_closed_body),
    *(truncated_body, truncated_json, drip, length_too_long, length_too_short, no_length, broken_chunks),
    *(endless_body, gzip_bomb, nested_gzip_bomb, not_gzip, invalid_utf8, nothing, no_content),
    *(bad_gateway_after_commit, see_other_after_commit),
)
"""The API has done it."""
HARMLESS: tuple[Fault, ...] = (late, hints_first, in_pieces, gzipped)
"""Unusual, and nobody needs to know."""
SLOW: tuple[Fault, ...] = (*(silence, informational_flood, silence_after_commit, drip, length_too_long, endless_body),)
"""Only a time limit ends these."""
FINAL: tuple[Fault, ...] = (
    *(redirect, forbidden, truncated_json, length_too_short, no_length, gzip_bomb, nested_gzip_bomb, endless_body),
    *(invalid_utf8, nothing, no_content, see_other_after_commit),
)
"""A read that meets these is not repeated: the API has answered, and would answer so again."""
REFUSED: tuple[Fault, ...] = (redirect, too_many_requests, forbidden)
"""An answer that tells for certain that nothing was done."""
