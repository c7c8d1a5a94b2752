"""The hosts: where each keeps its servers, in which format, and what an entry looks like there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runtype_mcp.hosts.edit import Format
from runtype_mcp.hosts.launch import Machine
from runtype_mcp.hosts.paths import Item
from runtype_mcp.hosts.paths import Path as Place

Scope = Literal["user", "project"]
Forms = Literal["yes", "in the terminal", "no", "not documented"]
INPUT = Item("runtype-api-key")
"""The id of VS Code's question for the key."""


@dataclass(frozen=True, slots=True)
class Server:
    """How a host is to start this server: what is the same for all of them."""

    name: str
    command: str
    args: list[str]
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class Host:
    """One host.

    Attributes:
        name: what `install` calls it.
        title: what people call it.
        user: the file for all projects, by `sys.platform`; "" stands for every other one. `{…}` is a folder of
            `folders()`.
        project: the file for one project, below its folder; empty where the host has none.
        servers: the path to the servers in the file.
        form: the file's format.
        reads_key: what RUNTYPE_API_KEY is in an entry, so that the host passes its own variable on; empty where the
            host passes all variables on by itself, None where it passes none on.
        files_root: what the host fills with the folder of the project, by scope.
        has_project: whether the host starts servers for a project at all, so that env files have a place.
        has_type: whether an entry says that it is of the type `stdio`.
        projects: the path to the projects in the user's file, where each has servers of its own.
        forms: whether the host shows a person a form in the middle of a call.
        restart: what a person does next, so that the host reads its file: the rest of a sentence.
    """

    name: str
    title: str
    user: Mapping[str, str]
    project: str
    servers: Place = ("mcpServers",)
    form: Format = "JSON"
    reads_key: str | None = ""
    files_root: Mapping[Scope, str] = field(default_factory=dict)
    has_project: bool = True
    has_type: bool = False
    projects: Place = ()
    forms: Forms = "not documented"
    restart: str = ""

    def path(self, machine: Machine, scope: Scope) -> Path | None:
        """The file for a scope; None where the host has none for it."""
        if scope == "project":
            return machine.folder / self.project if self.project else None
        template = self.user.get(machine.platform, self.user[""])
        return Path(template.format_map(folders(machine)))

    def is_found(self, machine: Machine) -> bool:
        """Whether this user has the host: it has made its file, or the folder for it."""
        path = self.path(machine, "user")
        assert path is not None
        return path.exists() or (path.parent != machine.home and path.parent.is_dir())

    def entry(self, server: Server) -> dict[str, Any]:
        """The entry for a server, in the shape that the host reads."""
        if self.name == "goose":
            start = {"type": "stdio", "name": server.name, "description": DESCRIPTION, "cmd": server.command}
            return {"enabled": True, **start, "args": server.args, "envs": server.env, "timeout": 300}
        entry: dict[str, Any] = {"type": "stdio"} if self.has_type else {}
        entry |= {"command": server.command, "args": server.args}
        if self.name == "codex" and KEY in server.env:
            # Codex passes on no variable that it is not told of.
            env = {name: value for name, value in server.env.items() if name != KEY}
            return entry | {"env_vars": [KEY]} | ({"env": env} if env else {})
        return entry | ({"env": server.env} if server.env else {})

    @property
    def keys(self) -> tuple[str, str, str]:
        """What an entry calls its command, its arguments and its environment."""
        return ("cmd", "args", "envs") if self.name == "goose" else ("command", "args", "env")

    def question(self, server: Server) -> tuple[Place, dict[str, Any]] | None:
        """What the host asks its user for, beside the entry, where the entry refers to it."""
        if server.env.get(KEY) != f"${{input:{INPUT}}}":
            return None
        asked = {"id": str(INPUT), "type": "promptString", "description": "Runtype API key", "password": True}
        return ("inputs", INPUT), asked


KEY = "RUNTYPE_API_KEY"
DESCRIPTION = "Manage Runtype client tokens"


def folders(machine: Machine) -> dict[str, str]:
    """The folders that hosts keep their files in, by the names that the table uses."""
    home, environ = machine.home, machine.environ

    def of(variable: str, default: Path) -> str:
        given = environ.get(variable, "")
        return given if os.path.isabs(given) else str(default)

    return {
        "home": str(home),
        "config": of("XDG_CONFIG_HOME", home / ".config"),
        "support": str(home / "Library" / "Application Support"),
        "appdata": of("APPDATA", home / "AppData" / "Roaming"),
        "claude": of("CLAUDE_CONFIG_DIR", home),
        "codex": of("CODEX_HOME", home / ".codex"),
    }


def _in_config(folder: str, windows: str) -> dict[str, str]:
    return {"": f"{{config}}/{folder}", "darwin": f"{{home}}/.config/{folder}", "win32": f"{{appdata}}/{windows}"}


def _in_support(folder: str) -> dict[str, str]:
    return {"": f"{{config}}/{folder}", "darwin": f"{{support}}/{folder}", "win32": f"{{appdata}}/{folder}"}


_ENV = "${env:RUNTYPE_API_KEY}"
_WORKSPACE = "${workspaceFolder}"

_ALL = (
    Host(
        "claude-desktop",
        "Claude Desktop",
        _in_support("Claude/claude_desktop_config.json"),
        "",
        reads_key=None,
        has_project=False,
        forms="no",
        restart="quit Claude Desktop and open it again.",
    ),
    Host(
        "claude-code",
        "Claude Code",
        {"": "{claude}/.claude.json"},
        ".mcp.json",
        has_type=True,
        projects=("projects",),
        forms="yes",
        restart="start `claude` anew; `/mcp` shows the server.",
    ),
    Host(
        "cursor",
        "Cursor",
        {"": "{home}/.cursor/mcp.json"},
        ".cursor/mcp.json",
        reads_key=_ENV,
        # Its Agents Window starts the servers of the user's file in the home directory, but fills this in.
        files_root={"user": _WORKSPACE, "project": _WORKSPACE},
        forms="yes",
        restart="switch the server on in Cursor Settings, Tools & MCP.",
    ),
    Host(
        "vscode",
        "VS Code",
        _in_support("Code/User/mcp.json"),
        ".vscode/mcp.json",
        servers=("servers",),
        reads_key=f"${{input:{INPUT}}}",
        # In the user's file it would stop the start wherever no folder or more than one is open.
        files_root={"project": _WORKSPACE},
        has_type=True,
        forms="yes",
        restart="run `MCP: List Servers` in the command palette, and start the server.",
    ),
    Host(
        "devin",
        "Devin Desktop",
        _in_config("devin/mcp_config.json", "devin/mcp_config.json"),
        ".devin/mcp_config.json",
        reads_key=_ENV,
        restart="refresh the MCP servers in Devin Desktop's settings.",
    ),
    Host(
        "windsurf",
        "Windsurf",
        {"": "{home}/.codeium/windsurf/mcp_config.json"},
        "",
        reads_key=_ENV,
        restart="refresh the MCP servers in Windsurf's settings.",
    ),
    Host(
        "zed",
        "Zed",
        _in_config("zed/settings.json", "Zed/settings.json"),
        ".zed/settings.json",
        servers=("context_servers",),
        forms="no",
        restart="look for a green dot in the settings of Zed's agent panel.",
    ),
    Host(
        "codex",
        "Codex CLI",
        {"": "{codex}/config.toml"},
        ".codex/config.toml",
        servers=("mcp_servers",),
        form="TOML",
        reads_key=KEY,
        forms="in the terminal",
        restart="start `codex` anew; `/mcp` shows the server.",
    ),
    Host(
        "gemini",
        "Gemini CLI",
        {"": "{home}/.gemini/settings.json"},
        ".gemini/settings.json",
        reads_key="${RUNTYPE_API_KEY:-}",
        forms="no",
        restart="start `gemini` anew, in a folder that it trusts; `/mcp` shows the server.",
    ),
    Host(
        "goose",
        "Goose",
        _in_config("goose/config.yaml", "Block/goose/config/config.yaml"),
        "",
        servers=("extensions",),
        form="YAML",
        forms="yes",
        restart="start a new session in Goose.",
    ),
    Host(
        "lm-studio",
        "LM Studio",
        {"": "{home}/.lmstudio/mcp.json"},
        "",
        reads_key=None,
        has_project=False,
        restart="switch the server on in LM Studio's Program tab.",
    ),
)
HOSTS = {host.name: host for host in _ALL}
