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


def let_in(effects: list[tuple[str, str]], *entries: str) -> list[tuple[Json, list[tuple[str, str]]]]:
    """The updates that add one of `entries` each, with the effects that each has."""
    return [({"allowed_origins": [SITE, entry]}, effects) for entry in entries]


OUTAGE, SLOW = ("outage", "high"), ("outage", "medium")
EXPOSED, WIDER = ("exposure", "high"), ("exposure", "medium")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Outages.
        ({"is_active": False}, [OUTAGE]),
        ({"allowed_origins": [OTHER]}, [OUTAGE]),
        ({"agent_ids": ["agent_1"]}, [OUTAGE]),
        ({"flow_ids": ["flow_2"]}, [OUTAGE]),
        *(({field: 9}, [SLOW]) for field in LIMITS),
        ({"target_alias": "pr-482"}, [SLOW]),
        ({"target_alias": "LIVE"}, [SLOW]),
        # Exposures.
        *let_in([EXPOSED], "*", "native", "https://*.vercel.app"),
        *let_in([WIDER], "https://*.shop.example", "http://shop.example", "capacitor://localhost", "x://y"),
        *let_in([WIDER], "http://localhost:3000", "https://[::ffff:7f00:1]"),
        *let_in([EXPOSED, WIDER], "http://*.co.uk"),
        *let_in([WIDER, WIDER], "http://*.shop.example"),
        *(({field: 11}, [WIDER]) for field in LIMITS),
        ({"agent_ids": ["agent_1", "agent_2", "agent_3"]}, [WIDER]),
        ({"flow_ids": ["flow_1", "flow_2", "flow_3"]}, [WIDER]),
        ({"config": {"deep": [{"er": f"Bearer {SECRET}"}]}}, [EXPOSED]),
        # Both.
        ({"allowed_origins": ["*"]}, [EXPOSED]),
        ({"allowed_origins": ["native"]}, [OUTAGE, EXPOSED]),
        ({"allowed_origins": ["https://*.shop.example"]}, [OUTAGE, WIDER]),
        ({"allowed_origins": [SITE, "https://*.shop.example", "*"]}, [EXPOSED, WIDER]),
        ({"agent_ids": ["agent_3"], "rate_limit_per_hour": 9}, [OUTAGE, SLOW, WIDER]),
        ({"is_active": False, "allowed_origins": [SITE, "*"]}, [OUTAGE, EXPOSED]),
        # Neither.
        ({}, []),
        *let_in([], OTHER, "https://other.example:8443"),
        *(({"target_alias": "live"}, []), ({"target_version_id": "v1"}, []), ({"default_flow_id": "flow_1"}, [])),
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
        ({"is_active": False}, {"allowed_origins": [OTHER]}, []),
        ({"is_active": False}, {"agent_ids": ["agent_1"], "rate_limit_per_hour": 1}, []),
        ({"is_active": False}, {"allowed_origins": ["*"]}, [EXPOSED]),
        ({"is_active": False}, {"is_active": True}, [WIDER]),
        # Test tokens are for building.
        *(({"environment": "test"}, change, none) for change, none in let_in([], "app://x", "http://localhost:3000")),
        ({"environment": "test"}, {"allowed_origins": [SITE, "http://shop.example"], "target_alias": "pr-482"}, []),
        ({"environment": "test"}, {"allowed_origins": [SITE, "*"], "is_active": False}, [OUTAGE, EXPOSED]),
        # An environment that nobody knows yet counts as live.
        ({"environment": "staging"}, {"allowed_origins": [SITE, "http://localhost:3000"]}, [WIDER]),
        # A secret that stands there already is not put there.
        ({"config": {"key": SECRET}}, {"config": {"key": SECRET, "theme": "dark"}}, []),
        ({"config": {"key": SECRET}}, {"config": {"other": SECRET}}, [EXPOSED]),
        ({"config": None}, {"config": {"key": SECRET}}, [EXPOSED]),
        # Older API versions leave limits out: what is not known may rise.
        ({"rate_limit_per_hour": None}, {"rate_limit_per_hour": 5}, [WIDER]),
        # What a live token runs.
        ({"target_alias": "pr-482"}, {"target_alias": "live"}, []),
        ({"target_alias": "live"}, {"target_alias": "live", "target_version_id": None}, []),
        ({"target_alias": "live"}, {"target_alias": None}, [SLOW]),
        ({"target_alias": "live"}, {"target_alias": "pr-482"}, [SLOW, SLOW]),
        ({"target_alias": "live"}, {"target_version_id": "agentver_1"}, [SLOW, SLOW]),
        ({"target_alias": "live"}, {"target_alias": None, "target_version_id": "agentver_1"}, [SLOW, SLOW]),
        ({"target_version_id": "agentver_1"}, {"target_version_id": "agentver_2"}, [SLOW, SLOW]),
        ({"target_version_id": "agentver_1"}, {"target_version_id": None}, [SLOW]),
        ({"target_version_id": "agentver_1"}, {"target_alias": "live"}, [SLOW]),
        ({"target_version_id": "agentver_1"}, {"target_alias": "pr-1", "target_version_id": None}, [SLOW, SLOW]),
        ({"default_flow_id": "flow_1"}, {"default_flow_id": "flow_2"}, [SLOW]),
        ({"default_flow_id": "flow_1"}, {"default_flow_id": None}, [SLOW]),
        ({"default_flow_id": "flow_1", "environment": "test"}, {"default_flow_id": "flow_2"}, []),
        ({"target_alias": "live", "environment": "test"}, {"target_alias": None}, []),
        ({"target_alias": "live", "is_active": False}, {"target_alias": None}, []),
        # What comes with a deactivation or an activation is told too.
        ({}, {"is_active": False, "allowed_origins": [OTHER], "agent_ids": ["agent_1"]}, [OUTAGE, OUTAGE, OUTAGE]),
        ({"is_active": False}, {"is_active": True, "target_alias": "pr-1", "flow_ids": []}, [OUTAGE, SLOW, WIDER]),
        ({"is_active": False}, {"is_active": False, "target_alias": "pr-1", "flow_ids": []}, []),
    ],
    ids=str,
)
def test_the_effects_of_an_update_depend_on_the_token(
    before: Json, change: Json, expected: list[tuple[str, str]]
) -> None:
    assert found(effects.updating(token(**before), change)) == expected


@pytest.mark.parametrize(
    ("allowed_origins", "environment", "config", "alias", "expected"),
    [
        ([SITE], "live", {}, "live", []),
        ([SITE], "test", {"theme": "dark"}, None, []),
        ([SITE, "https://*.shop.example", "native", "*"], "live", {}, None, [EXPOSED, EXPOSED, WIDER]),
        (["http://shop.example"], "live", {}, None, [WIDER]),
        (["http://shop.example", "http://localhost:3000"], "test", {}, "pr-482", []),
        ([SITE], "live", {}, "pr-482", [SLOW]),
        ([SITE], "test", {"key": SECRET}, None, [EXPOSED]),
    ],
    ids=str,
)
def test_the_effects_of_a_create(
    allowed_origins: list[str], environment: str, config: Json, alias: str | None, expected: list[tuple[str, str]]
) -> None:
    assert found(effects.creating(allowed_origins, environment, config, alias)) == expected


def test_a_preview_alias_on_a_live_token_reads_the_same_on_create_and_on_update() -> None:
    change = {"target_alias": "pr-482"}
    assert effects.creating([SITE], "live", {}, "pr-482") == effects.updating(token(), change)


def test_a_delete_and_a_new_value_are_outages() -> None:
    assert found([*effects.deleting(token()), *effects.regenerating(token())]) == [OUTAGE, OUTAGE]


@pytest.mark.parametrize(
    ("allowed_origins", "who"),
    [
        ([SITE], "page"),
        (["*"], "page"),
        (["native"], "app"),
        (["capacitor://localhost"], "app"),
        ([SITE, "native"], "page and app"),
        (["capacitor://localhost", "*"], "page and app"),
        ([], "page"),
    ],
    ids=str,
)
def test_a_sentence_speaks_of_pages_or_apps_as_the_origins_of_the_token_do(
    allowed_origins: list[str], who: str
) -> None:
    before = token(allowed_origins=allowed_origins, default_flow_id="flow_1", target_alias="live")
    off, alias = effects.updating(before, {"is_active": False}), effects.updating(before, {"target_version_id": "v"})
    for effect in (*effects.deleting(before), *effects.regenerating(before), *off):
        assert effect.sentence.startswith(f"Every {who} that embeds "), effect.sentence
    changed = [*effects.updating(before, {"agent_ids": [], "flow_ids": [], "default_flow_id": None}), *alias]
    for effect in (effect for effect in changed if effect.kind == "outage"):
        plural = who.replace("page", "pages").replace("app", "apps").capitalize()
        assert effect.sentence.startswith(f"{plural} "), effect.sentence


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (OTHER, f"Pages on {OTHER} stop working."),
        ("native", "Apps, and whatever else sends no Origin header, stop working ('native' is removed)."),
        ("capacitor://localhost", "Apps with the origin capacitor://localhost stop working."),
        ("*", "Pages on every site that the new list does not name stop working."),
    ],
)
def test_an_origin_that_is_removed_is_told_as_what_it_let_in(entry: str, said: str) -> None:
    (effect,) = effects.updating(token(allowed_origins=[SITE, entry]), {"allowed_origins": [SITE]})
    assert effect.sentence == said


def test_an_entry_is_not_cut_while_a_question_could_still_show_it() -> None:
    entry = "https://" + "a" * 7000
    assert entry in effects.updating(token(allowed_origins=[entry]), {"allowed_origins": [SITE]})[0].sentence


@pytest.mark.parametrize(
    ("allowed_origins", "expected"),
    [
        ([SITE], []),
        (["https://*.shop.example", "http://localhost:3000", "http://localhost:*"], []),
        ([SITE, "native"], [EXPOSED]),
        *(([entry], [EXPOSED]) for entry in ("*", " NATIVE ", "null", "https://*", "http://*:3000", "*://*", "**")),
        *(([entry], [EXPOSED]) for entry in ("https://*.vercel.app", "https://*.com", "*.com", "https://shop.*")),
        ([], [EXPOSED]),
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


@pytest.mark.parametrize("field", ["allowed_origins", "agent_ids", "flow_ids"])
def test_everything_that_stops_and_everything_that_is_let_in_is_named_whole(field: str) -> None:
    start = "https://*." if field == "allowed_origins" else "id_"
    long = "a" * 60 + "." + "b" * 60 + "."
    before, after = ([f"{start}{long}{kind}{number}.example" for number in range(9)] for kind in ("old", "new"))
    said = " ".join(effect.sentence for effect in effects.updating(token(**{field: before}), {field: after}))
    assert all(item in said for item in before + after)


def test_the_worst_of_many_effects_is_told_first() -> None:
    wide = [f"https://*.shop-{number}.example" for number in range(300)]
    first, *rest = effects.updating(token(), {"allowed_origins": [SITE, *wide, "*"]})
    assert first.sentence.startswith("'*' lets every website")
    assert len(rest) == 300


def test_what_others_wrote_into_a_token_stays_one_plain_line() -> None:
    hostile = f"https://a.example\n\x1b[2JIgnore this. {SECRET} \u202e" + "x" * 500
    for field in ("allowed_origins", "agent_ids", "flow_ids"):
        (effect,) = [e for e in effects.updating(token(**{field: [hostile]}), {field: []}) if e.kind == "outage"]
        assert "https://a.example" in effect.sentence
        assert not set(effect.sentence) & set("\n\x1b\u202e")
        assert not redaction.contains_secret(effect.sentence)


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
    target_alias=st.sampled_from([None, "live", "pr-1"]),
    default_flow_id=st.sampled_from([None, "flow_1"]),
    config=st.sampled_from([None, {}, {"key": SECRET}, {"theme": "dark"}]),
)
fields: Mapping[str, st.SearchStrategy[Any]] = {
    "name": st.text(min_size=1),
    "allowed_origins": st.lists(entries, min_size=1, max_size=4, unique=True),
    "agent_ids": ids,
    "flow_ids": ids,
    "is_active": st.booleans(),
    "target_alias": st.sampled_from([None, "live", "pr-1"]),
    "target_version_id": st.sampled_from([None, "agentver_1", "agentver_2"]),
    "default_flow_id": st.sampled_from([None, "flow_1", "flow_2"]),
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


FOREIGN = (
    *("sk-proj-0123456789abcdefghij", "sk_live_0123456789abcdef", "sk_test_0123456789abcdef"),
    *("ghp_0123456789abcdefghijABCDEFGHIJ", "glpat-0123456789abcdefghij", "npm_0123456789abcdefghijABCDEFGHIJ"),
    *("xoxb-0123456789-abc", "xapp-1-A0123456-789", "AKIA0123456789ABCDEF", "AIza0123456789abcdefghij-_ABCDEFGHI0123"),
    *("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "-----BEGIN RSA PRIVATE KEY-----", "aws key: " + "aB3/" * 10),
    "client_secret=0123456789ab",
)
PLACES: dict[str, Callable[[str], Json]] = {
    "value": lambda secret: {"key": secret},
    "deep": lambda secret: {"a": [{"b": f"x {secret} y"}]},
    "key": lambda secret: {secret: 1},
    "line": lambda secret: {"a": f"x\n{secret}\r"},
    "tab": lambda secret: {"a": f"x\t{secret}"},
    "escaped line": lambda secret: {"a": f"x\\n{secret}"},
    "broken": lambda secret: {"a": f"{secret[:9]}\u200b{secret[9:]}"},
}


@pytest.mark.parametrize("secret", FOREIGN)
@pytest.mark.parametrize("place", PLACES)
def test_another_services_key_in_a_config_is_an_exposure(secret: str, place: str) -> None:
    (effect,) = effects.creating([SITE], "test", PLACES[place](secret))
    assert (effect.kind, effect.severity) == EXPOSED
    assert secret not in effect.sentence


@pytest.mark.parametrize(
    "config",
    [
        {"aws": {"key": "aB3/" * 10}},
        {"aws_secret_access_key": "aB3/" * 10},
        [{"name": "AWS_SECRET", "value": "aB3/" * 10}],
        {"password": "hunter2hunter2"},
        {"clientSecret": "0123456789ab"},
    ],
    ids=str,
)
def test_a_value_that_its_name_calls_secret_is_an_exposure(config: object) -> None:
    assert found(effects.creating([SITE], "test", {"deep": config})) == [EXPOSED]


def test_the_callers_own_key_in_a_config_is_an_exposure_whatever_it_looks_like() -> None:
    key = "Zk3.qP9x~Wv5tR7uY1oI0pA2s"
    redactor, config = redaction.Redactor([key]), {"a": [f"x\t{key[:9]}\n{key[9:]}"]}
    assert effects.holds_secret(config, redactor)
    assert not effects.holds_secret(config)
    assert found(effects.creating([SITE], "live", config, redactor=redactor)) == [EXPOSED]
    assert found(effects.updating(token(), {"config": config}, redactor)) == [EXPOSED]


@pytest.mark.parametrize(
    "text",
    [
        *("sk-", "Ask us: task-force-of-the-whole-team", "risk_live_and_learn_today", "AKIA", "#ffcc00", "eyJ.eyJ.x"),
        *("The secret: made by hand since 1899", "passwordPlaceholder: 123456789012", "aws " + "a/b1" * 20),
    ],
)
def test_ordinary_words_in_a_config_are_not_a_secret(text: str) -> None:
    assert effects.creating([SITE], "test", {"placeholder": text}) == []


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
def test_effects_are_single_lines_without_a_secret_and_the_worst_first(before: ClientToken, change: Json) -> None:
    said = effects.updating(before, change)
    for effect in said:
        assert effect.sentence.endswith(".")
        assert effect.sentence.isprintable()
        assert not redaction.contains_secret(effect.sentence)
    order = [OUTAGE, EXPOSED, SLOW, WIDER]
    assert found(said) == sorted(found(said), key=order.index)
