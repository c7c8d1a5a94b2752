"""The server as the process that a host starts: how it begins, what it keeps off the pipe, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import SECONDS, environment, started
from tests.stdio.sessions import (
    CALL,
    INITIALIZED,
    LEGACY_START,
    ask,
    cache_files,
    end,
    hello,
    id_of,
    lines_of,
    request,
    warm_up,
)
from tests.support import KEY, Api, accept, stdio_client

posix = pytest.mark.skipif(sys.platform == "win32", reason="descriptors and signals")


@pytest.mark.anyio
async def test_a_person_is_asked_after_a_warm_start(api: Api, era: str) -> None:
    settings = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url}
    for _ in range(2):
        async with stdio_client([], era, accept("Shop"), **settings) as model:
            await model.client.list_tools()
            token = await model.create()
            arguments = {"client_token": token["id"], "confirm": True, "expected_name": "Shop"}
            result = await model.call("delete_client_token", **arguments)
            assert not result.is_error
            assert len(model.asked) == 1
    assert [write[0] for write in api.writes] == ["POST", "DELETE"] * 2
    assert len(cache_files()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_handlers_print_and_children_read_stays_off_the_pipe(unbuffered: str) -> None:
    first = """
import os, sys
def noisy(event, args):
    if event == "import" and args[0] == "runtype_mcp.server":
        print("printed early", flush=True)
    if event == "import" and args[0] == "runtype_mcp.sandbox.app":  # at the first call
        print("printed")  # and not flushed
        os.write(1, b"written\\n")
        os.system("cat; echo said by a child")
sys.addaudithook(noisy)
"""
    call = request("call", "tools/call", {"name": "list_client_tokens", "arguments": {}})
    with started("--sandbox", first=first, PYTHONUNBUFFERED=unbuffered) as process:
        assert [id_of(line) for line in ask(process, hello(), INITIALIZED, call)] == ['"hello"', '"call"']
        exit_code, out, err = end(process)
    assert (exit_code, out) == (0, b"")
    assert sorted(set(err.decode().splitlines())) == ["printed", "printed early", "said by a child", "written"]


@posix
def test_an_input_that_holds_nothing_is_a_client_that_has_left() -> None:
    command = [sys.executable, "-m", "runtype_mcp", "--sandbox"]
    for _ in range(2):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, env=environment(), check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@posix
@pytest.mark.parametrize("fast_start", ["on", "off"])
@pytest.mark.parametrize("fd", [0, 1])
def test_without_an_input_or_an_output_it_says_what_it_needs(fd: int, fast_start: str) -> None:
    again = "os.execv(sys.executable, [sys.executable, '-m', 'runtype_mcp', '--sandbox'])"
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys; os.close({fd}); {again}"],
        capture_output=True,
        timeout=SECONDS,
        env=environment(RUNTYPE_MCP_FAST_START=fast_start),
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"runtype-mcp: stdin and stdout must be open")


@posix
def test_a_closed_stderr_is_not_in_the_way() -> None:
    again = "os.execv(sys.executable, [sys.executable, '-m', 'runtype_mcp', '--sandbox'])"
    for _ in range(2):
        with started("--sandbox", first=f"import os, sys; os.close(2); {again}") as process:
            assert [id_of(line) for line in ask(process, hello(), CALL)] == ['"hello"', '"call"']
            assert end(process) == (0, b"", b"")


@pytest.mark.parametrize("leave", ["input", "output"])
def test_a_client_that_leaves_ends_a_warm_server_quietly(leave: str) -> None:
    warm_up("--sandbox")
    with started("--sandbox") as process:
        assert process.popen.stdout
        if leave == "output":
            process.popen.stdout.close()
            ask(process, INITIALIZED.replace("initialized", "x"))
        assert process.popen.stdin
        process.popen.stdin.close()
        assert (process.ended(), process.errors()) == (0, "")


@posix
@pytest.mark.parametrize("lines", [[], [*LEGACY_START, CALL]], ids=["replay", "sdk"])
def test_an_interrupt_ends_it_immediately_without_a_traceback(lines: list[str]) -> None:
    warm_up("--sandbox")
    with started("--sandbox") as process:
        ask(process, hello(), *lines)
        process.popen.send_signal(signal.SIGINT)
        assert process.ended() == -signal.SIGINT
        assert process.errors() == ""


@pytest.mark.parametrize(
    "bad",
    [
        {"RUNTYPE_API_KEY": "rt_test_1 2"},
        {"RUNTYPE_MCP_TIMEOUT": "soon"},
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_with_a_warm_cache(bad: dict[str, str]) -> None:
    warm_up(RUNTYPE_API_KEY="rt_test_1")
    with started(**({"RUNTYPE_API_KEY": "rt_test_1"} | bad)) as process:
        code, out, err = end(process)
    assert (code, out) == (2, b"")
    assert err.startswith(b"runtype-mcp: RUNTYPE_")


def test_a_directory_that_is_gone_is_refused_with_a_warm_cache(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    warm_up("--sandbox", RUNTYPE_MCP_FILES_ROOT=str(root))
    assert len(cache_files()) == 1
    root.rmdir()
    with started("--sandbox", RUNTYPE_MCP_FILES_ROOT=str(root)) as process:
        code, out, err = end(process)
    assert (code, out) == (2, b"")
    assert b"RUNTYPE_MCP_FILES_ROOT" in err


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A place that packages are imported from, and the environment of a process that uses it."""
    (tmp_path / "site").mkdir()
    return tmp_path / "site", {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    }


@pytest.mark.parametrize("gone", [False, True], ids=["another version is there", "a version is half gone"])
def test_a_package_that_is_upgraded_while_it_starts_says_so(site: tuple[Path, dict[str, str]], gone: bool) -> None:
    """What it would import from here on is another version's."""
    folder, environ = site
    warm_up("--sandbox", lines=LEGACY_START, **environ)
    with started("--sandbox", **environ) as process:
        assert len(ask(process, *LEGACY_START)) == 5
        version = folder / "mcp-9.9.9.dist-info"
        version.symlink_to("nowhere") if gone else version.mkdir()
        assert process.popen.stdin
        process.popen.stdin.write(lines_of([CALL]))
        message = b"runtype-mcp: the package was upgraded while starting; start it again.\n"
        assert end(process) == (1, b"", message)


def test_a_package_that_cannot_be_read_is_left_to_the_ordinary_path(site: tuple[Path, dict[str, str]]) -> None:
    folder, environ = site
    (folder / "mcp-9.9.9.dist-info").symlink_to("nowhere")
    warm_up("--sandbox", lines=LEGACY_START, **environ)
    assert cache_files() == []
