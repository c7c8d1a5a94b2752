"""Clients that cost little: blocking reads over stdio, a bare protocol over HTTP."""

import asyncio
import json
import os
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Self

from benchmarks.servers import CACHE, Server, environment
from benchmarks.upstream import TOKEN_ID

CLIENT = {"name": "benchmarks", "version": "1"}
LEGACY, MODERN = "2025-11-25", "2026-07-28"
HELLO = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Stdio:
    """One server over stdio, spoken to as hosts do today (handshake, 2025-11-25)."""

    def __init__(self, server: Server, url: str) -> None:
        self.cache = tempfile.TemporaryDirectory(prefix="bench-cache-")
        cache = Path(self.cache.name) if server.fresh_cache else CACHE / "xdg"
        argv = [part.replace("$URL", url) for part in server.stdio]
        env = environment(server, url, cache)
        self.server, self.ids = server, 0
        self.spawned = perf_counter()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.cache.cleanup()

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result; `answered` is when its line was read."""
        assert self.process.stdout
        self.ids += 1
        self.send({"id": self.ids, "method": method, "params": params})
        while line := self.process.stdout.readline():
            self.answered = perf_counter()
            message = json.loads(line)
            if message.get("id") == self.ids and "method" not in message:
                result: dict[str, Any] = message["result"]
                return result
        raise RuntimeError(f"{self.server.name} closed its output")

    def initialize(self) -> None:
        self.ask("initialize", HELLO)
        initialized = self.answered
        self.send({"method": "notifications/initialized"})
        self.answered = initialized

    def since_spawn(self) -> float:
        """Milliseconds from spawn to the last answer."""
        return (self.answered - self.spawned) * 1000

    def tools(self) -> list[dict[str, Any]]:
        tools: list[dict[str, Any]] = self.ask("tools/list", {})["tools"]
        return tools

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = self.ask("tools/call", {"name": name, "arguments": arguments})
        assert not result.get("isError"), (self.server.name, result)
        return result

    def get_one(self) -> float:
        """Seconds for one client token, checked to be the right one."""
        assert self.server.get
        asked = perf_counter()
        result = self.call(*self.server.get)
        seconds = self.answered - asked
        assert TOKEN_ID in json.dumps(result), (self.server.name, result)
        return seconds

    def memory(self, field: str = "VmRSS") -> float:
        """MiB of the process and its children: VmRSS now, VmHWM at its highest."""
        return memory(self.process.pid, field)


def memory(pid: int, field: str) -> float:
    total = 0.0
    with suppress(FileNotFoundError):  # a child that has just ended
        status = Path(f"/proc/{pid}/status").read_text()
        total = sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")) / 1024
        for task in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            total += sum(memory(int(child), field) for child in children)
    return total


class Caller(asyncio.Protocol):
    """One caller that sends the same request again as soon as it is answered."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self.request, self.until, self.latencies = request, until, latencies
        self.buffer, self.finished = b"", asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.next()

    def next(self) -> None:
        self.sent, self.buffer = perf_counter(), b""
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, _, body = self.buffer.partition(b"\r\n\r\n")
        _, sized, length = head.lower().partition(b"content-length:")
        if not (len(body) >= int(length.split(b"\r\n")[0]) if sized else body.endswith(b"0\r\n\r\n")):
            return
        now = perf_counter()
        self.latencies.append(now - self.sent)
        if TOKEN_ID.encode() not in body or b'"isError":true' in body:
            self.finished.set_exception(RuntimeError(self.buffer[:2000].decode()))
        elif now < self.until:
            self.next()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_result(None)


def http_request(
    port: int, method: str, params: dict[str, Any], session: str | None = None, request_id: int | None = 1
) -> bytes:
    """A stateless request (2026-07-28) or, with a session (empty: about to be opened), one of 2025-11-25."""
    name = f"Mcp-Name: {params['name']}" if "name" in params else "X-None: 0"
    era = [f"MCP-Protocol-Version: {MODERN}", f"Mcp-Method: {method}", name]
    if session is None:
        params = params | {"_meta": META}
    else:
        era = [f"Mcp-Session-Id: {session}", f"MCP-Protocol-Version: {LEGACY}"] if session else []
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    body = json.dumps(message if request_id is None else {**message, "id": request_id})
    head = [
        "POST /mcp HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"Content-Length: {len(body)}",
        *era,
    ]
    return "\r\n".join([*head, "", body]).encode()


def open_session(port: int) -> str:
    """The id of a new session, past its handshake."""

    def post(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request)
            return connection.recv(65536)

    headers = post(http_request(port, "initialize", HELLO, "")).split(b"\r\n")
    (session,) = (line.split(b":")[1].strip().decode() for line in headers if line.startswith(b"mcp-session-id"))
    post(http_request(port, "notifications/initialized", {}, session, None))
    return session


async def load(port: int, requests: list[bytes], seconds: float) -> list[float]:
    """Latencies, in seconds, of all requests made within `seconds` by callers that each repeat their own."""
    loop, latencies = asyncio.get_running_loop(), list[float]()
    until = perf_counter() + seconds
    made = [
        await loop.create_connection(partial(Caller, request, until, latencies), "127.0.0.1", port)
        for request in requests
    ]
    await asyncio.gather(*(caller.finished for _, caller in made))
    return latencies
