"""What every test shares."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, redis_server
from tests.support import ERAS, Api, SwappableApp, running

# Python that a test starts imports the installed package, and not that of the checkout which it starts in.
os.environ["PYTHONSAFEPATH"] = "1"


def _import_scripts() -> None:
    """Make `scripts`, which no wheel brings, importable without the checkout on the path: its package is there too."""
    folder = Path(__file__).parents[1] / "scripts"
    spec = importlib.util.spec_from_file_location(
        "scripts", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    sys.modules["scripts"] = importlib.util.module_from_spec(spec)


_import_scripts()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that the server itself uses."""
    return "asyncio"


@pytest.fixture(scope="session")
def _staged() -> Iterator[tuple[SwappableApp, str]]:
    stage = SwappableApp()
    with running(stage) as url:
        yield stage, url


@pytest.fixture
def api(_staged: tuple[SwappableApp, str]) -> Api:
    """An empty sandbox over HTTP. `api.seeded()` fills it."""
    stage, url = _staged
    return Api(url, stage).install()


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    """An empty Redis server, which several tests use one after the other: none stops it."""
    with _redis.client() as client:
        client.flushall()
    return _redis


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """Each protocol era in turn: with a handshake, and without."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the state, the caches and the accounts of the person who runs it."""
    monkeypatch.setenv("RUNTYPE_MCP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(autouse=True)
def _no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test opens a page before the person who runs it."""
    monkeypatch.setenv("CI", "true")
