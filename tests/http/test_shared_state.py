"""Servers that share a Redis and the keys of questions: whichever is asked, a person's answer counts once."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from mcp import Client, ClientSession
from mcp.shared.exceptions import MCPError

from tests.confirmations import put
from tests.http.processes import http_server
from tests.processes import run
from tests.redis_server import RedisServer, redis_server
from tests.support import KEY, MODERN, Api, accept, mcp_client, text_of

pytestmark = pytest.mark.anyio

OLD, NEW, OTHER = (secrets.token_hex(16) for _ in range(3))
NAME = "Shop"
YES = accept(NAME)
DELETE = "delete_client_token"


async def ask(session: ClientSession, token: str) -> mcp_types.InputRequiredResult:
    arguments = {"client_token": token, "confirm": True, "expected_name": NAME}
    question = await session.call_tool(DELETE, arguments, allow_input_required=True)
    assert isinstance(question, mcp_types.InputRequiredResult), question
    return question


async def answer(session: ClientSession, token: str, question: mcp_types.InputRequiredResult) -> Any:
    assert question.input_requests is not None
    arguments = {"client_token": token, "confirm": True, "expected_name": NAME}
    responses: mcp_types.InputResponses = dict.fromkeys(question.input_requests, YES)
    return await session.call_tool(
        DELETE,
        arguments,
        input_responses=responses,
        request_state=question.request_state,
        allow_input_required=True,
    )


def deleted(api: Api) -> list[str]:
    return [path for method, path, _ in api.writes if method == "DELETE"]


@asynccontextmanager
async def replica(api: Api, redis: RedisServer, ring: str) -> AsyncIterator[ClientSession]:
    settings = {"RUNTYPE_MCP_REDIS_URL": redis.url, "RUNTYPE_MCP_REQUEST_STATE_KEYS": ring}
    async with mcp_client(api, MODERN, YES, **settings) as model:
        yield model.client.session


async def test_a_question_of_one_process_is_answered_by_another_once(api: Api, redis: RedisServer) -> None:
    token = put(api.store, name=NAME)
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_REDIS_URL": redis.url}
    environ |= {"RUNTYPE_MCP_REQUEST_STATE_KEYS": OLD}

    async def nobody(_: Any, question: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        raise AssertionError(question)  # the test carries answers itself

    callback: Any = nobody
    async with AsyncExitStack() as stack:
        sessions = []
        for _ in range(2):
            _, url = stack.enter_context(http_server(**environ))
            client = Client(f"{url}/mcp", mode=MODERN, elicitation_callback=callback)
            sessions.append((await stack.enter_async_context(client)).session)
        one, other = sessions
        question = await ask(one, token)
        assert not (await answer(other, token, question)).is_error
        assert deleted(api) == [f"/v1/client-tokens/{token}"]
        put(api.store, name=NAME, id=token)  # as if the deletion had never been
        for session in sessions:
            again = await answer(session, token, question)
            assert isinstance(again, mcp_types.InputRequiredResult), "it is asked again"
    assert len(deleted(api)) == 1


async def test_no_question_is_lost_while_the_keys_are_changed(api: Api, redis: RedisServer) -> None:
    """In each phase servers of the phase before still run, and either may ask what the other is answered."""
    phases = [OLD, f"{OLD},{NEW}", f"{NEW},{OLD}", NEW]
    for before, after in pairwise(phases):
        async with replica(api, redis, before) as one, replica(api, redis, after) as other:
            for asked, answered in ((one, other), (other, one), (one, one), (other, other)):
                token = put(api.store, name=NAME)
                assert not (await answer(answered, token, await ask(asked, token))).is_error
                assert deleted(api)[-1].endswith(token)
    assert len(deleted(api)) == 12


async def test_an_answer_under_another_key_does_nothing_and_the_call_asks_again(api: Api, redis: RedisServer) -> None:
    token = put(api.store, name=NAME)
    async with replica(api, redis, OLD) as one, replica(api, redis, OTHER) as other:
        question = await ask(one, token)
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await answer(other, token, question)
        assert deleted(api) == []
        assert not (await answer(other, token, await ask(other, token))).is_error


async def test_an_answer_that_was_used_counts_no_more_when_redis_has_lost_its_memory(
    api: Api, redis: RedisServer
) -> None:
    token = put(api.store, name=NAME)
    async with replica(api, redis, OLD) as session:
        question = await ask(session, token)
        assert not (await answer(session, token, question)).is_error
        put(api.store, name=NAME, id=token)
        with redis.client() as client:
            client.flushall()
        again = await answer(session, token, question)
        assert isinstance(again, mcp_types.InputRequiredResult), "it is asked again"
    assert len(deleted(api)) == 1


async def test_while_redis_is_stopped_reads_go_on_and_what_is_gated_is_refused(
    api: Api, era: str, tmp_path: Path
) -> None:
    token = put(api.store, name=NAME)
    with redis_server(tmp_path / "redis") as server:
        async with mcp_client(api, era, YES, RUNTYPE_MCP_REDIS_URL=server.url) as model:
            assert not (await model.call("get_client_token", client_token=token)).is_error
            server.stop()
            assert not (await model.call("list_client_tokens")).is_error
            assert not (await model.call("get_client_token", client_token=token)).is_error
            refused: list[tuple[str, dict[str, Any]]] = [
                (DELETE, {"client_token": token, "confirm": True, "expected_name": NAME}),
                ("update_client_token", {"client_token": token, "config": {"theme": "dark"}}),
            ]
            for tool, arguments in refused:
                text = await model.text(tool, **arguments)
                assert "cannot be reached" in text
                assert "Nothing was changed" in text
            assert not api.writes
            server.start()
            assert not (await model.call(DELETE, client_token=token, confirm=True, expected_name=NAME)).is_error
    assert len(deleted(api)) == 1


async def test_a_change_that_somebody_else_made_is_seen_by_every_server(api: Api, redis: RedisServer) -> None:
    token = put(api.store, name=NAME)
    async with replica(api, redis, OLD) as one, replica(api, redis, OLD) as other:
        await one.call_tool("get_client_token", {"client_token": token})
        record = api.store.get(token)
        assert record is not None
        record.token["config"] = {"theme": "light"}
        change = {"client_token": token, "config": {"theme": "dark"}}
        refused = await other.call_tool("update_client_token", change)
        assert "Somebody else changed" in text_of(refused)
    assert not api.writes


def test_a_redis_without_keys_for_questions_stops_the_start() -> None:
    done = run("http", RUNTYPE_API_KEY=KEY, RUNTYPE_MCP_REDIS_URL="redis://:word@localhost")
    assert done.returncode == 2
    assert done.stderr.startswith("runtype-mcp: Servers that share a Redis must share keys")
    assert "word" not in done.stderr
