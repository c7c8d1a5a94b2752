"""Calls at once: what one has done is what the next one sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import mcp_types
import pytest

from tests.support import AGENT, MODERN, Api, McpClient, mcp_client, text_of

pytestmark = pytest.mark.anyio

SHOP: dict[str, Any] = {"name": "Shop", "allowed_origins": ["https://shop.example"], "agent_ids": [AGENT]}
SURE: dict[str, Any] = {"confirm": True, "expected_name": "Shop"}
FILE = {"deliver": "env_file", "env_file": ".env:CHAT"}


async def at_once(model: McpClient, *calls: tuple[str, dict[str, Any]]) -> list[mcp_types.CallToolResult]:
    results: dict[int, mcp_types.CallToolResult] = {}

    async def one(number: int, tool: str, arguments: dict[str, Any]) -> None:
        results[number] = await model.call(tool, **arguments)

    async with anyio.create_task_group() as group:
        for number, (tool, arguments) in enumerate(calls):
            group.start_soon(one, number, tool, arguments)
    return [results[number] for number in range(len(calls))]


def failures(results: list[mcp_types.CallToolResult]) -> list[str]:
    return [text_of(result) for result in results if result.is_error]


async def test_one_name_makes_one_token(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        failed = failures(await at_once(model, *[("create_client_token", SHOP)] * 5))
    assert len(api.store) == len(api.writes) == 1
    assert len(failed) == 4
    assert all("There is a test client token of this name" in text for text in failed)


async def test_names_that_differ_do_not_wait_for_each_other(api: Api) -> None:
    async with mcp_client(api, MODERN) as model:
        names = [("create_client_token", SHOP | {"name": f"Shop {number}"}) for number in range(5)]
        assert failures(await at_once(model, *names)) == []
    assert len(api.store) == 5


@pytest.mark.parametrize("policy", ["auto", "flag"])
async def test_a_value_is_replaced_once_and_the_file_holds_the_one_that_lives(
    api: Api, era: str, policy: str, tmp_path: Path
) -> None:
    settings = {"RUNTYPE_MCP_FILES_ROOT": str(tmp_path), "RUNTYPE_MCP_APPROVAL": policy}
    async with mcp_client(api, era, None, **settings) as model:
        token = (await model.create())["id"]
        again = "regenerate_client_token", {"client_token": token, **SURE, **FILE}
        read = "get_client_token_value", {"client_token": token, **FILE}
        answers = await at_once(model, again, read, again, read, again)
        (record,) = api.store.newest_first()
    assert len(api.writes) == 2, "a create and one regeneration"
    assert len(failures(answers[::2])) == 2
    # A read may be refused too: where the other read has just written the value that was replaced since.
    assert all("Nothing was" in text for text in failures(answers))
    assert (tmp_path / ".env").read_text() == f"CHAT={record.value}\n"


async def test_a_deletion_is_done_once(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        token = (await model.create())["id"]
        failed = failures(await at_once(model, *[("delete_client_token", {"client_token": token, **SURE})] * 3))
    assert len(failed) == 2
    assert [write[0] for write in api.writes] == ["POST", "DELETE"]


async def test_harmless_updates_are_all_done(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        token = (await model.create())["id"]
        changes: list[dict[str, Any]] = [{"name": "Renamed"}, {"config": {"a": 1}}, {"target_alias": "live"}]
        updates = [("update_client_token", {"client_token": token, **change}) for change in changes]
        assert failures(await at_once(model, *updates)) == []
    (record,) = api.store.newest_first()
    assert {name: record.token[name] for name in ("name", "config", "targetAlias")} == {
        "name": "Renamed",
        "config": {"a": 1},
        "targetAlias": "live",
    }
