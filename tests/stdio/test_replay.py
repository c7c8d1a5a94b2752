"""The front must be unnoticeable: what it prints, and what the SDK prints after it, is what the SDK alone prints.

Most tests talk over pipes to a server in a thread of this process; those about the process itself start one.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

import anyio
import pytest
from mcp.server.stdio import stdio_server
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

import runtype_mcp
from runtype_mcp.server import RuntypeServer, build_server
from runtype_mcp.settings import load
from runtype_mcp.stdio import replay, transport
from runtype_mcp.stdio import reply_cache as caches
from runtype_mcp.stdio.replay import Front
from runtype_mcp.stdio.reply_cache import Cache
from runtype_mcp.stdio.transport import Conversation
from tests.support import KEY, MODERN, Api, accept, stdio_client

LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
CAPABILITIES: list[dict[str, Any]] = [
    {},
    {"elicitation": {}},
    {"elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": True}, "sampling": {}},
    {"experimental": {"x": {"y": [1, 2.5, None]}}, "extensions": {"com.example/ui": {"mimeTypes": ["text/html"]}}},
    {"tools": True, "logging": False, "unheard": "of"},
]
IDS = (0, 7, -3, 2**52, "a", "7", "b c,'d':{e}", "")
PATIENCE = 60  # seconds until a test gives up on a server

Serve = Callable[[int, int], None]


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


def id_of(line: str | bytes) -> str | None:
    """The id that a line asks or answers, as JSON; None if it does neither."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return json.dumps(message["id"]) if isinstance(message, dict) and "id" in message else None


def ids(lines: Iterable[str | bytes]) -> Counter[str]:
    return Counter(name for line in lines if (name := id_of(line)))


def converse(serve: Serve, chunks: list[bytes], wanted: Counter[str]) -> list[bytes]:
    """Say `chunks` to a server, hold on until all of `wanted` are answered, leave; all lines that it said."""
    source, ours = os.pipe()
    theirs, sink = os.pipe()

    def run() -> None:
        try:
            serve(source, sink)
        finally:
            os.close(sink)

    thread = threading.Thread(target=run)
    thread.start()
    said = b""
    try:
        for chunk in chunks:
            os.write(ours, chunk)
        while wanted - ids(said.splitlines()):
            assert select.select([theirs], [], [], PATIENCE)[0], (wanted, said)
            said += os.read(theirs, 65536)
    finally:
        os.close(ours)
        while more := os.read(theirs, 65536):
            said += more
        thread.join()
        os.close(theirs)
        os.close(source)
    return said.splitlines()


def say(serve: Serve, lines: list[str]) -> list[bytes]:
    """Say all lines at once, and wait for an answer to each that has an id."""
    return converse(serve, ["".join(f"{line}\n" for line in lines).encode()], ids(lines))


async def _serve(server: RuntypeServer, stdin: Any, stdout: Any) -> None:
    async with stdio_server(stdin, stdout) as (heard, said):
        sdk = server._lowlevel_server
        await sdk.run(heard, said, sdk.create_initialization_options())


class StdioPair:
    """One server, spoken to with the front and without."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runtype-mcp" / f"configuration{caches._SUFFIX}"
        self.server = build_server(load({"RUNTYPE_MCP_SANDBOX": "true"}))
        self.in_threads = False  # the SDK's way with a text file, which Windows and regular files still take
        self.answered = self.loaded = 0  # in how many conversations the front said something; and needed the SDK

    @property
    def cache(self) -> Cache:
        return Cache(str(self.path), "configuration")

    def alone(self, source: int, sink: int) -> None:
        """The SDK without a replay."""
        with (
            open(source, encoding="utf-8", errors="replace", closefd=False) as stdin,
            open(sink, "w", encoding="utf-8", closefd=False) as stdout,
        ):
            anyio.run(_serve, self.server, anyio.wrap_file(stdin), anyio.wrap_file(stdout))

    def fronted(self, source: int, sink: int) -> None:
        """The front, and the SDK behind it from the first line that the cache does not know."""
        begun = Front(self.cache, source, sink)
        left = begun.answer()
        self.answered += begun.state != ""
        if not left:
            self.loaded += 1
            conversation = Conversation(begun)
            file: Any = anyio.wrap_file(cast(TextIO, conversation))
            anyio.run(_serve, self.server, *((file, file) if self.in_threads else transport.files(conversation)))

    def warmed(self, *conversations: list[str]) -> "StdioPair":
        for lines in conversations:
            say(self.fronted, lines)
        self.loaded = 0
        return self


@pytest.fixture
def pair(tmp_path: Path) -> StdioPair:
    return StdioPair(tmp_path)


@pytest.fixture(scope="module")
def _known(tmp_path_factory: pytest.TempPathFactory) -> StdioPair:
    told = [hello("2024-11-05"), INITIALIZED, *LEGACY_START[2:]]
    return StdioPair(tmp_path_factory.mktemp("known")).warmed(LEGACY_START, MODERN_START, told)


@pytest.fixture
def known(_known: StdioPair, tmp_path: Path) -> StdioPair:
    """A pair whose cache knows the usual conversations."""
    known = copy(_known)
    known.path = tmp_path / _known.path.name
    known.path.write_bytes(_known.path.read_bytes())
    return known


class Process:
    """Our server as a process, spoken to in bytes."""

    def __init__(self, *argv: str, code: str = "", **environ: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("RUNTYPE")} | environ
        start = ["-c", code] if code else ["-m", "runtype_mcp"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, *start, *argv], stdin=pipe, stdout=pipe, stderr=pipe, env=env)
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.watchdog = threading.Timer(PATIENCE, self.process.kill)  # then `read` comes back empty
        self.watchdog.daemon = True
        self.watchdog.start()

    def send(self, *lines: str) -> None:
        os.write(self.stdin.fileno(), "".join(f"{line}\n" for line in lines).encode())

    def read(self, count: int) -> list[bytes]:
        return [self.stdout.readline() for _ in range(count)]

    def end(self) -> tuple[int, bytes, bytes]:
        """Close its input; its exit code, and what was left on its output and on stderr."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err

    def leave(self) -> None:
        self.process.kill()
        with self.process:  # closes its files, and waits
            self.watchdog.cancel()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts processes, and ends those that a test leaves."""
    started: list[Process] = []

    def start(*argv: str, **environ: str) -> Process:
        started.append(Process(*argv, **environ))
        return started[-1]

    yield start
    for process in started:
        process.leave()


def cache() -> list[Path]:
    return sorted((Path(os.environ["XDG_CACHE_HOME"]) / "runtype-mcp").iterdir())


# The same bytes


@pytest.mark.parametrize("capabilities", CAPABILITIES, ids=str)
@pytest.mark.parametrize("version", [*HANDSHAKE_PROTOCOL_VERSIONS, "1999-01-01", *MODERN_PROTOCOL_VERSIONS])
def test_the_front_prints_what_the_sdk_prints(pair: StdioPair, version: str, capabilities: dict[str, Any]) -> None:
    if version in MODERN_PROTOCOL_VERSIONS:
        told = envelope(version, capabilities)
        lines = [request(name, "tools/list", told) for name in IDS]
        lines += [request(method, method, told) for method in ("server/discover", *LISTS)]
    else:
        lines = [hello(version, capabilities), INITIALIZED, *(request(name, "tools/list") for name in IDS)]
        lines += [request(method, method) for method in LISTS] + [request("again", "tools/list", {})]
        lines += [request("ping", "ping"), hello(version, capabilities, 3), request(4, "tools/list")]
    expected = say(pair.alone, lines)
    assert len(expected) == len([line for line in lines if id_of(line)])
    assert sorted(say(pair.fronted, lines)) == sorted(expected)
    pair.loaded = 0
    assert sorted(say(pair.fronted, lines)) == sorted(expected)
    assert pair.loaded == 0


@pytest.mark.parametrize("lines", [LEGACY_START, MODERN_START], ids=["legacy", "modern"])
def test_a_process_prints_the_same_without_a_front_cold_and_warm(
    start: Callable[..., Process], lines: list[str]
) -> None:
    answers = []
    for environ in {"RUNTYPE_MCP_FAST_START": "off"}, {}, {"PYTHONPROFILEIMPORTTIME": "1"}:
        process = start("--sandbox", **environ)
        said = []
        for line in lines:
            process.send(line)
            said += process.read(1) if id_of(line) else []
        process.send(CALL)
        assert id_of(process.read(1)[0]) == '"call"'
        answers.append(said)
        assert process.end()[:2] == (0, b"")
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]


@pytest.mark.parametrize("token", [1, "one"])
def test_a_progress_token_makes_no_other_question(pair: StdioPair, token: Any) -> None:
    def lines(token: Any) -> list[str]:
        return [hello(), INITIALIZED, request(1, "tools/list", {"_meta": {"progressToken": token}})]

    pair.warmed(lines(5))
    assert say(pair.fronted, lines(token)) == say(pair.alone, lines(token))
    assert pair.loaded == 0


def test_the_order_of_keys_makes_no_other_question(pair: StdioPair) -> None:
    pair.warmed(LEGACY_START)
    shuffled = [json.dumps(dict(reversed(json.loads(line).items()))) for line in LEGACY_START]
    assert shuffled != LEGACY_START
    assert say(pair.fronted, shuffled) == say(pair.alone, LEGACY_START)
    assert pair.loaded == 0


# When in doubt, the SDK

ODD = [
    request(1, "tools/list", {"cursor": "2"}),
    request(1, "tools/list", {"cursor": None}),
    request(1, "tools/list", []),
    request(1, "tools/list", {"_meta": None}),
    request(1, "tools/list", {"_meta": {"progressToken": 1.5}}),
    request(1, "tools/list", {"_meta": {"progressToken": True}}),
    request(1, "tools/list", envelope()),
    request(1, "tools/list", envelope("2031-01-01")),
    request(1, "tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}),
    request(1, "server/discover"),
    request(1, "server/discover", envelope()),
    request(1, "no/such/method"),
    request(1, "initialize", {"protocolVersion": "2025-11-25"}),
    request(1, "initialize", {"protocolVersion": 3, "capabilities": {}, "clientInfo": {}}),
    hello("2024-11-05", name=1),
    hello(MODERN, name=1),
    request(1, "tools/list", extra=1),
    '{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1,"method":"tools\\/list"}',
    '{"jsonrpc":"2.0","id":-0,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1.0,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1e0,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":01,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":"\\u0061","method":"tools/list"}',
    '{"jsonrpc":"2.0","id":"\\u00e9\\n\\u2028\\u007f","method":"tools/list"}',
    '{"jsonrpc":"2.0","id":"\\ud800","method":"tools/list"}',
    '{"jsonrpc":"2.0","id":"a\\"b\\\\","method":"tools/list"}',
    request(2**64, "tools/list"),
    request(10**400, "tools/list"),
    request(True, "tools/list"),
    request(None, "tools/list"),
    request([1], "tools/list"),
    request("", "tools/list"),
    json.dumps({"jsonrpc": "1.0", "id": 1, "method": "tools/list"}),
    json.dumps({"id": 1, "method": "tools/list"}),
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": None}),
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": None}),
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "result": {}}),
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": ["tools/list"]}),
    json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}),
    json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}}),
    f"[{request(1, 'tools/list')}]",
    f"  {request(1, 'tools/list')}\t ",
    f"{request(1, 'tools/list')}\r",
    f"{request(1, 'tools/list')[:-1]}\r }}",
    f"{request(1, 'tools/list')} {request(2, 'tools/list')}",
    f"\ufeff{request(1, 'tools/list')}",
    f"\x0c{request(1, 'tools/list')}",
    request(1, "tools/list", {"x": float("nan")}),
    request(1, "tools/list", {"x": float("inf")}),
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":' + "[" * 100_000 + "]" * 100_000 + "}}",
    "",
    " ",
    "nonsense",
    "{}",
    "null",
    "true",
    notification("notifications/cancelled", {"requestId": "hello"}),
    notification("notifications/unheard_of"),
    notification("notifications/progress", {"progressToken": 1, "progress": 0.5}),
    notification("tools/list"),
    notification("notifications/initialized", {"_meta": 1}),
]
AFTER = [request("after", "ping", envelope()), request("then", "tools/list"), request("last", "ping")]


@pytest.mark.parametrize("start", [LEGACY_START, MODERN_START, []], ids=["legacy", "modern", "first"])
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_line_is_answered_as_the_sdk_answers_it(known: StdioPair, odd: str, start: list[str]) -> None:
    lines = [*start, odd, *AFTER]
    wanted = ids([*start, *AFTER])
    said = ["".join(f"{line}\n" for line in lines).encode()]
    expected = sorted(converse(known.alone, said, wanted))
    for _ in range(2):  # the second time, what was odd may be known
        assert sorted(converse(known.fronted, said, wanted)) == expected


@pytest.mark.parametrize(
    "lines",
    [
        [request(1, "tools/list"), hello(), request(2, "tools/list")],
        [request(1, "ping"), request(2, "tools/list"), hello(), request(3, "tools/list")],
        [request(1, "ping"), request(2, "tools/list", envelope())],
        [request(1, "ping"), INITIALIZED, request(2, "tools/list")],
        [INITIALIZED, request(1, "tools/list")],
        [notification("notifications/cancelled", {"requestId": 1})] * 9 + [INITIALIZED, request(1, "tools/list")],
        [*MODERN_START, hello(), request(1, "tools/list")],
        [*LEGACY_START, *(request(f"{method} again", method, envelope()) for method in LISTS)],
        [hello("2024-11-05"), request(1, "tools/list"), hello("2025-11-25", name=2), request(3, "tools/list")],
        [request(1, "initialize", {}), request(2, "tools/list"), hello(), request(3, "tools/list")],
    ],
    ids=range(10),
)
def test_the_same_questions_after_another_beginning_are_other_questions(known: StdioPair, lines: list[str]) -> None:
    expected = sorted(say(known.alone, lines))
    for _ in range(2):
        assert sorted(say(known.fronted, lines)) == expected


def test_an_error_is_never_kept(pair: StdioPair) -> None:
    pair.warmed([hello(), request(1, "tools/list", {"cursor": 3}), request(2, "prompts/list")])
    kept = pair.cache.load().values()
    assert len(kept) == 2
    assert not any("error" in result or "code" in result for result in kept)


@pytest.mark.parametrize(
    "line",
    [
        request(1, "ping"),
        request(1, "tools/call", {"name": "no_such_tool"}),
        '{"jsonrpc":"2.0","id":2,"id":1,"method":"ping"}',
        "nonsense",
    ],
)
def test_an_answer_is_kept_only_if_it_cannot_be_anothers(pair: StdioPair, line: str) -> None:
    source, ours = os.pipe()
    sink = os.open(os.devnull, os.O_WRONLY)
    conversation = Conversation(Front(pair.cache, source, sink))
    os.write(ours, f"{hello()}\n{request(1, 'tools/list')}\n{line}\n".encode())
    for _ in range(3):
        conversation.readline()
    conversation.write('{"jsonrpc":"2.0","id":1,"result":{}}\n')
    assert pair.cache.load() == {}
    for fd in source, ours, sink:
        os.close(fd)


@pytest.mark.parametrize(
    "lines",
    [
        [request(1, "ping"), hello(), INITIALIZED, request(2, "tools/list")],
        [INITIALIZED, request(2, "tools/list")],
        [*LEGACY_START, '{"jsonrpc":"2.0","id":2,"id":2,"method":"tools/list"}'],
    ],
    ids=["ping first", "a notification first", "a key twice"],
)
def test_what_is_in_doubt_is_never_kept(pair: StdioPair, lines: list[str]) -> None:
    for _ in range(2):
        say(pair.fronted, lines)
    assert pair.loaded == 2


def test_a_cancellation_that_comes_too_late_makes_no_other_question(known: StdioPair) -> None:
    late = notification("notifications/cancelled", {"requestId": "hello"})
    lines = [line for asked in LEGACY_START for line in (asked, late)]
    assert say(known.fronted, lines) == say(known.alone, LEGACY_START)
    assert known.loaded == 0


def test_every_handshake_is_told_again(pair: StdioPair) -> None:
    lines = [hello(), INITIALIZED, hello("2024-11-05", name=2), request(3, "tools/list")]
    pair.warmed(lines)
    source, ours = os.pipe()
    sink = os.open(os.devnull, os.O_WRONLY)
    begun = Front(pair.cache, source, sink)
    os.write(ours, "".join(f"{line}\n" for line in lines).encode())
    os.close(ours)
    assert begun.answer()
    assert [line for _, line in begun.retold] == lines[:3]
    os.close(source)
    os.close(sink)


def test_an_answer_is_not_taken_for_another_when_an_id_is_used_twice(pair: StdioPair) -> None:
    lines = [hello(), INITIALIZED, *[request(1, "prompts/list"), request(1, "ping")] * 3]
    say(pair.fronted, lines)
    clean = [hello(), INITIALIZED, request(2, "prompts/list"), request(3, "ping")]
    assert say(pair.fronted, clean) == say(pair.alone, clean)


# The hand-over


@pytest.mark.parametrize("start", [LEGACY_START, MODERN_START], ids=["legacy", "modern"])
def test_nothing_is_answered_twice(pair: StdioPair, start: list[str]) -> None:
    pair.warmed(start)
    later = [request("later", "prompts/list", envelope() if start is MODERN_START else None)]
    said = say(pair.fronted, [*start, CALL, *later])
    assert pair.loaded == 1
    assert ids(said) == ids([*start, CALL, *later])


def test_ids_may_be_used_again(pair: StdioPair) -> None:
    start = [hello(name=0), INITIALIZED, request(1, "tools/list"), request("1", "tools/list")]
    pair.warmed(start)
    again = [json.dumps(json.loads(CALL) | {"id": name}) for name in (0, 1, "1")]
    said = [json.loads(line) for line in say(pair.fronted, [*start, *again, CALL])]
    assert pair.loaded == 1
    for name in (0, 1, "1"):
        answers = [answer["result"] for answer in said if answer["id"] == name and type(answer["id"]) is type(name)]
        assert len(answers) == 2
        assert "isError" in answers[1]
        assert "isError" not in answers[0]


def test_a_cancelled_id_may_be_used_again(pair: StdioPair) -> None:
    pair.warmed(LEGACY_START)
    cancelled = [
        notification("notifications/cancelled", {"requestId": name}) for name in ("hello", "tools/list", "call")
    ]
    lines = [*LEGACY_START, *cancelled, CALL, json.dumps(json.loads(CALL) | {"id": "hello"})]
    assert ids(say(pair.fronted, lines)) == ids(lines)


def test_a_conversation_goes_on_however_it_is_cut(pair: StdioPair) -> None:
    pair.warmed(LEGACY_START)
    lines = [*LEGACY_START, CALL, request("é", "ping"), request("end", "ping")]
    said = "".join(f"{line}\n" for line in lines).encode().replace(b"\\u00e9", "é".encode())
    wanted = ids(lines)
    expected = sorted(converse(pair.alone, [said], wanted))
    assert sorted(converse(pair.fronted, [said[n : n + 1] for n in range(len(said))], wanted)) == expected
    assert sorted(converse(pair.fronted, [said], wanted)) == expected


def test_a_last_line_without_an_end_is_a_line(pair: StdioPair) -> None:
    pair.warmed(LEGACY_START)
    expected = say(pair.alone, [hello()])
    for _ in range(3):
        assert converse(pair.fronted, [hello().encode()], Counter()) == expected
    assert pair.loaded == 3


def test_a_long_line_is_left_to_the_sdk(known: StdioPair) -> None:
    long = request("long", "tools/call", {"name": "x" * 100_000, "arguments": {"y": "é" * 30_000}})
    assert say(known.fronted, [*LEGACY_START, long]) == say(known.alone, [*LEGACY_START, long])
    source, ours = os.pipe()
    begun = Front(known.cache, source)
    thread = threading.Thread(target=os.write, args=(ours, long.encode()))
    thread.start()
    assert not begun.answer()
    assert 2 * replay._LONGEST >= len(begun.unread) > replay._LONGEST
    while thread.is_alive() or select.select([source], [], [], 0)[0]:
        os.read(source, 65536)
    os.close(ours)
    os.close(source)


def test_many_notifications_end_the_front_and_none_is_lost(pair: StdioPair) -> None:
    many = [*LEGACY_START, *[INITIALIZED] * 50, *(request(n, "tools/list") for n in range(3))]
    pair.warmed(many)
    assert sorted(say(pair.fronted, many)) == sorted(say(pair.alone, many))
    assert pair.loaded == 1


@pytest.mark.anyio
async def test_a_person_is_asked_after_a_warm_start(api: Api, era: str) -> None:
    settings = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url}
    for _ in range(2):
        async with stdio_client([], era, accept("Shop"), **settings) as model:
            await model.client.list_tools()
            token = await model.create()
            arguments = {"client_token": token["id"], "confirm": True, "expected_name": "Shop"}
            result = await model.call("delete_client_token", **arguments)
            assert not result.is_error
            assert len(model.asked) == 1
    assert [write[0] for write in api.writes] == ["POST", "DELETE"] * 2
    assert len(cache()) == 1


def test_what_the_server_asks_and_notifies_passes(pair: StdioPair) -> None:
    theirs, sink = os.pipe()
    conversation = Conversation(Front(pair.cache, 0, sink))
    conversation._asked = {"1": "question"}
    for text in notification("notifications/progress"), request(1, "elicitation/create", {"result": {}}), CALL:
        assert conversation.write(f"{text}\n") == len(text) + 1
        assert os.read(theirs, 65536).decode() == f"{text}\n"
    assert conversation._asked == {"1": "question"}
    os.close(theirs)
    assert conversation.write("nobody listens\n") == 0
    os.close(sink)


# The process


@pytest.fixture
def warm(start: Callable[..., Process]) -> Callable[..., Process]:
    """Starts the sandbox, which was started before."""
    process = start("--sandbox")
    for line in LEGACY_START:
        process.send(line)
        if id_of(line):
            process.read(1)
    process.end()
    return partial(start, "--sandbox")


def test_a_warm_start_loads_next_to_nothing(warm: Callable[..., Process]) -> None:
    process = warm(PYTHONPROFILEIMPORTTIME="1")
    process.send(*LEGACY_START)
    assert len(process.read(5)) == 5
    code, _, err = process.end()
    assert code == 0
    loaded = {line.rsplit("|", 1)[1].strip() for line in err.decode().splitlines()}
    assert "runtype_mcp.stdio.replay" in loaded
    alone = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "this"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    started = {line.rsplit("|", 1)[1].strip() for line in alone.stderr.decode().splitlines()}
    ours = {"runtype_mcp", *(f"runtype_mcp.{room}" for room in ("cli", "front", "cache"))}
    assert loaded - started <= ours | {"__future__", "_blake2", "_json"}


def test_without_the_modules_in_c_it_answers_alike(start: Callable[..., Process], pair: StdioPair) -> None:
    code = """
import sys
import hashlib
sys.modules["_json"] = sys.modules["_blake2"] = None  # as on PyPy, and on a Python that is built for FIPS
from runtype_mcp import cli
code = cli.main(["--sandbox"])
sys.stderr.write("loaded" if "mcp" in sys.modules else "not loaded")
sys.exit(code)
"""
    expected = sorted(line + b"\n" for line in say(pair.alone, LEGACY_START))
    for loaded in b"loaded", b"not loaded":
        process = start(code=code)
        process.send(*LEGACY_START)
        assert sorted(process.read(len(expected))) == expected
        assert process.end() == (0, b"", loaded)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors")
def test_an_input_that_holds_nothing_is_a_client_that_has_left(start: Callable[..., Process]) -> None:
    silent = "import os, sys; os.dup2(os.open(os.devnull, os.O_RDWR), 0); os.execv(sys.executable, sys.argv)"
    for _ in range(2):
        process = start(code=silent.replace("sys.argv", "[sys.executable, '-m', 'runtype_mcp', '--sandbox']"))
        assert process.end() == (0, b"", b"")


def test_leaving_at_once_is_no_error(warm: Callable[..., Process]) -> None:
    assert warm().end() == (0, b"", b"")


def test_a_closed_output_ends_it_quietly(warm: Callable[..., Process]) -> None:
    process = warm()
    process.stdout.close()
    process.send(hello())
    assert process.process.wait() == 0
    assert process.process.stderr
    assert process.process.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("lines", [[], [*LEGACY_START, CALL]], ids=["front", "sdk"])
def test_an_interrupt_ends_it_at_once_without_a_traceback(warm: Callable[..., Process], lines: list[str]) -> None:
    process = warm()
    process.send(hello(), *lines)
    process.read(1 + len([line for line in lines if id_of(line)]))
    process.process.send_signal(signal.SIGINT)
    assert process.process.wait() == -signal.SIGINT
    assert process.end()[1:] == (b"", b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_handlers_print_and_children_read_stays_off_the_wire(
    start: Callable[..., Process], unbuffered: str
) -> None:
    code = """
import os, sys
from runtype_mcp import cli, server
build = server.build_server
def noisy(settings):
    print("printed early", flush=True)
    made = build(settings)
    async def list_tools():
        print("printed")  # and not flushed
        os.write(1, b"written\\n")
        os.system("cat; echo said by a child")
        return []
    made.list_tools = list_tools
    return made
server.build_server = noisy
sys.exit(cli.main(["--sandbox"]))
"""
    process = start(code=code, PYTHONUNBUFFERED=unbuffered)
    process.send(hello(), INITIALIZED, request(1, "tools/list"))
    assert [id_of(line) for line in process.read(2)] == ['"hello"', "1"]
    exit_code, out, err = process.end()
    assert (exit_code, out) == (0, b"")
    assert sorted(err.decode().splitlines()) == ["printed", "printed early", "said by a child", "written"]


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors")
def test_a_closed_stderr_is_no_trouble(start: Callable[..., Process]) -> None:
    again = "os.execv(sys.executable, [sys.executable, '-m', 'runtype_mcp', '--sandbox'])"
    for _ in range(2):
        process = start(code=f"import os, sys; os.close(2); {again}")
        process.send(hello(), CALL)
        assert [id_of(line) for line in process.read(2)] == ['"hello"', '"call"']
        assert process.end() == (0, b"", b"")


@pytest.mark.parametrize(
    "bad",
    [
        {"RUNTYPE_API_KEY": "rt_test_1 2"},
        {"RUNTYPE_API_KEY": "ct_live_1"},
        {"RUNTYPE_API_KEY": "bearer  ct_test_1"},
        {"RUNTYPE_API_KEY": "Bearer rt_é"},
        {"RUNTYPE_MCP_TIMEOUT": "soon"},
        {"RUNTYPE_MCP_FILES_ROOT": "/no/such/directory"},
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_with_a_warm_cache(start: Callable[..., Process], bad: dict[str, str]) -> None:
    process = start(RUNTYPE_API_KEY="rt_test_1")
    process.send(hello())
    process.read(1)
    process.end()
    code, out, err = start(**{"RUNTYPE_API_KEY": "rt_test_1"} | bad).end()
    assert (code, out) == (2, b"")
    assert err.startswith(b"runtype-mcp: RUNTYPE_")


def test_a_directory_that_is_gone_is_refused_with_a_warm_cache(start: Callable[..., Process], tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    process = start("--sandbox", RUNTYPE_MCP_FILES_ROOT=str(root))
    process.send(hello())
    process.read(1)
    process.end()
    assert len(cache()) == 1
    root.rmdir()
    code, out, err = start("--sandbox", RUNTYPE_MCP_FILES_ROOT=str(root)).end()
    assert (code, out, err) == (2, b"", b"runtype-mcp: RUNTYPE_MCP_FILES_ROOT must be an existing directory.\n")


# The cache


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("RUNTYPE"):
            monkeypatch.delenv(name)
    return monkeypatch


def test_the_key_makes_no_other_configuration_and_is_nowhere_on_disk(start: Callable[..., Process]) -> None:
    for key in "rt_test_one", " rt_live_two ", "Bearer rt_test_three":
        process = start(RUNTYPE_API_KEY=key)
        process.send(hello())
        process.read(1)
        process.end()
    (file,) = cache()
    assert not any(word in file.read_bytes() for word in (b"rt_", b"one", b'"test"'))


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
def test_the_cache_is_its_owners_alone(warm: Callable[..., Process]) -> None:
    (file,) = cache()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_written_is_no_error(start: Callable[..., Process], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = start("--sandbox", XDG_CACHE_HOME=str(tmp_path / "file"))
    process.send(*LEGACY_START, CALL)
    assert len(process.read(6)) == 6
    assert process.end() == (0, b"", b"")


def test_without_a_front_nothing_is_kept(start: Callable[..., Process]) -> None:
    process = start("--sandbox", RUNTYPE_MCP_FAST_START="off")
    process.send(hello())
    process.read(1)
    process.end()
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


@pytest.mark.parametrize(
    "change", ["setting", "argument", "key", "source", "version", "mcp", "shadow", "order", "python", "flags"]
)
def test_another_configuration_is_another_cache(change: str, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "package" / "room"
    package.mkdir(parents=True)
    (package / "module.py").write_text("1")
    (tmp_path / "site" / "mcp-2.3.0.dist-info").mkdir(parents=True)
    environ.setattr(caches, "__file__", str(package.parent / "front.py"))
    environ.setattr(sys, "path", ["/no/such/place", str(tmp_path / "site")])
    before = caches._configuration([])
    assert before
    assert caches._configuration([]) == before
    match change:
        case "setting":
            environ.setenv("RUNTYPE_MCP_APPROVAL", "human")
        case "key":
            environ.setenv("RUNTYPE_API_KEY", "rt_test_1")
        case "source":
            (package / "module.py").write_text("1 ")
        case "version":
            environ.setattr(caches, "__version__", "next")
        case "mcp":
            (tmp_path / "site" / "mcp-2.3.0.dist-info").rename(tmp_path / "site" / "mcp-2.3.1.dist-info")
        case "flags":  # -OO takes the docstrings, which are the tools' descriptions
            environ.setattr(sys, "flags", (2,))
        case "shadow":  # a folder of that name in the working directory is what is imported
            (tmp_path / "here" / "mcp").mkdir(parents=True)
            environ.setattr(sys, "path", [str(tmp_path / "here"), *sys.path])
        case "order":
            (tmp_path / "other" / "mcp-2.3.0.dist-info").mkdir(parents=True)
            environ.setattr(sys, "path", [*sys.path, str(tmp_path / "other")])
            before = caches._configuration([])
            environ.setattr(sys, "path", sys.path[::-1])
        case "python":
            environ.setattr(sys, "version", "next")
    after = caches._configuration(["--read-only"] if change == "argument" else [])
    assert after
    assert after != before


def test_an_empty_setting_is_an_unset_one(environ: pytest.MonkeyPatch) -> None:
    before = caches._configuration([])
    environ.setenv("RUNTYPE_MCP_AUDIT", " ")
    environ.setenv("SOMETHING_ELSE", "changes nothing")
    assert caches._configuration([]) == before != ""


def test_the_working_directory_shapes_no_answer(pair: StdioPair, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [*LEGACY_START, request(1, "ping")]
    here = say(pair.alone, lines)
    monkeypatch.chdir("/")
    pair.server = build_server(load({"RUNTYPE_MCP_SANDBOX": "true"}))
    assert say(pair.alone, lines) == here


def test_without_the_version_of_the_sdk_there_is_no_front(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ.setattr(sys, "path", [str(tmp_path)])
    assert caches._configuration([]) == ""


@pytest.mark.parametrize("damage", ["cut", "flip", "append", "empty", "bytes", "configuration", "directory"])
def test_a_damaged_cache_is_replaced(pair: StdioPair, damage: str) -> None:
    pair.warmed(LEGACY_START)
    whole = pair.path.read_bytes()
    match damage:
        case "cut":
            pair.path.write_bytes(whole[:-1])
        case "flip":
            pair.path.write_bytes(whole.replace(b"listChanged", b"listchanged", 1))
        case "append":
            pair.path.write_bytes(whole + b"\n")
        case "empty":
            pair.path.write_bytes(b"")
        case "bytes":
            pair.path.write_bytes(b"\xff" + whole)
        case "configuration":
            digest = caches.digest("another", whole.decode().partition("\n")[2])
            pair.path.write_bytes(digest.encode() + whole[whole.index(b"\n") :])
        case "directory":
            pair.path.unlink()
            pair.path.mkdir()
    assert pair.cache.load() == {}
    assert say(pair.fronted, LEGACY_START) == say(pair.alone, LEGACY_START)
    assert pair.loaded == 1
    if damage != "directory":
        assert pair.path.read_bytes() == whole


@pytest.mark.skipif(sys.platform == "win32", reason="owners and modes")
def test_a_cache_that_another_user_could_have_written_is_not_believed(
    pair: StdioPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.warmed(LEGACY_START)
    assert pair.cache.load()
    pair.path.chmod(0o620)
    assert pair.cache.load() == {}
    pair.path.chmod(0o600)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert pair.cache.load() == {}


@pytest.mark.skipif(sys.platform == "win32", reason="special files")
def test_a_cache_that_is_no_file_is_not_read(pair: StdioPair) -> None:
    pair.path.parent.mkdir()
    os.mkfifo(pair.path)
    assert pair.cache.load() == {}
    pair.path.unlink()
    pair.path.symlink_to("/dev/zero")
    assert pair.cache.load() == {}


def test_an_answer_that_is_known_is_not_written_again(pair: StdioPair) -> None:
    lines = [*LEGACY_START, *(request(n, "ping") for n in range(9))]
    pair.warmed(lines)
    written = pair.path.stat().st_ino
    say(pair.fronted, [*lines, CALL, *lines[2:]])
    assert pair.path.stat().st_ino == written


def test_a_server_that_is_replaced_while_it_waits_says_so(
    start: Callable[..., Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would load from here on is another version's."""
    package = tmp_path / "site" / "runtype_mcp"
    shutil.copytree(Path(runtype_mcp.__file__).parent, package)
    monkeypatch.chdir(package.parent)  # where -m looks first
    for asked in (True, False):
        process = start("--sandbox", COVERAGE_PROCESS_START="")  # the copy is not what is to be covered
        process.send(*LEGACY_START)
        assert len(process.read(5)) == 5
        if asked:
            process.end()
    (package / "results.py").write_text("raise AssertionError('of another version')\n")
    process.send(CALL)
    assert process.read(1) == [b""]
    code, out, err = process.end()
    assert (code, out, err.count(b"\n")) == (1, b"", 1)
    assert b"Start it again" in err


def test_the_cache_stays_small(pair: StdioPair) -> None:
    pair.path.parent.mkdir()
    other = pair.path.parent / "not ours"
    other.touch()
    for n in range(20):
        (pair.path.parent / f"{n}{caches._SUFFIX}").touch()
        os.utime(pair.path.parent / f"{n}{caches._SUFFIX}", (n, n))
    for n in range(40):
        say(pair.fronted, [hello(capabilities={"experimental": {str(n): {}}}), request(1, "ping")])
    assert len(pair.cache.load()) == caches._KEPT
    left = {file.name for file in pair.path.parent.iterdir()}
    assert len(left) == caches._FILES + 1
    assert {other.name, pair.path.name, f"19{caches._SUFFIX}"} <= left
    assert f"0{caches._SUFFIX}" not in left


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "~/.cache/runtype-mcp"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/runtype-mcp"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/runtype-mcp"),
        ("darwin", {}, "~/Library/Caches/runtype-mcp"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/runtype-mcp"),
        ("win32", {}, ""),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in "XDG_CACHE_HOME", "LOCALAPPDATA":
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert caches._folder() == os.path.expanduser(expected)


def test_a_pipe_that_does_not_block_loses_nothing() -> None:
    theirs, sink = os.pipe()
    os.set_blocking(sink, False)
    text = "x" * 1_000_000 + "\n"
    thread = threading.Thread(target=replay.send, args=(sink, text))
    thread.start()
    said = b""
    while len(said) < len(text):
        said += os.read(theirs, 65536)
    thread.join()
    assert said.decode() == text
    os.close(theirs)
    os.close(sink)
