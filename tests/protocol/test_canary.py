"""No secret leaves the server but in the one field that exists to carry it.

Every tool, every failure, every exit: results, protocol errors, questions to people, progress, logs at DEBUG, spans,
the audit log, tickets, and files. The secrets are unique, so one that is found says where it came from.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mcp_types
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.client.stdio import stdio_client
from pydantic import BaseModel

from runtype_mcp import results
from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.http.telemetry import Telemetry
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.sandbox.app import create_app
from runtype_mcp.server import RuntypeServer, build_server
from runtype_mcp.settings import Settings
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.pipeline import GuardedTool
from tests.protocol.canaries import (
    NAMES,
    OPEN,
    PLAIN,
    UNUSUAL_KEY,
    USUAL_KEY,
    Exits,
    Failure,
    Leaky,
    Watch,
    When,
    failures,
    filled,
    planted,
    recorded,
    watch_values,
)
from tests.support import AGENT, LEGACY, MODERN, Api, accept, no_wait

pytestmark = pytest.mark.anyio

ARGUMENT = planted("argument")
ANSWERED = [(LEGACY, USUAL_KEY), (MODERN, UNUSUAL_KEY)]
ALL = [*ANSWERED, (LEGACY, UNUSUAL_KEY), (MODERN, USUAL_KEY)]


def pairs(found: list[tuple[str, str]]) -> pytest.MarkDecorator:
    names = {USUAL_KEY: "usual key", UNUSUAL_KEY: "unusual key"}
    return pytest.mark.parametrize(("era", "key"), found, ids=[f"{era}, {names[key]}" for era, key in found])


TOOL_NAMES = tuple(spec.name for spec in SPECS)


class ForgetfulSqliteState(SqliteState):
    """Every call starts from the same tokens, so nobody was shown what they are not any more."""

    async def last_read(self, subject: str, token_id: str) -> None:
        return None


@dataclass(frozen=True)
class Way:
    """One way of calling a tool. `shows`: done, it carries a value; `types`: what a person who is asked types."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)
    shows: bool = False
    types: str = ""
    writes: bool = False
    sends: bool = True  # it reaches the API


def ways(key: str) -> list[Way]:
    create = {"name": "New", "allowed_origins": ["https://new.example"], "agent_ids": [AGENT]}
    wide = create | {"allowed_origins": ["*"]}
    file = {"deliver": "env_file", "env_file": ".env:TOKEN"}
    plain, opened = {"client_token": PLAIN}, {"client_token": OPEN}
    sure = {"confirm": True, "expected_name": "Plain"}
    sure_open = {"confirm": True, "expected_name": NAMES[OPEN]}
    secret = {"config": {"greeting": ARGUMENT}}
    tried = [
        Way("list_client_tokens"),
        Way("list_client_tokens", {"detail": "full", "environment": "live"}),
        Way("list_client_tokens", {"name_contains": ARGUMENT}),
        Way("list_client_tokens", {"allowed_origin": f"https://u:{ARGUMENT}@x.example/{key}"}, sends=False),
        Way("get_client_token", plain),
        Way("get_client_token", opened),
        Way("get_client_token", {"client_token": NAMES[OPEN]}),
        Way("get_client_token", {"client_token": "Twin"}),
        Way("get_client_token", {"client_token": f"No {ARGUMENT} {key}"}),
        Way("get_client_token", {"client_token": f"ct_{key}"}),
        Way("get_client_token", {"client_token": ARGUMENT}, sends=False),
        Way("create_client_token", create, shows=True, writes=True),
        Way("create_client_token", create | file, writes=True),
        Way("create_client_token", create | {"name": f"New {ARGUMENT}"}, shows=True, writes=True),
        Way("create_client_token", create | {"name": "Twin", "environment": "live"}),
        Way("create_client_token", wide | {"name": f"New {ARGUMENT}", **secret}),
        Way("create_client_token", wide | secret | {"confirm": True}, shows=True, types="New", writes=True),
        Way("create_client_token", create | {"allowed_origins": [f"https://{key}/{ARGUMENT}"]}, sends=False),
        Way("create_client_token", create | {"agent_ids": [ARGUMENT]}, sends=False),
        Way("create_client_token", create | {"agent_ids": [f"agent_{key}"]}, shows=True, writes=True),
        Way("create_client_token", create | file | {"env_file": f"{planted('file')}/.env:TOKEN"}),
        Way("create_client_token", create | file | {"env_file": f"{planted('file')}:{key}"}),
        Way("create_client_token", create | {ARGUMENT: key}, sends=False),
        Way("create_client_token", create | {"name": {ARGUMENT: key}, "agent_ids": 1, "config": key}, sends=False),
        Way("update_client_token", plain | {"name": f"Now {ARGUMENT}"}, writes=True),
        Way("update_client_token", plain | {"name": f"Now {ARGUMENT} {key}"}, writes=True),
        Way("update_client_token", plain | secret),
        Way("update_client_token", plain | secret | sure, types="Plain", writes=True),
        Way("update_client_token", opened | {"config": {}, "rate_limit_per_minute": 11} | sure_open, types=NAMES[OPEN]),
        Way("update_client_token", plain | {"agent_ids": [ARGUMENT, f"agent_{key}"]}),
        Way(
            "update_client_token", plain | {"agent_ids": [ARGUMENT, f"agent_{key}"]} | sure, types="Plain", writes=True
        ),
        Way("update_client_token", plain | {"agent_ids": [f"agent_{key}"]}),
        Way("update_client_token", plain | {"agent_ids": [f"agent_{key}"]} | sure, types="Plain", writes=True),
        Way("update_client_token", opened | {"agent_ids": "agent_1"} | sure_open, types=NAMES[OPEN], writes=True),
        Way("update_client_token", plain | {"target_alias": ARGUMENT} | sure, types="Plain", writes=True),
        Way("update_client_token", plain | {"default_flow_id": ARGUMENT}),
        Way("update_client_token", plain | {"allowed_origins": [f"{ARGUMENT}{key}"]}, sends=False),
        Way("delete_client_token", opened),
        Way("confirm_in_app", {"approval_code": f"{ARGUMENT}", "decision": "approve", "name": ARGUMENT}, sends=False),
        Way("confirm_in_app", {"approval_code": key, "decision": ARGUMENT, "name": key}, sends=False),
        Way("delete_client_token", plain | {"confirm": True, "expected_name": f"{ARGUMENT} {key}"}),
        Way("delete_client_token", plain | sure, types="Plain", writes=True),
        Way("delete_client_token", opened | sure_open, types=NAMES[OPEN], writes=True),
        Way("get_client_token_value", plain, shows=True),
        Way("get_client_token_value", plain | file),
        Way("get_client_token_value", plain | file | {"deliver": "verify"}),
        Way("get_client_token_value", plain | {"deliver": "verify", "env_file": f"{planted('file')}.env:TOKEN"}),
        Way("get_client_token_value", opened),
        Way("get_client_token_value", opened | sure_open, shows=True, types=NAMES[OPEN]),
        Way("regenerate_client_token", opened),
        Way("regenerate_client_token", plain | sure, shows=True, types="Plain", writes=True),
        Way("regenerate_client_token", opened | sure_open | file, types=NAMES[OPEN], writes=True),
        Way("list_client_token_conversations", plain),
        Way("list_client_token_conversations", opened | {"flow_id": ARGUMENT}),
        Way("audit_client_tokens"),
        Way("list_agents_and_flows"),
        Way("list_agents_and_flows", {"name_contains": f"{ARGUMENT} {key}"}),
    ]
    # The server's own key is refused in any argument, before anything is sent.
    return [Way(way.tool, way.arguments, sends=False) if key in repr(way.arguments) else way for way in tried]


class Stand:
    """A server, its client, the API that leaks, and the exits; every call is checked at every exit."""

    def __init__(self, api: Api, server: RuntypeServer, key: str, exits: Exits) -> None:
        self.server, self.exits, self.key = server, exits, key
        self.watch = Watch(key)
        self._api = api
        self.client: Client
        self.heard: list[str] = []
        self.types = ""
        self.regenerates = False
        self.combinations = 0
        self.kinds: set[str] = set()

    def reset(self) -> None:
        self.store = filled(self.watch)
        self.leaky = Leaky(create_app(self.store, keys=[self.key]), self.key)
        self.leaky.regenerates = self.regenerates
        self._api.stage.app = self.leaky
        self.heard.clear()
        self.exits.drain()

    async def ask(self, context: ClientRequestContext, params: mcp_types.ElicitRequestParams) -> Any:
        self.heard.append(params.message)
        return self.answer()

    def answer(self) -> Any:
        return accept(self.types)

    async def hear(self, message: Any) -> None:
        self.heard.append(repr(message))

    async def try_out(self, way: Way, when: When | None = None, failure: Failure | None = None) -> None:
        """One combination, on a fresh API."""
        self.reset()
        self.types = way.types
        self.leaky.fail(when, failure)
        what = f"{way.tool} {way.arguments} ({when}: {failure.name if failure else 'no failure'})"

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            self.heard.append(f"{progress} {total} {message}")

        try:
            result = await self.client.call_tool(way.tool, way.arguments, progress_callback=heard)
        except MCPError as error:
            self.check(what, {"protocol error": f"{error} {error.error.data}"})
            return
        self.check(what, self._said(way, result))

    def _said(self, way: Way, result: mcp_types.CallToolResult) -> dict[str, str]:
        """What a result says besides the value that it may carry."""
        values = watch_values(self.watch, self.store)
        whole = result.model_dump(mode="json", by_alias=True)
        data = whole.get("structuredContent") or {}
        value = data.get("value")
        self.kinds.add(whole["content"][0]["text"][:24] if result.is_error else data.get("status", "read"))
        if value is None:
            return {"result": json.dumps(whole)}
        assert way.shows, "a value came where none was asked for"
        assert value in values.values()
        del data["value"]
        lines = whole["content"][0]["text"].split("\n")
        lines.remove(f"value: {value}")
        whole["content"][0]["text"] = "\n".join(lines)
        return {"result": json.dumps(whole)}

    def check(self, what: str, said: dict[str, str]) -> None:
        self.combinations += 1
        found = self.leaks(said)
        assert not found, f"{what}: {found}"

    def leaks(self, said: dict[str, str]) -> dict[str, tuple[set[str], str]]:
        """The exits that gave secrets away, with the secrets' names and the text."""
        exits = said | self.exits.drain() | {"to people and progress": "\n".join(self.heard)}
        self.heard.clear()
        return {way: (secrets, text) for way, text in exits.items() if (secrets := self.watch.seen_in(text))}


@dataclass
class Setup:
    """What the tests share: `standing` starts a server and a client."""

    api: Api
    era: str
    key: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def settings(self) -> dict[str, str]:
        return {
            "RUNTYPE_API_KEY": self.key,
            "RUNTYPE_BASE_URL": self.api.url,
            "RUNTYPE_MCP_AUDIT": str(self.folder / "audit.jsonl"),
            "RUNTYPE_MCP_FILES_ROOT": str(self.folder / "files"),
            "RUNTYPE_MCP_LOG_LEVEL": "DEBUG",
        }

    def server(self, exits: Exits, **environ: str) -> RuntypeServer:
        state, observer = ForgetfulSqliteState(self.folder / "state"), Telemetry(exits.metrics, exits.tracer)
        settings = Settings.from_env(self.settings | environ)
        return build_server(settings, state=state, observer=observer, sleep=no_wait)

    @asynccontextmanager
    async def standing(self, *, asks: bool = True, **environ: str) -> AsyncIterator[Stand]:
        with recorded(self.folder, self.key, self.monkeypatch) as exits:
            server = self.server(exits, **environ)
            stand = Stand(self.api, server, self.key, exits)
            asked = stand.ask if asks else None
            async with Client(server, mode=self.era, elicitation_callback=asked, message_handler=stand.hear) as client:
                stand.client = client
                yield stand


@pytest.fixture
def setup(api: Api, era: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    folder = tmp_path / "watched"
    (folder / "files").mkdir(parents=True)
    monkeypatch.setenv("RUNTYPE_MCP_STATE_DIR", str(folder / "state"))
    return Setup(api, era, key, folder, monkeypatch)


@pairs(ALL)
async def test_no_call_gives_a_secret_away(setup: Setup) -> None:
    async with setup.standing() as stand:
        for way in ways(setup.key):
            await stand.try_out(way)
        assert stand.kinds >= {"read", "preview", "done", "Error (user_input): 2 cl"}, stand.kinds
    assert stand.combinations == len(ways(setup.key)) > 40


@pairs(ANSWERED)
async def test_no_failure_of_the_api_gives_a_secret_away(setup: Setup) -> None:
    """Every tool meets every failure, of its reads and of its writes, by its ways in turn."""
    sent = [way for way in ways(setup.key) if way.sends]
    async with setup.standing() as stand:
        for tool in TOOL_NAMES:
            reading = cycle(way for way in sent if way.tool == tool)
            writing = cycle(way for way in sent if way.tool == tool and way.writes)
            writes = any(way.tool == tool and way.writes for way in sent)
            for failure in failures(setup.key):
                await stand.try_out(next(reading), "reads", failure)
                if writes:
                    await stand.try_out(next(writing), "writes", failure)
                    await stand.try_out(next(writing), "lost", failure)
        assert {kind[:12] for kind in stand.kinds} >= {
            "Error (auth)",
            "Error (retry",
            "Error (perma",
            "Error (user_",
            "done",
        }
        assert stand.exits.most_log > 1000  # the loggers were heard
    assert stand.combinations >= 300


class Person:
    """Answers of people and clients that go wrong, each with secrets in it."""

    @staticmethod
    def declines(key: str) -> Any:
        return mcp_types.ElicitResult(action="decline", content={"name": f"{planted('person')} {key}"})

    @staticmethod
    def closes(key: str) -> Any:
        return mcp_types.ElicitResult(action="cancel")

    @staticmethod
    def types_another_name(key: str) -> Any:
        return accept(f"{planted('person')} {key}")

    @staticmethod
    def sends_a_form_that_does_not_fit(key: str) -> Any:
        return mcp_types.ElicitResult(action="accept", content={planted("person"): key, "name": [planted("person")]})

    @staticmethod
    def fails(key: str) -> Any:
        raise RuntimeError(f"{planted('person')} {key}")

    @staticmethod
    def answers_with_an_error(key: str) -> Any:
        return mcp_types.ErrorData(code=-32000, message=f"{planted('person')} {key}", data=planted("person"))


ANSWERS = (
    *(Person.declines, Person.closes, Person.types_another_name),
    *(Person.sends_a_form_that_does_not_fit, Person.fails, Person.answers_with_an_error),
)


@pairs(ANSWERED)
async def test_no_answer_of_a_person_or_client_gives_a_secret_away(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with setup.standing() as stand:
        for answer in ANSWERS:
            if setup.era == MODERN and answer in (Person.fails, Person.answers_with_an_error):
                continue  # there it stays between the client and itself
            monkeypatch.setattr(stand, "answer", partial(answer, setup.key))
            for way in ways(setup.key):
                if way.types:
                    await stand.try_out(way)
    assert stand.combinations >= 30


POLICIES = [
    {"RUNTYPE_MCP_APPROVAL": "deny"},
    {"RUNTYPE_MCP_APPROVAL": "flag"},
    {"RUNTYPE_MCP_READ_ONLY": "1"},
    {"RUNTYPE_MCP_TOOLS": "!delete_*,!regenerate_*,!get_client_token_value"},
    {"RUNTYPE_MCP_ENVIRONMENT": "test"},
    {"RUNTYPE_MCP_SECRETS": "file"},
]


@pairs(ANSWERED)
async def test_no_refusal_of_the_policy_gives_a_secret_away(setup: Setup) -> None:
    combinations = 0
    for policy in POLICIES:
        async with setup.standing(asks=True, **policy) as stand:
            for way in ways(setup.key):
                if way.types or way.writes:
                    await stand.try_out(way)
        combinations += stand.combinations
    assert combinations >= 80


@pairs(ANSWERED)
async def test_no_ticket_gives_a_secret_away(setup: Setup) -> None:
    async with setup.standing(asks=False, RUNTYPE_MCP_APPROVAL="human") as stand:
        asked = [way for way in ways(setup.key) if way.types and way.types != NAMES[OPEN]]
        for way in asked:
            await stand.try_out(way)
            assert "Error (user_input): A pe" in stand.kinds
    assert stand.combinations == len(asked) >= 5


@pairs(ANSWERED)
async def test_no_ticket_gives_a_secret_in_a_name_away(setup: Setup) -> None:
    async with setup.standing(asks=False, RUNTYPE_MCP_APPROVAL="human") as stand:
        for way in ways(setup.key):
            if way.types == NAMES[OPEN]:
                await stand.try_out(way)


@pairs(ANSWERED)
async def test_no_hint_that_changes_gives_a_secret_away(setup: Setup) -> None:
    async with setup.standing() as stand:
        stand.regenerates = True
        await stand.try_out(Way("update_client_token", {"client_token": PLAIN, "name": "Till"}))


@pairs(ANSWERED)
async def test_no_crash_gives_a_secret_away(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash is answered in our own words; its text and its traceback go into the log, masked."""

    def crash(*_: Any, **__: Any) -> Any:
        try:
            int(f"{planted('crash')} {setup.key}")
        except ValueError as cause:
            raise RuntimeError({planted("crash"): setup.key}) from cause

    async def crash_later(*_: Any, **__: Any) -> Any:
        crash()

    combinations = 0
    for spot in ("request", "act", "plan", "result"):
        async with setup.standing() as stand:
            with monkeypatch.context() as patch:
                if spot == "request":
                    patch.setattr(RuntypeClient, "_once", crash_later)
                for tool in stand.server._tool_manager.list_tools():
                    assert isinstance(tool, GuardedTool)
                    if spot == "act":
                        acting = functools.wraps(tool.spec.run)(crash_later)
                        tool.spec = replace(tool.spec, run=acting)
                    if spot == "plan" and tool.spec.plan:
                        tool.spec = replace(tool.spec, plan=crash_later)
                if spot == "result":
                    patch.setattr(results.Result, "data", crash)
                for way in ways(setup.key):
                    if way.sends:
                        await stand.try_out(way)
            combinations += stand.combinations
            assert "Error (permanent): The s" in stand.kinds, spot
    assert combinations >= 140


@pairs(ANSWERED)
async def test_no_lost_connection_gives_a_secret_away(setup: Setup) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with setup.standing(RUNTYPE_BASE_URL=nobody) as stand:
            for way in ways(setup.key):
                await stand.try_out(way)
    assert "Error (retryable): The A" in stand.kinds


@pairs(ANSWERED)
async def test_no_timeout_gives_a_secret_away(setup: Setup) -> None:
    slow = Failure("slow", seconds=30)
    async with setup.standing(RUNTYPE_MCP_TIMEOUT="0.15") as stand:
        for tool in TOOL_NAMES:
            tried = [way for way in ways(setup.key) if way.tool == tool and way.sends]
            await stand.try_out(tried[0], "reads", slow)
            for way in [way for way in tried if way.writes][:1]:
                await stand.try_out(way, "writes", slow)
                await stand.try_out(way, "lost", slow)
    assert stand.combinations == len(TOOL_NAMES) + 2 * 4


@pairs(ALL)
async def test_no_protocol_error_gives_a_secret_away(setup: Setup) -> None:
    said = f"{ARGUMENT} {setup.key}"
    async with setup.standing() as stand:
        client = stand.client
        requests: dict[str, Callable[[], Awaitable[BaseModel]]] = {
            "an unknown tool": lambda: client.call_tool(said, {"x": said}),
            "an unknown resource": lambda: client.read_resource(f"runtype-mcp://{quote(said)}"),
            "a resource of no scheme": lambda: client.read_resource(said),
            "an unknown prompt": lambda: client.get_prompt(said, {said: said}),
            "a prompt": lambda: client.get_prompt("rotate_client_token", {"client_token": said}),
            "a prompt with another argument": lambda: client.get_prompt("rotate_client_token", {said: said}),
            "a cursor": lambda: client.list_tools(cursor=said),
            "a completion": lambda: client.complete(
                mcp_types.PromptReference(name=said), {"name": said, "value": said}
            ),
            "a completion of a token": lambda: client.complete(
                mcp_types.PromptReference(name="rotate_client_token"), {"name": "client_token", "value": ""}
            ),
            "a completion of an agent": lambda: client.complete(
                mcp_types.PromptReference(name="embed_chat_widget"), {"name": "agent", "value": ""}
            ),
            "the policy": lambda: client.read_resource("runtype://policy"),
            "the tokens": lambda: client.read_resource("runtype://client-tokens"),
            "a token": lambda: client.read_resource(f"runtype://client-tokens/{OPEN}"),
            "no token": lambda: client.read_resource(f"runtype://client-tokens/{quote(said)}"),
            "no page": lambda: client.read_resource(f"runtype://docs/{quote(said)}"),
        }
        for what, request in requests.items():
            stand.reset()
            try:
                answer = (await request()).model_dump_json()
            except MCPError as error:
                answer = f"{error} {error.error.data}"
            stand.check(what, {"answer": answer})
    assert stand.combinations == len(requests)


@pairs(ANSWERED)
async def test_a_process_gives_no_secret_away_on_its_standard_error(setup: Setup, tmp_path: Path) -> None:
    """The same through a real process at RUNTYPE_MCP_LOG_LEVEL=DEBUG: everything that it writes, anywhere."""
    log = tmp_path / "stderr"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNTYPE")}
    environ |= setup.settings | {"RUNTYPE_MCP_STATE_DIR": str(setup.folder / "state"), "RUNTYPE_MCP_TIMEOUT": "1"}
    command = StdioServerParameters(command=sys.executable, args=["-m", "runtype_mcp"], env=environ)
    rest = Failure("a long error", 400, f"{setup.key} {planted('text')}".encode())
    with log.open("w+") as errors, recorded(setup.folder, setup.key, setup.monkeypatch) as exits:
        transport = stdio_client(command, errlog=errors)
        # It is the process that is called: the server that is built here only completes the stand.
        stand = Stand(setup.api, setup.server(exits), setup.key, exits)
        async with Client(transport, mode=setup.era, elicitation_callback=stand.ask) as stand.client:
            for number, way in enumerate(ways(setup.key)):
                if number % 3 == 0:
                    await stand.try_out(way)
                if way.sends and number % 3 == 1:
                    await stand.try_out(way, "writes" if way.writes else "reads", rest)
            await stand.try_out(Way(ARGUMENT))
        errors.seek(0)
        written = errors.read()
    assert "httpcore2" in written
    assert "DEBUG" in written
    assert not stand.watch.seen_in(written)
    assert stand.combinations >= 20


@pairs(ANSWERED)
async def test_the_watch_sees_a_secret_at_every_exit(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the redactor every exit leaks, and is seen to: the tests above can fail."""
    for name in ("redact_text", "redact_json"):
        monkeypatch.setattr(Redactor, name, lambda _, value: value)
    async with setup.standing() as stand:
        found: set[str] = set()

        def keep(_: str, said: dict[str, str]) -> None:
            found.update(stand.leaks(said))

        monkeypatch.setattr(stand, "check", keep)
        for way in ways(setup.key):
            await stand.try_out(way)
        await stand.try_out(Way(ARGUMENT))
    assert found >= {"result", "logs", "audit.jsonl", "spans"}
    assert "to people and progress" in found or setup.key == USUAL_KEY  # which is refused where an id belongs
