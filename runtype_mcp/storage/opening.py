"""Which `State` it is, by what the operator decided."""

from __future__ import annotations

from pathlib import Path

from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.state import MemoryState, State


def open_state(redis_url: str | None, directory: Path | None, *, shared_reads: bool = False) -> State:
    """The state in Redis, or else in files of this user, or else in memory. Nothing is connected or created yet.

    `shared_reads`: several processes of this machine answer the same callers.
    """
    if redis_url:
        from runtype_mcp.storage.redis_state import RedisState  # only where it is used

        return RedisState(redis_url)
    return SqliteState(directory, shared_reads=shared_reads) if directory else MemoryState()
