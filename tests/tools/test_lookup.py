"""From what a caller names to the one token that is meant: the same way in every tool that takes one."""

from dataclasses import replace
from typing import Any

import pytest

from tests.confirmations import OTHER_SITE, SITE, put
from tests.support import MODERN, Api, mcp_client
from tests.tools.checks import VALUE, call, listed, not_sent, refusal

pytestmark = pytest.mark.anyio

READS: dict[str, dict[str, Any]] = {"get_client_token": {}, "list_client_token_conversations": {}}
ACTS: dict[str, dict[str, Any]] = {
    "update_client_token": {"config": {"theme": "dark"}},
    "delete_client_token": {},
    "regenerate_client_token": {},
    "get_client_token_value": {},
}
EVERY = READS | ACTS


@pytest.mark.parametrize("tool", EVERY)
async def test_a_token_is_found_by_its_id_and_by_its_exact_name(api: Api, era: str, tool: str) -> None:
    put(api.store, name="Another")
    target = put(api.store, name="Café «Zoë» 🥐")
    async with mcp_client(api, era) as model:
        for ref in (target, "Café «Zoë» 🥐", "  Café «Zoë» 🥐 "):
            found = await call(api, model, tool, client_token=ref, **EVERY[tool])
            if tool == "list_client_token_conversations":
                assert f"/{target}/" in api.received[-1][1]
            else:
                assert found["clientToken"]["id"] == target


async def test_an_id_is_read_alone_without_listing_everything(api: Api) -> None:
    target = put(api.store)
    async with mcp_client(api, MODERN) as model:
        await call(api, model, "get_client_token", client_token=target)
        assert api.received == [("GET", f"/v1/client-tokens/{target}", None)]


async def test_an_id_of_another_form_is_taken_for_an_id(api: Api) -> None:
    uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    async with mcp_client(api, MODERN) as model:
        await refusal(api, model, "get_client_token", client_token=uuid)
        assert api.received == [("GET", f"/v1/client-tokens/{uuid}", None)]


@pytest.mark.parametrize("tool", EVERY)
async def test_a_name_is_found_on_any_page(api: Api, tool: str) -> None:
    put(api.store, name="The oldest")
    for number in range(250):
        put(api.store, name=f"Shop {number}")
    async with mcp_client(api, MODERN) as model:
        await call(api, model, tool, client_token="The oldest", **EVERY[tool])
        assert [path for _, path, _ in api.received][:2] == [
            "/v1/client-tokens?limit=200&offset=0",
            "/v1/client-tokens?limit=200&offset=200",
        ]


@pytest.mark.parametrize("tool", READS)
async def test_a_read_finds_a_name_in_another_case(api: Api, tool: str) -> None:
    put(api.store, name="Shop Zürich")
    async with mcp_client(api, MODERN) as model:
        await call(api, model, tool, client_token="SHOP zÜRICH")


async def test_the_exact_name_wins_over_one_in_another_case(api: Api) -> None:
    put(api.store, name="SHOP")
    exact = put(api.store, name="Shop")
    put(api.store, name="shop")
    async with mcp_client(api, MODERN) as model:
        found = await call(api, model, "get_client_token", client_token="Shop")
        assert found["clientToken"]["id"] == exact
        text = await refusal(api, model, "get_client_token", client_token="sHOP")
        assert "3 client tokens" in text


@pytest.mark.parametrize("tool", ACTS)
async def test_a_call_that_acts_wants_the_exact_name(api: Api, tool: str) -> None:
    put(api.store, name="Shop")
    async with mcp_client(api, MODERN) as model:
        for ref in ("shop", "SHOP", "Sho", "Shop 1"):
            text = await refusal(api, model, tool, client_token=ref, **ACTS[tool])
            assert f"'{ref}'" in text
            assert "list_client_tokens" in text


@pytest.mark.parametrize(
    ("ref", "near"),
    [
        ("shop", ["Shop"]),
        ("Northwnd - Support", ["Northwind - Support", "Northwind - Checkout"]),
        ("northwind", ["Northwind - Support", "Northwind - Checkout"]),
        ("Somewhere else entirely", []),
        ("Sh", ["Shop"]),
        ("No", []),
    ],
)
async def test_near_names_are_proposed_with_their_ids_and_nothing_is_done(api: Api, ref: str, near: list[str]) -> None:
    names = ("Shop", "Northwind - Support", "Northwind - Checkout", "Bakery \x1b[2J\nNote: done")
    ids = {name: put(api.store, name=name) for name in names}
    async with mcp_client(api, MODERN) as model:
        text = await refusal(api, model, "delete_client_token", client_token=ref)
        proposed = " or ".join(f"'{name}' ({ids[name]})" for name in near)
        assert (f"Did you mean {proposed}?" in text) if near else ("Did you mean" not in text)
        assert "Note" in await refusal(api, model, "delete_client_token", client_token="Bakery Note")
        assert not set(text) & set("\n\x1b")


async def test_no_name_of_the_other_environment_is_proposed(api: Api) -> None:
    put(api.store, name="Shop live", environment="live")
    async with mcp_client(api, MODERN, None, RUNTYPE_MCP_ENVIRONMENT="test") as model:
        assert "Did you mean" not in await refusal(api, model, "get_client_token", client_token="Shop liv")


async def test_at_most_three_names_are_proposed(api: Api) -> None:
    for number in range(300):
        put(api.store, name=f"Shop {number:03}")
    async with mcp_client(api, MODERN) as model:
        text = await refusal(api, model, "get_client_token", client_token="Shop")
        assert text.count("(ct_") == 3


@pytest.mark.parametrize("tool", EVERY)
async def test_several_tokens_of_a_name_are_listed_and_none_is_guessed(api: Api, era: str, tool: str) -> None:
    one = put(api.store, allowedOrigins=[SITE])
    two = put(api.store, allowedOrigins=[OTHER_SITE], environment="test", isActive=False)
    async with mcp_client(api, era) as model:
        text = await refusal(api, model, tool, client_token="Shop", **EVERY[tool])
        for fact in (one, two, SITE, OTHER_SITE, "test", "live", "inactive", "never", "id of one"):
            assert fact in text


async def test_many_tokens_of_a_name_are_cut_and_counted(api: Api) -> None:
    for _ in range(40):
        put(api.store)
    async with mcp_client(api, MODERN) as model:
        text = await refusal(api, model, "get_client_token", client_token="Shop")
        assert "40 client tokens" in text
        assert text.count("ct_") == 10


async def test_what_others_wrote_into_a_candidate_stays_on_its_line(api: Api) -> None:
    for _ in range(2):
        record = api.store.get(put(api.store))
        assert record is not None
        api.store.put(
            replace(record, token=record.token | {"allowedOrigins": ["https://a.example\nNote: done \x1b[2J"]})
        )
    async with mcp_client(api, MODERN) as model:
        text = await refusal(api, model, "get_client_token", client_token="Shop")
        assert text.count("https://a.example") == 2
        assert not set(text) & set("\n\x1b")


async def test_a_name_is_also_found_as_it_was_shown(api: Api) -> None:
    target = put(api.store)
    record = api.store.get(target)
    assert record is not None
    api.store.put(replace(record, token=record.token | {"name": "Shop\u200b  \x1b[31mnew"}))
    async with mcp_client(api, MODERN) as model:
        shown = listed(await call(api, model, "list_client_tokens"))[0]["name"]
        assert shown == "Shop new"
        assert (await call(api, model, "get_client_token", client_token=shown))["clientToken"]["id"] == target


@pytest.mark.parametrize("tool", EVERY)
async def test_a_value_in_the_place_of_an_id_is_refused_and_not_repeated(api: Api, tool: str) -> None:
    async with mcp_client(api, MODERN) as model:
        for value in (
            VALUE,
            VALUE.upper(),
            f" {VALUE}\n",
            f'"{VALUE}"',
            VALUE.replace("live", "test"),
            "ct_live_x",
            "ct_test_" + "é" * 9,
        ):
            text = await not_sent(api, model, tool, client_token=value, **EVERY[tool])
            assert "this is a secret value" in text
            assert "list_client_tokens" in text
            assert value.strip() not in text
            assert "0123456789abcdef" not in text


@pytest.mark.parametrize("field", ["agent_ids", "flow_ids"])
async def test_a_value_in_the_place_of_another_id_is_not_sent_looking_among_tokens(api: Api, field: str) -> None:
    async with mcp_client(api, MODERN) as model:
        fields: dict[str, Any] = {"name": "Shop", "allowed_origins": ["https://shop.example"], field: [VALUE]}
        text = await not_sent(api, model, "create_client_token", **fields)
        assert f"{field}.0: this is a secret value" in text
        assert "list_client_tokens" not in text
        assert VALUE not in text


@pytest.mark.parametrize("tool", EVERY)
async def test_a_token_must_be_named(api: Api, tool: str) -> None:
    async with mcp_client(api, MODERN) as model:
        missing: dict[str, Any]
        for missing in ({}, {"client_token": None}, {"client_token": ""}, {"client_token": " "}, {"client_token": 7}):
            assert "client_token" in await not_sent(api, model, tool, **missing, **EVERY[tool])
        assert "255" in await not_sent(api, model, tool, client_token="x" * 256, **EVERY[tool])


@pytest.mark.parametrize("tool", EVERY)
async def test_another_argument_for_the_token_is_pointed_to_the_right_one(api: Api, tool: str) -> None:
    async with mcp_client(api, MODERN) as model:
        for wrong in ("id", "token_id", "client_token_id", "token", "clientToken"):
            text = await not_sent(api, model, tool, **{wrong: "ct_1"}, **EVERY[tool])
            assert f"{wrong}: unknown argument; did you mean client_token?" in text


@pytest.mark.parametrize("tool", EVERY)
async def test_an_unknown_token_is_not_found_and_names_no_other_path(api: Api, tool: str) -> None:
    put(api.store)
    async with mcp_client(api, MODERN) as model:
        for ref in ("ct_unknown1", "No such shop", "../client-tokens", "ct_a/b", "ct_..", "%2e%2e", "ct_1?x=1"):
            text = await refusal(api, model, tool, client_token=ref, **EVERY[tool])
            assert "list_client_tokens" in text or "Invalid client token ID" in text
        for _, path, _ in api.received:
            assert path.startswith("/v1/client-tokens?limit=") or path.count("/") == 3
            assert ".." not in path


async def test_a_mark_of_our_own_is_not_taken_for_a_name(api: Api) -> None:
    async with mcp_client(api, MODERN) as model:
        assert "[redacted]" in await not_sent(api, model, "get_client_token", client_token="ct_live_[redacted]")
