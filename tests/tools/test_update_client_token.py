"""update_client_token: only what is given is sent, clearing is said, and every change is told."""

import json
from typing import Any

import pytest

from tests.confirmations import AGENT_2, FLOW_2, OTHER_SITE, SITE, put
from tests.support import AGENT, FLOW, MODERN, Api, accept, mcp_client
from tests.tools.checks import VALUE, Json, call, not_sent, refusal

pytestmark = pytest.mark.anyio

TOOL = "update_client_token"
YES: Json = {"confirm": True, "expected_name": "Shop"}


def sent(api: Api, target: str) -> Json:
    """The body of the one write."""
    ((method, path, body),) = api.writes
    assert (method, path) == ("PUT", f"/v1/client-tokens/{target}")
    assert isinstance(body, dict)
    return body


def changes(data: Json) -> dict[str, tuple[Any, Any]]:
    return {change["field"]: (json.loads(change["before"]), json.loads(change["after"])) for change in data["changes"]}


@pytest.mark.parametrize(
    ("given", "arrived", "changed"),
    [
        ({"name": "New"}, {"name": "New"}, {"name": ("Shop", "New")}),
        (
            {"allowed_origins": [SITE, OTHER_SITE]},
            {"allowedOrigins": [SITE, OTHER_SITE]},
            {"allowed_origins": ([SITE], [SITE, OTHER_SITE])},
        ),
        ({"agent_ids": [AGENT, AGENT_2]}, {"agentIds": [AGENT, AGENT_2]}, {"agent_ids": ([AGENT], [AGENT, AGENT_2])}),
        ({"flow_ids": [FLOW_2]}, {"flowIds": [FLOW_2]}, {"flow_ids": ([FLOW], [FLOW_2])}),
        ({"default_flow_id": FLOW}, {"defaultFlowId": FLOW}, {"default_flow_id": (None, FLOW)}),
        ({"is_active": False}, {"isActive": False}, {"is_active": (True, False)}),
        ({"target_alias": "live"}, {"targetAlias": "live"}, {"target_alias": (None, "live")}),
        (
            {"target_version_id": "agentver_1"},
            {"targetVersionId": "agentver_1"},
            {"target_version_id": (None, "agentver_1")},
        ),
        ({"rate_limit_per_minute": 1}, {"rateLimitPerMinute": 1}, {"rate_limit_per_minute": (10, 1)}),
        ({"rate_limit_per_hour": 10_000}, {"rateLimitPerHour": 10_000}, {"rate_limit_per_hour": (100, 10_000)}),
        ({"max_messages_per_session": 5}, {"maxMessagesPerSession": 5}, {"max_messages_per_session": (100, 5)}),
        (
            {"session_idle_timeout_minutes": 5},
            {"sessionIdleTimeoutMinutes": 5},
            {"session_idle_timeout_minutes": (30, 5)},
        ),
        ({"config": {"theme": "dark"}}, {"config": {"theme": "dark"}}, {"config": ({}, {"theme": "dark"})}),
        ({"config": {}}, {"config": {}}, {}),
        # Benign variants.
        ({"allowed_origins": "https://SHOP.example/"}, {"allowedOrigins": [SITE]}, {}),
        ({"agent_ids": AGENT}, {"agentIds": [AGENT]}, {}),
        ({"flow_ids": f'["{FLOW}", "{FLOW}"]'}, {"flowIds": [FLOW]}, {}),
        ({"config": '{"theme": "dark"}'}, {"config": {"theme": "dark"}}, {"config": ({}, {"theme": "dark"})}),
        ({"name": " New ", "is_active": None, "clear": None}, {"name": "New"}, {"name": ("Shop", "New")}),
        ({"is_active": "true"}, {"isActive": True}, {}),
    ],
    ids=str,
)
async def test_what_is_given_is_sent_and_told_and_nothing_else(
    api: Api, given: Json, arrived: Json, changed: dict[str, tuple[Any, Any]]
) -> None:
    target = put(api.store, flowIds=[FLOW])
    async with mcp_client(api, MODERN) as model:
        data = await call(api, model, TOOL, client_token=target, **given, **YES)
        assert sent(api, target) == arrived
        assert changes(data) == changed
        assert data["status"] == "done"
        assert data["clientToken"]["id"] == target


async def test_a_change_on_either_era_is_told(api: Api, era: str) -> None:
    target = put(api.store)
    async with mcp_client(api, era, accept("Shop")) as model:
        data = await call(api, model, TOOL, client_token="Shop", config={"theme": "dark"})
        assert changes(data) == {"config": ({}, {"theme": "dark"})}
        assert sent(api, target) == {"config": {"theme": "dark"}}
        assert not model.asked


@pytest.mark.parametrize(
    ("token", "given", "arrived"),
    [
        ({"targetAlias": "live"}, {"clear": ["target_alias"]}, {"targetAlias": None}),
        ({"targetAlias": "live"}, {"clear": "target_alias"}, {"targetAlias": None}),
        ({"targetAlias": "live"}, {"clear": '["target_alias"]'}, {"targetAlias": None}),
        ({"targetVersionId": "agentver_1"}, {"clear": ["target_version_id"]}, {"targetVersionId": None}),
        ({"flowIds": [FLOW], "defaultFlowId": FLOW}, {"clear": ["default_flow_id"]}, {"defaultFlowId": None}),
        (
            {"targetAlias": "live", "flowIds": [FLOW], "defaultFlowId": FLOW},
            {"clear": ["target_alias", "default_flow_id"], "name": "New"},
            {"targetAlias": None, "defaultFlowId": None, "name": "New"},
        ),
        # One target lets go of the other.
        (
            {"targetAlias": "live"},
            {"target_version_id": "agentver_1"},
            {"targetVersionId": "agentver_1", "targetAlias": None},
        ),
        (
            {"targetVersionId": "agentver_1"},
            {"target_alias": "live"},
            {"targetAlias": "live", "targetVersionId": None},
        ),
        # A default goes with a new list of flows.
        ({"flowIds": [FLOW]}, {"flow_ids": [FLOW, FLOW_2], "default_flow_id": FLOW_2}, None),
        # No agent is left, but a flow is.
        ({"flowIds": [FLOW]}, {"agent_ids": []}, {"agentIds": []}),
    ],
    ids=str,
)
async def test_clearing_is_said_and_sent_as_null(api: Api, token: Json, given: Json, arrived: Json | None) -> None:
    target = put(api.store, **token)
    async with mcp_client(api, MODERN) as model:
        await call(api, model, TOOL, client_token=target, **given, **YES)
        body = sent(api, target)
        assert arrived is None or body == arrived


async def test_null_clears_nothing(api: Api) -> None:
    target = put(api.store, targetAlias="live")
    async with mcp_client(api, MODERN) as model:
        await call(api, model, TOOL, client_token=target, target_alias=None, name="New")
        assert sent(api, target) == {"name": "New"}


async def test_a_legacy_pin_is_left_alone(api: Api) -> None:
    api.seeded()
    (record,) = [r for r in api.store.newest_first() if r.token["name"] == "Help centre 2023"]
    async with mcp_client(api, MODERN) as model:
        await call(api, model, TOOL, client_token=record.token["id"], config={"theme": "dark"})
        after = api.store.get(record.token["id"])
        assert after is not None
        assert after.token["pinToVersion"] == record.token["pinToVersion"]
        assert sent(api, record.token["id"]) == {"config": {"theme": "dark"}}


@pytest.mark.parametrize(
    ("token", "given", "said"),
    [
        ({}, {}, "No field to update"),
        ({}, {"name": None, "is_active": None}, "No field to update"),
        ({}, {"confirm": True, "expected_name": "Shop"}, "No field to update"),
        ({}, {"clear": []}, "No field to update"),
        ({}, {"name": ""}, "No field to update"),
        ({}, {"name": "x" * 256}, "255"),
        ({}, {"name": "\u200b"}, "name"),
        ({}, {"allowed_origins": []}, "allowed_origins"),
        ({}, {"allowed_origins": ["shop.example"]}, "https://shop.example"),
        ({}, {"flow_ids": []}, "flow_ids"),
        ({}, {"agent_ids": [VALUE]}, "agent_ids"),
        ({}, {"rate_limit_per_minute": 0}, "rate_limit_per_minute"),
        ({}, {"rate_limit_per_hour": 10_001}, "10000"),
        ({}, {"max_messages_per_session": 1001}, "1000"),
        ({}, {"session_idle_timeout_minutes": 1441}, "1440"),
        ({}, {"is_active": "perhaps"}, "is_active"),
        ({}, {"config": "dark"}, "config"),
        ({}, {"clear": ["name"]}, "clear"),
        ({}, {"clear": ["targetAlias"]}, "clear"),
        ({}, {"environment": "live"}, "environment: unknown argument"),
        ({}, {"product_surface_id": "surf_1"}, "product_surface_id: unknown argument"),
        ({}, {"pin_to_version": "latest"}, "pin_to_version: unknown argument"),
        ({}, {"isActive": False}, "did you mean is_active?"),
        ({}, {"active": False}, "did you mean is_active?"),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_bad_arguments_are_explained_and_nothing_is_sent(api: Api, token: Json, given: Json, said: str) -> None:
    target = put(api.store, **token)
    async with mcp_client(api, MODERN) as model:
        text = await not_sent(api, model, TOOL, client_token=target, **given)
        assert said in text
        assert "0123456789abcdef" not in text


@pytest.mark.parametrize(
    ("token", "given", "said"),
    [
        ({}, {"agent_ids": []}, "at least one agent or flow"),
        ({}, {"default_flow_id": FLOW}, "one of flow_ids"),
        ({"flowIds": [FLOW], "defaultFlowId": FLOW}, {"flow_ids": [FLOW_2]}, "one of flow_ids"),
        ({}, {"target_alias": "live", "target_version_id": "agentver_1"}, "exclude each other"),
        ({}, {"target_alias": "live", "clear": ["target_alias"]}, "both set and cleared"),
        ({"agentIds": [AGENT, AGENT_2]}, {"target_version_id": "agentver_1"}, "exactly one agent"),
        ({"targetVersionId": "agentver_1"}, {"agent_ids": [AGENT, AGENT_2]}, "exactly one agent"),
        ({"agentIds": [], "flowIds": [FLOW]}, {"target_version_id": "agentver_1"}, "exactly one agent"),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_what_does_not_fit_the_token_is_explained_and_not_written(
    api: Api, token: Json, given: Json, said: str
) -> None:
    target = put(api.store, **token)
    async with mcp_client(api, MODERN) as model:
        for more in ({}, YES):
            text = await refusal(api, model, TOOL, client_token=target, **given, **more)
            assert said in text
            assert "Nothing was sent." in text


async def test_clearing_a_default_lets_the_flows_change(api: Api) -> None:
    target = put(api.store, flowIds=[FLOW], defaultFlowId=FLOW)
    async with mcp_client(api, MODERN) as model:
        given = {"flow_ids": [FLOW_2], "clear": ["default_flow_id"]}
        await call(api, model, TOOL, client_token=target, **given, **YES)
        assert sent(api, target) == {"flowIds": [FLOW_2], "defaultFlowId": None}


async def test_the_apis_warnings_arrive_word_for_word_and_as_its_own(api: Api, era: str) -> None:
    target = put(api.store)
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL, client_token=target, allowed_origins=[SITE, "*"], **YES)
        assert data["warnings"] == ["The API warns: Any website can use this token."]


async def test_the_result_shows_the_token_as_it_is_afterwards(api: Api, era: str) -> None:
    target = put(api.store)
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL, client_token=target, name="New", is_active=False, **YES)
        assert (data["clientToken"]["name"], data["clientToken"]["isActive"]) == ("New", False)


async def test_a_secret_in_a_config_is_sent_as_it_is_and_never_shown(api: Api) -> None:
    secret = "rt_live_" + "0a1b2c3d" * 4
    target = put(api.store)
    async with mcp_client(api, MODERN) as model:
        for more in ({}, YES):
            result = await model.call(TOOL, client_token=target, config={"key": secret}, **more)
            assert secret not in result.model_dump_json()
        assert sent(api, target) == {"config": {"key": secret}}
