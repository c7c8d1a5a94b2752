"""`runtype-mcp install` and `uninstall`, as real processes in a scratch home."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from runtype_mcp.hosts import NAMES
from runtype_mcp.hosts.edit import editor
from runtype_mcp.hosts.launch import Machine
from runtype_mcp.hosts.paths import find
from runtype_mcp.hosts.table import HOSTS, Host, Scope
from tests.processes import TIMEOUT, environment, on_terminal
from tests.support import LEGACY, Api

PROGRAM = str(Path(sys.executable).with_name("runtype-mcp"))
KEY = "rt_test_0123456789"
NOT_MOVED = ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "CLAUDE_PROJECT_DIR", "NO_COLOR", "FORCE_COLOR")
MINE = {
    "JSON": """\
// what I have
{
  "theme": "dark", // keep
  "SERVERS": {
    "other": { "command": "npx", "args": ["-y", "x"], "env": { "API_TOKEN": "not yours" } },
    // the last one
  },
}
""",
    "TOML": """\
# what I have
model = "gpt" # keep

[SERVERS.other]
command = "npx"
args = ["-y", "x"]
""",
    "YAML": """\
# what I have
theme: "dark"   # keep
SERVERS:
  other:
    cmd: npx
    args:
    - -y
    # the last one

rest: {a: 1}
""",
}


class Home:
    """A person's home directory, with the project that they work on."""

    def __init__(self, path: Path) -> None:
        self.path, self.project = path / "home", path / "project"
        self.path.mkdir()
        self.project.mkdir()
        kept = {name: value for name, value in environment().items() if name not in NOT_MOVED}
        self.environ = kept | {"HOME": str(self.path), "RUNTYPE_MCP_STATE_DIR": str(path / "state")}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runtype_mcp", *arguments],
            cwd=self.project,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def does(self, *arguments: str) -> str:
        """What a command prints that works."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def file(self, host: Host, scope: Scope = "user") -> Path:
        path = host.path(Machine(self.path, environ={}, folder=self.project), scope)
        assert path is not None
        return path

    def write(self, host: Host, text: str, scope: Scope = "user") -> Path:
        path = self.file(host, scope)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def mine(host: Host) -> str:
    """What a person has in the file of a host."""
    return MINE[host.form].replace("SERVERS", host.servers[0])


def entry(host: Host, path: Path) -> Any:
    return find(editor(host.form).parse(path.read_text()), (*host.servers, "runtype"))


def older(host: Host) -> str:
    """The same with an older entry of ours in it."""
    command, args, env = host.keys
    lines = {
        "JSON": f'"runtype": {{ "{command}": "/old/runtype-mcp", "{args}": ["--read-only"], "{env}": {{"X": "1"}} }},',
        "TOML": f'[{host.servers[0]}.runtype]\n{command} = "/old/runtype-mcp"\n{args} = []\n{env} = {{ X = "1" }}\n',
        "YAML": f"runtype:\n    {command}: /old/runtype-mcp\n    {args}: []\n    {env}: {{}}\n    enabled: true\n  ",
    }
    at = {"JSON": "// the last one", "TOML": "[mcp_servers.other]", "YAML": "other:"}[host.form]
    return mine(host).replace(
        at, lines[host.form] + ("\n    " if host.form == "JSON" else "\n" * (host.form == "TOML")) + at
    )


async def tools_of(host: Host, found: Any, home: Home, variables: dict[str, str], **more: str) -> list[str]:
    """Start a server exactly as an entry says, as the host does it, and list its tools."""
    command, args, env = host.keys
    filled = {name: _fill(value, home, variables) for name, value in found.get(env, {}).items()}
    passed = {name: variables[name] for name in found.get("env_vars", []) if name in variables}
    server = StdioServerParameters(
        command=found[command],
        args=found[args],
        # Little more than what is in the entry: desktop hosts pass no more on.
        env={"HOME": str(home.path), "PATH": os.environ["PATH"], **passed, **filled, **more},
        cwd=home.path,
    )
    with anyio.fail_after(TIMEOUT):
        async with Client(server, mode=LEGACY) as client:
            if more:  # it calls the API with the key that it has
                await client.call_tool("list_client_tokens", {})
            return [tool.name for tool in (await client.list_tools()).tools]


def _fill(value: str, home: Home, variables: dict[str, str]) -> str:
    """A value of an entry after the host has filled in its variables. What it does not know, it leaves."""

    def known(found: re.Match[str]) -> str:
        if found[1] == "workspaceFolder":
            return str(home.project)
        name = found[1].removeprefix("env:").removesuffix(":-")
        default = "" if found[1].endswith(":-") else found[0]
        return (
            variables.get(name, default) if not found[1].startswith("input:") else variables.get("RUNTYPE_API_KEY", "")
        )

    return re.sub(r"\$\{([^}]+)\}", known, value)


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_the_server_starts_exactly_as_the_file_of_the_host_says(name: str, home: Home) -> None:
    host = HOSTS[name]
    path = home.write(host, older(host))
    assert "Done." in home.does("install", name, "--sandbox", "--yes")
    assert "delete_client_token" in await tools_of(host, entry(host, path), home, {})
    assert "It is installed already. Nothing was changed." in home.does("install", name, "--sandbox")
    home.does("install", name, "--read-only", "--yes")
    tools = await tools_of(host, entry(host, path), home, {"RUNTYPE_API_KEY": KEY})
    assert "list_client_tokens" in tools
    assert "delete_client_token" not in tools
    assert await tools_of(host, entry(host, path), home, {}) == tools  # no key is set: it starts, and calls say so
    home.does("uninstall", name, "--yes")
    assert path.read_text() == mine(host)


@pytest.mark.parametrize("name", [name for name in NAMES if HOSTS[name].project])
def test_a_project_has_a_file_of_its_own(name: str, home: Home) -> None:
    host = HOSTS[name]
    out = home.does("install", name, "--project", "--yes")
    assert out.startswith(f"{host.title}, for this project\n")
    assert "Git: the command is a path of this machine." in out
    assert entry(host, home.file(host, "project"))[host.keys[0]] == PROGRAM
    assert not home.file(host).exists()
    home.does("uninstall", name, "--project", "--yes")
    assert not home.file(host, "project").exists()


CURSOR = HOSTS["cursor"]


def test_what_is_printed_is_the_whole_story(home: Home) -> None:
    path = home.write(CURSOR, mine(CURSOR))
    out = home.does("install", "cursor", "--yes")
    kept = re.search(r"Done\. What was there before is in (\S+)\n", out)
    assert kept, out
    assert Path(kept[1]).read_text() == mine(CURSOR)
    assert out == (
        f"Cursor, for all your projects\n{path}\n"
        "       // the last one\n"
        '  +    "runtype": {\n'
        f'  +      "command": "{PROGRAM}",\n'
        '  +      "args": [],\n'
        '  +      "env": {\n'
        '  +        "RUNTYPE_API_KEY": "${env:RUNTYPE_API_KEY}",\n'
        '  +        "RUNTYPE_MCP_FILES_ROOT": "${workspaceFolder}"\n'
        "  +      }\n"
        "  +    },\n"
        "     },\n"
        f"{kept[0]}"
        "Key: run `runtype-mcp login`, or set RUNTYPE_API_KEY in the environment that Cursor starts in.\n"
        "Next: switch the server on in Cursor Settings, Tools & MCP.\n"
    )
    assert home.does("install", "cursor", "--yes").endswith("It is installed already. Nothing was changed.\n")


def test_programs_get_what_happened_to_each_file_as_json(home: Home) -> None:
    def told(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
        done = home.run(*arguments, "--json")
        assert (done.returncode, done.stderr) == (code, "")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    zed = HOSTS["zed"]
    home.write(zed, "[")
    path = home.write(CURSOR, mine(CURSOR))
    (asked,) = told("install", "cursor", code=1)
    assert (asked["status"], "Use --yes in a script." in asked["problem"]) == ("failed", True)
    (tried,) = told("install", "cursor", "--dry-run")
    assert (tried["status"], path.read_text()) == ("dry run", mine(CURSOR))
    done, failed = told("install", "cursor", "zed", "--yes", code=1)
    assert (done["host"], done["scope"], done["path"]) == ("cursor", "user", str(path))
    assert (done["status"], done["problem"], done["diff"]) == ("done", None, tried["diff"])
    assert Path(done["backup"]).read_text() == mine(CURSOR)
    assert done["next"] == CURSOR.restart
    assert (failed["host"], failed["status"]) == ("zed", "failed")
    assert str(home.file(zed)) in failed["problem"]
    assert told("install", "cursor", "--yes")[0]["status"] == "unchanged"
    assert told("uninstall", "cursor", "--yes")[0]["status"] == "done"
    (printed,) = told("install", "codex", "--print", "--sandbox")
    assert editor(printed["form"]).parse(printed["entry"])["mcp_servers"]["runtype"]["args"] == ["--sandbox"]


@pytest.mark.parametrize(
    ("name", "choice", "words"),
    [
        ("vscode", (), "Key: VS Code asks for it at the first start, and stores it."),
        ("claude-desktop", (), "Key: run `runtype-mcp login`. None is stored yet."),
        ("goose", ("--profile", "work"), "Key: run `runtype-mcp login --profile work`. None is stored yet."),
        ("zed", ("--sandbox",), "Key: none. The server works on the embedded sandbox, which needs"),
    ],
)
def test_a_person_is_told_where_the_key_comes_from(name: str, choice: tuple[str, ...], words: str, home: Home) -> None:
    assert words in home.does("install", name, *choice, "--yes")


@pytest.mark.anyio
async def test_where_a_key_is_stored_every_host_starts_without_one_in_its_file(home: Home, api: Api) -> None:
    account = {"RUNTYPE_BASE_URL": api.url}
    home.environ |= account
    login = home.run("login", "--file", "--profile", "work", stdin=f"{KEY}\n")
    assert login.returncode == 0, login.stderr
    out = home.does("install", "cursor", "vscode", "--profile", "work", "--yes")
    assert out.count("Key: the one that `runtype-mcp login` stored, profile 'work'.") == 2
    for host in (CURSOR, HOSTS["vscode"]):
        assert KEY not in home.file(host).read_text()
        assert "RUNTYPE_API_KEY" not in home.file(host).read_text()
        assert await tools_of(host, entry(host, home.file(host)), home, {}, **account)
    assert len(api.received) == 3  # the login, and one call of each server
    assert "Key: run `runtype-mcp login`, or" in home.does("install", "cursor", "--yes")  # another account


def test_a_host_without_a_project_is_given_a_folder_for_env_files(home: Home) -> None:
    out = home.does("install", "claude-desktop", "--yes")
    assert "Files: none can be written, because Claude Desktop has no project. --files-root DIR names a folder." in out
    out = home.does("install", "claude-desktop", "--files-root", ".", "--yes")
    assert "Files:" not in out
    desktop = HOSTS["claude-desktop"]
    assert entry(desktop, home.file(desktop))["env"] == {"RUNTYPE_MCP_FILES_ROOT": str(home.project)}
    missing = home.run("install", "claude-desktop", "--files-root", "nowhere", "--yes")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "--files-root: there is no such folder" in missing.stderr


def test_secrets_of_other_servers_are_not_shown(home: Home) -> None:
    text = '{"mcpServers": {"other": {"command": "x", "env": {"API_TOKEN": "ghp_abc", "N": "1"}}}}'
    home.write(CURSOR, text)
    out = home.does("install", "cursor", "--dry-run")
    assert "ghp_abc" not in out
    assert '"API_TOKEN": "…", "N": "1"' in out
    assert "${env:RUNTYPE_API_KEY}" in out


def test_a_dry_run_and_a_print_change_nothing(home: Home) -> None:
    out = home.does("install", "cursor", "--dry-run")
    assert out.endswith("Nothing was changed: this is a dry run.\n")
    printed = home.run("install", "vscode", "--print", "--sandbox")
    assert printed.returncode == 0
    assert editor("JSON").parse(printed.stdout)["servers"]["runtype"]["args"] == ["--sandbox"]
    assert printed.stderr == f"VS Code: {home.file(HOSTS['vscode'])}\n"
    assert os.listdir(home.path) == []


def test_a_person_is_asked_and_only_yes_is_yes(home: Home) -> None:
    path = home.file(CURSOR)
    for typed, written in (("\n", False), ("no\n", False), ("maybe\n", False), ("\x04", False), ("y\n", True)):
        with on_terminal("install", "cursor", **home.environ) as terminal:
            terminal.until("Write this? [y/N] ")
            assert not path.exists()
            terminal.types(typed)
            assert terminal.ended() == (0 if written else 1)
        assert path.exists() is written
        assert ("Nothing was changed." in terminal.shown) is not written
    with on_terminal("uninstall", "cursor", **home.environ) as terminal:
        terminal.until("Delete this file? [y/N] ")
        terminal.types("yes\n")
        assert terminal.ended() == 0
    assert not path.exists()


def test_without_a_terminal_it_asks_for_yes_and_changes_nothing(home: Home) -> None:
    done = home.run("install", "cursor")
    assert done.returncode == 1
    assert "Use --yes in a script" in done.stderr
    assert os.listdir(home.path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a host, or use --all for every one that is found. Found here: cursor, zed."),
        (("cursr",), "did you mean cursor?"),
        (("cursor", "--all"), "name hosts, or use --all, not both."),
        (("goose", "--project"), "Goose has no file for one project. Leave out --project."),
        (("cursor", "--name", "a b"), "a name is made of letters, digits, - and _"),
        (("cursor", "--user", "--project"), "--project"),
        (("cursor", "--sandbox", "--profile", "work"), "--sandbox and --profile exclude each other."),
        (("cursor", "--profile", "a b"), "must be up to 64 letters"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str, home: Home) -> None:
    home.write(CURSOR, "{}")
    home.write(HOSTS["zed"], "{}")
    done = home.run("install", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_are_those_that_are_found(home: Home) -> None:
    assert "None was found here; --help lists them." in home.run("install").stderr
    assert "no host was found here" in home.run("install", "--all", "--yes").stderr
    for name in ("cursor", "zed", "goose"):
        home.write(HOSTS[name], mine(HOSTS[name]))
    out = home.does("install", "--all", "--yes")
    assert [line for line in out.splitlines() if line.endswith("for all your projects")] == [
        "Cursor, for all your projects",
        "Zed, for all your projects",
        "Goose, for all your projects",
    ]
    assert home.does("install", "--all", "--project", "--yes").count("for this project") == 2
    home.does("uninstall", "--all", "--yes")
    assert [home.file(HOSTS[name]).read_text() for name in ("cursor", "zed", "goose")] == [
        mine(HOSTS[name]) for name in ("cursor", "zed", "goose")
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "cursor",
            '{\n  "mcpServers": {\n    "a": 1\n    "b": 2\n  }\n}',
            "mcp.json line 4: a comma or } is missing before",
        ),
        ("cursor", "[]", "mcp.json line 1: [] is where an object belongs"),
        ("codex", "a = 1\nb =", "config.toml line 2: invalid value"),
        ("goose", "a: 1\nb: [", "config.yaml line 2"),
        (
            "cursor",
            '{"mcpServers": {"runtype": {"url": "https://x/mcp"}}}',
            "another server named 'runtype': the one at",
        ),
    ],
)
def test_a_file_that_cannot_be_edited_stays_as_it_is_and_the_next_host_has_its_turn(
    name: str, text: str, words: str, home: Home
) -> None:
    path = home.write(HOSTS[name], text)
    done = home.run("install", name, "zed", "--yes")
    assert done.returncode == 1
    assert words in done.stderr
    assert "Nothing was changed." in done.stderr
    assert path.read_text() == text
    assert entry(HOSTS["zed"], home.file(HOSTS["zed"]))["command"] == PROGRAM


@pytest.mark.parametrize(("name", "package"), [("codex", "tomlkit"), ("goose", "ruamel.yaml")])
def test_where_the_library_is_missing_a_person_is_told_how_to_get_it(name: str, package: str, home: Home) -> None:
    blocked = home.project / package.partition(".")[0]
    blocked.mkdir()
    (blocked / "__init__.py").write_text(f"raise ModuleNotFoundError('no {package}')")
    home.environ["PYTHONPATH"] = str(home.project)
    done = home.run("install", name, "zed", "--yes")
    assert done.returncode == 1
    assert f"{sys.executable} -m pip install {package}" in done.stderr
    assert "Nothing was changed." in done.stderr
    assert not home.file(HOSTS[name]).exists()
    assert home.file(HOSTS["zed"]).exists()
    printed = home.run("install", name, "--print")
    assert (printed.returncode, "runtype" in printed.stdout) == (0, True)
