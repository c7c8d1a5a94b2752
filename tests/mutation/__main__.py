"""`python -m tests.mutation [MODULE ...]`: does a test fail for each small change of a module?

Every mutant meets the tests that reach its lines, in a process of its own, the likeliest first, until one fails. What
is killed is kept in `.mutation/` and skipped the next time, as long as its module stays as it is. The exit code is 1
if a mutant survives.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import coverage
import pytest

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".mutation"
MODULES = (
    "policy",
    "api/client.py",
    "tools/approval.py",
    "tools/ticket_approval.py",
    "tools/pipeline.py",
    "tools/lookup.py",
)
TESTS = ("policy", "properties", "api", "faults", "tools", "protocol")
LIBRARIES = (
    *(
        "mcp.server.mcpserver",
        "mcp.client.client",
        "starlette.applications",
        "uvicorn.main",
        "httpx",
        "httpx2",
        "jsonschema",
    ),
    *("hypothesis", "xdist.plugin", "anyio.pytest_plugin"),
)
QUICK, LONGEST = 30, 40.0
"""How many tests a mutant meets first, and how many seconds of tests it meets in all."""


@dataclass(frozen=True)
class Reached:
    """What the tests do without any mutant: the seconds of each, and of each module and line those that reach it."""

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[str]]]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant: those in the file of its module first, then the fastest."""
        name = mutant.path.relative_to(ROOT)
        lines = self.lines.get(str(name), {})
        found = {test for line in mutant.lines for test in lines.get(line, ())}
        if not found:  # it runs when the module is imported, so any test of the module may tell
            found = {test for tests in lines.values() for test in tests}
        own = str(Path("tests", *name.parts[1:-1], f"test_{name.stem}"))
        left, chosen = LONGEST, list[str]()
        for test in sorted(found, key=lambda test: (not test.startswith(own), self.seconds[test])):
            left -= self.seconds[test]
            if left > 0:
                chosen.append(test)
        return chosen


class Recorder:
    """Notes for each test which lines it reaches, and how long it takes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured, self.seconds, self.failed = measured, dict[str, float](), list[str]()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.measured.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


class Loader(SourceFileLoader):
    """Loads one module from a mutant, and tells nobody."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        super().__init__(name, str(mutant.path))
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant.tree, self.path, "exec")

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None


def run_tests(names: Iterable[str], *plugins: object, options: tuple[str, ...] = ("-x",)) -> int:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    fixed = ["-n0", "--tb=no", "--assert=plain", "-ofaulthandler_timeout=0", f"--rootdir={ROOT}"]
    return int(pytest.main([*fixed, *options, *names], plugins=list(plugins)))


def in_a_fork(work: Callable[[], int], seconds: int) -> int:
    """Begin `work` in a process of its own, which is gone after `seconds` whatever happens; its id."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        os.setsid()
        signal.alarm(seconds)
        code = work()
    except BaseException as error:  # nobody reads what a fork prints
        (STATE / "error.txt").write_text("".join(traceback.format_exception(error)))
    finally:
        os._exit(code)


def measure(files: list[str], data: Path) -> int:
    measured = coverage.Coverage(data_file=str(data), source_pkgs=["runtype_mcp"], branch=False, config_file=False)
    recorder = Recorder(measured)
    measured.start()
    code = run_tests(files, recorder, options=())
    measured.stop()
    measured.save()
    data.with_suffix(".json").write_text(json.dumps([recorder.seconds, recorder.failed]))
    return 0 if code in (0, 1) else code


def measured(jobs: int) -> Reached:
    """Run the tests without any mutant, unless nothing has changed since they were."""
    files = [*(ROOT / "tests").glob("test_results.py")]
    files += [path for part in TESTS for path in (ROOT / "tests" / part).rglob("test_*.py")]
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "runtype_mcp").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        digest.update(path.read_bytes())
    kept = STATE / f"{digest.hexdigest()[:12]}.json"
    if kept.exists():
        saved = json.loads(kept.read_text())
        return Reached(
            saved["seconds"], {file: {int(n): t for n, t in of.items()} for file, of in saved["lines"].items()}
        )
    parts = [(sorted(map(str, files))[n::jobs], STATE / f"lines{n}.db") for n in range(jobs)]
    for pid in [in_a_fork(partial(measure, names, data), 3600) for names, data in parts]:
        assert os.waitpid(pid, 0)[1] == 0, "the tests could not be measured"
    seconds: dict[str, float] = {}
    failed: list[str] = []
    for _, data in parts:
        times, bad = json.loads(data.with_suffix(".json").read_text())
        seconds |= times
        failed += bad
    good = seconds.keys() - set(failed)
    lines: dict[str, dict[int, list[str]]] = {}
    for _, data in parts:
        saved_lines = coverage.CoverageData(str(data))
        saved_lines.read()
        for file in saved_lines.measured_files():
            of = lines.setdefault(str(Path(file).relative_to(ROOT)), {})
            for line, contexts in saved_lines.contexts_by_lineno(file).items():
                of.setdefault(line, []).extend(sorted(good & set(contexts)))
    print(
        f"{len(good)} tests pass without a mutant. {len(failed)} fail, and are left out:",
        *failed,
        sep="\n  ",
        flush=True,
    )
    kept.write_text(json.dumps({"seconds": seconds, "lines": lines}))
    return Reached(seconds, lines)


def meet(mutant: Mutant, tests: list[str]) -> int:
    """Run `tests` on a mutant: 0 if all pass, so that it survives."""
    name = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)
    sys.meta_path.insert(0, Loader(name, mutant))
    return run_tests(tests[:QUICK]) or (run_tests(tests[QUICK:]) if tests[QUICK:] else 0)


def key(mutant: Mutant) -> str:
    source = hashlib.sha256(mutant.path.read_bytes()).hexdigest()[:12]
    return f"{mutant.path.relative_to(ROOT)} {source} {mutant.number}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help="files or folders below runtype_mcp")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    STATE.mkdir(exist_ok=True)
    sys.path.insert(0, str(ROOT))  # the mutants are of the checkout, so the tests run on it
    for library in LIBRARIES:  # a fork need not import them again
        importlib.import_module(library)
    given = [ROOT / "runtype_mcp" / module for module in options.modules]
    paths = [path for part in given for path in (sorted(part.rglob("*.py")) if part.is_dir() else [part])]
    reached = measured(options.jobs)
    met = [(mutant, reached.tests_of(mutant)) for path in paths for mutant in mutants(path)]
    # A test that is not found by its name would seem to kill every mutant.
    names = sorted({test for _, tests in met for test in tests})
    pid = in_a_fork(partial(run_tests, names, options=("--collect-only",)), 600)
    assert os.waitpid(pid, 0)[1] == 0, "some tests are not found by their names"

    results = STATE / "killed.txt"
    known = set(results.read_text().splitlines()) if results.exists() else set[str]()
    waiting = [(mutant, tests) for mutant, tests in met if key(mutant) not in known]
    print(f"{len(met)} mutants, of which {len(met) - len(waiting)} are known to be killed", flush=True)
    running: dict[int, Mutant] = {}
    survivors: list[Mutant] = []
    hung = 0
    began = time.monotonic()
    with results.open("a") as kept:
        while waiting or running:
            if waiting and len(running) < options.jobs:
                mutant, tests = waiting.pop(0)
                limit = 15 + 4 * int(sum(reached.seconds[test] for test in tests))
                running[in_a_fork(partial(meet, mutant, tests) if tests else int, limit)] = mutant
                continue
            pid, status = os.wait()
            mutant = running.pop(pid)
            hung += os.WIFSIGNALED(status)
            if status == 0:
                survivors.append(mutant)
            else:
                print(key(mutant), file=kept, flush=True)
    for mutant in sorted(survivors, key=lambda mutant: (str(mutant.path), mutant.number)):
        print(f"\n{mutant.path.relative_to(ROOT)}:{mutant.lines.start}\n  - {mutant.was}\n  + {mutant.now}")
    took = time.monotonic() - began
    print(f"\n{len(met) - len(survivors)} of {len(met)} killed, {hung} by a time limit ({took:.0f} s)")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
