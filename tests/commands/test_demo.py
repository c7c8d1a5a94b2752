"""The demo is the first thing that a person runs: it must work, be readable, and notice what differs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from runtype_mcp.tools import SPECS
from tests.processes import on_terminal, run

VALUE = re.compile(r"ct_(?:live|test)_\w*[0-9a-f]{12}")
CHECK = re.compile(r"^    (✓|✗ DIFFERS:) .+$", re.MULTILINE)


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    """One walk, into a pipe."""
    return run("demo", PYTHONUTF8="1")


def test_every_check_holds_and_it_ends_with_0(done: subprocess.CompletedProcess[str]) -> None:
    assert done.stderr == ""
    assert "DIFFERS" not in done.stdout
    assert done.returncode == 0
    assert len(CHECK.findall(done.stdout)) >= 20
    assert done.stdout.endswith(f"All {len(SPECS)} tools did what they should, and nothing changed without a yes.\n")


def test_every_tool_is_called(done: subprocess.CompletedProcess[str]) -> None:
    for endpoint in SPECS:
        assert re.search(rf"^    {endpoint.name}\(", done.stdout, re.MULTILINE)


def test_a_person_is_seen_to_decline_and_to_agree(done: subprocess.CompletedProcess[str]) -> None:
    assert "The person declines." in done.stdout
    assert "The person types: Demo shop chat" in done.stdout
    assert "Refused" in done.stdout or "refused" in done.stdout


def test_in_a_pipe_it_is_plain_text_of_a_readable_width(done: subprocess.CompletedProcess[str]) -> None:
    assert not [character for character in done.stdout if not character.isprintable() and character != "\n"]
    assert max(len(line) for line in done.stdout.splitlines() if "│" in line) <= 114


def test_no_value_is_in_what_people_paste_elsewhere(done: subprocess.CompletedProcess[str]) -> None:
    assert not VALUE.search(done.stdout)


def test_a_pipe_that_lacks_a_character_is_no_reason_to_fail() -> None:
    ended = run("demo", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "    ? deleted\n" in ended.stdout


def test_on_a_terminal_it_has_colours() -> None:
    with on_terminal("demo", PYTHONUTF8="1", NO_COLOR="") as terminal:
        assert terminal.ended() == 0
    assert "\x1b[32m✓\x1b[0m" in terminal.shown
    colours = set(re.findall(r"\x1b\[\d*m", terminal.shown))
    assert re.sub(r"\x1b\[\d*m", "", terminal.shown).isprintable() is False  # line ends remain
    assert len(colours) >= 4
    assert "\x1b" not in re.sub(r"\x1b\[\d*m", "", terminal.shown)


BROKEN = """
import runtype_mcp.policy.effects
runtype_mcp.policy.effects.deleting = lambda: []
"""


def test_what_differs_is_marked_and_it_ends_with_1(tmp_path: Path) -> None:
    """A server that deletes without asking is found out, by the demo as well, and in a terminal without colours too."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    with on_terminal("demo", PYTHONPATH=str(tmp_path), PYTHONUTF8="1", NO_COLOR="1") as terminal:
        assert terminal.ended() == 1
    marks = CHECK.findall(terminal.shown.replace("\r", ""))
    assert marks.count("✗ DIFFERS:") >= 1
    assert marks.count("✓") >= 15
    assert f"{marks.count('✗ DIFFERS:')} of the checks above differ." in terminal.shown
    assert "\x1b" not in terminal.shown
