"""The replay is unnoticeable: what it prints, and what the SDK prints after it, is what the SDK alone prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from runtype_mcp.stdio.replay import Replay, classify, send
from tests.processes import SECONDS, environment, started
from tests.stdio.sessions import (
    CALL,
    INITIALIZED,
    LEGACY_START,
    LISTS,
    MODERN_START,
    StdioPair,
    ask,
    converse,
    end,
    envelope,
    hello,
    id_of,
    ids,
    in_time,
    lines_of,
    notification,
    pipe,
    read_some,
    request,
    say,
    warm_up,
)
from tests.support import MODERN

CAPABILITIES: list[dict[str, Any]] = [
    {},
    {"elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": True}, "sampling": {}},
    {"experimental": {"x": {"y": [1, 2.5, None]}}, "extensions": {"com.example/ui": {"mimeTypes": ["text/html"]}}},
    {"tools": True, "logging": False, "unheard": "of"},
]
IDS = (0, 7, -3, 2**52, "a", "7", "b c,'d':{e}", "")


@pytest.fixture
def pair(tmp_path: Path) -> StdioPair:
    return StdioPair(tmp_path)


@pytest.fixture(scope="module")
def _known(tmp_path_factory: pytest.TempPathFactory) -> StdioPair:
    told = [hello("2024-11-05"), INITIALIZED, *LEGACY_START[2:]]
    return StdioPair(tmp_path_factory.mktemp("known")).warmed(LEGACY_START, MODERN_START, told)


@pytest.fixture
def known(_known: StdioPair, tmp_path: Path) -> StdioPair:
    """A pair whose cache knows the usual sessions."""
    known = copy(_known)
    known.path = tmp_path / _known.path.name
    known.path.write_bytes(_known.path.read_bytes())
    return known


@pytest.mark.parametrize("capabilities", CAPABILITIES, ids=str)
@pytest.mark.parametrize("version", [*HANDSHAKE_PROTOCOL_VERSIONS, "1999-01-01", *MODERN_PROTOCOL_VERSIONS])
def test_the_replay_prints_what_the_sdk_prints(pair: StdioPair, version: str, capabilities: dict[str, Any]) -> None:
    if version in MODERN_PROTOCOL_VERSIONS:
        told = envelope(version, capabilities)
        lines = [request(name, "tools/list", told) for name in IDS]
        lines += [request(method, method, told) for method in ("server/discover", *LISTS)]
    else:
        lines = [hello(version, capabilities), INITIALIZED, *(request(name, "tools/list") for name in IDS)]
        lines += [request(method, method) for method in LISTS] + [request("again", "tools/list", {})]
        lines += [request("ping", "ping"), hello(version, capabilities, 3), request(4, "tools/list")]
    expected = sorted(say(pair.sdk, lines))
    assert len(expected) == len([line for line in lines if id_of(line)])
    assert sorted(say(pair.replayed, lines)) == expected
    pair.sdk_sessions = 0
    assert sorted(say(pair.replayed, lines)) == expected
    assert pair.sdk_sessions == 0


@pytest.mark.parametrize("token", [1, "one"])
def test_a_progress_token_does_not_make_another_request(pair: StdioPair, token: Any) -> None:
    def lines(token: Any) -> list[str]:
        return [hello(), INITIALIZED, request(1, "tools/list", {"_meta": {"progressToken": token}})]

    pair.warmed(lines(5))
    assert say(pair.replayed, lines(token)) == say(pair.sdk, lines(token))
    assert pair.sdk_sessions == 0


def test_neither_the_order_of_keys_nor_the_end_of_lines_makes_another_request(pair: StdioPair) -> None:
    pair.warmed(LEGACY_START)
    shuffled = [json.dumps(dict(reversed(json.loads(line).items()))) + "\r" for line in LEGACY_START]
    assert say(pair.replayed, shuffled) == say(pair.sdk, LEGACY_START)
    assert pair.sdk_sessions == 0


# When in doubt, the SDK answers

ODD = [
    request(1, "tools/list", {"cursor": "2"}),
    request(1, "tools/list", {"cursor": None}),
    request(1, "tools/list", {"_meta": None}),
    request(1, "tools/list", {"_meta": {"progressToken": 1.5}}),
    request(1, "tools/list", {"_meta": {"progressToken": True}}),
    request(1, "tools/list", envelope()),
    request(1, "tools/list", envelope("2031-01-01")),
    request(1, "tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}),
    request(1, "tools/list", {"x": float("nan")}),
    request(1, "tools/list", result={}),
    request(1, "server/discover", envelope()),
    request(1, "no/such/method"),
    request(1, "initialize", {"protocolVersion": 3, "capabilities": {}, "clientInfo": {}}),
    hello("2024-11-05", name=1),
    hello(MODERN, name=1),
    '{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}',
    '{"jsonrpc":"2.0","id":-0,"method":"tools\\/list","params":null}',
    '{"jsonrpc":"2.0","id":"\\u0061","method":"tools/list"}',
    '{"jsonrpc":"2.0","id":"\\u00e9\\n\\u2028\\u007f","method":"tools/list"}',
    '{"jsonrpc":"2.0","id":"a\\"b\\\\","method":"tools/list"}',
    request(10**400, "tools/list"),
    json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}),
    f"  {request(1, 'tools/list')[:-1]}\r }}\t \r",
    "",
    notification("notifications/cancelled", {"requestId": "hello"}),
    notification("notifications/unheard_of"),
    notification("notifications/progress", {"progressToken": 1, "progress": 0.5}),
    notification("tools/list"),
]
AFTER = [request("after", "ping", envelope()), request("then", "tools/list"), request("last", "ping")]


@pytest.mark.parametrize("start", [LEGACY_START, MODERN_START, []], ids=["legacy", "modern", "first"])
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_line_is_answered_as_without_a_replay(known: StdioPair, odd: str, start: list[str]) -> None:
    said, wanted = [lines_of([*start, odd, *AFTER])], ids([*start, *AFTER])
    expected = sorted(converse(known.alone, said, wanted))
    for _ in range(2):  # the second time, what was odd may be known
        assert sorted(converse(known.replayed, said, wanted)) == expected


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
def test_the_same_requests_after_another_beginning_are_other_requests(known: StdioPair, lines: list[str]) -> None:
    expected = sorted(say(known.sdk, lines))
    for _ in range(2):
        assert sorted(say(known.replayed, lines)) == expected


def test_a_cancellation_that_comes_too_late_does_not_make_another_request(known: StdioPair) -> None:
    late = notification("notifications/cancelled", {"requestId": "hello"})
    lines = [line for asked in LEGACY_START for line in (asked, late)]
    assert say(known.replayed, lines) == say(known.sdk, LEGACY_START)
    assert known.sdk_sessions == 0


# From the replay to the SDK


@pytest.mark.parametrize("start", [LEGACY_START, MODERN_START], ids=["legacy", "modern"])
def test_nothing_is_answered_twice(known: StdioPair, start: list[str]) -> None:
    lines = [*start, CALL, request("later", "prompts/list", envelope() if start is MODERN_START else None)]
    assert ids(say(known.replayed, lines)) == ids(lines)
    assert known.sdk_sessions == 1


def test_ids_may_be_used_again(pair: StdioPair) -> None:
    start = [hello(name=0), INITIALIZED, request(1, "tools/list"), request("1", "tools/list")]
    pair.warmed(start)
    again = [json.dumps(json.loads(CALL) | {"id": name}) for name in (0, 1, "1")]
    said = [json.loads(line) for line in say(pair.replayed, [*start, *again, CALL])]
    assert pair.sdk_sessions == 1
    for name in (0, 1, "1"):
        answers = [answer["result"] for answer in said if answer["id"] == name and type(answer["id"]) is type(name)]
        assert ["isError" in answer for answer in answers] == [False, True]


def test_a_cancelled_id_may_be_used_again(known: StdioPair) -> None:
    cancelled = [
        notification("notifications/cancelled", {"requestId": name}) for name in ("hello", "tools/list", "call")
    ]
    lines = [*LEGACY_START, *cancelled, CALL, json.dumps(json.loads(CALL) | {"id": "hello"})]
    assert ids(say(known.replayed, lines)) == ids(lines)


def test_a_session_goes_on_however_it_is_cut(known: StdioPair) -> None:
    lines = [*LEGACY_START, CALL, request("é", "ping"), request("end", "ping")]
    said = lines_of(lines).replace(b"\\u00e9", "é".encode())
    wanted = ids(lines)
    expected = sorted(converse(known.sdk, [said], wanted))
    assert sorted(converse(known.replayed, (said[n : n + 1] for n in range(len(said))), wanted)) == expected
    assert sorted(converse(known.replayed, [said], wanted)) == expected


def test_a_last_line_without_an_end_is_a_line(known: StdioPair) -> None:
    expected = say(known.sdk, [hello()])
    assert converse(known.replayed, [hello().encode()], Counter()) == expected
    assert known.sdk_sessions == 1


def test_every_handshake_is_sent_again(pair: StdioPair) -> None:
    lines = [hello(), INITIALIZED, hello("2024-11-05", name=2), request(3, "tools/list")]
    pair.warmed(lines)
    with pipe() as (source, ours), pipe() as (_, sink):
        os.write(ours, lines_of(lines))
        os.close(ours)
        replay = Replay(pair.cache, source, sink)
        replay.run()
    assert replay.client_left
    assert [line for _, line in replay.backlog] == lines[:3]


def test_many_notifications_end_the_replay_and_none_is_lost(pair: StdioPair) -> None:
    many = [*LEGACY_START, *[INITIALIZED] * 50, *(request(n, "tools/list") for n in range(3))]
    pair.warmed(many)
    assert sorted(say(pair.replayed, many)) == sorted(say(pair.sdk, many))
    assert pair.sdk_sessions == 1


def test_a_line_that_is_too_long_is_left_to_the_sdk_before_its_end(known: StdioPair) -> None:
    long = request("long", "tools/call", {"name": "x" * 100_000, "arguments": {"y": "é" * 30_000}})
    assert say(known.replayed, [*LEGACY_START, long]) == say(known.sdk, [*LEGACY_START, long])
    with pipe() as (source, ours):
        replay = Replay(known.cache, source)
        os.set_blocking(ours, False)
        sent = os.write(ours, b"x" * 65536)
        replay.unread = b"x"
        in_time(replay.run)
    assert not replay.client_left
    assert len(replay.unread) == sent + 1


def test_a_client_that_does_not_read_any_more_has_left(known: StdioPair) -> None:
    with pipe() as (source, ours), pipe() as (theirs, sink):
        os.close(theirs)
        os.write(ours, lines_of(LEGACY_START))
        replay = Replay(known.cache, source, sink)
        replay.run()
    assert replay.client_left


def test_what_is_sent_to_a_pipe_that_does_not_block_arrives_whole() -> None:
    with pipe() as (theirs, sink):
        os.set_blocking(sink, False)
        thread = threading.Thread(target=send, args=(sink, b"x" * 999_999), daemon=True)
        thread.start()
        said = read_some(theirs)
        while len(said) < 999_999:
            said += read_some(theirs)
        thread.join(SECONDS)
    assert said == b"x" * 999_999


# In a process that has not imported anything else


@pytest.mark.parametrize("lines", [LEGACY_START, MODERN_START], ids=["legacy", "modern"])
def test_a_process_prints_the_same_without_a_replay_cold_and_warm(lines: list[str]) -> None:
    answers = []
    for environ in {"RUNTYPE_MCP_FAST_START": "off"}, {}, {}:
        with started("--sandbox", **environ) as process:
            answers.append([answer for line in lines for answer in ask(process, line)])
            assert [id_of(line) for line in ask(process, CALL)] == ['"call"']
            assert end(process) == (0, b"", b"")
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]


def test_a_warm_start_imports_next_to_nothing() -> None:
    warm_up("--sandbox", lines=LEGACY_START)
    with started("--sandbox", PYTHONPROFILEIMPORTTIME="1") as process:
        assert len(ask(process, *LEGACY_START)) == 5
        code, _, err = end(process)
    assert code == 0
    command = [sys.executable, "-X", "importtime", "-m", "this"]
    alone = subprocess.run(command, capture_output=True, timeout=SECONDS, env=environment(), check=True)
    imported, usual = (
        {line.rsplit("|", 1)[1].strip() for line in text.decode().splitlines() if line.startswith("import time:")}
        for text in (err, alone.stderr)
    )
    modules = ("cli", "environment", "stdio", "stdio.replay", "stdio.reply_cache")
    ours = {"runtype_mcp", *(f"runtype_mcp.{module}" for module in modules)}
    assert ours <= imported
    assert imported - usual <= ours | {"__future__", "_blake2", "_json"}


@pytest.mark.parametrize("line", [b"{nope", b"nonsense", b'{"a":"\\x"}', b'{"a":1', b"[1,]", b"Caf\xe9"])
def test_without_json_in_memory_a_line_that_is_not_json_is_not_classified(line: bytes) -> None:
    code = f"""
import sys
from runtype_mcp.stdio.replay import classify
for name in "json", "json.decoder":
    sys.modules.pop(name, None)  # what measures coverage has imported it
sys.exit(classify({line!r}, "") is not None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert classify(line, "") is None


def test_a_warm_start_answers_a_line_that_is_not_json() -> None:
    warm_up("--sandbox", lines=LEGACY_START)
    with started("--sandbox") as process:
        ask(process, *LEGACY_START, "{nope")
        assert json.loads(process.line())["error"]["code"] == -32700
        assert end(process) == (0, b"", b"")


def test_without_the_modules_in_c_it_answers_alike(pair: StdioPair) -> None:
    # As on PyPy, and on a Python that is built for FIPS.
    first = "import sys, hashlib; sys.modules['_json'] = sys.modules['_blake2'] = None\n"
    told = "import atexit; atexit.register(lambda: sys.stderr.write(str('mcp' in sys.modules)))"
    expected = sorted(say(pair.sdk, LEGACY_START))
    for imported in b"True", b"False":
        with started("--sandbox", first=first + told) as process:
            assert sorted(ask(process, *LEGACY_START)) == expected
            assert end(process) == (0, b"", imported)
