"""What a browser is asked to do to a person: by other websites, by names, and by whoever frames the page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import expect

from runtype_mcp.sandbox.store import Record
from tests.console.chromium import Desk
from tests.console.website import Website

pytestmark = pytest.mark.anyio
NAME = "Marketing landing pages"


async def waiting(person: Desk, name: str = NAME) -> str:
    """A call that waits, and the code of its ticket."""
    token = next(r.token for r in person.api.store.newest_first() if r.token["name"] == name)
    return await person.ask("delete_client_token", client_token=token["id"], confirm=True, expected_name=name)


async def state_of(person: Desk, code: str) -> str:
    ticket = await person.state.find_ticket(code)
    return ticket.state if ticket else "gone"


@pytest.mark.parametrize("how", ["fetch", "text", "form"])
async def test_another_website_cannot_decide_even_if_it_knows_everything(
    person: Desk, website: Website, how: str
) -> None:
    code = await waiting(person)
    page = await person.open()
    ticket = await person.state.find_ticket(code)
    assert ticket is not None
    address = f"{person.url}{person.session.path}api/approvals/{code}"
    decision = {"decision": "approve", "name": NAME}
    decision |= {"decisionToken": (await person.session.person(None)).decision_token(code, ticket.digest)}
    body = json.dumps(decision)
    if how == "form":
        website.body = f"""<form method=post enctype=text/plain action="{address}"><input name='{body[:-1]},"x":"'
            value='"}}'></form><script>document.forms[0].submit()</script>"""
    else:
        kind = "application/json" if how == "fetch" else "text/plain"
        mode = "cors" if how == "fetch" else "no-cors"
        options: dict[str, Any] = {"method": "POST", "credentials": "include", "mode": mode, "body": body}
        options |= {"headers": {"content-type": kind}}
        sent = 'catch(() => {}).then(() => document.title = "sent")'
        website.body = f'<script>fetch("{address}", {json.dumps(options)}).{sent}</script>'
    evil = await page.context.new_page()
    await evil.goto(website.url)
    await evil.wait_for_function(f"document.title === 'sent' || location.href === {json.dumps(address)}")
    assert await state_of(person, code) == "waiting"
    # The session is the person's all the same.
    await page.get_by_label("To approve, type the name").fill(NAME)
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".outcome")).to_contain_text("Approved")


async def test_another_website_cannot_read_what_waits(person: Desk, website: Website) -> None:
    await waiting(person)
    page = await person.open()
    address = f"{person.url}{person.session.path}api/approvals"
    website.body = f"""<script>fetch("{address}", {{credentials: "include"}}).then((r) => r.text()).then(
        (text) => document.title = "read " + text, () => document.title = "refused")</script>"""
    evil = await page.context.new_page()
    await evil.goto(website.url)
    await evil.wait_for_function("document.title !== 'Evil'")
    assert await evil.title() == "refused"


async def test_another_website_cannot_frame_the_page(person: Desk, website: Website) -> None:
    code = await waiting(person)
    page = await person.open()
    for address in (page.url, person.session.address(person.url)):
        website.body = f'<iframe src="{address}"></iframe>'
        evil = await page.context.new_page()
        await evil.goto(website.url)
        (frame,) = evil.main_frame.child_frames
        await frame.wait_for_load_state()
        assert await frame.locator("#page").count() == 0
        assert code not in await frame.content()
    # The address of a page that was framed is still good for the person who was meant to have it.
    await page.goto(address)
    await expect(page.locator("article")).to_contain_text(code)


async def test_a_name_that_points_at_this_machine_opens_nothing(person: Desk) -> None:
    code = await waiting(person)
    page = await person.open()
    port = person.url.rpartition(":")[2]
    evil = await page.context.new_page()
    for path in (person.session.path, f"{person.session.path}api/approvals", "/"):
        answer = await evil.goto(f"http://localhost:{port}{path}")
        assert answer is not None
        assert answer.status == 421
        assert code not in await answer.text()


async def test_the_page_asks_nobody_else_and_keeps_its_secret_out_of_history_and_referrers(person: Desk) -> None:
    await waiting(person)
    page = await person.open()
    assert "open" not in page.url
    assert await page.evaluate("document.cookie") == ""
    assert await page.evaluate("history.length") <= 2
    assert await page.evaluate("document.referrer") == ""
    await page.go_back()
    await page.go_forward()
    await expect(page.locator("article")).to_contain_text(NAME)


HOSTILE = [
    '</bdi></article><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">',
    'javascript:window.hacked=1//"><svg onload=window.hacked=1>',
    "{base}</script><style>*{display:none}</style>{{constructor}}${window.hacked=1}",
    "Shop \u202eelete\u202c \u2066tset\u2069 مرحبا",
    "A" * 255,
    "https://evil.example/approve [click](https://evil.example)",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_name_is_text_that_can_be_typed_to_approve(person: Desk, name: str) -> None:
    record = next(r for r in person.api.store.newest_first() if r.token["name"] == NAME)
    origins = ["https://a.example/<img src=x onerror=window.hacked=1>", "\u202ehttps://evil.example"]
    person.api.store.put(Record(record.token | {"name": name, "allowedOrigins": origins}, record.value))
    call: dict[str, Any] = {"client_token": record.token["id"], "confirm": True, "expected_name": name}
    code = await person.ask("delete_client_token", **call)
    page = await person.open()
    shown = page.locator("label .text")
    text = await shown.inner_text()
    assert await shown.evaluate("shown => getComputedStyle(shown).unicodeBidi") == "isolate"
    assert await page.locator("#page :is(script, img, svg, style, iframe, a)").count() == 0
    assert await page.evaluate("window.hacked") is None
    assert not set(await page.locator("main").inner_text()) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # What the page shows is what a person types.
    await page.get_by_label("To approve, type the name").fill(text)
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    assert await state_of(person, code) == "approved"
