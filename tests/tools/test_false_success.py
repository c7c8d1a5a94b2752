"""A success is not believed alone: what the API answers is compared with what was asked, and read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from tests.confirmations import SITE, put
from tests.support import AGENT, Api, mcp_client

pytestmark = pytest.mark.anyio

SURE = {"confirm": True, "expected_name": "Shop"}


def answer_instead(api: Api, method: str, body: dict[str, Any], act: Callable[[], object] = lambda: None) -> None:
    """From now on the API answers requests of this method with 200 and `body`, and does only `act`."""
    inner = api.stage.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != method:
            await inner(scope, receive, send)
            return
        act()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    api.stage.app = app


def as_it_is(api: Api, token: str) -> dict[str, Any]:
    record = api.store.get(token)
    assert record is not None
    return record.token | {"tokenValue": None}


async def test_an_update_that_stays_as_it_was_is_an_error(api: Api, era: str) -> None:
    token = put(api.store)
    answer_instead(api, "PUT", {"clientToken": as_it_is(api, token), "warnings": []})
    async with mcp_client(api, era) as model:
        text = await model.text("update_client_token", client_token=token, name="Renamed")
    assert "it is as before: name" in text
    assert "Nothing was changed." in text


async def test_a_setting_that_is_stored_otherwise_is_told(api: Api, era: str) -> None:
    token = put(api.store)
    half = {"targetAlias": "live"}  # and not the config
    body = {"clientToken": as_it_is(api, token) | half, "warnings": []}
    answer_instead(api, "PUT", body, lambda: put(api.store, id=token, **half))
    async with mcp_client(api, era) as model:
        result = await model.call("update_client_token", client_token=token, config={"a": 1}, target_alias="live")
    assert result.structured_content is not None
    assert any("stored config as {}, not as asked" in said for said in result.structured_content["warnings"])


async def test_a_value_that_stays_as_it_was_is_an_error(api: Api, era: str) -> None:
    token = put(api.store)
    record = api.store.get(token)
    assert record is not None
    answer_instead(api, "POST", {"clientToken": as_it_is(api, token), "token": record.value, "message": "Done"})
    async with mcp_client(api, era) as model:
        text = await model.text("regenerate_client_token", client_token=token, **SURE)
    assert "are as before" in text
    assert record.value is not None
    assert record.value not in text


async def test_a_deletion_that_the_api_does_not_confirm_is_looked_up(api: Api, era: str) -> None:
    token = put(api.store)
    answer_instead(api, "DELETE", {})
    async with mcp_client(api, era) as model:
        text = await model.text("delete_client_token", client_token=token, **SURE)
    assert "it was not deleted so far" in text


async def test_a_create_that_differs_from_what_was_asked_is_told(api: Api, era: str) -> None:
    made = as_it_is(api, put(api.store, name="Other", environment="test", rateLimitPerHour=7))
    answer_instead(
        api, "POST", {"clientToken": made | {"name": "New"}, "token": "ct_test_x_0123456789abcdef", "warnings": []}
    )
    async with mcp_client(api, era) as model:
        result = await model.call("create_client_token", name="New", allowed_origins=SITE, agent_ids=AGENT)
    assert result.structured_content is not None
    assert any("rate_limit_per_hour" in said for said in result.structured_content["warnings"])
