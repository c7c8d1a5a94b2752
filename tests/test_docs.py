"""The documents say what is so: their commands run, their links lead somewhere, their tables are complete."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import anyio
import pytest

from runtype_mcp import __version__
from runtype_mcp.tools import SPECS
from tests.processes import TIMEOUT, run
from tests.support import LEGACY, stdio_client

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = (ROOT / "README.md").read_text("utf-8")
PACKAGE = "\n".join(path.read_text("utf-8") for path in (ROOT / "runtype_mcp").rglob("*.py"))

# Commands that .ci/run runs itself, from the README, in a fresh copy.
RUN_BY_CI = ("python3 -m venv",)
# Commands of other programs: only the part that is ours is run.
OTHERS = ("claude mcp add",)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if not line.startswith(RUN_BY_CI)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_is_one(command: str, tmp_path: Path) -> None:
    words = command.split()
    if command.startswith(OTHERS):
        assert words[-1].endswith(".venv/bin/runtype-mcp")
        return
    assert words[0] == "runtype-mcp"
    log = tmp_path / "audit.jsonl"
    log.touch(mode=0o600)
    fill = {"8765": "0", "8766": "0", "audit.jsonl": str(log), "sandbox.json": str(tmp_path / "sandbox.json")}
    arguments = [fill.get(word, word) for word in words[1:]]
    process = subprocess.Popen(
        [sys.executable, "-m", "runtype_mcp", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if words[1] in ("http", "sandbox"):  # these serve until they are stopped
        assert process.stderr is not None
        assert "http://127.0.0.1:" in process.stderr.readline()
        process.terminate()
        process.communicate(timeout=TIMEOUT)
        return
    _, errors = process.communicate(timeout=TIMEOUT)
    # One insists on a terminal, and here nobody types a key.
    expected = 1 if words[1] in ("approve", "login", "whoami", "doctor", "logout") else 0
    assert process.returncode == expected, errors


def spans(page: Path) -> list[str]:
    """The commands that stand inside sentences and tables."""
    return re.findall(
        r"`((?:runtype-mcp|python -m|\.venv/bin/\w+|bash) [^`]+|\.venv/bin/\w+)`", page.read_text("utf-8")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_inside_a_sentence_exists(page: Path) -> None:
    tools = {re.split("[^a-z-]", need)[0] for need in PROJECT["optional-dependencies"]["test"]}
    for command in re.split(r"\n| && ", "\n".join(spans(page))):
        match command.removeprefix(".venv/bin/").split():
            case ["python", "-m", module, *_]:
                path = ROOT / module.replace(".", "/")
                assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), command
            case ["runtype-mcp", *words]:
                known = run(*[word for word in words if word.islower()], "--help")
                assert known.returncode == 0, command
            case ["bash", script]:
                assert (ROOT / script).is_file()
            case [tool, *_]:
                assert tool in tools, command


@pytest.mark.anyio
async def test_each_configuration_of_a_host_starts_the_server() -> None:
    found = [json.loads(block) for block in blocks("json")]
    servers = [(config.get("mcpServers") or config["servers"])["runtype"] for config in found]
    assert len(servers) == 2
    for server in servers:
        assert server["command"].endswith(".venv/bin/runtype-mcp")
        with anyio.fail_after(TIMEOUT):
            # The key that the reader puts there: with the placeholder the server does not start.
            assert set(server["env"]) == {"RUNTYPE_API_KEY"}
            async with stdio_client(server.get("args", []), LEGACY, RUNTYPE_API_KEY="rt_test_0123456789") as model:
                assert (await model.client.list_tools()).tools


def test_the_readme_lists_every_tool_in_order() -> None:
    assert re.findall(r"^\| `(\w+_(?:client|agents)_\w+)` \|", README, re.M) == [spec.name for spec in SPECS]


def test_the_readme_lists_every_setting() -> None:
    documented = re.findall(r"^\| `(RUNTYPE_\w+)` \|", README, re.M)
    assert len(set(documented)) == len(documented)
    # A prefix alone, such as the one by which variables are found, ends with an underscore.
    assert set(documented) == {name for name in re.findall(r"\bRUNTYPE_\w+\b", PACKAGE) if not name.endswith("_")} - {
        "RUNTYPE_CLIENT_TOKEN",  # the variable of an env file in examples
        "RUNTYPE_MCP_FRONT",  # a name of before
    }


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert PROJECT["dynamic"] == ["version"]


def test_each_of_the_forty_checks_is_shown_by_a_test_that_exists() -> None:
    rows = re.findall(
        r"^\| (\d+) \|.*\| \[(test_\w+)\]\(\.\./([\w/.]+)\) \|$", (ROOT / "docs/tool-design.md").read_text(), re.M
    )
    assert [int(number) for number, _, _ in rows] == list(range(1, 41))
    for _, name, file in rows:
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{name} is not in {file}"
