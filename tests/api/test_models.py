"""The rules of a request, before it is sent; and how much an answer may differ from what we know."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from runtype_mcp.api import models
from runtype_mcp.api.responses import parsed
from tests.api.upstream import CONVERSATION, ID, TOKEN, VALUE

MINIMAL: dict[str, Any] = {"name": "Shop", "allowed_origins": ["https://shop.example"], "agent_ids": ["agent_1"]}
REDUCED = {
    *("id", "name", "flowIds", "defaultFlowId", "agentIds", "allowedOrigins", "environment", "pinToVersion"),
    *("isActive", "tokenPrefix", "tokenHint", "tokenValue", "createdAt", "updatedAt"),
}
"""What regenerate sends of a token."""

LIMITS = [
    ("rate_limit_per_minute", 1000),
    ("rate_limit_per_hour", 10000),
    ("max_messages_per_session", 1000),
    ("session_idle_timeout_minutes", 1440),
]
REFUSED_BY_BOTH: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "x" * 256}, "name"),
    ({"name": None}, "name"),
    ({"name": 5}, "name"),
    ({"allowed_origins": []}, "allowed_origins|allowedOrigins"),
    ({"allowed_origins": "https://shop.example"}, "allowed_origins|allowedOrigins"),
    ({"agent_ids": [""]}, "agent_ids|agentIds"),
    ({"agent_ids": ["x" * 129]}, "agent_ids|agentIds"),
    ({"config": []}, "config"),
    ({"is_actve": True}, "is_actve"),
    *[({field: value}, field) for field, most in LIMITS for value in (0, -1, most + 1, 1.5, None, "many")],
]
REFUSED_BY_CREATE: list[tuple[dict[str, Any], str]] = [
    ({"flow_ids": ["flow_1"], "default_flow_id": "flow_2"}, "default_flow_id must be one of flow_ids"),
    ({"target_alias": "live", "target_version_id": "agentver_1"}, "exclude each other"),
    ({"agent_ids": ["a", "b"], "target_version_id": "agentver_1"}, "exactly one agent id, and there are 2"),
    ({"agent_ids": []}, "at least one agent or flow"),
    ({"agent_ids": [], "flow_ids": [], "target_alias": "live"}, "at least one agent or flow"),
    ({"default_flow_id": "flow_1"}, "default_flow_id must be one of flow_ids"),
    ({"agent_ids": [], "flow_ids": ["flow_1"], "target_version_id": "agentver_1"}, "there are 0"),
    ({"environment": "staging"}, "environment"),
    ({"environment": None}, "environment"),
    ({"pin_to_version": "agentver_1"}, "pin_to_version|pinToVersion"),
    ({"is_active": False}, "is_active"),
]
REFUSED_BY_UPDATE: list[tuple[dict[str, Any], str]] = [
    ({"flow_ids": []}, "flow_ids|flowIds"),
    ({"environment": "test"}, "environment"),
    ({"product_surface_id": "surf_1"}, "product_surface_id"),
    *[({field: None}, field) for field in ("agent_ids", "flow_ids", "is_active", "pin_to_version", "config")],
]


@pytest.mark.parametrize(("fields", "says"), REFUSED_BY_BOTH + REFUSED_BY_CREATE)
def test_a_create_that_breaks_a_rule_is_refused_by_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        models.CreateClientToken(**MINIMAL | fields)


@pytest.mark.parametrize(("fields", "says"), REFUSED_BY_BOTH + REFUSED_BY_UPDATE)
def test_an_update_that_breaks_a_rule_is_refused_by_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        models.UpdateClientToken(**fields)


@pytest.mark.parametrize("missing", ["name", "allowed_origins", "agent_ids"])
def test_a_create_needs_a_name_an_origin_and_something_to_run(missing: str) -> None:
    with pytest.raises(ValidationError):
        models.CreateClientToken(**{name: value for name, value in MINIMAL.items() if name != missing})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "x" * 255},
        {"name": "é" * 255},
        {"agent_ids": [], "flow_ids": ["flow_1"]},
        {"flow_ids": ["flow_1", "flow_2"], "default_flow_id": "flow_2"},
        {"target_alias": "pr-482"},
        {"target_version_id": "agentver_1"},
        {"allowed_origins": ["*", "native", "capacitor://localhost"]},
        {"environment": "test"},
        {"pin_to_version": "published"},
        *[{field: value} for field, most in LIMITS for value in (1, most)],
    ],
)
def test_a_create_within_the_rules_is_sent_as_given(fields: dict[str, Any]) -> None:
    assert models.CreateClientToken(**MINIMAL | fields).body() == in_camel_case(MINIMAL | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"default_flow_id": None},
        {"target_alias": None, "target_version_id": "agentver_1"},
        {"target_alias": "live", "target_version_id": None},
        {"target_version_id": "agentver_1"},
        {"default_flow_id": "flow_of_which_only_the_api_knows"},
        {"agent_ids": []},
        {"is_active": False},
        {"pin_to_version": "agentver_stored_long_ago"},
        {"config": {}},
    ],
)
def test_an_update_within_the_rules_is_sent_as_given(fields: dict[str, Any]) -> None:
    assert models.UpdateClientToken(**fields).body() == in_camel_case(fields)


def in_camel_case(fields: dict[str, Any]) -> dict[str, Any]:
    return {re.sub("_(.)", lambda letter: letter[1].upper(), name): value for name, value in fields.items()}


def test_bodies_are_in_camel_case_and_hold_no_default_that_was_not_given() -> None:
    request = models.CreateClientToken(**MINIMAL | {"default_flow_id": None, "rate_limit_per_hour": 100})
    assert request.body() == {
        "name": "Shop",
        "allowedOrigins": ["https://shop.example"],
        "agentIds": ["agent_1"],
        "defaultFlowId": None,
        "rateLimitPerHour": 100,
    }


def test_a_refused_request_does_not_repeat_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        models.UpdateClientToken.model_validate({"name": [VALUE], "config": VALUE, "agent_ids": [{"x": VALUE}]})
    assert VALUE not in str(caught.value)


def answered(**differs: Any) -> models.ClientToken:
    return parsed(
        "GET", models.GotClientToken, json.dumps({"clientToken": TOKEN | differs, "new": 1}).encode()
    ).client_token


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in TOKEN.items() if name not in names}


@pytest.mark.parametrize(
    "differs",
    [
        {"addedLater": {"deep": [1, None]}, "status": "new"},
        {"name": None},
        {"environment": "staging"},
        {"flowIds": [], "agentIds": [], "defaultFlowId": None},
        {"tokenHint": None, "tokenValue": None, "config": None},
        dict.fromkeys(["rateLimitPerMinute", "rateLimitPerHour", "maxMessagesPerSession", "sessionIdleTimeoutMinutes"]),
        {"rateLimitPerMinute": 10.0},
        {"pinToVersion": "v1.2.3"},
        {"name": "half a pair: \ud83d", "config": {"\ude00": "\ud83e\udd50"}},
    ],
)
def test_a_token_may_differ_from_what_we_know(differs: dict[str, Any]) -> None:
    token = answered(**differs)
    assert (token.id, token.allowed_origins) == (ID, ["https://shop.example"])


@pytest.mark.parametrize("absent", [*sorted(TOKEN.keys() - REDUCED), "targetAlias", "tokenHint", "defaultFlowId"])
def test_a_token_may_lack_what_only_some_versions_send(absent: str) -> None:
    assert models.ClientToken.model_validate(without(absent)).id == ID


@pytest.mark.parametrize(
    "absent", ["id", "name", "flowIds", "agentIds", "allowedOrigins", "environment", "isActive", "createdAt"]
)
def test_a_token_without_a_fact_that_decisions_need_is_not_guessed(absent: str) -> None:
    with pytest.raises(ValidationError, match=absent):
        models.ClientToken.model_validate(without(absent))


def test_conversations_tell_what_they_know() -> None:
    nulls = dict.fromkeys(["name", "firstMessage", "flowId", "origin", "messageCount"])
    odd = {"flowId": ["flow_1"], "origin": {"url": 1}, "messageCount": "3"}
    conversations = [CONVERSATION, CONVERSATION | nulls, CONVERSATION | odd]
    page = models.ConversationPage.model_validate({"conversations": conversations})
    assert [item.message_count for item in page.conversations] == [None, None, "3"]
    assert page.pagination is None


@pytest.mark.parametrize("beside", [{}, {"token": None}, {"token": ""}])
def test_a_value_may_stand_only_inside_the_token(beside: dict[str, Any]) -> None:
    made = models.ClientTokenWithValue.model_validate({"clientToken": TOKEN | {"tokenValue": VALUE}, **beside})
    assert (made.value, made.warnings) == (VALUE, [])


def test_the_value_beside_the_token_comes_before_the_one_inside_and_no_repr_keeps_it() -> None:
    reduced = without(*TOKEN.keys() - REDUCED) | {"tokenValue": "ct_live_flow01k7_old"}
    made = models.ClientTokenWithValue.model_validate({"clientToken": reduced, "token": VALUE, "message": "Done"})
    assert (made.value, made.client_token.config) == (VALUE, None)
    assert not re.search(f"{VALUE}|ct_live_flow01k7_old", f"{made!r} {made.client_token.model_dump_json()}")


@pytest.mark.parametrize(
    ("warnings", "said"),
    [
        (None, []),
        ({"type": "x"}, []),
        (["Any website!", 3, None], ["Any website!", "", ""]),
        ([{"message": None, "type": 1}], [""]),
    ],
    ids=str,
)
def test_warnings_of_another_shape_do_not_make_an_answer_unreadable(warnings: Any, said: list[str]) -> None:
    updated = models.UpdatedClientToken.model_validate({"clientToken": TOKEN, "warnings": warnings})
    assert [warning.message for warning in updated.warnings] == said


def test_warnings_are_passed_on_word_for_word() -> None:
    warnings = [{"type": "wildcard_origin", "message": "Any website!", "severity": 9}, {"type": "new"}, {}]
    updated = models.UpdatedClientToken.model_validate({"clientToken": TOKEN, "warnings": warnings})
    said = [(warning.type, warning.message) for warning in updated.warnings]
    assert said == [("wildcard_origin", "Any website!"), ("new", ""), ("", "")]


@pytest.mark.parametrize("environment", ["live", "staging", "", "Test"])
def test_what_is_not_test_counts_as_live(environment: str) -> None:
    assert models.ClientToken.model_validate(TOKEN | {"environment": environment}).is_live
    assert not models.ClientToken.model_validate(TOKEN | {"environment": "test"}).is_live


@pytest.mark.parametrize(("name", "shown"), [("Shop", "Shop"), (None, ID), ("", ID)])
def test_a_token_without_a_name_is_confirmed_by_its_id(name: str | None, shown: str) -> None:
    assert models.ClientToken.model_validate(TOKEN | {"name": name}).display_name == shown


def test_settings_with_a_number_that_is_none_equal_themselves() -> None:
    """Somebody stored NaN; a token that never equals itself could not be changed any more."""
    body = json.dumps({"clientToken": TOKEN | {"config": {"x": float("nan")}}}).encode()
    first, second = (parsed("GET", models.GotClientToken, body).client_token.settings() for _ in range(2))
    assert first == second


def test_settings_leave_out_what_changes_by_itself() -> None:
    used = {"lastUsedAt": "2026-11-24T00:00:00Z", "conversationCount": 9, "updatedAt": "2026-11-24T00:00:00Z"}
    before, after, renamed = (models.ClientToken.model_validate(TOKEN | more) for more in ({}, used, {"name": "New"}))
    assert before.settings() == after.settings()
    assert before.settings() != renamed.settings()
