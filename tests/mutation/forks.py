"""Runs tests on mutants, each in a fork of a process that has imported all of them.

A mutant of a function takes the place of that function's code, wherever it is imported. What runs when a module is
imported needs another way: the fork forgets the package and the tests, and imports them again with the mutant.
"""

from __future__ import annotations

import ast
import ctypes
import gc
import importlib.util
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.mutation import ROOT, STATE
from tests.mutation.mutants import Mutant, compiled

Failure = tuple[str, str]
"""Which test fails, and with which error."""


class Loader(SourceFileLoader):
    """Loads one module from a mutant, and tells nobody."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        super().__init__(name, str(mutant.path))
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compiled(self.mutant)

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None


class Failures:
    """Notes the first failure of a run of tests, of which only `names` are run, in their order."""

    def __init__(self, names: Iterable[str], seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.order = {name: number for number, name in enumerate(names)}
        self.first: Failure | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # A mutant may give tests other names: then all of them run.
        found = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(found, key=lambda item: self.order[item.nodeid]) or items

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        seconds = 5 + 4 * self.seconds.get(nodeid, 0)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # of the processor's time; then the process ends

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if self.first is None and call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            error: BaseException = call.excinfo.value
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self.first = item.nodeid, type(error).__name__


def _differing(one: CodeType, other: CodeType) -> Iterator[CodeType | None]:
    """The outermost functions of `other` that are not as in `one`; None where what runs at the import differs."""
    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (one, other)]
    if len(inner[0]) != len(inner[1]) or one.replace(co_consts=_plain(one)) != other.replace(co_consts=_plain(other)):
        yield None
        return
    for before, after in zip(*inner, strict=True):
        if before != after:
            if before.co_flags & 2:  # CO_NEWLOCALS: a function, and not the body of a class
                yield after
            else:
                yield from _differing(before, after)


def _plain(code: CodeType) -> tuple[object, ...]:
    return tuple(None if isinstance(c, CodeType) else c for c in code.co_consts)


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _forget() -> None:
    for name in [n for n in sys.modules if n.split(".")[0] in ("runtype_mcp", "tests", "scripts", "conftest")]:
        if not name.startswith("tests.mutation"):
            del sys.modules[name]


@dataclass
class Fork:
    mutant: Mutant | None
    began: float
    limit: float
    scratch: Path

    def starved(self, pid: int) -> float:
        """How many seconds its threads have waited for a processor."""
        found = 0.0
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                found = max(found, int(path.read_text().split()[1]) / 1e9)
            except OSError:  # a thread that has ended since
                continue
        return found


class Runner:
    def __init__(self, items: dict[str, pytest.Item], modules: list[Path], jobs: int) -> None:
        self.items, self.jobs = items, jobs
        self.seconds = dict[str, float]()
        self.running: dict[int, Fork] = {}  # by the descriptor of each process
        self.pids: dict[int, int] = {}
        self.functions: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
        names = {str(path) for path in modules}
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename in names:
                self.functions[_place(thing.__code__)].append(thing)
        self.originals = {path: compile(ast.parse(path.read_text("utf-8")), str(path), "exec") for path in modules}
        gc.freeze()
        answer = self.in_a_fork(partial(self._imported, names), 60)
        self.at_import = {(file, name, line) for file, name, line in answer}

    def _imported(self, names: set[str]) -> object:
        """Which functions run when the package is imported."""
        called = set[tuple[str, str, int]]()

        def profile(frame: object, event: str, arg: object) -> None:
            code: CodeType = frame.f_code  # type: ignore[attr-defined]  # `object` is what typing knows here
            if event == "call" and code.co_filename in names:
                called.add(_place(code))

        _forget()
        sys.setprofile(profile)
        importlib.import_module("runtype_mcp.server")
        sys.setprofile(None)
        return sorted(called)

    def _fork(self, mutant: Mutant | None, work: Callable[[], object], seconds: float) -> int:
        """Begin `work` in a process of its own, which is gone once it could have run for long; its descriptor."""
        limit = 10 + 3 * seconds
        scratch = Path(tempfile.mkdtemp(prefix="mutant-"))
        if pid := os.fork():
            descriptor = os.pidfd_open(pid)
            self.running[descriptor] = Fork(mutant, time.monotonic(), limit, scratch)
            self.pids[descriptor] = pid
            return descriptor
        try:
            os.setsid()
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no longer than the parent
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            output = os.open(scratch / "output.txt", os.O_RDWR | os.O_CREAT)
            for stream in (1, 2):
                os.dup2(output, stream)
            os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
            answer = work()
            (scratch / "answer.json").write_text(json.dumps(answer))
        except BaseException as error:  # nobody reads what a fork prints
            said = (scratch / "output.txt").read_text("utf-8", "replace")
            (STATE / "error.txt").write_text(said + "".join(traceback.format_exception(error)))
            os._exit(70)
        finally:
            os._exit(0)

    def _ended(self, only: int | None = None) -> Iterator[tuple[Mutant | None, float, Any]]:
        """What ended, after at least one did: its mutant, seconds and answer, which is "limit" for what was killed."""
        while True:
            ready, _, _ = select.select([only] if only is not None else list(self.running), [], [], 2)
            for descriptor, fork in list(self.running.items()):
                pid = self.pids[descriptor]
                if descriptor not in ready:
                    # A fork hangs if it could have run for so long, and has not ended.
                    if time.monotonic() - fork.began > fork.limit + fork.starved(pid):
                        os.kill(pid, signal.SIGKILL)
                    continue
                _, status = os.waitpid(pid, 0)
                assert not os.WIFEXITED(status) or not os.WEXITSTATUS(status), "a fork fails: see .mutation/error.txt"
                os.close(descriptor)
                del self.running[descriptor]
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)  # what its tests have started
                answer = fork.scratch / "answer.json"
                found = json.loads(answer.read_text()) if answer.exists() else "limit"
                shutil.rmtree(fork.scratch, ignore_errors=True)
                yield fork.mutant, time.monotonic() - fork.began, found
            if ready:
                return

    def in_a_fork(self, work: Callable[[], object], seconds: float) -> Any:
        ((_, _, answer),) = self._ended(self._fork(None, work, seconds))
        return answer

    def run(self, names: list[str]) -> Failure | None:
        """Run these tests until one fails."""
        items = [self.items[name] for name in names]
        if not items:
            return None
        failures = Failures(names, self.seconds)
        items[0].config.pluginmanager.register(failures)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failures.first is not None:
                break
        return failures.first

    def _meet_again(self, mutant: Mutant, names: list[str]) -> Failure | None:
        """The same with everything imported again."""
        _forget()
        module = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)
        sys.meta_path.insert(0, Loader(module, mutant))
        try:
            importlib.import_module("runtype_mcp.server")
        except BaseException as error:  # a mutant may raise anything
            return "the import", type(error).__name__
        failures = Failures(names, self.seconds)
        files = sorted({str(self.items[name].path) for name in names})
        fixed = ["-n0", "-x", "-s", "--tb=no", "--assert=plain", "-ofaulthandler_timeout=0", f"--rootdir={ROOT}"]
        code = pytest.main([*fixed, *files], plugins=[failures])
        assert code in (0, 1, 2), code
        return failures.first or (("the import", "") if code else None)

    def meet(self, mutant: Mutant, names: list[str]) -> Failure | None:
        if not names:
            return None
        changed = list(_differing(self.originals[mutant.path], compiled(mutant)))
        functions = [(code, self.functions.get(_place(code), [])) for code in changed if code is not None]
        if None in changed or not all(found for _, found in functions):
            return self._meet_again(mutant, names)
        if any(_place(code) in self.at_import for code, _ in functions):
            return self._meet_again(mutant, names)
        for code, found in functions:
            for function in found:
                if len(function.__code__.co_freevars) != len(code.co_freevars):
                    return self._meet_again(mutant, names)
                function.__code__ = code
        return self.run(names)

    def meet_all(
        self, work: Iterable[tuple[Mutant, list[str]]], seconds: dict[str, float]
    ) -> Iterator[tuple[Mutant, float, Failure | None]]:
        self.seconds = seconds
        waiting = iter(work)
        exhausted = False
        while not exhausted or self.running:
            while not exhausted and len(self.running) < self.jobs:
                mutant, names = next(waiting, (None, []))
                if mutant is None:
                    exhausted = True
                    break
                self._fork(mutant, partial(self.meet, mutant, names), sum(seconds[name] for name in names))
            if self.running:
                for done, took, answer in self._ended():
                    assert done is not None
                    failure = ("a limit", "limit") if answer == "limit" else answer and (answer[0], answer[1])
                    yield done, took, failure
