"""What every state does, whatever it keeps things in."""

import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from runtype_mcp.storage.last_reads import MAX_READS
from runtype_mcp.storage.redis_state import RedisState
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.state import MemoryState, State, StateError
from tests.processes import TIMEOUT
from tests.storage.test_tickets import NOW, digest, request

pytestmark = pytest.mark.anyio

DAY = 24 * 3600
KINDS = ("memory", "sqlite", "shared sqlite", "redis")


class Clock:
    time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
async def open_state(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Callable[..., State]]:
    """Opens a state of each kind: what is opened twice is shared, in so far as the kind can be shared."""
    opened: list[State] = []
    memory: State = MemoryState(now=clock, ttl=100, patience=0.05)

    def open_state(patience: float = 0.05) -> State:
        if request.param == "memory":
            return memory
        if request.param == "redis":
            url = request.getfixturevalue("redis").url
            opened.append(RedisState(url, now=clock, ttl=100, patience=patience))
            return opened[-1]
        shared = request.param.startswith("shared")
        opened.append(SqliteState(tmp_path / "state", now=clock, ttl=100, patience=patience, shared_reads=shared))
        return opened[-1]

    yield open_state
    for state in opened:
        await state.aclose()


@pytest.fixture
def state(open_state: Callable[[], State]) -> State:
    return open_state()


# Last reads


async def test_a_read_is_remembered_for_its_subject_and_token(state: State) -> None:
    shown = {"name": "Support", "allowed_origins": ["https://a.example"], "config": {"x": None, "é\ud800": 1.5}}
    assert await state.last_read("ada", "ct_1") is None
    await state.record_reads("ada", {"ct_1": shown, "ct_2": {"name": "Shop"}})
    assert await state.last_read("ada", "ct_1") == shown
    assert await state.last_read("ada", "ct_2") == {"name": "Shop"}
    for subject, token in (("bob", "ct_1"), ("ada", "ct_3"), ("adact", "_1"), ("", "")):
        assert await state.last_read(subject, token) is None


async def test_only_the_fields_that_were_shown_are_remembered_anew(state: State) -> None:
    await state.record_reads("ada", {"ct_1": {"name": "Old", "config": 1}})
    now = {"name": "New", "config": 2}
    await state.record_reads("ada", {"ct_1": now, "ct_2": now}, (name for name in ["name"]))
    assert await state.last_read("ada", "ct_1") == {"name": "New", "config": 1}
    assert await state.last_read("ada", "ct_2") == now, "all of a token that is new to the subject counts"


async def test_what_the_caller_does_with_its_settings_changes_nothing(state: State) -> None:
    settings = {"name": "Support"}
    await state.record_reads("ada", {"ct_1": settings})
    settings["name"] = "changed later"
    assert await state.last_read("ada", "ct_1") == {"name": "Support"}


async def test_where_processes_share_their_callers_they_share_what_those_were_shown(
    open_state: Callable[[], State], clock: Clock
) -> None:
    one, other = open_state(), open_state()
    shared = one is other or await is_shared(one, other)
    await one.record_reads("ada", {"ct_1": {"name": "Old", "config": 1}})
    await other.record_reads("ada", {"ct_1": {"name": "New", "config": 2}}, ["name"])
    expected = {"name": "New", "config": 1} if shared else {"name": "Old", "config": 1}
    assert await one.last_read("ada", "ct_1") == expected


async def is_shared(one: State, other: State) -> bool:
    await one.record_reads("probe", {"ct_1": {}})
    return await other.last_read("probe", "ct_1") is not None


async def test_what_is_read_once_an_hour_is_remembered_and_the_rest_for_a_day(clock: Clock, tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state", now=clock, shared_reads=True)
    await state.record_reads("ada", {"ct_1": {"name": "Shop"}, "ct_2": {}})
    for _ in range(30):
        clock.time += 3601
        await state.record_reads("ada", {"ct_1": {"name": "Shop"}})
    assert await state.last_read("ada", "ct_1") == {"name": "Shop"}
    assert await state.last_read("ada", "ct_2") is None
    await state.aclose()


async def test_what_is_read_as_it_was_before_is_not_written_again(clock: Clock, tmp_path: Path) -> None:
    said: list[str] = []
    state = SqliteState(tmp_path / "state", now=clock, shared_reads=True, trace=said.append)
    await state.record_reads("ada", {"ct_1": {"name": "Shop"}})
    said.clear()
    await state.record_reads("ada", {"ct_1": {"name": "Shop"}})
    assert said
    assert all(statement.startswith("SELECT") for statement in said)
    await state.aclose()


async def test_a_read_that_cannot_be_remembered_goes_on_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = SqliteState(tmp_path / "state", shared_reads=True)
    await state.record_reads("ada", {"ct_1": {}})
    (tmp_path / "state").chmod(0o777)  # anybody could have written what is in it
    for name in ("Shop", "Support", "Sale"):
        await state.record_reads("ada", {"ct_1": {"name": name}})
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "What callers are shown is not remembered, and reads go on"
    ]
    with pytest.raises(StateError):
        await state.last_read("ada", "ct_1")
    (tmp_path / "state").chmod(0o700)
    await state.record_reads("ada", {"ct_1": {"name": "New"}})
    assert await state.last_read("ada", "ct_1") == {"name": "New"}
    await state.aclose()


async def test_the_oldest_reads_are_forgotten_first() -> None:
    state = MemoryState()
    await state.record_reads("ada", {f"ct_{n}": {} for n in range(MAX_READS)})
    await state.record_reads("ada", {"ct_0": {}, "one more": {}})
    assert [await state.last_read("ada", token) for token in ("ct_0", "ct_1", "one more")] == [{}, None, {}]


# Approvals that were used, and the write epoch


async def test_an_approval_is_used_once(open_state: Callable[[], State]) -> None:
    one, other = open_state(), open_state()
    plan = digest("delete ct_1")
    first = await one.approvals_used(plan)
    assert not await one.use_approval(plan, first + 1)
    assert await one.use_approval(plan, first)
    assert not await other.use_approval(plan, first)
    assert await other.approvals_used(plan) == first + 1
    assert await one.approvals_used(digest("another")) == first
    assert await one.use_approval(plan, first + 1)


@pytest.mark.parametrize("open_state", ["memory", "sqlite"], indirect=True)
async def test_a_used_approval_is_forgotten_after_a_day(state: State, clock: Clock) -> None:
    assert await state.use_approval("a", 0)
    clock.time += DAY - 1
    assert await state.use_approval("b", 0)
    assert await state.approvals_used("a") == 1
    clock.time += 1
    assert await state.use_approval("c", 0)
    assert [await state.approvals_used(plan) for plan in "abc"] == [0, 1, 1]


async def test_the_write_epoch_grows(open_state: Callable[[], State]) -> None:
    one, other = open_state(), open_state()
    seen = [await one.write_epoch()]
    for state in (other, other, one):
        await state.advance_write_epoch()
        assert await one.write_epoch() == await other.write_epoch()
        seen.append(await one.write_epoch())
    assert seen == sorted(set(seen))


async def test_the_write_epoch_grows_also_where_the_store_was_lost(clock: Clock) -> None:
    lost, new = MemoryState(now=clock), MemoryState(now=clock)
    await lost.advance_write_epoch()
    clock.time += 0.001
    await new.advance_write_epoch()
    assert await lost.write_epoch() < await new.write_epoch()


# Rate limits


async def test_a_caller_may_send_so_many_requests_and_then_as_many_as_the_window_refills(
    open_state: Callable[[], State], clock: Clock
) -> None:
    one, other = open_state(), open_state()
    assert [await state.hit("ada", 4, 60) for state in (one, other, one, other)] == [0.0] * 4
    assert await one.hit("ada", 4, 60) == await other.hit("ada", 4, 60) == pytest.approx(15)
    assert await one.hit("bob", 4, 60) == 0.0, "a limit is for one caller"
    clock.time += 14
    assert await one.hit("ada", 4, 60) == pytest.approx(1)
    clock.time += 1
    assert [await one.hit("ada", 4, 60) for _ in range(2)] == [0.0, pytest.approx(15)]
    clock.time += 60
    assert [await one.hit("ada", 4, 60) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, pytest.approx(15)]
    clock.time -= 3600
    assert 0 < await one.hit("ada", 4, 60) <= 15, "a clock that is set back keeps nobody out for longer"


# Tickets


async def test_a_ticket_lives_in_every_server(open_state: Callable[[], State]) -> None:
    server, terminal = open_state(), open_state()
    asked = await server.request_ticket(request())
    assert await terminal.find_ticket(asked.code.lower()) == asked
    assert await terminal.open_tickets() == [asked]
    approved = await terminal.decide_ticket(asked.code, approve=True, by="ada", decided_in="terminal")
    assert (approved.state, approved.decided_by) == ("approved", "ada")
    taken = await server.take_ticket(asked.digest)
    assert taken is not None
    assert (taken.code, taken.state) == (asked.code, "used")
    assert await terminal.take_ticket(asked.digest) is None
    assert await terminal.open_tickets() == []


async def test_tickets_are_listed_oldest_first_and_expire(state: State, clock: Clock) -> None:
    first = await state.request_ticket(request("first"))
    clock.time += 50
    second = await state.request_ticket(request("second"))
    denied = await state.decide_ticket(second.code, approve=False, by="ada", decided_in="terminal")
    assert await state.open_tickets() == [first, denied]
    clock.time += 50
    assert await state.open_tickets() == [denied]
    with pytest.raises(StateError, match="Nothing was changed"):
        await state.decide_ticket(first.code, approve=True, by="ada", decided_in="terminal")


async def test_a_clock_that_is_set_back_and_put_right_brings_no_approval_back(state: State, clock: Clock) -> None:
    asked = await state.request_ticket(request())
    await state.decide_ticket(asked.code, approve=True, by="ada", decided_in="terminal")
    clock.time -= 3600
    assert await state.take_ticket(asked.digest) is None
    clock.time += 3600
    assert await state.take_ticket(asked.digest) is None


# Locks


async def test_a_key_is_held_by_one_call_at_a_time(open_state: Callable[..., State]) -> None:
    states = [open_state(patience=TIMEOUT), open_state(patience=TIMEOUT)]
    held, most = 0, 0

    async def hold(state: State) -> None:
        nonlocal held, most
        async with state.lock("ct_1"):
            held += 1
            most = max(most, held)
            await checkpoint()
            held -= 1

    async with anyio.create_task_group() as group:
        for state in states * 2:
            group.start_soon(functools.partial(hold, state))
    assert (held, most) == (0, 1)


async def test_a_lock_that_is_not_given_back_is_an_error_and_not_a_hang(open_state: Callable[[], State]) -> None:
    holder, other = open_state(), open_state()

    async def wait(state: State) -> None:
        with pytest.raises(StateError, match="Nothing was changed"):
            async with state.lock("ct_1"):
                pytest.fail("two hold it")

    async with holder.lock("ct_1"), anyio.create_task_group() as group:
        group.start_soon(wait, holder)
        group.start_soon(wait, other)
        async with other.lock("ct_2"):
            pass
    async with other.lock("ct_1"):
        pass


async def test_a_call_that_fails_or_is_cancelled_gives_its_lock_back(state: State) -> None:
    with pytest.raises(ZeroDivisionError):
        async with state.lock("ct_1"):
            raise ZeroDivisionError
    with anyio.move_on_after(0) as scope:
        async with state.lock("ct_1"):
            await anyio.sleep(60)
    assert scope.cancelled_caught
    async with state.lock("ct_1"):
        pass
