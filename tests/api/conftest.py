"""The client under test, and the other end of its socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from runtype_mcp.api.client import RuntypeClient
from tests.api.upstream import Upstream, client_of
from tests.faults.tls import certificate, tls
from tests.support import SwappableApp, no_wait, running

__all__ = ["certificate", "client", "elsewhere", "tls", "upstream", "waits"]


@pytest.fixture
def upstream(_staged: tuple[SwappableApp, str]) -> Upstream:
    stage, url = _staged
    stage.app = upstream = Upstream(url)
    return upstream


@pytest.fixture(scope="session")
def _elsewhere() -> Iterator[Upstream]:
    other = Upstream("")
    with running(other) as other.url:
        yield other


@pytest.fixture
def elsewhere(_elsewhere: Upstream) -> Upstream:
    """A second host, which records."""
    _elsewhere.received.clear()
    return _elsewhere


@pytest.fixture
def waits() -> list[float]:
    """The waits that `client` asked for. None of them takes its time."""
    return []


@pytest.fixture
async def client(upstream: Upstream, waits: list[float]) -> AsyncIterator[RuntypeClient]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await no_wait(seconds)

    async with client_of(upstream.url, sleep=sleep) as client:
        yield client
