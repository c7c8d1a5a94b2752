"""The lists of agents and flows: pages by cursors, and who may see them."""

from __future__ import annotations

from typing import Any

import pytest

from runtype_mcp.sandbox.seed import seeded_agents, seeded_flows

from .conftest import Sandbox, problems

PATHS = ("/v1/agents", "/v1/flows")


def entries(many: int) -> list[dict[str, Any]]:
    return [{"id": f"agent_{number}", "name": f"Agent {number}"} for number in range(many)]


@pytest.mark.parametrize("path", PATHS)
def test_all_are_given_in_pages_by_cursors(sandbox: Sandbox, path: str) -> None:
    sandbox.install(agents=entries(45), flows=entries(45))
    found: list[str] = []
    query: dict[str, str] = {}
    while True:
        answer = sandbox.http.get(path, params=query).json()
        found += [entry["id"] for entry in answer["data"]]
        assert answer["pagination"]["hasPrev"] is ("cursor" in query)
        if not answer["pagination"]["hasMore"]:
            assert answer["pagination"]["nextCursor"] is None
            break
        query = {"cursor": answer["pagination"]["nextCursor"]}
    assert found == [f"agent_{number}" for number in range(45)]
    back = sandbox.http.get(path, params={"cursor": answer["pagination"]["prevCursor"]}).json()
    assert [entry["id"] for entry in back["data"]] == found[20:40]


def test_names_are_searched_and_counted(sandbox: Sandbox) -> None:
    sandbox.install(agents=entries(30))
    answer = sandbox.http.get("/v1/agents", params={"search": "AGENT 2", "includeCount": "true", "limit": "5"}).json()
    assert len(answer["data"]) == 5
    assert answer["pagination"]["totalCount"] == 11


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"cursor": "x"}, {"cursor": "é"}])
@pytest.mark.parametrize("path", PATHS)
def test_wrong_parameters_are_refused(sandbox: Sandbox, path: str, query: dict[str, str]) -> None:
    assert list(problems(sandbox.http.get(path, params=query))) == list(query)


@pytest.mark.parametrize(
    ("key", "statuses"), [("rt_test_no_lists", (403, 403)), ("rt_test_no_flows", (200, 403)), ("rt_x", (200, 200))]
)
def test_a_key_may_lack_the_right_to_list_them(sandbox: Sandbox, key: str, statuses: tuple[int, int]) -> None:
    headers = {"authorization": f"Bearer {key}"}
    assert tuple(sandbox.http.get(path, headers=headers).status_code for path in PATHS) == statuses
    assert sandbox.http.get("/v1/client-tokens", headers=headers).status_code == 200


def test_the_seeds_name_what_the_seeded_tokens_run() -> None:
    assert all(agent["config"] for agent in seeded_agents())
    assert {flow["name"] for flow in seeded_flows()} == {"Track an order", "Return an order"}
