"""What `deploy/nginx.conf` does, in a real nginx: what it passes on, what it repeats, and what it never repeats."""

from __future__ import annotations

import asyncio
import re
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from runtype_mcp.settings import Settings
from tests.deploy.nginx import CONFIG, Nginx, configuration, free_ports, nginx, program
from tests.faults.tls import self_signed
from tests.processes import TIMEOUT, until
from tests.support import running


@dataclass
class Behind:
    """What stands behind nginx in these tests: it answers with `status`, in two parts if it has something to wait for.

    The second part is sent when `more` is set.
    """

    status: int = 200
    more: threading.Event | None = None
    heard: list[Request] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await request.body()
        self.heard.append(request)
        headers = [(b"x-request-id", b"its own"), (b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if self.more:
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            assert await asyncio.to_thread(self.more.wait, TIMEOUT)
        await send({"type": "http.response.body", "body": b"data: end\n\n"})


@contextmanager
def before(folder: Path, *behind: Behind, gone: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[Nginx]:
    """nginx before these, and `gone` more where nobody listens."""
    with ExitStack() as stack:
        ports = [int(stack.enter_context(running(one)).rpartition(":")[2]) for one in behind]
        yield stack.enter_context(nginx(folder / "nginx", [*ports, *free_ports(gone)], tls))


def test_nginx_takes_the_configuration_as_it_stands_but_for_its_places(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "pem")
    file = tmp_path / "nginx.conf"
    file.write_text(configuration(tmp_path, [8765], 8443, (pem, pem)))
    done = subprocess.run([program(), "-t", "-c", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_one_replica_is_asked_after_the_other(tmp_path: Path) -> None:
    behind = [Behind(), Behind(), Behind()]
    with before(tmp_path, *behind) as front, httpx.Client() as caller:
        for _ in range(9):
            assert caller.post(f"{front.url}/mcp").status_code == 200
    assert [len(one.heard) for one in behind] == [3, 3, 3]


def test_a_replica_that_is_gone_costs_no_caller_anything(tmp_path: Path) -> None:
    with before(tmp_path, Behind(), gone=2) as front, httpx.Client() as caller:
        assert {caller.post(f"{front.url}/mcp").status_code for _ in range(9)} == {200}


def test_a_replica_that_refuses_new_work_costs_no_caller_anything(tmp_path: Path) -> None:
    behind = [Behind(503), Behind(), Behind(503)]
    with before(tmp_path, *behind) as front, httpx.Client() as caller:
        for number in range(9):
            assert caller.post(f"{front.url}/mcp", content=f"body {number}").status_code == 200
    assert len(behind[1].heard) == 9


def test_a_call_that_was_sent_is_not_sent_again_when_its_replica_dies(tmp_path: Path) -> None:
    taken = list[bytes]()

    class Dies(socketserver.BaseRequestHandler):
        """Takes a request and hangs up."""

        def handle(self) -> None:
            taken.append(self.request.recv(65536))

    with ExitStack() as stack:
        ports = []
        for _ in range(3):
            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dies))
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()
            ports.append(server.server_address[1])
        front = stack.enter_context(nginx(tmp_path / "nginx", ports))
        assert httpx.post(f"{front.url}/mcp", content=b"act").status_code == 502
    assert [b"act" in request for request in taken] == [True]


def test_where_all_refuse_the_caller_is_told_when_to_try_again(tmp_path: Path) -> None:
    behind = [Behind(503), Behind(503), Behind(503)]
    with before(tmp_path, *behind) as front, httpx.Client() as caller:
        assert caller.post(f"{front.url}/mcp").status_code == 503
    assert sum(len(one.heard) for one in behind) == 3


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/", "/mcp/", "/mcp/../metrics", "/docs"])
def test_what_is_for_those_inside_is_not_public(tmp_path: Path, path: str) -> None:
    behind = Behind()
    with before(tmp_path, behind) as front:
        parts = httpx.URL(front.url)
        with socket.create_connection((parts.host, parts.port or 0)) as raw:  # as it is: clients resolve dots
            raw.sendall(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
            assert raw.makefile("rb").readline().split()[1] == b"404"
    assert not behind.heard


@pytest.mark.parametrize(
    "path", ["/mcp", "/healthz", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
)
def test_what_callers_need_is_public(tmp_path: Path, path: str) -> None:
    with before(tmp_path, Behind()) as front:
        assert httpx.get(f"{front.url}{path}").status_code == 200


def test_who_calls_and_which_request_it_is_are_not_for_the_caller_to_say(tmp_path: Path) -> None:
    behind = Behind()
    forged = {"X-Request-Id": "mine", "X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "gopher"}
    with before(tmp_path, behind) as front:
        answer = httpx.post(f"{front.url}/mcp?secret=1", headers=forged | {"Authorization": "Bearer abc"})
        (line,) = until(front.requests, "nginx has logged the request")
        log = (front.folder / "access.log").read_text()
    headers = behind.heard[0].headers
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
    assert answer.headers.get_list("x-request-id") == [headers["x-request-id"]] == [line["request_id"]]
    assert headers["authorization"] == "Bearer abc"
    assert "abc" not in log
    assert "secret" not in log


def test_a_body_that_no_replica_takes_is_refused_before_it_reaches_one(tmp_path: Path) -> None:
    behind = Behind()
    with before(tmp_path, behind) as front:
        assert httpx.post(f"{front.url}/mcp", content=b" " * (2**20 + 1)).status_code == 413
        assert httpx.post(f"{front.url}/mcp", content=b" " * 2**20).status_code == 200
    assert len(behind.heard) == 1


def test_events_arrive_when_they_are_sent(tmp_path: Path) -> None:
    behind = Behind(more=threading.Event())
    assert behind.more
    with before(tmp_path, behind) as front, httpx.stream("GET", f"{front.url}/mcp", timeout=TIMEOUT) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 1"
        behind.more.set()  # the rest is sent only now
        assert [line for line in lines if line] == ["data: end"]


def test_a_call_may_wait_for_a_person_as_long_as_the_operator_lets_it() -> None:
    longest: Any = Settings.model_fields["approval_wait"].metadata
    (most,) = [limit.le for limit in longest if hasattr(limit, "le")]
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", CONFIG.read_text())
    assert int(seconds) >= most + 60


def test_https_is_served_and_http_leads_there(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "pem")
    behind, trusted = Behind(), ssl.create_default_context(cafile=pem)
    with before(tmp_path, behind, tls=(pem, pem)) as front:
        answer = httpx.post(f"{front.url}/mcp", verify=trusted)
        assert (answer.status_code, behind.heard[0].headers["x-forwarded-proto"]) == (200, "https")
        assert "max-age" in answer.headers["strict-transport-security"]
        with httpx.Client(transport=httpx.HTTPTransport(uds=f"{front.folder}/plain")) as caller:
            moved = caller.post("http://mcp.example.com/mcp")
        assert (moved.status_code, moved.headers["location"]) == (308, "https://mcp.example.com/mcp")
