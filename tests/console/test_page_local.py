"""The page in a person's browser: what they do there decides what the API receives."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from runtype_mcp.sandbox.store import Record
from runtype_mcp.storage.tickets import TTL
from tests.console.chromium import NARROW, Desk, violations

pytestmark = pytest.mark.anyio


def token(person: Desk, name: str = "Marketing landing pages") -> Record:
    return next(record for record in person.api.store.newest_first() if record.token["name"] == name)


def deletion(person: Desk, name: str = "Marketing landing pages") -> dict[str, Any]:
    return {"client_token": token(person, name).token["id"], "confirm": True, "expected_name": name}


async def approve(page: Page, name: str) -> None:
    await page.get_by_label("To approve, type the name").fill(name)
    await page.get_by_role("button", name="Approve", exact=True).click()


async def test_approve_lets_the_call_go_ahead_once(person: Desk) -> None:
    call = deletion(person)
    code = await person.ask("delete_client_token", **call)
    page = await person.open()
    assert page.url == f"{person.url}{person.session.path}", "the secret has left the address"
    await expect(page.get_by_role("heading", level=2)).to_have_text("Delete “Marketing landing pages”?")
    await expect(page.locator("article")).to_contain_text(code)
    assert person.api.writes == []
    await approve(page, "Marketing landing pages")
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    assert person.api.writes == []
    result = await person.client.call("delete_client_token", **call)
    assert not result.is_error
    assert [write[0] for write in person.api.writes] == ["DELETE"]


async def test_deny_changes_nothing_whatever_was_typed(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    await page.get_by_label("To approve, type the name").fill("Marketing landing pages")
    await page.get_by_role("button", name="Deny").click()
    await expect(page.locator(".outcome")).to_contain_text("Denied")
    assert (await person.client.call("delete_client_token", **call)).is_error
    assert person.api.writes == []


async def test_a_typo_is_told_and_corrected(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    await page.get_by_role("button", name="Approve").click()
    await expect(page.get_by_role("alert")).to_contain_text("Type the name")
    await approve(page, "Marketing landing page")
    await expect(page.get_by_role("alert")).to_contain_text("not the token's name")
    field = page.get_by_label("To approve, type the name")
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("aria-invalid", "true")
    assert (await person.client.call("delete_client_token", **call)).is_error
    await field.press("End")
    await field.press("s")
    await field.press("Enter")
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    assert not (await person.client.call("delete_client_token", **call)).is_error
    assert len(person.api.writes) == 1


async def test_the_card_shows_all_that_the_call_would_do(person: Desk) -> None:
    shop = token(person, "Northwind Store - Support").token
    call = {"client_token": shop["id"], "allowed_origins": ["https://northwind.example", "native"]}
    call |= {"rate_limit_per_minute": 600}
    await person.ask("update_client_token", **call, confirm=True, expected_name=shop["name"])
    page = await person.open(viewport=NARROW)
    card = page.locator("article")
    for text in (
        "Outage · high",
        "Pages on https://www.northwind.example stop working.",
        "Exposure · high",
        "'native' admits requests without an Origin header",
        "Exposure · medium",
        "rises from 30 to 600",
        "Undo:",
        shop["id"],
        "live",
        "45",
        "today",
        person.api.url.removeprefix("http://"),
    ):
        await expect(card).to_contain_text(text)
    rows = page.locator(".changes tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first.locator("td").nth(0)).to_contain_text("https://northwind.example")
    await expect(rows.first.locator("td").nth(0).get_by_text("removed")).to_have_count(1)
    await expect(rows.first.locator("td").nth(1).get_by_text("added")).to_have_count(1)
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


async def test_what_nobody_decides_expires(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    await expect(page.get_by_text("Waits 1")).to_be_visible()
    person.clock.now += TTL + 1
    await person.look(page)
    await expect(page.locator(".outcome")).to_contain_text("Expired")
    await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    assert (await person.client.call("delete_client_token", **call)).is_error
    assert person.api.writes == []


async def test_the_last_minute_is_counted_down_and_said(person: Desk) -> None:
    await person.ask("delete_client_token", **deletion(person))
    page = await person.open()
    person.clock.now += TTL - 50
    await person.look(page)
    await expect(page.get_by_role("status")).to_have_text("Less than 1 minute left to decide.")
    await expect(page.locator("time")).to_have_text(re.compile("^0:[45]"))


async def test_a_second_tab_of_the_same_browser_shows_it_and_knows_when_it_is_decided(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    second = await person.tab(page.context)
    await second.goto(page.url)
    await approve(second, "Marketing landing pages")
    await expect(second.locator(".outcome")).to_contain_text("Approved")
    await person.look(page)
    await expect(page.locator(".outcome")).to_contain_text("No longer waiting")
    assert not (await person.client.call("delete_client_token", **call)).is_error
    assert (await person.client.call("delete_client_token", **call)).is_error
    assert len(person.api.writes) == 1


async def test_a_tab_that_was_too_slow_decides_nothing(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    await page.route("**/api/approvals", lambda route: None)  # no answer tells this tab
    second = await person.tab(page.context)
    await second.goto(page.url)
    await second.get_by_role("button", name="Deny").click()
    await expect(second.locator(".outcome")).to_contain_text("Denied")
    await approve(page, "Marketing landing pages")
    await expect(page.locator(".outcome")).to_contain_text("No longer waiting")
    assert (await person.client.call("delete_client_token", **call)).is_error
    assert person.api.writes == []


async def test_a_reload_shows_what_waits_and_forgets_what_was_typed(person: Desk) -> None:
    await person.ask("delete_client_token", **deletion(person))
    page = await person.open()
    await page.get_by_label("To approve, type the name").fill("Marketing")
    await page.reload()
    await expect(page.get_by_label("To approve, type the name")).to_have_value("")
    await approve(page, "Marketing landing pages")
    await expect(page.locator(".outcome")).to_contain_text("Approved")


async def test_two_calls_are_decided_each_for_itself(person: Desk) -> None:
    first, second = deletion(person), deletion(person, "Spring campaign microsite")
    await person.ask("delete_client_token", **first)
    page = await person.open()
    await person.ask("delete_client_token", **second)
    await person.look(page)
    await expect(page.get_by_role("heading", level=1)).to_have_text("2 calls wait for your approval")
    await expect(page.get_by_role("heading", level=2)).to_contain_text("Marketing landing pages")
    await approve(page, "Spring campaign microsite")
    await expect(page.get_by_role("alert")).to_contain_text("not the token's name")
    await page.get_by_role("button", name="Delete Spring campaign microsite").click()
    await approve(page, "Spring campaign microsite")
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    await page.get_by_role("button", name="Delete Marketing landing pages").click()
    await page.get_by_role("button", name="Deny").click()
    await expect(page.locator(".outcome")).to_contain_text("Denied")
    assert (await person.client.call("delete_client_token", **first)).is_error
    assert not (await person.client.call("delete_client_token", **second)).is_error
    ((method, path, _),) = person.api.writes
    assert (method, path.endswith(second["client_token"])) == ("DELETE", True)


async def test_an_approval_does_not_fit_a_token_that_was_changed_meanwhile(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    record = token(person)
    person.api.store.put(Record(record.token | {"allowedOrigins": ["https://new.example"]}, record.value))
    await approve(page, "Marketing landing pages")
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    assert (await person.client.call("delete_client_token", **call)).is_error
    assert person.api.writes == []


async def test_a_server_that_is_gone_is_told_and_nothing_can_be_decided(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    person.end()
    await approve(page, "Marketing landing pages")
    await expect(page.get_by_role("alert")).to_contain_text("did not answer")
    await person.look(page)
    await expect(page.locator(".outcome")).to_contain_text("The server does not answer")
    assert (await person.client.call("delete_client_token", **call)).is_error
    assert person.api.writes == []


async def test_a_decision_that_was_made_stays_on_the_page_when_the_server_ends(person: Desk) -> None:
    await person.ask("delete_client_token", **deletion(person))
    page = await person.open()
    await approve(page, "Marketing landing pages")
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    person.end()
    await person.look(page)
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    await expect(page.get_by_text("You can close this tab.")).to_be_visible()


async def test_it_works_with_a_keyboard_alone(person: Desk) -> None:
    call = deletion(person)
    await person.ask("delete_client_token", **call)
    page = await person.open()
    await expect(page.locator("article")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("To approve, type the name")).to_be_focused()
    await page.keyboard.type("Marketing landing pages")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Approve")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".outcome")).to_be_focused()
    assert not (await person.client.call("delete_client_token", **call)).is_error


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("narrow", [True, False], ids=["narrow", "wide"])
async def test_axe_finds_nothing_before_and_after_a_decision(person: Desk, scheme: str, narrow: bool) -> None:
    await person.ask("delete_client_token", **deletion(person))
    shop = token(person, "Northwind Store - Support").token
    call = {"client_token": shop["id"], "allowed_origins": ["*"], "confirm": True, "expected_name": shop["name"]}
    await person.ask("update_client_token", **call)
    page = await person.open(color_scheme=scheme, **({"viewport": NARROW} if narrow else {}))
    await page.get_by_role("button", name="Update Northwind").click()
    assert await violations(page) == []
    await approve(page, "Northwind")
    await expect(page.get_by_role("alert")).to_contain_text("not the token's name")
    assert await violations(page) == []
    await approve(page, shop["name"])
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    assert await violations(page) == []
