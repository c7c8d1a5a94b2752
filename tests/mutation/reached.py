"""Which tests reach which lines, without any mutant."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import coverage
import pytest

from tests.mutation import ROOT, STATE
from tests.mutation.forks import Runner
from tests.mutation.mutants import Mutant

LONGEST = 4.0
"""How many seconds of tests a mutant meets in all."""


@dataclass(frozen=True)
class Reached:
    """The seconds of each test, and of each module and line the tests that reach it."""

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[str]]]

    def tests_of(self, mutant: Mutant, kills: Counter[str]) -> list[str]:
        """The tests that reach a mutant: those that have killed others, those of its module, then the fastest."""
        name = mutant.path.relative_to(ROOT)
        lines = self.lines.get(str(name), {})
        found = {test for line in mutant.lines for test in lines.get(line, ())}
        if not found:  # it runs when the module is imported, so any test of the module may tell
            found = {test for tests in lines.values() for test in tests} or set(self.seconds if not self.lines else ())
        own = str(Path("tests", *name.parts[1:-1], f"test_{name.stem}"))
        left, chosen = LONGEST, list[str]()
        for test in sorted(found, key=lambda test: (not kills[test], not test.startswith(own), self.seconds[test])):
            left -= self.seconds[test]
            if left > 0 or not self.lines:
                chosen.append(test)
        return chosen


class Recorder:
    """Notes for each test which lines it reaches, and how much of the processor's time it takes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured, self.seconds, self.failed = measured, dict[str, float](), set[str]()

    @staticmethod
    def _spent() -> float:
        return sum(os.times()[:4])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.measured.switch_context(item.nodeid)
        before, began = self._spent(), time.monotonic()
        result = yield
        self.seconds[item.nodeid] = max(self._spent() - before, min(time.monotonic() - began, 0.05))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)


def _measure(runner: Runner, data: Path) -> object:
    warnings.simplefilter("ignore")  # that the package is imported already is meant
    measured = coverage.Coverage(data_file=str(data), source_pkgs=["runtype_mcp"], branch=False, config_file=False)
    recorder = Recorder(measured)
    items = list(runner.items.values())
    items[0].config.pluginmanager.register(recorder)
    measured.start()
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    measured.stop()
    measured.save()
    return [recorder.seconds, sorted(recorder.failed)]


def measured(runner: Runner, state: str) -> Reached:
    """Run the tests without any mutant, unless they were run on this very `state` of the code."""
    kept = STATE / f"reached-{state}.json"
    if not kept.exists():
        data = STATE / "lines.db"
        data.unlink(missing_ok=True)
        answer = runner.in_a_fork(partial(_measure, runner, data), 3600)
        assert isinstance(answer, list), "the tests could not be measured"
        seconds, failed = answer
        good = seconds.keys() - set(failed)
        lines: dict[str, dict[int, list[str]]] = {}
        found = coverage.CoverageData(str(data))
        found.read()
        for file in found.measured_files():
            of = lines.setdefault(str(Path(file).relative_to(ROOT)), {})
            for line, contexts in found.contexts_by_lineno(file).items():
                of[line] = sorted(good & set(contexts))
        print(f"{len(good)} tests pass without a mutant. {len(failed)} fail, and are left out:", *failed, sep="\n  ")
        kept.write_text(json.dumps({"seconds": seconds, "lines": lines}))
    saved = json.loads(kept.read_text())
    return Reached(saved["seconds"], {f: {int(n): t for n, t in of.items()} for f, of in saved["lines"].items()})
