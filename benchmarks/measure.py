"""The measurements. Each returns samples, by server; servers take turns, and the order turns with every round."""

import asyncio
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import httpx2

from benchmarks.servers import CACHE, Server, environment, servers
from benchmarks.upstream import TOKEN_ID
from benchmarks.wire import Stdio, http_request, load, memory

T = TypeVar("T")
Samples = dict[str, dict[str, Any]]
FLOOR = "httpx2 alone"
SETTLE = 1.0  # seconds after tools/list: memory that is taken in the background counts too
MANY = {
    "list": ("list_client_tokens", {"environment": "test"}),
    "audit": ("audit_client_tokens", {}),
}


@contextmanager
def upstream(module: str = "benchmarks.upstream", count: int = 200) -> Iterator[str]:
    """A server in its own process that prints its port; yields its address."""
    argv = [sys.executable, "-m", module, str(count)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def turns(items: list[T], rounds: int) -> Iterator[tuple[int, T]]:
    for n in range(rounds):
        start = n % len(items)
        yield from ((n, item) for item in items[start:] + items[:start])


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def start(quick: bool) -> Samples:
    """Milliseconds from spawn to each reply, and MiB before the first call."""
    samples: Samples = defaultdict(lambda: defaultdict(list))
    floors = {"python -c pass": [sys.executable, "-c", "pass"]}
    if found := shutil.which("node"):
        floors["node -e 0"] = [found, "-e", "0"]
    shutil.rmtree(CACHE / "xdg", ignore_errors=True)
    with upstream() as url:
        for n, server in turns(servers(), 1 + (4 if quick else 16)):
            with Stdio(server, url) as client:
                client.initialize()
                initialized = client.answered
                client.tools()
                listed = client.answered
                if n % 2 == 0:  # half the rounds look at memory, half call at once
                    time.sleep(SETTLE)
                    sample = {"memory": client.memory()}
                elif server.get:
                    client.get_one()
                    sample = {"first call": (client.answered - client.spawned) * 1000}
                else:
                    sample = {}
                sample["initialize"] = (initialized - client.spawned) * 1000
                sample["tools/list"] = (listed - client.spawned) * 1000
            if n > 0:  # the first start fills caches: bytecode, pages, ours
                for name, value in sample.items():
                    samples[server.name][name].append(value)
            for name, argv in floors.items():
                began = perf_counter()
                subprocess.run(argv, check=True)
                samples[name]["initialize"].append((perf_counter() - began) * 1000)
    return samples


def calls(quick: bool) -> Samples:
    """Milliseconds for one client token over stdio, one call at a time."""
    samples: Samples = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack, asyncio.Runner() as runner:
        url = stack.enter_context(upstream())
        floor = httpx2.AsyncClient(base_url=url)
        stack.callback(lambda: runner.run(floor.aclose()))

        async def direct() -> list[float]:
            latencies = []
            for _ in range(50):
                began = perf_counter()
                json.loads((await floor.get(f"/v1/client-tokens/{TOKEN_ID}")).content)
                latencies.append(perf_counter() - began)
            return latencies

        clients = [stack.enter_context(Stdio(server, url)) for server in servers() if server.get]
        clients = [client for client in clients if not client.server.fresh_cache]
        for client in clients:
            client.initialize()
            client.tools()
        for n, client in turns([*clients, None], 1 + (4 if quick else 12)):
            latencies = [client.get_one() for _ in range(50)] if client else runner.run(direct())
            if n > 0:
                name = client.server.name if client else FLOOR
                samples[name]["p50"].append(statistics.median(latencies) * 1000)
                samples[name]["p99"].append(p99(latencies) * 1000)
    return samples


@contextmanager
def listening(server: Server, url: str) -> Iterator[int]:
    """Start a server over HTTP; yields its port once it takes connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [part.replace("$PORT", str(port)).replace("$URL", url) for part in server.http or []]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, env=environment(server, url, CACHE / "xdg"), **quiet) as process:
        try:
            for _ in range(200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.kill()


def http(quick: bool) -> Samples:
    """Requests a second, and latencies in milliseconds, at 1, 16 and 64 callers."""
    samples: Samples = defaultdict(lambda: defaultdict(list))
    names = ["runtype-mcp", "mcp MCPServer", "mcp low-level", "fastmcp from_openapi"]
    seconds = 1.0 if quick else 2.5
    with ExitStack() as stack, asyncio.Runner() as runner:
        url = stack.enter_context(upstream())
        ports = {
            server: stack.enter_context(listening(server, url)) for server in servers() if server.name in names
        }
        requests = {
            server.name: (port, http_request(port, *server.get)) for server, port in ports.items() if server.get
        }

        async def direct(callers: int) -> list[float]:
            latencies: list[float] = []
            limits = httpx2.Limits(max_connections=100, max_keepalive_connections=100)
            until = perf_counter() + seconds

            async def caller(client: httpx2.AsyncClient) -> None:
                while (began := perf_counter()) < until:
                    json.loads((await client.get(f"/v1/client-tokens/{TOKEN_ID}")).content)
                    latencies.append(perf_counter() - began)

            async with httpx2.AsyncClient(base_url=url, limits=limits) as client:
                await asyncio.gather(*(caller(client) for _ in range(callers)))
            return latencies

        for n, name in turns([*requests, FLOOR], 1 + (2 if quick else 6)):
            for callers in (1, 16, 64):
                if name == FLOOR:
                    latencies = runner.run(direct(callers))
                else:
                    latencies = runner.run(load(*requests[name], callers, seconds))
                if n > 0:
                    samples[name][f"{callers} req/s"].append(len(latencies) / seconds)
                    samples[name][f"{callers} p50"].append(statistics.median(latencies) * 1000)
                    samples[name][f"{callers} p99"].append(p99(latencies) * 1000)
    return samples


def tokens(quick: bool) -> Samples:
    """Tokens (o200k) of tools/list as a model sees it and on the wire, and of a list of 200 client tokens."""
    import bpe_openai

    encoding = bpe_openai.get_encoding("o200k_base")

    def count(value: object) -> int:
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return len(encoding.encode(text))

    samples: Samples = {}
    with upstream() as url:
        for server in servers():
            with Stdio(server, url) as client:
                client.initialize()
                tools = client.tools()
                visible = {
                    tool["name"]: count({key: tool.get(key) for key in ("name", "description", "inputSchema")})
                    for tool in tools
                }
                samples[server.name] = {"visible": sum(visible.values()), "wire": count(tools), "tools": visible}
                if server.get and "list_client_tokens" in visible:
                    result = client.call("list_client_tokens", {"limit": 200})
                    samples[server.name]["list of 200"] = count(result["content"][0]["text"])
        raw = httpx2.get(f"{url}/v1/client-tokens", params={"limit": 200, "offset": 0}).text
        samples["the API"] = {"list of 200": count(raw)}
    return samples
