"""The socket file: who may use it, and when an old one is replaced."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from runtype_mcp.http.sockets import listening_file
from tests.processes import run, started, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has none")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short, and that of a test is not
    return Path("mcp.sock")


def health(path: Path) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        return client.get("/healthz")


def test_it_serves_this_user_alone_and_leaves_nothing_behind(path: Path) -> None:
    with started("http", "--sandbox", "--socket", str(path)) as process:
        assert process.popen.stderr is not None
        line = process.popen.stderr.readline().decode()
        assert line == f"Serving MCP on the socket {path.absolute()}, at /mcp (health: /healthz)\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert health(path).json() == {"status": "ok"}
        process.popen.send_signal(signal.SIGTERM)
        assert process.ended() == -signal.SIGTERM
    assert not path.exists()


def test_one_that_a_dead_server_left_is_replaced(path: Path) -> None:
    with started("http", "--sandbox", "--socket", str(path)) as process:
        until(path.exists, "it listens")
        process.popen.kill()
        process.ended()
    assert path.is_socket()
    with listening_file(path, 0o600) as bound, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        bound.accept()[0].close()


def test_one_on_which_somebody_listens_stays(path: Path) -> None:
    with listening_file(path, 0o660):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        done = run("http", "--sandbox", "--socket", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        where = f"the socket {path.absolute()} cannot be used"
        assert done.stderr == f"runtype-mcp: {where} (another server listens there). Choose another --socket.\n"
        assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_stays(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.touch()
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("elsewhere")
    with pytest.raises(OSError, match="something else than a socket"), listening_file(path, 0o600):
        raise AssertionError
    assert os.path.lexists(path)


def test_another_server_s_socket_is_not_removed_at_the_end(path: Path) -> None:
    with listening_file(path, 0o600):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.is_socket()


def test_a_path_that_is_too_long_or_leads_nowhere_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 120), tmp_path / "none" / "mcp.sock"):
        done = run("http", "--sandbox", "--socket", str(path))
        assert done.returncode == 1
        assert done.stderr.startswith("runtype-mcp: the socket ")
        assert done.stderr.count("\n") == 1
