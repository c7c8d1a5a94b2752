"""Whatever a client says, it hears the same: from a cold start, from a warm one, and without the fast start.

The neighbours look at the fast start inside this process, where everything is loaded already. What a process has not
loaded yet can make it answer otherwise, or end, so here every warm server is a process that has loaded nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from tests.processes import SECONDS, environment

if sys.platform == "win32":
    pytest.skip("fork, and descriptors over a socket", allow_module_level=True)

SETTING = "RUNTYPE_MCP_FAST_START"

CLIENT = {"name": "test", "version": "1"}
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


def request(name: object, method: object, params: object = None) -> str:
    message = {"jsonrpc": "2.0", "id": name, "method": method} | ({} if params is None else {"params": params})
    return json.dumps(message)


def notification(method: str, params: object = None) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params}))


def hello(version: str = "2025-11-25", name: object = "hello") -> str:
    return request(name, "initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT})


def envelope(version: str = "2026-07-28") -> dict[str, Any]:
    """What a client that makes no handshake says with every request."""
    told = {"protocolVersion": version, "clientCapabilities": {}, "clientInfo": CLIENT}
    return {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in told.items()}}


START = [hello(), notification("notifications/initialized")]
LEGACY_START = [*START, *(request(method, method) for method in LISTS)]
MODERN_START = [request(method, method, envelope()) for method in ("server/discover", *LISTS)]
INITIALIZED = START[1]
LIST = request(1, "tools/list")
CALL = request("call", "tools/call", {"name": "list_client_tokens", "arguments": {}})
END = request("the end", "tools/list")
MODERN_LIST = request(1, "tools/list", envelope())
MODERN_CALL = request("call", "tools/call", {"name": "list_client_tokens", "arguments": {}} | envelope())
MODERN_END = request("the end", "tools/list", envelope())


def odd(line: str) -> bytes:
    """A line of which nobody here knows whether it is answered by its id."""
    return f"{line}\n".encode()


def named(name: str) -> bytes:
    """A question for the tools with any text for an id."""
    return odd(f'{{"jsonrpc":"2.0","id":{name},"method":"tools/list"}}')


def listing(params: str) -> bytes:
    """A question for the tools with any text for params."""
    return odd(f'{{"jsonrpc":"2.0","id":"odd","method":"tools/list","params":{params}}}')


def calling(arguments: str) -> bytes:
    """A call with any text for arguments."""
    params = f'{{"name":"list_client_tokens","arguments":{arguments}}}'
    return odd(f'{{"jsonrpc":"2.0","id":"odd","method":"tools/call","params":{params}}}')


def meta(text: str) -> bytes:
    return listing(f'{{"_meta":{text}}}')


def token(text: str) -> bytes:
    return meta(f'{{"progressToken":{text}}}')


def nested(levels: int) -> str:
    return f'{{"x":{"[" * levels}{"]" * levels}}}'


def asking(meta: object) -> str:
    return request("meta", "tools/list", {"_meta": meta})


def cancelled(name: object) -> str:
    return notification("notifications/cancelled", {"requestId": name})


RESULT = '{"jsonrpc":"2.0","id":1,"result":{}}'
ERROR = '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}'
TWO_KEYS = '{"jsonrpc":"2.0","id":"odd","id":2,"method":"ping","method":"tools/list"}'
ESCAPED = '{"params":{},"\\u006dethod":"tools\\/list","id":2,"jsonrpc":"2.0"}'
HALF_AN_ENVELOPE = listing('{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}')
DIGITS, LONG = "7" * 5000, "y" * 70_000
LATIN_1 = calling('{"name_contains":"Caf*"}').replace(b"*", b"\xe9")

CONVERSATIONS: dict[str, list[str | bytes]] = {
    # What most clients say
    "a handshake and all lists": [*LEGACY_START],
    "all lists without a handshake": [*MODERN_START],
    "a call": [*LEGACY_START, CALL, END],
    "a call without a handshake": [*MODERN_START, MODERN_CALL, MODERN_END],
    # The order of things
    "a ping before the handshake": [request(1, "ping"), *START, request(2, "ping"), END],
    "a list before the handshake": [LIST, *START, END],
    "a list before the handshake is done": [hello(), LIST, INITIALIZED, END],
    "a handshake twice": [*START, INITIALIZED, LIST, hello(), INITIALIZED, END],
    "another handshake the second time": [*START, LIST, hello("2024-11-05", name=2), END],
    "the end of a handshake that never began": [INITIALIZED, odd(LIST), *START, END],
    "a handshake for a version that never was": [hello("1999-01-01"), INITIALIZED, END],
    "a handshake without its params": [odd(request("odd", "initialize", {})), *START, END],
    "an envelope after a handshake": [*START, LIST, request(2, "tools/list", envelope()), END],
    "a handshake after an envelope": [*MODERN_START, *START, END],
    # Ids
    "one id for everything": [*START, LIST, request(1, "prompts/list"), LIST, request(1, "ping"), END],
    "ids that look alike": [*START, LIST, *(request(name, "tools/list") for name in ("1", "", 0, -1)), END],
    "an id of null": [*START, named("null"), END],
    "ids of no known kind": [*START, named("1.5"), named("true"), named("[1]"), named("{}"), END],
    "ids beyond all bounds": [*START, named(str(2**64)), named(str(10**400)), END],
    "half a character in an id": [*START, named('"\\ud800"'), END],
    # Methods, params and what surrounds them
    "unknown methods": [*START, notification("notifications/x"), request(2, "no/such/method"), notification("x"), END],
    "an unknown method without a handshake": [MODERN_LIST, request(2, "no/such/method", envelope()), MODERN_END],
    "methods that are none": [*START, *map(odd, (request("odd", ""), '{"jsonrpc":"2.0","id":"odd"}', "{}")), END],
    "answers that nobody asked for": [*START, odd(RESULT), odd(ERROR), END],
    "no version of JSON-RPC": [*START, odd('{"id":"odd","method":"tools/list"}'), END],
    "another version of JSON-RPC": [*START, odd('{"jsonrpc":"1.0","id":"odd","method":"tools/list"}'), END],
    "cursors": [*START, LIST, listing('{"cursor":null}'), request(2, "tools/list", {"cursor": "2"}), END],
    "progress tokens": [*START, *(asking({"progressToken": token}) for token in (1, "one")), END],
    "odd progress tokens": [*START, token("1.5"), token("null"), token("[]"), END],
    "odd _meta": [*START, asking({"x": {}}), asking({}), meta("null"), meta("7"), meta("[]"), END],
    "odd params": [*START, listing("[]"), listing("7"), listing("null"), END],
    "odd envelopes": [MODERN_LIST, HALF_AN_ENVELOPE, odd(request(2, "tools/list", envelope("2031-01-01"))), MODERN_END],
    "a key twice": [*START, odd(TWO_KEYS), END],
    "escapes, and keys in another order": [*START, LIST, ESCAPED, END],
    # Cancelled
    "what was answered is cancelled": [*START, LIST, cancelled(1), END],
    "what was never asked is cancelled": [*START, cancelled(9), cancelled("1"), cancelled(None), END],
    # What is hardly JSON
    "no JSON": [*LEGACY_START, b"{nope\n", END],
    "no JSON at first": [b"{nope\n", *START, END],
    "words, and other JSON": [*START, b"hello\n", b'"hello"\n', b"7\n", b"null\n", b"NaN\n", END],
    "a batch": [*START, odd(f"[{LIST},{request(2, 'ping')}]"), b"[]\n", END],
    "half a message, and two on a line": [*START, odd(LIST[:-9]), b"{\n", odd(f"{LIST} {LIST}"), END],
    "half a character": [*START, listing('{"x":"\\ud800"}'), calling('{"name_contains":"\\udfff"}'), CALL, END],
    "300 levels": [*START, listing(nested(300)), calling(nested(300)), CALL, END],
    "30,000 levels": [*START, listing(nested(30_000)), END],
    "an integer of 5,000 digits": [*START, listing(f'{{"x":{DIGITS}}}'), calling(f'{{"limit":{DIGITS}}}'), CALL, END],
    "numbers that JSON lacks": [*START, listing('{"x":NaN}'), calling('{"limit":-Infinity}'), CALL, END],
    # Bytes
    "bytes that are no text": [*START, LATIN_1, b"\xff\xfe\n", b"\xc3\x28\n", b"\0\n", CALL, END],
    "a mark of the order of bytes": [odd(f"\ufeff{hello(name='odd')}"), *START, odd(f"\ufeff{LIST}"), END],
    "lines that end as on Windows": [*(f"{line}\r\n".encode() for line in LEGACY_START), END],
    "lines that end as on old Macs": [*(f"{line}\r".encode() for line in LEGACY_START), b"\n", END],
    "lines in pieces": [*START, LIST[:20].encode(), LIST[20:].encode(), b"\n", END],
    "spaces and empty lines": [b"\n\n", *START, f"  {LIST}\t ", b" \n", odd(f"\x0c{LIST}"), END],
    "70,000 characters": [*START, asking({"x": LONG}), calling(f'{{"x":"{LONG}"}}'), CALL, END],
    "70,000 characters of nothing": [*START, odd(LONG), END],
    # Leaving in the middle
    "nothing": [],
    "half a message and no more": [b"{"],
    "half a message at the end": [*START, LIST, LIST[:20].encode()],
    "a notification whose line does not end": [*START, LIST, notification("notifications/x").encode()],
}
"""A text is a line, and what follows it waits for its answer, if it has an id. Bytes are said as they are, and nothing
waits: some of these are not answered, and those that are, are before the last text is.
"""


class Heard(NamedTuple):
    """What came of a conversation: every line that the server said, its exit code, and a traceback on stderr."""

    answers: list[bytes]
    code: int
    traceback: str


class Process(Protocol):
    def wait(self) -> int: ...

    def kill(self) -> None: ...


Start = Callable[[int, int, int], Process]
"""Starts a server with these as stdin, stdout and stderr."""


def fresh(stdin: int, stdout: int, stderr: int) -> Process:
    """A server as a host starts it."""
    command = [sys.executable, "-m", "runtype_mcp"]
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment())


class Loaded:
    """A process that has loaded all that a server loads, and becomes one by forking.

    To load it is nearly all the time that a server takes. Without the fast start, and where that knows no answer yet,
    a server hears nothing before it has loaded the same, so it hears the same from here.
    """

    _PROGRAM = """
import json, os, socket, sys
import mcp.server.stdio, runtype_mcp.commands, runtype_mcp.server
from runtype_mcp.cli import run
orders = socket.socket(fileno=int(sys.argv.pop()))
while (order := socket.recv_fds(orders, 65536, 3))[0]:
    if not (child := os.fork()):
        orders.close()
        os.environ.update(json.loads(order[0]))
        for number, fd in enumerate(order[1]):
            os.dup2(fd, number)
            os.close(fd)
        run()
    for fd in order[1]:
        os.close(fd)
    orders.sendall(child.to_bytes(4, "big"))
    orders.sendall(bytes([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255]))
"""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._orders.settimeout(SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", self._PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,  # as what takes their place: Python's own files know what kind they are
                stdout=subprocess.PIPE,
                env=environment(),
            )
        self._child = 0

    def starting(self, **environ: str) -> Start:
        def start(stdin: int, stdout: int, stderr: int) -> Process:
            own = {name: os.environ[name] for name in ("RUNTYPE_MCP_STATE_DIR", "XDG_CACHE_HOME")}
            socket.send_fds(self._orders, [json.dumps(own | environ).encode()], [stdin, stdout, stderr])
            self._child = int.from_bytes(self._orders.recv(4), "big")
            return self

        return start

    def wait(self) -> int:
        return self._orders.recv(1)[0]

    def kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        self.wait()  # or the next one would hear of its end

    def leave(self) -> None:
        self._orders.close()
        self._process.communicate()


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    loaded = Loaded()
    yield loaded
    loaded.leave()


def answered(heard: bytes) -> Counter[str]:
    """How often each id was answered. The last line may be a part of one."""
    *lines, _ = heard.split(b"\n")
    return Counter(json.dumps(json.loads(line).get("id")) for line in lines)


def converse(start: Start, lines: list[str | bytes], errors: Path) -> Heard:
    """Say `lines` to a server that `start` starts, and hear it to its end."""
    source, ours = os.pipe()
    theirs, sink = os.pipe()
    with errors.open("wb") as stderr:
        process = start(source, sink, stderr.fileno())
    os.close(source)
    os.close(sink)
    heard = b""

    def listen() -> bool:
        nonlocal heard
        assert select.select([theirs], [], [], SECONDS)[0], f"it says nothing after {heard[-2000:]!r}"
        heard += (more := os.read(theirs, 65536))
        return more != b""

    try:
        wanted: Counter[str] = Counter()
        with suppress(BrokenPipeError):  # it has ended: its exit code tells
            for line in lines:
                os.write(ours, line if isinstance(line, bytes) else f"{line}\n".encode())
                if isinstance(line, str) and "id" in (message := json.loads(line)):
                    wanted[json.dumps(message["id"])] += 1
                while wanted - answered(heard) and listen():
                    pass
        os.close(ours)
        while listen():
            pass
        code = process.wait()
    except BaseException:
        process.kill()
        raise
    finally:
        os.close(theirs)
    said = errors.read_text(errors="replace")
    return Heard(sorted(heard.splitlines()), code, said[said.find("Traceback") :] if "Traceback" in said else "")


def kept() -> list[str]:
    """The files of answers that the fast start has."""
    folder = Path(os.environ["XDG_CACHE_HOME"], "runtype-mcp")
    return os.listdir(folder) if folder.exists() else []


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_is_the_same_cold_warm_and_without_the_fast_start(
    name: str, loaded: Loaded, tmp_path: Path
) -> None:
    lines = CONVERSATIONS[name]
    plain = converse(loaded.starting(**{SETTING: "off"}), lines, tmp_path / "plain")
    assert not kept()
    # Who begins oddly meets a server that has loaded nothing, should it ever look at a line before it has.
    begins_oddly = bool(lines) and isinstance(lines[0], bytes)
    cold = converse(fresh if begins_oddly else loaded.starting(), lines, tmp_path / "cold")
    files = kept()
    warm = converse(fresh, lines, tmp_path / "warm")
    assert kept() == files  # or it was another cold one
    assert [heard[1:] for heard in (plain, cold, warm)] == [(0, "")] * 3
    assert cold == plain
    assert warm == plain
