"""The wire on the event loop reads and writes what a text file would."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtype_mcp.stdio import transport
from runtype_mcp.stdio.replay import Front
from runtype_mcp.stdio.reply_cache import Cache
from runtype_mcp.stdio.transport import Conversation

HELLO = (
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    '"clientInfo":{"name":"file","version":"1"}}}\n'
)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe. A test may close the end that it writes to."""
    source, sink = os.pipe()
    try:
        yield source, sink
    finally:
        for fd in (source, sink):
            try:
                os.close(fd)
            except OSError:
                assert fd == sink


def conversation(source: int, sink: int) -> Conversation:
    cache = Cache(os.path.join(tempfile.gettempdir(), "no-such-folder", "x.answers"), "test")
    return Conversation(Front(cache, source, sink))


async def lines_of(chunks: list[bytes]) -> list[str]:
    with pipe() as (source, sink):
        wired = transport.Wire(conversation(source, sink))
        heard: list[str] = []

        async def listen() -> None:
            async for line in wired:
                heard.append(line)

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            for chunk in chunks:
                os.write(sink, chunk)
                await anyio.lowlevel.checkpoint()
            os.close(sink)
        return heard


BYTES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"{}", b"\xc3", b"\xa9", "é".encode(), b"\xff", "\u2028".encode(), b"a b"])
    | st.binary(min_size=1, max_size=6),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(BYTES)
def test_bytes_become_the_lines_that_a_text_file_makes_of_them(chunks: list[bytes]) -> None:
    expected = list(io.TextIOWrapper(io.BytesIO(b"".join(chunks)), encoding="utf-8", errors="replace"))
    assert anyio.run(lines_of, chunks) == expected


def test_a_line_longer_than_any_pipe_arrives_whole() -> None:
    async def run() -> list[str]:
        with pipe() as (source, sink):
            wired = transport.Wire(conversation(source, sink))

            def send() -> None:
                with os.fdopen(os.dup(sink), "wb") as file:
                    file.write(b"x" * 1_000_000 + b"\nlast")
                os.close(sink)

            sender = threading.Thread(target=send)
            sender.start()
            heard = [line async for line in wired]
            sender.join()
            return heard

    assert anyio.run(run) == ["x" * 1_000_000 + "\n", "last"]


def test_a_host_that_does_not_read_does_not_stop_the_server_from_reading() -> None:
    async def run() -> bytes:
        with pipe() as (source, sink), pipe() as (answers, said):
            wired = transport.Wire(conversation(source, said))

            async def answer() -> None:  # one after the other, as the SDK does
                for _ in range(40):  # more than a pipe holds, in pieces that it may and may not take at once
                    await wired.write("y" * 3000 + "\n")
                    await wired.write("z" * 9000 + "\n")

            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(answer)
                    await anyio.sleep(0.05)
                    os.write(sink, b"still here\n")
                    assert await anext(wired) == "still here\n"
                    taken = b""
                    while len(taken) < 40 * (3001 + 9001):
                        taken += await anyio.to_thread.run_sync(os.read, answers, 65536)
            return taken

    assert anyio.run(run).split() == [b"y" * 3000, b"z" * 9000] * 40


def test_files_in_the_place_of_pipes_are_served_too(tmp_path: Path) -> None:
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    asked.write_text(HELLO)
    with asked.open() as source, answered.open("w") as sink:
        command = [sys.executable, "-m", "runtype_mcp", "--sandbox"]
        done = subprocess.run(command, stdin=source, stdout=sink, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert answered.read_text().startswith('{"jsonrpc":"2.0","id":1,"result":')


@pytest.mark.parametrize("kind", ["file", "device"])
@pytest.mark.parametrize("regular", ["source", "sink"])
def test_a_loop_waits_for_pipes_and_threads_for_files(tmp_path: Path, regular: str, kind: str) -> None:
    path = tmp_path / "file" if kind == "file" else Path(os.devnull)
    with pipe() as (source, sink), closing(path.open("w+b", buffering=0)) as file:
        piped = conversation(source, sink)
        assert isinstance(transport.files(piped)[0], transport.Wire)
        setattr(piped, regular, file.fileno())
        assert isinstance(transport.files(piped)[0], anyio.AsyncFile)
