"""Who may call over HTTP, and as whom: real servers, real clients, and what the API received."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from runtype_mcp.http.auth import ON_BEHALF_OF
from runtype_mcp.http.callers_file import CallersFile
from tests.http.team import ALL, Bot, called, caller, modern, post, team_server
from tests.processes import run
from tests.support import ERAS, KEY, LEGACY, MODERN, Api, SwappableApp, text_of

pytestmark = pytest.mark.anyio

READS = {"list_client_tokens", "get_client_token", "list_client_token_conversations", "list_agents_and_flows"}


@pytest.fixture
def callers(tmp_path: Path) -> CallersFile:
    return CallersFile(tmp_path / "callers.json")


class Team(NamedTuple):
    """A server for named callers in front of the test's API."""

    url: str
    callers: CallersFile
    audit: Path


def environ(api: str, folder: Path) -> dict[str, str]:
    return {
        "RUNTYPE_API_KEY": KEY,
        "RUNTYPE_BASE_URL": api,
        "RUNTYPE_MCP_AUTH": "static",
        "RUNTYPE_MCP_CALLERS": str(folder / "callers.json"),
        "RUNTYPE_MCP_AUDIT": str(folder / "audit.jsonl"),
        "RUNTYPE_MCP_STATE_DIR": str(folder / "state"),
    }


@pytest.fixture(scope="module")
def _team(_staged: tuple[SwappableApp, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    callers = CallersFile(folder / "callers.json")
    callers.add("nobody", ())
    with team_server(**environ(_staged[1], folder)) as (url, _):
        yield Team(url, callers, folder / "audit.jsonl")


@pytest.fixture
def team(_team: Team, api: Api) -> Team:
    """One server for all these tests, in which each begins without callers and with an API of its own."""
    api.seeded()
    _team.callers.path.unlink()
    _team.callers.add("nobody", ())
    _team.audit.unlink(missing_ok=True)
    return _team


def audited(team: Team) -> list[dict[str, Any]]:
    return [json.loads(line) for line in team.audit.read_text().splitlines()]


async def test_named_callers_act_under_their_names_as_far_as_their_scopes_go(team: Team, api: Api, era: str) -> None:
    ana, bob = team.callers.add("ana", ALL), team.callers.add("bob", ("read",))
    async with caller(team.url, era, ana) as model:
        made = await model.create(name="By Ana", environment="test")
    async with caller(team.url, era, bob) as model:
        offered = {tool.name for tool in (await model.client.list_tools()).tools}
        assert offered >= READS
        assert not {name for name in offered if name.startswith(("create", "update", "delete", "regenerate"))}
        assert await model.text("get_client_token", client_token="By Ana")
        told = await model.text("delete_client_token", client_token=made["id"], confirm=True, expected_name="By Ana")
        assert "client_tokens:delete" in told
        assert "Nothing was changed" in told
    assert [request[0] for request in api.writes] == ["POST"]
    names = [line["caller"] for line in audited(team)]
    assert names == ["ana", "ana", "bob"]
    assert ana not in team.audit.read_text()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer")],
        [("authorization", "Bearer rtmcp_" + "x" * 43)],
        [("authorization", "Bearer " + "y" * 5000)],
        [("authorization", "Bearer " + "z" * 20_000)],
        [("authorization", "Bearer ünïcode")],
        [("authorization", "Basic YW5hOmFuYQ==")],
        [("authorization", "{good}")],
        [("x-authorization", "Bearer {good}")],
        [("authorization", "Bearer {good}"), ("authorization", "Bearer {good}")],
        [("authorization", "Bearer {good}"), ("Authorization", "Bearer nonsense-nonsense")],
        [("authorization", "Bearer {good}, Bearer {good}")],
        [("authorization", "Bearer  {good}")],
        [("authorization", "Bearer ct_live_0123456789abcdef0123456789abcdef")],
    ],
)
async def test_who_brings_no_good_token_is_refused(team: Team, api: Api, headers: list[tuple[str, str]]) -> None:
    good = team.callers.add("ana", ALL)
    sent = [(name, value.replace("{good}", good)) for name, value in headers]
    answer = post(team.url, called("list_client_tokens"), [*sent, *modern("list_client_tokens")])
    assert answer.status_code in (400, 401, 431), answer.text
    assert not api.received
    assert good not in answer.text


async def test_a_caller_who_is_removed_or_expired_is_refused_from_the_next_request_on(team: Team) -> None:
    def status(token: str) -> int:
        sent = [("authorization", f"Bearer {token}"), *modern("list_client_tokens")]
        return post(team.url, called("list_client_tokens"), sent).status_code

    ana = team.callers.add("ana", ALL)
    late = team.callers.add("late", ALL, expires=datetime.now(UTC) - timedelta(seconds=1))
    soon = team.callers.add("soon", ALL, expires=datetime.now(UTC) + timedelta(hours=1))
    assert (status(ana), status(late), status(soon)) == (200, 401, 200)
    assert team.callers.remove("ana")
    assert (status(ana), status(soon)) == (401, 200)
    team.callers.path.write_text("{")
    assert status(soon) == 401
    team.callers.path.write_text('{"callers": []}')
    team.callers.path.chmod(0o666)
    assert status(soon) == 401


async def test_a_bot_calls_on_behalf_of_people_and_only_as_it_says(team: Team, api: Api, era: str) -> None:
    bot, other = Bot.added(team.callers.path, "slack-bot"), Bot.added(team.callers.path, "other-bot")
    plain = team.callers.add("plain", ALL)
    async with caller(team.url, era, bot.token, **bot.header("U1", name="Ana")) as model:
        await model.create(name="For Ana", environment="test")
    async with caller(team.url, era, bot.token) as model:
        await model.create(name="For itself", environment="test")
    assert [line["caller"] for line in audited(team)] == ["Ana (via slack-bot)"] * 2 + ["slack-bot"] * 2
    received = len(api.received)
    for token, statement in (
        (bot.token, other.says("U1")),
        (bot.token, other.says("U1", iss="slack-bot")),
        (bot.token, bot.says("U1", iss="other-bot")),
        (bot.token, bot.says("U1", aud="https://elsewhere.example/mcp")),
        (bot.token, bot.says("U1", exp=1)),
        (bot.token, bot.says("U1", exp=None)),
        (bot.token, bot.says("U1", exp=int(datetime.now(UTC).timestamp()) + 4000)),
        (bot.token, bot.says("U1", iat=int(datetime.now(UTC).timestamp()) + 4000)),
        (bot.token, bot.says("", iat=None)),
        (bot.token, bot.says("")),
        (bot.token, bot.says("U1\nU2")),
        (bot.token, bot.says("U1", key="secret-secret-secret-secret-secret", algorithm="HS256")),
        (bot.token, bot.says("U1", key="", algorithm="none")),
        (bot.token, "U1"),
        (bot.token, ""),
        (plain, bot.says("U1")),
        (other.token, bot.says("U1")),
    ):
        sent = [("authorization", f"Bearer {token}"), (ON_BEHALF_OF, statement), *modern("list_client_tokens")]
        answer = post(team.url, called("list_client_tokens"), sent)
        assert answer.status_code == 401, statement
    twice = [("authorization", f"Bearer {bot.token}"), *[(ON_BEHALF_OF, bot.says("U1"))] * 2]
    assert post(team.url, called("list_client_tokens"), [*twice, *modern("list_client_tokens")]).status_code == 400
    assert len(api.received) == received


async def test_a_session_is_its_caller_s_alone(team: Team) -> None:
    ana, bob = team.callers.add("ana", ALL), team.callers.add("bob", ALL)
    bot = Bot.added(team.callers.path, "slack-bot")
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    hello["params"] |= {"capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}  # type: ignore[operator]

    def opened(headers: list[tuple[str, str]]) -> str:
        return post(team.url, hello, headers).headers["mcp-session-id"]

    def listed(session: str, headers: list[tuple[str, str]]) -> int:
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
        return post(team.url, message, [*headers, ("mcp-session-id", session)]).status_code

    def bearer(token: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {token}")]

    session = opened(bearer(ana))
    assert listed(session, bearer(ana)) == 200
    assert listed(session, bearer(bob)) == 404
    for_ana, for_bob = ([*bearer(bot.token), (ON_BEHALF_OF, bot.says(person))] for person in ("U1", "U2"))
    session = opened(for_ana)
    assert [listed(session, who) for who in (for_ana, for_bob, bearer(bot.token))] == [200, 404, 404]


async def test_keys_that_callers_bring_never_meet(api: Api, tmp_path: Path) -> None:
    """200 interleaved callers on shared connections: each request to the API has the key of the call behind it."""
    api.seeded()
    seen: list[tuple[str, str]] = []
    inner = api.stage.app

    async def recording(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            (key,) = [value.decode() for name, value in scope["headers"] if name == b"authorization"]
            seen.append((key.removeprefix("Bearer "), scope["path"]))
        await inner(scope, receive, send)

    api.stage.app = recording
    settings = {"RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_AUTH": "passthrough"}
    log = {"RUNTYPE_MCP_AUDIT": str(tmp_path / "audit.jsonl"), "RUNTYPE_MCP_LOG_LEVEL": "DEBUG"}
    keys = [f"rt_test_caller{number:03}" for number in range(200)]
    with team_server(**settings, **log) as (url, process):
        limit = asyncio.Semaphore(40)

        async def one(number: int) -> str:
            async with limit, caller(url, ERAS[number % 2], keys[number]) as model:
                told = [await model.text("get_client_token", client_token=f"ct_{number:026}")]
                told.append(await model.text("delete_client_token", client_token=f"ct_{number:026}"))
                return " ".join(told)

        reading = asyncio.create_task(asyncio.to_thread(process.errors))  # or the pipe is full, and the server waits
        answers = await asyncio.gather(*map(one, range(200)))
        process.popen.send_signal(signal.SIGTERM)
        logged = await reading
    for number, key in enumerate(keys):
        assert {k for k, path in seen if f"ct_{number:026}" in path} == {key}
    assert {key for key, _ in seen} <= set(keys)
    everything = " ".join([*answers, logged, (tmp_path / "audit.jsonl").read_text()])
    assert not [key for key in keys if key in everything]


async def test_only_an_api_key_is_passed_on(api: Api) -> None:
    api.seeded()
    with team_server(RUNTYPE_BASE_URL=api.url, RUNTYPE_MCP_AUTH="passthrough") as (url, _):
        for token in ("ct_live_0123456789abcdef0123456789abcdef", "sk-other", "rt_", "rt_x", "rt_" + "a" * 300):
            sent = [("authorization", f"Bearer {token}"), *modern("list_client_tokens")]
            answer = post(url, called("list_client_tokens"), sent)
            assert answer.status_code == 401
            assert ("for browsers" in answer.text) is token.startswith("ct_")
    assert not api.received


async def test_a_question_that_one_caller_was_asked_is_not_answered_by_another(team: Team, api: Api) -> None:
    ana, bob = team.callers.add("ana", ALL), team.callers.add("bob", ALL)
    async with caller(team.url, LEGACY, ana) as model:
        made = await model.create(name="Shop", environment="test")
    arguments = {"client_token": made["id"], "confirm": True, "expected_name": "Shop"}
    message = called("delete_client_token", **arguments)
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {"elicitation": {"form": {}}}

    def asked(token: str, **more: Any) -> dict[str, Any]:
        sent = [("authorization", f"Bearer {token}"), *modern("delete_client_token")]
        answer = post(team.url, message | {"params": message["params"] | more}, sent)
        found = re.search(r"\{.*\}", answer.text, re.DOTALL)
        assert found, answer.text
        body: dict[str, Any] = json.loads(found[0])
        return body

    question = asked(ana)["result"]
    (name,) = question["inputRequests"]
    answered = {"inputResponses": {name: {"action": "accept", "content": {"name": "Shop"}}}}
    answered["requestState"] = question["requestState"]
    assert "error" in asked(bob, **answered)
    assert not [request for request in api.writes if request[0] == "DELETE"]
    assert asked(ana, **answered)["result"]["structuredContent"]["status"] == "done"
    assert len([request for request in api.writes if request[0] == "DELETE"]) == 1


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"RUNTYPE_MCP_AUTH": "static"}, "RUNTYPE_MCP_CALLERS"),
        ({"RUNTYPE_MCP_AUTH": "static", "RUNTYPE_MCP_CALLERS": "/nonexistent/c.json"}, "cannot be read"),
        ({"RUNTYPE_MCP_AUTH": "passthrough", "RUNTYPE_API_KEY": KEY}, "exclude each other"),
        ({"RUNTYPE_MCP_AUTH": "passthrough", "RUNTYPE_MCP_SANDBOX": "1"}, "exclude each other"),
        ({"RUNTYPE_MCP_AUTH": "jwt", "RUNTYPE_MCP_JWT_ISSUER": "https://id.example"}, "RUNTYPE_MCP_PUBLIC_URL"),
        ({"RUNTYPE_MCP_AUTH": "jwt", "RUNTYPE_MCP_PUBLIC_URL": "https://mcp.example"}, "RUNTYPE_MCP_JWT_ISSUER"),
        ({"RUNTYPE_MCP_AUTH": "oauth"}, "must be"),
        ({"RUNTYPE_MCP_PUBLIC_URL": "http://mcp.example"}, "https://"),
        ({"RUNTYPE_MCP_PUBLIC_URL": "https://mcp.example/path"}, "without a path"),
        ({"RUNTYPE_MCP_JWT_ISSUER": "ftp://id.example"}, "https://"),
    ],
)
def test_what_contradicts_itself_stops_the_start(environ: dict[str, str], says: str) -> None:
    done = run("http", "--port", "0", **environ)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_start_says_who_may_call(api: Api, callers: CallersFile, tmp_path: Path) -> None:
    callers.add("ana", ALL)
    public = {"RUNTYPE_MCP_PUBLIC_URL": "https://mcp.example"}
    with team_server("--host", "0.0.0.0", **environ(api.url, tmp_path), **public) as (_, process):
        assert process.popen.stderr is not None
        lines = [process.popen.stderr.readline().decode() for _ in range(2)]
        assert f"whoever has a token of {callers.path}" in "".join(lines)


async def test_a_modern_session_needs_no_state_of_the_server(team: Team) -> None:
    ana = team.callers.add("ana", ALL)
    async with caller(team.url, MODERN, ana) as model:
        result = await model.call("list_client_tokens", limit=1)
        assert not result.is_error, text_of(result)
