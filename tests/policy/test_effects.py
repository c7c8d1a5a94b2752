"""What a change would break or expose: a table, and what holds for every change."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtype_mcp.api.models import LIMITS, ClientToken
from runtype_mcp.policy import effects, redaction
from runtype_mcp.policy.effects import Effect

Json = dict[str, Any]

SITE, OTHER = "https://shop.example", "https://www.shop.example"
SECRET = "rt_live_" + "0a1b2c3d" * 4


def token(**fields: Any) -> ClientToken:
    plain: Json = {
        "id": "ct_1",
        "name": "Shop",
        "flow_ids": ["flow_1", "flow_2"],
        "agent_ids": ["agent_1", "agent_2"],
        "allowed_origins": [SITE],
        "environment": "live",
        "is_active": True,
        "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
        "config": {"welcomeMessage": "Hi"},
        **dict.fromkeys(LIMITS, 10),
    }
    return ClientToken(**plain | fields)


def found(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(effect.kind, effect.severity) for effect in effects]


OUTAGE, SLOW = ("outage", "high"), ("outage", "medium")
EXPOSED, WIDER = ("exposure", "high"), ("exposure", "medium")


def test_deleting_and_regenerating_stop_pages() -> None:
    assert found(effects.deleting()) == [OUTAGE]
    assert found(effects.regenerating()) == [OUTAGE]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Outages.
        ({"is_active": False}, [OUTAGE]),
        ({"allowed_origins": [OTHER]}, [OUTAGE]),
        ({"agent_ids": ["agent_1"]}, [OUTAGE]),
        ({"agent_ids": []}, [OUTAGE]),
        ({"flow_ids": ["flow_2"]}, [OUTAGE]),
        ({"rate_limit_per_minute": 9}, [SLOW]),
        ({"rate_limit_per_hour": 1}, [SLOW]),
        ({"max_messages_per_session": 9}, [SLOW]),
        ({"session_idle_timeout_minutes": 9}, [SLOW]),
        ({"target_alias": "pr-482"}, [SLOW]),
        # Exposures.
        ({"allowed_origins": [SITE, "*"]}, [EXPOSED]),
        ({"allowed_origins": [SITE, "native"]}, [EXPOSED]),
        ({"allowed_origins": [SITE, "https://*.shop.example"]}, [WIDER]),
        ({"allowed_origins": [SITE, "http://other.example"]}, [WIDER]),
        ({"allowed_origins": [SITE, "http://localhost:3000"]}, [WIDER]),
        ({"allowed_origins": [SITE, "https://localhost"]}, [WIDER]),
        ({"allowed_origins": [SITE, "http://127.0.0.1:8080"]}, [WIDER]),
        ({"allowed_origins": [SITE, "http://*.shop.example"]}, [WIDER, WIDER]),
        ({"rate_limit_per_minute": 11}, [WIDER]),
        ({"rate_limit_per_hour": 1000}, [WIDER]),
        ({"max_messages_per_session": 11}, [WIDER]),
        ({"session_idle_timeout_minutes": 11}, [WIDER]),
        ({"agent_ids": ["agent_1", "agent_2", "agent_3"]}, [WIDER]),
        ({"flow_ids": ["flow_1", "flow_2", "flow_3"]}, [WIDER]),
        ({"config": {"welcomeMessage": SECRET}}, [EXPOSED]),
        ({"config": {"deep": [{"er": f"Bearer {SECRET}"}]}}, [EXPOSED]),
        # Both.
        ({"allowed_origins": ["*"]}, [EXPOSED]),
        ({"allowed_origins": ["native"]}, [EXPOSED, OUTAGE]),
        ({"allowed_origins": ["https://*.shop.example"]}, [WIDER, OUTAGE]),
        ({"agent_ids": ["agent_3"]}, [WIDER, OUTAGE]),
        ({"is_active": False, "allowed_origins": [SITE, "*"]}, [OUTAGE, EXPOSED]),
        # Neither.
        ({}, []),
        ({"name": "Another"}, []),
        ({"allowed_origins": [SITE, OTHER]}, []),
        ({"allowed_origins": [SITE, "https://other.example:8443"]}, []),
        ({"allowed_origins": [SITE, "capacitor://localhost"]}, []),
        ({"allowed_origins": [SITE, SITE]}, []),
        ({"is_active": True}, []),
        ({"agent_ids": ["agent_2", "agent_1"]}, []),
        ({"config": {"welcomeMessage": "Hello"}}, []),
        ({"config": {}}, []),
        ({"rate_limit_per_minute": 10}, []),
        ({"target_alias": "live"}, []),
        ({"target_alias": None}, []),
        ({"target_version_id": "agentver_1"}, []),
        ({"default_flow_id": None}, []),
    ],
    ids=str,
)
def test_the_effects_of_an_update_of_a_live_active_token(change: Json, expected: list[tuple[str, str]]) -> None:
    assert found(effects.updating(token(), change)) == expected


@pytest.mark.parametrize(
    ("before", "change", "expected"),
    [
        # What was open already is not opened.
        ({"allowed_origins": ["*"]}, {"allowed_origins": ["*", SITE]}, []),
        ({"allowed_origins": ["*"]}, {"allowed_origins": ["*", "http://shop.example"]}, []),
        ({"allowed_origins": ["*"]}, {"allowed_origins": ["*", "native"]}, [EXPOSED]),
        ({"allowed_origins": [SITE, "native"]}, {"allowed_origins": ["native", SITE]}, []),
        ({"allowed_origins": ["https://*.a.example"]}, {"allowed_origins": ["https://*.b.a.example"]}, [OUTAGE]),
        ({"allowed_origins": ["https://*.b.a.example"]}, {"allowed_origins": ["https://*.a.example"]}, [WIDER]),
        # Closing what was open stops whoever came through there.
        ({"allowed_origins": ["*"]}, {"allowed_origins": [SITE]}, [OUTAGE]),
        ({"allowed_origins": [SITE, "native"]}, {"allowed_origins": [SITE]}, [OUTAGE]),
        # The same entry in another spelling is the same entry.
        ({"allowed_origins": ["https://Shop.example:443/"]}, {"allowed_origins": [SITE]}, []),
        # An inactive token serves nobody, so nothing breaks; it can still be opened.
        ({"is_active": False}, {"is_active": False}, []),
        ({"is_active": False}, {"allowed_origins": [OTHER]}, []),
        ({"is_active": False}, {"agent_ids": ["agent_1"], "rate_limit_per_hour": 1}, []),
        ({"is_active": False}, {"allowed_origins": ["*"]}, [EXPOSED]),
        ({"is_active": False}, {"is_active": True}, [WIDER]),
        # Test tokens are for building.
        ({"environment": "test"}, {"allowed_origins": [SITE, "http://localhost:3000"]}, []),
        ({"environment": "test"}, {"allowed_origins": [SITE, "http://shop.example"]}, []),
        ({"environment": "test"}, {"target_alias": "pr-482"}, []),
        ({"environment": "test"}, {"allowed_origins": [SITE, "*"]}, [EXPOSED]),
        ({"environment": "test"}, {"is_active": False}, [OUTAGE]),
        # An environment that nobody knows yet counts as live.
        ({"environment": "staging"}, {"allowed_origins": [SITE, "http://localhost:3000"]}, [WIDER]),
        # A secret that stands there already is not put there.
        ({"config": {"key": SECRET}}, {"config": {"key": SECRET, "theme": "dark"}}, []),
        ({"config": {"key": SECRET}}, {"config": {"other": SECRET}}, [EXPOSED]),
        ({"config": None}, {"config": {"key": SECRET}}, [EXPOSED]),
        # Older API versions leave limits out: what is not known may rise.
        ({"rate_limit_per_hour": None}, {"rate_limit_per_hour": 5}, [WIDER]),
        ({"target_alias": "pr-482"}, {"target_alias": "pr-482"}, []),
    ],
    ids=str,
)
def test_the_effects_of_an_update_depend_on_the_token(
    before: Json, change: Json, expected: list[tuple[str, str]]
) -> None:
    assert found(effects.updating(token(**before), change)) == expected


@pytest.mark.parametrize(
    ("allowed_origins", "environment", "config", "expected"),
    [
        ([SITE], "live", {}, []),
        ([SITE], "test", {"theme": "dark"}, []),
        (["*"], "test", {}, [EXPOSED]),
        (["native"], "test", {}, [EXPOSED]),
        ([SITE, "*", "native"], "live", {}, [EXPOSED, EXPOSED]),
        (["https://*.shop.example"], "test", {}, [WIDER]),
        (["http://shop.example"], "live", {}, [WIDER]),
        (["http://shop.example"], "test", {}, []),
        (["http://localhost:3000"], "live", {}, [WIDER]),
        (["http://localhost:3000"], "test", {}, []),
        ([SITE], "test", {"key": SECRET}, [EXPOSED]),
    ],
    ids=str,
)
def test_the_effects_of_a_create(
    allowed_origins: list[str], environment: str, config: Json, expected: list[tuple[str, str]]
) -> None:
    assert found(effects.creating(allowed_origins, environment, config)) == expected


@pytest.mark.parametrize(
    ("allowed_origins", "expected"),
    [
        ([SITE], []),
        (["https://*.shop.example"], []),
        (["http://localhost:3000"], []),
        (["*"], [EXPOSED]),
        ([SITE, "native"], [EXPOSED]),
        ([" NATIVE "], [EXPOSED]),
        ([], []),
    ],
    ids=str,
)
def test_showing_a_value_exposes_it_where_no_origin_protects_it(
    allowed_origins: list[str], expected: list[tuple[str, str]]
) -> None:
    assert found(effects.showing_value(token(allowed_origins=allowed_origins))) == expected


def test_a_sentence_names_what_stops_and_what_is_gained() -> None:
    change = {"allowed_origins": [OTHER], "agent_ids": ["agent_1", "agent_3"], "rate_limit_per_hour": 5}
    said = " ".join(effect.sentence for effect in effects.updating(token(), change))
    for fact in (SITE, "agent_2", "agent_3", "10", "5", "rate limit per hour"):
        assert fact in said
    assert OTHER not in said


def test_a_long_list_is_cut_and_counted() -> None:
    many = [f"https://shop-{number}.example" for number in range(40)]
    (effect,) = effects.updating(token(allowed_origins=many), {"allowed_origins": many[:1]})
    assert "and 34 more" in effect.sentence
    assert len(effect.sentence) < 300


def test_what_others_wrote_into_a_token_stays_one_plain_line() -> None:
    hostile = f"https://a.example\n\x1b[2JIgnore this. {SECRET} \u202e" + "x" * 500
    for field in ("allowed_origins", "agent_ids", "flow_ids"):
        (effect,) = [e for e in effects.updating(token(**{field: [hostile]}), {field: []}) if e.kind == "outage"]
        assert "https://a.example" in effect.sentence
        assert not set(effect.sentence) & set("\n\x1b\u202e")
        assert not redaction.contains_secret(effect.sentence)
        assert len(effect.sentence) < 200


# For every change.

modest = settings(max_examples=100, deadline=None)

labels = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)
exact = st.builds("https://{}.{}.example".format, labels, labels)
wild = st.builds("https://*.{}.example".format, labels)
entries = st.one_of(exact, wild, st.sampled_from(["*", "native", "http://localhost:3000", "http://plain.example"]))
ids = st.lists(st.sampled_from([f"agent_{number}" for number in range(6)]), unique=True)
numbers = st.integers(1, 1000)
tokens = st.builds(
    token,
    environment=st.sampled_from(["live", "test", "staging"]),
    is_active=st.booleans(),
    allowed_origins=st.lists(entries, min_size=1, max_size=4, unique=True),
    agent_ids=ids,
    flow_ids=ids,
    rate_limit_per_minute=numbers,
    rate_limit_per_hour=numbers,
    config=st.sampled_from([None, {}, {"key": SECRET}, {"theme": "dark"}]),
)
fields: Mapping[str, st.SearchStrategy[Any]] = {
    "name": st.text(min_size=1),
    "allowed_origins": st.lists(entries, min_size=1, max_size=4, unique=True),
    "agent_ids": ids,
    "flow_ids": ids,
    "is_active": st.booleans(),
    "target_alias": st.sampled_from([None, "live", "pr-1"]),
    "config": st.sampled_from([{}, {"key": SECRET}, {"theme": "light"}]),
    **dict.fromkeys(LIMITS, numbers),
}
changes = st.fixed_dictionaries({}, optional=dict(fields))


@modest
@given(tokens, st.text(min_size=1), st.lists(exact, max_size=3), st.dictionaries(labels, st.text()))
def test_a_rename_new_exact_https_origins_and_texts_have_no_effect(
    before: ClientToken, name: str, new: list[str], texts: dict[str, str]
) -> None:
    texts = {key: text for key, text in texts.items() if not redaction.contains_secret(text)}
    change = {"name": name, "allowed_origins": [*before.allowed_origins, *new], "config": texts}
    assert effects.updating(before, change) == []


def test_what_comes_with_a_deactivation_is_told_too() -> None:
    change = {"is_active": False, "allowed_origins": [OTHER], "agent_ids": ["agent_1"]}
    assert found(effects.updating(token(), change)) == [OUTAGE, OUTAGE, OUTAGE]


def test_what_comes_with_an_activation_is_told_too() -> None:
    change = {"is_active": True, "target_alias": "pr-482", "flow_ids": ["flow_1"]}
    assert found(effects.updating(token(is_active=False), change)) == [WIDER, OUTAGE, SLOW]
    assert effects.updating(token(is_active=False), change | {"is_active": False}) == []


def test_a_cleared_default_flow_may_stop_pages() -> None:
    assert found(effects.updating(token(default_flow_id="flow_1"), {"default_flow_id": None})) == [SLOW]
    assert effects.updating(token(default_flow_id="flow_1"), {"default_flow_id": "flow_2"}) == []


FOREIGN = (
    "sk-proj-0123456789abcdefghij",
    "sk_live_0123456789abcdef",
    "ghp_0123456789abcdefghijABCDEFGHIJ",
    "xoxb-0123456789-abc",
    "AKIA0123456789ABCDEF",
    "-----BEGIN RSA PRIVATE KEY-----",
)


@pytest.mark.parametrize("secret", FOREIGN)
@pytest.mark.parametrize("config", [lambda s: {"key": s}, lambda s: {"a": [{"b": f"x {s} y"}]}, lambda s: {s: 1}])
def test_another_services_key_in_a_config_is_an_exposure(secret: str, config: Callable[[str], Json]) -> None:
    (effect,) = effects.creating(["https://shop.example"], "test", config(secret))
    assert (effect.kind, effect.severity) == ("exposure", "high")
    assert secret not in effect.sentence


@pytest.mark.parametrize(
    "text", ["sk-", "Ask us: task-force-of-the-whole-team", "risk_live_and_learn_today", "AKIA", "#ffcc00"]
)
def test_ordinary_words_in_a_config_are_no_secret(text: str) -> None:
    assert effects.creating(["https://shop.example"], "test", {"placeholder": text}) == []


@modest
@given(tokens)
def test_giving_a_token_the_settings_it_has_has_no_effect(before: ClientToken) -> None:
    same = {name: value for name, value in before.model_dump(include=set(fields)).items() if value is not None}
    assert effects.updating(before, same) == []


@modest
@given(tokens, changes, changes)
def test_a_larger_change_has_every_kind_of_effect_that_a_part_of_it_has(
    before: ClientToken, one: Json, more: Json
) -> None:
    part, whole = effects.updating(before, one), effects.updating(before, more | one)
    assert {effect.kind for effect in part} <= {effect.kind for effect in whole}
    assert set(part) <= set(whole)


@modest
@given(tokens, changes, entries)
def test_letting_one_more_origin_in_takes_no_exposure_away(before: ClientToken, change: Json, entry: str) -> None:
    wanted = change.get("allowed_origins", before.allowed_origins)
    part = effects.updating(before, change | {"allowed_origins": wanted})
    whole = effects.updating(before, change | {"allowed_origins": [*wanted, entry]})
    assert {e for e in part if e.kind == "exposure"} <= {e for e in whole if e.kind == "exposure"}


@modest
@given(tokens, changes)
def test_every_effect_is_one_short_line_without_a_secret(before: ClientToken, change: Json) -> None:
    for effect in effects.updating(before, change):
        assert effect.sentence.endswith(".")
        assert "\n" not in effect.sentence
        assert len(effect.sentence) < 700
        assert not redaction.contains_secret(effect.sentence)


@modest
@given(st.lists(entries, min_size=1, max_size=4, unique=True), st.sampled_from(["live", "test"]))
def test_creating_exposes_what_adding_to_an_empty_list_would(allowed_origins: list[str], environment: str) -> None:
    nothing = token(environment=environment, allowed_origins=[])
    change = {"allowed_origins": allowed_origins}
    made = effects.creating(list(dict.fromkeys(allowed_origins)), environment, {})
    assert set(made) == set(effects.updating(nothing, change))
