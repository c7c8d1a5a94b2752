"""When a browser can be opened before a person, decided from what a process can know."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path

import pytest

from runtype_mcp.console.browser import (
    Machine,
    _in_container,
    can_open_browser,
    open_browser,
    this_machine,
)
from tests.console.desktop import Desktop
from tests.processes import TIMEOUT

X11, WAYLAND = {"DISPLAY": ":0"}, {"WAYLAND_DISPLAY": "wayland-0"}
BROWSER, SSH = {"BROWSER": "firefox"}, {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}


def machine(system: str = "linux", *, container: bool = False, browser: bool = True) -> Machine:
    return Machine(system, container, browser)


@pytest.mark.parametrize(
    ("environ", "at", "opens"),
    [
        # desktop sessions
        (X11, machine(), True),
        (WAYLAND, machine(), True),
        (X11 | WAYLAND, machine(), True),
        ({}, machine("darwin"), True),
        ({}, machine("win32"), True),
        (X11, machine("freebsd14"), True),
        # no desktop, or nothing that shows a page
        ({}, machine(), False),
        ({"DISPLAY": "", "WAYLAND_DISPLAY": ""}, machine(), False),
        (X11, machine(browser=False), False),
        ({}, machine("darwin", browser=False), False),
        ({}, machine("freebsd14"), False),
        # over SSH, also with a forwarded display
        (SSH, machine(), False),
        (X11 | SSH, machine(), False),
        (X11 | {"SSH_TTY": "/dev/pts/0"}, machine(), False),
        (X11 | {"SSH_CLIENT": "192.0.2.1 50000 22"}, machine(), False),
        (SSH, machine("darwin"), False),
        (SSH, machine("win32"), False),
        (X11 | {"SSH_AUTH_SOCK": "/tmp/agent"}, machine(), True),
        # in a container
        ({}, machine(container=True), False),
        (X11, machine(container=True), False),
        # in CI
        (X11 | {"CI": "true"}, machine(), False),
        ({"CI": "1"}, machine("darwin"), False),
        (X11 | {"CI": "woodpecker"}, machine(), False),
        (X11 | {"CI": "false"}, machine(), True),
        (X11 | {"CI": "0"}, machine(), True),
        (X11 | {"CI": ""}, machine(), True),
        # WSL
        ({"WSL_DISTRO_NAME": "Ubuntu"}, machine(), False),
        ({"WSL_DISTRO_NAME": "Ubuntu"} | X11 | WAYLAND, machine(browser=False), False),
        ({"WSL_DISTRO_NAME": "Ubuntu"} | X11 | WAYLAND, machine(), True),
        ({"WSL_DISTRO_NAME": "Ubuntu", "BROWSER": "wslview"}, machine(browser=False), True),
        # somebody said how: it wins over all but CI
        (BROWSER, machine(browser=False), True),
        (BROWSER | SSH, machine(), True),
        (BROWSER, machine(container=True), True),
        (BROWSER | SSH, machine(container=True, browser=False), True),
        (BROWSER | {"CI": "true"}, machine(), False),
        ({"BROWSER": ""}, machine(), False),
    ],
    ids=str,
)
def test_a_browser_is_opened_only_where_a_person_sits(environ: dict[str, str], at: Machine, opens: bool) -> None:
    assert can_open_browser(environ, at) is opens


@pytest.mark.parametrize(
    ("file", "text", "contained"),
    [
        ("", "", False),
        (".dockerenv", "", True),
        ("run/.containerenv", "", True),
        ("proc/1/cgroup", "0::/\n", False),
        ("proc/1/cgroup", "0::/init.scope\n", False),
        ("proc/1/cgroup", "12:pids:/docker/0123456789ab\n", True),
        ("proc/1/cgroup", "0::/kubepods/burstable/pod1/cri-containerd-1.scope\n", True),
        ("proc/1/cgroup", "0::/machine.slice/libpod-1.scope\n", True),
        ("proc/1/cgroup", "1:name=systemd:/lxc/build\n", True),
        ("proc/1/cgroup", "\udcff", False),
    ],
)
def test_a_container_is_known_by_what_it_has(tmp_path: Path, file: str, text: str, contained: bool) -> None:
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert _in_container(tmp_path) is contained


def test_this_machine_has_a_browser_where_one_is_registered(desktop: Desktop) -> None:
    assert this_machine().system in ("linux", "darwin", "win32")
    assert can_open_browser(os.environ, this_machine())
    webbrowser.register("shown", None, webbrowser.GenericBrowser("true"))
    assert this_machine().has_browser


def test_the_standard_library_opens_the_address_and_gets_neither_the_key_nor_a_place_to_print(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTYPE_API_KEY", "rt_test_0")  # the browser fails where it finds this
    opener = open_browser("http://127.0.0.1:1/x/open/y?a='\"$(b)&c")
    assert opener.wait(TIMEOUT) == 0
    assert desktop.opened == ["http://127.0.0.1:1/x/open/y?a='\"$(b)&c"]
    assert "open/y" not in " ".join(map(str, opener.args))  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")


def test_an_opener_that_fails_says_so(tmp_path: Path) -> None:
    from tests.console.desktop import desktop_in

    with desktop_in(tmp_path, works=False):
        assert open_browser("http://127.0.0.1:1/").wait(TIMEOUT) != 0
