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
from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp import __version__, cli
from runtype_mcp.storage.audit_log import AuditLog, verify
from runtype_mcp.tools import SPECS
from tests.processes import SECONDS, Process, environment, run, started, until
from tests.support import KEY, Api

VALUE = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"
SECRET = "rt_live_0123456789abcdef0123456789abcdef"


@pytest.fixture
def _undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`main` is for a process of its own: put back what it sets for the whole of this one."""
    for name in [name for name in environment() if name.startswith("RUNTYPE_")]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level, interrupt = root.handlers[:], root.level, signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, interrupt)
    root.handlers[:] = handlers
    root.setLevel(level)


# Asking about the program


@pytest.mark.parametrize("argv", [["--version"], ["http", "--version"], ["--sandbox", "--version"]])
def test_version_says_name_and_version(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    assert capsys.readouterr() == (f"runtype-mcp {__version__}\n", "")


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["http", "--help"], ["approve", "-h"]])
def test_help_names_every_command_and_option(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in (
        "http",
        "demo",
        "sandbox",
        "approvals",
        "approve CODE",
        "audit show",
        "audit verify",
        "RUNTYPE_API_KEY",
    ):
        assert word in out
    for option in ("--sandbox", "--read-only", "--base-url", "--port", "--data", "--head", "--version", "--help"):
        assert option in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_console_script_and_the_module_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("runtype-mcp")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout) == (0, f"runtype-mcp {__version__}\n")
    module = run("--version")
    assert (module.returncode, module.stdout, module.stderr) == (0, done.stdout, "")


# Wrong usage and wrong settings


@pytest.mark.usefixtures("_undone")
@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--no-such"], "--no-such"),
        (["serve"], "serve"),
        ([""], "unrecognized"),
        (["--sand"], "--sand"),
        (["--base-url"], "--base-url"),
        (["--sandbox", "--base-url", "https://x.example"], "exclude each other"),
        (["--base-url", "http://x.example"], "RUNTYPE_BASE_URL must be an https:// address"),
        (["--port", "1"], "--port"),
        (["http", "--port", "x"], "a port is a number from 0 to 65535"),
        (["http", "--port", "65536"], "a port is a number from 0 to 65535"),
        (["http", "--port", "-1"], "--port"),
        (["http", "more"], "more"),
        (["sandbox", "--sandbox"], "--sandbox"),
        (["sandbox", "--port"], "--port"),
        (["demo", "now"], "now"),
        (["approve"], "code"),
        (["approve", "a", "b"], "b"),
        (["approvals", "all"], "all"),
        (["audit"], "what"),
        (["audit", "show"], "file"),
        (["audit", "read", "x"], "invalid choice"),
        (["audit", "verify", "x", "--head"], "--head"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"runtype-mcp: [^\n]+\n", err)
    assert says in err


@pytest.mark.usefixtures("_undone")
@pytest.mark.parametrize(
    ("argv", "environ", "says"),
    [
        ([], {"RUNTYPE_API_KEY": VALUE}, "RUNTYPE_API_KEY holds a client token"),
        ([], {"RUNTYPE_API_KEY": f"{SECRET} {SECRET}"}, "RUNTYPE_API_KEY holds spaces"),
        ([], {"RUNTYPE_API_KEY": f"{SECRET}é"}, "RUNTYPE_API_KEY holds"),
        ([], {"RUNTYPE_BASE_URL": f"https://me:{SECRET}@x.example"}, "RUNTYPE_BASE_URL"),
        ([], {"RUNTYPE_BASE_URL": f"https://x.example/?key={SECRET}"}, "RUNTYPE_BASE_URL"),
        ([], {"RUNTYPE_BASE_URL": "https://[x"}, "RUNTYPE_BASE_URL"),
        (["--base-url", f"ftp://{SECRET}.example"], {}, "RUNTYPE_BASE_URL"),
        ([], {"RUNTYPE_MCP_TIMEOUT": SECRET}, "RUNTYPE_MCP_TIMEOUT must be a number of seconds"),
        ([], {"RUNTYPE_MCP_CONNECT_TIMEOUT": "inf"}, "RUNTYPE_MCP_CONNECT_TIMEOUT must be a number of seconds"),
        ([], {"RUNTYPE_MCP_READ_ONLY": SECRET}, "RUNTYPE_MCP_READ_ONLY must be true or false"),
        ([], {"RUNTYPE_MCP_SANDBOX": "maybe"}, "RUNTYPE_MCP_SANDBOX must be true or false"),
        ([], {"RUNTYPE_MCP_LOG_LEVEL": SECRET}, "RUNTYPE_MCP_LOG_LEVEL must be one of"),
        ([], {"RUNTYPE_MCP_APPROVAL": SECRET}, "RUNTYPE_MCP_APPROVAL must be one of: auto, human, flag, deny"),
        ([], {"RUNTYPE_MCP_APPROVAL_LIVE": "yes"}, "RUNTYPE_MCP_APPROVAL_LIVE must be one of"),
        ([], {"RUNTYPE_MCP_ENVIRONMENT": "prod"}, "RUNTYPE_MCP_ENVIRONMENT must be one of: test, live"),
        ([], {"RUNTYPE_MCP_SECRETS": SECRET}, "RUNTYPE_MCP_SECRETS must be one of"),
        ([], {"RUNTYPE_MCP_TOOLS": f"list; {SECRET}"}, "RUNTYPE_MCP_TOOLS must be"),
        ([], {"RUNTYPE_MCP_FILES_ROOT": f"/{SECRET}"}, "RUNTYPE_MCP_FILES_ROOT must be an existing directory"),
        (["http"], {"RUNTYPE_MCP_APPROVAL": "x"}, "RUNTYPE_MCP_APPROVAL"),
        (["--api-key", SECRET], {}, "--api-key"),
        ([f"--api-key={SECRET}"], {}, "--api-key"),
        (["--api-key=Zq7wKxT2mVb9LpRd4HsYc8NfJg3UaEo6WiXyBtQk"], {}, "--api-key"),
        (["--api-key", "Zq7wKxT2mVb9LpRd4HsYc8NfJg3UaEo6WiXyBtQk"], {}, "--api-key"),
        ([SECRET], {}, "unrecognized"),
        (["audit", SECRET, "x"], {}, "invalid choice"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_line_without_its_value_and_exit_code_2(
    argv: list[str],
    environ: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"runtype-mcp: [^\n]+\n", err)
    assert says in err
    for secret in ("0123456789abcdef", "Zq7wKxT2"):
        assert secret not in err


def test_a_process_with_a_wrong_setting_ends_with_2() -> None:
    done = run(RUNTYPE_MCP_APPROVAL="always")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "runtype-mcp: RUNTYPE_MCP_APPROVAL must be one of: auto, human, flag, deny.\n"


# Serving stdio


def names(server: Process) -> set[str]:
    return {tool["name"] for tool in server.answer(server.ask("tools/list"))["result"]["tools"]}


ARGUMENTS: dict[str, dict[str, Any]] = {
    "list_client_tokens": {},
    "audit_client_tokens": {},
    "create_client_token": {"name": "Shop", "allowed_origins": ["https://x.example"], "agent_ids": ["agent_1"]},
    "update_client_token": {"client_token": "ct_1", "name": "Till"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    """One server on the sandbox for tests that leave it as it is."""
    with started("--sandbox") as process:
        process.hello()
        yield process


def test_without_a_key_it_lists_its_tools_and_every_call_says_what_to_do() -> None:
    with started() as server:
        server.hello()
        assert names(server) == {spec.name for spec in SPECS}
        for endpoint in SPECS:
            text = server.text(endpoint.name, **ARGUMENTS.get(endpoint.name, {"client_token": "ct_1"}))
            assert text.startswith("Error (auth): No Runtype API key is set.")
            assert "RUNTYPE_API_KEY" in text
            assert "--sandbox" in text


@pytest.mark.parametrize("calls", [0, 1])
@pytest.mark.parametrize("start", ["cold", "warm"])
def test_ctrl_c_ends_it_at_once_while_its_input_is_open(calls: int, start: str) -> None:
    for _ in range(2 if start == "warm" else 1):
        with started("--sandbox") as server:
            server.hello()
            names(server)
            for _ in range(calls):
                server.call("list_client_tokens", limit=1)
            server.popen.send_signal(signal.SIGINT)
            assert server.ended() == -signal.SIGINT
            assert server.errors() == ""


def test_ctrl_c_in_the_middle_of_a_call_ends_it_at_once(api: Api) -> None:
    api.faults.add("slow", seconds=60)
    with started("--base-url", api.url, RUNTYPE_API_KEY=KEY) as server:
        server.hello()
        server.ask("tools/call", {"name": "list_client_tokens", "arguments": {}})
        until(lambda: api.received, "the API receives the call")
        server.popen.send_signal(signal.SIGINT)
        assert server.ended() == -signal.SIGINT
        assert server.errors() == ""


def test_the_end_of_its_input_ends_it_with_0() -> None:
    with started("--sandbox") as server:
        server.hello()
        server.call("list_client_tokens", limit=1)
        assert server.popen.stdin is not None
        server.popen.stdin.close()
        assert server.ended() == 0
        assert server.errors() == ""


NOISY = """
import os, sys
from runtype_mcp import results
data = results.Result.data
def noisy(self):
    print("printed")
    os.write(1, b"written to the descriptor\\n")
    os.system("echo said by a child")
    sys.__stdout__.write("written to the stream\\n")
    return data(self)
results.Result.data = noisy
"""


def test_stdout_carries_the_protocol_alone_whatever_prints() -> None:
    """`Process.answer` takes every line of stdout for JSON-RPC, so a stray one fails here."""
    for _ in range(2):  # cold, and with answers that are remembered
        with started("--sandbox", first=NOISY) as server:
            server.hello()
            names(server)
            for _ in range(2):
                assert "rows:" in server.text("list_client_tokens", limit=1)
            assert server.popen.stdin is not None
            server.popen.stdin.close()
            assert server.popen.stdout is not None
            assert server.popen.stdout.read() == b""
            assert server.ended() == 0
            assert "said by a child" in server.errors()


@pytest.mark.parametrize(
    "params",
    [
        {"name": ["list_client_tokens"], "arguments": {}},
        {"name": {"a": 1}},
        {"name": None},
        {"arguments": {}},
        {"name": "list_client_tokens", "arguments": []},
        {"name": "list_client_tokens", "arguments": "{}"},
    ],
    ids=str,
)
def test_what_is_no_call_is_the_clients_mistake(params: dict[str, Any], server: Process) -> None:
    error = server.answer(server.ask("tools/call", params))["error"]
    assert (error["code"], error["message"]) == (-32602, "Invalid request parameters")
    assert "rows:" in server.text("list_client_tokens", limit=1)


def test_a_line_that_is_no_message_does_not_end_it(server: Process) -> None:
    assert server.popen.stdin is not None
    server.popen.stdin.write(b'{"jsonrpc": "2.0", "id": \n\n\xff\xfe\n[]\n"x"\n{"jsonrpc":"2.0"}\n')
    assert "rows:" in server.text("list_client_tokens", limit=1)


def test_read_only_lists_and_runs_no_tool_that_writes(api: Api) -> None:
    api.seeded()
    token = api.store.newest_first()[0].token
    with started("--read-only", "--base-url", api.url, RUNTYPE_API_KEY=KEY) as server:
        server.hello()
        assert names(server) == {spec.name for spec in SPECS if not spec.writes}
        assert "rows:" in server.text("list_client_tokens", limit=1)
        for endpoint in SPECS:
            if endpoint.writes:
                arguments = ARGUMENTS.get(endpoint.name, {}) | {"client_token": token["id"], "confirm": True}
                assert "This server is read-only" in server.text(endpoint.name, **arguments)
    assert not api.writes


def test_the_option_base_url_wins_over_the_variable(api: Api) -> None:
    with started("--base-url", api.url, RUNTYPE_BASE_URL="https://x.invalid", RUNTYPE_API_KEY=KEY) as server:
        server.hello()
        assert "rows: none" in server.text("list_client_tokens")
    assert len(api.received) == 1


# The sandbox


def test_the_sandbox_serves_any_client_and_keeps_its_data(tmp_path: Path) -> None:
    data = tmp_path / "sandbox.db"
    key = {"authorization": "Bearer rt_test_1"}
    for round_ in range(2):
        with started("sandbox", "--port", "0", "--data", str(data)) as sandbox:
            assert sandbox.popen.stderr is not None
            line = sandbox.popen.stderr.readline().decode()
            found = re.fullmatch(r"Sandbox API on (http://127\.0\.0\.1:\d+) .*\n", line)
            assert found, line
            listed = httpx.get(f"{found[1]}/v1/client-tokens", headers=key).json()["clientTokens"]
            assert len(listed) == 16 - round_
            if round_ == 0:
                gone = listed[0]["id"]
                assert httpx.delete(f"{found[1]}/v1/client-tokens/{gone}", headers=key).status_code == 200
            else:
                assert gone not in {token["id"] for token in listed}
            with started("--base-url", found[1], RUNTYPE_API_KEY="rt_test_1") as server:
                server.hello()
                assert server.call("list_client_tokens", limit=200)["structuredContent"]["count"] == 15
            sandbox.popen.send_signal(signal.SIGINT)
            assert sandbox.ended() == -signal.SIGINT
            assert sandbox.errors() == ""


def test_a_sandbox_that_cannot_start_says_why_and_ends_with_1(tmp_path: Path) -> None:
    done = run("sandbox", "--port", "0", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


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


@pytest.mark.usefixtures("_undone")
def test_audit_show_prints_one_line_for_each_call(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "show", str(log)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    head, *lines = out.splitlines()
    assert head.split()[:4] == ["time", "caller", "tool", "token"]
    assert len(lines) == 3
    assert all("delete_client_token" in line and "done" in line for line in lines)
    assert "\x1b" not in out


@pytest.mark.usefixtures("_undone")
def test_audit_verify_of_a_sound_log_gives_its_head_and_ends_with_0(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = verify(log).head
    assert cli.main(["audit", "verify", str(log)]) == 0
    assert capsys.readouterr() == (f"6 lines, 0 problems, head {head}\n", "")
    AuditLog(log).append({"event": "note"})
    assert cli.main(["audit", "verify", str(log), "--head", head]) == 0


@pytest.mark.usefixtures("_undone")
def test_audit_verify_of_a_forged_log_names_the_line_and_ends_with_1(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = verify(log).head
    lines = log.read_text().splitlines(keepends=True)
    lines[1] = json.dumps(json.loads(lines[1]) | {"outcome": "refused"}) + "\n"
    log.write_text("".join(lines))
    assert cli.main(["audit", "verify", str(log)]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("line 3: ")
    assert "1 problems" in out
    log.write_text("".join(lines[:1]))
    assert cli.main(["audit", "verify", str(log), "--head", head]) == 1
    assert "The remembered head is not in the log" in capsys.readouterr().out


@pytest.mark.usefixtures("_undone")
@pytest.mark.parametrize("what", ["show", "verify"])
def test_a_log_that_is_not_there_is_one_line_and_exit_code_1(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        assert cli.main(["audit", what, str(path)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"runtype-mcp: The audit log [^\n]+\n", err)
