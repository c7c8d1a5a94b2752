"""A real Redis server for tests: Debian's `redis-server`, as a process of its own in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as CannotConnect

from tests.processes import TIMEOUT, until


@dataclass
class RedisServer:
    """A server at `url`, which listens on a socket in a folder that only this user can enter.

    It writes each change to its disk before it answers, so nothing is lost when it is stopped or killed.
    """

    url: str
    command: list[str]
    folder: Path
    popen: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start it, and wait until it answers. What it held when it was stopped is there again."""
        self.popen = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, "Redis answers")

    def _answers(self) -> bool:
        assert self.popen is not None
        assert self.popen.poll() is None, "redis-server ended: " + " ".join(self.command)
        try:
            with self.client() as client:
                return bool(client.ping())
        except AuthenticationError:  # it wants a password
            return True
        except CannotConnect:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        assert self.popen is not None
        self.popen.send_signal(how)
        self.popen.wait(TIMEOUT)

    def client(self) -> Redis:
        """A client to look with. Close it, or use it as a context."""
        return Redis.from_url(self.url, decode_responses=True)


@contextmanager
def redis_server(folder: Path, *options: str, url: str | None = None) -> Iterator[RedisServer]:
    """A server that keeps its files in `folder`, until the end of the block.

    Args:
        folder: an empty one, such as `tmp_path / "redis"`; it is created.
        options: further ones of the command line, such as `"--requirepass", "secret"`.
        url: where it answers with these options; its socket if it is not given.
    """
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("redis-server is missing: apt-get install redis-server")
    folder.mkdir(exist_ok=True)
    # The path of a socket may have 107 bytes, and those of pytest's folders can be longer.
    with tempfile.TemporaryDirectory(prefix="redis-") as short:
        socket = f"{short}/socket"
        command = [program, "--dir", str(folder), "--unixsocket", socket, "--unixsocketperm", "700", "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning"]
        command += [*([] if "--port" in options else ["--port", "0"]), *options]
        server = RedisServer(url or f"unix://{socket}", command, folder)
        server.start()
        try:
            yield server
        finally:
            assert server.popen is not None
            server.popen.kill()
            server.popen.wait(TIMEOUT)
