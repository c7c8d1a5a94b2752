"""All tokens, page by page, from an API that may shift, repeat or never end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator

import pytest

from runtype_mcp import errors
from runtype_mcp.api.client import MAX_PAGES, PAGE, RuntypeClient, asgi_transport
from tests.api.upstream import TOKEN, Answer, Upstream, client_of

pytestmark = pytest.mark.anyio


def page(*ids: str, more: bool | None = False) -> Answer:
    pagination = {} if more is None else {"pagination": {"limit": PAGE, "offset": 0, "hasMore": more}}
    return Answer(200, {"clientTokens": [TOKEN | {"id": token_id} for token_id in ids], **pagination})


async def all_ids(client: RuntypeClient) -> list[list[str]]:
    return [[token.id for token in tokens] async for tokens in client.iterate_client_tokens()]


def offsets(upstream: Upstream) -> list[str]:
    return [request.query for request in upstream.received]


async def test_pages_follow_has_more_and_the_tokens_that_came(upstream: Upstream, client: RuntypeClient) -> None:
    upstream.says(page("a", "b", more=True), page("c", more=True), page("d"))
    assert await all_ids(client) == [["a", "b"], ["c"], ["d"]]
    assert offsets(upstream) == [f"limit={PAGE}&offset={offset}" for offset in (0, 2, 3)]


@pytest.mark.parametrize(("ids", "more"), [("", False), ("abc", None)], ids=["empty", "before pagination"])
async def test_a_list_of_one_page_is_read_once(
    upstream: Upstream, client: RuntypeClient, ids: str, more: bool | None
) -> None:
    upstream.says(page(*ids, more=more))
    assert await all_ids(client) == [list(ids)]
    assert len(upstream.received) == 1


async def test_a_token_that_a_shifted_page_repeats_is_given_once_and_shifts_no_later_page(
    upstream: Upstream, client: RuntypeClient
) -> None:
    """Somebody made a token between two pages of a list that is newest first."""
    upstream.says(page("a", "b", more=True), page("b", "c", more=True), page("a", "d"))
    assert await all_ids(client) == [["a", "b"], ["c"], ["d"]]
    assert offsets(upstream) == [f"limit={PAGE}&offset={offset}" for offset in (0, 2, 4)]


async def test_a_list_that_always_has_one_more_is_given_up() -> None:
    upstream = Upstream("")
    upstream.says(*(page(f"ct_{n}", more=True) for n in range(MAX_PAGES + 100)))
    async with client_of("http://here.invalid", transport=asgi_transport(lambda: upstream)) as client:
        with pytest.raises(errors.PermanentError, match="does not end"):
            await all_ids(client)
    assert len(upstream.received) == MAX_PAGES


@pytest.mark.parametrize(
    "answers",
    [
        [page("a", "b", more=True)],
        [page("a", more=True), page("b", more=True), page("a", more=True)],
        [page("a", more=True), page(more=True)],
        [page(more=True)],
    ],
    ids=["the same page for ever", "two pages in turn", "nothing after the first", "nothing at all"],
)
async def test_a_list_that_does_not_advance_is_given_up(
    upstream: Upstream, client: RuntypeClient, answers: list[Answer]
) -> None:
    upstream.says(*answers)
    with pytest.raises(errors.PermanentError, match="does not end"):
        await all_ids(client)
    assert len(upstream.received) <= 3


async def test_a_page_that_fails_ends_the_list_with_its_error(upstream: Upstream, client: RuntypeClient) -> None:
    upstream.says(page("a", more=True), Answer(403, {"error": "No"}))
    pages = client.iterate_client_tokens()
    assert [token.id for token in await anext(pages)] == ["a"]
    with pytest.raises(errors.AuthError):
        await anext(pages)


@pytest.mark.parametrize("waits", [True, False], ids=["for the next page", "for nothing"])
@pytest.mark.parametrize("second", [page("b"), Answer(403, {"error": "No"})], ids=["works", "fails"])
async def test_whoever_stops_early_leaves_nothing_behind(
    upstream: Upstream, client: RuntypeClient, second: Answer, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.says(page("a", more=True), second)
    before = asyncio.all_tasks()
    pages = client.iterate_client_tokens()
    assert isinstance(pages, AsyncGenerator)
    await anext(pages)
    if waits and (ahead := asyncio.all_tasks() - before):
        await asyncio.wait(ahead)
    await pages.aclose()
    while ahead := asyncio.all_tasks() - before:
        await asyncio.wait(ahead)
    del pages, ahead
    gc.collect()
    assert "never retrieved" not in caplog.text
