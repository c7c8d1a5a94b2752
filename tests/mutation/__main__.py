"""`python -m tests.mutation [MODULE ...]`: does a test fail for each small change of a module?

The tests are imported once. Each mutant is put into a fork, where it meets the tests that reach its lines, the
likeliest first, until one fails. What a mutant meets is limited by the processor's time, so that a busy machine kills
none. Each answer is kept in `.mutation/` at once, and holds as long as its module stays as it is; that a mutant
survives, as long as the tests do too. With `--tests` the survivors meet all tests in these files.

Survivors that no test can kill are explained in `explained.py`. The exit code is 1 if another one survives.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import time
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

from tests.mutation import ROOT, STATE
from tests.mutation.explained import explanation
from tests.mutation.forks import Runner
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.reached import Reached, measured

MODULES = (
    "policy",
    "api/client.py",
    "tools/approval.py",
    "tools/ticket_approval.py",
    "tools/verdict.py",
    "tools/plan.py",
    "tools/pipeline.py",
    "tools/lookup.py",
)
TESTS = (
    *("policy", "properties", "api", "faults", "tools", "test_results.py"),
    *("console/test_confirm_in_app.py", "console/test_browser_pages.py"),
)
LIBRARIES = ("mcp.server.mcpserver", "mcp.client.client", "starlette.applications", "uvicorn.main", "httpx", "httpx2")
RESULTS = STATE / "results.jsonl"


def digest(*paths: Path) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


class Run:
    """All mutants of `modules`, and what is known of each."""

    def __init__(self, modules: list[str], tests: list[str] | None, jobs: int) -> None:
        given = [ROOT / "runtype_mcp" / module for module in modules]
        found = [path for part in given for path in (sorted(part.rglob("*.py")) if part.is_dir() else [part])]
        paths = list(dict.fromkeys(found))
        self.modules = {path: digest(path) for path in paths}
        self.mutants = [mutant for path in paths for mutant in mutants(path)]
        self.sources = sorted((ROOT / "runtype_mcp").rglob("*.py"))
        self.tests = sorted(p for p in (ROOT / "tests").rglob("*.py") if p.parent != Path(__file__).parent)
        self.given_tests, self.jobs, self.code = tests, jobs, 70
        self.known: dict[str, dict[str, str]] = {}
        for line in RESULTS.read_text().splitlines() if RESULTS.exists() else ():
            result = json.loads(line)
            self.known[result["mutant"]] = result

    def key(self, mutant: Mutant) -> str:
        return f"{mutant.path.relative_to(ROOT)} {self.modules[mutant.path]} {mutant.number}"

    def is_known(self, mutant: Mutant, tests: str) -> bool:
        result = self.known.get(self.key(mutant))
        return result is not None and (result["by"] != "" or result["tests"] == tests)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In the place of the tests: every mutant."""
        items = {item.nodeid: item for item in session.items}
        runner = Runner(items, list(self.modules), self.jobs)
        tests = digest(*self.tests)
        if self.given_tests is None:
            reached = measured(runner, f"{digest(*self.sources)}{tests}")
        else:
            reached = Reached(dict.fromkeys(items, 0.1), {})
        todo = [mutant for mutant in self.mutants if not self.is_known(mutant, tests)]
        if self.given_tests is not None:
            todo = [mutant for mutant in todo if not explanation(mutant)]
        print(f"{len(self.mutants)} mutants, of which {len(todo)} are to meet the tests", flush=True)
        kills = Counter(result["by"] for result in self.known.values())
        work = ((mutant, reached.tests_of(mutant, kills)) for mutant in todo)
        with RESULTS.open("a") as kept:
            for mutant, seconds, failure in runner.meet_all(work, reached.seconds):
                by, error = failure or ("", "")
                result = {"mutant": self.key(mutant), "by": by, "error": error, "tests": tests}
                self.known[self.key(mutant)] = result
                kills[by] += 1
                print(json.dumps(result | {"seconds": round(seconds, 2)}), file=kept, flush=True)
        self.code = self.report()
        return True

    def report(self) -> int:
        found = {mutant: self.known[self.key(mutant)] for mutant in self.mutants if self.key(mutant) in self.known}
        survivors = [mutant for mutant, result in found.items() if not result["by"]]
        unexplained = [mutant for mutant in survivors if not explanation(mutant)]
        for mutant in survivors:
            print(f"\n{mutant.path.relative_to(ROOT)}:{mutant.lines.start} {mutant.function}")
            print(f"  - {mutant.was}\n  + {mutant.now}\n  {explanation(mutant) or 'NOT EXPLAINED'}")
        print("\nmodule, mutants, killed, survivors explained, survivors not explained:")
        counts = [Counter(str(m.path.relative_to(ROOT)) for m in group) for group in (found, survivors, unexplained)]
        for name, total in counts[0].items():
            alive, open_ = counts[1][name], counts[2][name]
            print(f"{name:40} {total:5} {total - alive:5} {alive - open_:5} {open_:5}")
        killed = len(found) - len(survivors)
        by_time = sum(result["error"] in ("limit", "TimeoutError") for result in found.values())
        print(
            f"{killed} of {len(found)} killed ({killed / max(1, len(found)):.1%}), {by_time} by a limit of time; "
            f"{len(survivors) - len(unexplained)} survivors explained, {len(unexplained)} not; "
            f"{len(self.mutants) - len(found)} have not met the tests yet"
        )
        return 1 if unexplained else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help="files or folders below runtype_mcp")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--tests", nargs="+", help="test files below tests, for the survivors to meet")
    parser.add_argument("--report", action="store_true", help="only say what is known")
    options = parser.parse_args()
    STATE.mkdir(exist_ok=True)
    run = Run(options.modules, options.tests, options.jobs)
    if options.report:
        return run.report()
    sys.path.insert(0, str(ROOT))  # the mutants are of the checkout, so the tests run on it
    for library in LIBRARIES:
        importlib.import_module(library)
    # A mutant needs no smallest example, and leaves none for the next one.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutation", phases=phases, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")
    began = time.monotonic()
    files = [str(ROOT / "tests" / name) for name in options.tests or TESTS]
    fixed = ["-n0", "-s", "--tb=no", "--assert=plain", "-ofaulthandler_timeout=0", f"--rootdir={ROOT}"]
    code = int(pytest.main([*fixed, *files], plugins=[run]))
    print(f"{time.monotonic() - began:.0f} s")
    return code or run.code


if __name__ == "__main__":
    sys.exit(main())
