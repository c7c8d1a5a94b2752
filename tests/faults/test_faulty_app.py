"""The stand-in for a failing API does what its rules say: what the caller sees, and whether it happened."""

from typing import Any, get_args

import httpx2 as httpx
import pytest

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.store import Store
from tests.faults.faulty_app import Faults, FaultyApp, Kind
from tests.support import AGENT, KEY, seed_many

pytestmark = pytest.mark.anyio

TOKENS = "/v1/client-tokens"
SHOP = {"name": "Shop", "allowedOrigins": ["https://shop.example"], "agentIds": [AGENT]}
REPLACING: dict[Kind, int] = {"status": 500, "html_502": 502, "empty": 200, "wrong_shape": 200}


class Stand:
    def __init__(self) -> None:
        self.store, self.faults = Store(), Faults()
        self.app = FaultyApp(create_app(self.store), self.faults)

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {KEY}"}
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here.invalid", headers=headers) as http:
            return await http.request(method, path, json=body)


@pytest.mark.parametrize("kind", REPLACING)
async def test_a_replaced_answer_means_that_nothing_happened_unless_after_commit(kind: Kind) -> None:
    stand = Stand()
    for after_commit in (False, True):
        stand.faults.add(kind, after_commit=after_commit, method="POST")
        assert (await stand.ask("POST", TOKENS, SHOP)).status_code == REPLACING[kind]
        assert len(stand.store) == after_commit
    assert stand.app.received == [("POST", TOKENS, SHOP)] * 2


async def test_a_spoiled_answer_means_that_it_happened() -> None:
    stand = Stand()
    seed_many(stand.store, 4)
    stand.faults.add("legacy_list")
    stand.faults.add("extra_fields")
    stand.faults.add("slow", seconds=0)
    legacy = (await stand.ask("GET", f"{TOKENS}?limit=2&offset=2")).json()
    assert (set(legacy), len(legacy["clientTokens"])) == ({"clientTokens"}, 4)
    extra = (await stand.ask("GET", f"{TOKENS}?limit=2")).json()
    assert extra["clientTokens"][0]["addedLater"] == extra["pagination"]["addedLater"] == [1, None]
    assert extra["clientTokens"][0]["config"] == {}
    assert (await stand.ask("POST", TOKENS, SHOP)).status_code == 201
    assert len(stand.store) == 5


async def test_a_rule_applies_to_its_method_and_path_and_so_many_times_in_order() -> None:
    stand = Stand()
    stand.faults.add("status", status=503, method="GET", path="offset=2", times=2, headers={"Retry-After": "7"})
    stand.faults.add("status", status=429, path="offset=2", body={"error": "Slow down"})
    page = f"{TOKENS}?limit=2&offset="
    answers = [await stand.ask("GET", page + offset) for offset in "0222" + "2"]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 429, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert answers[3].json() == {"error": "Slow down"}


def test_every_kind_is_tested_above() -> None:
    assert {*REPLACING, "slow", "extra_fields", "legacy_list"} == set(get_args(Kind))
