"""A decision on a card in the conversation: it takes the code that only the card was given, and decides one call.

Every test looks at what the API received.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from runtype_mcp.console.mcp_apps import APPROVAL
from runtype_mcp.server import build_server
from runtype_mcp.storage.cards import CARD_TTL, MAX_CARDS
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.state import MemoryState, State
from tests.confirmations import (
    BREAK,
    DELETE,
    EXPOSE,
    GATED,
    REGENERATE,
    SECRET,
    SHOW_OPEN,
    SITE,
    Case,
    Json,
    code_in,
    confirmed,
    decide_ticket,
    prepare,
    put,
    went_ahead,
)
from tests.protocol.canaries import recorded
from tests.support import KEY, LEGACY, MODERN, Api, McpClient, accept, mcp_client, no_wait, settings_for, text_of

pytestmark = pytest.mark.anyio

HUMAN = {"RUNTYPE_MCP_APPROVAL": "human"}
IN_APP = HUMAN | {"RUNTYPE_MCP_HUMAN_IN_APP": "true"}
"""A person must say yes, and may do so on a card: no call here goes ahead without one."""


class Clock:
    time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


async def preview(model: McpClient, case: Case, arguments: Json) -> Json:
    """What the page is told of a call that is previewed."""
    result = await model.call(case.tool, **arguments)
    assert (result.structured_content or {})["status"] == "preview", text_of(result)
    assert result.meta is not None
    told: Json = result.meta[APPROVAL]
    return told


async def click(model: McpClient, code: str, name: str = "Shop", decision: str = "approve") -> str:
    """What comes of a decision on the page."""
    result = await model.call("confirm_in_app", approval_code=code, name=name, decision=decision)
    assert result.structured_content is not None, text_of(result)
    assert result.structured_content["message"] in text_of(result)
    return str(result.structured_content["state"])


async def went(api: Api, model: McpClient, case: Case, arguments: Json) -> bool:
    """Whether the confirmed call goes ahead. Nothing was done before it, and what it does it does once."""
    reads = case is SHOW_OPEN
    assert not api.writes
    result = await model.call(case.tool, **confirmed(case, arguments))
    ahead = went_ahead(result)
    assert len(api.writes) == (1 if ahead and not reads else 0), text_of(result)
    assert any(path.endswith("/token") for _, path, _ in api.received) is (ahead and reads)
    return ahead


# A click


@pytest.mark.parametrize("environ", [{}, IN_APP], ids=["auto", "human in app"])
async def test_a_click_on_the_card_lets_the_same_call_go_ahead_once_without_another_question(
    api: Api, era: str, environ: Json
) -> None:
    async with mcp_client(api, era, accept("never"), **environ) as model:
        for case in GATED:
            arguments = prepare(api, case)
            told = await preview(model, case, arguments)
            assert await click(model, told["approvalCode"], case.name) == "approved"
            assert await went(api, model, case, arguments)
            assert not model.asked
            api.received.clear()
            if case is REGENERATE:  # of the others a second one finds nothing that it would do
                assert not await went(api, model, case, arguments)
            model.asked.clear()


async def test_a_typo_is_told_and_may_be_corrected(api: Api, era: str) -> None:
    async with mcp_client(api, era, None, **IN_APP) as model:
        arguments = prepare(api, DELETE)
        told = await preview(model, DELETE, arguments)
        for typo in ("Shopp", "", "deny"):
            assert await click(model, told["approvalCode"], typo) == "wrong_name"
            assert not await went(api, model, DELETE, arguments)
        assert await click(model, told["approvalCode"]) == "approved"
        assert await went(api, model, DELETE, arguments)


@pytest.mark.parametrize("environ", [{}, IN_APP], ids=["auto", "human in app"])
async def test_a_no_on_the_card_needs_no_name_and_stops_the_call_also_with_another_field(
    api: Api, era: str, environ: Json
) -> None:
    async with mcp_client(api, era, accept("Shop"), **environ) as model:
        arguments = prepare(api, EXPOSE)
        told = await preview(model, EXPOSE, arguments)
        assert await click(model, told["approvalCode"], "", "deny") == "denied"
        for more in ({}, {"name": "Shop 2"}):
            result = await model.call(EXPOSE.tool, **confirmed(EXPOSE, arguments | more))
            assert "A person denied this call" in text_of(result)
        assert not api.writes
        assert not model.asked


async def test_the_audit_log_says_that_it_was_approved_on_a_card(api: Api, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with mcp_client(api, LEGACY, None, RUNTYPE_MCP_AUDIT=str(log)) as model:
        arguments = prepare(api, DELETE)
        await click(model, (await preview(model, DELETE, arguments))["approvalCode"])
        assert await went(api, model, DELETE, arguments)
    approvals = [json.loads(line)["approval"] for line in log.read_text().splitlines()]
    assert approvals[0] == "none"
    assert all(approval.startswith("ticket ") and approval.endswith(" (app)") for approval in approvals[1:])
    assert len(approvals) == 3


# A model without the code


async def test_a_model_gets_nowhere_without_the_code(api: Api, era: str) -> None:
    async with mcp_client(api, era, None, **IN_APP) as model:
        for case in GATED:
            arguments = prepare(api, case)
            told = await preview(model, case, arguments)
            result = await model.call("confirm_in_app", name=case.name, decision="approve")
            assert result.is_error
            assert "Nothing was " in text_of(result)
            code = told["approvalCode"]
            for guess in (
                code[:-1],
                code.upper(),
                f"{code} 0",
                f"{int(code, 16) ^ 1:032x}",
                "0" * 32,
                "",
                "*",
                "%",
                "é",
            ):
                if guess:
                    assert await click(model, guess, case.name) == "gone"
            assert not await went(api, model, case, arguments)
            api.received.clear()


async def test_a_code_is_used_once(api: Api, era: str) -> None:
    async with mcp_client(api, era, None, **IN_APP) as model:
        for decision in ("approve", "deny"):
            arguments = prepare(api, REGENERATE)
            code = (await preview(model, REGENERATE, arguments))["approvalCode"]
            first = await click(model, code, "Shop", decision)
            assert await went(api, model, REGENERATE, arguments) is (first == "approved")
            assert await click(model, code) == await click(model, code, "", "deny") == "gone"
            api.received.clear()
            assert not await went(api, model, REGENERATE, arguments)


async def test_every_card_of_a_call_is_gone_once_it_is_decided(api: Api, era: str) -> None:
    async with mcp_client(api, era, None, **IN_APP) as model:
        arguments = prepare(api, DELETE)
        cards = [(await preview(model, DELETE, arguments))["approvalCode"] for _ in range(3)]
        assert len(set(cards)) == 3
        assert await click(model, cards[1], "", "deny") == "denied"
        assert await click(model, cards[0]) == await click(model, cards[2]) == "gone"
        assert not await went(api, model, DELETE, arguments)


async def test_a_code_expires_after_ten_minutes(api: Api, era: str) -> None:
    clock = Clock()
    async with mcp_client(api, era, None, MemoryState(now=clock), **IN_APP) as model:
        arguments = prepare(api, DELETE)
        told = await preview(model, DELETE, arguments)
        assert told["card"]["expires"] == clock.time + CARD_TTL == clock.time + 600
        clock.time += CARD_TTL
        assert await click(model, told["approvalCode"]) == "gone"
        assert not await went(api, model, DELETE, arguments)


async def test_a_clock_that_is_set_back_keeps_no_code_alive(api: Api) -> None:
    clock = Clock()
    async with mcp_client(api, MODERN, None, MemoryState(now=clock), **IN_APP) as model:
        told = await preview(model, DELETE, prepare(api, DELETE))
        clock.time -= 3600
        assert await click(model, told["approvalCode"]) == "gone"


async def test_a_code_is_for_one_plan(api: Api, era: str) -> None:
    """For another token, another change, another operation, and the same token once it has changed."""
    async with mcp_client(api, era, None, **IN_APP) as model:
        arguments = prepare(api, BREAK)
        other = put(api.store, allowedOrigins=[SITE, "https://www.shop.example"])
        code = (await preview(model, BREAK, arguments))["approvalCode"]
        assert await click(model, code) == "approved"
        assert not await went(api, model, BREAK, arguments | {"client_token": other})
        assert not await went(api, model, BREAK, arguments | {"allowed_origins": ["https://other.example"]})
        assert not await went(api, model, DELETE, {"client_token": arguments["client_token"]})
        (record,) = [r for r in api.store.newest_first() if r.token["id"] == arguments["client_token"]]
        record.token["rateLimitPerMinute"] += 1
        api.store.put(record)
        await model.call("get_client_token", client_token=arguments["client_token"])
        assert not await went(api, model, BREAK, arguments)


@asynccontextmanager
async def caller(api: Api, state: State, name: str, **environ: str) -> AsyncIterator[McpClient]:
    """A client that calls itself `name`, of a server that shares `state` with others."""
    server = build_server(settings_for(api, **environ), state=state, sleep=no_wait)
    async with Client(server, client_info=mcp_types.Implementation(name=name, version="1")) as client:
        yield McpClient(client, [])


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_code_is_for_one_caller_and_one_account(api: Api, tmp_path: Path, kind: str) -> None:
    states = [MemoryState()] * 4 if kind == "memory" else [SqliteState(tmp_path / "shared") for _ in range(4)]
    other_key = IN_APP | {"RUNTYPE_API_KEY": "rt_test_other"}
    async with (
        caller(api, states[0], "claude", **IN_APP) as claude,
        caller(api, states[1], "cursor", **IN_APP) as cursor,
        caller(api, states[2], "claude", **other_key) as other_account,
        caller(api, states[3], "claude", **IN_APP) as same,
    ):
        arguments = prepare(api, DELETE)
        code = (await preview(claude, DELETE, arguments))["approvalCode"]
        assert await click(cursor, code) == await click(other_account, code) == "gone"
        assert not await went(api, claude, DELETE, arguments)
        # Another connection of the same client may be the one that the page is on.
        assert await click(same, code) == "approved"
        assert not await went(api, other_account, DELETE, arguments)
        assert await went(api, claude, DELETE, arguments)


async def test_more_previews_than_are_kept_take_the_oldest_card_and_no_other(api: Api) -> None:
    async with mcp_client(api, MODERN, None, MemoryState(), **IN_APP) as model:
        arguments = prepare(api, DELETE)
        codes = [(await preview(model, DELETE, arguments))["approvalCode"] for _ in range(MAX_CARDS + 1)]
        assert await click(model, codes[0], "typo") == "gone"
        assert await click(model, codes[1], "typo") == await click(model, codes[-1], "typo") == "wrong_name"


# Where the code is


async def test_the_code_is_nowhere_but_in_the_meta_of_its_preview(
    api: Api, era: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a text, a structured result, a question, a notification, a log at DEBUG, a span, the audit log, a file."""
    folder = tmp_path / "watched"
    folder.mkdir()
    settings = settings_for(api, RUNTYPE_MCP_AUDIT=str(folder / "audit.jsonl"), RUNTYPE_MCP_LOG_LEVEL="DEBUG", **IN_APP)
    state = SqliteState(folder / "state")
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(repr(message))

    async def ask(context: ClientRequestContext, params: mcp_types.ElicitRequestParams) -> Any:
        heard.append(params.model_dump_json())
        return mcp_types.ElicitResult(action="decline")

    with recorded(folder, KEY, monkeypatch) as exits:
        server = build_server(settings, state=state, sleep=no_wait)
        async with Client(server, mode=era, elicitation_callback=ask, message_handler=hear) as client:
            model = McpClient(client, [])
            for case in GATED:
                arguments = prepare(api, case)
                result = await model.call(case.tool, **arguments)
                assert result.meta is not None
                code = result.meta.pop(APPROVAL)["approvalCode"]
                said = [result.model_dump_json(by_alias=True)]
                for call in (
                    (case.tool, confirmed(case, arguments)),
                    ("confirm_in_app", {"approval_code": code, "name": "typo", "decision": "approve"}),
                    ("confirm_in_app", {"approval_code": code, "name": case.name, "decision": "perhaps"}),
                    ("confirm_in_app", {"approval_code": code, "name": case.name, "decision": "approve"}),
                    ("confirm_in_app", {"approval_code": code, "name": case.name, "decision": "approve"}),
                    (case.tool, confirmed(case, arguments)),
                ):
                    said.append((await model.call(call[0], **call[1])).model_dump_json(by_alias=True))
                found = {"said": "".join(said), "heard": "".join(heard), **exits.drain()}
                assert heard
                heard.clear()
                assert found["logs"]
                assert [place for place, text in found.items() if code in text] == []
        await state.aclose()


async def test_only_a_hash_of_the_code_is_kept(api: Api, tmp_path: Path) -> None:
    async with mcp_client(api, LEGACY, None, SqliteState(tmp_path / "state")) as model:
        code = (await preview(model, DELETE, prepare(api, DELETE)))["approvalCode"]
        with sqlite3.connect(tmp_path / "state" / "state.db") as db:
            kept = db.execute("SELECT * FROM kept WHERE kind = 'card'").fetchall()
        db.close()
    assert len(kept) == 1
    assert code not in str(kept)


async def test_a_host_without_pages_is_told_the_same_in_text_and_data(api: Api, era: str) -> None:
    apps = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})
    for case in GATED:
        arguments = prepare(api, case)
        told = []
        for extensions in ([], [apps]):
            server = build_server(settings_for(api), sleep=no_wait)
            async with Client(server, mode=era, extensions=extensions) as client:
                result = await client.call_tool(case.tool, arguments)
                told.append((text_of(result), result.structured_content))
        assert told[0] == told[1]
        card = (result.meta or {})[APPROVAL]["card"]
        assert all(effect["sentence"] in told[0][0] for effect in card["effects"])
        assert card["undo"] in told[0][0]


# The operator's policy


async def test_human_takes_no_click_unless_the_operator_says_so(api: Api, era: str) -> None:
    state = MemoryState()
    async with mcp_client(api, era, None, state, **HUMAN) as model, mcp_client(api, era, None, state) as auto:
        for case in GATED:
            arguments = prepare(api, case)
            assert "approvalCode" not in await preview(model, case, arguments)
            # A code from a server that takes clicks makes none here either.
            told = await preview(auto, case, arguments)
            assert await click(model, told["approvalCode"], case.name) == "approved"
            assert not await went(api, model, case, arguments)


async def test_a_click_that_does_not_count_leaves_the_terminal_its_say(api: Api) -> None:
    async with mcp_client(api, LEGACY, None, **HUMAN) as model, mcp_client(api, LEGACY, None) as auto:
        arguments = prepare(api, DELETE)
        assert await click(auto, (await preview(auto, DELETE, arguments))["approvalCode"]) == "approved"
        text = await model.text(DELETE.tool, **confirmed(DELETE, arguments))
        await decide_ticket(code_in(text))
        assert await went(api, model, DELETE, arguments)


async def test_a_live_token_follows_its_own_policy(api: Api) -> None:
    async with mcp_client(api, MODERN, None, RUNTYPE_MCP_APPROVAL_LIVE="human") as model:
        live, test = put(api.store, name="Live"), put(api.store, name="Test", environment="test")
        assert "approvalCode" not in await preview(model, DELETE, {"client_token": live})
        assert "approvalCode" in await preview(model, DELETE, {"client_token": test})


async def test_where_no_person_is_needed_the_card_only_shows(api: Api) -> None:
    async with mcp_client(api, MODERN, None, RUNTYPE_MCP_APPROVAL="flag") as model:
        told = await preview(model, DELETE, prepare(api, DELETE))
        assert told["card"]["name"] == "Shop"
        assert "approvalCode" not in told


async def test_a_read_only_server_takes_a_click_for_a_value_and_for_nothing_else(api: Api, era: str) -> None:
    async with mcp_client(api, era, None, RUNTYPE_MCP_READ_ONLY="true", **IN_APP) as model:
        for case in GATED:
            arguments = prepare(api, case)
            if case is SHOW_OPEN:
                assert await click(model, (await preview(model, case, arguments))["approvalCode"]) == "approved"
                assert await went(api, model, case, arguments)
            else:
                assert "read-only" in await model.text(case.tool, **arguments)
                assert not await went(api, model, case, arguments)


async def names(model: McpClient) -> set[str]:
    return {tool.name for tool in (await model.client.list_tools()).tools}


async def test_the_operators_list_of_tools_is_about_models_and_leaves_the_page_its_own(api: Api, era: str) -> None:
    async with mcp_client(api, era, None, RUNTYPE_MCP_TOOLS="delete_*", **IN_APP) as model:
        assert await names(model) == {"delete_client_token", "confirm_in_app"}
        arguments = prepare(api, DELETE)
        assert await click(model, (await preview(model, DELETE, arguments))["approvalCode"]) == "approved"
        assert await went(api, model, DELETE, arguments)


async def test_where_nothing_is_gated_the_pages_tool_is_not_offered(api: Api, era: str) -> None:
    async with mcp_client(api, era, None, RUNTYPE_MCP_TOOLS="list_client_*,audit_*") as model:
        assert await names(model) == {"list_client_tokens", "list_client_token_conversations", "audit_client_tokens"}


async def test_a_preview_is_whole_where_no_card_can_be_kept(api: Api, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory belongs")
    async with mcp_client(api, LEGACY, None, SqliteState(tmp_path / "state")) as model:
        put(api.store, id="ct_1")
        result = await model.call("delete_client_token", client_token="ct_1")
    assert not result.is_error, text_of(result)
    assert result.meta is not None
    assert "approvalCode" not in result.meta[APPROVAL]


# What the card shows


async def test_a_card_shows_what_a_person_judges(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        arguments = prepare(api, BREAK)
        card = (await preview(model, BREAK, arguments))["card"]
    assert {name: card[name] for name in ("operation", "verb", "name", "environment", "sandbox", "state")} == {
        "operation": "update_client_token",
        "verb": "Update",
        "name": "Shop",
        "environment": "live",
        "sandbox": False,
        "state": "waiting",
    }
    assert card["token"]["id"] == arguments["client_token"]
    assert card["apiHost"] == api.url.removeprefix("http://")
    (change,) = card["changes"]
    assert (change["field"], change["after"]) == ("allowedOrigins", [SITE])
    assert [effect["kind"] for effect in card["effects"]] == ["outage"]


async def test_hostile_names_are_plain_lines_on_the_card_and_secrets_are_masked(api: Api, era: str) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202etxt\u200b\n\x1b[31mhttps://evil.example"
    async with mcp_client(api, era, None, **IN_APP) as model:
        token = put(api.store, name=hostile, allowedOrigins=[SITE, SECRET])
        told = await preview(model, DELETE, {"client_token": token})
        shown = json.dumps(told["card"], ensure_ascii=False)
        assert shown.isprintable()
        assert SECRET not in shown
        assert told["card"]["name"].startswith("<img src=x onerror=alert(1)>")  # inert: a page shows it as text
        # What is typed is what the card shows.
        assert await click(model, told["approvalCode"], told["card"]["name"]) == "approved"
