"""What the audit log holds of real calls: one row for each that writes or is gated, whatever became of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp_types import ElicitResult
from starlette.types import Receive, Scope, Send

from runtype_mcp.storage import audit_log
from runtype_mcp.storage.audit_log import Row
from tests.confirmations import put
from tests.processes import run, started, until
from tests.support import AGENT, KEY, Answer, Api, accept, mcp_client, text_of

pytestmark = pytest.mark.anyio

WIDE = {"allowed_origins": ["*"]}
SURE = {"confirm": True, "expected_name": "Shop"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "log.jsonl"


def entries(log: Path) -> list[dict[str, Any]]:
    """The lines of the log; none where nothing was recorded yet."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def replace_by_folder(log: Path) -> None:
    log.unlink()
    log.mkdir()


@dataclass(frozen=True)
class Case:
    """A call on the token Shop, and its row."""

    tool: str
    arguments: dict[str, Any]
    outcome: str  # how it begins
    approval: str = "none"
    writes: int = 0  # how many the API receives
    answer: Answer = None
    environ: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Api], None] | None = None
    effects: bool = True
    token: bool = True


def forbid(api: Api) -> None:
    api.faults.add("status", method="PUT", status=403)


def lose(api: Api) -> None:
    """The update happens, its answer is lost, and the token cannot be read again."""
    inner = api.stage.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT":
            api.faults.add("html_502", method="PUT", after_commit=True)
            api.faults.add("status", method="GET", status=403, times=5)
        await inner(scope, receive, send)

    api.stage.app = app


CASES = {
    "done without the gate": Case(
        "update_client_token", {"name": "Till"}, "done", approval="not gated", writes=1, effects=False
    ),
    "done by flag": Case("update_client_token", WIDE | SURE, "done", approval="flag", writes=1),
    "done by a person": Case(
        "update_client_token", WIDE | SURE, "done", approval="person", writes=1, answer=accept("Shop")
    ),
    "deleted": Case("delete_client_token", SURE, "done", approval="flag", writes=1),
    "regenerated": Case("regenerate_client_token", SURE, "done", approval="flag", writes=1),
    "preview": Case("delete_client_token", {}, "preview"),
    "refused by name": Case("delete_client_token", SURE | {"expected_name": "Till"}, "refused: "),
    "refused without a name": Case("delete_client_token", {"confirm": True}, "refused: "),
    "declined": Case("delete_client_token", SURE, "refused: No person said yes", answer=ElicitResult(action="decline")),
    "refused by what was typed": Case("delete_client_token", SURE, "refused: The person typed", answer=accept("Till")),
    "refused by policy": Case("delete_client_token", SURE, "refused: ", environ={"RUNTYPE_MCP_APPROVAL": "deny"}),
    "refused for want of a ticket": Case(
        "delete_client_token", SURE, "refused: A person must", environ={"RUNTYPE_MCP_APPROVAL": "human"}
    ),
    "refused because it is read-only": Case(
        *("delete_client_token", SURE, "refused: This server is read-only"),
        environ={"RUNTYPE_MCP_READ_ONLY": "1"},
        effects=False,
        token=False,
    ),
    "refused by the list of tools": Case(
        *("delete_client_token", SURE, "refused: The operator's list"),
        environ={"RUNTYPE_MCP_TOOLS": "!delete_*"},
        effects=False,
        token=False,
    ),
    "wrong arguments": Case(
        "update_client_token", {"rate_limit_per_minute": 0}, "failed: rate_limit_per_minute", effects=False, token=False
    ),
    "failed": Case(
        *("update_client_token", WIDE | SURE, "failed: The key may not"),
        approval="flag",
        writes=1,
        prepare=forbid,
    ),
    "unknown": Case(
        *("update_client_token", WIDE | SURE, "unknown: The API's answer was lost."),
        approval="flag",
        writes=1,
        prepare=lose,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_every_outcome_leaves_one_complete_row(api: Api, era: str, case: Case, log: Path) -> None:
    async with mcp_client(api, era) as model:
        token = await model.create(environment="live")
    if case.prepare:
        case.prepare(api)
    async with mcp_client(api, era, case.answer, RUNTYPE_MCP_AUDIT=str(log), **case.environ) as model:
        before = len(api.writes)
        await model.call(case.tool, client_token=token["id"], **case.arguments)
        assert len(api.writes) - before == case.writes
    (row,) = audit_log.rows(log)
    assert row.tool == case.tool
    assert row.outcome.startswith(case.outcome)
    assert row.approval == case.approval
    assert row.caller.startswith("mcp ")
    assert row.duration_ms is not None
    assert row.token == (f"Shop ({token['id']})" if case.token else "")
    assert bool(row.effects) is case.effects
    assert audit_log.verify(log).problems == []
    # Before a write, a line says that it begins; what writes nothing has the one line of its end.
    assert [entry["event"] for entry in entries(log)] == [*(["started"] if case.writes else []), "ended"]
    for entry in entries(log):
        assert entry.keys() >= {"seq", "prev", "time", "call", "request", "caller", "tool", "token", "name"}
        assert entry.keys() >= {"environment", "effects", "approval"}
        assert entry["environment"] == ("live" if case.token else None)
        assert entry["call"]
        assert entry["request"] is not None
    assert len({entry["call"] for entry in entries(log)}) == 1


async def test_a_create_is_recorded_with_its_name_and_its_environment(api: Api, era: str, log: Path) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_AUDIT=str(log)) as model:
        await model.create(name="First", environment="live", allowed_origins=["*"], confirm=True)
    start, end = entries(log)
    assert (start["name"], start["environment"], start["approval"]) == ("First", "live", "flag")
    assert end["outcome"] == "done"
    assert any("every website" in effect for effect in end["effects"])


async def test_a_gated_read_is_recorded_and_a_plain_one_is_not(api: Api, era: str, log: Path) -> None:
    async with mcp_client(api, era) as model:
        shop = await model.create()
        wide = await model.create(name="Wide", allowed_origins=["*"], confirm=True)
    async with mcp_client(api, era, RUNTYPE_MCP_AUDIT=str(log)) as model:
        await model.call("list_client_tokens")
        await model.call("get_client_token", client_token=shop["id"])
        await model.call("list_client_token_conversations", client_token=shop["id"])
        await model.call("audit_client_tokens")
        assert not entries(log)
        await model.call("get_client_token_value", client_token=wide["id"])
        await model.call("get_client_token_value", client_token=wide["id"], confirm=True, expected_name="Wide")
    preview, done = audit_log.rows(log)
    assert (preview.outcome, preview.approval) == ("preview", "none")
    assert (done.outcome, done.approval) == ("done", "flag")


@pytest.mark.parametrize("when", ["before the write", "in the write"])
async def test_a_crash_is_recorded_as_what_is_known(
    api: Api, era: str, log: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: Any) -> Any:
        raise RuntimeError("boom")

    async with mcp_client(api, era) as model:
        token = await model.create()
    async with mcp_client(api, era, RUNTYPE_MCP_AUDIT=str(log)) as model:
        monkeypatch.setattr("runtype_mcp.api.client.RuntypeClient.delete_client_token", crash)
        if when == "before the write":
            monkeypatch.setattr("runtype_mcp.api.client.RuntypeClient.get_client_token", crash)
        text = await model.text("delete_client_token", client_token=token["id"], **SURE)
    (row,) = audit_log.rows(log)
    verb, doubt = {
        "before the write": ("failed", "Nothing was changed."),
        "in the write": ("unknown", "It is unknown whether anything was changed."),
    }[when]
    assert row.outcome == f"{verb}: The server failed where it should not (RuntimeError)."
    assert doubt in text
    assert "boom" not in text


async def test_no_value_and_no_key_is_in_the_log(api: Api, era: str, log: Path) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_AUDIT=str(log)) as model:
        token = {"id": put(api.store, name=f"Shop of {KEY}_0123456789", config={"k": f"{KEY}_0123456789"})}
        before = api.store.newest_first()[0].value
        await model.call("regenerate_client_token", client_token=token["id"], confirm=True, expected_name="x")
        await model.call("update_client_token", client_token=token["id"], name="Shop")
        result = await model.call("regenerate_client_token", client_token=token["id"], **SURE)
    written = json.dumps(entries(log))
    assert result.structured_content is not None
    assert before
    assert before != result.structured_content["value"] == api.store.newest_first()[0].value
    for secret in (before, result.structured_content["value"], KEY, before[-12:]):
        assert secret not in written
    assert len(list(audit_log.rows(log))) == 3


def test_a_server_that_is_killed_in_a_write_leaves_it_as_unknown(api: Api, log: Path) -> None:
    api.seeded()
    token = api.store.newest_first()[0].token
    api.faults.add("slow", method="DELETE", after_commit=True, seconds=60)
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_AUDIT": str(log)}
    with started(**environ) as server:
        server.hello()
        sure = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
        server.ask("tools/call", {"name": "delete_client_token", "arguments": sure})
        until(lambda: api.writes, "the API receives the write")
        server.popen.send_signal(signal.SIGKILL)
        assert server.ended() == -signal.SIGKILL
    (start,) = entries(log)
    assert (start["event"], start["token"]) == ("started", token["id"])
    (row,) = audit_log.rows(log)
    assert row.outcome == "unknown (no end recorded)"
    shown = run("audit", "show", str(log))
    assert shown.returncode == 0
    (line,) = shown.stdout.splitlines()[1:]
    assert token["name"] in line
    assert "unknown" in line
    assert run("audit", "verify", str(log)).returncode == 0


async def test_a_cancelled_write_is_recorded_to_its_end(api: Api, era: str, log: Path) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_AUDIT=str(log)) as model:
        token = await model.create()
        api.faults.add("slow", method="DELETE", after_commit=True, seconds=0.3)
        async with anyio.create_task_group() as group:

            async def delete() -> None:
                await model.call("delete_client_token", client_token=token["id"], **SURE)

            group.start_soon(delete)
            await anyio.to_thread.run_sync(until, lambda: len(api.writes) == 2, "the API receives the write")
            group.cancel_scope.cancel()
        await anyio.to_thread.run_sync(
            until, lambda: [entry["event"] for entry in entries(log)].count("ended") == 2, "the end is recorded"
        )
    _, deleted = audit_log.rows(log)
    assert (deleted.tool, deleted.outcome) == ("delete_client_token", "done")
    assert not api.store.newest_first()


# A log that cannot be written


async def test_a_folder_in_the_place_of_the_log_refuses_writes_and_lets_reads_be(api: Api, era: str, log: Path) -> None:
    async with mcp_client(api, era) as model:
        token = await model.create()
    async with mcp_client(api, era, RUNTYPE_MCP_AUDIT=str(log)) as model:
        os.makedirs(log)  # after the start, which would have refused it
        received = len(api.writes)
        for tool, arguments in (
            ("create_client_token", {"name": "New", "allowed_origins": ["https://x.example"], "agent_ids": [AGENT]}),
            ("update_client_token", {"client_token": token["id"], "name": "Till"}),
            ("regenerate_client_token", {"client_token": token["id"], **SURE}),
            ("delete_client_token", {"client_token": token["id"], **SURE}),
            ("get_client_token_value", {"client_token": token["id"]}),
        ):
            result = await model.call(tool, **arguments)
            assert result.is_error
            assert "The audit log cannot be written" in text_of(result)
            assert "Nothing was changed." in text_of(result)
        assert len(api.writes) == received
        for tool in ("get_client_token", "list_client_token_conversations"):
            assert not (await model.call(tool, client_token=token["id"])).is_error
        for tool in ("list_client_tokens", "audit_client_tokens"):
            assert not (await model.call(tool)).is_error
        preview = await model.call("delete_client_token", client_token=token["id"])
        assert preview.structured_content is not None
        assert preview.structured_content["status"] == "preview"
        assert "not recorded" in text_of(preview)


def test_a_full_disk_refuses_writes_and_lets_reads_be(api: Api, log: Path) -> None:
    api.seeded()
    token = api.store.newest_first()[0].token
    no_room = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"

    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_AUDIT": str(log)}
    with started(first=no_room, **environ) as server:
        server.hello()
        text = server.text("update_client_token", client_token=token["id"], name="Till")
        assert "The audit log cannot be written" in text
        assert "Nothing was changed." in text
        assert not api.writes
        assert token["id"] in server.text("get_client_token", client_token=token["id"])
    assert log.read_bytes() == b""  # what did not fit was taken back


async def test_a_log_that_fails_after_the_write_is_told_and_costs_no_result(api: Api, era: str, log: Path) -> None:
    async with mcp_client(api, era, RUNTYPE_MCP_AUDIT=str(log)) as model:
        token = await model.create()
        inner = api.stage.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "POST":
                replace_by_folder(log)
            await inner(scope, receive, send)

        api.stage.app = app
        result = await model.call("regenerate_client_token", client_token=token["id"], **SURE)
    assert not result.is_error
    assert result.structured_content is not None
    assert result.structured_content["value"] == api.store.newest_first()[0].value
    assert any("This call's end is not recorded." in text for text in result.structured_content["warnings"])


async def test_two_servers_that_share_a_log_keep_it_whole(api: Api, era: str, log: Path) -> None:
    path = str(log)
    async with (
        mcp_client(api, era, RUNTYPE_MCP_AUDIT=path) as one,
        mcp_client(api, era, RUNTYPE_MCP_AUDIT=path) as other,
    ):
        tokens = [await one.create(name=f"Shop {number}") for number in range(4)]

        async def update(model: Any, token: str) -> None:
            for number in range(5):
                await model.call("update_client_token", client_token=token, config={"by": number})

        async with anyio.create_task_group() as group:
            for place, token in enumerate(tokens):
                group.start_soon(update, (one, other)[place % 2], token["id"])
    found = audit_log.verify(log)
    assert (found.lines, found.problems) == (2 * (4 + 20), [])
    rows: list[Row] = list(audit_log.rows(log))
    assert [row.outcome for row in rows] == ["done"] * 24
