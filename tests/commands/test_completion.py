"""`runtype-mcp completion SHELL`, in the shells themselves: each is given its script as the script says, and Tab."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pygments.lexers import PowerShellLexer  # type: ignore[import-untyped]  # it has no types
from pygments.token import Error, Punctuation, String  # type: ignore[import-untyped]

from tests.processes import TIMEOUT, run, terminal

ASKED = {
    "uninst": ["uninstall"],
    "appr": ["approvals", "approve"],
    "http --read": ["--read-only"],
    "install cl": ["claude-desktop", "claude-code"],
    "install cursor --files-root fol": ["folder/"],
    "completion fi": ["fish"],
    "audit show aud": ["audit.jsonl"],
}
"""What a person has typed, and what there is to choose from."""
IN_CI = os.environ.get("CI") == "true"
CERTAIN = [typed for typed, choices in ASKED.items() if len(choices) == 1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here" / "folder").mkdir(parents=True)
    (tmp_path / "here" / "audit.jsonl").touch()
    return tmp_path / "here"


def needs(shell: str) -> None:
    """Skip the test where a shell is missing. In CI it fails: there, a test that does not run is a defect."""
    if shutil.which(shell) is None:
        assert not IN_CI, f"{shell} is missing"
        pytest.skip(f"{shell} is not installed")


def script(shell: str) -> str:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def types_in(command: list[str], prepare: str, folder: Path, typed: str) -> None:
    """Start a shell, type the start of a command and Tab there, and see the rest appear."""
    environ = {"HOME": str(folder.parent), "PATH": os.environ["PATH"], "TERM": "xterm"}
    with terminal(command, environ, cwd=folder, columns=200) as shell:
        shell.types(f'{prepare}; echo is""ready\n')
        shell.until("isready")
        shell.shown = ""
        shell.types(f"runtype-mcp {typed}\t")
        *before, _ = typed.split()
        shell.until(" ".join(["runtype-mcp", *before, ASKED[typed][0].rstrip("/")]))  # zsh shows a / in bold


@pytest.mark.parametrize("typed", ASKED)
def test_bash_completes(typed: str, folder: Path) -> None:
    (folder.parent / "script").write_text(script("bash"))
    words = typed.split()
    ask = (
        f"source ../script; COMP_WORDS=(runtype-mcp {typed}); COMP_CWORD={len(words)};"
        ' _shtab_runtype_mcp; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=TIMEOUT, cwd=folder)
    assert {line.rstrip("/") for line in done.stdout.split()} == {choice.rstrip("/") for choice in ASKED[typed]}, done


@pytest.mark.parametrize("typed", ASKED)
def test_fish_completes(typed: str, folder: Path) -> None:
    needs("fish")
    (folder.parent / "script").write_text(script("fish"))
    command = ["fish", "--no-config", "-c", f"source ../script; complete -C 'runtype-mcp {typed}'"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, cwd=folder, env={**os.environ, "HOME": str(folder)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == set(ASKED[typed])


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("typed", CERTAIN)
def test_zsh_completes(typed: str, folder: Path) -> None:
    needs("zsh")
    functions = folder.parent / "functions"
    functions.mkdir()
    (functions / "_runtype-mcp").write_text(script("zsh"))
    prepare = f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -d {functions}/dump"
    types_in(["zsh", "-f", "-i"], prepare, folder, typed)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("typed", [typed for typed in CERTAIN if not typed.startswith("audit")])  # what may repeat
def test_tcsh_completes(typed: str, folder: Path) -> None:
    needs("tcsh")
    (folder.parent / "script").write_text(script("tcsh"))
    types_in(["tcsh", "-f"], "set edit; source ../script", folder, typed)


def test_powershell_can_read_its_script() -> None:
    """PowerShell itself is not to be had here: its words, its quotes and its brackets are looked at."""
    text = script("powershell")
    tokens = list(PowerShellLexer().get_tokens(text))
    assert not [value for kind, value in tokens if kind in Error]
    brackets = "".join(value for kind, value in tokens if kind in Punctuation and value in "()[]{}")
    while brackets != (inner := re.sub(r"\(\)|\[\]|\{\}", "", brackets)):
        brackets = inner
    assert brackets == ""
    quoted = "".join(value for kind, value in tokens if kind in String)
    for choices in ASKED.values():
        for choice in choices:
            assert choice in quoted or choice in ("folder/", "audit.jsonl")
    assert "Register-ArgumentCompleter" in text
