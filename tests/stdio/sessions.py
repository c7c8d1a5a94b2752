"""Sessions over stdio: what clients send, and servers that answer it in a thread or a process."""

from __future__ import annotations

import json
import os
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
from mcp.server.stdio import stdio_server

from runtype_mcp.server import build_server
from runtype_mcp.settings import Settings
from runtype_mcp.stdio.replay import Replay
from runtype_mcp.stdio.reply_cache import SUFFIX, ReplyCache
from runtype_mcp.stdio.serve import run
from tests.processes import SECONDS, Process, started
from tests.support import MODERN

Result = TypeVar("Result")
Serve = Callable[[int, int], None]

LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


def request(name: Any, method: str, params: Any = None, **more: Any) -> str:
    message = {"jsonrpc": "2.0", "id": name, "method": method} | ({} if params is None else {"params": params})
    return json.dumps(message | more)


def notification(method: str, params: Any = None) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params}))


def hello(version: str = "2025-11-25", capabilities: Any = None, name: Any = "hello") -> str:
    client = {"name": "test", "version": "1"}
    params = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": client}
    return request(name, "initialize", params)


def envelope(version: str = MODERN, capabilities: Any = None) -> dict[str, Any]:
    names = ("protocolVersion", "clientCapabilities", "clientInfo")
    values = (version, capabilities or {}, {"name": "test", "version": "1"})
    return {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in zip(names, values, strict=True)}}


INITIALIZED = notification("notifications/initialized")
CALL = request("call", "tools/call", {"name": "no_such_tool", "arguments": {}})
LEGACY_START = [hello(), INITIALIZED, *(request(method, method) for method in LISTS)]
MODERN_START = [request(method, method, envelope()) for method in ("server/discover", *LISTS)]


def lines_of(lines: Iterable[str | bytes]) -> bytes:
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)


def id_of(line: str | bytes) -> str | None:
    """The id that a line asks or answers, as JSON; None if it does neither."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return json.dumps(message["id"]) if isinstance(message, dict) and "id" in message else None


def ids(lines: Iterable[str | bytes]) -> Counter[str]:
    return Counter(name for line in lines if (name := id_of(line)))


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe. A test may close either."""
    source, sink = os.pipe()
    try:
        yield source, sink
    finally:
        for fd in (source, sink):
            with suppress(OSError):
                os.close(fd)


def in_time(call: Callable[[], Result]) -> Result:
    """What `call` returns; a failure if it hangs, whatever it waits for."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert results, "it hangs, or it failed"
    return results[0]


def read_some(fd: int) -> bytes:
    assert select.select([fd], [], [], SECONDS)[0], "it says nothing"
    return os.read(fd, 65536)


def write_all(fd: int, data: bytes) -> None:
    os.set_blocking(fd, False)
    while data:
        assert select.select([], [fd], [], SECONDS)[1], "it reads nothing"
        data = data[os.write(fd, data[:4096]) :]


def converse(serve: Serve, chunks: Iterable[bytes], wanted: Counter[str]) -> list[bytes]:
    """Send `chunks` to a server, wait until all of `wanted` are answered, leave; all lines that it sent."""
    with pipe() as (source, ours), pipe() as (theirs, sink):

        def serve_and_close() -> None:
            try:
                serve(source, sink)
            finally:
                os.close(sink)

        thread = threading.Thread(target=serve_and_close, daemon=True)
        thread.start()
        said = b""
        for chunk in chunks:
            write_all(ours, chunk)
        while wanted - ids(said.splitlines()):
            said += (more := read_some(theirs))
            assert more, (wanted, said)
        os.close(ours)
        while more := read_some(theirs):
            said += more
        thread.join(SECONDS)
        assert not thread.is_alive()
    return said.splitlines()


def say(serve: Serve, lines: list[str]) -> list[bytes]:
    """Send all lines in one piece, and wait for an answer to each that has an id."""
    return converse(serve, [lines_of(lines)], ids(lines))


class StdioPair:
    """One server, spoken to with a replay before it and without."""

    def __init__(self, folder: Path, max_replies: int = 64) -> None:
        self.path = folder / "runtype-mcp" / f"configuration{SUFFIX}"
        self.max_replies = max_replies
        self.server = build_server(Settings.from_env({"RUNTYPE_MCP_SANDBOX": "true"}))
        self.replayed_sessions = self.sdk_sessions = 0  # in how many the replay answered; and the SDK was needed

    @property
    def cache(self) -> ReplyCache:
        return ReplyCache(str(self.path), "configuration", max_replies=self.max_replies)

    def sdk(self, source: int, sink: int) -> None:
        """The SDK with its own transport."""

        async def serve() -> None:
            async with stdio_server(anyio.wrap_file(stdin), anyio.wrap_file(stdout)) as (read, write):
                lowlevel = self.server._lowlevel_server  # the public server's own `run` takes no files
                await lowlevel.run(read, write, lowlevel.create_initialization_options())

        with (
            open(source, encoding="utf-8", closefd=False) as stdin,
            open(sink, "w", encoding="utf-8", closefd=False) as stdout,
        ):
            anyio.run(serve)

    def alone(self, source: int, sink: int) -> None:
        """The SDK with our transport, as `RUNTYPE_MCP_FAST_START=off` has it."""
        anyio.run(run, self.server, source, sink)

    def replayed(self, source: int, sink: int) -> None:
        """The replay, and the SDK from the first line that the cache does not know."""
        replay = Replay(self.cache, source, sink)
        replay.run()
        self.replayed_sessions += replay.state != ""
        if not replay.client_left:
            self.sdk_sessions += 1
            anyio.run(run, self.server, source, sink, replay)

    def warmed(self, *sessions: list[str]) -> Self:
        for lines in sessions:
            say(self.replayed, lines)
        self.sdk_sessions = 0
        return self


def ask(process: Process, *lines: str) -> list[bytes]:
    """Send lines to a process: as many lines of its answer as have an id."""
    assert process.popen.stdin
    write_all(process.popen.stdin.fileno(), lines_of(lines))
    return [process.line() for line in lines if id_of(line)]


def end(process: Process) -> tuple[int, bytes, bytes]:
    """Close a process's input; its exit code, and what was left on its output and on stderr."""
    out, err = process.popen.communicate(timeout=SECONDS)
    return process.popen.returncode, out, err


def warm_up(*arguments: str, lines: Iterable[str] = (hello(),), **environ: str) -> None:
    """Start a server that records these lines' replies."""
    with started(*arguments, **environ) as process:
        ask(process, *lines)
        assert end(process) == (0, b"", b"")


def cache_files() -> list[Path]:
    return sorted((Path(os.environ["XDG_CACHE_HOME"]) / "runtype-mcp").glob("*"))
