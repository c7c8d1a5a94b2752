"""The sandbox as a process: what it says, what it keeps, how it ends."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.seed import seed
from runtype_mcp.sandbox.serve import running, serve
from runtype_mcp.sandbox.store import Store

from .conftest import TOKENS

LINE = re.compile(r"Sandbox API on (http://127\.0\.0\.1:\d+) \(any key that starts with rt_ works\)\n")
SERVE = "import sys; from runtype_mcp.sandbox.serve import serve; sys.exit(serve('127.0.0.1', 0, sys.argv[1]))"
KEY = {"authorization": "Bearer rt_test_1"}


@contextlib.contextmanager
def _process(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", SERVE, str(data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            said = LINE.fullmatch(line)
            assert said, line
            yield process, said[1]
        finally:
            process.kill()


def test_ctrl_c_ends_it_cleanly_and_a_file_keeps_the_changes(tmp_path: Path) -> None:
    data = tmp_path / "data.db"
    with _process(data) as (process, url):
        first = httpx.get(url + TOKENS, headers=KEY).json()["clientTokens"][0]
        assert httpx.delete(f"{url}{TOKENS}/{first['id']}", headers=KEY).status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")
    with _process(data) as (_, url):
        ids = [token["id"] for token in httpx.get(url + TOKENS, headers=KEY).json()["clientTokens"]]
    assert len(ids) == 15
    assert first["id"] not in ids


def test_a_file_that_its_user_emptied_stays_empty(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data.db") as store:
        seed(store)
        for record in store.newest_first():
            store.delete(record.token["id"])
    with _process(tmp_path / "data.db") as (_, url):
        assert httpx.get(url + TOKENS, headers=KEY).json() == {"clientTokens": []}


def test_a_taken_port_a_foreign_file_and_an_impossible_port_are_told_in_one_line(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes, which are longer than a header of SQLite: " * 30)
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert serve("127.0.0.1", taken.getsockname()[1], None, announce=lines.append) == 1
    assert serve("127.0.0.1", 0, str(notes), announce=lines.append) == 1
    assert serve("127.0.0.1", 65_536, None, announce=lines.append) == 1
    assert len(lines) == 3
    assert all(line.startswith("The sandbox did not start: ") and "run it again" in line for line in lines)
    assert "notes.txt" in lines[1]


def test_running_answers_at_once_and_stops_at_the_end() -> None:
    with running(create_app()) as url:
        assert httpx.get(url + TOKENS, headers=KEY).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + TOKENS)
