"""Approval on a page that the client opens (URL elicitation), for clients that open links and show no forms."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types
import pytest
from mcp import Client
from mcp.client.session import ClientRequestContext, ClientSession

from runtype_mcp.server import build_server
from tests.confirmations import DELETE, confirmed, prepare
from tests.confirmations import went_ahead as ahead
from tests.console.browsing import Browser
from tests.console.desktop import Desktop, approve, at, deny
from tests.processes import TIMEOUT
from tests.support import LEGACY, MODERN, Api, no_wait, settings_for, text_of

pytestmark = pytest.mark.anyio

SHORT = {"RUNTYPE_MCP_APPROVAL_WAIT": "0.1"}
POLICIES = ("auto", "human")


@pytest.fixture(autouse=True)
def _only_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clients can open links, and cannot show forms."""
    build = ClientSession._build_capabilities

    def declared(self: ClientSession, version: str) -> mcp_types.ClientCapabilities:
        links = mcp_types.ElicitationCapability(url=mcp_types.UrlElicitationCapability())
        return build(self, version).model_copy(update={"elicitation": links})

    monkeypatch.setattr(ClientSession, "_build_capabilities", declared)


@dataclass
class LinkClient:
    """A client, the links that it was asked to open, and the notifications that it got."""

    client: Client
    asked: list[mcp_types.ElicitRequestURLParams] = field(default_factory=list)
    notified: list[Any] = field(default_factory=list)

    async def call(self, **arguments: Any) -> mcp_types.CallToolResult:
        return await self.client.call_tool(DELETE.tool, arguments)


@asynccontextmanager
async def link_client(
    api: Api, era: str, acts: Callable[[Browser], Any] | None, action: str = "accept", **environ: str
) -> AsyncIterator[LinkClient]:
    """`acts` is what a person does on the page once the client has opened it; `action` is what the client answers."""
    asked, notified = list[mcp_types.ElicitRequestURLParams](), list[Any]()

    def sit(address: str) -> None:
        with at(address) as page:
            if acts is not None:
                acts(page)

    async with anyio.create_task_group() as group:

        async def opens(context: ClientRequestContext, params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
            assert isinstance(params, mcp_types.ElicitRequestURLParams)
            asked.append(params)
            if acts is not None:
                group.start_soon(anyio.to_thread.run_sync, sit, params.url)
            return mcp_types.ElicitResult(action=action)

        async def hears(message: Any) -> None:
            notified.append(message)

        server = build_server(settings_for(api, **environ), pages=True, sleep=no_wait)
        async with Client(server, mode=era, elicitation_callback=opens, message_handler=hears) as client:
            yield LinkClient(client, asked, notified)


@pytest.mark.parametrize("policy", POLICIES)
async def test_the_client_opens_the_page_and_the_call_goes_ahead(api: Api, era: str, policy: str) -> None:
    async with link_client(api, era, approve, RUNTYPE_MCP_APPROVAL=policy) as model:
        result = await model.call(**confirmed(DELETE, prepare(api, DELETE)))
        assert ahead(result), text_of(result)
        (asked,) = model.asked
        assert (asked.mode, "Shop" in asked.message) == ("url", True)
        assert asked.url not in asked.message
        completed = [m for m in model.notified if isinstance(m, mcp_types.ElicitCompleteNotification)]
        # Newer versions have neither the id nor the notification: the client's next request is the answer.
        ids = [m.params.elicitation_id for m in completed]
        assert ids == ([asked.elicitation_id] if era == LEGACY else [])
        assert (asked.elicitation_id is None) is (era == MODERN)
    assert len(api.writes) == 1


@pytest.mark.parametrize("policy", POLICIES)
async def test_no_browser_of_ours_is_needed_and_none_is_opened(
    api: Api, era: str, desktop: Desktop, policy: str
) -> None:
    async with link_client(api, era, deny, RUNTYPE_MCP_APPROVAL=policy) as model:
        result = await model.call(**confirmed(DELETE, prepare(api, DELETE)))
        assert "A person denied this call" in text_of(result)
    assert (api.writes, desktop.opened) == ([], [])


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_link_that_is_not_opened_is_a_no(api: Api, era: str, action: str) -> None:
    async with link_client(api, era, None, action) as model:
        text = text_of(await model.call(**confirmed(DELETE, prepare(api, DELETE))))
        assert "the client did not open the page" in text
        assert "Do not call again" in text
    assert not api.writes


async def test_a_client_that_says_it_opened_the_page_has_approved_nothing(api: Api, era: str) -> None:
    async with link_client(api, era, None, **SHORT) as model:
        text = text_of(await model.call(**confirmed(DELETE, prepare(api, DELETE))))
        assert "repeat this exact call" in text
        assert not [m for m in model.notified if isinstance(m, mcp_types.ElicitCompleteNotification)]
    assert not api.writes


async def test_a_repeated_call_is_not_asked_about_again_while_the_page_is_open(api: Api, era: str) -> None:
    looked = threading.Event()
    yes = confirmed(DELETE, prepare(api, DELETE))

    def look(page: Browser) -> None:
        page.cards()
        looked.set()

    async with link_client(api, era, look, **SHORT) as model:
        assert not ahead(await model.call(**yes))
        assert await anyio.to_thread.run_sync(looked.wait, TIMEOUT)
        assert not ahead(await model.call(**yes))
        assert len(model.asked) == 1
    assert not api.writes


async def test_an_answer_that_nobody_was_asked_for_approves_nothing(api: Api) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with link_client(api, MODERN, None, **SHORT) as model:
        answers: mcp_types.InputResponses = {"approval_page": mcp_types.ElicitResult(action="accept")}
        result = await model.client.session.call_tool(DELETE.tool, yes, input_responses=answers)
        assert "No person has decided yet" in text_of(result)
        answers = {"approval_page": mcp_types.ListRootsResult(roots=[])}
        result = await model.client.session.call_tool(DELETE.tool, yes, input_responses=answers)
        assert "did not open the page" in text_of(result)
    assert not api.writes


async def test_without_pages_a_client_that_only_opens_links_cannot_ask(api: Api, era: str) -> None:
    async with link_client(api, era, None, RUNTYPE_MCP_PAGES="off") as model:
        assert ahead(await model.call(**confirmed(DELETE, prepare(api, DELETE))))
        assert not model.asked


async def test_a_client_that_fails_to_open_the_page_writes_nothing(api: Api) -> None:
    async def fails(
        context: ClientRequestContext, params: mcp_types.ElicitRequestParams
    ) -> mcp_types.ElicitResult | mcp_types.ErrorData:
        return mcp_types.ErrorData(code=mcp_types.INTERNAL_ERROR, message="no window")

    server = build_server(settings_for(api), pages=True, sleep=no_wait)
    async with Client(server, mode=LEGACY, elicitation_callback=fails) as client:
        text = text_of(await client.call_tool(DELETE.tool, confirmed(DELETE, prepare(api, DELETE))))
        assert "The client could not open the page" in text
    assert not api.writes
