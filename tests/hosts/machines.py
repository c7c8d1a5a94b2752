"""Machines that are not this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtype_mcp.hosts.launch import Machine

PLATFORMS = ("linux", "darwin", "win32")


def machine(home: Path, platform: str = "linux", **facts: Any) -> Machine:
    """A machine of a platform, with nothing on its PATH and nothing in its environment."""
    known: dict[str, Any] = {
        "environ": {},
        "folder": home / "project",
        "program": str(home / "nothing"),
        "python": str(home / "env" / "bin" / "python"),
        "which": lambda _: None,
    }
    return Machine(home, platform, **known | facts)


def touched(path: Path) -> Path:
    """The path, with an empty file at it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path
