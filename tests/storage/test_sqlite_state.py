"""The state on disk: shared by processes, private to a user, and whole whenever a process dies."""

# ruff: noqa: ASYNC220, ASYNC240 - looking at the disk may block a test

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import pytest

from runtype_mcp.storage.files import locked
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.state import StateError
from runtype_mcp.storage.tickets import Ticket
from tests.processes import SECONDS, unmeasured, until
from tests.storage.racing import full_disk, race
from tests.storage.test_tickets import NOW, digest, request

pytestmark = pytest.mark.anyio


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def state(directory: Path) -> AsyncIterator[SqliteState]:
    state = SqliteState(directory, now=lambda: NOW)
    yield state
    await state.aclose()


async def approved(state: SqliteState) -> Ticket:
    asked = await state.request_ticket(request())
    return await state.decide_ticket(asked.code, approve=True, by="ada", decided_in="terminal")


# The files


async def test_what_is_kept_is_private(state: SqliteState, directory: Path) -> None:
    old = os.umask(0)
    try:
        await state.request_ticket(request())
        async with state.lock("ct_1"):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*")}
    finally:
        os.umask(old)
    assert stat.S_IMODE(directory.stat().st_mode) == modes.pop("locks") == 0o700
    assert modes.keys() >= {"state.db", "state.db-wal", "state.db-shm", "state.lock"}
    assert set(modes.values()) == {0o600}


async def test_to_look_creates_nothing(state: SqliteState, directory: Path) -> None:
    assert await state.open_tickets() == []
    assert await state.find_ticket("ABCD-EFGH") is None
    assert (await state.approvals_used("x"), await state.write_epoch()) == (0, 0)
    assert not directory.exists()


def test_what_it_needs_is_imported_at_the_first_use(directory: Path) -> None:
    script = f"""
import sys, pathlib
from runtype_mcp.storage.sqlite_state import SqliteState
SqliteState(pathlib.Path({str(directory)!r}))
print({{"sqlite3", "filelock"}} & sys.modules.keys())
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True, env=unmeasured())
    assert done.stdout == "set()\n"


async def test_every_change_waits_for_the_disk(directory: Path) -> None:
    said: list[str] = []
    state = SqliteState(directory, trace=said.append)
    await state.request_ticket(request())
    await state.aclose()
    assert [statement for statement in said if "synchronous" in statement] == ["PRAGMA synchronous = FULL"]


async def test_what_a_power_cut_may_take_does_not_wait_for_the_disk_and_the_next_change_does(directory: Path) -> None:
    said: list[str] = []
    state = SqliteState(directory, trace=said.append)
    await state.hit("ada", 1, 60)
    await state.use_approval("plan", 0)
    await state.aclose()
    ways = [statement for statement in said if "synchronous" in statement or statement == "COMMIT"]
    full, normal = "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"
    assert ways[-5:] == [full, normal, "COMMIT", full, "COMMIT"]


async def test_any_number_of_keys_needs_a_bounded_number_of_files(state: SqliteState, directory: Path) -> None:
    for n in range(50):
        async with state.lock(f"ct_{n}\ud800"):
            pass
    names = {path.name for path in (directory / "locks").iterdir()}
    assert all(len(name) == len("000.lock") for name in names)


async def test_old_rows_leave_the_file(directory: Path) -> None:
    now = [NOW]
    state = SqliteState(directory, now=lambda: now[0])
    for _ in range(2):
        await approved(state)
        await state.take_ticket(digest("delete ct_1"))
        await state.request_ticket(request("waits"))
        await state.use_approval(digest(now), 0)
        now[0] += 24 * 3600
    assert await state.open_tickets() == []
    await state.aclose()
    with closing(sqlite3.connect(directory / "state.db")) as db:
        kinds = [kind for (kind,) in db.execute("SELECT kind FROM kept ORDER BY kind")]
    assert kinds == ["ticket", "used"]


async def test_a_file_that_is_deleted_under_a_running_server_is_made_anew(state: SqliteState, directory: Path) -> None:
    await approved(state)
    (directory / "state.db").unlink()
    assert await state.open_tickets() == []
    assert await state.take_ticket(digest("delete ct_1")) is None
    asked = await state.request_ticket(request())
    terminal = SqliteState(directory, now=lambda: NOW)
    await terminal.decide_ticket(asked.code, approve=True, by="ada", decided_in="terminal")
    await terminal.aclose()
    assert await state.take_ticket(asked.digest) is not None


# Whom to believe


def as_a_link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def as_a_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


def writable_by(bits: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.touch()
        path.chmod(stat.S_IMODE(path.stat().st_mode) | bits)

    return change


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, -1)


def as_a_file(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.touch()


@pytest.mark.parametrize(
    ("which", "make", "says"),
    [
        ("state.db", as_a_link, "symbolic link"),
        ("state.db", as_a_pipe, "not a regular file"),
        ("state.db", writable_by(0o020), "others may write"),
        ("state.db", writable_by(0o002), "others may write"),
        ("state.db", of_another_user, "belongs to another user"),
        ("state.db-wal", writable_by(0o002), "others may write"),
        ("state.db-journal", as_a_pipe, "not a regular file"),
        (".", writable_by(0o020), "others may write"),
        (".", writable_by(0o002), "others may write"),
        (".", as_a_link, "symbolic link"),
        (".", of_another_user, "belongs to another user"),
        ("locks", writable_by(0o002), "others may write"),
        ("locks", as_a_link, "symbolic link"),
        ("locks", as_a_file, "exists"),
    ],
)
@pytest.mark.parametrize("opened", [True, False], ids=["while it is open", "when it is opened"])
async def test_what_others_can_reach_approves_nothing(
    state: SqliteState, directory: Path, which: str, make: Callable[[Path], None], says: str, opened: bool
) -> None:
    await approved(state)
    if not opened:
        await state.aclose()
    make(directory / which if which != "." else directory)
    if which != "locks":
        for read in (state.take_ticket(digest("delete ct_1")), state.open_tickets(), state.approvals_used("x")):
            with pytest.raises(StateError, match=f"{says}.*no approval counts"):
                await read
    if which in (".", "locks"):
        with pytest.raises(StateError, match=says):
            async with state.lock("ct_1"):
                pytest.fail("it is held")


def row(**changed: Any) -> str:
    ticket = Ticket(**asdict(request()), code="ABCD-EFGH", created=NOW, expires=NOW + 900, state="approved")
    fields = {**asdict(ticket), **changed}
    return json.dumps({key: value for key, value in fields.items() if value is not None})


def put(directory: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "state.db", isolation_level=None)) as db:
        db.execute(statement, values)


DAMAGED_ROWS = {
    "no digest": row(digest=None),
    "something more": row(extra=1),
    "a strange code": row(code="ABCDEFGH"),
    "a text for its end": row(expires="never"),
    "no end": row(expires=float("inf")),
    "a state that is not stored": row(state="used"),
    "no effects": row(effects=1),
    "not an object": "[]",
    "not JSON": "{",
    "nested too deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGED_ROWS.values(), ids=DAMAGED_ROWS)
async def test_a_damaged_row_approves_nothing_and_says_so(state: SqliteState, directory: Path, text: str) -> None:
    await state.advance_write_epoch()
    put(directory, "INSERT INTO kept VALUES ('ticket', 'ABCD-EFGH', ?, 1e999)", row())
    assert await state.find_ticket("ABCD-EFGH"), "a row is good until it is damaged"
    put(directory, "UPDATE kept SET value = ? WHERE kind = 'ticket'", text)
    for act in (
        state.take_ticket(digest("delete ct_1")),
        state.request_ticket(request()),
        state.decide_ticket("ABCD-EFGH", approve=True, by="ada", decided_in="terminal"),
        state.open_tickets(),
    ):
        with pytest.raises(StateError, match=r"is damaged\. Nothing was changed, and no approval counts"):
            await act


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda file: file.write_bytes(b"nonsense" * 1000), "is damaged"),
        (lambda file: put(file.parent, "PRAGMA user_version = 2"), "another version"),
        (lambda file: put(file.parent, "UPDATE kept SET value = 'x'"), "is damaged"),
        (lambda file: put(file.parent, "DROP TABLE kept"), "no such table"),
        (lambda file: put(file.parent, "PRAGMA user_version = 0"), "already exists"),
    ],
)
async def test_a_damaged_file_is_an_error_and_not_an_empty_state(
    state: SqliteState, directory: Path, damage: Callable[[Path], object], says: str
) -> None:
    await state.advance_write_epoch()
    await state.aclose()
    damage(directory / "state.db")
    before = (directory / "state.db").read_bytes()
    for _ in range(2):
        with pytest.raises(StateError, match=says):
            await state.write_epoch()
    assert (directory / "state.db").read_bytes() == before


async def test_a_log_that_outlived_its_file_brings_nothing_back(state: SqliteState, directory: Path) -> None:
    await approved(state)
    log = directory / "state.db-wal"
    kept = log.read_bytes()
    assert kept
    await state.aclose()
    (directory / "state.db").unlink()
    log.write_bytes(kept)
    log.chmod(0o600)
    await state.advance_write_epoch()
    assert await state.open_tickets() == []


async def test_a_full_disk_uses_up_nothing(state: SqliteState) -> None:
    asked = await approved(state)
    with full_disk(1), pytest.raises(StateError, match=r"could not be used: .*Nothing was changed"):
        await state.take_ticket(asked.digest)
    assert await state.take_ticket(asked.digest) is not None


# Several processes


async def test_of_many_processes_one_gets_the_approval(state: SqliteState, directory: Path) -> None:
    asked = await approved(state)
    script = """
        import asyncio, sys
        from pathlib import Path
        from runtype_mcp.storage.sqlite_state import SqliteState
        # go
        async def main():
            state = SqliteState(Path(sys.argv[2]), now=lambda: float(sys.argv[4]))
            print(await state.take_ticket(sys.argv[3]) is not None, await state.use_approval("plan", 0))
            await state.aclose()
        asyncio.run(main())
    """
    said = [out.split() for out in race(script, 4, directory, asked.digest, NOW)]
    for outcomes in zip(*said, strict=True):
        assert sorted(outcomes) == ["False", "False", "False", "True"]
    assert await state.approvals_used("plan") == 1


async def test_processes_that_start_together_lose_nothing(directory: Path) -> None:
    """None finds a file: each creates it, and all must end up in the same one."""
    script = """
        import asyncio, sys
        from pathlib import Path
        from runtype_mcp.storage.sqlite_state import SqliteState
        from tests.storage.test_tickets import request
        # go
        async def main():
            state = SqliteState(Path(sys.argv[2]))
            for turn in range(5):
                mine = await state.request_ticket(request(sys.argv[1] + str(turn), requested_by=sys.argv[1]))
                await state.decide_ticket(mine.code, approve=True, by="ada", decided_in="terminal")
                assert await state.take_ticket(mine.digest) is not None
                async with state.lock("counter"):
                    assert await state.use_approval("turns", await state.approvals_used("turns"))
                    counter = Path(sys.argv[3])
                    counter.write_text(str(int(counter.read_text()) + 1))
                print((await state.request_ticket(request(turn, requested_by="all"))).code)
            await state.aclose()
        asyncio.run(main())
    """
    counter = directory.with_name("counter")
    counter.write_text("0")
    said = race(script, 4, directory, counter)
    state = SqliteState(directory)
    assert set(said) == {said[0]}
    assert sorted(ticket.code for ticket in await state.open_tickets()) == sorted(said[0].split())
    assert await state.approvals_used("turns") == 20
    assert counter.read_text() == "20"
    await state.aclose()


async def test_a_lock_ends_with_its_holder(directory: Path) -> None:
    script = f"""
import asyncio, pathlib
from runtype_mcp.storage.sqlite_state import SqliteState
async def main():
    async with SqliteState(pathlib.Path({str(directory)!r})).lock("ct_1"):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""
    impatient, patient = SqliteState(directory, patience=0.05), SqliteState(directory, patience=SECONDS)
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with holder:
        try:
            assert holder.stdout is not None
            os.set_blocking(holder.stdout.fileno(), False)
            assert until(holder.stdout.read, "the holder holds") == b"held\n"
            with pytest.raises(StateError):
                async with impatient.lock("ct_1"):
                    pytest.fail("two hold it")
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, holder.send_signal, signal.SIGKILL)
                async with patient.lock("ct_1"):
                    pass
        finally:
            holder.kill()


async def test_a_file_that_stays_locked_is_an_error_and_not_a_hang(directory: Path) -> None:
    state = SqliteState(directory, patience=0.05)
    (directory / "locks").mkdir(parents=True, mode=0o700)
    directory.chmod(0o700)
    with locked(directory / "locks" / "state.lock"), pytest.raises(StateError, match=r"keeps .*state\.lock locked"):
        await state.advance_write_epoch()
    await state.advance_write_epoch()
    with closing(sqlite3.connect(directory / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="database is locked"):
            await state.advance_write_epoch()
    before = await state.write_epoch()
    await state.advance_write_epoch()
    assert await state.write_epoch() > before
    await state.aclose()


# A process that dies

KILLED = """
import anyio, asyncio, filelock, itertools, os, shutil, signal, sqlite3, sys
from pathlib import Path
from runtype_mcp.storage.sqlite_state import SqliteState
from tests.storage.test_tickets import digest, request

NOW = 1_000_000.0

async def prepare(state):
    code = (await state.request_ticket(request("approved"))).code
    await state.decide_ticket(code, approve=True, by="ada", decided_in="terminal")
    await state.use_approval("plan", 0)
    await state.advance_write_epoch()

async def look(state):
    tickets = sorted((ticket.operation, ticket.state) for ticket in await state.open_tickets())
    return tickets, await state.approvals_used("plan"), await state.write_epoch()

async def deny(state):
    code = (await state.open_tickets())[0].code
    await state.decide_ticket(code, approve=False, by="ada", decided_in="terminal")

ACTS = {
    "ask": lambda state: state.request_ticket(request("new", operation="new")),
    "deny": deny,
    "take": lambda state: state.take_ticket(digest("approved")),
    "use": lambda state: state.use_approval("plan", 1),
    "write": lambda state: state.advance_write_epoch(),
    "ask first": lambda state: state.request_ticket(request("new", operation="new")),
}

def forked(act, directory, die_at=0):
    "What `act` gives in a new process, as text; None if that was killed before its statement number `die_at`."
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(30)
        count = itertools.count(1)
        def trace(statement):
            if next(count) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        async def main():
            state = SqliteState(directory, now=lambda: NOW, trace=trace)
            found = await act(state)
            await state.aclose()
            return found
        os.write(writing, repr(asyncio.run(main())).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    if die_at and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    assert status == 0, status
    return said

def look_act_look(act):
    async def looks(state):
        return await look(state), await act(state) and None, await look(state)
    return looks

def prepared(name):
    shutil.rmtree(top / name, ignore_errors=True)
    shutil.copytree(top / "prepared", top / name, ignore=(lambda *_: ["state.db"]) if "first" in name else None)
    return top / name

# go
top = Path(sys.argv[2])
anyio.run(anyio.sleep, 0)  # what is loaded here is loaded once
forked(prepare, top / "prepared")
for name, act in ACTS.items():
    due = forked(look_act_look(act), prepared(name))
    assert due.partition(", None, ")[0] not in due.partition(", None, ")[2], (name, "it changes nothing")
    for number in itertools.count(1):
        if forked(act, prepared(name), number) is not None:
            break
        found = forked(look_act_look(act), top / name)
        assert found == due, (name, number, found, due)
    print(name, number)
"""


def test_a_process_that_is_killed_at_any_statement_has_changed_nothing(tmp_path: Path) -> None:
    """Another process then finds everything as it was before, and can do the same."""
    (said,) = race(KILLED, 1, tmp_path)
    statements = dict(line.rsplit(" ", 1) for line in said.splitlines())
    assert statements.keys() == {"ask", "deny", "take", "use", "write", "ask first"}
    assert all(int(count) > 6 for count in statements.values()), statements
