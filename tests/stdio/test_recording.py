"""A reply is stored only where it is certainly the one to the same request in the same place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp_types import JSONRPCRequest, JSONRPCResponse

from runtype_mcp.stdio.recording import RecordingSession
from runtype_mcp.stdio.replay import Replay
from tests.stdio.sessions import CALL, INITIALIZED, LEGACY_START, StdioPair, hello, request, say

REPLY = JSONRPCResponse(jsonrpc="2.0", id=1, result={})
TEXT = '{"jsonrpc":"2.0","id":1,"result":{}}'


@pytest.fixture
def pair(tmp_path: Path) -> StdioPair:
    return StdioPair(tmp_path)


def recording(pair: StdioPair, *lines: str) -> RecordingSession:
    session = RecordingSession(Replay(pair.cache))
    for line in lines:
        session.observe(line.encode())
    return session


def test_an_error_is_never_stored(pair: StdioPair) -> None:
    pair.warmed([hello(), request(1, "tools/list", {"cursor": 3}), request(2, "prompts/list")])
    kept = pair.cache.load().values()
    assert len(kept) == 2
    assert not any("error" in reply or "code" in reply for reply in kept)


@pytest.mark.parametrize(
    "line",
    [
        request(1, "ping"),
        request(1, "tools/call", {"name": "no_such_tool"}),
        '{"jsonrpc":"2.0","id":2,"id":1,"method":"ping"}',
        "nonsense",
    ],
)
def test_a_reply_is_stored_only_if_it_cannot_be_anothers(pair: StdioPair, line: str) -> None:
    recording(pair, hello(), request(1, "tools/list"), line).record(REPLY, TEXT)
    assert pair.cache.load() == {}


def test_a_request_of_the_servers_with_the_same_id_is_not_taken_for_a_reply(pair: StdioPair) -> None:
    session = recording(pair, hello(), request(1, "tools/list"))
    session.record(JSONRPCRequest(jsonrpc="2.0", id=1, method="ping"), '{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert pair.cache.load() == {}
    session.record(REPLY, TEXT)
    assert list(pair.cache.load().values()) == ["{}"]


def test_a_reply_that_is_printed_in_another_form_is_not_stored(pair: StdioPair) -> None:
    recording(pair, hello(), request(1, "tools/list")).record(REPLY, '{"id":1,"jsonrpc":"2.0","result":{}}')
    assert pair.cache.load() == {}


@pytest.mark.parametrize(
    "lines",
    [
        [request(1, "ping"), hello(), INITIALIZED, request(2, "tools/list")],
        [INITIALIZED, request(2, "tools/list")],
        [*LEGACY_START, '{"jsonrpc":"2.0","id":2,"id":2,"method":"tools/list"}'],
    ],
    ids=["ping first", "a notification first", "a key twice"],
)
def test_what_is_in_doubt_is_never_stored(pair: StdioPair, lines: list[str]) -> None:
    for _ in range(2):
        say(pair.replayed, lines)
    assert pair.sdk_sessions == 2


def test_a_reply_is_not_taken_for_another_when_an_id_is_used_twice(pair: StdioPair) -> None:
    say(pair.replayed, [hello(), INITIALIZED, *[request(1, "prompts/list"), request(1, "ping")] * 3])
    clean = [hello(), INITIALIZED, request(2, "prompts/list"), request(3, "ping")]
    assert say(pair.replayed, clean) == say(pair.sdk, clean)


def test_a_reply_that_is_known_is_not_written_again(pair: StdioPair) -> None:
    lines = [*LEGACY_START, *(request(n, "ping") for n in range(9))]
    pair.warmed(lines)
    written = pair.path.stat().st_ino
    say(pair.replayed, [*lines, CALL, *lines[2:]])
    assert pair.path.stat().st_ino == written


def test_a_request_is_sent_again_with_an_id_that_no_client_uses(pair: StdioPair) -> None:
    replay = Replay(pair.cache)
    replay.backlog = [(True, hello()), (False, INITIALIZED)]
    sessions = [RecordingSession(replay) for _ in range(2)]
    (first, _), (second, _) = (map(json.loads, session.backlog) for session in sessions)
    assert first | {"id": "hello"} == json.loads(hello())
    assert sessions[0].backlog[1].decode() == INITIALIZED
    assert first["id"] != second["id"]
    own = JSONRPCResponse(jsonrpc="2.0", id=first["id"], result={})
    assert [session.is_repeat(own) for session in sessions] == [True, False]
