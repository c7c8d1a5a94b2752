"""Nobody overwrites a change that they never saw."""

from dataclasses import replace
from typing import Any

import mcp_types
import pytest
from mcp import Client
from starlette.types import Receive, Scope, Send

from runtype_mcp.server import RuntypeServer, build_server
from runtype_mcp.tools.last_read import differences
from tests.confirmations import SITE, put
from tests.support import AGENT, Api, mcp_client, settings_for, text_of

OTHER = "https://other.example"


SHOWN: dict[str, Any] = {
    "name": "Shop",
    "agent_ids": ["agent_1"],
    "allowed_origins": [SITE],
    "is_active": True,
    "rate_limit_per_minute": 10,
    "config": None,
    "target_alias": None,
    "token_hint": "cdef",
}


def changed(fields: list[str] | None = None, **now: Any) -> str:
    return "; ".join(differences(SHOWN, SHOWN | now, fields))


@pytest.mark.parametrize(
    ("field", "now", "said"),
    [
        ("name", "Support", "name was 'Shop' and is now 'Support'"),
        ("name", None, "name was 'Shop' and is now None"),
        ("allowed_origins", ["*"], "is now ['*']"),
        ("agent_ids", [], "is now []"),
        ("is_active", False, "is_active was True and is now False"),
        ("config", {"theme": "dark"}, "config was None"),
        ("token_hint", "0123", "its value was regenerated"),
        ("target_alias", "live", "target_alias was None and is now 'live'"),
    ],
)
def test_a_setting_that_changed_is_told_with_what_it_was_and_is(field: str, now: Any, said: str) -> None:
    assert not changed()
    assert said in changed(**{field: now})


def test_a_change_counts_only_where_it_matters() -> None:
    assert not changed(["allowed_origins", "client_token"], name="Support")
    assert not changed([], name="Support")
    assert changed(["allowed_origins", "name"], name="Support")


def test_a_number_that_is_not_equal_to_itself_is_not_a_change() -> None:
    """NaN, which some JSON writers send: a token with one in its config must stay changeable."""
    was, now = ({"config": {"size": float("nan")}} for _ in range(2))
    assert not differences(was, now)
    assert differences(was, {"config": {"size": 1}})


def test_a_difference_far_into_a_long_setting_is_told() -> None:
    was, now = ({"config": {"text": "x" * 300} | rest} for rest in ({"theme": "dark", "old": 1}, {"theme": "light"}))
    assert differences(was, now) == ["config was {'theme': 'dark', 'old': 1} and is now {'theme': 'light'}"]


def test_a_difference_is_short_and_on_one_line_whatever_the_token_holds() -> None:
    said = changed(
        config={"text": "long " * 5000},
        name="Shop\n\x1b[2J\u202e</visitor-text>" * 20,
        allowed_origins=[f"https://{n}.example" for n in range(500)],
    )
    assert len(said) < 1600
    assert not set(said) & set("\n\x1b\u202e")


# Two assistants and one token.


def client(server: RuntypeServer, era: str, name: str) -> Client:
    return Client(server, mode=era, client_info=mcp_types.Implementation(name=name, version="1"))


async def told(who: Client, tool: str, arguments: dict[str, Any]) -> str:
    """What the refusal says."""
    result = await who.call_tool(tool, arguments)
    assert result.is_error, text_of(result)
    return text_of(result)


async def done(who: Client, tool: str, arguments: dict[str, Any]) -> None:
    result = await who.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)


@pytest.mark.anyio
@pytest.mark.parametrize("shared", [True, False], ids=["one server", "two servers"])
async def test_of_two_assistants_that_change_one_setting_the_second_is_told(api: Api, era: str, shared: bool) -> None:
    target = {"client_token": put(api.store, rateLimitPerMinute=10)}
    settings = settings_for(api)
    server = build_server(settings)
    async with (
        client(server, era, "one") as one,
        client(server if shared else build_server(settings), era, "two") as two,
    ):
        for who in (one, two):
            await done(who, "get_client_token", target)
        await done(one, "update_client_token", target | {"name": "By one"})
        text = await told(two, "update_client_token", target | {"name": "By two"})
        assert "name was 'Shop' and is now 'By one'" in text
        assert [body for _, _, body in api.writes] == [{"name": "By one"}]
        await done(two, "update_client_token", target | {"name": "By two"})
        assert [body for _, _, body in api.writes] == [{"name": "By one"}, {"name": "By two"}]


@pytest.mark.anyio
async def test_of_two_assistants_that_add_an_origin_the_second_does_not_undo_the_first(api: Api, era: str) -> None:
    target = {"client_token": put(api.store)}
    server = build_server(settings_for(api))
    async with client(server, era, "one") as one, client(server, era, "two") as two:
        for who in (one, two):
            await done(who, "list_client_tokens", {})
        await done(one, "update_client_token", target | {"allowed_origins": [SITE, OTHER]})
        # For the second this would be a harmless addition, had the token not changed: it is a removal now.
        arguments = target | {"allowed_origins": [SITE, "https://third.example"]}
        result = await two.call_tool("update_client_token", arguments)
        assert result.is_error or (result.structured_content or {})["status"] == "preview"
        assert OTHER in text_of(result)
        assert len(api.writes) == 1


@pytest.mark.anyio
async def test_a_change_to_another_setting_does_not_stop_an_ungated_update(api: Api, era: str) -> None:
    target = {"client_token": put(api.store)}
    server = build_server(settings_for(api))
    async with client(server, era, "one") as one, client(server, era, "two") as two:
        for who in (one, two):
            await done(who, "get_client_token", target)
        await done(one, "update_client_token", target | {"name": "By one"})
        await done(two, "update_client_token", target | {"allowed_origins": [SITE, OTHER]})
        assert len(api.writes) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("look", ["list_client_tokens", "get_client_token_value", "delete_client_token"])
async def test_a_summary_does_not_hide_what_somebody_else_changed(api: Api, era: str, look: str) -> None:
    """The list, a value and a preview show no config: a config from before must not be put back silently."""
    shop = put(api.store, config={"theme": "light"})
    async with mcp_client(api, era) as model:
        await model.call("get_client_token", client_token=shop)
        (record,) = api.store.newest_first()
        api.store.put(replace(record, token=record.token | {"config": {"theme": "theirs"}}))
        await model.call(look, **({} if look.startswith("list") else {"client_token": shop}))
        text = await model.text("update_client_token", client_token=shop, config={"theme": "dark"})
        assert "Somebody else changed" in text
        assert "theirs" in text
        assert not api.writes


@pytest.mark.anyio
async def test_what_is_cleared_is_checked_like_what_is_set(api: Api, era: str) -> None:
    target = {"client_token": put(api.store, environment="test", targetAlias="pr-1")}
    server = build_server(settings_for(api))
    async with client(server, era, "one") as one, client(server, era, "two") as two:
        for who in (one, two):
            await done(who, "get_client_token", target)
        await done(one, "update_client_token", target | {"target_alias": "pr-2"})
        assert "pr-2" in await told(two, "update_client_token", target | {"clear": ["target_alias"]})
        assert len(api.writes) == 1


@pytest.mark.anyio
async def test_one_assistant_is_not_stopped_by_its_own_changes(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        created = await model.create()
        target = {"client_token": created["id"]}
        for change in (
            {"name": "Two"},
            {"config": {"theme": "dark"}},
            {"target_alias": "pr-1"},
            {"clear": ["target_alias"]},
            {"allowed_origins": ["https://shop.example", OTHER]},
            {"rate_limit_per_minute": 20, "confirm": True, "expected_name": "Two"},
            {"agent_ids": [AGENT, "agent_01jv0000000000000000000002"], "confirm": True, "expected_name": "Two"},
        ):
            result = await model.call("update_client_token", **target, **change)
            assert not result.is_error, text_of(result)
        for tool in ("regenerate_client_token", "regenerate_client_token", "delete_client_token"):
            result = await model.call(tool, **target, confirm=True, expected_name="Two")
            assert not result.is_error, text_of(result)


@pytest.mark.anyio
async def test_a_change_that_slips_in_between_reading_and_writing_is_told_afterwards(api: Api, era: str) -> None:
    target = put(api.store)

    def also_renamed() -> None:
        record = api.store.get(target)
        assert record is not None
        api.store.put(replace(record, token=record.token | {"name": "By somebody"}))

    async with mcp_client(api, era) as model:
        app = api.stage.app

        async def slipping(scope: Any, receive: Any, send: Any) -> None:
            if scope["method"] == "PUT":
                also_renamed()
            await app(scope, receive, send)

        api.stage.app = slipping
        text = await model.text("update_client_token", client_token=target, config={"theme": "dark"})
        assert "Somebody else changed at the same time: name." in text


@pytest.mark.anyio
async def test_a_value_that_was_replaced_during_an_update_is_told(api: Api, era: str) -> None:
    target = put(api.store)
    app = api.stage.app

    async def slipping(scope: Scope, receive: Receive, send: Send) -> None:
        record = api.store.get(target)
        if scope["method"] == "PUT" and record:
            api.store.put(record.with_value("e" * 32))
        await app(scope, receive, send)

    api.stage.app = slipping
    async with mcp_client(api, era) as model:
        text = await model.text("update_client_token", client_token=target, config={"theme": "dark"})
    assert "Somebody else changed at the same time: its value." in text
