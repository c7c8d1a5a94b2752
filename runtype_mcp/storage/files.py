"""Files that several processes share: opened, locked and created by one set of rules.

The audit log, the tickets and the env files stand on it.
"""

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    # Windows locks are mandatory, so the lock sits on one byte that no reader ever reaches.
    _LOCK_BYTE = 0x7FFFFFFE
    _BUSY: type[OSError] = PermissionError

    def _lock(fd: int) -> None:
        os.lseek(fd, _LOCK_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int) -> None:
        os.lseek(fd, _LOCK_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    _BUSY: type[OSError] = BlockingIOError

    # flock rather than lockf: it belongs to the open file, so it also holds between threads of one process
    # and does not vanish when another part of the process closes the same file.
    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def exclusive(fd: int, *, seconds: float = 5.0) -> Iterator[None]:
    """Hold the exclusive lock of an open file or directory; TimeoutError after `seconds` without it.

    The wait is bounded because a stopped process keeps its lock, and must not stop the others for good.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            _lock(fd)
            break
        except _BUSY:
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps it locked") from None
            time.sleep(0.005)
    try:
        yield
    finally:
        _unlock(fd)


@contextmanager
def opened(path: str | Path, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    """The descriptor of a regular file, closed afterwards; OSError for a symbolic link or anything else.

    With O_CREAT, a new file has mode 0600. A FIFO cannot make the open hang.
    """
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):
        raise OSError(errno.ELOOP, "it is a symbolic link")
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        fd = os.open(path, flags, 0o600, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        yield fd
    finally:
        os.close(fd)


def create_private(path: str | Path, data: bytes, *, dir_fd: int | None = None) -> None:
    """Create a new file of mode 0600 that holds `data`, on the disk when this returns; else no file is left."""
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=dir_fd) as fd:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
            os.fsync(fd)
        except OSError:
            with suppress(OSError):
                os.unlink(path, dir_fd=dir_fd)
            raise


def read_up_to(fd: int, limit: int) -> bytes:
    """At most `limit` bytes from where the descriptor stands, fewer only at the end of the file."""
    parts = []
    while limit > 0 and (part := os.read(fd, limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def sync_directory(directory: Path) -> None:
    """Make a new name in a directory outlast a power cut, where the system can."""
    with suppress(OSError):  # Windows, and some network file systems, cannot; the file itself is in place
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
