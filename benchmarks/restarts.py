"""`python -m benchmarks.restarts [--minutes N]`: does anybody notice that replicas are restarted? Exit code 1 if so.

Three replicas behind nginx, with Redis and authentication. Each in turn is told to end (SIGTERM), ends, and is started
again, while callers read, find and update without a pause. Every call has to succeed at the first try.
"""

import argparse
import itertools
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.deploy.calls import Answered, Caller
from tests.deploy.cluster import Cluster, cluster
from tests.support import seed_many

CALLERS = 16
TOKENS = 200


class Soak:
    """What callers saw so far."""

    def __init__(self, team: Cluster) -> None:
        self.team, self.over = team, threading.Event()
        self.calls, self.failed = Counter[str](), list[str]()

    def work(self, number: int) -> None:
        """One caller, which calls until the soak is over, and has tokens of its own."""
        mine = itertools.cycle([record.token["id"] for record in self.team.api.store.newest_first()][number::CALLERS])
        with Caller(self.team.url, self.team.bearers["admin"]) as caller:
            for count in itertools.count():
                if self.over.is_set():
                    return
                token = next(mine)
                self.note("get_client_token", caller.call("get_client_token", client_token=token))
                self.note("list_client_tokens", caller.call("list_client_tokens", limit=20))
                update = caller.call("update_client_token", client_token=token, config={"count": count})
                self.note("update_client_token", update)

    def note(self, tool: str, answered: Answered) -> None:
        self.calls[tool] += 1
        if not answered.done:
            self.failed.append(f"{tool}: status {answered.status}, {answered.text[:200]}")


def soak(folder: Path, seconds: float) -> int:
    """Run it, print what came of it, and give the exit code."""
    with cluster(folder) as team, ThreadPoolExecutor(CALLERS) as callers:
        seed_many(team.api.store, TOKENS)
        soaking, restarts, codes = Soak(team), 0, Counter[int]()
        working = [callers.submit(soaking.work, number) for number in range(CALLERS)]
        until = time.monotonic() + seconds
        try:
            for replica in itertools.cycle(team.replicas):
                codes[replica.end(signal.SIGTERM)] += 1
                replica.start()
                replica.until_ready()
                restarts += 1
                if time.monotonic() > until:
                    break
        finally:
            soaking.over.set()
        for one in working:
            one.result()
        written = len(team.api.applied)
    print(f"{sum(soaking.calls.values())} calls by {CALLERS} callers, {restarts} restarts, exit codes {dict(codes)}")
    print(f"{soaking.calls['update_client_token']} updates, {written} at the API; {len(soaking.failed)} calls failed")
    print("\n".join(soaking.failed[:20]))
    return 1 if soaking.failed or written != soaking.calls["update_client_token"] else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restarts", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, metavar="N", help="for how long (default: %(default)s)")
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory(prefix="restarts-") as folder:
        return soak(Path(folder), seconds)


if __name__ == "__main__":
    sys.exit(main())
