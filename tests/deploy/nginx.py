"""A real nginx with `deploy/nginx.conf`: only places of the machine and the addresses of the replicas differ."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import TIMEOUT, until

CONFIG = Path(__file__).parents[2] / "deploy/nginx.conf"


def free_port() -> int:
    """A port that nothing listens on, below those that the system gives to connections: it stays free."""
    while True:
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def free_ports(count: int) -> list[int]:
    """As many of them, each another."""
    found = dict[int, None]()
    while len(found) < count:
        found[free_port()] = None
    return list(found)


def program() -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.fail("nginx is missing: apt-get install nginx")
    return found


def configuration(folder: Path, replicas: Sequence[int], port: int, tls: tuple[Path, Path] | None = None) -> str:
    """The configuration as it is deployed, for replicas on these ports of this machine.

    Args:
        folder: where it writes what it writes to /tmp, and its logs.
        replicas: their ports.
        port: where it listens for callers.
        tls: a certificate and its key; None: it speaks plain HTTP, which costs a test less.
    """
    text = CONFIG.read_text()

    def put(old: str, new: str, times: int = 1) -> None:
        nonlocal text
        assert text.count(old) == times, f"{old!r} stands in nginx.conf {text.count(old)} times"
        text = text.replace(old, new)

    if os.geteuid() == 0:  # else its workers could not enter the folder
        put("worker_processes auto;", "worker_processes auto;\nuser root;")
    put(" /tmp/", f" {folder}/", 6)
    put("error_log /dev/stderr warn;", f"error_log {folder}/error.log warn;")
    put("access_log /dev/stdout json;", f"access_log {folder}/access.log json;")
    server = "server server:8765 max_fails=0;"
    put(server, "\n".join(server.replace("server:8765", f"127.0.0.1:{one}") for one in replicas))
    put("listen 8080;", f"listen unix:{folder}/plain;")
    if tls:
        put("listen 8443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;")
        put("/run/secrets/tls_certificate", str(tls[0]))
        put("/run/secrets/tls_key", str(tls[1]))
    else:
        put("listen 8443 ssl http2;", f"listen 127.0.0.1:{port};")
        text = "\n".join(line for line in text.splitlines() if not line.strip().startswith("ssl_"))
    return text


@dataclass
class Nginx:
    """A running nginx. `url` is its address, `folder` has its logs."""

    url: str
    folder: Path

    def requests(self) -> list[dict[str, Any]]:
        """What it logged so far, a request each."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]


@contextmanager
def nginx(folder: Path, replicas: Sequence[int], tls: tuple[Path, Path] | None = None) -> Iterator[Nginx]:
    """Start nginx before replicas on these ports, until the end of the block."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, replicas, port, tls))
    command = [program(), "-e", str(folder / "error.log"), "-c", str(file), "-g", "daemon off;"]
    with subprocess.Popen(command) as process:
        try:

            def listens() -> bool:
                assert process.poll() is None, (folder / "error.log").read_text()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            until(listens, "nginx listens")
            yield Nginx(f"{'https' if tls else 'http'}://127.0.0.1:{port}", folder)
        finally:
            process.terminate()
            try:
                process.wait(TIMEOUT)
            finally:
                process.kill()
