"""How a host is told to start this server, however it was installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from runtype_mcp import __version__
from runtype_mcp.hosts.launch import Launch, Machine, extra_args, how_to_add, is_ours, launch
from tests.hosts.machines import machine, touched


def test_a_virtual_environment_has_its_own_program(tmp_path: Path) -> None:
    program = touched(tmp_path / ".venv" / "bin" / "runtype-mcp")
    assert launch(machine(tmp_path, program=str(program))) == Launch(str(program))


def test_a_relative_program_becomes_absolute() -> None:
    program = Path(sys.executable).with_name("runtype-mcp")
    relative = os.path.relpath(program)
    assert launch(Machine(Path.home(), program=relative)) == Launch(os.path.abspath(relative))


def test_started_as_a_module_it_is_the_program_beside_python(tmp_path: Path) -> None:
    program = touched(tmp_path / "env" / "bin" / "runtype-mcp")
    assert launch(machine(tmp_path, program="/x/runtype_mcp/__main__.py")) == Launch(str(program))


def test_without_a_program_it_is_the_module(tmp_path: Path) -> None:
    python = str(tmp_path / "env" / "bin" / "python")
    assert launch(machine(tmp_path)) == Launch(python, ("-m", "runtype_mcp"))


def test_on_windows_the_program_ends_with_exe(tmp_path: Path) -> None:
    program = touched(tmp_path / "Scripts" / "runtype-mcp.exe")
    for started_as in ("runtype-mcp", "runtype-mcp.exe"):
        facts = machine(tmp_path, "win32", program=str(program.with_name(started_as)))
        assert launch(facts) == Launch(str(program))


def test_the_link_on_the_path_is_kept_because_it_outlives_an_upgrade(tmp_path: Path) -> None:
    program = touched(tmp_path / "pipx" / "venvs" / "runtype-mcp" / "bin" / "runtype-mcp")
    link = tmp_path / ".local" / "bin" / "runtype-mcp"
    link.parent.mkdir(parents=True)
    link.symlink_to(program)
    facts = machine(tmp_path, program=str(link), python=str(program.with_name("python")))
    assert launch(facts) == Launch(str(link))


@pytest.mark.parametrize("folder", ["archive-v0", "environments-v2"])
def test_uvx_stays_uvx_with_the_version_that_runs_because_its_cache_is_emptied(tmp_path: Path, folder: str) -> None:
    program = touched(tmp_path / "uv" / folder / "2RCVGq" / "bin" / "runtype-mcp")
    uvx = touched(tmp_path / "bin" / "uvx")
    expected = Launch(str(uvx), (f"runtype-mcp@{__version__}",), "uvx")
    facts = {"program": str(program), "python": str(program.with_name("python"))}
    assert launch(machine(tmp_path, which={"uvx": str(uvx)}.get, **facts)) == expected
    assert launch(machine(tmp_path, environ={"UV": str(uvx.with_name("uv"))}, **facts)) == expected
    assert launch(machine(tmp_path, **facts)) == Launch(str(program))  # there is nothing better


@pytest.mark.parametrize("cache", [".cache/pipx", ".local/pipx/.cache", "Library/Caches/pipx", "pipx/pipx/Cache"])
def test_pipx_run_stays_pipx_run(tmp_path: Path, cache: str) -> None:
    program = touched(tmp_path / cache / "0123abcd" / "bin" / "runtype-mcp")
    pipx = touched(tmp_path / "bin" / "pipx")
    facts = machine(
        tmp_path, program=str(program), python=str(program.with_name("python")), which={"pipx": str(pipx)}.get
    )
    arguments = ("run", "--spec", f"runtype-mcp=={__version__}", "runtype-mcp")
    assert launch(facts) == Launch(str(pipx), arguments, "pipx run")


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("/x/.venv/bin/runtype-mcp", []),
        ("C:\\x\\Scripts\\runtype-mcp.exe", ["--sandbox"]),
        ("uvx", ["runtype-mcp"]),
        ("/usr/bin/uvx", ["--from", "runtype-mcp[install]@0.1.0", "runtype-mcp"]),
        ("pipx", ["run", "--spec", "runtype-mcp==0.1.0", "runtype-mcp"]),
        ("python3", ["-m", "runtype_mcp"]),
        ("uv", ["run", "--project", "/x", "runtype-mcp"]),
    ],
)
def test_an_entry_of_ours_is_known_however_it_starts_the_server(command: str, args: list[str]) -> None:
    assert is_ours(command, args)


@pytest.mark.parametrize(
    ("command", "args"),
    [("npx", ["-y", "@runtype/mcp"]), ("node", ["/x/runtype-mcp/index.js"]), ("runtype", ["mcp"]), ("", [])],
)
def test_another_server_is_not_taken_for_ours(command: str, args: list[str]) -> None:
    assert not is_ours(command, args)


@pytest.mark.parametrize(
    ("args", "extra"),
    [
        ([], []),
        (["--sandbox", "--base-url", "http://localhost:1"], ["--base-url", "http://localhost:1"]),
        (["run", "--project", "/x", "runtype-mcp", "--read-only", "--base-url=x"], ["--base-url=x"]),
        (["-m", "runtype_mcp", "--pick", "one", "--more"], ["--more"]),
        (["--pick=one", "--more"], ["--more"]),
    ],
)
def test_what_a_person_has_added_to_the_arguments_is_found(args: list[str], extra: list[str]) -> None:
    assert extra_args(args, {"--sandbox": 0, "--read-only": 0, "--pick": 1}) == extra


@pytest.mark.parametrize(
    ("how", "python", "has_pip", "command"),
    [
        ("uvx", "/c/bin/python", False, "uvx --with tomlkit runtype-mcp …"),
        ("pipx run", "/c/bin/python", True, "pipx run --spec 'runtype-mcp[install]' runtype-mcp …"),
        ("", "/share/uv/tools/runtype-mcp/bin/python", False, "uv tool install --with tomlkit runtype-mcp"),
        ("", "/x/.venv/bin/python", True, "/x/.venv/bin/python -m pip install tomlkit"),
        ("", "/x/.venv/bin/python", False, "uv pip install --python /x/.venv/bin/python tomlkit"),
    ],
)
def test_a_missing_library_is_added_by_the_tool_that_installed_the_rest(
    how: str, python: str, has_pip: bool, command: str, tmp_path: Path
) -> None:
    facts = machine(tmp_path, python=python)
    assert how_to_add("tomlkit", Launch("/x", how=how), facts, has_pip=has_pip) == command
