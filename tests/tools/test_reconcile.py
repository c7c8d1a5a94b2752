"""A write whose answer is lost: whether it was done is looked up, told truthfully, and never guessed by a repeat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults import proxy as faults
from tests.faults.proxy import HANG_GUARD, Exchange, Fault, Proxy, proxying
from tests.support import AGENT, KEY, MODERN, Api, McpClient, mcp_client, text_of

pytestmark = pytest.mark.anyio

SHOP: dict[str, Any] = {"name": "Shop", "allowed_origins": ["https://shop.example"], "agent_ids": [AGENT]}
CONFIRMED: dict[str, Any] = {"confirm": True, "expected_name": "Shop"}
METHODS = {
    "create_client_token": "POST",
    "update_client_token": "PUT",
    "delete_client_token": "DELETE",
    "regenerate_client_token": "POST",
}
DONE: tuple[Fault, ...] = (
    *(faults.closed_after_commit, faults.reset_after_commit, faults.silence_after_commit, faults.reset_in_the_body),
    *(faults.truncated_body, faults.truncated_json, faults.nothing, faults.bad_gateway_after_commit),
)
UNDONE: tuple[Fault, ...] = (faults.closed_unread, faults.reset_unread, faults.silence, faults.unavailable)
NOT_DONE = {
    "create_client_token": "it was not created so far",
    "update_client_token": "it was not updated so far",
    "delete_client_token": "it was not deleted so far",
    "regenerate_client_token": "no new value was made so far",
}


def named(value: Any) -> str:
    return value.__name__ if callable(value) else str(value)


class Scene:
    """A sandbox behind a proxy, with one token in it (but before a create), and an assistant."""

    def __init__(self, api: Api, proxy: Proxy, model: McpClient, token: str | None) -> None:
        self.api, self.proxy, self.model, self.token = api, proxy, model, token

    @property
    def value(self) -> str:
        """The present value of the one token there is."""
        (record,) = self.api.store.newest_first()
        assert record.value is not None
        return record.value

    async def write(self, tool: str, fault: Fault, **more: Any) -> tuple[bool, str, dict[str, Any]]:
        """Call a writing tool whose write meets `fault`: whether it failed, its text and its data."""
        self.proxy.spoil(fault, METHODS[tool])
        self.api.received.clear()
        arguments = {
            "create_client_token": SHOP,
            "update_client_token": {"client_token": self.token, "name": "Renamed", "rate_limit_per_hour": 500},
            "delete_client_token": {"client_token": self.token, **CONFIRMED},
            "regenerate_client_token": {"client_token": self.token, **CONFIRMED},
        }[tool]
        if tool == "update_client_token":
            arguments |= CONFIRMED  # a higher limit is an exposure
        result = await self.model.call(tool, **arguments | more)
        assert KEY not in text_of(result)
        return bool(result.is_error), text_of(result), result.structured_content or {}


@asynccontextmanager
async def scene(api: Api, tool: str, era: str = MODERN, **environ: str) -> AsyncIterator[Scene]:
    async with asyncio.timeout(HANG_GUARD), proxying(api.url) as proxy:
        settings = {"RUNTYPE_BASE_URL": proxy.url, **environ}
        async with mcp_client(api, era, None, **settings) as model:
            token = None if tool == "create_client_token" else (await model.create())["id"]
            yield Scene(api, proxy, model, token)


def limit(fault: Fault) -> str:
    """Seconds: few where only the time limit ends the fault, and many where it must not matter."""
    return "1" if fault in faults.SLOW else "30"


def only_write(api: Api) -> tuple[str, str, Any]:
    (write,) = api.writes
    return write


@pytest.mark.parametrize("fault", DONE, ids=named)
@pytest.mark.parametrize("tool", METHODS)
async def test_what_was_done_is_told_as_done(api: Api, tool: str, fault: Fault) -> None:
    async with scene(api, tool, RUNTYPE_MCP_TIMEOUT=limit(fault)) as stage:
        old = None if stage.token is None else stage.value
        failed, text, data = await stage.write(tool, fault)
        assert not failed, text
        assert "was lost" in data["note"]
        assert "it was done" in data["note"]
        assert only_write(api)[0] == METHODS[tool]
        match tool:
            case "create_client_token":
                assert data["value"] == stage.value
            case "regenerate_client_token":
                assert data["value"] == stage.value != old
            case "update_client_token":
                assert [change["field"] for change in data["changes"]] == ["name", "rate_limit_per_hour"]
                assert data["clientToken"]["name"] == "Renamed"
            case _:
                assert len(api.store) == 0


@pytest.mark.parametrize("fault", UNDONE, ids=named)
@pytest.mark.parametrize("tool", METHODS)
async def test_what_was_not_done_is_told_as_not_done(api: Api, tool: str, fault: Fault) -> None:
    async with scene(api, tool, RUNTYPE_MCP_TIMEOUT=limit(fault)) as stage:
        before = api.store.newest_first()
        failed, text, _ = await stage.write(tool, fault)
        assert failed
        assert NOT_DONE[tool] in text
        assert "Nothing was changed so far." in text
        assert "repeated" in text
        assert api.writes == []
        assert api.store.newest_first() == before


@pytest.mark.parametrize("tool", METHODS)
async def test_both_protocol_eras_are_told_the_same(api: Api, tool: str, era: str) -> None:
    async with scene(api, tool, era) as stage:
        failed, text, _ = await stage.write(tool, faults.closed_after_commit)
        assert not failed, text
        assert "it was done" in text
        assert len(api.writes) == 1


@pytest.mark.parametrize("tool", ["create_client_token", "regenerate_client_token"])
@pytest.mark.parametrize("fault", [faults.closed_after_commit, faults.truncated_json], ids=named)
async def test_a_new_value_reaches_its_file_although_the_answer_was_lost(
    api: Api, tool: str, fault: Fault, tmp_path: Path
) -> None:
    async with scene(api, tool, RUNTYPE_MCP_FILES_ROOT=str(tmp_path)) as stage:
        failed, text, data = await stage.write(tool, fault, deliver="env_file", env_file=".env:CHAT")
        assert not failed, text
        assert (tmp_path / ".env").read_text().strip() == f"CHAT={stage.value}"
        assert stage.value not in text + json.dumps(data)
        assert stage.value[-4:] in str(data["delivered"])
        assert len(api.writes) == 1


async def test_an_answer_without_the_new_value_is_as_good_as_lost(api: Api) -> None:
    async def without_value(x: Exchange) -> None:
        _, body = await x.forward()
        answer = json.loads(body)
        answer |= {"token": None, "clientToken": answer["clientToken"] | {"tokenValue": None}}
        await x.answer("201 Created", json.dumps(answer).encode())

    async with scene(api, "create_client_token") as stage:
        failed, text, data = await stage.write("create_client_token", without_value)
        assert not failed, text
        assert data["value"] == stage.value
        assert len(api.writes) == 1


# A call that is repeated.


async def test_a_create_that_is_repeated_after_a_lost_answer_is_recognised(api: Api) -> None:
    async with scene(api, "create_client_token") as stage:
        await stage.write("create_client_token", faults.closed_after_commit)
        failed, text, _ = await stage.write("create_client_token", faults.closed_after_commit)
        assert failed
        assert "There is a test client token of this name" in text
        assert api.writes == []
        assert len(api.store) == 1


async def test_a_create_that_was_not_done_can_be_repeated(api: Api) -> None:
    async with scene(api, "create_client_token") as stage:
        stage.proxy.spoil(faults.reset_unread, "POST", times=1)
        first = await stage.model.text("create_client_token", **SHOP)
        assert "it was not created" in first
        second = await stage.model.call("create_client_token", **SHOP)
        assert not second.is_error
        assert len(api.writes) == len(api.store) == 1


@pytest.mark.parametrize("tool", METHODS)
async def test_what_is_done_late_is_still_found(api: Api, tool: str) -> None:
    """The gateway gave up while the API was still writing: the second look finds what the first did not."""
    async with scene(api, tool) as stage:

        async def still_writing(x: Exchange) -> None:
            async def and_then(look: Exchange) -> None:
                seen = await look.forward()
                await x.forward()
                look.keep = True
                await look.say(b"\r\n\r\n".join(seen))

            stage.proxy.spoil(and_then, "GET", times=1)
            await x.answer("504 Gateway Timeout", b"")

        failed, text, data = await stage.write(tool, still_writing)
        assert not failed, text
        assert "it was done" in data["note"]
        if tool.startswith(("create", "regenerate")):
            assert data["value"] == stage.value
        assert len(api.writes) == 1


@pytest.mark.parametrize("fault", [faults.closed_after_commit, faults.reset_unread], ids=named)
async def test_a_namesake_from_before_is_not_taken_for_the_new_token(api: Api, fault: Fault) -> None:
    async with scene(api, "update_client_token") as stage:  # where there is a token already
        old = stage.value
        failed, text, data = await stage.write("create_client_token", fault, allow_duplicate_name=True)
        if fault is faults.reset_unread:
            assert failed
            assert "it was not created" in text
        else:
            assert not failed, text
            assert data["value"] == api.store.newest_first()[0].value != old


async def test_a_namesake_that_somebody_else_made_is_not_taken_for_the_new_token(api: Api) -> None:
    async with scene(api, "create_client_token") as stage:

        async def theirs(x: Exchange) -> None:
            x.raw = x.raw.replace(b"https://shop.example", b"https://evil.example")
            await x.forward()

        failed, text, _ = await stage.write("create_client_token", theirs)
        assert failed
        assert "unknown which" in text
        assert api.store.newest_first()[0].token["id"] in text
        assert stage.value not in text


async def test_a_namesake_in_the_other_environment_is_not_taken_for_the_new_token(api: Api) -> None:
    async with scene(api, "create_client_token") as stage:

        async def live(x: Exchange) -> None:
            x.raw = x.raw.replace(b'"test"', b'"live"')
            await x.forward()

        failed, text, _ = await stage.write("create_client_token", live)
        assert failed
        assert NOT_DONE["create_client_token"] in text


async def test_two_new_namesakes_are_both_named_and_none_is_guessed(api: Api) -> None:
    async with scene(api, "create_client_token") as stage:

        async def twice(x: Exchange) -> None:
            await x.forward()
            await x.forward()  # somebody else, at the same moment

        failed, text, _ = await stage.write("create_client_token", twice)
        assert failed
        assert "unknown which" in text
        assert all(record.token["id"] in text for record in api.store.newest_first())


# Somebody else acts at the same moment.


def renamed_by_somebody_else(api: Api) -> None:
    (record,) = api.store.newest_first()
    api.store.put(replace(record, token=record.token | {"name": "Theirs", "updatedAt": "2030-01-01T00:00:00.000Z"}))


@pytest.mark.parametrize("done", [True, False])
async def test_a_rename_by_somebody_else_is_not_taken_for_a_regeneration(api: Api, done: bool) -> None:
    async with scene(api, "regenerate_client_token") as stage:
        old = stage.value

        async def raced(x: Exchange) -> None:
            if done:
                await x.forward()
            renamed_by_somebody_else(api)

        failed, text, data = await stage.write("regenerate_client_token", raced)
        assert failed is not done, text
        if done:
            assert data["value"] == stage.value != old
        else:
            assert "no new value was made" in text
            assert old not in text


async def test_an_update_that_meets_another_one_is_told_as_unknown(api: Api) -> None:
    async with scene(api, "update_client_token") as stage:

        async def raced(x: Exchange) -> None:
            await x.forward()
            renamed_by_somebody_else(api)

        failed, text, _ = await stage.write("update_client_token", raced)
        assert failed
        assert "unknown" in text
        assert "Nothing was changed" not in text
        assert "get_client_token" in text


@pytest.mark.parametrize(
    "theirs",
    [{"rateLimitPerHour": 500}, {"name": "Renamed"}, {"targetAlias": "live", "updatedAt": "2030-01-01T00:00:00.000Z"}],
    ids=str,
)
async def test_half_of_an_update_is_told_as_unknown(api: Api, theirs: dict[str, Any]) -> None:
    async with scene(api, "update_client_token") as stage:

        async def half(_: Exchange) -> None:
            (record,) = api.store.newest_first()
            api.store.put(replace(record, token=record.token | theirs))

        failed, text, _ = await stage.write("update_client_token", half)
        assert failed
        assert "unknown" in text
        assert "Nothing was changed" not in text


@pytest.mark.parametrize("done", [True, False])
async def test_an_update_of_what_the_api_does_not_send_back_is_told_as_unknown(api: Api, done: bool) -> None:
    async with scene(api, "update_client_token") as stage:

        async def without_target(x: Exchange) -> None:
            _, body = await x.forward()
            answer = json.loads(body)
            del answer["clientToken"]["targetAlias"]
            x.keep = True
            await x.answer("200 OK", json.dumps(answer).encode())

        stage.proxy.spoil(without_target, "GET")
        stage.proxy.spoil(faults.closed_after_commit if done else faults.reset_unread, "PUT")
        text = await stage.model.text("update_client_token", client_token=stage.token, target_alias="live")
        assert ("unknown" if done else "it was not updated so far") in text


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("hint_after", [True, False])
async def test_without_a_hint_a_new_value_is_not_guessed(api: Api, done: bool, hint_after: bool) -> None:
    """An API that hints at no value: that the token was changed does not tell whether its value was."""
    async with scene(api, "regenerate_client_token") as stage:
        (record,) = api.store.newest_first()
        api.store.put(replace(record, token=record.token | {"tokenHint": None}))
        await stage.model.call("get_client_token", client_token=stage.token)

        async def raced(x: Exchange) -> None:
            if done:
                await x.forward()
            renamed_by_somebody_else(api)
            if not (done and hint_after):
                (now,) = api.store.newest_first()
                api.store.put(replace(now, token=now.token | {"tokenHint": None}))

        failed, text, data = await stage.write("regenerate_client_token", raced)
        if done and hint_after:
            assert data["value"] == stage.value
        else:
            assert failed
            assert "may have stopped working" in text
            assert stage.value not in text


async def test_an_api_that_says_it_did_not_delete_is_believed(api: Api) -> None:
    async with scene(api, "delete_client_token") as stage:

        async def no(x: Exchange) -> None:
            await x.answer("200 OK", b'{"success":false}')

        failed, text, _ = await stage.write("delete_client_token", no)
        assert failed
        assert "did not delete" in text


async def test_a_hint_that_holds_more_than_a_hint_is_no_change_to_show(api: Api) -> None:
    async with scene(api, "update_client_token") as stage:

        async def leaky(x: Exchange) -> None:
            _, body = await x.forward()
            answer = json.loads(body)
            answer["clientToken"]["tokenHint"] = stage.value
            await x.answer("200 OK", json.dumps(answer).encode())

        failed, text, data = await stage.write("update_client_token", leaky)
        assert not failed, text
        assert [change["field"] for change in data["changes"]] == ["name", "rate_limit_per_hour"]
        assert stage.value not in text


# The look fails too.


@pytest.mark.parametrize(
    "look", [faults.unavailable, faults.forbidden, faults.reset_unread, faults.redirect], ids=named
)
@pytest.mark.parametrize("write", [faults.closed_after_commit, faults.reset_unread], ids=named)
@pytest.mark.parametrize("tool", METHODS)
async def test_when_the_look_fails_too_nobody_claims_to_know(api: Api, tool: str, write: Fault, look: Fault) -> None:
    async with scene(api, tool) as stage:

        async def and_down(x: Exchange) -> None:
            stage.proxy.spoil(look, "GET")
            await write(x)

        failed, text, _ = await stage.write(tool, and_down)
        assert failed
        assert text.startswith("Error (permanent): ")
        assert "unknown" in text
        assert "Nothing was changed" not in text
        assert "may be repeated" not in text
        assert "get_client_token" in text or "list_client_tokens" in text
        assert len(api.writes) == (write is faults.closed_after_commit)


NO_PAGE = {
    "html": (b"<html>404 Not Found</html>", "Content-Type: text/html"),
    "json": (b'{"message":"no Route matched with those values"}', "Content-Type: application/json"),
    "alike": (b'{"error":"Not found"}', "Content-Type: application/json"),
}


@pytest.mark.parametrize("page", NO_PAGE.values(), ids=NO_PAGE.keys())
async def test_a_page_of_a_gateway_is_no_proof_that_a_token_is_gone(api: Api, page: tuple[bytes, str]) -> None:
    async with scene(api, "delete_client_token") as stage:

        async def and_gone(x: Exchange) -> None:
            stage.proxy.spoil(no_such_page, "GET")
            await faults.reset_unread(x)

        async def no_such_page(x: Exchange) -> None:
            await x.answer("404 Not Found", *page)

        failed, text, _ = await stage.write("delete_client_token", and_gone)
        assert failed, text
        assert "unknown" in text
        assert len(api.store) == 1


@pytest.mark.parametrize("tool", ["create_client_token", "regenerate_client_token"])
async def test_a_new_value_that_cannot_be_read_is_told_with_the_way_to_it(api: Api, tool: str) -> None:
    async with scene(api, tool) as stage:

        async def values_down(x: Exchange) -> None:
            if x.target.endswith("/token"):
                await faults.unavailable(x)
            else:
                x.keep = True
                await x.say(b"\r\n\r\n".join(await x.forward()))

        async def and_down(x: Exchange) -> None:
            await x.forward()
            stage.proxy.spoil(values_down, "GET")

        failed, text, _ = await stage.write(tool, and_down)
        assert failed
        assert "Nothing was changed" not in text
        assert api.store.newest_first()[0].token["id"] in text
        assert "get_client_token_value" in text
        assert stage.value not in text
        assert len(api.writes) == 1


async def test_a_new_value_that_the_api_did_not_keep_is_told(api: Api) -> None:
    async with scene(api, "regenerate_client_token") as stage:

        async def and_forgotten(x: Exchange) -> None:
            await x.forward()
            (record,) = api.store.newest_first()
            api.store.put(replace(record, value=None))

        failed, text, _ = await stage.write("regenerate_client_token", and_forgotten)
        assert failed
        assert "its value cannot be read" in text
        assert "The old value has probably stopped working" in text
        assert "Nothing was changed" not in text
