"""list_client_tokens: pages, filters over all pages, and what a token looks like in a list."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest

from tests.confirmations import SITE, put
from tests.support import AGENT, KEY, MODERN, Api, McpClient, mcp_client, seed_many, text_of
from tests.tools.checks import VALUE, Json, call, listed, not_sent, tokens

pytestmark = pytest.mark.anyio

TOOL = "list_client_tokens"


def ids(data: Json) -> list[str]:
    return [token["id"] for token in listed(data)]


def stored(api: Api, **wanted: Any) -> set[str]:
    """The ids of the tokens whose fields are as wanted."""
    return {
        record.token["id"]
        for record in api.store.newest_first()
        if all(record.token[name] == value for name, value in wanted.items())
    }


async def walk(api: Api, model: McpClient, **arguments: Any) -> list[str]:
    """The ids on all pages, by `nextOffset`."""
    found: list[str] = []
    offset: int | None = 0
    while offset is not None:
        data = await call(api, model, TOOL, **arguments, offset=offset)
        assert data["count"] == len(ids(data))
        assert data["hasMore"] is ("nextOffset" in data)
        found += ids(data)
        offset = data.get("nextOffset")
        if offset is not None:
            assert offset == len(found)
    return found


async def test_a_summary_tells_tokens_apart_and_leaves_the_rest_out(api: Api, era: str) -> None:
    usual = put(api.store, config={"theme": "dark"}, environment="test")
    other = put(api.store, name="Other", isActive=False)
    record = api.store.get(other)
    assert record is not None
    api.store.put(replace(record, token=record.token | {"lastUsedAt": "2026-01-02T03:04:05.678Z"}))
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL)
        assert data["columns"] == ["id", "name", "environment", "isActive", "allowedOrigins", "lastUsedAt"]
        assert data["rows"] == [
            [other, "Other", "live", False, [SITE], "2026-01-02 UTC"],
            [usual, "Shop", "test", True, [SITE], "never"],
        ]
        assert data.keys() == {"columns", "rows", "count", "total", "hasMore"}


@pytest.mark.parametrize("usage", ["used", "unused"])
async def test_a_list_of_200_costs_at_most_a_fifth_of_the_apis_json(api: Api, usage: str) -> None:
    seed_many(api.store, 200)
    if usage == "used":
        for number, record in enumerate(api.store.newest_first()):
            api.store.put(replace(record, token=record.token | {"lastUsedAt": _ago(number)}))
    raw = httpx.get(f"{api.url}/v1/client-tokens?limit=200", headers={"Authorization": f"Bearer {KEY}"}).json()
    assert len(raw["clientTokens"]) == 200
    async with mcp_client(api, MODERN) as model:
        result = await model.call(TOOL, limit=200)
        for half in (text_of(result), result.structured_content):  # hosts show a model the one or the other
            assert 5 * tokens(half) <= tokens(raw)


async def test_detail_full_gives_every_setting_and_no_value(api: Api, era: str) -> None:
    put(api.store, config={"theme": {"primaryColor": "#123456"}}, targetAlias="live", rateLimitPerHour=77)
    async with mcp_client(api, era) as model:
        (token,) = (await call(api, model, TOOL, detail="full"))["clientTokens"]
        assert token["agentIds"] == [AGENT]
        assert token["targetAlias"] == "live"
        assert token["rateLimitPerHour"] == 77
        assert token["config"] == {"theme": {"primaryColor": "#123456"}}
        (record,) = api.store.newest_first()
        assert record.value is not None
        assert token["valueEndsWith"] == record.value[-4:]
        assert "conversationCount" not in token, "only one token at a time is counted"


async def test_an_empty_account_has_an_empty_list(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        for filters in ({}, {"environment": "test"}):
            data = await call(api, model, TOOL, **filters)
            assert data == {"columns": data["columns"], "rows": [], "count": 0, "total": 0, "hasMore": False}


@pytest.mark.parametrize(("many", "requests"), [(0, 1), (200, 1), (201, 2), (450, 3)])
async def test_a_list_always_has_the_total_in_one_request_for_200_tokens(api: Api, many: int, requests: int) -> None:
    seed_many(api.store, many)
    async with mcp_client(api, MODERN) as model:
        data = await call(api, model, TOOL)
        assert (data["count"], data["total"], data["hasMore"]) == (min(50, many), many, many > 50)
        assert len(api.received) == requests


@pytest.mark.parametrize("filters", [{}, {"environment": "test"}, {"name_contains": "shop", "active": True}], ids=str)
async def test_the_pages_hold_every_token_once(api: Api, filters: Json) -> None:
    seed_many(api.store, 450)
    wanted = stored(api, **{k: v for k, v in filters.items() if k == "environment"})
    async with mcp_client(api, MODERN) as model:
        for limit in (37, 200):
            found = await walk(api, model, limit=limit, **filters)
            assert len(found) == len(set(found))
            assert set(found) == wanted


async def test_a_later_page_has_the_same_total(api: Api) -> None:
    seed_many(api.store, 120)
    async with mcp_client(api, MODERN) as model:
        data = await call(api, model, TOOL, offset=100)
        assert (data["count"], data["total"], data["hasMore"]) == (20, 120, False)


async def test_beyond_the_end_there_is_nothing_and_no_more(api: Api) -> None:
    seed_many(api.store, 10)
    async with mcp_client(api, MODERN) as model:
        for filters in ({}, {"active": True}):
            data = await call(api, model, TOOL, offset=1000, **filters)
            assert (data["rows"], data["count"], data["hasMore"]) == ([], 0, False)
            assert "nextOffset" not in data


async def test_a_filter_counts_over_all_pages(api: Api) -> None:
    seed_many(api.store, 450)
    async with mcp_client(api, MODERN) as model:
        data = await call(api, model, TOOL, environment="test", limit=3)
        assert (data["count"], data["total"], data["hasMore"], data["nextOffset"]) == (3, 150, True, 3)
        assert len(api.received) == 3


def _ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name_contains": "SHOP"}, {"Shop A", "shop b"}),
        ({"name_contains": "  b "}, {"shop b"}),
        ({"name_contains": "nothing"}, set()),
        ({"environment": "test"}, {"shop b"}),
        ({"active": False}, {"Café"}),
        ({"active": "true"}, {"Shop A", "shop b", None}),
        ({"allowed_origin": "https://a.example"}, {"Shop A", "Café"}),
        ({"allowed_origin": "https://A.example:443/"}, {"Shop A", "Café"}),
        ({"allowed_origin": "https://x.b.example"}, {"shop b", "Café"}),
        ({"allowed_origin": "https://b.example"}, {"Café"}),
        ({"allowed_origin": "native"}, {None}),
        ({"allowed_origin": "*"}, {"Café"}),
        ({"never_used": True}, {None}),
        ({"never_used": False}, {"Shop A", "shop b", "Café"}),
        ({"never_used": "false", "active": True}, {"Shop A", "shop b"}),
        ({"never_used": None, "value_ends_with": ""}, {"Shop A", "shop b", "Café", None}),
        ({"unused_since": _ago(30)[:10]}, {"Café", None}),
        ({"unused_since": _ago(3)[:10], "active": True}, {"shop b", None}),
        ({"name_contains": "shop", "environment": "live"}, {"Shop A"}),
        ({"name_contains": "shop", "environment": None, "active": None}, {"Shop A", "shop b"}),
    ],
    ids=lambda case: f"{sorted(case, key=str) if isinstance(case, set) else case}",
)
async def test_filters_select(api: Api, filters: Json, names: set[str | None]) -> None:
    def given(token_id: str, **fields: Any) -> None:
        record = api.store.get(token_id)
        assert record is not None
        api.store.put(replace(record, token=record.token | fields))

    put(api.store, name="Another", allowedOrigins=["https://other.example"], id="ct_0another")
    api.store.delete("ct_0another")
    given(put(api.store, name="Shop A", allowedOrigins=["https://a.example"]), lastUsedAt=_ago(1))
    given(
        put(api.store, name="shop b", allowedOrigins=["https://*.b.example"], environment="test"), lastUsedAt=_ago(10)
    )
    given(put(api.store, name="Café", allowedOrigins=["*"], isActive=False), lastUsedAt=_ago(100))
    # Never used: it counts from the day it was made.
    given(put(api.store, name="x", allowedOrigins=["native"]), name=None, createdAt=_ago(200))
    async with mcp_client(api, MODERN) as model:
        data = await call(api, model, TOOL, **filters)
        assert {token["name"] for token in listed(data)} == names
        assert data["total"] == len(names)


async def test_a_value_that_somebody_found_leads_to_its_token(api: Api) -> None:
    seed_many(api.store, 250)
    (wanted,) = [r for r in api.store.newest_first() if r.token["name"] == "Shop 00007"]
    assert wanted.value is not None
    async with mcp_client(api, MODERN) as model:
        for pasted in (wanted.value[-4:], wanted.value, f" {wanted.value}\n"):
            result = await model.call(TOOL, value_ends_with=pasted)
            assert wanted.token["id"] in text_of(result)
            assert wanted.value not in result.model_dump_json()
        assert not any(wanted.value[-4:] in path for _, path, _ in api.received), "the API is not told"
        assert (await call(api, model, TOOL, value_ends_with="zzzz"))["total"] == 0


async def test_the_whole_hint_is_never_needed_and_a_token_without_one_never_fits(api: Api) -> None:
    for hint in (None, "", "ef", "the value is abcdef"):
        record = api.store.get(put(api.store, name=f"hint {hint}"))
        assert record is not None
        api.store.put(replace(record, token=record.token | {"tokenHint": hint}))
    async with mcp_client(api, MODERN) as model:
        (found,) = listed(await call(api, model, TOOL, value_ends_with="cdef"))
        assert found["name"] == "hint the value is abcdef"


@pytest.mark.parametrize(
    ("written", "shown", "unused_on_the_2nd"),
    [
        ("2026-01-01T23:30:00.000Z", "2026-01-01 UTC", True),
        ("2026-01-02T00:30:00+02:00", "2026-01-01 UTC", True),
        ("2026-01-01T23:30:00-02:00", "2026-01-02 UTC", False),
        ("2026-01-01T23:30:00", "2026-01-01 UTC", True),
        ("2026-01-01", "2026-01-01 UTC", True),
        ("last week", "last week", False),
        ("2026-02-30T00:00:00Z", "2026-02-30T00:00:00Z", False),
    ],
)
async def test_a_date_is_in_utc_and_says_so(api: Api, written: str, shown: str, unused_on_the_2nd: bool) -> None:
    record = api.store.get(put(api.store))
    assert record is not None
    api.store.put(replace(record, token=record.token | {"lastUsedAt": written}))
    async with mcp_client(api, MODERN) as model:
        assert listed(await call(api, model, TOOL))[0]["lastUsedAt"] == shown
        assert (await call(api, model, TOOL, unused_since="2026-01-02"))["total"] == unused_on_the_2nd


async def test_a_list_from_before_pages_is_paged_here(api: Api, era: str) -> None:
    seed_many(api.store, 130)
    api.faults.add("legacy_list", path="/v1/client-tokens", times=99)
    async with mcp_client(api, era) as model:
        first = await call(api, model, TOOL, limit=50)
        assert (first["count"], first["total"], first["hasMore"], first["nextOffset"]) == (50, 130, True, 50)
        assert set(await walk(api, model, limit=60)) == stored(api)
        assert set(await walk(api, model, limit=20, environment="test")) == stored(api, environment="test")
        beyond = await call(api, model, TOOL, offset=500)
        assert (beyond["rows"], beyond["hasMore"]) == ([], False)


async def test_unusual_tokens_are_listed(api: Api, era: str) -> None:
    api.seeded()
    put(api.store, name="Newer", environment="test")
    (newest, *_) = api.store.newest_first()
    api.store.put(replace(newest, token=newest.token | {"environment": "staging", "name": "\u202eShop\n\x1b[31mX"}))
    api.faults.add("extra_fields", times=99)
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL, detail="full")
        assert data["total"] == 17
        first = data["clientTokens"][0]
        assert (first["environment"], first["name"]) == ("staging", "Shop X")
        nameless = [token for token in data["clientTokens"] if "name" not in token]
        assert len(nameless) == 1
        assert "agentIds" not in nameless[0]
        assert not any("addedLater" in token for token in data["clientTokens"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "200"),
        ({"limit": "many"}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"offset": -1}, "offset"),
        ({"environment": "prod"}, "'test' or 'live'"),
        ({"detail": "all"}, "'summary' or 'full'"),
        ({"active": "perhaps"}, "active"),
        ({"unused_since": "last week"}, "unused_since"),
        ({"allowed_origin": "shop.example"}, "https://shop.example"),
        ({"allowed_origin": "https://shop.example/path"}, "use 'https://shop.example'"),
        ({"name_contains": "x" * 256}, "1 to 255"),
        ({"allowed_origin": VALUE}, "allowed_origin"),
        ({"cursor": "abc"}, "cursor: unknown argument"),
        ({"name": "Shop"}, "name_contains"),
        ({"limits": 3}, "did you mean limit? Nothing was sent."),
        ({"value_ends_with": "abc"}, "last 4 characters"),
        ({"never_used": "perhaps"}, "never_used: must be true or false"),
    ],
    ids=lambda case: f"{sorted(case, key=str) if isinstance(case, set) else case}",
)
async def test_bad_arguments_are_explained_and_nothing_is_sent(api: Api, arguments: Json, said: str) -> None:
    async with mcp_client(api, MODERN) as model:
        text = await not_sent(api, model, TOOL, **arguments)
        assert said in text
        assert "Correct the arguments." in text
        assert "0123456789abcdef" not in text


async def test_numbers_in_strings_are_numbers(api: Api) -> None:
    seed_many(api.store, 5)
    async with mcp_client(api, MODERN) as model:
        data = await call(api, model, TOOL, limit="2", offset="1")
        assert (data["count"], data["nextOffset"]) == (2, 3)
