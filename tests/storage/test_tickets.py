"""Tickets: an approval is for one call, once, and never an accident."""

import hashlib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtype_mcp.storage import files, tickets
from runtype_mcp.storage.tickets import MAX_WAITING, Ticket, TicketError, Tickets, state_dir
from tests.storage.test_audit_log import race

DELETE = hashlib.sha256(b"delete ct_1").hexdigest()
REGENERATE = hashlib.sha256(b"regenerate ct_1").hexdigest()
FACTS: dict[str, Any] = {
    "operation": "delete",
    "subject_id": "ct_1",
    "subject_name": "Support",
    "environment": "live",
    "lines": ("Every widget that embeds it stops.",),
    "base_url": "https://api.example.test",
}


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def desk(directory: Path, clock: Clock) -> Tickets:
    return Tickets(directory, now=clock, ttl=100)


# A ticket's life


def test_an_approved_call_is_let_through_once(desk: Tickets) -> None:
    asked = desk.request(DELETE, **FACTS)
    assert desk.take(DELETE) is None
    approved = desk.approve(asked.code, "ada")
    assert (approved.state, approved.approved_by) == ("approved", "ada")
    taken = desk.take(DELETE)
    assert taken is not None
    assert (taken.code, taken.state, taken.approved_by) == (asked.code, "used", "ada")
    assert desk.take(DELETE) is None
    assert desk.find(asked.code) is None


def test_a_ticket_holds_what_the_person_is_to_judge(desk: Tickets, directory: Path, clock: Clock) -> None:
    asked = desk.request(DELETE, **FACTS)
    assert asked == Ticket(
        code=asked.code, digest=DELETE, created=clock.time, expires=clock.time + 100, state="waiting", **FACTS
    )
    assert Tickets(directory, now=clock).waiting() == [asked]


def test_an_approval_is_for_exactly_one_call(desk: Tickets) -> None:
    asked = desk.request(DELETE, **FACTS)
    desk.approve(asked.code, "ada")
    for other in (REGENERATE, DELETE[:-1], DELETE.upper(), "", "é"):
        assert desk.take(other) is None
    assert desk.take(DELETE) is not None


def test_a_code_alone_opens_nothing(desk: Tickets) -> None:
    asked = desk.request(DELETE, **FACTS)
    desk.approve(asked.code, "ada")
    assert desk.take(asked.code) is None
    assert desk.take(asked.code.replace("-", "")) is None


def test_the_same_call_keeps_its_ticket_while_it_waits(desk: Tickets, clock: Clock) -> None:
    asked = desk.request(DELETE, **FACTS)
    clock.time += 99
    assert desk.request(DELETE, **FACTS) == asked
    assert desk.request(REGENERATE, **FACTS).code != asked.code
    assert len(desk.waiting()) == 2


def test_the_same_call_finds_the_approval_that_it_was_given_meanwhile(desk: Tickets) -> None:
    code = desk.request(DELETE, **FACTS).code
    approved = desk.approve(code, "ada")
    assert desk.request(DELETE, **FACTS) == approved
    assert desk.waiting() == []


def test_a_call_that_was_denied_stays_denied_until_the_ticket_expires(desk: Tickets, clock: Clock) -> None:
    code = desk.request(DELETE, **FACTS).code
    assert desk.deny(code).state == "denied"
    assert desk.request(DELETE, **FACTS).state == "denied"
    assert desk.take(DELETE) is None
    with pytest.raises(TicketError, match="already denied"):
        desk.approve(code, "ada")
    clock.time += 100
    again = desk.request(DELETE, **FACTS)
    assert again.state == "waiting"
    assert again.code != code


def test_an_unused_approval_can_be_withdrawn(desk: Tickets) -> None:
    code = desk.request(DELETE, **FACTS).code
    desk.approve(code, "ada")
    withdrawn = desk.deny(code)
    assert (withdrawn.state, withdrawn.approved_by) == ("denied", "")
    assert desk.take(DELETE) is None


def test_an_approval_is_given_once(desk: Tickets, clock: Clock) -> None:
    code = desk.request(DELETE, **FACTS).code
    first = desk.approve(code, "ada")
    clock.time += 50
    with pytest.raises(TicketError, match="already approved"):
        desk.approve(code, "bob")
    assert desk.find(code) == first


@pytest.mark.parametrize("act", [lambda desk, code: desk.approve(code, "ada"), lambda desk, code: desk.deny(code)])
def test_an_unknown_code_decides_nothing(desk: Tickets, act: Callable[[Tickets, str], Ticket]) -> None:
    asked = desk.request(DELETE, **FACTS)
    for code in ("ZZZZ-ZZZZ", "", "-", asked.code[:-1], DELETE):
        with pytest.raises(TicketError, match="Nothing was changed"):
            act(desk, code)
    assert desk.waiting() == [asked]


# Time


def test_a_request_that_nobody_answers_expires(desk: Tickets, clock: Clock) -> None:
    code = desk.request(DELETE, **FACTS).code
    clock.time += 99.9
    assert desk.find(code) is not None
    clock.time += 0.1
    assert desk.find(code) is None
    assert desk.waiting() == []
    with pytest.raises(TicketError, match="expired"):
        desk.approve(code, "ada")


def test_an_approval_is_good_for_its_own_time_and_no_longer(desk: Tickets, clock: Clock) -> None:
    code = desk.request(DELETE, **FACTS).code
    clock.time += 90
    desk.approve(code, "ada")
    clock.time += 99
    assert desk.find(code) is not None
    clock.time += 1
    assert desk.take(DELETE) is None


def test_a_late_approval_is_still_good_within_its_time(desk: Tickets, clock: Clock) -> None:
    code = desk.request(DELETE, **FACTS).code
    clock.time += 90
    desk.approve(code, "ada")
    clock.time += 99
    assert desk.take(DELETE) is not None


def test_expired_and_used_tickets_leave_the_disk(desk: Tickets, directory: Path, clock: Clock) -> None:
    desk.approve(desk.request(DELETE, **FACTS).code, "ada")
    desk.take(DELETE)
    desk.request(DELETE, **FACTS)
    clock.time += 100
    desk.request(REGENERATE, **FACTS)
    (left,) = json.loads((directory / "tickets.json").read_text())["tickets"]
    assert left["digest"] == REGENERATE


# Codes


def test_a_code_is_eight_letters_that_nobody_misreads(desk: Tickets) -> None:
    codes = [desk.request(hashlib.sha256(bytes([n])).hexdigest(), **FACTS).code for n in range(30)]
    assert len(set(codes)) == 30
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", code) for code in codes)


def test_a_code_that_is_taken_is_not_given_again(desk: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = iter("A" * 8 + "A" * 8 + "B" * 8)
    monkeypatch.setattr(secrets, "choice", lambda _: next(letters))
    assert [desk.request(digest, **FACTS).code for digest in (DELETE, REGENERATE)] == ["AAAA-AAAA", "BBBB-BBBB"]


@pytest.mark.parametrize("typed", ["10AB-01CD", "10ab01cd", " ioab-olcd\n", "10-ab-01-cd", "LOAB OICD"])
def test_a_code_is_found_however_it_is_typed(desk: Tickets, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    letters = iter("10AB01CD")
    monkeypatch.setattr(secrets, "choice", lambda _: next(letters))
    asked = desk.request(DELETE, **FACTS)
    assert desk.find(typed) == asked


@given(st.text())
def test_any_text_is_safe_to_look_up(code: str) -> None:
    assert Tickets(Path("/nonexistent/state")).find(code) is None


# Limits


def test_a_hundred_requests_may_wait_and_no_more(desk: Tickets, clock: Clock) -> None:
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(MAX_WAITING + 1)]
    first, *_ = [desk.request(digest, **FACTS) for digest in digests[:-1]]
    with pytest.raises(TicketError, match="No approval was asked for"):
        desk.request(digests[-1], **FACTS)
    assert desk.request(digests[0], **FACTS) == first
    desk.deny(first.code)
    assert desk.request(digests[-1], **FACTS).state == "waiting"


@pytest.mark.parametrize("digest", ["", "0" * 63, "g" * 64, DELETE.upper()])
def test_a_digest_that_binds_nothing_is_refused(desk: Tickets, digest: str) -> None:
    with pytest.raises(TicketError, match="not a SHA-256"):
        desk.request(digest, **FACTS)
    assert desk.waiting() == []


def test_a_file_that_would_grow_too_large_is_left_as_it_is(desk: Tickets) -> None:
    asked = desk.request(DELETE, **FACTS)
    with pytest.raises(TicketError, match="too large"):
        desk.request(REGENERATE, **{**FACTS, "lines": ("x" * 1024 * 1024,)})
    assert desk.waiting() == [asked]


# The file


def test_the_state_is_private(desk: Tickets, directory: Path) -> None:
    desk.request(DELETE, **FACTS)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {
        "tickets.json": 0o600,
        "tickets.lock": 0o600,
    }


def test_looking_creates_nothing(desk: Tickets, directory: Path) -> None:
    assert desk.waiting() == []
    assert desk.find("ABCD-EFGH") is None
    assert not directory.exists()


def test_a_file_left_by_a_killed_process_does_not_matter(desk: Tickets, directory: Path) -> None:
    asked = desk.request(DELETE, **FACTS)
    (directory / "tickets.json.new").write_text("half a fi")
    desk.approve(asked.code, "ada")
    assert desk.take(DELETE) is not None
    assert not (directory / "tickets.json.new").exists()


def approved_row(**changed: Any) -> dict[str, Any]:
    row = {
        **FACTS,
        "code": "ABCD-EFGH",
        "digest": DELETE,
        "created": 1_000_000.0,
        "expires": 1_000_050.0,
        "state": "approved",
        "approved_by": "ada",
        **changed,
    }
    return {key: value for key, value in row.items() if value is not None}


def stored(directory: Path, data: bytes) -> None:
    directory.mkdir(mode=0o700)
    (directory / "tickets.json").write_bytes(data)
    (directory / "tickets.json").chmod(0o600)


def test_a_sound_file_with_an_approval_is_taken_from(desk: Tickets, directory: Path) -> None:
    """The rows that the next tests damage are good ones."""
    stored(directory, json.dumps({"version": 1, "tickets": [approved_row()]}).encode())
    assert desk.take(DELETE) is not None


DAMAGED = {
    "empty": b"",
    "cut off": json.dumps({"version": 1, "tickets": [approved_row()]}).encode()[:-5],
    "not utf-8": b"\xff\xfe",
    "not an object": b"[]",
    "another version": json.dumps({"version": 2, "tickets": [approved_row()]}).encode(),
    "no version": json.dumps({"tickets": [approved_row()]}).encode(),
    "no tickets": b'{"version": 1}',
    "too large": json.dumps({"version": 1, "tickets": [approved_row()]}).encode() + b" " * 1024 * 1024,
    "nested too deep": b"[" * 100_000,
    **{
        f"a ticket with {name}": json.dumps({"version": 1, "tickets": [row]}).encode()
        for name, row in {
            "no digest": approved_row(digest=None),
            "an empty digest": approved_row(digest=""),
            "a number for a digest": approved_row(digest=1),
            "a strange code": approved_row(code="ABCDEFGH"),
            "something more": approved_row(extra=1),
            "a text for its expiry": approved_row(expires="never"),
            "no end": approved_row(expires=float("inf")),
            "a huge end": approved_row(expires=10**400),
            "true for a time": approved_row(created=True),
            "a state that is not stored": approved_row(state="used"),
            "an unknown state": approved_row(state="Approved"),
            "lines that are not text": approved_row(lines=[1]),
            "no lines": approved_row(lines=None),
            "a name that is not text": approved_row(subject_name=["Support"]),
        }.items()
    },
    "a ticket that is not an object": b'{"version": 1, "tickets": ["approved"]}',
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_approves_nothing_and_says_so(desk: Tickets, directory: Path, data: bytes) -> None:
    stored(directory, data)
    for act in (
        lambda: desk.take(DELETE),
        lambda: desk.request(DELETE, **FACTS),
        lambda: desk.approve("ABCD-EFGH", "ada"),
        lambda: desk.find("ABCD-EFGH"),
        desk.waiting,
    ):
        with pytest.raises(TicketError, match="is damaged"):
            act()
    assert (directory / "tickets.json").read_bytes() == data


def as_a_link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def as_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def writable_by_the_group(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def writable_by_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


@pytest.mark.parametrize(
    ("which", "make", "says"),
    [
        ("tickets.json", as_a_link, "symbolic link"),
        ("tickets.json", as_a_pipe, "not a regular file"),
        ("tickets.json", writable_by_the_group, "others may write"),
        ("tickets.json", writable_by_all, "others may write"),
        ("tickets.lock", as_a_link, "symbolic link"),
        (".", writable_by_the_group, "others may write"),
        (".", writable_by_all, "others may write"),
        (".", as_a_link, "symbolic link"),
    ],
)
def test_state_that_others_can_reach_approves_nothing(
    desk: Tickets, directory: Path, which: str, make: Callable[[Path], None], says: str
) -> None:
    desk.approve(desk.request(DELETE, **FACTS).code, "ada")
    make(directory / which if which != "." else directory)
    with pytest.raises(TicketError, match=says):
        desk.take(DELETE)
    if which != "tickets.lock":  # only a change needs the lock
        with pytest.raises(TicketError, match=says):
            desk.waiting()


@pytest.mark.skipif(sys.platform == "win32", reason="no owners there")
def test_state_of_another_user_approves_nothing(
    desk: Tickets, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.approve(desk.request(DELETE, **FACTS).code, "ada")
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(TicketError, match="belongs to another user"):
        desk.take(DELETE)
    monkeypatch.undo()
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        info = list(real(fd))
        info[4] = me + 1
        return os.stat_result(info)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(TicketError, match=r"tickets\.json belongs to another user"):
        desk.take(DELETE)


@pytest.mark.parametrize("broken", ["replace", "fsync", "write"])
def test_an_approval_that_cannot_be_used_up_on_the_disk_is_not_given(
    desk: Tickets, directory: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    desk.approve(desk.request(DELETE, **FACTS).code, "ada")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, broken, fail)
        with pytest.raises(TicketError, match="No space left on device"):
            desk.take(DELETE)
    assert sorted(os.listdir(directory)) == ["tickets.json", "tickets.lock"]
    assert desk.take(DELETE) is not None


def test_a_lock_that_nobody_gives_back_is_an_error_and_not_a_hang(
    desk: Tickets, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.approve(desk.request(DELETE, **FACTS).code, "ada")
    monkeypatch.setattr(tickets, "exclusive", partial(files.exclusive, seconds=0.02))
    refused = pytest.raises(TicketError, match="keeps it locked")
    with (directory / "tickets.lock").open("rb") as other, files.exclusive(other.fileno()), refused:
        desk.take(DELETE)
    assert desk.take(DELETE) is not None


# Several processes


def test_of_many_takers_one_gets_the_approval(directory: Path) -> None:
    desk = Tickets(directory)
    for _ in range(3):
        desk.approve(desk.request(DELETE, **FACTS).code, "ada")
        script = """
            import sys
            from pathlib import Path
            from runtype_mcp.storage.tickets import Tickets
            desk = Tickets(Path(sys.argv[2]))
            # go
            print("taken" if desk.take(sys.argv[3]) else "none")
        """
        said = [out.strip() for out in race(script, 4, directory, DELETE)]
        assert sorted(said) == ["none", "none", "none", "taken"]


def test_processes_that_ask_and_approve_at_once_lose_nothing(directory: Path) -> None:
    script = f"""
        import hashlib, sys
        from pathlib import Path
        from runtype_mcp.storage.tickets import Tickets
        desk = Tickets(Path(sys.argv[2]))
        facts = {FACTS!r}
        # go
        for turn in range(8):
            own = hashlib.sha256(f"{{sys.argv[1]}} {{turn}}".encode()).hexdigest()
            shared = hashlib.sha256(str(turn).encode()).hexdigest()
            desk.approve(desk.request(own, **facts).code, sys.argv[1])
            print(desk.request(shared, **facts).code, desk.take(own) is not None)
    """
    said = [out.split() for out in race(script, 3, directory)]
    assert said[0] == said[1] == said[2]
    assert said[0][1::2] == ["True"] * 8
    assert sorted(ticket.code for ticket in Tickets(directory).waiting()) == sorted(said[0][::2])


def test_two_takers_in_one_process_share_one_approval(desk: Tickets, directory: Path, clock: Clock) -> None:
    """The second taker comes while the first holds the lock and has not yet saved."""
    desk.approve(desk.request(DELETE, **FACTS).code, "ada")
    second = Tickets(directory, now=clock, ttl=100)
    outcomes: list[object] = []
    real = files.create_private

    def late(*args: Any, **kwargs: Any) -> None:
        with suppress(TicketError):
            outcomes.append(second.take(DELETE))
        real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tickets, "create_private", late)
        patched.setattr(tickets, "exclusive", partial(files.exclusive, seconds=0.02))
        assert desk.take(DELETE) is not None
    assert outcomes == []


# Where the state is


PLATFORM = {"linux": ".local/state", "darwin": "Library/Application Support", "win32": "AppData/Local"}


@pytest.mark.parametrize("platform", PLATFORM)
@pytest.mark.parametrize("empty", [{}, {"RUNTYPE_MCP_STATE_DIR": "", "XDG_STATE_HOME": "", "LOCALAPPDATA": ""}])
def test_the_state_is_where_the_system_keeps_such_things(
    monkeypatch: pytest.MonkeyPatch, platform: str, empty: dict[str, str]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/home/ada")
    assert state_dir(empty) == Path("/home/ada", PLATFORM[platform], "runtype-mcp")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RUNTYPE_MCP_STATE_DIR": "/srv/state", "XDG_STATE_HOME": "/xdg"}, "/srv/state"),
        ({"RUNTYPE_MCP_STATE_DIR": "~/s"}, "/home/ada/s"),
        ({"RUNTYPE_MCP_STATE_DIR": "", "XDG_STATE_HOME": "/xdg"}, "/xdg/runtype-mcp"),
        ({"XDG_STATE_HOME": "relative"}, "/home/ada/.local/state/runtype-mcp"),
    ],
)
def test_the_operator_says_where_the_state_is(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/ada")
    assert state_dir(environ) == Path(expected)


def test_the_process_environment_counts_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTYPE_MCP_STATE_DIR", "/srv/state")
    assert state_dir() == Path("/srv/state")


def test_a_clock_that_is_set_back_keeps_no_approval(tmp_path: Path) -> None:
    now = [1_000_000.0]
    desk = Tickets(tmp_path / "state", now=lambda: now[0])
    facts = {"operation": "x", "subject_id": "", "subject_name": "", "environment": "", "base_url": ""}
    for digest in ("0" * 64, "1" * 64):
        desk.approve(desk.request(digest, lines=(), **facts).code, "a person")
    now[0] -= 30
    assert desk.take("0" * 64) is not None, "it may be put right by some seconds"
    now[0] -= 3600
    assert desk.take("1" * 64) is None


def test_without_a_home_there_is_no_place_for_approvals() -> None:
    with pytest.raises(TicketError, match="RUNTYPE_MCP_STATE_DIR"):
        state_dir({"RUNTYPE_MCP_STATE_DIR": "~no-such-user/state"})
