"""The console in a person's browser: what it shows is what the server reads, and what they decide there counts."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from runtype_mcp.storage.audit_log import AuditLog
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.tickets import Ticket
from tests.commands.test_console import printed
from tests.console.browsing import request
from tests.console.chromium import NARROW, WIDE, violations, watch
from tests.processes import on_terminal

pytestmark = pytest.mark.anyio
NAME = "Northwind Store - Support"
VIEWS = ("Tokens", "Findings", "Approvals", "Audit log")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An audit log with more lines than the console shows at once."""
    path = tmp_path / "audit.jsonl"
    for number in range(1, 61):
        call = {"call": f"c{number}", "tool": "delete_client_token", "caller": "claude-ai 1.2", "token": f"ct_{number}"}
        AuditLog(path).append({"event": "started", **call, "effects": ["It stops working."]})
        AuditLog(path).append({"event": "ended", **call, "name": f"Shop {number}", "outcome": "done"})
    return path


@pytest.fixture
def state() -> Iterator[SqliteState]:
    """What is kept for all servers of this user, the console among them."""
    kept = SqliteState(Path(os.environ["RUNTYPE_MCP_STATE_DIR"]))
    yield kept
    asyncio.run(kept.aclose())


async def ask(state: SqliteState, number: int = 1) -> Ticket:
    """A call of some assistant that waits for a person."""
    effects = [{"kind": "outage", "severity": "high", "sentence": "Pages on https://shop.example stop working."}]
    card = request(number).card | {"effects": effects, "undo": "A deleted token cannot be brought back."}
    return await state.request_ticket(request(number, card=card))


@asynccontextmanager
async def console(chromium: Browser, log: Path, **look: Any) -> AsyncIterator[Page]:
    """The page of `runtype-mcp console`, a real process on the sandbox. At the end it may have had no fault."""
    settings = {"RUNTYPE_MCP_AUDIT": str(log), "COLUMNS": "60"}
    faults: list[str] = []
    with on_terminal("console", "--sandbox", "--no-open", **settings) as terminal:
        address = printed(terminal)
        context = await chromium.new_context(**{"viewport": WIDE, "reduced_motion": "reduce"} | look)
        page = await context.new_page()
        watch(page, address[: address.index("open/")], faults)
        await page.goto(address)
        await expect(rows(page).first).to_be_visible()
        yield page
        await context.close()
    assert not faults, faults


def rows(page: Page) -> Locator:
    return page.locator("tbody tr")


def edit(log: Path) -> None:
    """Change one line, as somebody who wants to hide something."""
    log.write_text(log.read_text().replace(json.dumps("Shop 7"), json.dumps("Shop 8")))


async def view(page: Page, name: str) -> None:
    await page.get_by_role("navigation").get_by_role("link", name=name).click()


async def test_tokens_are_sorted_and_filtered_and_one_is_opened(chromium: Browser, log: Path) -> None:
    async with console(chromium, log) as page:
        count = await rows(page).count()
        await expect(page.get_by_role("status").first).to_have_text(f"{count} tokens")
        await page.get_by_role("button", name="Last used").click()
        await expect(rows(page).first).to_contain_text("never")
        await page.get_by_role("button", name="Last used").click()
        await expect(rows(page).last).to_contain_text("never")
        await page.get_by_label("Origins").select_option("Open to all")
        await expect(rows(page)).to_have_count(2)
        await page.get_by_label("Origins").select_option("All")
        await page.get_by_label("State").select_option("Inactive")
        await expect(rows(page)).to_have_count(1)
        await page.get_by_label("State").select_option("All")
        await page.get_by_label("Search").fill("northwind store - support")
        await expect(page.get_by_role("status").first).to_have_text(f"1 of {count} tokens")
        await page.get_by_role("link", name=NAME).click()
        card = page.locator(".card")
        await expect(card).to_contain_text(NAME)
        for text in ("Requests per minute", "https://www.northwind.example", "Value ends with"):
            await expect(card).to_contain_text(text)
        await expect(page.get_by_role("heading", name="Conversations")).to_be_visible()
        await expect(page.locator("main")).to_contain_text("first message")
        await page.reload()
        await expect(card).to_contain_text(NAME)
        await page.get_by_role("link", name="All tokens").click()
        await expect(rows(page)).to_have_count(count)


async def test_findings_come_worst_first_each_with_its_fix(chromium: Browser, log: Path) -> None:
    async with console(chromium, log) as page:
        tokens = await rows(page).count()
        await view(page, "Findings")
        await expect(page.locator("main")).to_contain_text(f"{tokens} tokens checked")
        severities = await page.locator("li > :first-child .badge").all_inner_texts()
        assert severities == sorted(severities, key=["high", "medium", "low"].index)
        assert len(set(severities)) == 3
        await page.get_by_text("Fix", exact=True).first.click()
        await expect(page.get_by_text("update_client_token", exact=False).first).to_be_visible()


async def test_a_waiting_call_is_approved_in_the_console(chromium: Browser, log: Path, state: SqliteState) -> None:
    ticket = await ask(state)
    async with console(chromium, log) as page:
        await expect(page.get_by_role("navigation")).to_contain_text("1 waiting")
        await view(page, "Approvals")
        await expect(page.locator("article")).to_contain_text("stop working")
        await page.get_by_label("To approve, type the name").fill("Shop")
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.locator(".outcome")).to_contain_text("Approved")
        await expect(page.get_by_role("navigation")).not_to_contain_text("waiting")
    found = await state.find_ticket(ticket.code)
    assert found is not None
    assert (found.state, found.decided_in) == ("approved", "console")


async def test_the_audit_log_is_verified_and_read_to_its_first_line(chromium: Browser, log: Path) -> None:
    async with console(chromium, log) as page:
        await view(page, "Audit log")
        await expect(page.locator("main")).to_contain_text("Verified: every line continues the one before it.")
        await expect(rows(page)).to_have_count(50)
        await expect(rows(page).first).to_contain_text("Shop 60")
        await page.get_by_role("button", name="Show older lines").click()
        await expect(rows(page)).to_have_count(60)
        await expect(rows(page).last).to_contain_text("Shop 1")
        await expect(page.get_by_role("button", name="Show older lines")).to_have_count(0)


async def test_a_line_of_the_audit_log_that_was_edited_is_named(chromium: Browser, log: Path) -> None:
    edit(log)
    async with console(chromium, log) as page:
        await view(page, "Audit log")
        await expect(page.locator("main")).to_contain_text(re.compile("The chain breaks at line 1[45]"))
        await expect(page.locator("main")).not_to_contain_text("Verified")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [NARROW, WIDE], ids=["narrow", "wide"])
async def test_axe_finds_nothing_in_any_view_and_nothing_is_wider_than_the_window(
    chromium: Browser, log: Path, state: SqliteState, scheme: str, viewport: dict[str, int]
) -> None:
    await ask(state)
    async with console(chromium, log, color_scheme=scheme, viewport=viewport) as page:
        for name in VIEWS:
            await view(page, name)
            await expect(page.locator("main :is(article, table, details)").first).to_be_visible()
            assert await violations(page) == [], name
            assert await page.evaluate("document.documentElement.scrollWidth") == viewport["width"], name
        await view(page, "Tokens")
        await page.get_by_role("link", name=NAME).click()
        await expect(page.locator("main")).to_contain_text("first message")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        edit(log)
        await view(page, "Audit log")
        await expect(page.locator("main")).to_contain_text("The chain breaks")
        assert await violations(page) == []
