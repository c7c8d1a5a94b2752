"""One real HTTP server for the whole directory; each test puts its own app on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.store import Store
from tests.support import SwappableApp, running

TOKENS = "/v1/client-tokens"
FLOW, OTHER_FLOW = "flow_01jv0000000000000000000001", "flow_01jv0000000000000000000002"
AGENT, OTHER_AGENT = "agent_01jv0000000000000000000001", "agent_01jv0000000000000000000002"
VERSION = "agentver_01jv0000000000000000000001"


@dataclass
class Sandbox:
    """An app under test, and an HTTP client that talks to it."""

    store: Store
    url: str
    http: httpx.Client
    _stage: SwappableApp

    def install(self, **options: Any) -> None:
        self._stage.app = create_app(self.store, **options)

    def create(self, **fields: Any) -> dict[str, Any]:
        """Make a live token for one agent, other `fields` aside; the whole answer."""
        body = {"name": "Shop", "allowedOrigins": ["https://shop.example"], "agentIds": [AGENT]} | fields
        response = self.http.post(TOKENS, json=body)
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def made(self, **fields: Any) -> str:
        """The path of a new token."""
        return f"{TOKENS}/{self.create(**fields)['clientToken']['id']}"

    def token(self, path: str) -> dict[str, Any]:
        token: dict[str, Any] = self.http.get(path).json()["clientToken"]
        return token


@pytest.fixture(scope="session")
def _staged() -> Iterator[tuple[SwappableApp, str, httpx.Client]]:
    stage = SwappableApp()
    with running(stage) as url, httpx.Client(base_url=url, headers={"authorization": "Bearer rt_test_1"}) as http:
        yield stage, url, http


@pytest.fixture
def sandbox(_staged: tuple[SwappableApp, str, httpx.Client]) -> Sandbox:
    """An empty sandbox."""
    stage, url, http = _staged
    sandbox = Sandbox(Store(), url, http, stage)
    sandbox.install()
    return sandbox


def problems(response: httpx.Response) -> dict[str, str]:
    """The code of each problem that a 400 names, by its path."""
    assert response.status_code == 400, response.text
    assert all(set(detail) == {"path", "message", "code", "suggestion"} for detail in response.json()["details"])
    return {detail["path"]: detail["code"] for detail in response.json()["details"]}
