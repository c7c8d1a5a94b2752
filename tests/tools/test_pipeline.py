"""The way of a call: what is decided is decided on the token as it is when the call acts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from runtype_mcp.storage.audit_log import rows
from runtype_mcp.storage.state import HeldLock, MemoryState, StateError
from tests.confirmations import OTHER_SITE, SITE, put
from tests.support import Api, McpClient, mcp_client, text_of

pytestmark = pytest.mark.anyio


class HeldState(MemoryState):
    """A state in which somebody else holds every lock until `let_go`."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.free = anyio.Event(), anyio.Event()

    def lock(self, key: str) -> Any:
        return _Held(self, super().lock(key))


class _Held:
    def __init__(self, state: HeldState, inner: Any) -> None:
        self._state, self._inner = state, inner

    async def __aenter__(self) -> HeldLock:
        self._state.waiting.set()
        await self._state.free.wait()
        lock: HeldLock = await self._inner.__aenter__()
        return lock

    async def __aexit__(self, *exc: object) -> None:
        await self._inner.__aexit__(*exc)


def change(api: Api, token: str, **fields: Any) -> None:
    record = api.store.get(token)
    assert record is not None
    api.store.put(replace(record, token=record.token | fields))


async def while_waiting(api: Api, era: str, arguments: dict[str, Any], **fields: Any) -> str:
    """Call update; while it waits for its turn, somebody else's server changes `fields`. Returns what it says."""
    state, said = HeldState(), []
    async with mcp_client(api, era, None, state) as model, anyio.create_task_group() as group:

        async def call() -> None:
            said.append(await model.text("update_client_token", **arguments))

        group.start_soon(call)
        await state.waiting.wait()
        change(api, arguments["client_token"], **fields)
        await state.advance_write_epoch()
        state.free.set()
    return said[0]


async def test_a_call_that_has_effects_only_when_it_acts_is_refused(api: Api, era: str) -> None:
    """It was harmless when it was planned, so nobody was asked: now it would take an origin away."""
    token = put(api.store)
    arguments = {"client_token": token, "allowed_origins": [SITE, "https://third.example"]}
    text = await while_waiting(api, era, arguments, allowedOrigins=[SITE, OTHER_SITE])
    assert "Nothing was changed." in text
    assert not api.writes


async def test_a_call_that_stays_harmless_acts_on_the_token_that_was_meant(api: Api, era: str) -> None:
    """By name it would now be another token's: the name was given away while it waited."""
    token = put(api.store, name="Shop")
    state, said = HeldState(), []
    async with mcp_client(api, era, None, state) as model, anyio.create_task_group() as group:

        async def call() -> None:
            said.append(await model.text("update_client_token", client_token="Shop", config={"theme": "dark"}))

        group.start_soon(call)
        await state.waiting.wait()
        change(api, token, name="Shop, old")
        other = put(api.store, name="Shop")
        await state.advance_write_epoch()
        state.free.set()
    assert [path for _, path, _ in api.writes] == [f"/v1/client-tokens/{token}"], said
    assert other != token


async def test_two_servers_of_one_user_take_turns(api: Api, era: str) -> None:
    """They share files, as two hosts on one machine do: the second acts on what the first has done."""
    token = put(api.store, environment="test")
    origins = [f"https://{n}.example" for n in range(4)]

    async def add(model: McpClient, origin: str) -> None:
        await model.call("update_client_token", client_token=token, allowed_origins=[SITE, origin])

    async with mcp_client(api, era) as one, mcp_client(api, era) as two, anyio.create_task_group() as group:
        for number, origin in enumerate(origins):
            group.start_soon(add, (one, two)[number % 2], origin)
    # The first is an addition. Each later one would take the first's origin away, so it is refused or previewed.
    assert len(api.writes) == 1


class LosingState(MemoryState):
    """A state that is lost once a write has begun: the lock, or all of it."""

    def __init__(self, *, lock: bool = False) -> None:
        super().__init__()
        self._lock, self._lost = lock, False

    async def advance_write_epoch(self) -> None:
        if self._lost:
            raise StateError("The state is gone. Nothing was changed.")
        self._lost = True
        await super().advance_write_epoch()

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[HeldLock]:
        async with super().lock(key) as held:
            yield LostLock() if self._lock else held


class LostLock(HeldLock):
    async def ensure_held(self) -> None:
        raise StateError("Somebody else has the lock. Nothing was changed.")


async def test_what_was_done_is_told_also_where_the_state_is_lost_in_the_middle(
    api: Api, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = put(api.store)
    async with mcp_client(api, era, None, LosingState()) as model:
        result = await model.call("update_client_token", client_token=token, name="Renamed")
    assert not result.is_error
    assert "Renamed" in text_of(result)
    assert len(api.writes) == 1
    assert "could not be told to other servers" in caplog.text


async def test_a_failed_write_is_told_as_such_also_where_the_state_is_lost_in_the_middle(api: Api, era: str) -> None:
    token = put(api.store)
    async with mcp_client(api, era, None, LosingState()) as model:
        api.faults.add("status", method="PUT", status=400)
        text = await model.text("update_client_token", client_token=token, name="Renamed")
    assert "400" in text
    assert "The state is gone" not in text


async def test_who_has_lost_the_lock_does_not_write(api: Api, era: str) -> None:
    token = put(api.store)
    async with mcp_client(api, era, None, LosingState(lock=True)) as model:
        text = await model.text("update_client_token", client_token=token, name="Renamed")
    assert "Somebody else has the lock. Nothing was changed." in text
    assert not api.writes


# The audit log


async def test_a_value_that_goes_into_a_file_leaves_a_line(api: Api, era: str, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    settings = {"RUNTYPE_MCP_AUDIT": str(log), "RUNTYPE_MCP_FILES_ROOT": str(tmp_path)}
    token = put(api.store)
    async with mcp_client(api, era, **settings) as model:
        for how in ({"deliver": "env_file", "env_file": ".env:CHAT"}, {"deliver": "show"}):
            assert not (await model.call("get_client_token_value", client_token=token, **how)).is_error
    assert [(row.tool, row.outcome) for row in rows(log)] == [("get_client_token_value", "done")] * 2


async def test_without_its_line_no_value_is_shown_or_filed(api: Api, era: str, tmp_path: Path) -> None:
    log = tmp_path / "log" / "audit.jsonl"
    settings = {"RUNTYPE_MCP_AUDIT": str(log), "RUNTYPE_MCP_FILES_ROOT": str(tmp_path)}
    token = put(api.store)
    async with mcp_client(api, era, **settings) as model:
        log.mkdir(parents=True)  # after the start, which would have refused it
        for how in ({"deliver": "env_file", "env_file": ".env:CHAT"}, {"deliver": "show"}):
            result = await model.call("get_client_token_value", client_token=token, **how)
            assert result.is_error
            assert "ct_live_" not in text_of(result)
    assert not (tmp_path / ".env").exists()
    assert not [path for _, path, _ in api.received if path.endswith("/token")]


# Arguments


async def test_the_servers_own_key_is_refused_as_an_argument_whatever_its_shape(api: Api, era: str) -> None:
    key = "quite-unusual-key-0123456789"
    token = put(api.store)
    async with mcp_client(api, era, RUNTYPE_API_KEY=f"rt_{key}") as model:
        calls: dict[str, dict[str, Any]] = {
            "list_client_token_conversations": {"client_token": token, "flow_id": f"rt_{key}"},
            "get_client_token": {"client_token": f"rt_{key}"},
            "update_client_token": {"client_token": token, "config": {"deep": [{"text": f"x\nrt_{key}"}]}},
        }
        for tool, arguments in calls.items():
            text = await model.text(tool, **arguments)
            assert "Nothing was sent." in text
            assert key not in text
    assert not api.received


@pytest.mark.parametrize(
    ("tool", "needed"),
    [
        ("list_client_tokens", {}),
        ("get_client_token", {"client_token": "Shop"}),
        ("update_client_token", {"client_token": "Shop", "config": {"theme": "dark"}}),
        ("delete_client_token", {"client_token": "Shop"}),
        ("regenerate_client_token", {"client_token": "Shop"}),
        ("get_client_token_value", {"client_token": "Shop"}),
        ("list_client_token_conversations", {"client_token": "Shop"}),
        ("create_client_token", {"name": "New", "allowed_origins": SITE, "agent_ids": "agent_01jv00000000"}),
    ],
)
@pytest.mark.parametrize("empty", ["", None], ids=["empty strings", "nulls"])
async def test_optional_arguments_that_are_sent_empty_count_as_not_given(
    api: Api, tool: str, needed: dict[str, Any], empty: Any
) -> None:
    """Strict converters make a model send every property there is."""
    put(api.store)
    async with mcp_client(api, "legacy") as model:
        (listed,) = [listed for listed in (await model.client.list_tools()).tools if listed.name == tool]
        every = dict.fromkeys(listed.input_schema["properties"], empty)
        result = await model.call(tool, **every | needed)
        assert not result.is_error, text_of(result)


@pytest.mark.parametrize("name", ["default_flow_id", "target_alias", "target_version_id"])
async def test_an_empty_string_that_could_mean_clear_is_refused_with_the_way_to_clear(api: Api, name: str) -> None:
    token = put(api.store)
    async with mcp_client(api, "legacy") as model:
        text = await model.text("update_client_token", client_token=token, **{name: ""})
    assert f'set clear to ["{name}"]' in text
    assert not api.received


FAILURES: dict[str, tuple[str, dict[str, Any], dict[str, str], dict[str, str]]] = {
    "bad input": ("list_client_tokens", {"limit": 0}, {}, {"outcome": "bad_input", "kind": "user_input"}),
    "no such token": (
        *("get_client_token", {"client_token": "Nobody's"}, {}),
        {"outcome": "not_found", "kind": "user_input"},
    ),
    "refused": (
        *("delete_client_token", {}, {"RUNTYPE_MCP_READ_ONLY": "true"}),
        {"outcome": "refused", "kind": "user_input"},
    ),
    "the API is down": (
        *("list_client_tokens", {}, {"RUNTYPE_BASE_URL": "http://127.0.0.1:1"}),
        {"outcome": "failed", "kind": "retryable"},
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_programs_are_told_what_came_of_a_call_that_was_not_done(api: Api, era: str, failure: str) -> None:
    tool, arguments, environ, told = FAILURES[failure]
    async with mcp_client(api, era, None, None, False, **environ) as model:
        result = await model.call(tool, **arguments)
    assert result.is_error
    assert (result.meta or {})["runtype-mcp/error"] == told


async def test_programs_are_told_under_which_code_a_call_waits_for_approval(api: Api, era: str) -> None:
    token = put(api.store, name="Shop")
    arguments = {"client_token": token, "confirm": True, "expected_name": "Shop"}
    async with mcp_client(api, era, None, None, False, RUNTYPE_MCP_APPROVAL="human") as model:
        result = await model.call("delete_client_token", **arguments)
    error = (result.meta or {})["runtype-mcp/error"]
    assert error["outcome"] == "waiting"
    assert f"`runtype-mcp approve {error['approval']}`" in text_of(result)


async def test_programs_are_told_when_nobody_knows_what_came_of_a_write(api: Api, era: str) -> None:
    token, inner = put(api.store, name="Shop"), api.stage.app

    async def lost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT":
            api.faults.add("html_502", method="PUT", after_commit=True)
            api.faults.add("status", method="GET", status=403, times=5)
        await inner(scope, receive, send)

    api.stage.app = lost
    async with mcp_client(api, era) as model:
        result = await model.call("update_client_token", client_token=token, config={"theme": "dark"})
    assert len(api.writes) == 1
    assert (result.meta or {})["runtype-mcp/error"] == {"outcome": "unknown", "kind": "permanent"}
