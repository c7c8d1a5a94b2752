"""The audit log: what is recorded stays recorded, and damage shows."""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.storage import audit_log, files
from runtype_mcp.storage.audit_log import MAX_LINE, AuditError, AuditLog, Row, rows, table, verify


def race(script: str, count: int, *arguments: object) -> list[str]:
    """Run a script in `count` processes that all start at once; returns what each printed."""
    start = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()\n"
    lead_in, body = textwrap.dedent(script).split("# go\n")
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", lead_in + start + body, str(number), *map(str, arguments)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(count)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        ended = [(*racer.communicate(timeout=60), racer.returncode) for racer in racers]
    for _, err, code in ended:
        assert code == 0, err
    return [out for out, _, _ in ended]


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


# Writing


def test_each_line_carries_its_number_the_time_and_the_hash_of_the_line_before(log: AuditLog) -> None:
    log.append({"event": "started", "call": "a"})
    log.append({"event": "ended", "call": "a"})
    first, second = log.path.read_bytes().splitlines(keepends=True)
    one, two = entries(log)
    assert (one["seq"], two["seq"]) == (1, 2)
    assert one["prev"] == "0" * 64
    assert two["prev"] == sha(first)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
    assert second.endswith(b"}\n")


def test_a_new_log_is_private_and_so_is_its_folder(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "state" / "audit.jsonl")
    log.append({"event": "ended"})
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.path.parent.stat().st_mode & 0o777 == 0o700


def test_text_with_line_ends_and_any_alphabet_stays_one_ascii_line(log: AuditLog) -> None:
    log.append({"name": "Zoë\n{}\u2028 \ud800 客服"})
    raw = log.path.read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == 1
    assert entries(log)[0]["name"] == "Zoë\n{}\u2028 \ud800 客服"


def test_a_line_is_one_write_at_the_end(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        written.append(bytes(data))
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    filled(log, 2)
    assert b"".join(written) == log.path.read_bytes()
    assert len(written) == 2


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"seq": 9}, "seq"),
        ({"prev": "", "time": ""}, "prev, time"),
        ({"what": object()}, "not JSON"),
        ({"what": float("nan")}, "not JSON"),
        ({"what": "x" * MAX_LINE}, "longer than"),
    ],
)
def test_an_entry_that_cannot_be_a_line_is_refused(log: AuditLog, entry: dict[str, object], says: str) -> None:
    filled(log)
    before = log.path.read_bytes()
    with pytest.raises(AuditError, match=says) as caught:
        log.append(entry)
    assert "not recorded" in str(caught.value)
    assert log.path.read_bytes() == before


def test_the_longest_line_can_be_continued(log: AuditLog) -> None:
    log.append({"what": "x"})
    room = MAX_LINE - len(log.path.read_bytes())
    log.append({"what": "x" * (room + 2)})  # the x of the first line, and its line end
    log.append({"what": "after"})
    assert max(map(len, log.path.read_bytes().splitlines())) == MAX_LINE
    assert verify(log.path).problems == []


def test_processes_that_share_a_log_keep_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    script = """
        import sys
        from pathlib import Path
        from runtype_mcp.storage.audit_log import AuditLog
        log = AuditLog(Path(sys.argv[2]))
        # go
        for turn in range(100):
            log.append({"by": sys.argv[1], "turn": turn})
    """
    race(script, 4, path)
    found = verify(path)
    assert (found.lines, found.problems) == (400, [])
    said = [(entry["by"], entry["turn"]) for entry in entries(AuditLog(path))]
    assert sorted(said) == [(str(by), turn) for by in range(4) for turn in range(100)]


def test_threads_that_share_a_log_keep_one_chain(log: AuditLog) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda turn: log.append({"turn": turn}), range(40)))
    found = verify(log.path)
    assert (found.lines, found.problems) == (40, [])


def test_a_lock_that_nobody_gives_back_is_an_error_and_not_a_hang(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(log, 1)
    patient = files.exclusive
    monkeypatch.setattr(audit_log, "exclusive", partial(patient, seconds=0.02))
    with log.path.open("rb") as other, patient(other.fileno()), pytest.raises(AuditError, match="keeps it locked"):
        log.append({"event": "started"})
    log.append({"event": "started"})
    assert verify(log.path).lines == 2


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


def test_a_symbolic_link_to_a_log_is_not_read_either(log: AuditLog) -> None:
    filled(log)
    link = log.path.with_name("link.jsonl")
    link.symlink_to(log.path)
    with pytest.raises(AuditError, match="symbolic link"):
        verify(link)


def test_a_system_that_cannot_refuse_links_while_opening_refuses_them_before(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.delattr(os, "O_NOFOLLOW")
    symlink(log.path)
    with pytest.raises(AuditError, match="symbolic link"):
        log.append({"event": "started"})
    assert not log.path.with_name("elsewhere").exists()


def test_a_write_that_hits_a_full_disk_is_taken_back_and_refused(log: AuditLog) -> None:
    filled(log)
    before = log.path.read_bytes()
    script = """
        import os, resource, signal, sys
        from pathlib import Path
        from runtype_mcp.storage.audit_log import AuditError, AuditLog
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        room = os.stat(sys.argv[2]).st_size + 20
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        # go
        try:
            AuditLog(Path(sys.argv[2])).append({"event": "started"})
        except AuditError as error:
            print(error)
    """
    (said,) = race(script, 1, log.path)
    assert "could not be written" in said
    assert "not recorded" in said
    assert log.path.read_bytes() == before
    log.append({"event": "started"})
    assert verify(log.path).problems == []


def test_a_line_that_does_not_reach_the_disk_is_taken_back(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(log)
    before = log.path.read_bytes()

    def fsync(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(AuditError, match="Input/output error"):
        log.append({"event": "started"})
    assert log.path.read_bytes() == before


# Damage, and going on


def cut_in_the_middle(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:30]]


def cut_before_the_line_end(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:-1]]


def scribbled_over(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], b"\0" * 40 + b"\n"]


def far_too_long(lines: list[bytes]) -> list[bytes]:
    return [*lines, b" " * 2 * MAX_LINE + lines[-1]]


def without_a_usable_number(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b'"seq":5', b'"seq":' + b"9" * 4000)]


@pytest.mark.parametrize(
    "damage",
    [cut_in_the_middle, cut_before_the_line_end, scribbled_over, far_too_long, without_a_usable_number],
)
def test_a_damaged_last_line_is_reported_for_good_and_logging_goes_on(
    log: AuditLog, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    damaged = b"".join(damage(filled(log)))
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
    if damage is not cut_before_the_line_end:  # there, only the line end was lost
        assert at - 1 in {number for number, _ in found.problems}


def test_a_line_that_was_just_cut_off_is_reported(log: AuditLog) -> None:
    log.path.write_bytes(b"".join(cut_in_the_middle(filled(log))))
    assert [number for number, _ in verify(log.path).problems] == [5, 5]
    log.path.write_bytes(log.path.read_bytes()[:-31])
    assert [what for _, what in verify(log.path).problems] == [
        "The line has no end: it was cut off while it was written."
    ]


def test_a_short_write_that_cannot_be_taken_back_is_reported_later(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(log)
    real = os.write
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda fd, data: real(fd, data[:20]))
        broken.setattr(os, "ftruncate", lambda fd, size: os.stat("/nowhere at all"))
        with pytest.raises(AuditError, match="the disk is full"):
            log.append({"event": "started"})
    log.append({"event": "started"})
    assert [number for number, _ in verify(log.path).problems] == [6, 7]


# Tampering

Tamper = Callable[[list[bytes]], list[bytes]]


def rechained(lines: list[bytes]) -> list[bytes]:
    """What a forger does who knows the format."""
    before, chained = "0" * 64, []
    for number, line in enumerate(lines, 1):
        entry = {**json.loads(line), "seq": number, "prev": before}
        chained.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        before = sha(chained[-1])
    return chained


TAMPERED: dict[str, tuple[Tamper, set[int]]] = {
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
    log: AuditLog, tamper: Tamper, at: set[int]
) -> None:
    log.path.write_bytes(b"".join(tamper(filled(log))))
    assert {number for number, _ in verify(log.path).problems} == at


BEYOND_THE_CHAIN: dict[str, Tamper] = {
    "last lines removed": lambda x: x[:3],
    "all lines removed": lambda x: [],
    "last line edited": lambda x: [*x[:-1], x[-1].replace(b"list", b"lost")],
    "rewritten": lambda x: rechained([*x[:1], x[1].replace(b"list", b"lost"), *x[2:]]),
    "removed and rewritten": lambda x: rechained(x[:2] + x[3:]),
}


@pytest.mark.parametrize("tamper", BEYOND_THE_CHAIN.values(), ids=BEYOND_THE_CHAIN)
def test_what_the_chain_cannot_show_shows_against_a_remembered_head(log: AuditLog, tamper: Tamper) -> None:
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


def test_a_log_that_is_gone_is_an_error_and_not_an_empty_log(log: AuditLog) -> None:
    with pytest.raises(AuditError, match="No such file"):
        verify(log.path)
    with pytest.raises(AuditError, match="No such file"):
        next(rows(log.path))


def test_checking_a_hostile_log_takes_little_memory(log: AuditLog) -> None:
    with log.path.open("wb") as file:
        file.write(b"[" * 32 * MAX_LINE)
        file.write(b"\n" * 2_000)
    tracemalloc.start()
    try:
        found = verify(log.path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_LINE < log.path.stat().st_size / 8
    assert found.lines == 2_000
    assert len(found.problems) == 101
    assert found.problems[-1] == (2_000, "1900 more problems are not listed.")


def test_a_log_that_is_cut_while_it_is_read_is_reported(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(log)
    real = files.exclusive

    @contextmanager
    def then_cut(fd: int) -> Iterator[None]:
        with real(fd):
            yield
        os.truncate(log.path, 0)

    monkeypatch.setattr(audit_log, "exclusive", then_cut)
    assert [number for number, _ in verify(log.path).problems] == [1, 1]


# Reading


def test_a_start_and_its_end_make_one_row(log: AuditLog) -> None:
    what = {"caller": "Claude 1", "tool": "delete_client_token", "token": "ct_1", "name": "Support"}
    log.append({"event": "started", "call": "a", **what, "effects": ["Widgets stop.", "For good."], "approval": "flag"})
    log.append({"event": "ended", "call": "b", "tool": "list_client_tokens", "token": None, "outcome": "ok"})
    log.append({"event": "ended", "call": "a", **what, "outcome": "done", "duration_ms": 12})
    started, other, _ = entries(log)
    assert list(rows(log.path)) == [
        Row(other["time"], "", "list_client_tokens", "", "", "", "ok", None),
        Row(
            started["time"],
            "Claude 1",
            "delete_client_token",
            "Support (ct_1)",
            "Widgets stop., For good.",
            "flag",
            "done",
            12,
        ),
    ]


def test_a_call_that_never_ended_comes_last_as_unknown(log: AuditLog) -> None:
    log.append({"event": "started", "call": "lost", "tool": "regenerate_client_token"})
    log.append({"event": "ended", "call": "b", "outcome": "ok"})
    *_, last = rows(log.path)
    assert (last.tool, last.outcome, last.duration_ms) == (
        "regenerate_client_token",
        "unknown (no end recorded)",
        None,
    )


def test_a_call_that_starts_twice_is_two_rows(log: AuditLog) -> None:
    log.append({"event": "started", "call": "a"})
    log.append({"event": "started", "call": "a"})
    log.append({"event": "ended", "call": "a", "outcome": "ok"})
    assert [row.outcome for row in rows(log.path)] == ["unknown (no end recorded)", "ok"]


def line(**fields: object) -> bytes:
    return json.dumps({"seq": 1, "prev": "", "time": "2026-01-01T00:00:00.000Z", **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    ("end", "took"),
    [
        ({"time": "2026-01-01T00:00:01.250Z"}, 1250),
        ({"duration_ms": 7.6}, 8),
        ({"duration_ms": float("inf"), "time": "2026-01-01T00:00:02.000Z"}, 2000),
        ({"time": "yesterday"}, None),
        ({"time": "2026-01-01T00:00:01"}, None),
    ],
)
def test_a_duration_is_what_the_end_says_or_the_time_between_the_lines(
    log: AuditLog, end: dict[str, object], took: int | None
) -> None:
    log.path.write_bytes(line(event="started", call="a") + line(**{"event": "ended", "call": "a", **end}))
    assert [row.duration_ms for row in rows(log.path)] == [took]


def test_forged_and_damaged_lines_do_not_hide_the_others(log: AuditLog) -> None:
    # Around some depth Python can still read a value and cannot write it any more.
    deep = b"".join(
        b'{"seq":1,"prev":"","time":"","event":"ended","token":' + b"[" * depth + b"]" * depth + b"}\n"
        for depth in range(600, 1000)
    )
    log.path.write_bytes(
        b"nonsense\n"
        + line(event=["ended"])
        + deep
        + line(event="ended", call={"a": 1}, effects=[{"kind": "outage"}, 1], outcome=True)
    )
    *_, last = rows(log.path)
    assert (last.effects, last.outcome) == ('{"kind": "outage"}, 1', "true")


def row(**cells: Any) -> Row:
    empty = dict.fromkeys(("caller", "tool", "token", "effects", "approval", "outcome"), "")
    return Row(**{"time": "2026-01-01T00:00:00.000Z", "duration_ms": None, **empty, **cells})


def test_a_table_is_aligned() -> None:
    head, first, second = table([row(tool="t", outcome="ok", duration_ms=3), row(tool="longer")]).splitlines()
    assert head.index("tool") == first.index("t ") == second.index("longer")
    assert head.index("outcome") == first.index("ok")
    assert head.index("ms") == first.index("3")


def test_a_table_is_cut_to_its_width() -> None:
    rows = [row(effects="x" * 200, approval="a" * 200, outcome="never seen")]
    _, cut = table(rows, width=100).splitlines()
    assert len(cut) == 100
    assert cut.endswith("…")
    assert "x" * 39 + "…  aaa" in cut


def test_no_cell_of_a_table_can_drive_a_terminal() -> None:
    hostile = "\x1b[31mred\r\nnew\tline\x07\u202egnp\u200b\u2028end\x9b0m\ud800"
    text = table([row(token=hostile)])
    assert len(text.splitlines()) == 2
    assert "[31mred  new line" in text
    assert "gnp end0m" in text
    assert text.replace("\n", "").isprintable()


def test_a_table_of_no_calls_is_its_heading() -> None:
    assert table([]) == "time  caller  tool  token  effects  approval  outcome  ms"


def test_lines_written_during_a_check_are_left_for_the_next_one(tmp_path: Path) -> None:
    log = audit_log.AuditLog(tmp_path / "audit.jsonl")
    log.append({"call": "1"})
    log.append({"call": "2"})
    lines = audit_log._read(log.path)
    first = next(lines)
    log.append({"call": "3"})
    assert [first.number, *(line.number for line in lines)] == [1, 2]
