"""Audit lines of several writers: each has a chain of its own, wherever its lines end up."""

import subprocess
import sys
from pathlib import Path

import pytest

from runtype_mcp.storage.audit_log import AuditError
from runtype_mcp.storage.audit_writers import WriterLog, captured, chains, redis_log, streamed
from tests.processes import SECONDS, unmeasured
from tests.redis_server import RedisServer, redis_server

PRINTING = """
import os
from runtype_mcp.storage.audit_writers import stdout_log
log = stdout_log()
for number in range(3):
    print("something else", number, flush=True)
    log.append({"event": "ended", "call": str(number), "outcome": "done é"})
"""


def printed() -> bytes:
    command = [sys.executable, "-c", PRINTING]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, check=True, env=unmeasured()).stdout


def test_lines_of_several_processes_are_found_between_others_and_behind_a_prefix(tmp_path: Path) -> None:
    one, other = printed().splitlines(), printed().splitlines()
    mixed = [line for pair in zip(one, other, strict=True) for line in pair]
    path = tmp_path / "captured.log"
    path.write_bytes(b"".join(b"2026-11-24T23:00:00Z stdout F " + line + b"\n" for line in mixed))
    found = chains(captured(path))
    assert [(chain.lines, chain.seq, chain.problems) for chain in found.values()] == [(3, 3, [])] * 2


def lines_of(number: int) -> list[bytes]:
    kept: list[bytes] = []
    log = WriterLog(kept.append)
    for call in range(number):
        log.append({"event": "ended", "call": str(call)})
    return kept


def test_the_writer_with_a_gap_is_named() -> None:
    whole, cut = lines_of(4), lines_of(5)
    found = chains([*whole, *cut[:1], *cut[3:]])
    assert [chain.problems for chain in found.values()] == [[], ["A gap: lines 2 to 3 are missing."]]


def test_an_edited_and_a_moved_line_are_found_and_one_that_comes_twice_is_not_a_problem() -> None:
    lines = lines_of(3)
    (edited,) = chains([lines[0], lines[1].replace(b'"call":"1"', b'"call":"9"'), lines[2]]).values()
    assert edited.problems == ["Line 3 does not continue line 2: one of the two was edited."]
    (moved,) = chains([lines[0], lines[2], lines[1]]).values()
    assert moved.problems == ["A gap: line 2 is missing.", "A gap: line 2 comes after line 3."]
    (doubled,) = chains([*lines, *lines]).values()
    assert (doubled.lines, doubled.problems) == (3, [])


def test_after_a_line_that_may_be_lost_another_chain_begins() -> None:
    kept: list[bytes] = []

    def send(line: bytes) -> None:
        kept.append(line)
        if len(kept) == 2:
            raise OSError(5, "it broke")

    log = WriterLog(send)
    log.append({"call": "1"})
    with pytest.raises(AuditError, match="could not be written: it broke"):
        log.append({"call": "2"})
    log.append({"call": "3"})
    assert [chain.problems for chain in chains(kept).values()] == [[], []]
    assert [chain.problems for chain in chains([kept[0], kept[2]]).values()] == [[], []]


def test_a_stream_in_redis_holds_the_chains(redis: RedisServer) -> None:
    logs = [redis_log(redis.url) for _ in range(2)]
    for number in range(2500):
        logs[number % 2].append({"event": "ended", "call": str(number)})
    assert [(chain.lines, chain.problems) for chain in chains(streamed(redis.url)).values()] == [(1250, [])] * 2


def test_a_redis_that_is_stopped_records_nothing_and_says_so(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        log = redis_log(server.url)
        log.append({"call": "1"})
        server.stop()
        with pytest.raises(AuditError, match="cannot be reached"):
            log.append({"call": "2"})
        server.start()
        log.append({"call": "3"})
        assert [chain.problems for chain in chains(streamed(server.url)).values()] == [[], []]
