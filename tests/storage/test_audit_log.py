"""The audit log: what is recorded stays recorded, and damage shows."""

import hashlib
import json
import os
import re
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.storage.audit_log import MAX_LINE, AuditError, AuditLog, rows, verify
from runtype_mcp.storage.files import locked
from tests.storage.racing import full_disk, race


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.jsonl")


def filled(log: AuditLog, count: int = 5) -> list[bytes]:
    for number in range(count):
        log.append({"event": "ended", "call": f"c{number}", "tool": "list_client_tokens"})
    return log.path.read_bytes().splitlines(keepends=True)


def entries(log: AuditLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_bytes().splitlines()]


def sha(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def line(**fields: object) -> bytes:
    return json.dumps({"seq": 1, "prev": "", "time": "2026-01-01T00:00:00.000Z", **fields}).encode() + b"\n"


# Writing


def test_each_line_carries_its_number_the_time_and_the_hash_of_the_line_before(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "state" / "audit.jsonl")
    log.append({"event": "started", "call": "a"})
    log.append({"event": "ended", "call": "a"})
    first, second = log.path.read_bytes().splitlines(keepends=True)
    one, two = entries(log)
    assert (one["seq"], two["seq"]) == (1, 2)
    assert one["prev"] == "0" * 64
    assert two["prev"] == sha(first)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
    assert second.endswith(b"}\n")
    assert [path.stat().st_mode & 0o777 for path in (log.path, log.path.parent)] == [0o600, 0o700]


def test_text_with_line_ends_and_any_alphabet_stays_one_ascii_line(log: AuditLog) -> None:
    log.append({"name": "Zoë\n{}\u2028 \ud800 客服"})
    raw = log.path.read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == 1
    assert entries(log)[0]["name"] == "Zoë\n{}\u2028 \ud800 客服"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"seq": 9}, "seq"),
        ({"prev": "", "time": ""}, "prev, time"),
        ({"what": object()}, "not JSON"),
        ({"what": float("nan")}, "not JSON"),
    ],
)
def test_an_entry_that_cannot_be_a_line_is_refused(log: AuditLog, entry: dict[str, object], says: str) -> None:
    filled(log)
    before = log.path.read_bytes()
    with pytest.raises(AuditError, match=says) as caught:
        log.append(entry)
    assert "not recorded" in str(caught.value)
    assert log.path.read_bytes() == before


def test_processes_that_share_a_log_keep_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    script = """
        import sys
        from pathlib import Path
        from runtype_mcp.storage.audit_log import AuditLog
        log = AuditLog(Path(sys.argv[2]))
        # go
        for turn in range(40):
            log.append({"by": sys.argv[1], "turn": turn})
    """
    race(script, 4, path)
    found = verify(path)
    assert (found.lines, found.problems) == (160, [])
    said = [(entry["by"], entry["turn"]) for entry in entries(AuditLog(path))]
    assert sorted(said) == [(str(by), turn) for by in range(4) for turn in range(40)]


def test_threads_that_share_a_log_keep_one_chain(log: AuditLog) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda turn: log.append({"turn": turn}), range(40)))
    found = verify(log.path)
    assert (found.lines, found.problems) == (40, [])


@pytest.mark.parametrize(
    "long",
    [
        "x" * 300_000,
        "😀" * 300_000,
        ["x" * 5000] * 5000,
        ["\ud800" * 999] * 99,
        {"\ud800" * 5000: [["\ud800" * 5000] * 5] * 5},
    ],
    ids=["a long text", "a long text of long escapes", "a long list", "a list that is long as escapes", "an object"],
)
def test_no_length_keeps_a_call_off_the_record(log: AuditLog, long: object) -> None:
    log.append({"event": "started", "call": "a", "request": long, "caller": long, "name": long})
    log.append({"event": "ended", "call": "a", "outcome": "ok"})
    first, _ = entries(log)
    assert "…" in json.dumps(first["request"], ensure_ascii=False)
    assert list(first) == ["seq", "prev", "time", "event", "call", "request", "caller", "name"]
    assert max(map(len, log.path.read_bytes().splitlines())) <= MAX_LINE
    assert verify(log.path).problems == []


def test_only_what_is_too_long_is_cut(log: AuditLog) -> None:
    entry = {"name": "x" * 1000, "effects": ["y" * 1000] * 50, "more": {"z": [1.5, None, True]}}
    log.append(entry)
    log.append({**entry, "name": "x" * 100_000, "effects": ["y" * 1000] * 100})
    whole, cut = entries(log)
    assert entry.items() <= whole.items()
    assert re.fullmatch("x{5000,}…", cut["name"])
    assert re.fullmatch(r'\["y{1000}", "y{1000}", .*…', cut["effects"])
    assert cut["more"] == entry["more"]


def test_the_longest_line_can_be_continued(log: AuditLog) -> None:
    before = filled(log, 1)[0]
    longest = line(seq=2, prev=sha(before))
    longest = longest[:-2] + b" " * (MAX_LINE + 1 - len(longest)) + longest[-2:]
    log.path.write_bytes(before + longest)
    log.append({"what": "after"})
    assert max(map(len, log.path.read_bytes().splitlines())) == MAX_LINE
    assert verify(log.path).problems == []


def test_a_lock_that_nobody_gives_back_is_an_error_and_not_a_hang(log: AuditLog) -> None:
    filled(log, 1)
    impatient = AuditLog(log.path, patience=0.02)
    with (
        locked(log.path.with_name("audit.jsonl.lock")),
        pytest.raises(AuditError, match=r"locked\. The entry was not recorded"),
    ):
        impatient.append({"event": "started"})
    impatient.append({"event": "started"})
    assert verify(log.path).lines == 2


def test_nothing_is_put_beside_a_log_that_is_only_read(log: AuditLog) -> None:
    filled(log)
    log.path.with_name("audit.jsonl.lock").unlink()
    assert verify(log.path).lines == len(list(rows(log.path))) == 5
    assert [path.name for path in log.path.parent.iterdir()] == ["audit.jsonl"]


def symlink(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("make", "says"),
    [(symlink, "symbolic link"), (Path.mkdir, "directory"), (os.mkfifo, "not a regular file")],
)
def test_a_log_that_is_not_a_regular_file_is_refused(log: AuditLog, make: Callable[[Path], None], says: str) -> None:
    make(log.path)
    with pytest.raises(AuditError, match=says):
        log.append({"event": "started"})
    assert not log.path.with_name("elsewhere").exists()
    with pytest.raises(AuditError, match=says.replace("directory", "regular")):
        verify(log.path)


def test_a_write_that_hits_a_full_disk_is_taken_back_and_refused(log: AuditLog) -> None:
    filled(log)
    before = log.path.read_bytes()
    with full_disk(len(before) + 20), pytest.raises(AuditError, match=r"could not be written.*not recorded"):
        log.append({"event": "started"})
    assert log.path.read_bytes() == before
    log.append({"event": "started"})
    assert verify(log.path).problems == []


# Damage, and going on


Change = Callable[[list[bytes]], list[bytes]]

DAMAGED: dict[str, Change] = {
    "cut in the middle": lambda x: [*x[:-1], x[-1][:30]],
    "cut before the line end": lambda x: [*x[:-1], x[-1][:-1]],
    "scribbled over": lambda x: [*x[:-1], b"\0" * 40 + b"\n"],
    "far too long": lambda x: [*x, b" " * 2 * MAX_LINE + x[-1]],
    "without a usable number": lambda x: [*x[:-1], x[-1].replace(b'"seq":5', b'"seq":' + b"9" * 4000)],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_last_line_is_reported_for_good_and_logging_goes_on(log: AuditLog, damage: str) -> None:
    damaged = b"".join(DAMAGED[damage](filled(log)))
    log.path.write_bytes(damaged)
    log.append({"event": "started", "call": "next"})
    log.append({"event": "ended", "call": "next"})
    assert log.path.read_bytes().startswith(damaged)
    *_, recovered, started, ended = log.path.read_bytes().splitlines()
    assert json.loads(recovered)["event"] == "recovered"
    assert json.loads(started)["call"] == json.loads(ended)["call"] == "next"
    found = verify(log.path)
    at = found.lines - 2
    assert (at, "Logging went on here after the line before was cut off or damaged.") in found.problems
    assert {number for number, _ in found.problems} <= {at - 1, at}
    assert (at - 1 in dict(found.problems)) == (damage != "cut before the line end")


def test_a_line_that_was_just_cut_off_is_reported(log: AuditLog) -> None:
    log.path.write_bytes(b"".join(DAMAGED["cut in the middle"](filled(log))))
    assert [number for number, _ in verify(log.path).problems] == [5, 5]
    log.path.write_bytes(log.path.read_bytes()[:-31])
    assert [what for _, what in verify(log.path).problems] == [
        "The line has no end: it was cut off while it was written."
    ]


# Tampering


def rechained(lines: list[bytes]) -> list[bytes]:
    """What a forger does who knows the format."""
    before, chained = "0" * 64, []
    for number, line in enumerate(lines, 1):
        entry = {**json.loads(line), "seq": number, "prev": before}
        chained.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        before = sha(chained[-1])
    return chained


TAMPERED: dict[str, tuple[Change, set[int]]] = {
    "edited": (lambda x: [*x[:2], x[2].replace(b"list", b"lost"), *x[3:]], {4}),
    "edited in white space only": (lambda x: [*x[:2], x[2].replace(b",", b", "), *x[3:]], {4}),
    "first removed": (lambda x: x[1:], {1}),
    "middle removed": (lambda x: x[:2] + x[3:], {3}),
    "two removed": (lambda x: x[:1] + x[3:], {2}),
    "swapped": (lambda x: [x[0], x[2], x[1], *x[3:]], {2, 3, 4}),
    "repeated": (lambda x: [*x[:3], x[2], *x[3:]], {4}),
    "inserted": (lambda x: [*x[:2], b'{"seq":3,"prev":"","time":""}\n', *x[2:]], {3, 4}),
    "inserted with the right hash": (lambda x: [*x[:2], rechained(x[:3])[2].replace(b'"c2"', b'"c9"'), *x[2:]], {4}),
    "truncated in the middle": (lambda x: [*x[:2], x[2][:25] + b"\n", *x[3:]], {3, 4}),
    "cut through a line end": (lambda x: [*x[:2], x[2][:25], *x[3:]], {3, 4}),
    "blank line": (lambda x: [*x[:2], b"\n", *x[2:]], {3, 4}),
    "not an object": (lambda x: [*x[:2], b"[]\n", *x[3:]], {3, 4}),
    "not utf-8": (lambda x: [*x[:2], b"\xff" + x[2], *x[3:]], {3, 4}),
    "deeply nested": (lambda x: [*x[:2], b"[" * 100_000 + b"\n", *x[3:]], {3, 4}),
    "number is text": (lambda x: [*x[:2], x[2].replace(b'"seq":3', b'"seq":"3"'), *x[3:]], {3, 4}),
    "number is true": (lambda x: [x[0].replace(b'"seq":1', b'"seq":true'), *x[1:]], {1, 2}),
    "renumbered": (lambda x: [*x[:2], x[2].replace(b'"seq":3', b'"seq":30'), *x[3:]], {3, 4}),
}


@pytest.mark.parametrize(("tamper", "at"), TAMPERED.values(), ids=TAMPERED)
def test_a_log_that_was_tampered_with_before_its_last_line_shows_it(
    log: AuditLog, tamper: Change, at: set[int]
) -> None:
    log.path.write_bytes(b"".join(tamper(filled(log))))
    assert {number for number, _ in verify(log.path).problems} == at


BEYOND_THE_CHAIN: dict[str, Change] = {
    "last lines removed": lambda x: x[:3],
    "all lines removed": lambda x: [],
    "last line edited": lambda x: [*x[:-1], x[-1].replace(b"list", b"lost")],
    "rewritten": lambda x: rechained([*x[:1], x[1].replace(b"list", b"lost"), *x[2:]]),
    "removed and rewritten": lambda x: rechained(x[:2] + x[3:]),
}


@pytest.mark.parametrize("tamper", BEYOND_THE_CHAIN.values(), ids=BEYOND_THE_CHAIN)
def test_what_the_chain_cannot_show_shows_against_a_remembered_head(log: AuditLog, tamper: Change) -> None:
    lines = filled(log)
    head = verify(log.path).head
    log.path.write_bytes(b"".join(tamper(lines)))
    assert verify(log.path).problems == []
    assert ["remembered head" in what for _, what in verify(log.path, head=head).problems] == [True]


def test_a_log_that_grew_still_has_the_remembered_head(log: AuditLog) -> None:
    assert filled(log)
    head = verify(log.path, head="0" * 64).head
    assert head == sha(filled(log)[4])
    assert verify(log.path, head=f" {head.upper()}\n").problems == []


@pytest.mark.parametrize("read", [verify, lambda path: next(rows(path))])
def test_a_log_that_is_gone_is_an_error_and_not_an_empty_log(log: AuditLog, read: Callable[[Path], object]) -> None:
    with pytest.raises(AuditError, match="No such file"):
        read(log.path)


@pytest.mark.parametrize("text", ["# Notes\n\nOf another file.\n" * 200, "no line end", '{"seq": 1}\n[]\n'])
def test_a_file_that_is_not_an_audit_log_is_one_problem(log: AuditLog, text: str) -> None:
    log.path.write_text(text)
    assert [what for _, what in verify(log.path).problems] == [
        "This is not an audit log: no line of it is an entry of one."
    ]


def test_checking_a_hostile_log_takes_little_memory(log: AuditLog) -> None:
    with log.path.open("wb") as file:
        file.write(line())
        file.write(b"[" * 32 * MAX_LINE)
        file.write(b"\n" * 2_000)
    tracemalloc.start()
    try:
        found = verify(log.path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_LINE < log.path.stat().st_size / 8
    assert found.lines == 2_001
    assert len(found.problems) == 101
    assert found.problems[-1] == (100, "Problems after this line are not listed.")


# Reading


def test_a_start_and_its_end_make_one_row(log: AuditLog) -> None:
    what = {"caller": "Claude 1", "tool": "delete_client_token", "token": "ct_1", "name": "Support"}
    log.append({"event": "started", "call": "a", **what, "effects": ["Widgets stop.", "For good."], "approval": "flag"})
    log.append({"event": "ended", "call": "b", "tool": "list_client_tokens", "token": None, "outcome": "ok"})
    log.append({"event": "ended", "call": "a", **what, "outcome": "done", "duration_ms": 12})
    started, other, _ = entries(log)
    effects = "Widgets stop., For good."
    assert [astuple(row) for row in rows(log.path)] == [
        (other["time"], "", "list_client_tokens", "", "", "", "ok", None),
        (started["time"], "Claude 1", "delete_client_token", "Support (ct_1)", effects, "flag", "done", 12),
    ]


def test_a_call_without_an_end_is_a_row_whose_outcome_is_not_known(log: AuditLog) -> None:
    for event, call, more in (
        ("started", "lost", {"tool": "regenerate_client_token"}),
        ("started", "a", {}),
        ("started", "a", {}),
        ("ended", "a", {"outcome": "ok", "duration_ms": 1}),
    ):
        log.append({"event": event, "call": call, **more})
    unknown = "unknown (no end recorded)"
    assert [(row.tool, row.outcome, row.duration_ms) for row in rows(log.path)] == [
        ("", unknown, None),
        ("", "ok", 1),
        ("regenerate_client_token", unknown, None),
    ]


@pytest.mark.parametrize(("told", "took"), [(8, 8), (float("inf"), None), (None, None), ("7", None)])
def test_a_duration_is_what_the_end_says(log: AuditLog, told: object, took: int | None) -> None:
    log.path.write_bytes(line(event="started", call="a") + line(event="ended", call="a", duration_ms=told))
    assert [row.duration_ms for row in rows(log.path)] == [took]


def test_what_is_written_or_cut_off_while_a_log_is_read_is_not_waited_for(log: AuditLog) -> None:
    filled(log, 300)
    found = rows(log.path)
    next(found)
    log.append({"event": "ended", "call": "later"})
    assert len(list(found)) == 299
    found = rows(log.path)
    next(found)
    os.truncate(log.path, 0)
    assert 0 < len(list(found)) < 299, "what was read ahead"


def test_forged_and_damaged_lines_do_not_hide_the_others(log: AuditLog) -> None:
    deep = b'{"seq":1,"prev":"","time":"","event":"ended","token":' + b"[" * 900 + b"]" * 900 + b"}\n"
    log.path.write_bytes(
        b"nonsense\n"
        + line(event=["ended"])
        + deep
        + line(event="ended", call={"a": 1}, effects=[{"kind": "outage"}, "1"], outcome=True)
    )
    *_, last = rows(log.path)
    assert (last.effects, last.outcome) == ("…, 1", "…")
