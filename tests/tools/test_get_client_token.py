"""get_client_token: every fact about one token but its value."""

from dataclasses import replace

import pytest

from tests.confirmations import AGENT_2, SITE, put
from tests.support import AGENT, FLOW, MODERN, Api, mcp_client
from tests.tools.checks import call, refusal

pytestmark = pytest.mark.anyio

TOOL = "get_client_token"


async def test_every_setting_is_there_and_no_value(api: Api, era: str) -> None:
    for environment in ("test", "live"):  # the API sends the value of one kind along
        target = put(
            api.store,
            name=f"Shop {environment}",
            environment=environment,
            agentIds=[AGENT, AGENT_2],
            flowIds=[FLOW],
            defaultFlowId=FLOW,
            targetAlias="live",
            productSurfaceId="surf_1",
            rateLimitPerMinute=11,
            rateLimitPerHour=111,
            maxMessagesPerSession=12,
            sessionIdleTimeoutMinutes=13,
            config={"welcomeMessage": "Hi", "theme": {"primaryColor": "#fff"}, "tags": ["a", 1, None, True]},
        )
        record = api.store.get(target)
        assert record is not None
        assert record.value is not None
        async with mcp_client(api, era) as model:
            assert (await call(api, model, TOOL, client_token=target))["clientToken"] == {
                "id": target,
                "name": f"Shop {environment}",
                "environment": environment,
                "isActive": True,
                "allowedOrigins": [SITE],
                "agentIds": [AGENT, AGENT_2],
                "flowIds": [FLOW],
                "defaultFlowId": FLOW,
                "targetAlias": "live",
                "productSurfaceId": "surf_1",
                "rateLimitPerMinute": 11,
                "rateLimitPerHour": 111,
                "maxMessagesPerSession": 12,
                "sessionIdleTimeoutMinutes": 13,
                "config": {"welcomeMessage": "Hi", "theme": {"primaryColor": "#fff"}, "tags": ["a", 1, None, True]},
                "lastUsedAt": "never",
                "conversationCount": 0,
                "createdAt": record.token["createdAt"],
                "updatedAt": record.token["updatedAt"],
                "valueEndsWith": record.value[-4:],
            }


async def test_conversations_are_counted_by_id_and_by_name(api: Api, era: str) -> None:
    api.seeded()
    async with mcp_client(api, era) as model:
        by_name = await call(api, model, TOOL, client_token="Northwind Store - Support")
        assert by_name["clientToken"]["conversationCount"] == 45
        assert await call(api, model, TOOL, client_token=by_name["clientToken"]["id"]) == by_name


async def test_every_seeded_token_can_be_read(api: Api, era: str) -> None:
    api.seeded()
    async with mcp_client(api, era) as model:
        for record in api.store.newest_first():
            token = (await call(api, model, TOOL, client_token=record.token["id"]))["clientToken"]
            assert token.get("name") == record.token["name"]
            assert token["isActive"] is record.token["isActive"]


async def test_a_secret_in_the_config_is_masked(api: Api, era: str) -> None:
    target = put(api.store, config={"apiKey": "rt_live_" + "0a1b2c3d" * 4, "theme": "dark"})
    async with mcp_client(api, era) as model:
        token = (await call(api, model, TOOL, client_token=target))["clientToken"]
        assert token["config"] == {"apiKey": "rt_live_[redacted]", "theme": "dark"}


async def test_a_hint_is_never_more_than_four_characters(api: Api) -> None:
    target = put(api.store)
    record = api.store.get(target)
    assert record is not None
    api.store.put(replace(record, token=record.token | {"tokenHint": record.value}))
    async with mcp_client(api, MODERN) as model:
        token = (await call(api, model, TOOL, client_token=target))["clientToken"]
        assert record.value is not None
        assert token["valueEndsWith"] == record.value[-4:]


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ({"kind": "status", "status": 401}, "auth", "`runtype-mcp whoami`"),
        ({"kind": "status", "status": 403}, "auth", "CLIENT_TOKENS:READ"),
        ({"kind": "status", "status": 302}, "permanent", "redirect"),
        ({"kind": "wrong_shape", "body": {"clientToken": {"id": 7}}}, "permanent", "clientToken.agentIds"),
        ({"kind": "empty"}, "permanent", "understood"),
    ],
    ids=str,
)
async def test_what_the_api_answers_instead_is_told(api: Api, fault: dict[str, object], kind: str, said: str) -> None:
    target = put(api.store)
    api.faults.add(path=target, times=9, **fault)  # type: ignore[arg-type]  # the kind is in the table
    async with mcp_client(api, MODERN) as model:
        text = await refusal(api, model, TOOL, client_token=target)
        assert text.startswith(f"Error ({kind}): ")
        assert said in text
