"""Turn samples into docs/benchmarks.md. What is between the two markers there is written by hand, and kept."""

import inspect
import json
import re
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.measure import FLOOR, GROUPS
from benchmarks.servers import CACHE, HERE

PAGE = HERE.parent / "docs" / "benchmarks.md"
RESULTS = CACHE / "results"
START, END = "<!-- by hand: start -->", "<!-- by hand: end -->"
OURS, SDK, FASTMCP, AWSLABS = "runtype-mcp", "mcp MCPServer", "fastmcp from_openapi", "awslabs-openapi"

Results = dict[str, dict[str, Any]]
Target = tuple[str, str, float, Callable[[], float]]


def middle(samples: dict[str, Any], column: str) -> float:
    """The median of a measurement; KeyError if it was not taken."""
    value = samples[column]
    return statistics.median(value) if isinstance(value, list) else float(value)


def targets(results: Results) -> Iterable[Target]:
    """What is promised, how the limit binds, the limit, and what was measured."""

    def value(group: str, server: str, column: str) -> float:
        return middle(results[group]["samples"][server], column)

    def ratio(group: str, column: str, *against: str, ours: str = OURS) -> Callable[[], float]:
        """To the best of the others: the fastest start, or the most requests a second."""
        best = max if "req/s" in column else min
        return lambda: value(group, ours, column) / best(value(group, other, column) for other in against)

    def pages(upstream: str, what: str) -> Target:
        text = f"{what} of 10,000 to their pages alone ({upstream})"
        return text, "≤", 1.3, ratio("many", f"{upstream}, 10,000, s", FLOOR, ours=what)

    listed, cold = "tools/list, ms", f"{OURS}, cold cache"
    yield "spawn → tools/list, warm, to MCPServer", "≤", 0.06, ratio("start", listed, SDK)
    yield "… to the fastest Node server", "≤", 0.2, ratio("start", listed, "notion (Node)", "everything (Node)")
    yield "spawn → tools/list, cold cache, to MCPServer", "≤", 1.1, ratio("start", listed, SDK, ours=cold)
    yield "memory before the first call, to MCPServer", "≤", 0.35, ratio("start", "memory, MiB", SDK)
    yield "call over stdio, p50, to MCPServer with httpx2", "≤", 1.15, ratio("calls", "p50, ms", SDK)
    yield "… to FastMCP from_openapi", "≤", 0.75, ratio("calls", "p50, ms", FASTMCP)
    served = ratio("http", "req/s at 64", FASTMCP, f"{FASTMCP}, sessions")
    yield "HTTP requests/s at 64 callers, to FastMCP from_openapi in its faster mode", "≥", 1.6, served
    yield "tools/list, tokens a model sees", "≤", 1500, lambda: value("tokens", OURS, "visible")
    yield "… to awslabs-openapi", "≤", 0.6, ratio("tokens", "visible", AWSLABS)
    raw = "tokens", "the API", "list of 200"
    yield "list of 200, tokens, to the API's JSON", "≤", 0.2, lambda: value("tokens", OURS, "list of 200") / value(*raw)
    yield "… structured", "≤", 0.2, lambda: value("tokens", OURS, "structured") / value(*raw)
    # The pre-rendered upstream is no target: it takes no time of its own, as no API does.
    yield pages("sandbox", "filtered list")
    yield pages("sandbox", "audit")


def number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 3 if value < 0.1 else 2}f}"


def verdicts(results: Results) -> Iterable[str]:
    yield "| target | limit | measured | met |\n| --- | ---: | ---: | --- |"
    for text, sign, limit, measure in targets(results):
        try:
            value = measure()
        except KeyError:
            yield f"| {text} | {sign} {limit:,g} | - | not measured |"
            continue
        met = value <= limit if sign == "≤" else value >= limit
        yield f"| {text} | {sign} {limit:,g} | {number(value)} | {'yes' if met else '**no**'} |"
    yield ""


def section(group: str, result: dict[str, Any]) -> Iterable[str]:
    title, _, text = (inspect.getdoc(GROUPS[group]) or "").partition("\n\n")
    yield f"## {title}\n\n{' '.join(text.split())}\n"
    yield f"{result['when']}; {result['rounds']}; load average {result['load']} before.\n"
    servers: dict[str, dict[str, Any]] = result["samples"]
    columns = list(dict.fromkeys(name for samples in servers.values() for name in samples if name != "tools"))
    yield "| | " + " | ".join(columns) + " |\n| --- |" + " ---: |" * len(columns)
    for server, samples in servers.items():
        cells = [number(middle(samples, column)) if column in samples else "-" for column in columns]
        yield f"| {server} | " + " | ".join(cells) + " |"
    yield ""
    if tools := servers.get(OURS, {}).get("tools"):
        yield "A model sees, tool by tool: " + ", ".join(f"`{name}` {n}" for name, n in tools.items()) + ".\n"


def write() -> None:
    """Write the page from the results that exist."""
    results = {name: json.loads(path.read_text()) for name in GROUPS if (path := RESULTS / f"{name}.json").exists()}
    before = PAGE.read_text() if PAGE.exists() else ""
    kept = re.search(f"{START}\n(.*?){END}", before, re.DOTALL)
    lines = [
        "# Benchmarks\n",
        "Written by `python -m benchmarks`, which installs the peers, runs everything side by side and takes turns, so "
        "that ratios hold where times do not. All figures are medians. Every server forwards to one local upstream "
        "that answers about 800 bytes for a client token.\n",
        f"{next(iter(results.values()))['machine']}.\n",
        "## Targets\n",
        *verdicts(results),
        *(line for group, result in results.items() for line in section(group, result)),
        "## Where the time goes\n",
        f"{START}\n{kept[1] if kept else ''}{END}\n",
    ]
    PAGE.write_text("\n".join(lines))
