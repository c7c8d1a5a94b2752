"""The state in Redis: shared by machines, whole whenever a process dies, and closed whenever Redis fails."""

# ruff: noqa: ASYNC220 - starting a process may block a test

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from runtype_mcp.storage.redis_state import RedisState
from runtype_mcp.storage.state import State, StateError
from runtype_mcp.storage.tickets import Ticket
from tests.faults.tls import signed_by
from tests.processes import SECONDS, unmeasured, until
from tests.redis_server import RedisServer, redis_server
from tests.storage.racing import race
from tests.storage.test_tickets import NOW, digest, request

pytestmark = pytest.mark.anyio

PASSWORD = "pass%20word"
AS_SENT = "pass word"


@pytest.fixture
async def state(redis: RedisServer) -> AsyncIterator[RedisState]:
    state = RedisState(redis.url, now=lambda: NOW)
    yield state
    await state.aclose()


async def approved(state: State) -> Ticket:
    asked = await state.request_ticket(request())
    return await state.decide_ticket(asked.code, approve=True, by="ada", decided_in="terminal")


def held(state: State) -> Any:
    return state.lock("ct_1")


async def writes(state: State, then: Callable[[], object]) -> None:
    """A call that holds the lock, and looks whether it still does before it writes. Meanwhile `then` happens."""
    async with held(state) as lock:
        await lock.ensure_held()
        then()
        await lock.ensure_held()


# What is kept


async def test_all_expires_but_two_numbers(state: RedisState, redis: RedisServer) -> None:
    await approved(state)
    await state.keep_card("card", request(), "claude")
    await state.use_approval("plan", await state.approvals_used("plan"))
    await state.advance_write_epoch()
    await state.record_reads("ada", {"ct_1": {"name": "Shop"}})
    await state.hit("ada", 10, 60)
    with redis.client() as client:
        async with state.lock("ct_1"):
            lives = {key.removeprefix("runtype-mcp:").partition(":")[0]: client.pttl(key) for key in client.scan_iter()}
    day = 24 * 3600_000
    most = {"ticket": 900_000, "card": 600_000, "used": day, "read": day, "rate": 6000, "lock": 10_000, "unended": day}
    assert lives.keys() == most.keys() | {"memory", "epoch"}
    for kind, milliseconds in most.items():
        assert 0 < lives[kind] <= milliseconds, kind
    assert lives["memory"] == lives["epoch"] == -1


async def test_a_lock_that_ended_well_leaves_nothing(state: RedisState, redis: RedisServer) -> None:
    async with state.lock("ct_1"):
        pass
    with redis.client() as client:
        assert client.keys() == []


async def test_tickets_that_expired_leave_their_hash(redis: RedisServer) -> None:
    now = [NOW]
    state = RedisState(redis.url, now=lambda: now[0])
    first = await state.request_ticket(request("first"))
    now[0] += 899
    second = await state.request_ticket(request("second"))
    now[0] += 2
    assert await state.open_tickets() == [second]
    third = await state.request_ticket(request("third"))
    with redis.client() as client:
        kept = client.hgetall("runtype-mcp:ticket")
    assert kept.keys() == {"", second.code, third.code} != {first.code}
    await state.aclose()


async def test_a_change_that_changes_nothing_writes_nothing(redis: RedisServer) -> None:
    said: list[str] = []
    state = RedisState(redis.url, trace=said.append)
    await state.take_ticket(digest("nobody asked"))
    said.clear()
    await state.take_ticket(digest("nobody asked"))
    assert said == ["MGET", "HGETALL"]
    await state.aclose()


async def test_a_read_of_what_was_read_before_is_one_question(redis: RedisServer) -> None:
    said: list[str] = []
    state = RedisState(redis.url, trace=said.append)
    reads = {f"ct_{n}": {"name": "Shop"} for n in range(100)}
    await state.record_reads("ada", reads)
    said.clear()
    await state.record_reads("ada", reads)
    assert said == ["MGET"]
    await state.aclose()


# Several processes


async def test_of_many_processes_one_gets_the_approval(state: RedisState, redis: RedisServer) -> None:
    asked = await approved(state)
    first = await state.approvals_used("plan")
    script = """
        import asyncio, sys
        from runtype_mcp.storage.redis_state import RedisState
        # go
        async def main():
            state = RedisState(sys.argv[2], now=lambda: float(sys.argv[4]))
            print(await state.take_ticket(sys.argv[3]) is not None, await state.use_approval("plan", int(sys.argv[5])))
            await state.aclose()
        asyncio.run(main())
    """
    said = [out.split() for out in race(script, 4, redis.url, asked.digest, NOW, first)]
    for outcomes in zip(*said, strict=True):
        assert sorted(outcomes) == ["False", "False", "False", "True"]
    assert await state.approvals_used("plan") == first + 1


async def test_processes_that_start_together_lose_nothing(redis: RedisServer, tmp_path: Path) -> None:
    """None finds a memory: each makes one, and all must go by the same."""
    script = """
        import asyncio, sys
        from pathlib import Path
        from runtype_mcp.storage.redis_state import RedisState
        from tests.storage.test_tickets import request
        # go
        async def main():
            state = RedisState(sys.argv[2])
            admitted = 0
            for turn in range(5):
                mine = await state.request_ticket(request(sys.argv[1] + str(turn), requested_by=sys.argv[1]))
                await state.decide_ticket(mine.code, approve=True, by="ada", decided_in="terminal")
                assert await state.take_ticket(mine.digest) is not None
                admitted += await state.hit("all", 7, 100_000) == 0.0
                async with state.lock("counter"):
                    assert await state.use_approval("turns", await state.approvals_used("turns"))
                    counter = Path(sys.argv[3])
                    counter.write_text(str(int(counter.read_text()) + 1))
                print((await state.request_ticket(request(turn, requested_by="all"))).code)
            print(admitted)
            await state.aclose()
        asyncio.run(main())
    """
    counter = tmp_path / "counter"
    counter.write_text("0")
    said = [out.split() for out in race(script, 4, redis.url, counter)]
    state = RedisState(redis.url)
    assert {tuple(codes[:5]) for codes in said} == {tuple(said[0][:5])}
    assert sum(int(codes[5]) for codes in said) == 7
    assert sorted(ticket.code for ticket in await state.open_tickets()) == sorted(said[0][:5])
    assert await state.approvals_used("turns") - await state.approvals_used("none") == 20
    assert counter.read_text() == "20"
    await state.aclose()


KILLED = """
import asyncio, itertools, os, signal, sys
import redis, anyio
from runtype_mcp.storage.redis_state import RedisState
from tests.storage.test_tickets import digest, request

NOW = 1_000_000.0

async def prepare(state):
    code = (await state.request_ticket(request("approved"))).code
    await state.decide_ticket(code, approve=True, by="ada", decided_in="terminal")
    await state.use_approval("plan", await state.approvals_used("plan"))
    await state.advance_write_epoch()
    await state.keep_card("card", request("card"), "claude")

async def look(state):
    tickets = sorted((ticket.operation, ticket.state) for ticket in await state.open_tickets())
    used = await state.approvals_used("plan") - await state.approvals_used("another")
    read, card = await state.last_read("ada", "ct_1"), await state.find_card("card", "claude")
    return tickets, used, await state.write_epoch(), read, card is not None

async def deny(state):
    code = (await state.open_tickets())[0].code
    await state.decide_ticket(code, approve=False, by="ada", decided_in="terminal")

async def use(state):
    await state.use_approval("plan", await state.approvals_used("plan"))

ACTS = {
    "ask": lambda state: state.request_ticket(request("new", operation="new")),
    "deny": deny,
    "take": lambda state: state.take_ticket(digest("approved")),
    "use": use,
    "write": lambda state: state.advance_write_epoch(),
    "read": lambda state: state.record_reads("ada", {"ct_1": {}, "ct_2": {}}),
    "card": lambda state: state.decide_card("card", "claude", approve=True, by="ada"),
    "ask first": lambda state: state.request_ticket(request("new", operation="new")),
}

def forked(act, die_at=0):
    "What `act` gives in a new process, as text; None if that was killed before it sent command number `die_at`."
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(30)
        count = itertools.count(1)
        def trace(command):
            if next(count) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        async def main():
            state = RedisState(sys.argv[2], now=lambda: NOW, trace=trace)
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
    with redis.Redis.from_url(sys.argv[2]) as client:
        client.flushall()
    if "first" not in name:
        forked(prepare)

# go
anyio.run(anyio.sleep, 0)  # what is loaded here is loaded once
for name, act in ACTS.items():
    prepared(name)
    due = forked(look_act_look(act))
    assert due.partition(", None, ")[0] not in due.partition(", None, ")[2], (name, "it changes nothing")
    for number in itertools.count(1):
        prepared(name)
        if forked(act, number) is not None:
            break
        found = forked(look_act_look(act))
        assert found == due, (name, number, found, due)
    print(name, number)
"""


def test_a_process_that_is_killed_between_any_two_commands_has_changed_nothing(redis: RedisServer) -> None:
    """Another process then finds everything as it was before, and can do the same."""
    (said,) = race(KILLED, 1, redis.url)
    commands = dict(line.rsplit(" ", 1) for line in said.splitlines())
    assert commands.keys() == {"ask", "deny", "take", "use", "write", "read", "card", "ask first"}
    assert all(int(count) > 2 for count in commands.values()), commands


# Locks

HOLDER = """
import asyncio, sys
from runtype_mcp.storage.redis_state import RedisState
async def main():
    async with RedisState(sys.argv[1], lease=float(sys.argv[2])).lock("ct_1"):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_a_lock_ends_with_the_lease_of_a_holder_that_died_and_its_plans_are_out_of_date(
    redis: RedisServer,
) -> None:
    """It may have written to the API and told nobody."""
    impatient, patient = RedisState(redis.url, patience=0.05), RedisState(redis.url, patience=SECONDS)
    command = [sys.executable, "-c", HOLDER, redis.url, "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=unmeasured()) as holder:
        try:
            assert holder.stdout is not None
            os.set_blocking(holder.stdout.fileno(), False)
            assert until(holder.stdout.read, "the holder holds") == b"held\n"
            with pytest.raises(StateError, match="Another call"):
                async with held(impatient):
                    pytest.fail("two hold it")
            holder.send_signal(signal.SIGKILL)
            before = await patient.write_epoch()
            async with held(patient):
                assert await patient.write_epoch() > before
        finally:
            holder.kill()
    before = await patient.write_epoch()
    async with held(patient):
        assert await patient.write_epoch() == before, "the holder before ended well"
    await patient.aclose()
    await impatient.aclose()


async def test_a_holder_that_lives_keeps_its_lock_for_longer_than_the_lease(redis: RedisServer) -> None:
    sent: list[str] = []
    state, other = RedisState(redis.url, lease=0.6, trace=sent.append), RedisState(redis.url, patience=0.05)
    async with held(state) as lock:
        sent.clear()
        # Each renewal comes a third of a lease after the one before.
        await anyio.to_thread.run_sync(until, lambda: len(sent) >= 6, "six renewals")
        with pytest.raises(StateError):
            async with held(other):
                pytest.fail("two hold it")
        await lock.ensure_held()
    await state.aclose()
    await other.aclose()


@pytest.mark.parametrize("taken", [True, False], ids=["another has it", "nobody has it"])
async def test_a_holder_that_lost_its_lock_finds_out_and_takes_it_from_nobody(
    state: RedisState, redis: RedisServer, taken: bool
) -> None:
    with redis.client() as client:

        def lose() -> None:
            (key,) = client.keys("runtype-mcp:lock:*")
            client.delete(key)
            if taken:
                client.set(key, "another")

        with pytest.raises(StateError, match=r"has lost its turn.*Nothing was changed"):
            await writes(state, lose)
        assert [client.get(key) for key in client.keys("runtype-mcp:lock:*")] == ["another"] * taken


async def test_a_holder_that_cannot_reach_redis_does_not_write(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        state = RedisState(server.url)
        with pytest.raises(StateError, match="could not be used"):
            await writes(state, server.stop)
        await state.aclose()


async def test_a_lock_that_redis_forgets_is_lost(state: RedisState, redis: RedisServer) -> None:
    with redis.client() as client, pytest.raises(StateError, match="lost its turn"):
        await writes(state, client.flushall)


# Redis fails

USES: dict[str, Callable[[State], Any]] = {
    "ask": lambda state: state.request_ticket(request("b")),
    "take": lambda state: state.take_ticket(digest("delete ct_1")),
    "list": lambda state: state.open_tickets(),
    "find": lambda state: state.find_ticket("ABCD-EFGH"),
    "use": lambda state: state.use_approval("plan", 0),
    "used": lambda state: state.approvals_used("plan"),
    "epoch": lambda state: state.write_epoch(),
    "advance": lambda state: state.advance_write_epoch(),
    "last read": lambda state: state.last_read("ada", "ct_1"),
    "hit": lambda state: state.hit("ada", 1, 60),
    "lock": lambda state: held(state).__aenter__(),
}


async def test_while_redis_is_stopped_all_is_refused_but_reads_and_then_all_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path / "redis") as server:
        state = RedisState(server.url, now=lambda: NOW)
        ticket = await approved(state)
        await state.record_reads("ada", {"ct_1": {"name": "Shop"}})
        for how in (signal.SIGTERM, signal.SIGKILL):
            server.stop(how)
            for name, use in USES.items():
                with pytest.raises(StateError, match=r"cannot be reached.*Nothing was changed, and no approval counts"):
                    pytest.fail(f"{name} gives {await use(state)}")
            caplog.clear()
            for name in "abc":
                await state.record_reads("ada", {"ct_2": {"name": name}})
            assert len(caplog.records) == 1
            server.start()
            assert await state.open_tickets() == [ticket], how
            assert await state.last_read("ada", "ct_1") == {"name": "Shop"}
            await state.record_reads("ada", {"ct_2": {}})
        assert await state.take_ticket(ticket.digest) is not None
        await state.aclose()


async def test_what_redis_forgets_counts_no_more(state: RedisState, redis: RedisServer) -> None:
    """An answer that a person gave before would be good again if the count of used ones began anew."""
    ticket = await approved(state)
    plan_used = await state.approvals_used("plan")
    assert await state.use_approval("plan", plan_used)
    epoch = await state.write_epoch()
    with redis.client() as client:
        client.flushall()
    assert await state.take_ticket(ticket.digest) is None
    assert not await state.use_approval("plan", plan_used)
    assert await state.approvals_used("plan") not in (plan_used, plan_used + 1)
    await state.advance_write_epoch()
    assert await state.write_epoch() > epoch


async def test_a_server_that_never_answers_is_an_error_soon_and_is_left_alone_for_a_moment(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        state = RedisState(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StateError, match="did not answer in time"):
            await state.write_epoch()
        with pytest.raises(StateError, match="has just not answered in time"):
            await state.write_epoch()
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
        await state.aclose()


async def test_no_error_holds_the_password(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", "--requirepass", "another") as server:
        path = server.url.removeprefix("unix://")
        for url in (f"unix://:{PASSWORD}@{path}", f"redis://ada:{PASSWORD}@127.0.0.1:1"):
            state = RedisState(url)
            with pytest.raises(StateError) as caught:
                await state.write_epoch()
            said = str(caught.value)
            assert ":***@" in said
            assert PASSWORD not in said
            assert AS_SENT not in said
            await state.aclose()


@pytest.fixture(scope="module")
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def test_the_certificate_is_checked(tmp_path: Path, port: int) -> None:
    server_file, authority = signed_by("An authority", tmp_path)
    tls = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
    tls += [
        "--tls-cert-file",
        str(server_file),
        "--tls-key-file",
        str(server_file),
        "--tls-ca-cert-file",
        str(authority),
    ]
    url = f"rediss://127.0.0.1:{port}/0"
    trusting = f"{url}?ssl_ca_certs={authority}"
    with redis_server(tmp_path / "redis", *tls, url=trusting) as server:
        for address, trusted in ((server.url, True), (url, False), (trusting.replace("127.0.0.1", "localhost"), False)):
            state = RedisState(address)
            if trusted:
                assert await state.write_epoch() == 0
            else:
                with pytest.raises(StateError, match=r"cannot be reached.*certificate"):
                    await state.write_epoch()
            await state.aclose()


async def test_a_change_that_redis_refuses_is_an_error(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server, server.client() as client:
        state = RedisState(server.url)
        ticket = await approved(state)
        client.config_set("maxmemory", "1")
        for use in (state.take_ticket(ticket.digest), state.hit("ada", 1, 60), held(state).__aenter__()):
            with pytest.raises(StateError, match=r"refused a command.*maxmemory"):
                await use
        client.config_set("maxmemory", "0")
        assert await state.take_ticket(ticket.digest) is not None
        await state.aclose()


async def test_what_another_version_wrote_is_left_alone(state: RedisState, redis: RedisServer) -> None:
    with redis.client() as client:
        client.set("runtype-mcp:memory", json.dumps({"version": 2, "start": 1}))
        for use in (state.write_epoch(), state.advance_write_epoch(), state.open_tickets()):
            with pytest.raises(StateError, match="another version"):
                await use
        assert client.keys() == ["runtype-mcp:memory"]


DAMAGES: dict[str, Callable[[Any], object]] = {
    "a ticket that is not JSON": lambda client: client.hset("runtype-mcp:ticket", "ABCD-EFGH", "{"),
    "a ticket without an end": lambda client: client.hset("runtype-mcp:ticket", "ABCD-EFGH", "{}"),
    "a ticket that is none": lambda client: client.hset(
        "runtype-mcp:ticket", "ABCD-EFGH", json.dumps({"expires": NOW + 1, "value": {}})
    ),
    "tickets of another type": lambda client: client.set("runtype-mcp:ticket", "x"),
    "a memory that is not JSON": lambda client: client.set("runtype-mcp:memory", "x"),
    "a memory that is a list": lambda client: client.set("runtype-mcp:memory", "[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_what_is_damaged_approves_nothing_and_says_so(
    state: RedisState, redis: RedisServer, damage: Callable[[Any], object]
) -> None:
    with redis.client() as client:
        damage(client)
    for use in (state.take_ticket(digest("delete ct_1")), state.request_ticket(request()), state.open_tickets()):
        with pytest.raises(StateError, match=r"Nothing was changed, and no approval counts"):
            await use
