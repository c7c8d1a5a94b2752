"""The command as a real process, for what a client in this process cannot show: signals, exit codes, terminals."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TIMEOUT = 60.0
"""Seconds until a test gives up on a step that must be taken. Nothing waits that long unless it fails."""
SECONDS = TIMEOUT


def unmeasured() -> dict[str, str]:
    """The environment of a process in which no coverage is measured: that would import modules of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def environment(**environ: str) -> dict[str, str]:
    """The environment of a process: this one's, without settings of the person who runs the tests."""
    kept = ("RUNTYPE_MCP_STATE_DIR",)
    return {k: v for k, v in os.environ.items() if not k.startswith("RUNTYPE") or k in kept} | environ


def run(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `runtype-mcp ARGUMENTS` to its end."""
    command = [sys.executable, "-m", "runtype_mcp", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=TIMEOUT, env=environment(**environ), check=False
    )


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until `holds` gives something true, and give it."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := holds()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)
    return found


class Process:
    """`runtype-mcp ARGUMENTS` with its three streams in our hands; as a server, a client that speaks line by line."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self._ids = 0
        self._read = b""

    def send(self, message: dict[str, Any]) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.popen.stdin.flush()

    def line(self) -> bytes:
        """The next line of stdout."""
        assert self.popen.stdout is not None
        fd = self.popen.stdout.fileno()
        while b"\n" not in self._read:
            assert select.select([fd], [], [], TIMEOUT)[0], "it says nothing"
            part = os.read(fd, 65536)
            assert part, f"it ended: {self._read!r}"
            self._read += part
        line, _, self._read = self._read.partition(b"\n")
        return line

    def ask(self, method: str, params: dict[str, Any] | None = None) -> int:
        self._ids += 1
        self.send({"id": self._ids, "method": method, "params": params or {}})
        return self._ids

    def answer(self, number: int) -> dict[str, Any]:
        """The answer to a request; every line on the way to it has to be JSON-RPC."""
        while True:
            message: dict[str, Any] = json.loads(self.line())
            assert message["jsonrpc"] == "2.0"
            if message.get("id") == number and "method" not in message:
                return message

    def hello(self) -> dict[str, Any]:
        """The handshake of a client that cannot ask people."""
        info = {"name": "lines", "version": "1"}
        number = self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info})
        found: dict[str, Any] = self.answer(number)["result"]
        self.send({"method": "notifications/initialized"})
        return found

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.answer(self.ask("tools/call", {"name": tool, "arguments": arguments}))["result"]
        return found

    def text(self, tool: str, **arguments: Any) -> str:
        return str(self.call(tool, **arguments)["content"][0]["text"])

    def ended(self) -> int:
        """Wait for the end: its exit code."""
        return self.popen.wait(TIMEOUT)

    def errors(self) -> str:
        """All that it wrote to stderr, once it has ended."""
        assert self.popen.stderr is not None
        return self.popen.stderr.read().decode()


@contextlib.contextmanager
def _ended_by_us(popen: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ask the process to end, so that its coverage is kept, and kill it if it does not."""
    try:
        yield
    finally:
        popen.terminate()
        try:
            popen.wait(5)
        except subprocess.TimeoutExpired:
            popen.kill()


@contextlib.contextmanager
def started(*arguments: str, first: str = "", **environ: str) -> Iterator[Process]:
    """A process that has ended when the block ends. `first` is Python that it runs before the program."""
    program = ["-m", "runtype_mcp"]
    if first:
        program = ["-c", f"{first}\nimport runpy\nrunpy.run_module('runtype_mcp', run_name='__main__')"]
    popen = subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**environ),
    )
    with popen, _ended_by_us(popen):
        yield Process(popen)


class Terminal:
    """A process on a pseudo-terminal of its own, and the person before it."""

    def __init__(self, popen: subprocess.Popen[bytes], master: int) -> None:
        self._popen, self._master = popen, master
        self.shown = ""

    def press_ctrl_c(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def read(self, seconds: float = TIMEOUT) -> bool:
        """Take in what has appeared; False once nothing more can."""
        assert select.select([self._master], [], [], seconds)[0], f"it hangs: {self.shown!r}"
        try:
            part = os.read(self._master, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.shown += part.decode(errors="replace")
        return bool(part)

    def until(self, text: str, seconds: float = TIMEOUT) -> None:
        while text not in self.shown:
            assert self.read(seconds), f"never shown: {text!r} in {self.shown!r}"

    def types(self, line: str) -> None:
        os.write(self._master, line.encode())

    def ended(self) -> int:
        """Read to the end: the exit code."""
        while self.read():
            pass
        return self._popen.wait(TIMEOUT)


def on_terminal(*arguments: str, **environ: str) -> contextlib.AbstractContextManager[Terminal]:
    """`runtype-mcp ARGUMENTS` on a pseudo-terminal, so wide that no line is wrapped unless `COLUMNS` says otherwise."""
    given = environment(**{"COLUMNS": "1000", "TERM": "xterm-256color", **environ})
    return terminal([sys.executable, "-m", "runtype_mcp", *arguments], given)


@contextlib.contextmanager
def terminal(
    command: list[str], environ: dict[str, str], *, cwd: Path | None = None, columns: int = 0
) -> Iterator[Terminal]:
    """A program on a pseudo-terminal that has so many columns."""
    master, slave = os.openpty()
    try:
        if columns:
            termios.tcsetwinsize(slave, (24, columns))
        popen = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, cwd=cwd, start_new_session=True
        )
        os.close(slave)
        with popen, _ended_by_us(popen):
            yield Terminal(popen, master)
    finally:
        os.close(master)
