"""The client under test, and the other end of its socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runtype_mcp.api.client import RuntypeClient
from tests.api.upstream import Upstream
from tests.support import SwappableApp


@pytest.fixture
def upstream(_staged: tuple[SwappableApp, str]) -> Upstream:
    stage, url = _staged
    stage.app = upstream = Upstream(url)
    return upstream


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[RuntypeClient]:
    client = upstream.client()
    yield client
    await client.aclose()
