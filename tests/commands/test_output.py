"""What commands print, on a terminal, in a pipe and as JSON."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import TIMEOUT, environment, on_terminal, run

CODE = re.compile(r"\x1b\[[\d;]*m")
ROWS = [["1234-ABCD", "waiting", "delete the live token 'Größe 🥐 返品'"], ["5678-EFGH", "denied: no", ""]]
TABLE = f"print_table(['code', 'state', 'call'], {ROWS!r}, lead=2, styles={{'denied': 'red'}})"


def shown(program: str, *, terminal: bool = False, **environ: str) -> str:
    """What Python shows that runs `program` with everything of the module at hand."""
    argv = [sys.executable, "-c", f"from runtype_mcp.commands.output import *\n{program}"]
    clean = {k: v for k, v in environment().items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")}
    options: dict[str, Any] = {"env": {**clean, "PYTHONUTF8": "1", "TERM": "xterm", **environ}, "timeout": TIMEOUT}
    if not terminal:
        done: subprocess.CompletedProcess[bytes] = subprocess.run(argv, stdout=subprocess.PIPE, check=True, **options)
        return done.stdout.decode()
    master, slave = os.openpty()
    with os.fdopen(master, "rb", 0) as screen:
        subprocess.run(argv, stdout=slave, check=True, **options)
        os.close(slave)
        text = b""
        while part := _read(screen.fileno()):
            text += part
    return text.decode().replace("\r", "")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_in_a_pipe_a_sentence_is_one_line_and_a_row_is_one_line() -> None:
    assert shown(f"say({'word ' * 60!r}, 'bold')") == f"{'word ' * 60}\n"
    assert shown(TABLE, COLUMNS="20").splitlines() == [
        "code       state       call",
        "1234-ABCD  waiting     delete the live token 'Größe 🥐 返品'",
        "5678-EFGH  denied: no",
    ]


@pytest.mark.parametrize("columns", [40, 80])
def test_on_a_terminal_no_line_is_wider_than_it_and_none_is_broken_within_a_word(columns: int) -> None:
    text = shown(f"say({'several words ' * 30!r}, indent=4)", terminal=True, COLUMNS=str(columns))
    assert len(text.splitlines()) > 1
    assert all(len(line) <= columns and line.startswith("    ") for line in text.splitlines())
    assert text.split() == ["several", "words"] * 30


def test_what_is_wrong_is_one_line_for_programs_and_fits_a_terminal() -> None:
    for command in (["approve", "CODE", "--profil"], ["logout"]):
        with on_terminal(*command, COLUMNS="40") as terminal:
            assert terminal.ended() != 0
        lines = terminal.shown.splitlines()
        assert len(lines) > 1
        assert all(len(line) <= 40 or " " not in line for line in lines)
        assert " ".join(lines) + "\n" == run(*command).stderr


HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"  # the cursor


def test_long_work_shows_on_a_terminal_that_it_goes_on_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = {
            "RUNTYPE_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "RUNTYPE_API_KEY": "rt_test_0123456789",
            "HOME": str(tmp_path),
        }
        with on_terminal("whoami", **slow, RUNTYPE_MCP_TIMEOUT="0.5") as terminal:
            assert terminal.ended() == 1
            assert "Checking the key with the API." in terminal.shown
            assert terminal.shown.rindex(SHOWN) > terminal.shown.rindex(HIDDEN)
        with on_terminal("doctor", **slow) as terminal:
            terminal.until("Checking the settings, the network and the hosts.")
            terminal.press_ctrl_c()
            assert terminal.ended() == -signal.SIGINT
            assert terminal.shown.rindex(SHOWN) > terminal.shown.rindex(HIDDEN)
            assert "Traceback" not in terminal.shown
        plain = run("whoami", **slow, RUNTYPE_MCP_TIMEOUT="0.5", FORCE_COLOR="1")
        assert "Checking" not in plain.stdout + plain.stderr
        with on_terminal("whoami", **slow, RUNTYPE_MCP_TIMEOUT="0.5", TERM="dumb") as terminal:
            assert terminal.ended() == 1
            assert "Checking" not in terminal.shown


def test_a_word_that_is_wider_than_the_terminal_stays_whole_to_be_copied() -> None:
    address = f"https://x.example/{'x' * 90}"
    assert shown(f"say('Open {address} now')", terminal=True, COLUMNS="40").splitlines() == ["Open", address, "now"]


def test_a_table_that_a_terminal_has_room_for_is_aligned_by_what_is_seen() -> None:
    text = CODE.sub("", shown(TABLE, terminal=True, COLUMNS="80"))
    assert text == shown(TABLE)


def test_a_table_that_a_terminal_has_no_room_for_becomes_blocks() -> None:
    text = CODE.sub("", shown(TABLE, terminal=True, COLUMNS="40"))
    assert text.splitlines() == [
        "1234-ABCD  waiting",
        "    delete the live token 'Größe 🥐",
        "    返品'",
        "5678-EFGH  denied: no",
    ]


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
    ids=str,
)
def test_colours_are_for_terminals_unless_the_environment_decides(
    terminal: bool, environ: dict[str, str], coloured: bool
) -> None:
    text = shown(TABLE, terminal=terminal, COLUMNS="80", **environ)
    assert ("\x1b[31mdenied: no" in text) is coloured
    assert ("\x1b" in shown("say('x', 'bold red')", terminal=terminal, **environ)) is coloured


def test_what_others_wrote_is_taken_literally() -> None:
    nasty = "[red]:smile:[/red] \x1b[2J\r\n\u202eShop\x9b31m"
    line = shown(f"print_table(['name'], [[{nasty!r}]])", FORCE_COLOR="1", COLUMNS="80").splitlines()[1]
    assert line.startswith("[red]:smile:[/red]")
    assert line.isprintable()
    assert "Shop" in line
    assert shown("say('[bold]:smile:')") == "[bold]:smile:\n"


def test_a_cell_is_cut_to_its_limit() -> None:
    assert shown("print_table(['a'], [['x' * 100]], longest=40)").splitlines()[1] == f"{'x' * 33}… [cut]"
    assert shown("print_table(['a', 'b'], [])") == "a  b\n"


def test_json_is_ascii_and_masks_secrets() -> None:
    secret = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"
    text = shown(f"print_json({{'name': 'Größe \\x9b', 'note': 'it is {secret}'}})")
    assert text.isascii()
    assert json.loads(text)["name"] == "Größe \x9b"
    assert "0123456789abcdef" not in text
