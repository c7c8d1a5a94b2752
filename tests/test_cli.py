"""The command line: what it accepts, what it answers, and how it ends."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from runtype_mcp import __version__, cli
from runtype_mcp.console.mcp_apps import CONFIRM
from runtype_mcp.setting_variables import VARIABLES
from runtype_mcp.storage.audit_log import AuditLog, verify
from runtype_mcp.tools import SPECS
from tests.processes import TIMEOUT, Process, environment, on_terminal, run, started, until
from tests.support import KEY, Api

COMMANDS = (
    *("stdio", "http", "console", "install", "uninstall", "demo", "sandbox", "login", "logout", "whoami", "doctor"),
    *("call", "callers", "approvals", "approve", "audit", "settings"),
    "completion",
)
PRINT_NOTHING_FOR_PROGRAMS = {
    "stdio": "speaks the protocol on its stdout",
    "http": "serves until it is ended",
    "console": "serves until it is ended, and hands its address to a person alone",
    "sandbox": "serves until it is ended",
    "callers": "does nothing without an action, each of which has it",
    "approve": "insists on a person at a terminal",
    "completion": "prints a script for a shell",
}
"""The commands without `--json`, and why."""
VALUE = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"
SECRET = "rt_live_0123456789abcdef0123456789abcdef"
OPAQUE = "Zq7wKxT2mVb9LpRd4HsYc8NfJg3UaEo6WiXyBtQk"


@pytest.fixture
def _undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`main` is for a process of its own: put back what it sets for the whole of this one."""
    for name in [name for name in environment() if name.startswith("RUNTYPE_")]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def printed(capsys: pytest.CaptureFixture[str], argv: list[str], code: int = 0) -> str:
    """What a command prints that ends with `code` and says nothing on stderr."""
    assert cli.main(argv) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


def complaint(capsys: pytest.CaptureFixture[str], argv: list[str], code: int) -> str:
    """The one line on stderr of a command that ends with `code` and prints nothing."""
    assert cli.main(argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    found = re.fullmatch(r"runtype-mcp: ([^\n]+)\n", err)
    assert found, err
    return found[1]


# Asking about the program


def test_version_says_name_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, ["--version"]) == f"runtype-mcp {__version__}\n"


@pytest.mark.parametrize("argv", [["--help"], ["-h"]])
def test_help_names_every_command_and_fits_a_terminal(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = printed(capsys, argv)
    assert re.findall(r"^    (\w+)\b", out, re.MULTILINE) == list(COMMANDS)
    assert "runtype-mcp settings" in out
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) <= 40


@pytest.mark.parametrize("command", COMMANDS)
def test_whatever_prints_prints_json_too(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ("--json" in printed(capsys, [command, "--help"])) is (command not in PRINT_NOTHING_FOR_PROGRAMS)


def test_settings_are_listed_with_their_defaults_and_meanings(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, ["settings"])
    assert re.findall(r"^(RUNTYPE_\w+)$", out, re.MULTILINE) == list(VARIABLES)
    assert "(default: https://api.runtype.com)" in out
    rows = json.loads(printed(capsys, ["settings", "--json"]))
    assert [row["name"] for row in rows] == list(VARIABLES)
    assert {row["default"] for row in rows} >= {"none", "auto", "30"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["stdio"], ["--sandbox", "--read-only", "--base-url", "--profile"]),
        (["--sandbox"], ["--sandbox", "--read-only", "--base-url", "--profile"]),
        (["http"], ["--sandbox", "--read-only", "--base-url", "--profile", "--port", "8765"]),
        (
            ["install"],
            [
                "HOST",
                "goose",
                "--all",
                "--user",
                "--project",
                "--name",
                "--approval",
                "--profile",
                "--files-root",
                "--print",
                "--dry-run",
                "--yes",
                "--read-only",
                "--sandbox",
            ],
        ),
        (["uninstall"], ["HOST", "goose", "--all", "--user", "--project", "--name", "--dry-run", "--yes"]),
        (["demo"], ["--json"]),
        (["sandbox"], ["--port", "8766", "--data"]),
        (["login"], ["--file", "--base-url", "--profile"]),
        (["logout"], ["--base-url", "--profile"]),
        (["whoami"], ["--base-url", "--profile", "--json"]),
        (["doctor"], ["--sandbox", "--read-only", "--base-url", "--profile", "--json"]),
        (["approvals"], ["--json"]),
        (["approve"], ["CODE", "--profile"]),
        (["settings"], ["--json"]),
        (["completion"], ["bash", "zsh"]),
        (["audit"], ["show", "verify", "FILE", "--head", "--json"]),
    ],
    ids=str,
)
def test_every_command_has_help_of_its_own(
    command: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, [*command, "--help"])
    assert out.startswith("usage: runtype-mcp ")
    assert {"--help", *words} <= set(re.findall(r"[\w-]+", out))
    assert ("--sandbox" in out) is ("--sandbox" in words)


def test_the_console_script_and_the_module_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("runtype-mcp")
    for command in ([str(script)], [sys.executable, "-m", "runtype_mcp"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"runtype-mcp {__version__}\n", "")


@pytest.mark.parametrize("start", ["cold", "warm"])
def test_a_person_who_starts_it_in_a_terminal_is_told_what_it_is_and_what_to_do(start: str) -> None:
    if start == "warm":
        with started() as server:
            server.hello()
    with on_terminal(COLUMNS="80") as terminal:
        assert terminal.ended() == 0
    lines = terminal.shown.splitlines()
    assert "an MCP server that manages Runtype client tokens" in lines[0]
    listed = [line for line in lines if line.startswith("    runtype-mcp")]
    assert lines[-len(listed) :] == listed  # no line of the list is wrapped
    assert {"runtype-mcp demo", "runtype-mcp login", "runtype-mcp install", "runtype-mcp --help"} <= set(
        re.findall(r"^    (runtype-mcp \S+)", terminal.shown.replace("\r", ""), re.MULTILINE)
    )
    assert max(map(len, lines)) <= 80


def test_a_person_who_insists_is_told_what_it_waits_for() -> None:
    with on_terminal("stdio") as terminal:
        terminal.until("`runtype-mcp demo`")
        terminal.types("\x04")
        assert terminal.ended() == 0
    assert len(terminal.shown.splitlines()) == 2


# Wrong usage and wrong settings


@pytest.mark.usefixtures("_undone")
@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--no-such"], "unknown option --no-such. See runtype-mcp --help."),
        (["--sand"], "unknown option --sand."),
        (["serve"], f"argument COMMAND must be one of {', '.join(COMMANDS)}. See runtype-mcp --help."),
        (["aprove", "x"], "did you mean approve?"),
        ([""], "argument COMMAND must be one of"),
        (["--sandbox", "http"], "unexpected argument."),
        (["--base-url"], "argument --base-url: expected one argument. See runtype-mcp stdio --help."),
        (["--sandbox", "--base-url", "https://x.example"], "--sandbox and --base-url exclude each other."),
        (["--base-url", "http://x.example"], "RUNTYPE_BASE_URL must be an https:// address"),
        (["--port", "1"], "unknown option --port."),
        *((["http", "--port", port], "a port is a number from 0 to 65535.") for port in ("x", "65536", "-1", "\u0661")),
        (["http", "more"], "unexpected argument."),
        (["sandbox", "--sandbox"], "unknown option --sandbox."),
        (["demo", "now"], "unexpected argument."),
        (["approve"], "the following arguments are required: CODE."),
        (["approve", "a", "b"], "unexpected argument."),
        (["audit"], "the following arguments are required: what, FILE."),
        (["audit", "show"], "the following arguments are required: FILE."),
        (["audit", "read", "x"], "argument what must be one of show, verify."),
        (["audit", "verify", "x", "--head"], "argument --head: expected one argument."),
        (["--api-key", SECRET], "unknown option --api-key."),
        ([f"--api-key={OPAQUE}"], "unknown option --api-key."),
        ([f"--{OPAQUE}"], "unexpected argument."),
        ([f"--key{OPAQUE}"], "unexpected argument."),
        ([f"--sandbox={OPAQUE}"], "argument --sandbox: ignored explicit argument …."),
        ([f"--sandbox={OPAQUE}'\""], "argument --sandbox: ignored explicit argument …."),
        ([OPAQUE], "argument COMMAND must be one of"),
        (["audit", f"{OPAQUE}'\n(choose from a", "x"], "argument what must be one of show, verify."),
        (["http", "--port", OPAQUE], "a port is a number"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_usage_is_one_line_without_what_was_typed_and_exit_code_2(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capsys, argv, 2)
    assert says in line
    assert "0123456789abcdef" not in line
    assert OPAQUE[:4] not in line


@pytest.mark.usefixtures("_undone")
@pytest.mark.parametrize("command", [[], ["http"], ["approvals"]])
def test_a_wrong_setting_is_one_line_without_its_value_and_exit_code_2(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = dict.fromkeys(VARIABLES, SECRET) | {"RUNTYPE_MCP_NO_SUCH": SECRET, "RUNTYPE_API_KEY": VALUE}
    wrong |= {"RUNTYPE_BASE_URL": f"https://me:{SECRET}@x.example", "RUNTYPE_MCP_AUDIT": f"/dev/null/{SECRET}"}
    del wrong["RUNTYPE_MCP_STATE_DIR"]  # every path is right
    for name, secret in wrong.items():
        with monkeypatch.context() as patched:
            patched.setenv(name, secret)
            line = complaint(capsys, command, 2)
        assert line.startswith(name)
        assert "0123456789abcdef" not in line


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (
            {"RUNTYPE_MCP_APPROVAL": "always"},
            "RUNTYPE_MCP_APPROVAL must be 'auto', 'human', 'second-person', 'flag' or 'deny'.\n",
        ),
        ({"RUNTYPE_MCP_TOOLS": "!delet_*"}, "RUNTYPE_MCP_TOOLS: no tool matches 'delet_*'"),
    ],
)
def test_a_process_with_a_wrong_setting_ends_with_2(environ: dict[str, str], says: str) -> None:
    done = run(**environ)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith(f"runtype-mcp: {says}")


# Serving stdio


def names(server: Process) -> set[str]:
    return {tool["name"] for tool in server.answer(server.ask("tools/list"))["result"]["tools"]}


def test_without_a_key_it_lists_its_tools_and_a_call_says_what_to_do() -> None:
    with started() as server:
        server.hello()
        assert names(server) == {spec.name for spec in (*SPECS, CONFIRM)}
        assert server.text("list_client_tokens").startswith("Error (auth): No Runtype API key is set.")


def test_ctrl_c_in_the_middle_of_a_call_ends_it_immediately(api: Api) -> None:
    api.faults.add("slow", seconds=60)
    with started("--base-url", api.url, RUNTYPE_API_KEY=KEY) as server:
        server.hello()
        server.ask("tools/call", {"name": "list_client_tokens", "arguments": {}})
        until(lambda: api.received, "the API receives the call")
        server.popen.send_signal(signal.SIGINT)
        assert server.ended() == -signal.SIGINT
        assert server.errors() == ""


@pytest.mark.parametrize("command", [[], ["stdio"]], ids=str)
def test_the_end_of_its_input_ends_it_with_0(command: list[str]) -> None:
    with started(*command, "--sandbox") as server:
        server.hello()
        for name in (["list_client_tokens"], {"a": 1}, None):
            assert server.answer(server.ask("tools/call", {"name": name}))["error"]["code"] == -32602
        assert "rows:" in server.text("list_client_tokens", limit=1)
        assert server.popen.stdin is not None
        server.popen.stdin.close()
        assert server.ended() == 0
        assert server.errors() == ""


def test_read_only_lists_and_runs_no_tool_that_writes(api: Api) -> None:
    token = api.seeded().store.newest_first()[0].token
    with started("--read-only", "--base-url", api.url, RUNTYPE_API_KEY=KEY) as server:
        server.hello()
        assert names(server) == {spec.name for spec in (*SPECS, CONFIRM) if not spec.writes}
        for spec in SPECS:
            if spec.writes and spec.name != "create_client_token":
                text = server.text(spec.name, client_token=token["id"], confirm=True, expected_name=token["name"])
                assert "This server is read-only" in text
    assert not api.writes


# The sandbox


def test_the_sandbox_serves_any_client_and_keeps_its_data(tmp_path: Path) -> None:
    with on_terminal("sandbox", "--port", "0", "--data", str(tmp_path / "sandbox.db")) as terminal:
        terminal.until("\n")
        found = re.match(r"Sandbox API on (http://127\.0\.0\.1:\d+) ", terminal.shown)
        assert found, terminal.shown
        listed = httpx.get(f"{found[1]}/v1/client-tokens", headers={"authorization": "Bearer rt_test_1"})
        assert len(listed.json()["clientTokens"]) == 16
        terminal.press_ctrl_c()
        assert terminal.ended() == -signal.SIGINT
    assert (tmp_path / "sandbox.db").exists()


# The audit log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    written = AuditLog(path)
    for number in range(3):
        call = {"call": str(number), "tool": "delete_client_token", "token": f"ct_{number}", "name": "\x1b[31mShop"}
        written.append({"event": "started", **call})
        written.append({"event": "ended", "outcome": "done", "duration_ms": 5, **call})
    return path


def test_audit_show_prints_one_line_for_each_call(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = printed(capsys, ["audit", "show", str(log)]).splitlines()
    assert head.split()[:4] == ["time", "outcome", "tool", "token"]
    assert len(lines) == 3
    assert all("delete_client_token" in line and "done" in line and line.isprintable() for line in lines)


def test_audit_verify_names_the_line_that_was_forged(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = verify(log).head
    assert printed(capsys, ["audit", "verify", str(log)]) == f"6 lines, 0 problems, head {head}\n"
    lines = log.read_text().splitlines(keepends=True)
    AuditLog(log).append({"event": "note"})
    assert "7 lines, 0 problems" in printed(capsys, ["audit", "verify", str(log), "--head", head])
    lines[1] = json.dumps(json.loads(lines[1]) | {"outcome": "refused"}) + "\n"
    log.write_text("".join(lines))
    out = printed(capsys, ["audit", "verify", str(log)], 1)
    assert out.startswith("line 3: ")
    assert "1 problems" in out
    log.write_text("".join(lines[:1]))
    assert "The remembered head is not in the log" in printed(capsys, ["audit", "verify", str(log), "--head", head], 1)


def test_audit_prints_json_for_programs(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = json.loads(printed(capsys, ["audit", "show", str(log), "--json"]))
    assert [(call["tool"], call["outcome"], call["duration_ms"]) for call in calls] == [
        ("delete_client_token", "done", 5)
    ] * 3
    found = json.loads(printed(capsys, ["audit", "verify", str(log), "--json"]))
    assert found == {"lines": 6, "problems": [], "head": verify(log).head}
    log.write_text("".join(log.read_text().splitlines(keepends=True)[1:]))
    found = json.loads(printed(capsys, ["audit", "verify", str(log), "--json"], 1))
    assert found["problems"][0]["line"] == 1


def test_a_file_that_is_not_an_audit_log_is_told_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    problem, summary = printed(capsys, ["audit", "verify", __file__], 1).splitlines()
    assert problem == "line 1: This is not an audit log: no line of it is an entry of one."
    assert "1 problems" in summary


@pytest.mark.parametrize("what", ["show", "verify"])
def test_a_log_that_is_not_there_is_one_line_and_exit_code_1(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        assert complaint(capsys, ["audit", what, str(path)], 1).startswith(f"{path} could not be read: ")


# Streams that are closed


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's redirections")
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("approvals", 0, ""),
        ("approve 0000-0000", 1, "runtype-mcp: approve needs a terminal"),
        ("--sandbox", 2, "runtype-mcp: stdin and stdout must be open"),
    ],
)
def test_a_closed_stream_is_no_reason_for_a_traceback(command: str, code: int, says: str) -> None:
    line = f"{sys.executable} -m runtype_mcp {command} <&- >&-"
    done = subprocess.run(line, shell=True, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, env=environment())
    assert done.returncode == code
    assert done.stderr.startswith(says)
    assert len(done.stderr.splitlines()) == (code > 0)


@pytest.mark.parametrize("command", [["audit", "show"], ["demo"]], ids=str)
def test_a_pipe_that_nobody_reads_ends_a_command_quietly(command: list[str], log: Path) -> None:
    argv = [sys.executable, "-m", "runtype_mcp", *command, *([str(log)] if command[0] == "audit" else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as popen:
        assert popen.stdout is not None
        popen.stdout.close()
        assert popen.communicate(timeout=TIMEOUT)[1] == b""
    assert popen.returncode == 141
