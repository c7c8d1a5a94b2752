"""Approval in the browser, answer by answer, where the client cannot ask: what the API received counts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import mcp_types
import pytest

from runtype_mcp.console.browser_pages import OPEN, BrowserPages
from runtype_mcp.console.session import COOKIE
from runtype_mcp.settings import Settings
from runtype_mcp.storage import audit_log
from runtype_mcp.storage.state import MemoryState
from tests.confirmations import DECLINE, DELETE, GATED, REGENERATE, code_in, confirmed, decide_ticket, prepare, put
from tests.confirmations import went_ahead as ahead
from tests.console.browsing import ASKED, OPENED, Browser, request
from tests.console.desktop import Desktop, approve, at, decide, deny, desktop_in
from tests.processes import until
from tests.support import MODERN, Api, McpClient, mcp_client, text_of

pytestmark = pytest.mark.anyio

POLICIES = ("auto", "human")
SHORT = {"RUNTYPE_MCP_APPROVAL_WAIT": "0.1"}
"""The patience of a client that waits for nobody."""


@asynccontextmanager
async def at_desk(api: Api, era: str, state: MemoryState | None = None, /, **environ: str) -> AsyncIterator[McpClient]:
    """A client that cannot ask, of a server that may open pages."""
    async with mcp_client(api, era, None, state, True, **environ) as model:
        yield model


@asynccontextmanager
async def beside(act: Callable[[], Any]) -> AsyncIterator[None]:
    """Somebody acts while the block runs."""
    async with anyio.create_task_group() as group:
        group.start_soon(act)
        yield


async def answered(
    model: McpClient, desktop: Desktop, call: dict[str, Any], acts: Callable[[Browser], Any], tool: str = DELETE.tool
) -> mcp_types.CallToolResult:
    """Make a call, and have a person act on the page that it opens."""
    async with beside(lambda: desktop.person(acts)):
        return await model.call(tool, **call)


def refusal(api: Api, result: mcp_types.CallToolResult) -> str:
    """What a refusal says; nothing was written."""
    text = text_of(result)
    assert result.is_error, text
    assert "Nothing was changed" in text
    assert not api.writes
    return text


@pytest.mark.parametrize("policy", POLICIES)
async def test_one_page_opens_and_the_call_completes_without_being_repeated(
    api: Api, era: str, desktop: Desktop, tmp_path: Path, policy: str
) -> None:
    log = tmp_path / "audit.jsonl"
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with at_desk(api, era, RUNTYPE_MCP_APPROVAL=policy, RUNTYPE_MCP_AUDIT=str(log)) as model:
        result = await answered(model, desktop, yes, approve)
        assert ahead(result), text_of(result)
    assert (len(api.writes), len(desktop.opened)) == (1, 1)
    approvals = {row.approval for row in audit_log.rows(log)}
    (how,) = approvals
    assert re.fullmatch(r"ticket [0-9A-Z]{4}-[0-9A-Z]{4} \(page\)", how)


async def test_every_kind_of_gated_call_can_be_approved_on_the_page(api: Api, era: str, desktop: Desktop) -> None:
    async with at_desk(api, era) as model:
        for case in GATED:
            yes = confirmed(case, prepare(api, case))
            async with beside(partial(desktop.in_open_page, partial(decided, name=case.name))):
                result = await model.call(case.tool, **yes)
            assert ahead(result), (case.does, text_of(result))


def decided(page: Browser, name: str) -> None:
    until(page.cards, "a call that waits")
    assert decide(page, "approve", name).status_code == 200


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_denial_refuses_and_holds_without_another_page(
    api: Api, era: str, desktop: Desktop, policy: str
) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with at_desk(api, era, RUNTYPE_MCP_APPROVAL=policy) as model:
        text = refusal(api, await answered(model, desktop, yes, deny))
        assert "A person denied this call" in text
        assert "Do not call again" in text
        assert "A person denied this call" in refusal(api, await model.call(DELETE.tool, **yes))
    assert len(desktop.opened) == 1


async def test_a_typo_is_told_and_the_call_still_waits(api: Api, era: str, desktop: Desktop) -> None:
    def types(page: Browser) -> None:
        for typed in ("Shpo", "", "shop"):
            answer = decide(page, "approve", typed)
            assert (answer.status_code, api.writes) == (409, [])
        assert approve(page).json() == {"state": "approved", "message": "Approved. The call goes ahead now."}

    async with at_desk(api, era) as model:
        assert ahead(await answered(model, desktop, confirmed(DELETE, prepare(api, DELETE)), types))
    assert len(api.writes) == 1


async def test_the_page_shows_the_call_whole(api: Api, desktop: Desktop) -> None:
    change = {"allowed_origins": ["*"], "name": "Shop <b>x</b>"}
    call = {"client_token": put(api.store), "confirm": True, "expected_name": "Shop", **change}
    seen: list[dict[str, Any]] = []

    def look(page: Browser) -> None:
        seen.extend(page.cards())
        deny(page)

    async with at_desk(api, MODERN) as model:
        refusal(api, await answered(model, desktop, call, look, "update_client_token"))
    (card,) = seen
    assert (card["verb"], card["name"], card["state"], card["environment"]) == ("Update", "Shop", "waiting", "live")
    assert {"field": "name", "before": "Shop", "after": "Shop <b>x</b>"} in card["changes"]
    assert any("every website" in effect["sentence"] for effect in card["effects"])
    assert card["requestedBy"].startswith("mcp")


# Nobody decides.


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_page_that_is_closed_or_left_alone_decides_nothing_and_the_call_may_be_repeated(
    api: Api, era: str, desktop: Desktop, policy: str
) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with at_desk(api, era, RUNTYPE_MCP_APPROVAL=policy, **SHORT) as model:
        text = refusal(api, await model.call(DELETE.tool, **yes))
        assert "A page is open in the user's browser" in text
        assert "repeat this exact call" in text
        assert code_in(text)  # the page may be where nobody sees it
        await desktop.person(lambda page: page.cards())  # opened, looked at, and closed
        assert "A page is open" in refusal(api, await model.call(DELETE.tool, **yes))
        assert len(desktop.opened) == 1, "a page that is open is not opened again"


async def test_what_is_approved_after_the_call_ended_lets_the_same_call_through_once(
    api: Api, era: str, desktop: Desktop
) -> None:
    arguments = prepare(api, REGENERATE)
    yes = confirmed(REGENERATE, arguments)
    async with at_desk(api, era, **SHORT) as model:
        refusal(api, await model.call(REGENERATE.tool, **yes))
        said = await desktop.person(approve)
        assert "Tell your assistant to repeat the call" in said.json()["message"]
        other = confirmed(DELETE, {"client_token": arguments["client_token"]})
        refusal(api, await model.call(DELETE.tool, **other))
        assert ahead(await model.call(REGENERATE.tool, **yes))
        assert len(api.writes) == 1
        assert not ahead(await model.call(REGENERATE.tool, **yes))
        assert len(api.writes) == 1


async def test_a_page_that_nobody_has_open_any_more_is_opened_anew(api: Api, desktop: Desktop) -> None:
    """A person closes the tab by accident. A minute later the assistant repeats the call."""
    now, state = [0.0], MemoryState()
    pages = BrowserPages(Settings(), state, lambda: now[0])
    ticket = await state.request_ticket(request())
    for after, count in ((0, 1), (OPEN - 0.1, 1), (OPEN, 2)):
        now[0] = after
        pages.show(ticket)
        await anyio.to_thread.run_sync(desktop.address, count)
        assert len(desktop.opened) == count
    await pages.aclose()


async def test_a_request_that_expires_while_the_page_is_open_ends_the_call(
    api: Api, era: str, desktop: Desktop
) -> None:
    now = [1_000_000.0]
    state = MemoryState(now=lambda: now[0])

    def wait(page: Browser) -> None:
        (card,) = page.cards()
        now[0] += 901
        body = {"decision": "approve", "name": "Shop", "decisionToken": card["decisionToken"]}
        answer = page.post(f"api/approvals/{card['code']}", body)
        assert (answer.status_code, answer.json()["state"]) == (410, "gone")

    async with at_desk(api, era, state) as model:
        text = refusal(api, await answered(model, desktop, confirmed(DELETE, prepare(api, DELETE)), wait))
        assert "expired" in text


async def test_a_call_that_the_client_gives_up_writes_nothing(api: Api, desktop: Desktop) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with at_desk(api, MODERN) as model:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: model.call(DELETE.tool, **yes))
            await anyio.to_thread.run_sync(desktop.address)
            group.cancel_scope.cancel()
        said = await desktop.person(approve)
        assert "repeat the call" in said.json()["message"]
        assert not api.writes
        assert ahead(await model.call(DELETE.tool, **yes))
    assert len(api.writes) == 1


# What moves in between.


@pytest.mark.parametrize("change", [{"rateLimitPerMinute": 7}, {"name": "Renamed"}, {"tokenHint": "ffff"}], ids=str)
async def test_a_token_that_changes_while_the_page_is_open_is_not_touched(
    api: Api, era: str, desktop: Desktop, change: dict[str, Any]
) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))

    def act(page: Browser) -> None:
        (record,) = api.store.newest_first()
        api.store.put(replace(record, token=record.token | change))
        assert approve(page).status_code == 200

    async with at_desk(api, era) as model:
        assert "changed" in refusal(api, await answered(model, desktop, yes, act))


async def test_a_token_that_is_deleted_while_the_page_is_open_is_reported_gone(
    api: Api, era: str, desktop: Desktop
) -> None:
    def act(page: Browser) -> None:
        (record,) = api.store.newest_first()
        api.store.delete(record.token["id"])
        approve(page)

    async with at_desk(api, era) as model:
        text = refusal(api, await answered(model, desktop, confirmed(DELETE, prepare(api, DELETE)), act))
        assert "no such client token" in text


async def test_two_calls_at_the_same_time_are_on_one_page_and_each_is_decided_for_itself(
    api: Api, era: str, desktop: Desktop
) -> None:
    calls = {name: {"client_token": put(api.store, name=name), "confirm": True, "expected_name": name} for name in "AB"}
    results: dict[str, mcp_types.CallToolResult] = {}

    def act(page: Browser) -> None:
        until(lambda: len(page.cards()) == 2, "two calls that wait")
        cards = {card["name"]: card["code"] for card in page.cards()}
        assert decide(page, "approve", "B", code=cards["A"]).status_code == 409, "the other one's name"
        assert decide(page, "deny", code=cards["A"]).status_code == 200
        assert decide(page, "approve", "B", code=cards["B"]).status_code == 200

    async with at_desk(api, era) as model:

        async def call(name: str) -> None:
            results[name] = await model.call(DELETE.tool, **calls[name])

        async with anyio.create_task_group() as group:
            group.start_soon(call, "A")
            group.start_soon(call, "B")
            await desktop.person(act)
    assert (ahead(results["A"]), ahead(results["B"])) == (False, True)
    assert [path for _, path, _ in api.writes] == [f"/v1/client-tokens/{calls['B']['client_token']}"]
    assert len(desktop.opened) == 1


async def test_one_approval_lets_one_of_two_equal_calls_through(api: Api, era: str, desktop: Desktop) -> None:
    yes = confirmed(REGENERATE, prepare(api, REGENERATE))
    results: list[mcp_types.CallToolResult] = []

    async with at_desk(api, era) as model:

        async def call() -> None:
            results.append(await model.call(REGENERATE.tool, **yes))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            group.start_soon(call)
            await desktop.person(approve)
    assert sorted(map(ahead, results)) == [False, True]
    assert len(api.writes) == 1


async def test_a_decision_in_a_terminal_counts_while_the_page_is_open(api: Api, era: str, desktop: Desktop) -> None:
    for approves in (False, True):
        yes = confirmed(DELETE, prepare(api, DELETE))

        async def terminal(approves: bool = approves) -> None:
            (card,) = await desktop.in_open_page(lambda page: until(page.cards, "a call that waits"))
            await decide_ticket(card["code"], approve=approves)

        async with at_desk(api, era) as model, beside(terminal):
            assert ahead(await model.call(DELETE.tool, **yes)) is approves
        assert len(api.writes) == int(approves)


# No page.


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_browser_that_cannot_be_opened_fails_closed(api: Api, era: str, tmp_path: Path, policy: str) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    with desktop_in(tmp_path, works=False):
        async with at_desk(api, era, RUNTYPE_MCP_APPROVAL=policy) as model:
            code = code_in(refusal(api, await model.call(DELETE.tool, **yes)))
            await decide_ticket(code)
            assert ahead(await model.call(DELETE.tool, **yes))
    assert len(api.writes) == 1


@pytest.mark.parametrize(
    "environ",
    [{"RUNTYPE_MCP_PAGES": "off"}, {"RUNTYPE_MCP_APPROVAL": "flag"}, {"RUNTYPE_MCP_APPROVAL": "deny"}],
    ids=str,
)
async def test_no_page_opens_where_none_is_wanted(
    api: Api, era: str, desktop: Desktop, environ: dict[str, str]
) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with at_desk(api, era, **environ) as model:
        assert ahead(await model.call(DELETE.tool, **yes)) is (environ != {"RUNTYPE_MCP_APPROVAL": "deny"})
    assert desktop.opened == []


async def test_no_page_opens_for_a_preview_a_wrong_name_or_a_client_with_forms(
    api: Api, era: str, desktop: Desktop
) -> None:
    arguments = prepare(api, DELETE)
    async with at_desk(api, era) as model:
        await model.call(DELETE.tool, **arguments)
        refusal(api, await model.call(DELETE.tool, **arguments, confirm=True))
        refusal(api, await model.call(DELETE.tool, **arguments, confirm=True, expected_name="Support"))
        assert ahead(await model.call("list_client_tokens"))
    async with mcp_client(api, era, DECLINE, None, True) as asks:
        refusal(api, await asks.call(DELETE.tool, **confirmed(DELETE, arguments)))
        assert len(asks.asked) == 1
    assert desktop.opened == []


async def test_a_server_for_several_clients_opens_no_page(api: Api, era: str, desktop: Desktop) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with mcp_client(api, era) as model:
        assert ahead(await model.call(DELETE.tool, **yes))
    assert desktop.opened == []


# The page's server.


async def test_the_page_is_served_until_nothing_waits_and_a_later_call_has_a_new_session(
    api: Api, desktop: Desktop
) -> None:
    async with at_desk(api, MODERN) as model:
        cookies: list[str] = []

        def act(page: Browser) -> None:
            cookies.append(page.client.cookies[COOKIE])
            approve(page)
            until(lambda: not page.is_served(), "the server of the page ends")

        async with beside(lambda: desktop.person(act)):
            assert ahead(await model.call(DELETE.tool, **confirmed(DELETE, prepare(api, DELETE))))

        def again(page: Browser) -> None:
            first, second = desktop.opened
            assert first.rpartition("/open/")[0] != second.rpartition("/open/")[0]
            stale = httpx.get(f"{page.base}api/approvals", headers=ASKED, cookies={COOKIE: cookies[0]})
            assert stale.status_code == 403
            replayed = page.base + first[first.index("open/") :]
            assert httpx.get(replayed, headers=OPENED).status_code == 403
            approve(page)

        yes = confirmed(DELETE, prepare(api, DELETE))
        async with beside(lambda: anyio.to_thread.run_sync(lambda: _act_on(desktop.address(2), again))):
            assert ahead(await model.call(DELETE.tool, **yes))
        assert len(api.writes) == 1


def _act_on(address: str, acts: Callable[[Browser], Any]) -> None:
    with at(address) as page:
        acts(page)


async def test_the_page_shows_only_what_this_server_asked(api: Api, desktop: Desktop) -> None:
    async with mcp_client(api, MODERN, RUNTYPE_MCP_APPROVAL="human") as elsewhere, at_desk(api, MODERN) as model:
        mine, theirs = (
            {"client_token": put(api.store, name=name), "confirm": True, "expected_name": name} for name in "AB"
        )
        code = code_in(text_of(await elsewhere.call(DELETE.tool, **theirs)))

        def act(page: Browser) -> None:
            (card,) = page.cards()
            assert card["name"] == "A"
            body = {"decision": "approve", "name": "B", "decisionToken": card["decisionToken"]}
            assert page.post(f"api/approvals/{code}", body).status_code == 410
            decide(page, "approve", "A")

        assert ahead(await answered(model, desktop, mine, act))
        assert not ahead(await elsewhere.call(DELETE.tool, **theirs))


async def test_progress_is_reported_while_a_person_is_asked(api: Api, era: str, desktop: Desktop) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    told: list[tuple[float, float | None, str | None]] = []
    heard = anyio.Event()

    async def hears(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))
        if len(told) == 2:
            heard.set()

    async with at_desk(api, era) as model, anyio.create_task_group() as group:

        async def act() -> None:
            await heard.wait()
            await desktop.person(approve)

        group.start_soon(act)
        result = await model.client.call_tool(DELETE.tool, yes, progress_callback=hears)
        assert ahead(result)
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert {(total, message) for _, total, message in told} == {(50, "A person is asked on a page in their browser.")}
