"""`python -m benchmarks [--quick] [start calls http tokens many]`: measure, keep the samples, write the page."""

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import report
from benchmarks.measure import GROUPS
from benchmarks.servers import NODE_PEERS, PYTHON_PEERS, install


def machine() -> str:
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    packages = [f"{name} {version(name)}" for name in ("runtype-mcp", "mcp", "httpx2", "uvicorn", "pydantic")]
    peers = [requirement.replace("==", " ") for requirement in PYTHON_PEERS.values()]
    return (
        f"{os.cpu_count()} cores ({cpu.split(': ')[1]}), {platform.system()} {platform.release()}, "
        f"CPython {platform.python_version()}; {', '.join([*packages, *peers, *NODE_PEERS])}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of: {' '.join(GROUPS)}; all without")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"no such group: {' '.join(sorted(unknown))}")
    install()
    report.RESULTS.mkdir(parents=True, exist_ok=True)
    for name in arguments.groups or GROUPS:
        print(name, flush=True)
        began, load = time.monotonic(), os.getloadavg()[0]
        result = {
            "samples": GROUPS[name](arguments.quick),
            "machine": machine(),
            "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "rounds": "few rounds" if arguments.quick else "all rounds",
            "load": round(load, 1),
        }
        (report.RESULTS / f"{name}.json").write_text(json.dumps(result))
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    report.write()
    print(f"wrote {report.PAGE}")


if __name__ == "__main__":
    main()
