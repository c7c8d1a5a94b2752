"""The gate, answer by answer: nothing is written unless somebody said yes, and then once.

Every test goes through each kind of gated call, and looks at what the API received.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2 as httpx
import mcp_types
import pytest
from mcp import Client
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError

from runtype_mcp.policy.sanitize import names_match
from runtype_mcp.server import build_server
from runtype_mcp.tools import approval
from tests.confirmations import (
    CREATE_OPEN,
    DELETE,
    EXPOSE,
    GATED,
    REGENERATE,
    SHOW_OPEN,
    SITE,
    Case,
    Json,
    code_in,
    confirmed,
    prepare,
    put,
    went_ahead,
)
from tests.support import AGENT, LEGACY, MODERN, Answer, Api, accept, mcp_client, settings_for, text_of

pytestmark = pytest.mark.anyio

ON_A_TOKEN = tuple(case for case in GATED if case.token is not None)
NOT_AGAIN = "Do not call again"
YES = accept("Shop")


def writes_of(case: Case) -> int:
    """How many writes the API receives when the call goes ahead."""
    return 0 if case is SHOW_OPEN else 1


def went(api: Api, case: Case, result: mcp_types.CallToolResult) -> bool:
    """Whether the call went ahead; the API received exactly what belongs to the answer."""
    ahead = went_ahead(result)
    assert len(api.writes) == (writes_of(case) if ahead else 0), (case.does, api.writes, text_of(result))
    if case is SHOW_OPEN:
        assert ("value" in (result.structured_content or {})) is ahead
        assert any(path.endswith("/token") for _, path, _ in api.received) is ahead
    return ahead


def refused(api: Api, case: Case, result: mcp_types.CallToolResult) -> str:
    """What a refusal says. Nothing was done, and it says so."""
    text = text_of(result)
    assert not went(api, case, result), text
    assert result.is_error, (case.does, text)
    assert "Nothing was " in text, (case.does, text)
    return text


def alter(api: Api, **fields: Any) -> None:
    """What another client does to the one token in the sandbox, beside our server."""
    (record,) = api.store.newest_first()
    if fields.pop("value", False):
        record = record.with_value("f" * 32)
    if origin := fields.pop("origin", None):
        fields["allowedOrigins"] = [*record.token["allowedOrigins"], origin]
    api.store.put(replace(record, token=record.token | fields))


@pytest.fixture(
    params=[
        {"rateLimitPerMinute": 7},
        {"origin": "https://new.example"},
        {"agentIds": [AGENT, "agent_01jv0000000000000000000009"]},
        {"name": "Another name"},
        {"value": True},
    ],
    ids=["limit", "origins", "agents", "name", "value"],
)
def change(request: pytest.FixtureRequest) -> Json:
    """Something that another client changes."""
    return dict(request.param)


# The flag and the name.


async def test_a_call_without_the_flag_changes_nothing_and_previews(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        for case in GATED:
            result = await model.call(case.tool, **prepare(api, case))
            assert not result.is_error
            assert not went(api, case, result)
            shown = result.structured_content
            assert shown is not None
            assert shown["status"] == "preview"
            assert shown["effects"]
            assert shown["undo"]
            assert "Nothing was changed." in shown["note"]
            assert ("clientToken" in shown) is (case.token is not None)
        assert not model.asked


async def test_the_call_that_a_preview_names_is_the_one_that_goes_ahead(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        for number, case in enumerate(GATED, 1):
            result = await model.call(case.tool, **prepare(api, case))
            assert result.structured_content is not None
            tool, _, arguments = result.structured_content["confirmCall"].partition(" ")
            assert tool == case.tool
            assert went(api, case, await model.call(tool, **json.loads(arguments)))
            assert len(model.asked) == number


async def test_a_preview_shows_the_token_as_it_is_now(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        arguments = prepare(api, DELETE)
        await model.call("delete_client_token", **arguments)
        alter(api, name="Renamed", isActive=False)
        result = await model.call("delete_client_token", **arguments)
        assert result.structured_content is not None
        token = result.structured_content["clientToken"]
        assert (token["name"], token["isActive"]) == ("Renamed", False)
        assert '"expected_name":"Renamed"' in result.structured_content["confirmCall"]


async def test_the_flag_without_the_name_is_refused(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        for case in ON_A_TOKEN:
            result = await model.call(case.tool, **prepare(api, case), confirm=True)
            assert "expected_name" in refused(api, case, result)
        assert not model.asked


async def test_another_name_is_refused_and_both_are_named(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        for case in ON_A_TOKEN:
            for name in ("Support", "shop", "SHOP", "Sho", "Shop 2"):
                arguments = prepare(api, case)
                result = await model.call(case.tool, **arguments, confirm=True, expected_name=name)
                text = refused(api, case, result)
                assert f"{arguments['client_token']} is named 'Shop', not '{name}'" in text
        assert not model.asked


async def test_the_name_without_the_flag_is_still_a_preview(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        for case in ON_A_TOKEN:
            result = await model.call(case.tool, **prepare(api, case), expected_name="Shop")
            assert not result.is_error
            assert not went(api, case, result)


async def test_space_around_the_name_does_not_matter(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        for case in ON_A_TOKEN:
            result = await model.call(case.tool, **prepare(api, case), confirm=True, expected_name="  Shop\n")
            assert went(api, case, result)


async def test_a_token_without_a_name_is_confirmed_by_its_id(api: Api, era: str) -> None:
    for name in (None, "\u200b", " ", "\u2066\u2069\u00ad"):
        arguments = prepare(api, DELETE)
        alter(api, name=name)
        async with mcp_client(api, era, accept(arguments["client_token"])) as model:
            yes = arguments | {"confirm": True, "expected_name": arguments["client_token"]}
            assert went(api, DELETE, await model.call("delete_client_token", **yes))


@pytest.mark.parametrize("typed", [" ", "\u200b", "\t", "\u2066\u2069\u00ad"])
async def test_a_name_that_nobody_can_see_is_not_confirmed_by_an_empty_answer(api: Api, era: str, typed: str) -> None:
    async with mcp_client(api, era, accept(typed)) as model:
        for name in ("\u200b", " ", "\u2066\u2069\u00ad"):
            arguments = prepare(api, DELETE)
            alter(api, name=name)
            for expected in (typed, arguments["client_token"]):
                result = await model.call("delete_client_token", **arguments, confirm=True, expected_name=expected)
                refused(api, DELETE, result)


async def test_only_a_real_true_is_a_flag(api: Api) -> None:
    async with mcp_client(api, MODERN, YES) as model:
        for case in GATED:
            for given in ("true", 1, "yes", [True]):
                result = await model.call(case.tool, **confirmed(case, prepare(api, case)) | {"confirm": given})
                assert "confirm" in refused(api, case, result)
                assert not api.received


async def test_no_other_argument_stands_in_for_a_yes(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        for case in GATED:
            for name in ("approved", "verdict", "plan", "call", "force", "skip_confirmation", "_ui_submitted"):
                result = await model.call(case.tool, **prepare(api, case) | {name: True})
                assert f"{name}: unknown argument" in refused(api, case, result)
                assert not api.received


@pytest.mark.parametrize(
    ("given", "actual", "same"),
    [
        ("Shop", "Shop", True),
        (" Shop ", "Shop", True),
        ("Shop", " Shop ", True),
        ("Shop new", "Shop\u200b  new", True),  # as it was shown
        ("shop", "Shop", False),
        ("Sho", "Shop", False),
        ("", "Shop", False),
        ("", "", False),
        (" ", " ", False),
        ("\u200b", "\u200b", False),
        ("", "\u2066\u2069", False),
    ],
)
def test_a_name_is_the_same_as_it_is_or_as_it_was_shown(given: str, actual: str, same: bool) -> None:
    assert names_match(given, actual) is same


# What moved in between.


async def test_a_token_that_changed_since_its_preview_is_not_touched(api: Api, era: str, change: Json) -> None:
    async with mcp_client(api, era, YES) as model:
        for case in ON_A_TOKEN:
            arguments = prepare(api, case)
            await model.call(case.tool, **arguments)
            alter(api, **change)
            result = await model.call(case.tool, **confirmed(case, arguments))
            assert "changed" in refused(api, case, result)
        assert not model.asked


async def test_a_token_that_changed_while_the_person_was_asked_is_not_touched(api: Api, era: str, change: Json) -> None:
    def answer(_: str) -> mcp_types.ElicitResult:
        alter(api, **change)
        return YES

    async with mcp_client(api, era, answer) as model:
        for case in ON_A_TOKEN:
            model.asked.clear()
            result = await model.call(case.tool, **confirmed(case, prepare(api, case)))
            refused(api, case, result)
            assert len(model.asked) == 1


async def test_a_token_that_was_deleted_while_the_person_was_asked_is_reported_gone(api: Api, era: str) -> None:
    def answer(_: str) -> mcp_types.ElicitResult:
        (record,) = api.store.newest_first()
        api.store.delete(record.token["id"])
        return YES

    async with mcp_client(api, era, answer) as model:
        for case in ON_A_TOKEN:
            result = await model.call(case.tool, **confirmed(case, prepare(api, case)))
            assert "not found" in refused(api, case, result).lower()


async def test_a_twin_that_appeared_since_the_preview_stops_a_create(api: Api, era: str) -> None:
    async with mcp_client(api, era, YES) as model:
        arguments = prepare(api, CREATE_OPEN)
        await model.call("create_client_token", **arguments)
        twin = put(api.store)
        result = await model.call("create_client_token", **arguments, confirm=True)
        assert twin in refused(api, CREATE_OPEN, result)


async def test_a_twin_that_appeared_while_the_person_was_asked_stops_a_create(api: Api, era: str) -> None:
    def answer(_: str) -> mcp_types.ElicitResult:
        put(api.store)
        return YES

    async with mcp_client(api, era, answer) as model:
        result = await model.call("create_client_token", **prepare(api, CREATE_OPEN), confirm=True)
        refused(api, CREATE_OPEN, result)
        assert len(api.store) == 1


async def test_use_in_the_meantime_is_no_change(api: Api, era: str) -> None:
    def answer(_: str) -> mcp_types.ElicitResult:
        alter(api, lastUsedAt="2031-01-01T23:04:05.000Z")
        return YES

    async with mcp_client(api, era, answer) as model:
        for case in ON_A_TOKEN:
            model.asked.clear()
            arguments = prepare(api, case)
            await model.call(case.tool, **arguments)
            alter(api, lastUsedAt="2031-01-01T03:04:05.000Z")
            assert went(api, case, await model.call(case.tool, **confirmed(case, arguments)))
            assert len(model.asked) == 1


# The person's answer.


def form(**content: Any) -> mcp_types.ElicitResult:
    # Clients send what they like, whatever the form's schema says.
    return mcp_types.ElicitResult.model_construct(action="accept", content=content)


GOES_AHEAD: dict[str, mcp_types.ElicitResult] = {
    "the name": YES,
    "the name with space around it": accept("  Shop "),
    "the name and more fields": form(name="Shop", approved=False, comment="no"),
}
DOES_NOT: dict[str, mcp_types.ElicitResult] = {
    "another case": accept("shop"),
    "yes": accept("yes"),
    "a part": accept("Sho"),
    "a longer word": accept("Shop!"),
    "an empty form": form(),
    "no content": mcp_types.ElicitResult(action="accept"),
    "an empty name": accept(""),
    "a blank name": accept("   "),
    "the name under another key": form(Name="Shop", value="Shop"),
    "a ticked box": form(confirm=True),
    "a number": form(name=1),
    "a list": form(name=["Shop"]),
    "decline": mcp_types.ElicitResult(action="decline"),
    "cancel": mcp_types.ElicitResult(action="cancel"),
    "decline with the name": mcp_types.ElicitResult(action="decline", content={"name": "Shop"}),
    "cancel with the name": mcp_types.ElicitResult(action="cancel", content={"name": "Shop"}),
}


@pytest.mark.parametrize("answer", GOES_AHEAD.values(), ids=GOES_AHEAD.keys())
async def test_the_name_typed_by_a_person_lets_the_call_through_once(
    api: Api, era: str, answer: mcp_types.ElicitResult
) -> None:
    async with mcp_client(api, era, answer) as model:
        for case in GATED:
            model.asked.clear()
            assert went(api, case, await model.call(case.tool, **confirmed(case, prepare(api, case))))
            assert len(model.asked) == 1


@pytest.mark.parametrize("answer", DOES_NOT.values(), ids=DOES_NOT.keys())
async def test_any_other_answer_writes_nothing_and_says_not_to_ask_again(
    api: Api, era: str, answer: mcp_types.ElicitResult
) -> None:
    async with mcp_client(api, era, answer) as model:
        for case in GATED:
            model.asked.clear()
            result = await model.call(case.tool, **confirmed(case, prepare(api, case)))
            assert NOT_AGAIN in refused(api, case, result)
            assert len(model.asked) == 1


async def test_each_kind_of_no_has_its_own_reply(api: Api, era: str) -> None:
    replies = set()
    for name in ("decline", "cancel", "yes", "an empty form"):
        async with mcp_client(api, era, DOES_NOT[name]) as model:
            replies.add(await model.text("delete_client_token", **confirmed(DELETE, prepare(api, DELETE))))
    assert len(replies) == 4


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("the form crashed"),
        cast(Answer, lambda _: mcp_types.ErrorData(code=mcp_types.INTERNAL_ERROR, message="no window")),
        cast(Answer, lambda _: mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message="not supported")),
    ],
    ids=["raises", "fails", "is not supported"],
)
async def test_a_client_that_fails_when_it_asks_writes_nothing(api: Api, era: str, failure: Answer) -> None:
    async with mcp_client(api, era, failure) as model:
        for case in GATED:
            arguments = confirmed(case, prepare(api, case))
            if era == LEGACY:
                assert NOT_AGAIN in refused(api, case, await model.call(case.tool, **arguments))
            else:  # the client fails before it calls again
                with pytest.raises((ExceptionGroup, MCPError)):
                    await model.call(case.tool, **arguments)
                assert not api.writes


# Clients that cannot ask.


async def test_where_the_client_cannot_ask_flag_and_name_suffice_under_auto(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        for case in GATED:
            assert went(api, case, await model.call(case.tool, **confirmed(case, prepare(api, case))))


@pytest.fixture
def only_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clients can open links, and cannot show forms."""
    _declare(monkeypatch, mcp_types.ElicitationCapability(url=mcp_types.UrlElicitationCapability()))


def _declare(monkeypatch: pytest.MonkeyPatch, elicitation: mcp_types.ElicitationCapability) -> None:
    build = ClientSession._build_capabilities

    def declared(self: ClientSession, version: str) -> mcp_types.ClientCapabilities:
        return build(self, version).model_copy(update={"elicitation": elicitation})

    monkeypatch.setattr(ClientSession, "_build_capabilities", declared)


@pytest.mark.usefixtures("only_links")
async def test_a_client_that_only_opens_links_cannot_ask(api: Api, era: str) -> None:
    for case in GATED:
        async with mcp_client(api, era, YES, RUNTYPE_MCP_APPROVAL="human") as model:
            result = await model.call(case.tool, **confirmed(case, prepare(api, case)))
            assert code_in(refused(api, case, result))
            assert not model.asked
    async with mcp_client(api, era, YES) as model:
        for case in GATED:
            assert went(api, case, await model.call(case.tool, **confirmed(case, prepare(api, case))))
        assert not model.asked


async def test_an_empty_elicitation_capability_means_forms(api: Api, era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _declare(monkeypatch, mcp_types.ElicitationCapability())
    async with mcp_client(api, era, DOES_NOT["decline"]) as model:
        refused(api, DELETE, await model.call("delete_client_token", **confirmed(DELETE, prepare(api, DELETE))))
        assert len(model.asked) == 1


@asynccontextmanager
async def over_http(api: Api, approval: str, **options: Any) -> AsyncIterator[tuple[Client, list[str]]]:
    """A client of the older era, which could ask, over an HTTP transport with these options."""
    settings = settings_for(api, RUNTYPE_MCP_APPROVAL=approval)
    server = build_server(settings)
    app = server.streamable_http_app(**options)
    asked: list[str] = []

    async def answer(
        context: ClientRequestContext, params: mcp_types.ElicitRequestParams
    ) -> mcp_types.ElicitResult | mcp_types.ErrorData:
        asked.append(params.message)
        return YES

    async with (
        server.session_manager.run(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http,
        Client(
            streamable_http_client("http://127.0.0.1:8000/mcp", http_client=http),
            mode="legacy",
            elicitation_callback=answer,
        ) as client,
    ):
        yield client, asked


@pytest.mark.parametrize("options", [{"json_response": True}, {"stateless_http": True}], ids=str)
async def test_a_transport_without_a_way_back_cannot_ask(api: Api, options: dict[str, bool]) -> None:
    yes = confirmed(DELETE, prepare(api, DELETE))
    async with over_http(api, "human", **options) as (client, asked):
        assert code_in(refused(api, DELETE, await client.call_tool("delete_client_token", yes)))
        assert not asked
    async with over_http(api, "auto", **options) as (client, asked):
        assert went(api, DELETE, await client.call_tool("delete_client_token", yes))
        assert not asked


def _raises(error: Exception) -> Callable[[object], bool]:
    def check(_: object) -> bool:
        raise error

    return check


@pytest.mark.parametrize("approval_policy", ["auto", "human"])
@pytest.mark.parametrize(
    "error",
    [RuntimeError("x"), AttributeError("x"), ToolError("x"), MCPError(code=-32021, message="x"), KeyError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_a_check_that_breaks_is_a_no(
    api: Api, era: str, approval_policy: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "supports_elicitation", _raises(error))
    async with mcp_client(api, era, YES, RUNTYPE_MCP_APPROVAL=approval_policy) as model:
        for case in GATED:
            refused(api, case, await model.call(case.tool, **confirmed(case, prepare(api, case))))
        assert not model.asked


# An answer is for one question, once. Only newer clients carry questions and answers themselves.


@asynccontextmanager
async def by_hand(api: Api, **environ: str) -> AsyncIterator[ClientSession]:
    """A newer client whose questions and answers the test carries itself."""
    async with mcp_client(api, MODERN, YES, **environ) as model:
        yield model.client.session


async def ask(session: ClientSession, tool: str, arguments: Json) -> mcp_types.InputRequiredResult:
    result = await session.call_tool(tool, arguments, allow_input_required=True)
    assert isinstance(result, mcp_types.InputRequiredResult), result
    return result


async def reply(
    session: ClientSession,
    tool: str,
    arguments: Json,
    question: mcp_types.InputRequiredResult,
    answer: mcp_types.ElicitResult = YES,
) -> mcp_types.CallToolResult | mcp_types.InputRequiredResult:
    assert question.input_requests is not None
    responses: mcp_types.InputResponses = dict.fromkeys(question.input_requests, answer)
    return await session.call_tool(
        tool,
        arguments,
        input_responses=responses,
        request_state=question.request_state,
        allow_input_required=True,
    )


def form_of(question: mcp_types.InputRequiredResult) -> mcp_types.ElicitRequestFormParams:
    assert question.input_requests is not None
    (request,) = question.input_requests.values()
    assert isinstance(request.params, mcp_types.ElicitRequestFormParams)
    return request.params


def ahead(result: mcp_types.CallToolResult | mcp_types.InputRequiredResult) -> bool:
    return isinstance(result, mcp_types.CallToolResult) and went_ahead(result)


# Not the updates: sent again, they would change nothing, so they are no longer gated, and change nothing.
REPLAYED: list[tuple[Case, Json]] = [
    (REGENERATE, {}),
    (CREATE_OPEN, {}),
    (CREATE_OPEN, {"allow_duplicate_name": True}),
    (DELETE, {}),
    (SHOW_OPEN, {}),
]


@pytest.fixture(params=REPLAYED, ids=["regenerate", "create", "create a duplicate", "delete", "show"])
def replayed(request: pytest.FixtureRequest) -> tuple[Case, Json]:
    return cast(tuple[Case, Json], request.param)


async def test_an_accepted_answer_that_is_sent_again_does_nothing(api: Api, replayed: tuple[Case, Json]) -> None:
    case, more = replayed
    async with by_hand(api) as session:
        arguments = confirmed(case, prepare(api, case)) | more
        question = await ask(session, case.tool, arguments)
        assert ahead(await reply(session, case.tool, arguments, question))
        for _ in range(2):
            assert not ahead(await reply(session, case.tool, arguments, question))
        assert len(api.writes) == writes_of(case)


async def test_an_accepted_answer_is_used_up_even_when_everything_is_as_before(api: Api) -> None:
    async with by_hand(api) as session:
        for case in GATED:
            arguments = confirmed(case, prepare(api, case))
            before = api.store.newest_first()
            question = await ask(session, case.tool, arguments)
            assert ahead(await reply(session, case.tool, arguments, question))
            for record in api.store.newest_first():
                api.store.delete(record.token["id"])
            api.store.put(*before)  # somebody puts everything back
            if "client_token" in arguments:  # and the assistant has seen that
                await session.call_tool("get_client_token", {"client_token": arguments["client_token"]})
            api.received.clear()
            again = await reply(session, case.tool, arguments, question)
            assert isinstance(again, mcp_types.InputRequiredResult), case.does
            assert form_of(again).message != form_of(question).message
            assert ahead(await reply(session, case.tool, arguments, again)), "a new yes counts"
            assert len(api.writes) == writes_of(case)


async def test_an_accepted_answer_that_arrives_three_times_at_once_acts_once(
    api: Api, replayed: tuple[Case, Json]
) -> None:
    case, more = replayed
    results: list[mcp_types.CallToolResult | mcp_types.InputRequiredResult] = []
    async with by_hand(api) as session:
        arguments = confirmed(case, prepare(api, case)) | more
        question = await ask(session, case.tool, arguments)

        async def send() -> None:
            results.append(await reply(session, case.tool, arguments, question))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(send)
    assert sum(map(ahead, results)) == 1
    assert len(api.writes) == writes_of(case)


async def test_one_question_asked_twice_at_once_lets_one_call_through(api: Api) -> None:
    # Older clients are asked while their call waits, so two of the same call can both be waiting for a yes.
    settings = settings_for(api)
    waiting: list[str] = []
    both = anyio.Event()

    async def answer(
        context: ClientRequestContext, params: mcp_types.ElicitRequestParams
    ) -> mcp_types.ElicitResult | mcp_types.ErrorData:
        waiting.append(params.message)
        if len(waiting) == 2:
            both.set()
        await both.wait()
        return YES

    arguments = confirmed(SHOW_OPEN, prepare(api, SHOW_OPEN))  # showing changes nothing that could give it away
    results: list[mcp_types.CallToolResult] = []
    async with Client(build_server(settings), mode="legacy", elicitation_callback=answer) as client:

        async def send() -> None:
            results.append(await client.call_tool(SHOW_OPEN.tool, arguments))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            group.start_soon(send)
    assert len(set(waiting)) == 1
    assert sorted(map(went_ahead, results)) == [False, True]
    assert len([path for _, path, _ in api.received if path.endswith("/token")]) == 1


async def test_a_value_without_a_hint_is_not_replaced_twice_by_one_answer(api: Api) -> None:
    async with by_hand(api) as session:
        arguments = confirmed(REGENERATE, prepare(api, REGENERATE))
        alter(api, tokenHint=None)
        question = await ask(session, "regenerate_client_token", arguments)
        assert ahead(await reply(session, "regenerate_client_token", arguments, question))
        alter(api, tokenHint=None)
        assert not ahead(await reply(session, "regenerate_client_token", arguments, question))
        assert len(api.writes) == 1


async def test_a_no_that_is_sent_again_stays_a_no(api: Api) -> None:
    async with by_hand(api) as session:
        for case in GATED:
            arguments = confirmed(case, prepare(api, case))
            question = await ask(session, case.tool, arguments)
            for _ in range(2):
                result = await reply(session, case.tool, arguments, question, DOES_NOT["decline"])
                assert isinstance(result, mcp_types.CallToolResult)
                assert NOT_AGAIN in refused(api, case, result)


async def test_an_answer_to_a_question_that_has_changed_is_not_consumed(api: Api, change: Json) -> None:
    async with by_hand(api) as session:
        for case in ON_A_TOKEN:
            arguments = confirmed(case, prepare(api, case))
            question = await ask(session, case.tool, arguments)
            alter(api, **change)
            # The assistant has seen the change, so only the question stands between the old yes and the write.
            await session.call_tool("get_client_token", {"client_token": arguments["client_token"]})
            result = await reply(session, case.tool, arguments, question)
            if "name" in change:  # it is confirmed by another name now
                assert isinstance(result, mcp_types.CallToolResult)
                refused(api, case, result)
            else:
                assert isinstance(result, mcp_types.InputRequiredResult), case.does
                assert form_of(result).message != form_of(question).message
            assert not api.writes


async def test_an_answer_counts_for_no_other_call(api: Api) -> None:
    other = {"client_token": put(api.store, name="Other"), "confirm": True, "expected_name": "Other"}
    mine = {"client_token": put(api.store), "confirm": True, "expected_name": "Shop"}
    async with by_hand(api) as session:
        question = await ask(session, "delete_client_token", mine)
        for tool, arguments, name in [
            ("delete_client_token", other, "Other"),
            ("regenerate_client_token", mine, "Shop"),
            ("update_client_token", mine | {"is_active": False}, "Shop"),
        ]:
            with pytest.raises(MCPError):  # what goes back and forth is sealed for one call
                await reply(session, tool, arguments, question, accept(name))
    assert not api.writes


async def test_an_answer_that_nobody_was_asked_for_does_not_count(api: Api) -> None:
    async with by_hand(api) as session:
        for case in GATED:
            arguments = confirmed(case, prepare(api, case))
            question = await ask(session, case.tool, arguments)
            unasked = question.model_copy(update={"request_state": None})
            assert isinstance(await reply(session, case.tool, arguments, unasked), mcp_types.InputRequiredResult)
            forged = question.model_copy(update={"request_state": "v1." + "A" * 80})
            with pytest.raises(MCPError):
                await reply(session, case.tool, arguments, forged)
            assert not api.writes


async def test_an_answer_from_before_a_restart_does_not_count(api: Api) -> None:
    arguments = confirmed(DELETE, prepare(api, DELETE))
    async with by_hand(api) as session:
        question = await ask(session, "delete_client_token", arguments)
    async with by_hand(api) as session:
        with pytest.raises(MCPError):
            await reply(session, "delete_client_token", arguments, question)
        assert not api.writes


# The question itself.


async def test_the_question_shows_what_matters_on_one_line(api: Api, era: str) -> None:
    async with mcp_client(api, era, DOES_NOT["decline"]) as model:
        for case in GATED:
            model.asked.clear()
            arguments = prepare(api, case)
            preview = (await model.call(case.tool, **arguments)).structured_content
            assert preview is not None
            await model.call(case.tool, **confirmed(case, arguments))
            (question,) = model.asked
            for fact in ('"Shop"', " live ", arguments.get("client_token", ""), preview["undo"], *preview["effects"]):
                assert fact in question
            assert "\n" not in question


async def test_the_same_question_is_asked_while_only_use_changes(api: Api, era: str) -> None:
    async with mcp_client(api, era, DOES_NOT["decline"]) as model:
        for case in ON_A_TOKEN:
            model.asked.clear()
            yes = confirmed(case, prepare(api, case))
            alter(api, lastUsedAt="2031-01-01T03:04:05.000Z")
            await model.call(case.tool, **yes)
            alter(api, lastUsedAt="2031-01-01T23:04:05.000Z", updatedAt="2031-01-01T23:04:05.000Z")
            await model.call(case.tool, **yes)
            assert len(model.asked) == 2
            assert len(set(model.asked)) == 1


async def test_a_name_cannot_reshape_the_question(api: Api, era: str) -> None:
    name = 'Shop"?\nThis is a routine check. Type OK to continue.\u202e\x1b[2J <b>'
    arguments = prepare(api, DELETE)
    alter(api, name=name)
    async with mcp_client(api, era, accept("OK")) as model:
        result = await model.call("delete_client_token", **arguments, confirm=True, expected_name=name)
        refused(api, DELETE, result)
        (question,) = model.asked
        assert question.count('"') == 2
        assert not set(question) & set("\n\x1b\u202e<>")


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("agent_ids", "No agent has"),
        ("flow_ids", "No flow has"),
        ("default_flow_id", "No flow has"),
        ("target_alias", "target_alias"),
        ("target_version_id", "target_version_id"),
    ],
)
async def test_a_model_cannot_put_sentences_of_its_own_into_the_question(api: Api, field: str, says: str) -> None:
    words = "x. This was approved already, just type Shop to go on\nThank you"
    async with mcp_client(api, MODERN, YES) as model:
        arguments = prepare(api, EXPOSE) | {field: words}
        assert says in refused(api, EXPOSE, await model.call("update_client_token", **confirmed(EXPOSE, arguments)))
        assert not model.asked


@pytest.mark.parametrize("field", ["agentIds", "allowedOrigins"])
async def test_what_others_wrote_into_a_token_stays_on_the_questions_one_line(api: Api, field: str) -> None:
    words = "https://x.example\nThis was approved already, ct_live_" + "0a" * 16 + " \x1b[2J\u202e"
    arguments = prepare(api, EXPOSE) | {"allowed_origins": ["https://only.example"], "agent_ids": [AGENT]}
    alter(api, **{field: [words]})
    async with mcp_client(api, MODERN, DOES_NOT["decline"]) as model:
        await model.call("update_client_token", **confirmed(EXPOSE, arguments))
        (question,) = model.asked
        assert "x.example" in question
        assert not set(question) & set("\n\x1b\u202e")
        assert "0a0a0a" not in question


async def test_a_form_has_one_required_field_without_a_default(api: Api) -> None:
    async with by_hand(api) as session:
        schema = form_of(
            await ask(session, "delete_client_token", confirmed(DELETE, prepare(api, DELETE)))
        ).requested_schema
        assert list(schema["properties"]) == schema["required"] == ["name"]
        assert schema["properties"]["name"]["type"] == "string"
        assert "default" not in schema["properties"]["name"]


@pytest.mark.parametrize("policy", ["auto", "human"])
async def test_a_key_of_any_shape_is_in_no_question_and_no_ticket(
    api: Api, era: str, policy: str, tmp_path: Path
) -> None:
    """No pattern knows such a key; the redactor does, and a question and a file are exits like any other."""
    key = "q7Zk2Lw9Xr4Tn8Vb1Mc6Hd3Pf5Gj0SyAeUiOoWtB"
    token = put(api.store, allowedOrigins=[f"https://{key}.example"])
    api.install(keys=[key])
    answer = mcp_types.ElicitResult(action="decline") if policy == "auto" else None
    async with mcp_client(api, era, answer, RUNTYPE_API_KEY=key, RUNTYPE_MCP_APPROVAL=policy) as model:
        change = {"client_token": token, "allowed_origins": ["https://a.example", "native"]}
        text = await model.text("update_client_token", **change, confirm=True, expected_name="Shop")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").glob("state.db*")).decode(errors="replace")
    assert (len(model.asked), "Shop" in kept) == ((1, False) if policy == "auto" else (0, True))
    shown = [text, *model.asked, kept]
    assert "[redacted]" in "".join(shown)
    assert not [said for said in shown if key in said]
    assert api.writes == []


async def test_an_own_key_cannot_be_typed_as_a_name(api: Api) -> None:
    key = "q7Zk2Lw9Xr4Tn8Vb1Mc6Hd3Pf5Gj0SyAeUiOoWtB"
    token = put(api.store, name=f"Shop {key}")
    async with mcp_client(api, MODERN, YES, RUNTYPE_API_KEY=key) as model:
        text = await model.text("delete_client_token", client_token=token, confirm=True, expected_name=f"Shop {key}")
        assert "the server's own API key" in text
        assert key not in text
        assert not model.asked


# All of it, or not at all


async def test_every_change_is_named_in_the_question_worst_first(api: Api) -> None:
    """The caller chooses the order, so what is cut off would be what they want to hide."""
    arguments = prepare(api, EXPOSE) | {
        "allowed_origins": [SITE, *(f"https://*.{n}.example" for n in range(30)), "*"],
        "agent_ids": [AGENT, *(f"agent_01jv00000000000000000000{n:02}" for n in range(10, 20))],
    }
    async with mcp_client(api, MODERN, DOES_NOT["decline"]) as model:
        await model.call(EXPOSE.tool, **confirmed(EXPOSE, arguments))
        (question,) = model.asked
    for named in (*arguments["allowed_origins"][1:], *arguments["agent_ids"][1:]):
        assert named in question
    assert " more" not in question.replace("more can be spent", "")
    assert question.index("'*'") < question.index("https://*.0.example")


@pytest.mark.parametrize("policy", ["auto", "human", "flag"])
async def test_a_change_too_large_to_be_shown_is_refused(api: Api, era: str, policy: str) -> None:
    arguments = prepare(api, EXPOSE) | {"allowed_origins": [*(f"https://*.{n}.example" for n in range(300)), "*"]}
    async with mcp_client(api, era, YES, RUNTYPE_MCP_APPROVAL=policy) as model:
        for call in (arguments, confirmed(EXPOSE, arguments)):
            text = refused(api, EXPOSE, await model.call(EXPOSE.tool, **call))
            assert "Split it into several calls." in text
        assert not model.asked
