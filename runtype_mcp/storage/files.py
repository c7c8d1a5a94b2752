"""Files that several processes share: opened, locked and created by one set of rules.

The audit log, the state and the env files stand on it. Every failure is an OSError whose `strerror` is a clause for
people.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def current_user() -> int | None:
    """The effective user of this process; None where files have no owner of that kind (Windows)."""
    return getattr(os, "geteuid", lambda: None)()


@contextmanager
def locked(path: Path, *, seconds: float = 5.0) -> Iterator[None]:
    """Hold the lock file at `path` alone; TimeoutError after `seconds` without it. Blocks the thread.

    The wait is bounded because a stopped process keeps its lock, and must not stop the others for good. The file
    stays where it is: to unlink it would let a waiter lock a file that has lost its name.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.005)
    except Timeout:
        raise TimeoutError(errno.ETIMEDOUT, f"another process keeps {path} locked") from None
    try:
        yield
    finally:
        lock.release()


def check_private(path: str | Path, info: os.stat_result) -> None:
    """Refuse what another user owns or may write to: it can hold what they like."""
    if current_user() is not None and (info.st_uid != current_user() or info.st_mode & 0o022):
        raise PermissionError(
            errno.EPERM,
            f"{path} belongs to another user, or others may write to it. "
            "Check what is in it, then take it over with chown and chmod go-w",
        )


def private_directory(path: Path) -> Path:
    """The directory, created with mode 0700 if it does not exist; refused if it is a link or others may write to it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{path} is a symbolic link or not a folder")
    check_private(path, info)
    return path


def lock_directory(path: Path) -> Path:
    """The directory for lock files at `path`, in a state directory that is private too."""
    private_directory(path.parent)
    return private_directory(path)


@contextmanager
def opened(path: str | Path, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    """The descriptor of a regular file, closed afterwards; OSError for a symbolic link or anything else.

    With O_CREAT, a new file has mode 0600. A FIFO cannot make the open hang.
    """
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):  # pragma: no cover - Windows
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
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(fd)
        except OSError:
            with suppress(OSError):
                os.unlink(path, dir_fd=dir_fd)
            raise


def sync_directory(directory: Path) -> None:
    """Make a new name in a directory outlast a power cut, where the system can."""
    with suppress(OSError):  # Windows, and some network file systems, cannot; the file itself is in place
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
