"""The `State` of several machines: a Redis server.

Each change is one script, which Redis runs as a whole or not at all: a process that dies anywhere has changed
everything or nothing. Rate limits and locks have scripts of their own, and all else is a step of a `RedisStore`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from runtype_mcp.storage.redis_connection import RedisConnection, RedisFailure, Script
from runtype_mcp.storage.redis_store import PREFIX, RedisStore, key_name
from runtype_mcp.storage.state import PATIENCE, HeldLock, State, bounded_wait
from runtype_mcp.storage.store import Store
from runtype_mcp.storage.tickets import TTL, StateError

T = TypeVar("T")

LEASE = 10.0
"""Seconds after which a lock ends whose holder died. A holder that lives renews it three times as often."""
CONFLICTS = 5.0
"""Seconds for which a step starts again because others change the same."""

_HIT = Script("""
local now, each, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(now, math.min(tonumber(redis.call('GET', KEYS[1]) or now), now + window))
local wait = full_at + each - (now + window)
if wait > math.min(each / 2, 0.001) then return tostring(wait) end
full_at = full_at + each
redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', math.max(1, math.ceil((full_at - now) * 1000)))
return '0'
""")
# A holder that died may have written to the API and told nobody: who comes next must look again. So a mark stays until
# a holder has ended well, and whoever finds one advances the write epoch.
_ACQUIRE = Script("""
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
if redis.call('GET', KEYS[2]) then
  local epoch = tonumber(redis.call('GET', KEYS[3]) or '0') + 1
  redis.call('SET', KEYS[3], string.format('%.0f', math.max(epoch, tonumber(ARGV[4]))))
end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return 1
""")
_RENEW = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
_RELEASE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == 'ended well' then redis.call('DEL', KEYS[2]) end
return redis.call('DEL', KEYS[1])
""")


class RedisState(State):
    """What all servers of a team share, in the Redis at `url`.

    Every method raises StateError where Redis cannot be used, and then nothing counts as approved; only what callers
    are shown goes on unrecorded. Where Redis loses its memory, approvals, cards and last reads are gone, and no answer
    that a person gave before counts any more. Replicas take the time from their own clocks, which must agree to within
    a few seconds. `lease` is that of a lock, in seconds; `trace` is called with each command before it is sent.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], float] = time.time,
        ttl: float = TTL,
        patience: float = PATIENCE,
        lease: float = LEASE,
        trace: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(now, ttl, patience, shared_reads=True)
        self._redis, self._lease = RedisConnection(url, trace=trace), lease

    async def _step(self, work: Callable[[Store], T], *, change: bool, durable: bool = True) -> T:
        return await anyio.to_thread.run_sync(self._in_thread, work)

    def _in_thread(self, work: Callable[[Store], T]) -> T:
        until = time.monotonic() + CONFLICTS
        with self._plainly():
            while time.monotonic() < until:
                store = RedisStore(self._redis, self._now())
                result = work(store)
                if store.commit():
                    return result
                time.sleep(random.uniform(0, 0.01))  # noqa: S311 - only so that two do not meet again
        raise StateError("Others change the same all the time. Nothing was changed. Try again.")

    async def hit(self, key: str, limit: int, window: float) -> float:
        arguments = (key_name("rate", key), self._now(), window / limit, window)
        return float(await anyio.to_thread.run_sync(self._script, _HIT, arguments[:1], *map(repr, arguments[1:])))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[HeldLock]:
        """Hold `key` alone, among all servers of this Redis, until the lease ends that is renewed while it is held.

        A holder that dies, or that Redis does not hear of for the whole lease, loses the lock to whoever comes next.
        So a holder calls `ensure_held` right before it writes: from that moment nobody else gets the lock for a whole
        lease, by the clock of Redis, and for longer while renewals arrive. Not guaranteed: that a write reaches the API
        within that time, where this process is stopped in between for longer than the lease; and anything where Redis
        loses its memory after `ensure_held`, or fails over to a replica that had not heard of the lock.
        """
        hashed = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        held = _Held(self, (key_name("lock", hashed), key_name("unended", hashed)), secrets.token_hex(16))
        async with AsyncExitStack() as stack:
            with bounded_wait(self._patience):
                await stack.enter_async_context(super().lock(key))
                pause = 0.005
                while not await held.acquire():
                    await anyio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - only to take turns
                    pause = min(0.1, pause * 1.5)
            renewing = asyncio.create_task(held.keep())
            ended = "badly"
            try:
                yield held
                ended = "ended well"
            finally:
                renewing.cancel()
                with anyio.CancelScope(shield=True), suppress(StateError):  # then it ends with its lease
                    await held.release(ended)

    def _script(self, script: Script, keys: Iterable[str], *arguments: str) -> Any:
        with self._plainly():
            return self._redis.run_script(script, list(keys), *arguments)

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except RedisFailure as error:
            raise StateError(
                f"What the servers share could not be used: {error}. Nothing was changed, and no approval counts. "
                "Try again when Redis answers."
            ) from error
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StateError(
                f"What is kept in {self._redis.shown} is damaged. Nothing was changed, and no approval counts. "
                f"Delete the keys that begin with {PREFIX} and make the calls again."
            ) from error

    async def aclose(self) -> None:
        await anyio.to_thread.run_sync(self._redis.close)


@dataclass(frozen=True)
class _Held(HeldLock):
    """A lock and the one who holds it."""

    state: RedisState
    keys: tuple[str, str]
    owner: str

    async def acquire(self) -> bool:
        now = str(int(self.state._now() * 1000))
        keys = (*self.keys, key_name("epoch", ""))
        return bool(await self._run(_ACQUIRE, keys, self._milliseconds, "86400000", now))

    async def keep(self) -> None:
        """Renew it until this is cancelled, or somebody else has it."""
        renewed = True
        while renewed:
            await anyio.sleep(self.state._lease / 3)
            with suppress(StateError):  # the next may be in time
                renewed = await self._renewed()

    async def ensure_held(self) -> None:
        if not await self._renewed():
            raise StateError(
                "This call has lost its turn on the token: the server was stopped for too long, or Redis lost its "
                "memory. Nothing was changed. Call again."
            )

    async def release(self, ended: str) -> None:
        await self._run(_RELEASE, self.keys, ended)

    async def _renewed(self) -> bool:
        return bool(await self._run(_RENEW, self.keys[:1], self._milliseconds))

    async def _run(self, script: Script, keys: Iterable[str], *arguments: str) -> Any:
        return await anyio.to_thread.run_sync(self.state._script, script, keys, self.owner, *arguments)

    @property
    def _milliseconds(self) -> str:
        return str(math.ceil(self.state._lease * 1000))
