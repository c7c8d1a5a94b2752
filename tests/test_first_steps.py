"""A new user on an empty home: the README's commands, in its order, on a terminal of 80 columns, up to a value in .env.

Nothing that the README does not say is done here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from tests.processes import Terminal, terminal
from tests.support import LEGACY, text_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
COLUMNS = 80
PROMPT = "ready> "
SECONDS = 100
"""For the installation, which may have to load libraries."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def the_command(start: str, end: str, text: str) -> str:
    """The one command of a text that starts and ends so: a line of a block, or within a sentence."""
    found = re.findall(rf"(?:^ *|`)({re.escape(start)}[^`\n]*{re.escape(end)})(?:$|`)", text, re.M)
    assert len(found) == 1, found
    return str(found[0])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what somebody who clones the project gets."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    files = [name.decode() for name in listed if name and (ROOT / name.decode()).is_file()]
    for name in files:
        (tmp_path / "runtype-mcp" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runtype-mcp" / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path / "runtype-mcp"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def shell(checkout: Path, home: Path) -> Iterator[Terminal]:
    """A person's shell in the checkout: nothing of the tests is in its environment but how packages are reached."""
    environ = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "LANG", "LC_"))}
    environ |= {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm", "NO_COLOR": "1", "PS1": PROMPT}
    with terminal(
        ["bash", "--noprofile", "--norc", "--noediting", "-i"], environ, cwd=checkout, columns=COLUMNS
    ) as found:
        found.until(PROMPT, SECONDS)
        yield found


def does(shell: Terminal, command: str, *answers: tuple[str, str]) -> str:
    """Type a command, and its answers once each question is there: what was shown until it had ended."""
    shell.shown = ""
    shell.types(f"{command}\n")
    for question, answer in answers:
        shell.until(question, SECONDS)
        shell.types(answer)
    shell.until(PROMPT, SECONDS)
    shown = shell.shown
    shell.shown = ""
    shell.types("echo code=$?\n")
    shell.until(PROMPT)
    assert "code=0" in shell.shown, shown
    return shown


def too_wide(shown: str) -> list[str]:
    """The lines that do not fit. A word that is wider than the terminal, such as a path, stays whole."""
    return [line for line in shown.splitlines() if width(line) > COLUMNS and " " in line.strip()]


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


def test_the_readme_leads_a_new_user_to_a_value_in_their_projects_env_file(
    shell: Terminal, checkout: Path, home: Path, tmp_path: Path
) -> None:
    try_it, use_it = section("Try it"), section("Use it")
    shown = does(shell, the_command("python3", "", try_it))
    assert "All 10 tools did what they should, and nothing changed without a yes." in " ".join(shown.split())
    assert too_wide(shown.partition("runtype-mcp demo")[2]) == []

    does(shell, the_command("source", "", use_it))
    command = the_command("runtype-mcp install", " --sandbox", use_it)
    shown = does(shell, command, ("[y/N] ", "y\n"))
    assert too_wide(shown.partition(command)[2]) == []
    (changed,) = [path for path in home.iterdir() if path.is_file()]
    assert "Next: start `claude` anew" in shown

    entry = json.loads(changed.read_text())["mcpServers"]["runtype"]
    assert Path(entry["command"]).is_relative_to(checkout)
    project = tmp_path / "project"
    project.mkdir()
    asked = " ".join(use_it.split()).partition("and ask: *")[2].partition("*")[0]
    anyio.run(as_an_assistant, entry, home, project, asked)
    (line,) = (project / ".env").read_text().splitlines()
    assert re.fullmatch(r"RUNTYPE_CLIENT_TOKEN=ct_test_\w{20,}", line), line[:30]

    shown = does(shell, the_command("runtype-mcp doctor", " --sandbox", use_it))
    assert "fail" not in shown
    assert "the entry 'runtype'" in " ".join(shown.split())
    assert too_wide(shown) == []


async def as_an_assistant(entry: dict[str, object], home: Path, project: Path, asked: str) -> None:
    """Do what the sentence asks for, through a server that is started exactly as the host's file says."""
    (origin,) = re.findall(r"https?://\S+?(?= )", asked)
    (agent,) = re.findall(r"my (\w+) agent", asked)
    (file,) = re.findall(r"`(\S+)`", asked)
    server = StdioServerParameters(
        command=str(entry["command"]),
        args=[str(word) for word in list(entry["args"])],  # type: ignore[call-overload]
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        cwd=project,
    )
    with anyio.fail_after(SECONDS):
        async with Client(server, mode=LEGACY) as client:
            found = await client.call_tool("list_agents_and_flows", {"name_contains": agent})
            assert found.structured_content is not None
            wanted = {
                "name": "Local development",
                "allowed_origins": [origin],
                "agent_ids": [found.structured_content["rows"][0][1]],
                "deliver": "env_file",
                "env_file": f"{file}:RUNTYPE_CLIENT_TOKEN",
            }
            made = await client.call_tool("create_client_token", wanted)
            assert not made.is_error, text_of(made)
            assert str(project / file) in text_of(made)
            assert "ct_test_" not in text_of(made)
