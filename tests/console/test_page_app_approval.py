"""The approval card in a conversation: what a person decides on it decides what the API receives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Frame, expect

from runtype_mcp.sandbox.store import Record
from tests.console.chromium import violations
from tests.console.hosting import Chat, chat
from tests.support import Api

pytestmark = pytest.mark.anyio
NAME = "Marketing landing pages"
HUMAN = {"RUNTYPE_MCP_APPROVAL": "human"}


@pytest.fixture
async def conversation(api: Api, chromium: Browser, host: str) -> AsyncIterator[Chat]:
    """A conversation in which no gated call goes ahead without a person, and a card counts."""
    async with chat(api.seeded(), chromium, host, None, **HUMAN, RUNTYPE_MCP_HUMAN_IN_APP="true") as at:
        yield at


def token(api: Api) -> Record:
    return next(record for record in api.store.newest_first() if record.token["name"] == NAME)


async def preview(conversation: Chat) -> dict[str, Any]:
    """The model previews a deletion, and the host shows the card. Returns the call that would go ahead."""
    arguments = {"client_token": token(conversation.api).token["id"]}
    await conversation.call("delete_client_token", **arguments)
    return arguments | {"confirm": True, "expected_name": NAME}


async def approve(page: Frame, name: str = NAME) -> None:
    await page.get_by_label("To approve, type the name").fill(name)
    await page.get_by_role("button", name="Approve", exact=True).click()


async def went_ahead(conversation: Chat, call: dict[str, Any]) -> bool:
    """Whether the model's next call reaches the API, as one write."""
    assert conversation.api.writes == []
    result = await conversation.model.call("delete_client_token", **call)
    assert [write[0] for write in conversation.api.writes] == ([] if result.is_error else ["DELETE"])
    return not result.is_error


async def test_an_approval_is_told_in_the_conversation_and_the_call_goes_ahead_once(conversation: Chat) -> None:
    call = await preview(conversation)
    assert not await went_ahead(conversation, call)
    await approve(conversation.page)
    await expect(conversation.page.locator(".outcome")).to_contain_text("Approved")
    message = await conversation.said("ui/message")
    assert message.startswith("I approved this on the card: repeat exactly `delete_client_token {")
    assert json.loads(message.partition(" `")[2].partition(" ")[2].rstrip("`.")) == call
    assert await went_ahead(conversation, call)
    assert (await conversation.model.call("delete_client_token", **call)).is_error
    assert len(conversation.api.writes) == 1


async def test_deny_is_told_to_the_model_and_changes_nothing(conversation: Chat) -> None:
    call = await preview(conversation)
    await conversation.page.get_by_label("To approve, type the name").fill(NAME)
    await conversation.page.get_by_role("button", name="Deny").click()
    await expect(conversation.page.locator(".outcome")).to_contain_text("Denied")
    assert "denied this call on the card: delete_client_token" in await conversation.said("ui/update-model-context")
    assert not await went_ahead(conversation, call)


async def test_a_typo_is_told_and_corrected(conversation: Chat) -> None:
    call = await preview(conversation)
    await approve(conversation.page, "Marketing landing page")
    await expect(conversation.page.get_by_role("alert")).to_contain_text("not the token's name")
    assert not await went_ahead(conversation, call)
    await approve(conversation.page)
    await expect(conversation.page.locator(".outcome")).to_contain_text("Approved")
    assert await went_ahead(conversation, call)


async def test_a_card_that_was_decided_decides_no_more(conversation: Chat) -> None:
    arguments = {"client_token": token(conversation.api).token["id"]}
    result = await conversation.call("delete_client_token", **arguments)
    await conversation.page.get_by_role("button", name="Deny").click()
    await expect(conversation.page.locator(".outcome")).to_contain_text("Denied")
    # The host shows the same result again, as it does when a conversation is opened later.
    await conversation.window.reload()
    await conversation.window.wait_for_function("window.present !== undefined")
    shown = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    await conversation.show("delete_client_token", arguments, shown)
    await approve(conversation.page)
    await expect(conversation.page.locator(".outcome")).to_contain_text("Nothing was approved")
    assert not await went_ahead(conversation, arguments | {"confirm": True, "expected_name": NAME})


async def test_two_cards_are_decided_each_for_itself(conversation: Chat) -> None:
    first = await preview(conversation)
    card = conversation.page
    other = next(r for r in conversation.api.store.newest_first() if r.token["name"] == "Spring campaign microsite")
    second = {"client_token": other.token["id"]}
    await conversation.call("delete_client_token", **second)
    assert conversation.page is not card
    await approve(conversation.page, "Spring campaign microsite")
    await expect(conversation.page.locator(".outcome")).to_contain_text("Approved")
    await expect(card.get_by_role("button", name="Approve")).to_be_visible()
    assert not await went_ahead(conversation, first)
    name = {"confirm": True, "expected_name": "Spring campaign microsite"}
    assert await went_ahead(conversation, second | name)


async def test_an_approval_does_not_fit_a_token_that_was_changed_meanwhile(conversation: Chat) -> None:
    call = await preview(conversation)
    record = token(conversation.api)
    conversation.api.store.put(Record(record.token | {"allowedOrigins": ["https://new.example"]}, record.value))
    await approve(conversation.page)
    await expect(conversation.page.locator(".outcome")).to_contain_text("Approved")
    assert not await went_ahead(conversation, call)


async def test_a_host_that_passes_nothing_on_leaves_the_card_undecided(conversation: Chat) -> None:
    call = await preview(conversation)
    conversation.refuses.add("tools/call")
    await approve(conversation.page)
    await expect(conversation.page.get_by_role("alert")).not_to_be_empty()
    assert not await went_ahead(conversation, call)
    conversation.refuses.clear()
    await approve(conversation.page)
    await expect(conversation.page.locator(".outcome")).to_contain_text("Approved")


async def test_where_the_host_takes_no_message_the_call_can_be_copied(conversation: Chat) -> None:
    call = await preview(conversation)
    conversation.refuses.add("ui/message")
    await approve(conversation.page)
    await expect(conversation.page.get_by_label("The call")).to_contain_text('"confirm":true')
    assert await violations(conversation.window) == []
    assert await went_ahead(conversation, call)


async def test_a_card_that_does_not_count_only_shows(api: Api, chromium: Browser, host: str) -> None:
    async with chat(api.seeded(), chromium, host, None, **HUMAN) as conversation:
        await preview(conversation)
        await expect(conversation.page.locator("article")).to_contain_text("Outage")
        await expect(conversation.page.locator(".notice")).to_contain_text("a person must approve")
        await expect(conversation.page.locator("input, button")).to_have_count(0)


async def test_the_page_keeps_the_code_to_itself(conversation: Chat) -> None:
    result = await conversation.call("delete_client_token", client_token=token(conversation.api).token["id"])
    code = (result.meta or {})["runtype-mcp/approval"]["approvalCode"]
    await approve(conversation.page)
    await conversation.said("ui/message")
    assert code not in await conversation.page.content()
    told = [params for method, params in conversation.heard if method != "tools/call"]
    assert told
    assert code not in json.dumps(told)
