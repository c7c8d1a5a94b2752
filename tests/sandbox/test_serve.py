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

from runtype_mcp.sandbox.serve import serve

from .conftest import TOKENS

LINE = re.compile(r"Sandbox API on (http://127\.0\.0\.1:\d+) \(any key that starts with rt_ works\)\n")
SERVE = "import sys, pathlib as p, runtype_mcp.sandbox.serve as s; sys.exit(s.serve(0, p.Path(sys.argv[1])))"
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
    data = tmp_path / "data.json"
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
    (tmp_path / "data.json").write_text("[]")
    with _process(tmp_path / "data.json") as (_, url):
        assert httpx.get(url + TOKENS, headers=KEY).json() == {"clientTokens": []}


def test_a_taken_port_a_foreign_file_and_a_missing_folder_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert serve(taken.getsockname()[1], None) == 1
    assert serve(0, notes) == serve(0, tmp_path / "missing" / "data.json") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("The sandbox did not start: ") and "run it again" in line for line in lines)
    assert "notes.txt" in lines[1]
