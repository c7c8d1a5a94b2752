"""`python -m tests.deploy.kills [--seeds N]`: are gated calls done once, whenever a replica is killed?

Each round makes one gated call as a client that does not give up: it sends what got no answer again to the letter,
answer of the person included, and starts anew only where the server refuses that. One replica is killed with SIGKILL
at a moment of the round's own, and started again. Writes are counted at the API, and at the end every audit log is
verified. The exit code is 1 if a call was done twice or not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtype_mcp.sandbox.rules import DEFAULTS
from runtype_mcp.sandbox.seed import stamp, utc_now
from runtype_mcp.sandbox.store import Record, digest, ulid
from tests.deploy.calls import Answered, Caller, answer_to
from tests.deploy.cluster import Cluster, cluster
from tests.deploy.shared_api import Halt, Moment, Seen
from tests.processes import TIMEOUT, run, until
from tests.support import AGENT

PHASES = {
    "before": "before the call",
    "asking": "while it finds out what to ask",
    "between": "between the question and the answer: the one that asked",
    "answering": "while it checks the answer",
    "waiting": "while it waits for another call on the token",
    "unapplied": "in the write, which the API never carries out",
    "applied": "in the write, which the API has carried out",
    "answered": "when the API has answered it",
}
UNHURT = ("before", "between")
"""A kill then costs no caller anything."""
ATTEMPTS = 12


class DroppedError(Exception):
    """The API drops a request."""


@dataclass
class Round:
    """One gated call, and what came of it."""

    seed: int
    phase: str
    tool: str
    name: str
    token_id: str
    killed: int = 0
    failures: int = 0
    replays_refused: int = 0
    finished: bool = False
    answers: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> dict[str, Any]:
        if self.tool == "create_client_token":
            return {"name": self.name, "allowed_origins": ["*"], "agent_ids": [AGENT], "confirm": True}
        return {"client_token": self.token_id, "confirm": True, "expected_name": self.name}

    def is_of(self, seen: Seen) -> bool:
        """Whether a request to the API is about this round's token, or about all."""
        if self.tool == "create_client_token" and not seen.writes:
            return seen.path == "client-tokens"
        return self.token_id in seen.path or (isinstance(seen.body, dict) and seen.body.get("name") == self.name)

    def is_write(self, seen: Seen) -> bool:
        """Whether it is what the call asks for."""
        return seen.method in ("DELETE", "POST") and self.is_of(seen)


class Run:
    """Rounds on one cluster. Follow-ups of a write wait for the dead one's lock, and do so beside later rounds."""

    def __init__(self, team: Cluster) -> None:
        self.team, self.rounds = team, list[Round]()
        self._triggers: dict[int, Callable[[Moment, Seen], bool]] = {}
        self._halts: dict[int, Halt] = {}
        self._lock = threading.Lock()
        self._later: list[Future[None]] = []
        team.api.hook = self._hook

    def round(self, seed: int, pool: ThreadPoolExecutor) -> None:
        """One call and one kill. The call may be finished later."""
        self.team.until_ready()
        one = self._made(seed)
        self.rounds.append(one)
        rng = random.Random(seed)
        with Caller(self.team.url, self.team.bearers["admin"]) as caller:
            if one.phase == "before":
                self._kill(one, rng.choice(self.team.replicas).pid)
            if one.phase == "asking":
                self._arm(one, "received", lambda seen: not seen.writes)
            asked = self._call(one, caller)
            while not asked.asks:
                asked = self._call(one, caller)
            more = answer_to(asked, one.name)
            if one.phase == "between":
                self._kill(one, self.team.answered_by(asked.request_id).pid)
            if one.phase == "waiting":
                self._while_another_writes(one, more)
            elif one.phase == "answering":
                self._arm(one, "received", lambda seen: not seen.writes)
            elif one.phase in ("unapplied", "applied", "answered"):
                moment: Moment = "received" if one.phase == "unapplied" else one.phase  # type: ignore[assignment]
                self._arm(one, moment, one.is_write)
            if one.phase in (*UNHURT, "asking", "answering"):
                self._finish(one, more)
                return
            if one.phase != "waiting" and self._call(one, caller, more).done:  # it had answered before it died
                one.finished = True
                again = self._call(one, caller, more)
                one.replays_refused += not again.done
                return
            self._later.append(pool.submit(self._finish, one, more))

    def wait(self) -> None:
        for later in self._later:
            later.result(10 * TIMEOUT)
        self.team.until_ready()

    def applied(self, one: Round) -> int:
        return sum(map(one.is_write, self.team.api.applied))

    def problems(self) -> Iterator[str]:
        """What was lost or done twice, a sentence each."""
        for one in self.rounds:
            done = self.applied(one)
            what = f"Round {one.seed} ({one.tool}, {one.phase})"
            if done != 1:
                yield f"{what} was done {done} times: {one.answers}"
            if not one.killed:
                yield f"{what} killed nothing: {one.answers}"
            if one.failures and one.phase in UNHURT:
                yield f"{what} failed {one.failures} times, and a caller saw it: {one.answers}"
            if not one.finished:
                yield f"{what} was never finished: {one.answers}"
        logs = [str(replica.audit) for replica in self.team.replicas if replica.audit.exists()]
        for log in logs:
            verified = run("audit", "verify", log)
            if verified.returncode:
                yield f"An audit log is not whole: {verified.stdout}{verified.stderr}"
        recorded = Counter(
            line["name"]
            for log in logs
            for line in map(json.loads, Path(log).read_text().splitlines())
            if line.get("event") == "started"
        )
        for one in self.rounds:
            if not recorded[one.name]:
                yield f"Round {one.seed} was done and no audit log has it."

    def figures(self) -> str:
        """A line for each phase."""
        rows = ["phase        rounds  kills  done once  failed answers  replays refused"]
        for phase in PHASES:
            of = [one for one in self.rounds if one.phase == phase]
            rows.append(
                f"{phase:12} {len(of):6} {sum(one.killed for one in of):6} {sum(self.applied(o) == 1 for o in of):10} "
                f"{sum(one.failures for one in of):15} {sum(one.replays_refused for one in of):16}"
            )
        return "\n".join(rows)

    def _made(self, seed: int) -> Round:
        phase = list(PHASES)[seed % len(PHASES)]
        tools = ["delete_client_token", "regenerate_client_token", "create_client_token"]
        # A create reads nothing before it asks, and waits for nobody who writes to an existing token.
        tool = tools[seed // len(PHASES) % (2 if phase in ("asking", "waiting") else 3)]
        one = Round(seed, phase, tool, f"Kill {seed:04}", f"ct_{ulid(digest(f'kill {seed}'))}")
        if tool != "create_client_token":
            now = stamp(utc_now())
            token = DEFAULTS | {"id": one.token_id, "name": one.name, "agentIds": [AGENT], "environment": "live"}
            token |= {"allowedOrigins": ["https://shop.example"], "lastUsedAt": None, "createdAt": now}
            self.team.api.store.put(
                Record(token | {"updatedAt": now}, None).with_value(f"{digest(one.name):064x}"[:32])
            )
        return one

    def _call(self, one: Round, caller: Caller, more: dict[str, Any] | None = None) -> Answered:
        answered = caller.call(one.tool, more, **one.arguments)
        if answered.status != 200:
            one.failures += 1
            time.sleep(0.1)  # as a client does that tries again
        one.answers.append("asks" if answered.asks else answered.text[:150] or f"status {answered.status}")
        assert len(one.answers) < 3 * ATTEMPTS, one
        return answered

    def _finish(self, one: Round, more: dict[str, Any]) -> None:
        """Send the answered call until the server says what came of it, and begin anew if that is nothing."""
        with Caller(self.team.url, self.team.bearers["admin"]) as caller:
            for attempt in itertools.count():
                answered = self._call(one, caller, more)
                if answered.status != 200:
                    continue
                one.replays_refused += attempt == 0 and not answered.done
                # A person who is asked anew sees the token as it is, and says no to what was done.
                if answered.done or self.applied(one):
                    break
                if answered.asks:
                    more = answer_to(answered, one.name)
                    continue
                asked = self._call(one, caller)
                if asked.asks:
                    more = answer_to(asked, one.name)
        one.finished = True

    def _while_another_writes(self, one: Round, more: dict[str, Any]) -> None:
        """Let the call wait for one on the same token, whose write is under way, and kill it then."""
        halt = self._halts[one.seed] = Halt()
        other = {"client_token": one.token_id, "config": {"seed": one.seed}}
        with (
            Caller(self.team.url, self.team.bearers["admin"]) as first,
            Caller(self.team.url, self.team.bearers["admin"]) as second,
            ThreadPoolExecutor(2) as both,
        ):
            writing = both.submit(first.call, "update_client_token", None, **other)
            assert halt.reached.wait(TIMEOUT), "the other call does not write"
            before = len(self.team.api.seen)
            writer = [seen.pid for seen in self.team.api.seen if seen.method == "PUT" and one.is_of(seen)][-1]
            waiting = both.submit(self._call, one, second, more)
            read = until(lambda: [s for s in self.team.api.seen[before:] if one.is_of(s)], "the call has read")
            time.sleep(random.Random(one.seed).uniform(0, 0.2))  # anywhere in its wait
            self._kill(one, read[-1].pid)
            waiting.result(TIMEOUT)
            halt.lift()
            written = writing.result(TIMEOUT)
            assert written.done or writer == read[-1].pid, f"the call that had the token was hurt: {written}"

    def _kill(self, one: Round, pid: int | None) -> None:
        for replica in self.team.replicas:
            with replica.changing:
                if pid is not None and replica.pid == pid:
                    replica.end()
                    one.killed += 1
                    replica.start()

    def _arm(self, one: Round, moment: Moment, which: Callable[[Seen], bool]) -> None:
        self._triggers[one.seed] = lambda now, seen: now == moment and one.is_of(seen) and which(seen)

    async def _hook(self, moment: Moment, seen: Seen) -> None:
        for seed, halt in list(self._halts.items()):
            if moment == "received" and seen.method == "PUT" and (seen.body or {}).get("config") == {"seed": seed}:
                await halt.hold()
        for one in self.rounds:
            trigger = self._triggers.get(one.seed)
            if trigger and seen.pid and trigger(moment, seen):
                del self._triggers[one.seed]
                rng = random.Random(one.seed)
                await asyncio.sleep(rng.uniform(0, 0.02) if moment == "answered" else 0)
                await asyncio.to_thread(self._kill, one, seen.pid)
                if one.phase == "unapplied":
                    raise DroppedError


def kill_often(team: Cluster, seeds: Sequence[int], say: Callable[[str], object] = lambda _: None) -> Run:
    """One round for each seed. Every call is finished at the return, and every replica runs."""
    with ThreadPoolExecutor(32) as pool:
        running = Run(team)
        for number, seed in enumerate(seeds, 1):
            running.round(seed, pool)
            if number % 50 == 0:
                say(f"{number} rounds")
        running.wait()
    return running


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.kills", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first seed (default: %(default)s)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, cluster(Path(folder)) as team:
        seeds = range(options.first, options.first + options.seeds)
        done = kill_often(team, seeds, lambda line: print(line, flush=True))
        problems = list(done.problems())
    print(done.figures())
    print("\n".join(problems) or "Every call was done once, and every audit log is whole.")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
