"""The `State` of one machine: a SQLite file and lock files in a directory that one user owns.

Every change is one transaction, so a process that dies in the middle of it has changed nothing. SQLite and filelock
are imported, and files are opened, at the first use.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from runtype_mcp.storage import files
from runtype_mcp.storage.state import PATIENCE, HeldLock, State, bounded_wait
from runtype_mcp.storage.store import MemoryStore, Store
from runtype_mcp.storage.tickets import TTL, StateError

if TYPE_CHECKING:
    from sqlite3 import Connection

    from filelock import BaseFileLock

T = TypeVar("T")

_SUFFIXES = ("", "-wal", "-shm", "-journal")
_VERSION = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE kept (kind TEXT, key TEXT, value TEXT, expires REAL, PRIMARY KEY (kind, key));
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class SqliteState(State):
    """What all servers and terminals of one user share, below `directory`. It is created by the first change.

    Every method raises StateError where the files are damaged, locked for too long, or open to other users; then
    nothing counts as approved. `shared_reads`: several processes answer the same callers, so last reads are kept here
    too. `trace` is called with each statement before it runs.
    """

    def __init__(
        self,
        directory: Path,
        *,
        now: Callable[[], float] = time.time,
        ttl: float = TTL,
        patience: float = PATIENCE,
        shared_reads: bool = False,
        trace: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(now, ttl, patience, shared_reads=shared_reads)
        self._directory, self._file, self._trace = directory, directory / "state.db", trace
        self._lock_files = directory / "locks"
        self._busy = min(5.0, patience)  # seconds; these waits block a thread
        self._mutex = threading.Lock()
        self._db: Connection | None = None
        self._opened: tuple[int, int] | None = None

    async def _step(self, work: Callable[[Store], T], *, change: bool, durable: bool = True) -> T:
        return await anyio.to_thread.run_sync(self._in_thread, work, change, durable)

    def _in_thread(self, work: Callable[[Store], T], change: bool, durable: bool) -> T:
        with self._mutex, self._plainly():
            if not change and not os.path.lexists(self._file):
                return work(MemoryStore())  # to look creates nothing
            db, now = self._connected(), self._now()
            if not change:
                return work(_Rows(db, now))
            with ExitStack() as stack:
                if not durable:  # to wait for the disk would take most of the time of a request that is counted
                    db.execute("PRAGMA synchronous = NORMAL")
                    stack.callback(db.execute, "PRAGMA synchronous = FULL")
                stack.enter_context(db)
                db.execute("BEGIN IMMEDIATE")
                db.execute("DELETE FROM kept WHERE expires <= ?", (now,))
                return work(_Rows(db, now))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[HeldLock]:
        # A file for each token ever named would fill the directory, and a file that somebody may be waiting for
        # cannot be unlinked. So keys share 4,096 files, and two keys that meet in one wait for each other.
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:3]
        async with AsyncExitStack() as stack:
            with bounded_wait(self._patience):
                lock = await stack.enter_async_context(super().lock(key))
                pause = 0.005
                while (held := self._try_lock(name)) is None:
                    await anyio.sleep(pause)
                    pause = min(0.1, pause * 1.5)
                stack.callback(held.release)
            yield lock

    def _try_lock(self, name: str) -> BaseFileLock | None:
        from filelock import FileLock, Timeout

        with self._plainly():
            lock = FileLock(files.lock_directory(self._lock_files) / f"{name}.lock", mode=0o600)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return None
            return lock

    # The file

    async def aclose(self) -> None:
        with self._mutex:
            if self._db is not None:
                self._db.close()
            self._db = None

    def _connected(self) -> Connection:
        """The connection to the file that has the name now. Whatever others may have written to is refused."""
        files.private_directory(self._directory)
        if self._db is None or self._check() != self._opened:
            if self._db is not None:
                self._db.close()
                self._db = None
            with files.locked(files.lock_directory(self._lock_files) / "state.lock", seconds=self._busy):
                self._db = self._connect(new=self._check() is None)
            self._opened = self._check()
        return self._db

    def _check(self) -> tuple[int, int] | None:
        """Which file has the name; None if none has."""
        identity = None
        for suffix in _SUFFIXES:
            path = f"{self._file}{suffix}"
            try:
                info = os.lstat(path)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, f"{path} is a symbolic link or not a regular file")
            files.check_private(path, info)
            if not suffix:
                identity = (info.st_dev, info.st_ino)
        return identity

    def _connect(self, *, new: bool) -> Connection:
        from sqlite3 import connect

        if new:
            files.create_private(self._file, b"")  # SQLite gives its other files the same mode
            files.sync_directory(self._directory)
        with ExitStack() as stack:
            db = connect(self._file, timeout=self._busy, isolation_level=None, check_same_thread=False)
            stack.callback(db.close)
            db.set_trace_callback(self._trace)
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise StateError(
                    f"{self._file} was written by another version of runtype-mcp. No approval counts, and nothing was "
                    "changed. Use that version, or move the file away and make the calls again."
                )
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # some builds wait for the disk less often by default
            if version == 0:
                db.executescript(_SCHEMA)
            stack.pop_all()
        return db

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Turn the errors of files and of SQLite into sentences."""
        from sqlite3 import DatabaseError, OperationalError

        try:
            yield
        except (OSError, OperationalError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise StateError(
                f"What is kept in {self._directory} could not be used: {what}. Nothing was changed, and no approval "
                "counts. Repair it, then try again."
            ) from error
        except (DatabaseError, ValueError, RecursionError) as error:
            raise StateError(
                f"{self._file} is damaged. Nothing was changed, and no approval counts. "
                "Delete the file and make the calls again."
            ) from error


class _Rows:
    """The store of one step."""

    first_count = 0  # who can delete the file may also put an older one in its place

    def __init__(self, db: Connection, now: float) -> None:
        self._db, self._now = db, now

    def get(self, kind: str, key: str) -> Any:
        return self._select("kind = ? AND key = ?", kind, key).get(key)

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        return {key: value for key in keys if (value := self.get(kind, key)) is not None}

    def items(self, kind: str) -> dict[str, Any]:
        return self._select("kind = ?", kind)

    def _select(self, where: str, *values: str) -> dict[str, Any]:
        query = f"SELECT key, value FROM kept WHERE expires > ? AND {where}"  # noqa: S608 - both are written here
        return {key: json.loads(value) for key, value in self._db.execute(query, (self._now, *values))}

    def put(self, kind: str, key: str, value: Any, expires: float) -> None:
        self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (kind, key, json.dumps(value), expires))

    def delete(self, kind: str, key: str) -> None:
        self._db.execute("DELETE FROM kept WHERE kind = ? AND key = ?", (kind, key))
