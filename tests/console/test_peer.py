"""Another user of the machine who reads the address in a process list opens nothing with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from runtype_mcp.console.peer import is_of_another_user
from tests.console.browsing import OPENED, pages

OWN, PORT, THEIRS = 49152, 50000, 4_000_000_000
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(source: str, target: str, uid: int) -> str:
    return f"   0: {source} {target} 01 00000000:00000000 00:00000000 00000000 {uid:5} 0 12345 1 0000 20 4 30 10 -1\n"


@pytest.mark.parametrize(
    ("rows", "other"),
    [
        ([row("0100007F:C350", "0100007F:C000", THEIRS)], True),
        ([row("0100007F:C350", "0100007F:C000", 0)], False),
        ([row("0100007F:C000", "0100007F:C350", THEIRS)], False),
        ([row("0100007F:C351", "0100007F:C000", THEIRS)], False),
        ([row("0200007F:C350", "0100007F:C000", THEIRS)], False),
        ([], False),
    ],
    ids=["another user's", "the system's", "this end of it", "another connection", "another address", "unknown"],
)
def test_the_owner_of_a_connection_is_read_from_the_system(rows: list[str], other: bool, tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(HEAD + "".join(rows))
    assert is_of_another_user(PORT, OWN, table) is other


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such users")
def test_a_connection_of_this_user_is_this_users(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(HEAD + row("0100007F:C350", "0100007F:C000", os.getuid()))
    assert not is_of_another_user(PORT, OWN, table)


def test_where_the_system_does_not_say_everybody_passes(tmp_path: Path) -> None:
    assert not is_of_another_user(PORT, OWN, tmp_path / "missing")


OPEN = """
import os, socket, sys
port, path = sys.argv[1:]
os.setuid(65534)  # from here on nothing more can be imported where Python is this user's own
with socket.socket() as connection:
    connection.connect(("127.0.0.1", int(port)))
    connection.sendall(f"GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    print(connection.recv(4096).split()[1].decode())
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user")
def test_another_users_program_is_refused_and_uses_nothing_up(tmp_path: Path) -> None:
    with pages(tmp_path / "own") as server:
        address = server.session.address(server.url)
        port, path = address.removeprefix("http://127.0.0.1:").split("/", 1)
        command = [sys.executable, "-c", OPEN, port, f"/{path}"]
        tried = subprocess.run(command, capture_output=True, text=True, check=True)
        assert tried.stdout == "403\n"
        assert httpx.get(address, headers=OPENED).status_code == 200
