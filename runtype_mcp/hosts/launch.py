"""The command that starts this server again, written as a host needs it: absolute, and still there tomorrow."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtype_mcp import __version__

PACKAGE = "runtype-mcp"
_OURS = re.compile(r"runtype[-_]mcp(?:\[[\w,-]*\])?(?:(?:@|==).*)?")
"""The program, the module, and what uvx and pipx take: `runtype-mcp[install]@0.1.0`."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of this machine and this process. Passed in, so that each platform is tested on any."""

    home: Path
    platform: str = sys.platform
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path = field(default_factory=Path.cwd)
    program: str = field(default_factory=lambda: sys.argv[0])
    python: str = sys.executable
    which: Callable[[str], str | None] = shutil.which


@dataclass(frozen=True, slots=True)
class Launch:
    """A program and its first arguments. `how` is the tool that runs it; empty where it is installed to stay."""

    command: str
    args: tuple[str, ...] = ()
    how: str = ""


def launch(machine: Machine) -> Launch:
    """How to start this server again.

    uvx and `pipx run` keep it in a cache that is emptied from time to time, so a host must go by them too, and gets
    the version that runs now.
    """
    suffix = ".exe" if machine.platform == "win32" else ""
    environment = Path(machine.python).parents[1]  # bin/python or Scripts\python.exe
    if re.fullmatch(r"(archive|environments|builds)-v\d+", environment.parent.name):
        uvx = machine.which("uvx") or _beside(machine.environ.get("UV"), f"uvx{suffix}")
        if uvx:
            return Launch(os.path.abspath(uvx), (f"{PACKAGE}@{__version__}",), "uvx")
    if "pipx" in environment.parts and {".cache", "cache", "Cache", "Caches"} & set(environment.parts):
        pipx = machine.which("pipx")
        if pipx:
            return Launch(os.path.abspath(pipx), ("run", "--spec", f"{PACKAGE}=={__version__}", PACKAGE), "pipx run")
    named = Path(os.path.abspath(machine.program))
    installed = _file(named.with_name(f"{PACKAGE}{suffix}")) if named.stem == PACKAGE else None
    # The link that pipx and `uv tool` put on the PATH comes first: it outlives an upgrade.
    program = installed or _beside(machine.python, f"{PACKAGE}{suffix}")
    return Launch(program) if program else Launch(machine.python, ("-m", "runtype_mcp"))


def how_to_add(package: str, starts: Launch, machine: Machine, *, has_pip: bool) -> str:
    """The command that gives this installation one more package; with "…" for what was typed."""
    if starts.how == "uvx":
        return f"uvx --with {package} {PACKAGE} …"
    if starts.how == "pipx run":
        return f"pipx run --spec '{PACKAGE}[install]' {PACKAGE} …"
    if {"uv", "tools"} <= set(Path(machine.python).parts):
        return f"uv tool install --with {package} {PACKAGE}"
    return (
        f"{machine.python} -m pip install {package}"
        if has_pip
        else f"uv pip install --python {machine.python} {package}"
    )


def _beside(program: str | None, name: str) -> str | None:
    return _file(Path(program).parent / name) if program else None


def _file(path: Path) -> str | None:
    return str(path) if path.is_file() else None


def is_ours(command: str, args: list[str]) -> bool:
    """Whether a command line starts this server, in whatever way."""
    words = [re.split(r"[\\/]", command)[-1].removesuffix(".exe"), *args]
    return any(_OURS.fullmatch(word) for word in words)


def extra_args(args: list[str], managed: Mapping[str, int]) -> list[str]:
    """What a person has added to the arguments of an entry of ours.

    Args:
        args: the arguments as they are.
        managed: the options that are not a person's, each with the number of its values.
    """
    own = [i for i, word in enumerate(args) if _OURS.fullmatch(word)]
    rest, kept = args[own[-1] + 1 :] if own else args, []
    skip = 0
    for word in rest:
        if skip:
            skip -= 1
        elif word.partition("=")[0] in managed:
            skip = 0 if "=" in word else managed[word]
        else:
            kept.append(word)
    return kept
