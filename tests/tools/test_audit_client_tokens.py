"""The security review: each rule both ways, then the whole of it over many tokens."""

from __future__ import annotations

import inspect
import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runtype_mcp.api.models import ClientToken
from runtype_mcp.sandbox.rules import DEFAULTS
from runtype_mcp.sandbox.seed import stamp
from runtype_mcp.sandbox.store import Record, digest, ulid
from runtype_mcp.tools.audit_client_tokens import FAR_ABOVE, GROUPED_FROM, MAX_FIX, RULES, YOUR_SITE, flaws
from runtype_mcp.tools.update_client_token import UpdateClientToken
from tests.support import AGENT, Api, mcp_client, seed_many, text_of
from tests.tools.checks import tokens

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECRET = "rt_live_0123456789abcdef0123456789abcdef"


def ago(days: float) -> str:
    return stamp(NOW - timedelta(days=days))


def wire(**fields: Any) -> dict[str, Any]:
    """A live token as the API sends it, in which there is nothing to find."""
    plain = {"id": "ct_01k7plain", "name": "Shop", "allowedOrigins": ["https://shop.example"], "agentIds": [AGENT]}
    times = {"createdAt": ago(10), "updatedAt": ago(10), "lastUsedAt": ago(1)}
    return DEFAULTS | plain | times | {"targetAlias": "live"} | fields


def rules(**fields: Any) -> list[tuple[str, str]]:
    return [(flaw.severity, flaw.rule) for flaw in flaws(ClientToken.model_validate(wire(**fields)), NOW)]


def test_a_plain_token_has_no_flaw() -> None:
    assert rules() == []


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"allowedOrigins": ["*"]}, ("high", "any_origin")),
        ({"allowedOrigins": ["https://a.example", "*"]}, ("high", "any_origin")),
        ({"allowedOrigins": ["native"]}, ("high", "no_origin")),
        ({"allowedOrigins": ["http://localhost:3000"]}, ("medium", "localhost")),
        ({"allowedOrigins": ["https://localhost"]}, ("medium", "localhost")),
        ({"allowedOrigins": ["http://127.0.0.1:8080"]}, ("medium", "localhost")),
        ({"allowedOrigins": ["http://[::1]:8080"]}, ("medium", "localhost")),
        ({"allowedOrigins": ["http://shop.example"]}, ("medium", "plain_http")),
        ({"config": {"apiKey": SECRET}}, ("high", "secret_in_config")),
        ({"config": {"a": [{"b": f"Bearer {SECRET}"}]}}, ("high", "secret_in_config")),
        ({"config": {SECRET: 1}}, ("high", "secret_in_config")),
        ({"config": {"apiKey": SECRET}, "environment": "test"}, ("high", "secret_in_config")),
        ({"targetAlias": "pr-482"}, ("medium", "preview_on_live")),
        ({"targetAlias": None}, ("low", "no_target")),
        ({"rateLimitPerMinute": 10 * FAR_ABOVE}, ("low", "high_limit")),
        ({"rateLimitPerHour": 100 * FAR_ABOVE}, ("low", "high_limit")),
        ({"maxMessagesPerSession": 100 * FAR_ABOVE}, ("low", "high_limit")),
        ({"isActive": False, "updatedAt": ago(91)}, ("low", "long_inactive")),
        ({"lastUsedAt": None, "createdAt": ago(91)}, ("medium", "never_used")),
        ({"lastUsedAt": ago(91)}, ("medium", "long_unused")),
        ({"lastUsedAt": ago(91), "environment": "test"}, ("medium", "long_unused")),
        ({"lastUsedAt": (NOW - timedelta(days=91)).replace(tzinfo=None).isoformat()}, ("medium", "long_unused")),
        # What is neither test nor live is something newer, and counts as live.
        ({"environment": "staging", "allowedOrigins": ["*"]}, ("high", "any_origin")),
    ],
    ids=str,
)
def test_a_flaw_is_found(fields: dict[str, Any], found: tuple[str, str]) -> None:
    assert rules(**fields) == [found]


@pytest.mark.parametrize(
    "fields",
    [
        {"allowedOrigins": ["*"], "environment": "test"},
        {"allowedOrigins": ["native"], "environment": "test"},
        {"allowedOrigins": ["http://localhost:3000"], "environment": "test"},
        {"allowedOrigins": ["http://shop.example"], "environment": "test"},
        {"allowedOrigins": ["https://localhost.example", "https://native.example"]},
        {"config": {"welcomeMessage": "Hi", "theme": {"primaryColor": "#0b6e4f"}}},
        {"config": {"note": "ask for your rt_live key"}},
        {"config": None},
        {"config": {}},
        {"targetAlias": "pr-482", "environment": "test"},
        {"targetAlias": None, "environment": "test"},
        {"targetAlias": None, "targetVersionId": "agentver_1"},
        {"targetAlias": None, "agentIds": [AGENT, "agent_2"]},
        {"targetAlias": None, "agentIds": [], "flowIds": ["flow_1"]},
        {"rateLimitPerMinute": 10 * FAR_ABOVE - 1},
        {"rateLimitPerHour": 100 * FAR_ABOVE - 1},
        {"maxMessagesPerSession": 100 * FAR_ABOVE - 1},
        {"rateLimitPerMinute": None, "rateLimitPerHour": None, "maxMessagesPerSession": None},
        {"sessionIdleTimeoutMinutes": 1440},
        {"isActive": False, "updatedAt": ago(89)},
        {"isActive": False, "updatedAt": ago(1), "lastUsedAt": ago(400)},
        {"isActive": False, "updatedAt": ago(1), "lastUsedAt": None, "createdAt": ago(400)},
        {"lastUsedAt": None, "createdAt": ago(89)},
        {"lastUsedAt": ago(90)},
        {"lastUsedAt": ago(89), "createdAt": ago(400)},
        {"lastUsedAt": "the day before yesterday"},
    ],
    ids=str,
)
def test_no_flaw_is_found(fields: dict[str, Any]) -> None:
    assert rules(**fields) == []


def test_a_token_can_have_several_flaws() -> None:
    found = rules(
        allowedOrigins=["*", "native", "http://localhost:3000", "http://shop.example"],
        config={"key": SECRET},
        targetAlias="pr-1",
        rateLimitPerHour=10_000,
        lastUsedAt=None,
        createdAt=ago(100),
    )
    assert [rule for _, rule in found] == [
        *("any_origin", "no_origin", "localhost", "plain_http", "preview_on_live"),
        *("secret_in_config", "high_limit", "never_used"),
    ]


# The tool


def record(label: str, **fields: Any) -> Record:
    """A token that was made and used today, with `fields`."""
    today = stamp(datetime.now(UTC))
    times = {"createdAt": today, "updatedAt": today, "lastUsedAt": today}
    return Record(wire(**{"id": f"ct_{ulid(digest(label))}", "name": label, **times, **fields}), None)


async def review(api: Api, era: str, arguments: dict[str, Any] | None = None, **environ: str) -> dict[str, Any]:
    async with mcp_client(api, era, None, **environ) as model:
        result = await model.call("audit_client_tokens", **(arguments or {}))
        assert not result.is_error, text_of(result)
        found: dict[str, Any] = result.structured_content or {}
        return found


def the_fix(finding: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The tool and the arguments that a finding proposes."""
    tool, _, arguments = finding["fix"].partition(" ")
    return tool, json.loads(arguments)


async def test_the_worst_come_first_and_the_counts_are_of_all(api: Api, era: str) -> None:
    api.store.put(
        record("low", targetAlias=None),
        record("medium", targetAlias="pr-1"),
        record("high", allowedOrigins=["*"]),
        record("none"),
        record("high too", allowedOrigins=["native"], targetAlias="pr-2"),
    )
    found = await review(api, era)
    assert [(finding["severity"], finding["name"]) for finding in found["findings"]] == [
        ("high", "high too"),
        ("high", "high"),
        ("medium", "high too"),
        ("medium", "medium"),
        ("low", "low"),
    ]
    counts = {name: found[name] for name in ("checked", "high", "medium", "low", "hasMore")}
    assert counts == {"checked": 5, "high": 2, "medium": 2, "low": 1, "hasMore": False}


async def test_nothing_to_find_is_said_so(api: Api, era: str) -> None:
    api.store.put(record("none"))
    nothing = {"findings": [], "high": 0, "medium": 0, "low": 0, "hasMore": False}
    assert await review(api, era) == nothing | {"checked": 1}


def many(api: Api) -> None:
    """180 findings of four rules. The mild ones are read first, so the worst must not be crowded out by them."""
    api.store.put(*(record(f"wide {number}", allowedOrigins=["*"]) for number in range(40)))
    api.store.put(*(record(f"app {number}", allowedOrigins=["native"]) for number in range(GROUPED_FROM - 1)))
    api.store.put(*(record(f"unused {number}", lastUsedAt=ago(900)) for number in range(50)))
    api.store.put(*(record(f"mild {number}", targetAlias=None) for number in range(87)))


async def test_many_findings_of_a_rule_are_one_entry_with_the_count_the_first_ids_and_the_call_for_the_rest(
    api: Api, era: str
) -> None:
    many(api)
    found = await review(api, era)
    assert [(entry["rule"], entry.get("count")) for entry in found["findings"]] == [
        *[("no_origin", None)] * 3,
        ("any_origin", 40),
        ("long_unused", 50),
        ("no_target", 87),
    ]
    assert {name: found[name] for name in ("checked", "high", "medium", "low", "hasMore")} == {
        "checked": 180,
        "high": 43,
        "medium": 50,
        "low": 87,
        "hasMore": False,
    }
    group = found["findings"][3]
    wide = [r.token["id"] for r in api.store.newest_first() if r.token["name"].startswith("wide")]
    assert group["ids"] == wide[: GROUPED_FROM - 1]
    assert group["reason"] == RULES["any_origin"]
    assert "fix" not in group
    tool, _, arguments = group["next"].removesuffix(" lists them, each with its fix").partition(" ")
    assert tool == "audit_client_tokens"
    rest = await review(api, era, json.loads(arguments) | {"limit": 100})
    assert [finding["id"] for finding in rest["findings"]] == wide
    assert all(finding["fix"].startswith("update_client_token ") for finding in rest["findings"])


async def test_the_findings_of_a_rule_come_in_pages(api: Api, era: str) -> None:
    many(api)
    names: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = await review(api, era, {"rule": "no_target", "limit": 30, "offset": offset})
        assert page["hasMore"] is ("nextOffset" in page)
        names += [finding["name"] for finding in page["findings"]]
        offset = page.get("nextOffset")
    assert sorted(names) == sorted(f"mild {number}" for number in range(87))
    beyond = await review(api, era, {"rule": "no_target", "offset": 87})
    assert (beyond["findings"], beyond["hasMore"]) == ([], False)


async def test_entries_come_in_pages_too(api: Api, era: str) -> None:
    many(api)
    first = await review(api, era, {"limit": 4})
    assert (len(first["findings"]), first["hasMore"], first["nextOffset"]) == (4, True, 4)
    rest = await review(api, era, {"limit": 4, "offset": 4})
    assert [entry["rule"] for entry in rest["findings"]] == ["long_unused", "no_target"]
    assert (rest["hasMore"], "nextOffset" in rest) == (False, False)


async def test_a_severity_selects_findings_and_leaves_the_counts_of_all(api: Api, era: str) -> None:
    many(api)
    found = await review(api, era, {"severity": "medium"})
    assert [entry["rule"] for entry in found["findings"]] == ["long_unused"]
    assert (found["high"], found["medium"], found["low"]) == (43, 50, 87)
    none = await review(api, era, {"severity": "medium", "rule": "any_origin"})
    assert (none["findings"], none["hasMore"]) == ([], False)


@pytest.mark.parametrize(
    ("rule", "said"),
    [("any_orgin", "is not a rule; did you mean any_origin? Nothing"), ("x", "is not a rule; known are any_origin,")],
)
async def test_an_unknown_rule_is_answered_with_the_nearest_or_with_all(
    api: Api, era: str, rule: str, said: str
) -> None:
    async with mcp_client(api, era) as model:
        assert said in await model.text("audit_client_tokens", rule=rule)
    assert not api.received


async def test_no_account_however_bad_fills_a_conversation(api: Api, era: str) -> None:
    """The worst: every rule, in every token, with names and lists as long as they can be."""
    entries = [f"https://{number}.shop.example" for number in range(300)]
    config = {"key": SECRET, "text": "x" * 50_000}
    for number in range(60):
        worst = {"allowedOrigins": ["*", "native", "http://localhost:3000", "http://a.example", *entries]}
        api.store.put(
            record(f"{number:03}" + "n" * 250, **worst, config=config, targetAlias="pr-1", lastUsedAt=ago(9e2))
        )
    for arguments in ({}, {"limit": 100}, {"rule": "secret_in_config"}):
        async with mcp_client(api, era) as model:
            result = await model.call("audit_client_tokens", **arguments)
        assert tokens(text_of(result)) < 6_000, arguments
    fixes = [finding["fix"] for finding in (await review(api, era, {"rule": "secret_in_config"}))["findings"]]
    assert all(fix.endswith("then update_client_token with config put right") and len(fix) < MAX_FIX for fix in fixes)


def test_every_rule_has_a_meaning() -> None:
    source = Path(inspect.getfile(flaws)).read_text()
    named = set(re.findall(r'(?:Flaw|_Rule)\([^"]*"(?:high|medium|low)",\s*"(\w+)"', source))
    assert named
    assert named <= RULES.keys()


async def test_a_narrower_list_is_proposed_for_a_wildcard(api: Api, era: str) -> None:
    api.store.put(record("a", allowedOrigins=["https://*.shop.example", "https://b.example"]))
    (finding,) = (await review(api, era))["findings"]
    assert the_fix(finding)[1]["allowed_origins"] == ["https://b.example", YOUR_SITE]


async def test_names_that_are_twice_are_found_within_an_environment(api: Api, era: str) -> None:
    api.store.put(record("one", name="Shop"), record("two", name="Shop"), record("three", name="Shop"))
    api.store.put(record("other", name="Shop", environment="test"), record("case", name="shop"))
    api.store.put(record("nameless", name=None), record("nameless too", name=None))
    found = await review(api, era)
    assert [finding["rule"] for finding in found["findings"]] == ["duplicate_name"] * 2
    proposed = {the_fix(finding)[1]["name"] for finding in found["findings"]}
    assert len(proposed) == 2
    assert "Shop" not in proposed


async def test_a_lock_on_an_environment_keeps_the_others_out_of_sight(api: Api, era: str) -> None:
    api.store.put(record("Live", allowedOrigins=["*"]))
    api.store.put(record("Test", environment="test", config={"key": SECRET}))
    found = await review(api, era, RUNTYPE_MCP_ENVIRONMENT="test")
    assert [finding["name"] for finding in found["findings"]] == ["Test"]
    assert (found["checked"], found["high"]) == (1, 1)
    assert "Live" not in str(found)


async def test_every_fix_is_a_call_that_mends_what_it_was_found_for(api: Api, era: str) -> None:
    """All fixes, followed one after the other in any order, leave nothing to find."""
    api.store.put(
        record(
            "a", allowedOrigins=["*", "native", "http://localhost:3000", "http://shop.example", "https://b.example"]
        ),
        record("b", allowedOrigins=["*"], config={"key": SECRET}, rateLimitPerHour=10_000, targetAlias="pr-1"),
        record("c", allowedOrigins=["http://shop.example", "https://shop.example"], maxMessagesPerSession=1000),
        record("d", lastUsedAt=ago(900)),
        record("e", lastUsedAt=None, createdAt=ago(900)),
        record("f", isActive=False, updatedAt=ago(900)),
        record("g", name="a", targetAlias=None),
    )
    found = await review(api, era)
    assert len({finding["rule"] for finding in found["findings"]}) == 12
    fixes = [the_fix(finding) for finding in found["findings"]]
    random.Random(era).shuffle(fixes)
    async with mcp_client(api, era, None, RUNTYPE_MCP_APPROVAL="flag") as model:
        for tool, arguments in fixes:
            arguments = json.loads(json.dumps(arguments).replace(YOUR_SITE, "https://own.example"))
            record_now = api.store.get(arguments["client_token"])
            assert record_now is not None
            sure = {"confirm": True, "expected_name": record_now.token["name"]}
            result = await model.call(tool, **arguments, **sure)
            assert not result.is_error, text_of(result)
    again = await review(api, era)
    assert again["findings"] == []
    assert again["checked"] == 6


async def test_a_secret_is_taken_out_of_a_config_and_the_rest_stays(api: Api, era: str) -> None:
    api.store.put(record("a", config={"welcome": "Hello", "key": SECRET, "deep": {"key": [SECRET]}}))
    (fix,) = [f["fix"] for f in (await review(api, era))["findings"] if f["rule"] == "secret_in_config"]
    assert json.loads(fix.partition(" ")[2])["config"] == {"welcome": "Hello"}


@pytest.mark.parametrize(
    "make", [lambda entry: [entry], lambda entry: [entry, "https://b.example"]], ids=["alone", "among others"]
)
def test_a_proposed_list_of_origins_is_taken_once_it_holds_no_placeholder(make: Callable[[str], list[str]]) -> None:
    for entry in ("*", "native", "http://localhost:3000", "http://shop.example"):
        token = ClientToken.model_validate(wire(allowedOrigins=make(entry)))
        (flaw,) = flaws(token, NOW)
        assert flaw.fix is not None
        if flaw.fix["allowed_origins"] == [YOUR_SITE]:
            with pytest.raises(ValidationError, match="your-site"):
                UpdateClientToken.model_validate({"client_token": token.id, **flaw.fix})
            continue
        proposed = UpdateClientToken.model_validate({"client_token": token.id, **flaw.fix}).allowed_origins
        assert proposed
        assert entry not in proposed
        assert ("https://b.example" in proposed) is (len(make(entry)) == 2)


async def test_many_tokens_take_few_requests_and_tell_how_far_it_is(api: Api, era: str) -> None:
    seed_many(api.store, 2_150)
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with mcp_client(api, era) as model:
        result = await model.client.call_tool("audit_client_tokens", {}, progress_callback=hear)
    assert result.structured_content is not None
    assert result.structured_content["checked"] == 2_150
    assert [(method, path) for method, path, _ in api.received] == [
        ("GET", f"/v1/client-tokens?limit=200&offset={offset}") for offset in range(0, 2_150, 200)
    ]
    counts = [*range(400, 2_150, 200), 2_150]  # of one page nothing is told
    assert heard == [(count, f"{count} client tokens read") for count in counts]


async def test_an_older_api_without_pages_is_reviewed_whole(api: Api, era: str) -> None:
    api.store.put(*(record(f"wide {number}", allowedOrigins=["*"]) for number in range(3)))
    api.faults.add("legacy_list")
    found = await review(api, era)
    assert (found["checked"], found["high"]) == (3, 3)


async def test_it_changes_nothing(api: Api, era: str) -> None:
    api.seeded()
    await review(api, era)
    assert api.received
    assert not api.writes
