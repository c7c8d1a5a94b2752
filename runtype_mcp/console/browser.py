"""The person's browser: whether one can be opened from here, and opening it.

A page that opens where nobody sits would leave every call waiting, so this says no where it cannot know.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.stdin.read()))"


@dataclass(frozen=True, slots=True)
class Machine:
    """What the environment does not say. `has_browser`: the standard library finds a program that shows pages."""

    system: str
    in_container: bool
    has_browser: bool


def can_open_browser(environ: Mapping[str, str], machine: Machine) -> bool:
    """Whether a browser can be opened where a person sits. Pure."""
    if environ.get("CI", "").lower() not in ("", "0", "false"):
        return False  # before all else: images for builds may set BROWSER too, and nobody looks
    if environ.get("BROWSER"):
        return True  # somebody said how, as editors do whose window is on another machine or outside a container
    if any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")):
        return False  # it would open on this machine's screen, or forwarded and without this machine's loopback
    if machine.in_container:
        return False
    if machine.system in ("darwin", "win32"):
        return machine.has_browser
    # Under WSL these are set as well, and what is found there is a browser in Linux or a bridge to Windows.
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")) and machine.has_browser


def this_machine() -> Machine:
    return Machine(sys.platform, _in_container(Path("/")), _has_browser())


def _in_container(root: Path) -> bool:
    if os.path.lexists(root / ".dockerenv") or os.path.lexists(root / "run/.containerenv"):
        return True
    try:
        groups = (root / "proc/1/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(word in groups for word in ("docker", "containerd", "kubepods", "libpod", "lxc"))


def _has_browser() -> bool:
    import webbrowser

    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def open_browser(address: str) -> subprocess.Popen[bytes]:
    """Have the standard library open an address; the process ends with 0 if it could.

    It is a process of its own because the address is a secret until it is used: programs that open browsers like to
    print it, and what our own children print is in the host's log. They do not get the API key either.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNTYPE")}
    opener = subprocess.Popen(  # noqa: S603 - this Python, and nothing of a caller's in its arguments
        [sys.executable, "-I", "-c", _OPEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environ,
        start_new_session=True,  # Ctrl+C ends the server, and no browser
    )
    assert opener.stdin is not None
    with opener.stdin as said:
        said.write(address.encode())
    threading.Thread(target=opener.wait, daemon=True).start()  # some browsers end only when the person closes them
    return opener
