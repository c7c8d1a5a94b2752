"""Where each host keeps its servers, on each platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtype_mcp.hosts import NAMES
from runtype_mcp.hosts.table import HOSTS, Scope
from tests.hosts.machines import machine, touched

CONFIG, SUPPORT, ROAMING = ".config", "Library/Application Support", "AppData/Roaming"
USER = {
    "claude-desktop": [f"{folder}/Claude/claude_desktop_config.json" for folder in (CONFIG, SUPPORT, ROAMING)],
    "claude-code": [".claude.json"] * 3,
    "cursor": [".cursor/mcp.json"] * 3,
    "vscode": [f"{folder}/Code/User/mcp.json" for folder in (CONFIG, SUPPORT, ROAMING)],
    "devin": [f"{folder}/devin/mcp_config.json" for folder in (CONFIG, CONFIG, ROAMING)],
    "windsurf": [".codeium/windsurf/mcp_config.json"] * 3,
    "zed": [f"{CONFIG}/zed/settings.json", f"{CONFIG}/zed/settings.json", f"{ROAMING}/Zed/settings.json"],
    "codex": [".codex/config.toml"] * 3,
    "gemini": [".gemini/settings.json"] * 3,
    "goose": [f"{CONFIG}/goose/config.yaml"] * 2 + [f"{ROAMING}/Block/goose/config/config.yaml"],
    "lm-studio": [".lmstudio/mcp.json"] * 3,
}
PROJECT = {
    "claude-code": ".mcp.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
    "devin": ".devin/mcp_config.json",
    "zed": ".zed/settings.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
}


def test_the_command_line_knows_every_host_of_the_table() -> None:
    assert tuple(HOSTS) == NAMES == tuple(USER)


@pytest.mark.parametrize("name", NAMES)
def test_the_users_file_is_where_the_host_looks_on_each_platform(name: str, tmp_path: Path) -> None:
    found = [HOSTS[name].path(machine(tmp_path, platform), "user") for platform in ("linux", "darwin", "win32")]
    assert found == [tmp_path / path for path in USER[name]]


@pytest.mark.parametrize("name", NAMES)
def test_a_projects_file_is_below_its_folder(name: str, tmp_path: Path) -> None:
    expected = tmp_path / "project" / PROJECT[name] if name in PROJECT else None
    assert HOSTS[name].path(machine(tmp_path), "project") == expected


@pytest.mark.parametrize(
    ("name", "platform", "variable", "path"),
    [
        ("goose", "linux", "XDG_CONFIG_HOME", "goose/config.yaml"),
        ("vscode", "win32", "APPDATA", "Code/User/mcp.json"),
        ("claude-code", "darwin", "CLAUDE_CONFIG_DIR", ".claude.json"),
        ("codex", "linux", "CODEX_HOME", "config.toml"),
    ],
)
def test_a_variable_moves_the_file_as_it_does_for_the_host(
    name: str, platform: str, variable: str, path: str, tmp_path: Path
) -> None:
    moved = machine(tmp_path, platform, environ={variable: str(tmp_path / "elsewhere")})
    assert HOSTS[name].path(moved, "user") == tmp_path / "elsewhere" / path
    unusable = machine(tmp_path, platform, environ={variable: "relative"})
    assert HOSTS[name].path(unusable, "user") == HOSTS[name].path(machine(tmp_path, platform), "user")


def test_a_host_is_found_by_its_file_or_by_the_folder_that_it_made(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert not [host for host in HOSTS.values() if host.is_found(here)]
    touched(tmp_path / ".claude.json")
    (tmp_path / ".cursor").mkdir()
    assert [host.name for host in HOSTS.values() if host.is_found(here)] == ["claude-code", "cursor"]


@pytest.mark.parametrize(
    ("name", "scope", "root"),
    [
        ("cursor", "user", "${workspaceFolder}"),
        ("cursor", "project", "${workspaceFolder}"),
        ("vscode", "project", "${workspaceFolder}"),
        ("vscode", "user", None),  # it would stop the start where no folder is open
        ("claude-code", "user", None),  # it sets CLAUDE_PROJECT_DIR
        ("zed", "user", None),  # it starts servers in the project
    ],
)
def test_the_files_root_is_the_hosts_own_variable_where_it_fills_one_in(
    name: str, scope: Scope, root: str | None
) -> None:
    assert HOSTS[name].files_root.get(scope) == root
