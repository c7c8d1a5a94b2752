"""`python -m benchmarks.soak [--calls N]`: does the server grow? Exit code 1 if it does.

Mixed reads, refusals and previews through a client and the server in this process, against the sandbox in its own,
over HTTP. Memory and descriptors are sampled forty times. The second quarter of the run is compared with the last:
the first warms pools and caches.
"""

import argparse
import asyncio
import gc
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client

from benchmarks.measure import upstream
from runtype_mcp.server import build_server
from runtype_mcp.settings import Settings

SAMPLES = 40
AT_ONCE = 8
TOKENS = 500
PER_CALL = 32
"""Bytes of lasting memory a call may cost on average: less than the smallest object that is kept for each."""
NOISE = 2**20
"""Bytes by which the memory of a process that keeps nothing still differs from minute to minute."""

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    calls: int
    seconds: float
    rss: int
    descriptors: int
    objects: int
    tasks: int


def sample(calls: int, began: float) -> Sample:
    gc.collect()
    rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    descriptors = len(os.listdir("/proc/self/fd")) - 1  # but for the one that lists them
    return Sample(calls, time.monotonic() - began, rss, descriptors, len(gc.get_objects()), len(asyncio.all_tasks()))


def mix(tokens: list[tuple[str, str]]) -> Iterator[Call]:
    """Calls for ever: every kind of read on every token in turn, what is refused, and what is only previewed."""
    for token_id, name in itertools.cycle(tokens):
        one = {"client_token": token_id}
        yield "list_client_tokens", {"limit": 20}
        yield "get_client_token", one
        yield "get_client_token", {"client_token": name}
        yield "list_client_token_conversations", one
        yield "get_client_token_value", one
        yield "get_client_token", {"client_token": "ct_01k7nobody00000000000000000"}
        yield "get_client_token", {"client_token": token_id, "unknown": 1}
        yield "delete_client_token", one
        yield "list_client_tokens", {"environment": "test", "limit": 5}
        yield "get_client_token", one


async def soak(url: str, calls: int) -> list[Sample]:
    server = build_server(Settings.from_env({"RUNTYPE_API_KEY": "rt_test_soak", "RUNTYPE_BASE_URL": url}))
    async with Client(server) as client:
        first = await client.call_tool("list_client_tokens", {"limit": 200})
        assert first.structured_content is not None, first.content
        coming = mix([(token_id, name) for token_id, name, *_ in first.structured_content["rows"]])
        began, samples = time.monotonic(), list[Sample]()

        async def work(mine: list[Call]) -> None:
            for tool, arguments in mine:
                await client.call_tool(tool, arguments)

        for number in range(1, SAMPLES + 1):
            share = calls * number // SAMPLES - calls * (number - 1) // SAMPLES
            batch = list(itertools.islice(coming, share))
            await asyncio.gather(*(work(batch[start::AT_ONCE]) for start in range(AT_ONCE)))
            del batch
            samples.append(sample(calls * number // SAMPLES, began))
        return samples


def grown(samples: list[Sample]) -> list[str]:
    """What grows, a sentence each."""
    second, last = samples[SAMPLES // 4 : SAMPLES // 2], samples[-SAMPLES // 4 :]
    between = last[0].calls - second[0].calls
    more = statistics.mean(s.rss for s in last) - statistics.mean(s.rss for s in second)
    allowed = NOISE + PER_CALL * between
    found = []
    if more > allowed:
        found.append(f"Memory grew by {more / 2**20:.1f} MiB over {between} calls; {allowed / 2**20:.1f} are allowed.")
    for name in ("descriptors", "tasks"):
        before, after = (max(getattr(s, name) for s in part) for part in (second, last))
        if after > before:
            found.append(f"{name.capitalize()} grew from {before} to {after}.")
    return found


def table(samples: list[Sample]) -> str:
    rows = ["    calls   calls/s  RSS MiB descriptors  objects tasks"]
    for s in samples:
        rate, rss = s.calls / s.seconds, s.rss / 2**20
        rows.append(f"{s.calls:>9} {rate:>9.0f} {rss:>8.1f} {s.descriptors:>11} {s.objects:>8} {s.tasks:>5}")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, metavar="N", help="at least 400 (default: %(default)s)")
    calls = max(SAMPLES * 10, parser.parse_args().calls)
    with upstream("benchmarks.sandbox", TOKENS) as url:
        samples = asyncio.run(soak(url, calls))
    print(table(samples))
    found = grown(samples)
    print("\n".join(found) or "Nothing grows.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
