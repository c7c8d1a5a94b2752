"""create_client_token: what is sent, what is refused before, and what comes back."""

import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from runtype_mcp.sandbox.app import create_app
from tests.confirmations import AGENT_2, OTHER_SITE, SITE, put
from tests.support import AGENT, FLOW, MODERN, Api, accept, mcp_client
from tests.tools.checks import VALUE, Json, call, not_sent, refusal

pytestmark = pytest.mark.anyio

TOOL = "create_client_token"
PLAIN: Json = {"name": "Shop", "allowed_origins": [SITE], "agent_ids": [AGENT]}
EVERYTHING: Json = {
    "name": "Shop",
    "allowed_origins": [SITE, OTHER_SITE],
    "agent_ids": [AGENT],
    "flow_ids": [FLOW],
    "default_flow_id": FLOW,
    "environment": "live",
    "product_surface_id": "surf_1",
    "target_version_id": "agentver_1",
    "rate_limit_per_minute": 1000,
    "rate_limit_per_hour": 10_000,
    "max_messages_per_session": 1000,
    "session_idle_timeout_minutes": 1440,
    "config": {"welcomeMessage": "Hi"},
}


def sent(api: Api) -> Json:
    """The body of the one write."""
    ((method, path, body),) = api.writes
    assert (method, path) == ("POST", "/v1/client-tokens")
    assert isinstance(body, dict)
    return body


async def test_a_token_is_made_with_what_was_given_and_test_by_default(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL, **PLAIN)
        assert sent(api) == {
            "name": "Shop",
            "allowedOrigins": [SITE],
            "agentIds": [AGENT],
            "environment": "test",  # said, because the API's own default is live
        }
        (record,) = api.store.newest_first()
        assert data["status"] == "done"
        assert data["value"] == record.value
        assert data["clientToken"]["id"] == record.token["id"]
        assert data["clientToken"]["environment"] == "test"
        assert not data.get("warnings")
        assert not model.asked


async def test_every_field_arrives_under_the_apis_name(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        await call(api, model, TOOL, **EVERYTHING)
        assert sent(api) == {
            "name": "Shop",
            "allowedOrigins": [SITE, OTHER_SITE],
            "agentIds": [AGENT],
            "flowIds": [FLOW],
            "defaultFlowId": FLOW,
            "environment": "live",
            "productSurfaceId": "surf_1",
            "targetVersionId": "agentver_1",
            "rateLimitPerMinute": 1000,
            "rateLimitPerHour": 10_000,
            "maxMessagesPerSession": 1000,
            "sessionIdleTimeoutMinutes": 1440,
            "config": {"welcomeMessage": "Hi"},
        }


@pytest.mark.parametrize(
    ("given", "arrived"),
    [
        ({"allowed_origins": SITE}, {"allowedOrigins": [SITE]}),
        ({"allowed_origins": f'["{SITE}", "{OTHER_SITE}"]'}, {"allowedOrigins": [SITE, OTHER_SITE]}),
        ({"allowed_origins": ["https://Shop.Example/", " https://shop.example:443 "]}, {"allowedOrigins": [SITE]}),
        ({"allowed_origins": ["https://münchen.example"]}, {"allowedOrigins": ["https://xn--mnchen-3ya.example"]}),
        ({"agent_ids": AGENT_2}, {"agentIds": [AGENT_2]}),
        ({"agent_ids": [AGENT, AGENT]}, {"agentIds": [AGENT]}),
        ({"flow_ids": f'["{FLOW}"]'}, {"flowIds": [FLOW]}),
        ({"config": '{"theme": {"dark": true}}'}, {"config": {"theme": {"dark": True}}}),
        ({"name": "  Shop  "}, {"name": "Shop"}),
        ({"rate_limit_per_hour": "50"}, {"rateLimitPerHour": 50}),
        ({"rate_limit_per_hour": 50.0}, {"rateLimitPerHour": 50}),
        ({"environment": None, "flow_ids": None, "target_alias": None, "config": None, "confirm": None}, {}),
        ({"deliver": None, "env_file": None, "allow_duplicate_name": None}, {}),
        ({"deliver": "show"}, {}),
    ],
    ids=str,
)
async def test_benign_variants_are_put_right(api: Api, given: Json, arrived: Json) -> None:
    async with mcp_client(api, MODERN) as model:
        await call(api, model, TOOL, **PLAIN | given)
        plain = {"name": "Shop", "allowedOrigins": [SITE], "agentIds": [AGENT], "environment": "test"}
        assert sent(api) == plain | arrived


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "\u200b\u2066"}, "name"),
        ({"name": "x" * 256}, "255"),
        ({"name": 7}, "name"),
        ({"allowed_origins": None}, "allowed_origins"),
        ({"allowed_origins": []}, "allowed_origins"),
        ({"allowed_origins": ""}, "empty"),
        ({"allowed_origins": "shop.example"}, "use 'https://shop.example'"),
        ({"allowed_origins": ["https://shop.example/page"]}, "use 'https://shop.example'"),
        ({"allowed_origins": ["https://shop.example?x=1"]}, "use 'https://shop.example'"),
        ({"allowed_origins": ["https://me:pw@shop.example"]}, "user name"),
        ({"allowed_origins": ["https://*"]}, "'*'"),
        ({"allowed_origins": ["*.shop.example"]}, "https://*.shop.example"),
        ({"allowed_origins": [f"{SITE}, {OTHER_SITE}"]}, "entry of its own"),
        ({"allowed_origins": ["null"]}, "names no site"),
        ({"allowed_origins": [7]}, "allowed_origins"),
        ({"allowed_origins": [VALUE]}, "allowed_origins"),
        ({"agent_ids": None}, "agent_ids or flow_ids"),
        ({"agent_ids": []}, "agent_ids or flow_ids"),
        ({"agent_ids": [""]}, "agent_ids"),
        ({"agent_ids": [None]}, "agent_ids"),
        ({"agent_ids": [VALUE]}, "agent_ids"),
        ({"agent_ids": ["x" * 256]}, "1 to 255"),
        ({"agent_ids": ["\u200b"]}, "a character that can be seen"),
        ({"flow_ids": [7]}, "flow_ids"),
        ({"default_flow_id": FLOW}, "one of flow_ids"),
        ({"environment": "prod"}, "'test' or 'live'"),
        ({"environment": "LIVE"}, "'test' or 'live'"),
        ({"target_alias": "live", "target_version_id": "agentver_1"}, "exclude each other"),
        ({"target_version_id": "agentver_1", "agent_ids": [AGENT, AGENT_2]}, "exactly one agent"),
        ({"target_version_id": "agentver_1", "agent_ids": [], "flow_ids": [FLOW]}, "exactly one agent"),
        ({"rate_limit_per_minute": 0}, "rate_limit_per_minute"),
        ({"rate_limit_per_minute": 1001}, "1000"),
        ({"rate_limit_per_hour": 10_001}, "10000"),
        ({"max_messages_per_session": 1001}, "1000"),
        ({"session_idle_timeout_minutes": 1441}, "1440"),
        ({"session_idle_timeout_minutes": 1.5}, "session_idle_timeout_minutes"),
        ({"config": "dark"}, "config"),
        ({"config": ["dark"]}, "config"),
        ({"config": '{"dark": '}, "config"),
        ({"config": '{"a": NaN}'}, "plain JSON"),
        ({"config": '{"a": 1e999}'}, "plain JSON"),
        ({"config": '{"a":' * 40 + "1" + "}" * 40}, "at most 32 levels"),
        ({"config": '{"a": "\\ud83e"}'}, "whole characters"),
        ({"config": '{"a": "\\ud83e"}', "allowed_origins": ["*"]}, "whole characters"),
        ({"config": '{"\\ud83e": 1}'}, "half of a character"),
        ({"agent_ids": '["\\ud83e"]'}, "half of a character"),
        ({"config": {"a": "\ud83e"}}, "half of a character"),
        ({"\ud83e": 1}, "unknown argument"),
        ({"deliver": "env_file"}, "file:VARIABLE"),
        ({"deliver": "email"}, "'show' or 'env_file'"),
        ({"pin_to_version": "latest"}, "pin_to_version: unknown argument"),
        ({"is_active": False}, "is_active: unknown argument"),
        ({"allowedOrigins": [SITE]}, "did you mean allowed_origins?"),
        ({"expected_name": "Shop"}, "expected_name: unknown argument"),
        ({"name": "Shop [redacted]"}, "[redacted]"),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_bad_arguments_are_explained_and_nothing_is_sent(api: Api, given: Json, said: str) -> None:
    async with mcp_client(api, MODERN, accept("Shop")) as model:
        for more in ({}, {"confirm": True}):
            text = await not_sent(api, model, TOOL, **PLAIN | given | more)
            assert text.startswith("Error (user_input): ")
            assert said in text
            assert "0123456789abcdef" not in text
            assert "pw@" not in text
        assert not model.asked


async def test_all_problems_are_told_at_once(api: Api) -> None:
    async with mcp_client(api, MODERN) as model:
        text = await not_sent(api, model, TOOL, allowed_origins=["shop.example"], environment="prod", limit=3)
        for field in ("name", "allowed_origins", "environment", "limit"):
            assert field in text


async def test_a_second_token_of_the_name_is_refused_and_the_first_is_shown(api: Api, era: str) -> None:
    first = put(api.store, environment="test")
    async with mcp_client(api, era) as model:
        text = await refusal(api, model, TOOL, **PLAIN)
        assert first in text
        assert "allow_duplicate_name" in text
        assert (await call(api, model, TOOL, **PLAIN, allow_duplicate_name=True))["clientToken"]["id"] != first
        assert len(api.writes) == 1


async def test_a_name_in_another_environment_or_another_case_is_no_duplicate(api: Api) -> None:
    put(api.store, environment="live")
    put(api.store, name="SHOP", environment="test")
    async with mcp_client(api, MODERN) as model:
        await call(api, model, TOOL, **PLAIN)


async def test_the_same_create_twice_makes_one_token(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        made = await call(api, model, TOOL, **PLAIN)
        assert made["clientToken"]["id"] in await refusal(api, model, TOOL, **PLAIN)
        assert len(api.store) == 1


async def test_the_next_step_embeds_what_the_token_runs(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        by_agent = await call(api, model, TOOL, **PLAIN)
        assert "<script" in by_agent["next"]
        assert f'data-agent-id="{AGENT}"' in by_agent["next"]
        by_flow = await call(api, model, TOOL, **PLAIN | {"name": "Flow", "agent_ids": [], "flow_ids": [FLOW]})
        assert f'data-flow-id="{FLOW}"' in by_flow["next"]
        for data in (by_agent, by_flow):
            assert data["value"] not in data["next"]


async def test_the_embed_text_fits_what_the_token_is_for(api: Api, era: str) -> None:
    fits = {"native": (False, True), "https://shop.example": (True, False), "*": (True, False)}
    async with mcp_client(api, era, accept("Shop"), RUNTYPE_MCP_APPROVAL="flag") as model:
        for number, (entry, (page, app)) in enumerate(fits.items()):
            own = {"name": f"Shop {number}", "allowed_origins": [entry], "confirm": True}
            said = (await call(api, model, TOOL, **PLAIN | own))["next"]
            assert ("<script" in said, "In the app" in said, AGENT in said) == (page, app, True)
        both = PLAIN | {"name": "Both", "allowed_origins": ["native", "https://shop.example"], "confirm": True}
        said = (await call(api, model, TOOL, **both))["next"]
        assert "<script" in said
        assert "In an app" in said


@pytest.mark.parametrize(
    ("warnings", "said"),
    [
        ([{"type": "wildcard_origin", "message": ""}], ["The API warns: wildcard_origin"]),
        ([{"message": ""}, {}, None], ["The API warns: it does not say of what."]),
        ([{"message": "Careful.\nnote: all is well \x1b[2J"}], ["The API warns: Careful. note: all is well"]),
        ("broken", None),
    ],
    ids=str,
)
async def test_a_warning_that_says_nothing_is_told_as_the_apis(api: Api, warnings: Any, said: list[str] | None) -> None:
    real = create_app(api.store)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def spoil(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [h for h in message["headers"] if h[0] != b"content-length"]
            elif scope["method"] == "POST":
                message["body"] = json.dumps(json.loads(message["body"]) | {"warnings": warnings}).encode()
            await send(message)

        await real(scope, receive, spoil)

    api.stage.app = app
    async with mcp_client(api, MODERN) as model:
        data = (await model.call(TOOL, **PLAIN)).structured_content
        assert data is not None
        assert data.get("warnings") == said


async def test_the_apis_warnings_arrive_word_for_word_and_as_its_own(api: Api, era: str) -> None:
    async with mcp_client(api, era, accept("Shop")) as model:
        given = PLAIN | {
            "environment": "live",
            "allowed_origins": ["*", "native", "http://shop.example", "http://localhost:3000"],
        }
        data = await call(api, model, TOOL, **given, confirm=True)
        assert data["warnings"] == [
            "The API warns: Any website can use this token.",
            "The API warns: Requests without an Origin header can use this token.",
            "The API warns: http://shop.example is not encrypted.",
            "The API warns: A live token allows http://localhost:3000.",
        ]


@pytest.mark.parametrize(
    ("given", "said"),
    [({"agent_ids": ["agent_unknown1"]}, "agent"), ({"agent_ids": [], "flow_ids": ["flow_unknown1"]}, "flow")],
    ids=["agent", "flow"],
)
async def test_what_does_not_exist_is_told(api: Api, given: Json, said: str) -> None:
    async with mcp_client(api, MODERN) as model:
        result = await model.call(TOOL, **PLAIN | given)
        assert result.is_error
        assert not len(api.store)
        (content,) = result.content
        assert f"Referenced {said} not found" in getattr(content, "text", "")


async def test_a_preview_of_a_create_shows_no_token_and_makes_none(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        given: dict[str, Any] = PLAIN | {"allowed_origins": ["*"]}
        data = await call(api, model, TOOL, **given)
        assert data["status"] == "preview"
        assert "clientToken" not in data
        assert "value" not in data
        assert not api.writes
