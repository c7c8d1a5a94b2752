"""A start that fails: the client is told why, by everything that it asks, and the exit code stays."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.stdio.failed_start import answer
from tests.processes import Process, on_terminal, run, started
from tests.stdio.sessions import LEGACY_START, hello, request, warm_up
from tests.support import ERAS, KEY, MODERN, stdio_client, text_of

REASON = "RUNTYPE_MCP_APPROVAL must be 'auto', 'human', 'second-person', 'flag' or 'deny'."
TOLD = (
    f"runtype-mcp, which manages Runtype client tokens, did not start. {REASON} Nothing was done. Tell the user to "
    "correct this server's configuration in the host and restart it; `runtype-mcp doctor` in a terminal says more."
)
WRONG = {"RUNTYPE_MCP_APPROVAL": "always", "RUNTYPE_API_KEY": KEY}


def ended(server: Process) -> tuple[int, str]:
    """Leave the server: its exit code and its stderr."""
    assert server.popen.stdin is not None
    server.popen.stdin.close()
    return server.ended(), server.errors()


@pytest.mark.anyio
@pytest.mark.parametrize("era", [*ERAS, "auto"])
async def test_a_client_learns_the_reason_from_all_that_it_looks_at(era: str) -> None:
    async with stdio_client([], era, None, **WRONG) as model:
        # A client that knows the newer protocol without asking for it has not seen any.
        assert model.client.instructions == (None if era == MODERN else TOLD)
        (tool,) = (await model.client.list_tools()).tools
        assert (tool.name, tool.title, tool.description) == ("get_startup_error", "runtype-mcp did not start", TOLD)
        # Also a tool that a host remembers from a start that went well.
        for name in ("get_startup_error", "delete_client_token"):
            result = await model.call(name, client_token="ct_1")
            assert result.is_error
            assert text_of(result) == f"Error (settings): {TOLD}"
        assert (await model.client.list_prompts()).prompts == []
        assert (await model.client.list_resources()).resources == []
        assert (await model.client.list_resource_templates()).resource_templates == []


@pytest.mark.parametrize("command", [[], ["stdio"]], ids=str)
def test_the_line_on_stderr_and_the_exit_code_stay(command: list[str]) -> None:
    with started(*command, **WRONG) as server:
        told = server.hello()
        assert (told["instructions"], told["_meta"]) == (TOLD, {"runtype-mcp/startup-error": REASON})
        assert ended(server) == (2, f"runtype-mcp: {REASON}\n")
    done = run(*command, **WRONG)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"runtype-mcp: {REASON}\n")


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["--sandbx"], {}, "unknown option --sandbx. See runtype-mcp --help."),
        (
            ["--profile", KEY],
            {},
            "RUNTYPE_MCP_PROFILE holds a key instead of a name: put the key into RUNTYPE_API",
        ),
        ([], {"RUNTYPE_MCP_TOOLS": "no_such"}, "RUNTYPE_MCP_TOOLS: no tool matches 'no_such'."),
        ([], {"RUNTYPE_API_KEY": "ct_live_x"}, "RUNTYPE_API_KEY holds a client token: those are for browsers."),
    ],
)
def test_each_failure_of_a_start_is_told(arguments: list[str], environ: dict[str, str], says: str) -> None:
    with started(*arguments, **environ) as server:
        server.hello()
        text = server.text("list_client_tokens")
        assert f"did not start. {says}" in text
        assert KEY not in text
        assert ended(server)[0] == 2


def test_a_start_that_fails_after_the_handshake_was_answered_from_the_cache(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    warm_up("--sandbox", lines=LEGACY_START, RUNTYPE_MCP_FILES_ROOT=str(root))
    with started("--sandbox", RUNTYPE_MCP_FILES_ROOT=str(root)) as server:
        assert server.popen.stdin is not None
        for line in LEGACY_START:
            server.popen.stdin.write(line.encode() + b"\n")
        server.popen.stdin.flush()
        assert "client tokens: the browser keys" in json.loads(server.line())["result"]["instructions"]
        for _ in LEGACY_START[2:]:
            server.line()
        root.rmdir()
        assert "RUNTYPE_MCP_FILES_ROOT must be an existing directory." in server.text("list_client_tokens")
        assert ended(server) == (2, "runtype-mcp: RUNTYPE_MCP_FILES_ROOT must be an existing directory.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_person_in_a_terminal_is_told_and_nothing_waits() -> None:
    with on_terminal("stdio", **WRONG) as terminal:
        assert terminal.ended() == 2
    assert terminal.shown == f"runtype-mcp: {REASON}\r\n"


@pytest.mark.parametrize("command", ["http", "approvals"])
def test_what_speaks_no_protocol_ends_immediately(command: str) -> None:
    with started(command, **WRONG) as process:  # its input stays open
        assert process.ended() == 2


def test_a_client_that_does_not_read_ends_it_quietly() -> None:
    with started(**WRONG) as server:
        assert server.popen.stdout is not None
        server.popen.stdout.close()
        server.ask("initialize")
        assert ended(server) == (2, f"runtype-mcp: {REASON}\n")


def test_the_last_line_needs_no_end() -> None:
    done = run(stdin=request("last", "ping"), **WRONG)
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": "last", "result": {}}


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("{", {"id": None, "error": {"code": -32700, "message": TOLD}}),
        ("[" * 100_000, {"id": None, "error": {"code": -32700, "message": TOLD}}),
        ("[]", {"id": None, "error": {"code": -32600, "message": TOLD}}),
        ('{"id": 1}', {"id": None, "error": {"code": -32600, "message": TOLD}}),
        (request(1, "resources/read", {}), {"id": 1, "error": {"code": -32603, "message": TOLD}}),
        (request(1, "prompts/get", []), {"id": 1, "error": {"code": -32603, "message": TOLD}}),
        ('{"method": "notifications/initialized"}', None),
        ('{"id": 1, "result": {}}', None),
        ('{"id": 1, "error": {}}', None),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_every_request_is_answered_and_nothing_else(line: str, reply: dict[str, Any] | None) -> None:
    assert answer(line.encode(), TOLD, REASON) == (None if reply is None else {"jsonrpc": "2.0", **reply})


@pytest.mark.parametrize(
    ("asked", "given"), [("2024-11-05", "2024-11-05"), ("2025-11-25", "2025-11-25"), ("2099-01-01", "2025-11-25")]
)
def test_the_handshake_takes_the_clients_version_where_it_is_known(asked: str, given: str) -> None:
    reply = answer(hello(asked).encode(), TOLD, REASON)
    assert reply is not None
    assert reply["result"]["protocolVersion"] == given
