"""The whole way: a server as a client starts it, a call that waits, and a person in Chromium who decides it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from anyio.to_thread import run_sync
from playwright.async_api import Browser, Page, expect

from tests.confirmations import put
from tests.console.chromium import watch
from tests.console.desktop import Desktop
from tests.console.website import Website
from tests.processes import Process, started
from tests.support import KEY, Api

pytestmark = pytest.mark.anyio


@contextmanager
def waiting(api: Api) -> Iterator[tuple[Process, int]]:
    """A server process whose client cannot ask, and the number of its call, a deletion that waits for a person."""
    call = {"client_token": put(api.store), "confirm": True, "expected_name": "Shop"}
    with started(RUNTYPE_API_KEY=KEY, RUNTYPE_BASE_URL=api.url) as server:
        server.hello()
        yield server, server.ask("tools/call", {"name": "delete_client_token", "arguments": call})


async def answer(server: Process, number: int) -> dict[str, Any]:
    """What the call that waits comes to. It is not repeated."""
    found: dict[str, Any] = (await run_sync(server.answer, number))["result"]
    return found


async def opened(chromium: Browser, desktop: Desktop) -> Page:
    """The page in Chromium, at the address that the server had the person's browser open."""
    page = await chromium.new_page()
    await page.goto(await run_sync(desktop.address))
    await expect(page.get_by_role("heading", level=2)).to_have_text("Delete “Shop”?")
    return page


async def approve(page: Page) -> None:
    await page.get_by_label("To approve, type the name").fill("Shop")
    await page.get_by_role("button", name="Approve", exact=True).click()
    await expect(page.locator(".outcome")).to_contain_text("Approved")


async def test_a_call_completes_by_itself_once_a_person_approves_it(
    api: Api, chromium: Browser, desktop: Desktop
) -> None:
    with waiting(api) as (server, number):
        page = await opened(chromium, desktop)
        faults: list[str] = []
        watch(page, page.url, faults)
        assert api.writes == []
        await approve(page)
        await expect(page.locator(".outcome")).to_contain_text("The call goes ahead now.")
        result = await answer(server, number)
        assert "Deleted" in json.dumps(result)
        assert not result.get("isError")
        assert [write[0] for write in api.writes] == ["DELETE"]
        assert (len(desktop.opened), faults) == (1, [])
        await page.close()


async def test_a_call_that_a_person_denies_ends_by_itself_and_changes_nothing(
    api: Api, chromium: Browser, desktop: Desktop
) -> None:
    with waiting(api) as (server, number):
        page = await opened(chromium, desktop)
        await page.get_by_label("To approve, type the name").fill("Shop")
        await page.get_by_role("button", name="Deny").click()
        await expect(page.locator(".outcome")).to_contain_text("Denied")
        result = await answer(server, number)
        assert result["isError"]
        assert "A person denied this call" in json.dumps(result)
        assert api.writes == []
        await page.close()


@pytest.mark.parametrize("how", ["same tab", "new tab"])
async def test_a_page_that_was_opened_from_another_site_can_be_reloaded_and_decides(
    api: Api, chromium: Browser, desktop: Desktop, website: Website, how: str
) -> None:
    """As a person does who clicks a link in a client that is a website itself."""
    with waiting(api) as (server, number):
        target = ' target="_blank"' if how == "new tab" else ""
        website.body = f'<a href="{await run_sync(desktop.address)}"{target}>Approve</a>'
        page = await chromium.new_page()
        await page.goto(website.url)
        if how == "new tab":
            async with page.expect_popup() as popup:
                await page.get_by_role("link").click()
            page = await popup.value
        else:
            await page.get_by_role("link").click()
        await expect(page.locator("article")).to_contain_text("Shop")
        await page.reload()
        await expect(page.locator("article")).to_contain_text("Shop")
        if how == "same tab":
            await page.go_back()
            await page.go_forward()
            await expect(page.locator("article")).to_contain_text("Shop")
        await approve(page)
        assert not (await answer(server, number)).get("isError")
        assert len(api.writes) == 1
        await page.context.close()
