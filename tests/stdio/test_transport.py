"""Each line becomes a message or an error, each message a line, and nothing else reaches the client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest

from runtype_mcp.stdio.transport import LineReader, LineWriter, loop_can_wait
from tests.processes import SECONDS, environment
from tests.stdio.sessions import (
    CALL,
    INITIALIZED,
    LEGACY_START,
    MODERN_START,
    StdioPair,
    converse,
    hello,
    id_of,
    ids,
    in_time,
    lines_of,
    pipe,
    read_some,
    request,
    write_all,
)


async def received(reader: LineReader) -> list[Any]:
    with anyio.fail_after(SECONDS):
        return [item.message async for item in reader]


def message(text: str) -> SessionMessage:
    return SessionMessage(JSONRPCNotification(jsonrpc="2.0", method=text))


methods = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6)
ends = st.sampled_from(["\n", "\r\n", " \n", "\n\n"])


@settings(max_examples=100, deadline=None)
@given(methods, ends, st.lists(st.integers(0, 200), max_size=5), st.booleans())
def test_messages_arrive_whole_however_their_bytes_are_cut(
    methods: list[str], end: str, cuts: list[int], last_line_ends: bool
) -> None:
    texts = [json.dumps({"jsonrpc": "2.0", "method": method}, ensure_ascii=False) for method in methods]
    data = (end.join(texts) + (end if last_line_ends else "")).encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    async def run() -> list[Any]:
        with pipe() as (source, ours), pipe() as (_, sink):
            reader = LineReader(source, LineWriter(sink), unread=data[: edges[1]])
            found: list[Any] = []

            async def read() -> None:
                found.extend(await received(reader))

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                for start, stop in pairwise(edges[1:]):
                    await anyio.lowlevel.checkpoint()
                    os.write(ours, data[start:stop])
                os.close(ours)
            return found

    assert [found.method for found in anyio.run(run)] == methods


def test_a_line_longer_than_any_pipe_arrives_whole() -> None:
    async def run() -> list[Any]:
        with pipe() as (source, ours), pipe() as (_, sink):
            line = json.dumps({"jsonrpc": "2.0", "method": "x" * 1_000_000})
            found: list[Any] = []

            async def write() -> None:
                await anyio.to_thread.run_sync(write_all, ours, lines_of([line, line]))
                os.close(ours)

            async with anyio.create_task_group() as group:
                group.start_soon(write)
                found += await received(LineReader(source, LineWriter(sink)))
            return found

    assert [len(found.method) for found in anyio.run(run)] == [1_000_000] * 2


def test_a_host_that_does_not_read_does_not_stop_the_server_from_reading() -> None:
    """And what several calls send at the same time arrives in whole lines, whatever a pipe takes of it."""

    async def run() -> Counter[str]:
        with pipe() as (source, ours), pipe() as (theirs, sink), anyio.fail_after(SECONDS):
            writer = LineWriter(sink)
            reader = LineReader(source, writer)

            async def send(letter: str, length: int) -> None:
                for _ in range(30):  # more than a pipe holds, in pieces that it may and may not take whole
                    await writer.send(message(letter * length))

            async with anyio.create_task_group() as group:
                for letter, length in lengths.items():
                    group.start_soon(send, letter, length)
                await anyio.wait_all_tasks_blocked()
                os.write(ours, lines_of([CALL]))
                assert isinstance((await reader.receive()).message, JSONRPCRequest)
                taken = b""
                while taken.count(b"\n") < 90:
                    taken += await anyio.to_thread.run_sync(read_some, theirs)
            return Counter(json.loads(line)["method"] for line in taken.splitlines())

    lengths = {"w": 3000, "y": 9000, "z": 20_000}
    assert in_time(lambda: anyio.run(run)) == {letter * length: 30 for letter, length in lengths.items()}


def test_what_is_sent_to_a_client_that_has_left_is_dropped() -> None:
    async def run() -> None:
        with pipe() as (theirs, sink):
            os.close(theirs)
            await LineWriter(sink).send(message("short"))
            await LineWriter(sink).send(message("x" * 9000))

    anyio.run(run)


# A line that is not a message

LIST = '{"jsonrpc":"2.0","id":1,"method":"tools/list"'
PARSE_ERROR, INVALID_REQUEST = -32700, -32600


MALFORMED: list[tuple[str | bytes, int, Any]] = [
    ("{nope", PARSE_ERROR, None),
    (LIST, PARSE_ERROR, None),
    (f"{LIST}}} {LIST}}}", PARSE_ERROR, None),
    (f"\ufeff{LIST}}}", PARSE_ERROR, None),
    (b"\xff\xfe", PARSE_ERROR, None),
    (LIST.encode() + b',"params":{"x":"Caf\xe9"}}', PARSE_ERROR, 1),
    (b'{"jsonrpc":"2.0","id":"Caf\xe9","method":"ping"}', PARSE_ERROR, None),
    (LIST + ',"params":{"x":"\\ud800"}}', PARSE_ERROR, 1),
    (LIST + ',"params":{"x":"\t"}}', PARSE_ERROR, 1),
    (LIST + ',"params":{"x":' + "[" * 300 + "]" * 300 + "}}", PARSE_ERROR, 1),
    (LIST + ',"params":{"x":' + "[" * 30_000 + "]" * 30_000 + "}}", PARSE_ERROR, None),
    (LIST + ',"params":{"x":' + "7" * 5000 + "}}", PARSE_ERROR, 1),
    ('{"jsonrpc":"2.0","id":' + "7" * 5000 + ',"method":"ping"}', PARSE_ERROR, None),
    ('{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', PARSE_ERROR, None),
    ('{"jsonrpc":"2.0","method":"notifications/x","params":{"x":"\\ud800"}}', PARSE_ERROR, None),
    ('{"jsonrpc":"2.0","method":"notifications/x","params":{"x":' + "[" * 300 + "]" * 300 + "}}", PARSE_ERROR, None),
    (f"[{LIST}}}]", INVALID_REQUEST, None),
    ("7", INVALID_REQUEST, None),
    ("{}", INVALID_REQUEST, None),
    ('{"jsonrpc":"1.0","id":"a","method":"ping"}', INVALID_REQUEST, "a"),
    ('{"jsonrpc":"2.0","id":3}', INVALID_REQUEST, 3),
    ('{"jsonrpc":"2.0","id":3,"method":"tools/list","params":[]}', INVALID_REQUEST, 3),
    ('{"jsonrpc":"2.0","id":null,"method":"ping"}', INVALID_REQUEST, None),
    ('{"jsonrpc":"2.0","id":1.5,"method":"ping"}', INVALID_REQUEST, None),
    ('{"jsonrpc":"2.0","id":true,"method":1}', INVALID_REQUEST, None),
    ('{"jsonrpc":"1.0","method":"notifications/x"}', INVALID_REQUEST, None),
    ('{"jsonrpc":"2.0","method":"notifications/x","params":[1]}', INVALID_REQUEST, None),
]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> StdioPair:
    return StdioPair(tmp_path_factory.mktemp("warm")).warmed(LEGACY_START, MODERN_START)


@pytest.mark.parametrize("start", [LEGACY_START[:2], MODERN_START[:1], []], ids=["legacy", "modern", "first"])
@pytest.mark.parametrize(("line", "code", "name"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_line_that_is_not_a_message_is_answered_with_the_error_for_it(
    warm: StdioPair, start: list[str], line: str | bytes, code: int, name: Any
) -> None:
    for serve in (warm.alone, warm.replayed):
        said = converse(serve, [lines_of([*start, line])], ids(start) + Counter([json.dumps(name)]))
        errors = [json.loads(answer) for answer in said if id_of(answer) not in ids(start)]
        assert [(error["id"], error["error"]["code"]) for error in errors] == [(name, code)]
        assert errors[0]["error"]["message"].endswith("Nothing was done.")


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0","id":1,"result":3}',
        '{"jsonrpc":"2.0","id":1,"error":null}',
        '{"jsonrpc":"2.0","id":1,"result":{"content":{"name":"\\ud800"}}}',
    ],
)
def test_an_answer_that_cannot_be_read_fails_the_request_that_waits_for_it(line: str) -> None:
    """The client is not answered: it waits for nothing, and would complain in its turn."""

    async def run() -> list[Any]:
        with pipe() as (source, ours), pipe() as (theirs, sink):
            os.write(ours, lines_of([line]))
            os.close(ours)
            found = await received(LineReader(source, LineWriter(sink)))
            os.close(sink)
            assert read_some(theirs) == b""
            return found

    (found,) = anyio.run(run)
    assert isinstance(found, JSONRPCError)
    assert found.id == 1


def test_a_request_before_the_end_of_the_input_is_begun(tmp_path: Path) -> None:
    lines = [hello(), INITIALIZED, request(1, "tools/list")]
    assert ids(converse(StdioPair(tmp_path).alone, [lines_of(lines)[:-1]], Counter())) == ids(lines)


# Descriptors


def test_files_in_the_place_of_pipes_are_served_too(tmp_path: Path) -> None:
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    asked.write_bytes(lines_of([hello(), "nonsense", CALL]))
    with asked.open() as source, answered.open("w") as sink:
        command = [sys.executable, "-m", "runtype_mcp", "--sandbox"]
        done = subprocess.run(
            command, stdin=source, stdout=sink, stderr=subprocess.PIPE, timeout=SECONDS, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert ids(answered.read_text().splitlines()) == ids([hello(), CALL]) + Counter({"null": 1})


def test_a_loop_waits_for_pipes_and_sockets_and_threads_for_the_rest() -> None:
    with pipe() as (source, _), socket.socket() as connection, tempfile.TemporaryFile() as file:
        assert loop_can_wait(source)
        assert not loop_can_wait(source, "win32")
        assert loop_can_wait(connection.fileno())
        assert not loop_can_wait(file.fileno())
    with open(os.devnull) as device:
        assert not loop_can_wait(device.fileno())


def test_while_stdout_is_diverted_nothing_else_reaches_the_client_or_reads_its_lines() -> None:
    code = """
import os
from runtype_mcp.stdio.transport import diverted
print("before")  # and not flushed
with diverted() as (source, sink):
    print("printed")
    os.write(1, b"written\\n")
    os.system("cat; echo said by a child")
    os.write(sink, os.read(source, 100))
print("after")
"""
    env = environment(PYTHONUNBUFFERED="")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=b"line\n", capture_output=True, timeout=SECONDS, env=env, check=True)
    assert done.stdout.split() == [b"line", b"after"]
    assert sorted(done.stderr.splitlines()) == [b"before", b"printed", b"said by a child", b"written"]
