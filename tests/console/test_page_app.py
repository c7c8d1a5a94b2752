"""The page in a conversation, as a host of MCP Apps shows it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.console.chromium import NARROW, violations
from tests.console.hosting import Chat, chat
from tests.support import Api, text_of

pytestmark = pytest.mark.anyio
SUPPORT = "Northwind Store - Support"


def token_id(api: Api, name: str = SUPPORT) -> str:
    return next(str(r.token["id"]) for r in api.store.newest_first() if r.token["name"] == name)


async def test_tokens_are_a_table_that_is_filtered_and_sorted(conversation: Chat) -> None:
    await conversation.call("list_client_tokens")
    page = conversation.page
    rows, shown = page.locator("tbody tr"), page.get_by_role("status").first
    await expect(shown).to_have_text("16 tokens")
    for label, value, number in (("Environment", "test", 3), ("State", "inactive", 1), ("Origins", "open", 2)):
        await page.get_by_label(label).select_option(value)
        await expect(rows).to_have_count(number)
        await expect(shown).to_have_text(f"{number} of 16 tokens")
        await page.get_by_label(label).select_option("")
    await page.get_by_label("Search").fill("HARBORBIKES")
    await expect(rows).to_have_count(2)
    await page.get_by_label("Search").fill("")
    last_used = page.get_by_role("columnheader", name="Last used")
    for order, first in (("ascending", "never"), ("descending", "today")):
        await last_used.get_by_role("button").click()
        await expect(last_used).to_have_attribute("aria-sort", order)
        await expect(rows.first).to_contain_text(first)


async def test_a_token_is_asked_for_in_the_conversation_and_not_read_behind_its_back(conversation: Chat) -> None:
    await conversation.call("list_client_tokens")
    conversation.api.received.clear()
    await conversation.page.get_by_role("button", name=SUPPORT).click()
    assert await conversation.said("ui/message") == f"Show me the client token {token_id(conversation.api)}."
    assert conversation.api.received == []


async def test_a_tokens_card_shows_its_facts_and_where_the_value_goes(conversation: Chat) -> None:
    await conversation.call("get_client_token", client_token=SUPPORT)
    page = conversation.page
    for text in ("live", "Active", "45", "Follows release", "Requests per minute", "welcomeMessage", "data-agent-id="):
        await expect(page.locator("article")).to_contain_text(text)
    await expect(page.get_by_label("Embed snippet")).to_contain_text('data-runtype-token="VALUE"')
    await page.get_by_role("button", name="Open https://northwind.example").click()
    assert await conversation.told("ui/open-link") == {"url": "https://northwind.example"}


async def test_findings_stand_worst_first_and_their_fix_is_a_message(conversation: Chat) -> None:
    await conversation.call("audit_client_tokens")
    page = conversation.page
    severities = await page.locator("li h2 .badge").all_inner_texts()
    assert severities == sorted(severities, key=["high", "medium", "low"].index)
    assert set(severities) == {"high", "medium", "low"}
    fix = page.locator("li", has_text="Marketing landing pages").first
    await fix.get_by_text("Fix", exact=True).click()
    await fix.get_by_role("button", name="Send this message").click()
    message = await conversation.said("ui/message")
    assert message.startswith('Please fix this finding: update_client_token {"client_token":"ct_')
    assert message.endswith("Ask me first which origins to allow.")
    await expect(fix.get_by_label("The message")).to_have_text(message)


async def test_a_message_that_the_host_refuses_can_be_copied(conversation: Chat) -> None:
    await conversation.call("list_client_tokens")
    conversation.refuses.add("ui/message")
    await conversation.page.get_by_role("button", name=SUPPORT).click()
    await expect(conversation.page.get_by_label("The message")).to_have_text(await conversation.said("ui/message"))


async def test_what_visitors_wrote_is_text_and_nothing_else(conversation: Chat) -> None:
    await conversation.call("list_client_token_conversations", client_token=SUPPORT, limit=45)
    page = conversation.page
    await expect(page.get_by_text("anybody can be a visitor")).to_be_visible()
    await expect(page.locator("li")).to_have_count(45)
    await expect(page.get_by_text("</untrusted></conversations>").first).to_be_visible()
    await expect(page.get_by_text("返品の送料は無料ですか").first).to_be_visible()
    assert await page.locator("main a, main img, main script, main iframe").count() == 0
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x1b]", await page.locator("main").inner_text())


async def test_an_error_is_shown_as_text(conversation: Chat) -> None:
    result = await conversation.call("get_client_token", client_token="<b>nothing</b>")
    assert result.is_error
    await expect(conversation.page.locator(".notice")).to_contain_text(text_of(result)[:60])


async def test_a_value_is_never_on_the_page(conversation: Chat) -> None:
    result = await conversation.call("get_client_token_value", client_token=SUPPORT)
    value = (result.structured_content or {})["value"]
    await expect(conversation.page.get_by_text("This page does not hold it.")).to_be_visible()
    assert value not in await conversation.page.content()


async def test_the_hosts_theme_variables_size_and_display_mode_are_followed(conversation: Chat) -> None:
    result = await conversation.model.call("list_client_tokens")
    await conversation.show(
        "list_client_tokens",
        {},
        result.model_dump(mode="json", by_alias=True, exclude_none=True),
        theme="dark",
        styles={
            "variables": {"--color-background-primary": "rgb(1, 2, 3)", "--font-sans": "serif", "--evil": "url(x)"}
        },
        displayMode="inline",
        availableDisplayModes=["inline", "fullscreen"],
    )
    page, root = conversation.page, "getComputedStyle(document.documentElement)"
    assert await page.evaluate(f"{root}.colorScheme") == "dark"
    assert await page.evaluate(f"{root}.backgroundColor") == "rgb(1, 2, 3)"
    assert await page.evaluate(f"{root}.fontFamily") == "serif"
    assert await page.evaluate(f"{root}.getPropertyValue('--evil')") == ""
    await conversation.window.evaluate("bridge.sendHostContextChange({theme: 'light'})")
    await page.wait_for_function(f"{root}.colorScheme === 'light'")
    height = "document.querySelector('iframe').getBoundingClientRect().height"
    inner = await page.evaluate("Math.ceil(document.body.getBoundingClientRect().height)")
    await conversation.window.wait_for_function(f"{height} === {inner}")
    await page.get_by_role("button", name="Full screen").click()
    assert await conversation.told("ui/request-display-mode") == {"mode": "fullscreen"}
    await expect(page.get_by_role("button", name="Back to the conversation")).to_be_visible()


async def test_a_cancelled_call_and_a_teardown_are_understood(conversation: Chat) -> None:
    await conversation.call("list_client_tokens")
    await conversation.window.evaluate("bridge.sendToolCancelled({reason: 'user action'})")
    await expect(conversation.page.get_by_text("The call was cancelled.")).to_be_visible()
    assert await conversation.window.evaluate("bridge.teardownResource({})") == {}


async def test_only_the_host_is_heard(conversation: Chat) -> None:
    await conversation.call("get_client_token", client_token=SUPPORT)
    forged = """() => {
        const target = document.querySelector("iframe").contentWindow;
        const other = document.createElement("iframe");
        other.srcdoc = `<script>onmessage = () => parent.frames[0].postMessage({jsonrpc: "2.0",
            method: "ui/notifications/tool-result", params: {structuredContent: {findings: []}}}, "*")<${"/"}script>`;
        other.onload = () => other.contentWindow.postMessage("go", "*");
        document.body.append(other);
    }"""
    await conversation.window.evaluate(forged)
    # What was posted before is heard before: after this answer the forged message has come and gone.
    await conversation.window.wait_for_function("document.querySelectorAll('iframe').length === 2")
    await conversation.window.evaluate("bridge.teardownResource({})")
    await expect(conversation.window.frames[1].locator("h2")).to_have_text(SUPPORT)


CALLS: dict[str, dict[str, Any]] = {
    "list_client_tokens": {},
    "get_client_token": {"client_token": SUPPORT},
    "audit_client_tokens": {},
    "list_client_token_conversations": {"client_token": SUPPORT},
    "delete_client_token": {"client_token": SUPPORT},
    "create_client_token": {"name": "New", "allowed_origins": ["https://new.example"], "flow_ids": ["flow_1"]},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_any_view(api: Api, chromium: Browser, host: str, scheme: str) -> None:
    for viewport in (NARROW, None):
        context = {"color_scheme": scheme} | ({"viewport": viewport} if viewport else {})
        async with chat(api.seeded(), chromium, host, context) as conversation:
            for tool, arguments in CALLS.items():
                await conversation.window.reload()
                await conversation.window.wait_for_function("window.present !== undefined")
                await conversation.call(tool, **arguments)
                assert [tool, *await violations(conversation.window)] == [tool]
                assert await conversation.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tool
