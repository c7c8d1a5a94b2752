"""delete_client_token: gone for good, once, and only what was named."""

import pytest

from tests.confirmations import put
from tests.support import MODERN, Api, accept, mcp_client
from tests.tools.checks import call, not_sent, refusal

pytestmark = pytest.mark.anyio

TOOL = "delete_client_token"
YES = {"confirm": True, "expected_name": "Shop"}


async def test_a_confirmed_token_is_gone_and_the_others_stay(api: Api, era: str) -> None:
    other = put(api.store, name="Other")
    target = put(api.store)
    async with mcp_client(api, era, accept("Shop")) as model:
        data = await call(api, model, TOOL, client_token="Shop", **YES)
        assert data["status"] == "done"
        assert (data["clientToken"]["id"], data["clientToken"]["name"]) == (target, "Shop")
        assert api.writes == [("DELETE", f"/v1/client-tokens/{target}", None)]
        assert [record.token["id"] for record in api.store.newest_first()] == [other]


async def test_a_preview_names_the_reversible_way(api: Api, era: str) -> None:
    target = put(api.store)
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL, client_token=target)
        assert data["status"] == "preview"
        assert "cannot be undone" in data["undo"]
        assert "is_active false" in data["undo"]
        assert target in data["confirmCall"]
        assert len(api.store) == 1


async def test_a_second_deletion_finds_nothing(api: Api, era: str) -> None:
    target = put(api.store)
    async with mcp_client(api, era) as model:
        await call(api, model, TOOL, client_token=target, **YES)
        for ref in (target, "Shop"):
            text = await refusal(api, model, TOOL, client_token=ref, **YES)
            assert "list_client_tokens" in text
        assert len(api.writes) == 1


async def test_an_answer_that_it_was_not_deleted_is_no_success(api: Api, era: str) -> None:
    target = put(api.store)
    api.faults.add("status", method="DELETE", status=200, body={"success": False, "message": "busy"})
    async with mcp_client(api, era) as model:
        result = await model.call(TOOL, client_token=target, **YES)
        assert result.is_error
        assert len(api.store) == 1


@pytest.mark.parametrize("name", ["name", "force", "is_active", "deliver"])
async def test_unknown_arguments_are_refused(api: Api, name: str) -> None:
    target = put(api.store)
    async with mcp_client(api, MODERN) as model:
        text = await not_sent(api, model, TOOL, client_token=target, **{name: "x"}, **YES)
        assert f"{name}: unknown argument" in text
