"""What the server listens on: an address of this machine, or a socket file."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtype_mcp.listen import bind


@contextmanager
def listening_tcp(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket, and its base URL. OSError: the address cannot be used."""
    bound, url = bind(host, port)
    with bound:
        yield bound, url


@contextmanager
def listening_file(path: Path, mode: int) -> Iterator[socket.socket]:
    """A listening socket at `path`, which is removed at the end. Who may use it is up to `mode`.

    Raises:
        OSError: it cannot be made; `strerror` is a clause for people. What is there and was not left behind by a
            server that is gone stays as it is.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EOPNOTSUPP, "this system has no socket files")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        with _alone_in(path.parent):
            _remove_stale(path)
            try:
                bound.bind(str(path))
            except OSError as exc:  # a path that is too long has no number
                raise OSError(exc.errno, exc.strerror or str(exc)) from None
            os.chmod(path, mode)  # nobody can connect before it listens
            bound.listen()
            ours = os.stat(path).st_ino
        try:
            yield bound
        finally:
            with suppress(OSError):
                if os.lstat(path).st_ino == ours:
                    path.unlink()


def _remove_stale(path: Path) -> None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise OSError(errno.EEXIST, "something else than a socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as exc:
            raise OSError(exc.errno, f"whether a server listens there is not known: {exc.strerror or exc}") from None
    raise OSError(errno.EADDRINUSE, "another server listens there")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep servers that start at the same time from taking each other's socket for one that was left behind."""
    import fcntl  # where there are socket files

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
