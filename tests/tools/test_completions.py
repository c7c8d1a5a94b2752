"""Completions for the arguments of prompts: names as far as one is enough, and never an error."""

from __future__ import annotations

import pytest
from mcp_types import PromptReference, ResourceTemplateReference

from tests.confirmations import put
from tests.support import Api, McpClient, mcp_client, seed_many
from tests.tools.checks import VALUE

pytestmark = pytest.mark.anyio

ROTATE, EMBED = PromptReference(name="rotate_client_token"), PromptReference(name="embed_chat_widget")


async def completed(
    model: McpClient, ref: PromptReference | ResourceTemplateReference, name: str, typed: str
) -> list[str]:
    return (await model.client.complete(ref, {"name": name, "value": typed})).completion.values


async def test_tokens_are_completed_by_name_and_by_id_where_a_name_is_not_enough(api: Api, era: str) -> None:
    put(api.store, name="Shop A")
    twins = {put(api.store, name="Twin"), put(api.store, name="Twin")}
    async with mcp_client(api, era) as model:
        assert await completed(model, ROTATE, "client_token", "sHOP") == ["Shop A"]
        assert set(await completed(model, ROTATE, "client_token", "twin")) == twins
        assert set(await completed(model, ROTATE, "client_token", "")) == {"Shop A", *twins}
        assert await completed(model, ROTATE, "client_token", "nothing like it") == []


async def test_agents_are_completed(api: Api, era: str) -> None:
    agents = [{"id": f"agent_{number:06}", "name": f"Agent {number}"} for number in range(3)]
    api.install(agents=agents, flows=[])
    async with mcp_client(api, era) as model:
        assert await completed(model, EMBED, "agent", "t 2") == ["Agent 2"]
        assert await completed(model, EMBED, "agent", "agent_000001") == ["Agent 1"]
        assert await completed(model, EMBED, "origin", "https") == []


async def test_addresses_are_completed_by_ids_and_pages_by_name(api: Api, era: str) -> None:
    target = put(api.store, name="Shop A")
    one, page = (ResourceTemplateReference(uri=f"runtype://{path}") for path in ("client-tokens/{id}", "docs/{page}"))
    async with mcp_client(api, era) as model:
        assert await completed(model, one, "id", "shop") == [target]
        assert await completed(model, page, "page", "safe") == ["safety"]
        assert await completed(model, EMBED, "framework", "V") == ["vite"]


async def test_at_most_a_hundred_are_given_and_all_are_counted(api: Api, era: str) -> None:
    seed_many(api.store, 130)
    async with mcp_client(api, era) as model:
        found = (await model.client.complete(ROTATE, {"name": "client_token", "value": "shop"})).completion
        assert (len(found.values), found.total, found.has_more) == (100, 130, True)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"RUNTYPE_API_KEY": ""}, "client_token"),
        ({"RUNTYPE_API_KEY": "rt_test_no_lists"}, "agent"),
        ({"RUNTYPE_MCP_TOOLS": "!list_client_tokens"}, "client_token"),
        ({"RUNTYPE_MCP_TOOLS": "!list_agents_and_flows"}, "agent"),
    ],
    ids=str,
)
async def test_who_may_not_see_them_gets_none_and_no_error(
    api: Api, era: str, environ: dict[str, str], name: str
) -> None:
    api.seeded()
    async with mcp_client(api, era, None, **environ) as model:
        assert await completed(model, ROTATE if name == "client_token" else EMBED, name, "") == []


async def test_no_token_of_the_other_environment_is_completed(api: Api, era: str) -> None:
    put(api.store, name="Live", environment="live")
    put(api.store, name="Test", environment="test")
    async with mcp_client(api, era, None, RUNTYPE_MCP_ENVIRONMENT="test") as model:
        assert await completed(model, ROTATE, "client_token", "") == ["Test"]


async def test_a_name_holds_no_secret_and_nothing_hidden(api: Api, era: str) -> None:
    put(api.store, name=f"Shop \x1b[31m{VALUE}\n")
    async with mcp_client(api, era) as model:
        (shown,) = await completed(model, ROTATE, "client_token", "shop")
        assert shown == "Shop ct_live_[redacted]"
        assert VALUE not in str(await completed(model, ROTATE, "client_token", VALUE))
