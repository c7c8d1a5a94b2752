"""A person at a desktop: a scripted browser that keeps what it was told to open, and what they do on the page."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import httpx2 as httpx

from runtype_mcp.storage.tickets import normalize_code
from tests.console.browsing import Browser
from tests.processes import until

T = TypeVar("T")

AWAY = ("CI", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
"""Variables that say that nobody sits here."""

_SCRIPT = """#!{python}
import os, sys
# What browsers print must not get into a host's log, so this one prints what it should not.
print(sys.argv, file=sys.stderr)
print(sys.argv)
assert not [name for name in os.environ if name.startswith("RUNTYPE")]
if not {works}:
    sys.exit(1)
with open({file!r}, "a") as opened:
    opened.write(sys.argv[1] + "\\n")
"""


class Desktop:
    """What `BROWSER` opens is a line in a file: nothing is shown anywhere."""

    def __init__(self, folder: Path, *, works: bool = True) -> None:
        self._file, self.browser = folder / "opened", folder / "browser"
        self._file.touch()
        self._stack, self._tabs = ExitStack(), list[Browser]()
        self.browser.write_text(_SCRIPT.format(python=sys.executable, works=works, file=str(self._file)))
        self.browser.chmod(self.browser.stat().st_mode | stat.S_IXUSR)

    @property
    def opened(self) -> list[str]:
        """The addresses that were opened so far."""
        return self._file.read_text().split("\n")[:-1]

    def address(self, number: int = 1) -> str:
        """The address that is opened as the `number`th, once it is."""
        until(lambda: len(self.opened) >= number, f"page {number}")
        return self.opened[number - 1]

    async def person(self, acts: Callable[[Browser], T], address: str = "") -> T:
        """Have a person do something on the page, once the server opens it, or where a client was told it is."""

        def sit() -> T:
            with at(address or self.address()) as browser:
                return acts(browser)

        return await anyio.to_thread.run_sync(sit)

    async def in_open_page(self, acts: Callable[[Browser], T]) -> T:
        """Have a person do something on the page that was opened last, where it is still open from before."""

        def sit() -> T:
            if not self._tabs or not self._tabs[-1].is_served():
                self._tabs.append(self._stack.enter_context(at(self.address(len(self._tabs) + 1))))
            return acts(self._tabs[-1])

        return await anyio.to_thread.run_sync(sit)

    def close(self) -> None:
        self._stack.close()


@contextmanager
def at(address: str) -> Iterator[Browser]:
    """A browser that opens an address."""
    base = address[: address.index("open/")]
    with httpx.Client() as client:
        browser = Browser(client, base.split("/", 3)[0] + "//" + base.split("/", 3)[2], base)
        opened = browser.open(address)
        assert opened.status_code == 200, opened.text
        yield browser


def decide(browser: Browser, decision: str, name: str = "Shop", *, code: str = "") -> httpx.Response:
    """Decide on the one call that waits, or on the one with this code."""
    cards = [card for card in browser.cards() if not code or card["code"] == normalize_code(code)]
    (card,) = cards
    body = {"decision": decision, "name": name, "decisionToken": card["decisionToken"]}
    return browser.post(f"api/approvals/{card['code']}", body)


def approve(browser: Browser) -> httpx.Response:
    return decide(browser, "approve")


def deny(browser: Browser) -> httpx.Response:
    return decide(browser, "deny")


@contextmanager
def desktop_in(folder: Path, *, works: bool = True) -> Iterator[Desktop]:
    """This process, and what it starts, are on a desktop until the block ends."""
    made = Desktop(folder, works=works)
    before = {name: os.environ.pop(name) for name in (*AWAY, "BROWSER") if name in os.environ}
    os.environ["BROWSER"] = str(made.browser)
    try:
        yield made
    finally:
        made.close()
        del os.environ["BROWSER"]
        os.environ.update(before)
