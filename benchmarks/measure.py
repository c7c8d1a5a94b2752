"""The measurements, each a section of the page: its docstring is the text, what it returns the table.

It returns samples by server and column. Servers take turns, and the order turns with every round.
"""

import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import perf_counter
from typing import Any, TypeVar

import httpx2

from benchmarks.servers import CACHE, HERE, Server, environment, servers
from benchmarks.upstream import TOKEN_ID
from benchmarks.wire import Stdio, http_request, load, open_session

T = TypeVar("T")
Samples = dict[str, dict[str, Any]]
FLOOR = "httpx2 alone"
SETTLE = 1.0  # seconds after tools/list: memory that is taken in the background counts too
CALLERS = (1, 16, 64)
KEEP_ALL = httpx2.Limits(max_connections=100, max_keepalive_connections=100)
UPSTREAMS = {"sandbox": "benchmarks.sandbox", "pre-rendered": "benchmarks.upstream"}
MANY = {
    "filtered list": ("list_client_tokens", {"environment": "test"}),
    "audit": ("audit_client_tokens", {}),
}


@contextmanager
def upstream(module: str = "benchmarks.upstream", count: int = 200) -> Iterator[str]:
    """A server in its own process that prints its port; yields its address."""
    argv = [sys.executable, "-m", module, str(count)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
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
    """Start

    From spawn to each reply over stdio, and what the process holds one second after `tools/list`. The first call
    follows `tools/list` at once, so work put off until then shows. The bare interpreters are timed to their exit.
    """
    floors = {"python -c pass": [sys.executable, "-c", "pass"]}
    if node := shutil.which("node"):
        floors["node -e 0"] = [node, "-e", "0"]
    samples: Samples = {name: defaultdict(list) for name in [*floors, *(server.name for server in servers())]}
    shutil.rmtree(CACHE / "xdg", ignore_errors=True)
    with upstream() as url:
        for n, server in turns([*servers()], 1 + (4 if quick else 16)):
            with Stdio(server, url) as client:
                client.initialize()
                sample = {"initialize, ms": client.since_spawn()}
                client.tools()
                sample["tools/list, ms"] = client.since_spawn()
                if n % 2 == 0:  # half the rounds look at memory, half call at once
                    time.sleep(SETTLE)
                    sample["memory, MiB"] = client.memory()
                elif server.get:
                    client.get_one()
                    sample["first call, ms"] = client.since_spawn()
            for name, value in sample.items() if n > 0 else ():  # the first start fills caches: bytecode, pages, ours
                samples[server.name][name].append(value)
            for name, argv in floors.items():
                began = perf_counter()
                subprocess.run(argv, check=True)
                samples[name]["initialize, ms"].append((perf_counter() - began) * 1000)
    return samples


def calls(quick: bool) -> Samples:
    """One call over stdio

    Get one client token, one call after the other. `httpx2 alone` asks the upstream itself.
    """
    samples: Samples = defaultdict(lambda: defaultdict(list))
    with asyncio.Runner() as runner, ExitStack() as stack:
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

        measured = [server for server in servers() if server.get and not server.fresh_cache]
        clients: list[Stdio | None] = [None]  # nobody between us and the upstream
        for server in measured:
            clients.append(opened := stack.enter_context(Stdio(server, url)))
            opened.initialize()
            opened.tools()
        for n, client in turns(clients, 1 + (4 if quick else 12)):
            latencies = [client.get_one() for _ in range(50)] if client else runner.run(direct())
            if n > 0:
                name = client.server.name if client else FLOOR
                samples[name]["p50, ms"].append(statistics.median(latencies) * 1000)
                samples[name]["p99, ms"].append(p99(latencies) * 1000)
    return samples


@contextmanager
def listening(server: Server, url: str) -> Iterator[int]:
    """Start a server over HTTP; yields its port once it takes connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [part.replace("$PORT", str(port)).replace("$URL", url) for part in server.http or []]
    env, null = environment(server, url, CACHE / "xdg"), subprocess.DEVNULL
    with subprocess.Popen(argv, env=env, stdin=null, stdout=null, stderr=null) as process:
        try:
            for _ in range(200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.kill()


def http(quick: bool) -> Samples:
    """Over HTTP

    The same call by 1, 16 and 64 callers, each waiting for its answer; latencies in milliseconds. All in the
    stateless mode of 2026-07-28, and once more with a session of 2025-11-25 for each caller: FastMCP lists its tools
    before every stateless call, so its sessions are its faster mode.
    """
    samples: Samples = defaultdict(lambda: defaultdict(list))
    names = ["runtype-mcp", "mcp MCPServer", "mcp low-level", "fastmcp from_openapi"]
    seconds = 1.0 if quick else 2.0
    with asyncio.Runner() as runner, ExitStack() as stack:
        url = stack.enter_context(upstream())
        targets: dict[tuple[str, int], tuple[int, list[bytes]]] = {(FLOOR, callers): (0, []) for callers in CALLERS}
        for server in servers():
            if server.name in names and server.get:
                port = stack.enter_context(listening(server, url))
                params = {"name": server.get[0], "arguments": server.get[1]}
                stateless = http_request(port, "tools/call", params)
                for callers in CALLERS:
                    targets[server.name, callers] = port, [stateless] * callers
                sessions = [open_session(port) for _ in range(CALLERS[-1])]
                requests = [http_request(port, "tools/call", params, session) for session in sessions]
                targets[f"{server.name}, sessions", CALLERS[-1]] = port, requests

        async def direct(callers: int) -> list[float]:
            latencies: list[float] = []
            until = perf_counter() + seconds

            async def caller(client: httpx2.AsyncClient) -> None:
                while (began := perf_counter()) < until:
                    json.loads((await client.get(f"/v1/client-tokens/{TOKEN_ID}")).content)
                    latencies.append(perf_counter() - began)

            async with httpx2.AsyncClient(base_url=url, limits=KEEP_ALL) as client:
                await asyncio.gather(*(caller(client) for _ in range(callers)))
            return latencies

        samples[FLOOR].update({f"{what} at {n}": [] for n in CALLERS for what in ("req/s", "p50", "p99")})  # in order
        for n, (name, callers) in turns(list(targets), 1 + (2 if quick else 6)):
            port, requests = targets[name, callers]
            latencies = runner.run(load(port, requests, seconds) if requests else direct(callers))
            if n > 0:
                samples[name][f"req/s at {callers}"].append(len(latencies) / seconds)
                samples[name][f"p50 at {callers}"].append(statistics.median(latencies) * 1000)
                samples[name][f"p99 at {callers}"].append(p99(latencies) * 1000)
    return samples


def tokens(quick: bool) -> Samples:
    """Tokens

    o200k. A model sees each tool's name, description and input schema; the wire also carries output schemas, titles
    and annotations. The last columns are a list of 200 client tokens, as text and as the structured result: hosts
    differ in which of the two a model sees.
    """
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
                    if "structuredContent" in result:
                        samples[server.name]["structured"] = count(result["structuredContent"])
        raw = httpx2.get(f"{url}/v1/client-tokens", params={"limit": 200, "offset": 0}).text
        samples["the API"] = {"list of 200": count(raw)}
    return samples


def many(quick: bool) -> Samples:
    """Ten thousand client tokens

    One tool call over all pages of 200, against fetching and parsing the same pages with httpx2, and the process's
    highest memory, with 2,000 tokens and with 10,000. The pre-rendered upstream takes almost no time, so there
    nearly all is the tool's own work; no real API is faster than the sandbox.
    """
    samples: Samples = defaultdict(lambda: defaultdict(list))
    ours = [server for server in servers() if server.name == "runtype-mcp"]

    def pages(url: str) -> None:
        with httpx2.Client(base_url=url, headers={"Authorization": "Bearer rt_test_bench"}) as client:
            offset, more = 0, True
            while more:
                page = client.get("/v1/client-tokens", params={"limit": 200, "offset": offset}).json()
                offset, more = offset + 200, page["pagination"]["hasMore"]

    for kind, module in UPSTREAMS.items():
        for count in (2_000, 10_000):
            with upstream(module, count) as url:
                pages(url)
                for _ in range(3 if quick else 7):
                    began = perf_counter()
                    pages(url)
                    samples[FLOOR][f"{kind}, {count:,}, s"].append(perf_counter() - began)
                    for server, (what, call) in ((server, tool) for server in ours for tool in MANY.items()):
                        with Stdio(server, url) as client:
                            client.initialize()
                            client.call("list_client_tokens", {"limit": 1})  # past what a first call loads
                            began = perf_counter()
                            client.call(*call)
                            samples[what][f"{kind}, {count:,}, s"].append(client.answered - began)
                            samples[what][f"{kind}, {count:,}, MiB"].append(client.memory("VmHWM"))
    return samples


GROUPS = {group.__name__: group for group in (start, calls, http, tokens, many)}
