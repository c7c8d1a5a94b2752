"""One browser for a worker, and a desk for each test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.console import browsing
from tests.console.chromium import Clock, Desk, desk, launched
from tests.console.desktop import Desktop, desktop_in
from tests.console.hosting import Chat, chat, host_page
from tests.console.website import Website, another_website
from tests.support import Api


@pytest.fixture(scope="session")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.fixture
async def person(api: Api, chromium: Browser) -> AsyncIterator[Desk]:
    """A person at a desktop, with a sandbox full of tokens behind the server."""
    async with desk(api.seeded(), chromium, Clock(time.time())) as at:
        yield at


@pytest.fixture(scope="session")
def host() -> Iterator[str]:
    """The address of a host of MCP Apps."""
    with host_page() as url:
        yield url


@pytest.fixture
async def conversation(api: Api, chromium: Browser, host: str) -> AsyncIterator[Chat]:
    """A conversation with a model, whose host shows pages, and a sandbox full of tokens behind the server."""
    async with chat(api.seeded(), chromium, host) as at:
        yield at


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    """This process, and what it starts, are on a desktop with a scripted browser."""
    with desktop_in(tmp_path) as made:
        yield made


@pytest.fixture
def website() -> Iterator[Website]:
    """Another website, which serves what a test puts on it."""
    with another_website() as site:
        yield site


@pytest.fixture
def server(tmp_path: Path) -> Iterator[browsing.Pages]:
    """A page on loopback, without a browser that draws it."""
    with browsing.pages(tmp_path / "own") as at:
        yield at


@pytest.fixture
def browser(server: browsing.Pages) -> Iterator[browsing.Browser]:
    """The requests of a browser in which a person has opened the page."""
    with server.browser() as opened:
        yield opened
