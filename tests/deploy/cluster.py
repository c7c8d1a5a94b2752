"""A team server as it is deployed: replicas as processes of their own, nginx before them, Redis and one API behind."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runtype_mcp.api.scoped_client import Scope
from runtype_mcp.http.callers_file import CallersFile
from tests.deploy.nginx import Nginx, free_ports, nginx
from tests.deploy.shared_api import SharedApi, shared_api
from tests.processes import TIMEOUT, environment, until
from tests.redis_server import RedisServer, redis_server

KEY = "rt_test_cluster"
CALLERS: dict[str, tuple[Scope, ...]] = {
    "admin": ("approve", "delete", "read", "reveal", "write"),
    "other": ("approve", "delete", "read", "reveal", "write"),
    "reader": ("read",),
}


@dataclass
class Replica:
    """One `runtype-mcp http` on a port of its own. It may be killed and started again."""

    number: int
    port: int
    environ: Mapping[str, str]
    folder: Path
    popen: subprocess.Popen[bytes] | None = None
    changing: threading.RLock = field(default_factory=threading.RLock)

    @property
    def log(self) -> Path:
        return self.folder / f"replica-{self.number}.log"

    @property
    def audit(self) -> Path:
        return self.folder / f"audit-{self.number}.jsonl"

    @property
    def pid(self) -> int | None:
        return self.popen.pid if self.popen and self.popen.poll() is None else None

    def start(self, *options: str) -> None:
        """Start it. `until_ready` waits for it."""
        command = [sys.executable, "-m", "runtype_mcp", "http", "--port", str(self.port), *options]
        environ = {"RUNTYPE_MCP_AUDIT": str(self.audit), **self.environ}
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**environ)
            )

    def until_ready(self) -> None:
        def serves() -> bool:
            said = self.log.read_bytes()[self._from :]
            assert self.popen is not None
            assert self.popen.poll() is None, said.decode()
            return b"Serving MCP on " in said

        until(serves, f"replica {self.number} serves")

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send it a signal, and wait for its end: its exit code."""
        assert self.popen is not None
        self.popen.send_signal(how)
        return self.popen.wait(TIMEOUT)


@dataclass
class Cluster:
    """`url` is nginx's; `bearers` has the token of each of `CALLERS`."""

    nginx: Nginx
    api: SharedApi
    redis: RedisServer
    replicas: list[Replica]
    bearers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.nginx.url}/mcp"

    def by_pid(self, pid: int | None) -> Replica:
        (found,) = [replica for replica in self.replicas if replica.popen and replica.popen.pid == pid]
        return found

    def answered_by(self, request_id: str) -> Replica:
        """The replica whose answer nginx passed on."""

        def found() -> str:
            lines = self.nginx.requests()
            return next((line["replica"] for line in lines if line["request_id"] == request_id), "")

        port = int(until(found, "nginx has logged the request").rpartition(":")[2])
        return next(replica for replica in self.replicas if replica.port == port)

    def until_ready(self) -> None:
        """Start whatever does not run, and wait for it."""
        for replica in self.replicas:
            with replica.changing:
                if replica.pid is None:
                    replica.start()
        for replica in self.replicas:
            replica.until_ready()


@contextmanager
def cluster(folder: Path, replicas: int = 3, **environ: str) -> Iterator[Cluster]:
    """Start all of it, until the end of the block. `environ` is added to the settings of every replica."""
    with ExitStack() as stack:
        api = stack.enter_context(shared_api())
        redis = stack.enter_context(redis_server(folder / "redis"))
        ports = free_ports(replicas)
        front = stack.enter_context(nginx(folder / "nginx", ports))
        callers = folder / "callers"
        bearers = {name: CallersFile(callers).add(name, scopes) for name, scopes in CALLERS.items()}
        settings = {
            "RUNTYPE_API_KEY": KEY,
            "RUNTYPE_BASE_URL": api.url,
            "RUNTYPE_MCP_AUTH": "static",
            "RUNTYPE_MCP_RATE_LIMIT": "999999",
            "RUNTYPE_MCP_CALLERS": str(callers),
            "RUNTYPE_MCP_PUBLIC_URL": front.url,
            "RUNTYPE_MCP_REDIS_URL": redis.url,
            "RUNTYPE_MCP_REQUEST_STATE_KEYS": secrets.token_hex(32),
            **environ,
        }
        made = [Replica(number, port, settings, folder) for number, port in enumerate(ports, 1)]
        api.pids = lambda: [replica.pid for replica in made if replica.pid is not None]
        found = Cluster(front, api, redis, made, bearers)
        stack.callback(_end_all, made)
        found.until_ready()
        yield found


def _end_all(replicas: list[Replica]) -> None:
    running = [replica.popen for replica in replicas if replica.pid is not None and replica.popen]
    for popen in running:
        popen.terminate()  # so that their coverage is kept
    for popen in running:
        try:
            popen.wait(5)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait(TIMEOUT)
