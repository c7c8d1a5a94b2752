"""The demo is the first thing that a person runs: it must work, be readable, and notice what differs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from runtype_mcp.tools import SPECS
from tests.console.desktop import decide, desktop_in
from tests.processes import on_terminal, run

VALUE = re.compile(r"ct_(?:live|test)_\w*[0-9a-f]{12}")
CHECK = re.compile(r"^    (✓|✗ DIFFERS:) .+$", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[\d*m")


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    """One walk, into a pipe."""
    return run("demo", PYTHONUTF8="1")


def test_every_check_holds_and_it_ends_with_0(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    assert "DIFFERS" not in done.stdout
    assert len(CHECK.findall(done.stdout)) >= 20
    assert f"✓ {len(SPECS)} of {len(SPECS)}\n" in done.stdout
    assert done.stdout.endswith(f"All {len(SPECS)} tools did what they should, and nothing changed without a yes.\n")


def test_it_calls_every_tool_previews_and_has_a_person_decline_and_agree(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert set(re.findall(r"^    (\w+)\(", done.stdout, re.MULTILINE)) == {spec.name for spec in SPECS}
    for words in ("status: preview", "The person declines.", "The person types: Demo shop chat", "│ Error ("):
        assert words in done.stdout


def test_in_a_pipe_it_is_plain_text_of_a_readable_width_without_a_value(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert done.stdout.replace("\n", "").isprintable()
    assert max(len(line) for line in done.stdout.splitlines() if "│" in line) <= 100
    assert not VALUE.search(done.stdout)  # people paste it elsewhere


def test_on_a_terminal_it_has_colours_and_a_missing_character_is_no_reason_to_fail() -> None:
    with on_terminal("demo", PYTHONIOENCODING="ascii", NO_COLOR="") as terminal:
        assert terminal.ended() == 0
    assert "\x1b[32m    ? deleted\x1b[0m\r\n" in terminal.shown
    assert len(set(COLOUR.findall(terminal.shown))) >= 4
    assert "\x1b" not in COLOUR.sub("", terminal.shown)


def test_as_json_it_is_what_was_called_and_checked() -> None:
    walked = json.loads(run("demo", "--json").stdout)
    assert walked["differences"] == 0
    calls = [call for step in walked["steps"] for call in step["calls"]]
    assert {call["tool"] for call in calls} == {spec.name for spec in SPECS}
    assert {call["status"] for call in calls} == {"done", "preview", "refused"}
    assert all(check["holds"] for step in walked["steps"] for check in step["checks"])


@pytest.mark.anyio
@pytest.mark.parametrize(("decision", "says"), [("approve", "done"), ("deny", "refused")])
async def test_a_person_may_decide_on_the_page_in_their_own_browser(decision: str, says: str, tmp_path: Path) -> None:
    with desktop_in(tmp_path) as desktop:

        async def sit() -> None:
            await desktop.person(lambda browser: decide(browser, decision, browser.cards()[0]["name"]))

        async with anyio.create_task_group() as group:
            group.start_soon(sit)
            done = await anyio.to_thread.run_sync(lambda: run("demo", "--browser", "--json"))
    assert done.returncode == 0, done.stderr
    step = json.loads(done.stdout)["steps"][-2]
    assert [call["status"] for call in step["calls"]] == [says]
    assert [check["holds"] for check in step["checks"]] == [True]


def test_where_no_browser_can_be_opened_it_is_the_scripted_one() -> None:
    walked = json.loads(run("demo", "--browser", "--json").stdout)
    assert walked["steps"][-2]["checks"][0]["check"] == "the page named the token"


BROKEN = """
import runtype_mcp.policy.effects
runtype_mcp.policy.effects.deleting = lambda token: []
"""
ONE_MORE = """
from runtype_mcp.server import RuntypeServer
listed = RuntypeServer.list_tools
async def more(self):
    tools = await listed(self)
    return [*tools, tools[0].model_copy(update={"name": "a_new_tool"})]
RuntypeServer.list_tools = more
"""
NO_SERVER = """
import os, sys
if "--sandbox" in sys.orig_argv:
    os.write(2, b"it does not start\\n")
    os._exit(1)
"""


@pytest.mark.parametrize(
    ("break_", "says", "ends"),
    [
        (BROKEN, "✗ DIFFERS: refused", r"\d+ of 25 checks differ\.\n"),
        (ONE_MORE, f"✗ DIFFERS: {len(SPECS)} of {len(SPECS) + 1}\n", r"1 of 25 checks differ\.\n"),
        (NO_SERVER, "it does not start\n", r"runtype-mcp: The server of the demo ended\. What it said is above\.\n"),
    ],
    ids=["deletes without asking", "has another tool", "does not start"],
)
def test_what_differs_is_marked_and_it_ends_with_1(break_: str, says: str, ends: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(break_)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with on_terminal("demo", PYTHONPATH=path, PYTHONUTF8="1", NO_COLOR="1") as terminal:
        assert terminal.ended() == 1
    shown = terminal.shown.replace("\r", "")
    assert says in shown
    assert re.search(ends + "$", shown)
    assert "\x1b" not in shown
    assert "Traceback" not in shown
