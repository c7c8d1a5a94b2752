"""`runtype-mcp doctor` on the hosts' files: what starts this server there is started, as far as the handshake."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp import __version__
from runtype_mcp.commands.host_checks import AT_ONCE
from tests.processes import run

OPTION = "unknown option --sandbx. See runtype-mcp --help."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without hosts, and a project in it to work in."""
    (tmp_path / "home" / "project" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home" / "project")
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def checked(home: Path, code: int = 0, **environ: str) -> list[str]:
    """The lines about hosts: status, finding and what to do."""
    done = run("doctor", "--sandbox", "--json", HOME=str(home), **environ)
    assert (done.returncode, done.stderr) == (code, "")
    checks = [check for check in json.loads(done.stdout)["checks"] if check["check"] == "hosts"]
    for check in checks:
        assert check["says"].endswith(".")
    return [f"{check['status']}: {check['says']} {check['todo']}".rstrip() for check in checks]


def entry(*arguments: str, command: str = sys.executable, **env: str) -> dict[str, Any]:
    return {"command": command, "args": ["-m", "runtype_mcp", *arguments], "env": env}


def put(path: Path, **servers: Any) -> Path:
    """Write a host's file with these servers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


def test_without_hosts_there_is_nothing_to_say(home: Path) -> None:
    assert checked(home) == []


def test_what_install_has_written_starts(home: Path) -> None:
    for host in ("cursor", "codex", "goose", "zed"):
        assert run("install", host, "--yes", HOME=str(home)).returncode == 0
    assert run("install", "claude-code", "--project", "--yes", HOME=str(home)).returncode == 0
    found = checked(home)
    assert [line.partition(":")[0] for line in found] == ["ok"] * 5
    assert (
        found[0]
        == f"ok: Claude Code: the entry 'runtype' in {home / 'project' / '.mcp.json'} starts. It asks you in a form."
    )
    assert (
        found[1] == f"ok: Cursor: the entry 'runtype' in {home / '.cursor' / 'mcp.json'} starts. It asks you in a form."
    )


def test_a_host_without_an_entry_is_told_how_to_get_one(home: Path) -> None:
    (home / ".cursor").mkdir()
    put(home / ".gemini" / "settings.json", other={"command": "other"}, far={"url": "https://mcp.example"}, odd=7)
    assert checked(home) == [
        "skip: Cursor has no entry of this server. `runtype-mcp install cursor` makes one.",
        "skip: Gemini CLI has no entry of this server. `runtype-mcp install gemini` makes one.",
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (entry("--sandbx"), f" does not start. {OPTION} Correct the entry."),
        (
            entry(RUNTYPE_MCP_APPROVAL="always"),
            " does not start. RUNTYPE_MCP_APPROVAL must be 'auto', 'human', 'second-person'",
        ),
        (entry(command="/gone/runtype-mcp"), " names a program that does not exist. Run `runtype-mcp install cursor`."),
        (entry(command=os.devnull), " cannot be started: Permission denied. Run `runtype-mcp install cursor`."),
        (entry("--version"), " starts a program that ends without an answer. Run `runtype-mcp install cursor`."),
        (
            {"command": sys.executable, "args": ["-c", "import time; time.sleep(99)", "runtype-mcp"]},
            " gives no answer within 3 seconds. Run `runtype-mcp install cursor`.",
        ),
    ],
)
def test_an_entry_that_does_not_work_is_told(home: Path, given: dict[str, Any], says: str) -> None:
    path = put(home / ".cursor" / "mcp.json", mine=given)
    (line,) = checked(home, code=1, RUNTYPE_MCP_TIMEOUT="3" if "sleep" in str(given) else "30")
    assert line.startswith(f"fail: Cursor: the entry 'mine' in {path}{says}")


def test_an_entry_of_another_version_is_told(home: Path) -> None:
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"serverInfo": {"name": "runtype-mcp", "version": "0.0.9"}}}
    program = f"print({json.dumps(answer)!r}, flush=True); input()"
    put(home / ".cursor" / "mcp.json", old={"command": sys.executable, "args": ["-c", program, "runtype-mcp"]})
    (line,) = checked(home)
    assert f" starts. It is version 0.0.9, and this is {__version__}." in line


def test_the_projects_of_claude_code_have_entries_of_their_own(home: Path, tmp_path: Path) -> None:
    here, gone = home / "project", tmp_path / "gone"
    projects = {
        str(here): {"mcpServers": {"mine": entry("--sandbox")}},
        str(gone): {"mcpServers": {"mine": entry()}},
        str(tmp_path): {"mcpServers": {"broken": entry("--sandbx"), "other": {"command": "other"}}},
    }
    file = home / ".claude.json"
    file.write_text(json.dumps({"mcpServers": {}, "projects": {**projects, "odd": 7}}))
    assert checked(home, code=1) == [
        f"ok: Claude Code: the entry 'mine' for {here} in {file} starts. It asks you in a form.",
        f"fail: Claude Code: the entry 'broken' for {tmp_path} in {file} does not start. {OPTION} Correct the entry.",
    ]


@pytest.mark.parametrize(
    ("host", "browser", "says"),
    [
        ("claude-code", "", "It asks you in a form."),
        ("codex", "", "It asks you in a form, in its terminal alone."),
        ("zed", "any", "It shows no forms: you are asked on a page in your browser."),
        ("zed", "", "It shows no forms, and no browser can be opened here: `--approval human` has you asked by"),
        ("devin", "any", "Whether it shows forms is not documented; if not, you are asked on a page in your browser."),
    ],
)
def test_where_a_person_is_asked_is_told_of_each_host(home: Path, host: str, browser: str, says: str) -> None:
    assert run("install", host, "--sandbox", "--yes", HOME=str(home)).returncode == 0
    (line,) = checked(home, BROWSER=browser, CI="" if browser else "true")
    assert f" starts. {says}" in line


def test_all_starts_together_have_the_time_of_one_operation(home: Path) -> None:
    silent = {"command": sys.executable, "args": ["-c", "import time; time.sleep(99)", "runtype-mcp"]}
    put(home / ".cursor" / "mcp.json", **{f"silent{number}": silent for number in range(AT_ONCE + 1)})
    found = checked(home, code=1, RUNTYPE_MCP_TIMEOUT="2")
    assert sum("gives no answer within 2 seconds." in line for line in found) == AT_ONCE
    assert found[-1].endswith("is not tried: the others took all of 2 seconds.")


def test_a_file_that_cannot_be_read_is_told(home: Path) -> None:
    path = put(home / ".cursor" / "mcp.json")
    path.write_text('{"mcpServers": {\n')
    (line,) = checked(home, code=1)
    assert line.startswith(f"fail: Cursor: {path}, line 2, cannot be read: ")
    path.unlink()
    path.mkdir()
    (line,) = checked(home)
    assert line.startswith(f"warn: Cursor: {path}")


def test_without_the_library_for_a_format_it_says_so(home: Path, tmp_path: Path) -> None:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text("model = 'any'\n")
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "tomlkit.py").write_text("raise ModuleNotFoundError")
    (line,) = checked(home, PYTHONPATH=str(tmp_path / "without"))
    assert "this needs tomlkit. Install the extra `install` to have it checked." in line


def test_a_program_that_came_with_a_project_is_not_started(home: Path, tmp_path: Path) -> None:
    program = tmp_path / "runtype-mcp"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'was-run'}\n")
    program.chmod(0o700)
    put(home / "project" / ".mcp.json", mine={"command": str(program), "args": []})
    (line,) = checked(home)
    assert line.endswith("is not tried, because it names another program than this one.")
    assert not (tmp_path / "was-run").exists()


def test_a_host_gets_the_variables_that_it_would_pass_on(home: Path) -> None:
    wrong = {"RUNTYPE_MCP_SECRETS": "hide"}  # in the shell where doctor runs
    desktop = put(home / ".lmstudio" / "mcp.json", mine=entry())
    assert "LM Studio: the entry 'mine'" in checked(home, code=2, **wrong)[0]
    assert checked(home, code=2, **wrong)[0].startswith("ok: ")
    desktop.unlink()
    named = entry(RUNTYPE_MCP_SECRETS="${env:RUNTYPE_MCP_SECRETS}", RUNTYPE_MCP_FILES_ROOT="${workspaceFolder}")
    put(home / ".cursor" / "mcp.json", mine=named)
    assert "does not start. RUNTYPE_MCP_SECRETS must be 'show' or 'file'." in checked(home, code=2, **wrong)[0]
    assert checked(home, RUNTYPE_MCP_SECRETS="file")[0].startswith("ok: ")
    assert checked(home)[0].startswith("ok: ")
