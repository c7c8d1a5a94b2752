"""What the probes say, and how often they ask."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2 as httpx
import pytest

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.credentials import ApiKey
from runtype_mcp.http import create_app
from runtype_mcp.http.probes import READY_FOR, UNREADY_FOR, Readiness, check_api, check_state
from runtype_mcp.settings import Settings
from runtype_mcp.storage.sqlite_state import SqliteState
from tests.support import KEY, Api, settings_for

pytestmark = pytest.mark.anyio


async def ask(settings: Settings, path: str, method: str = "GET", host: str = "10.1.2.3:8765") -> httpx.Response:
    """A probe comes by the address of a container."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        answer = await client.request(method, path)
    for closing in (app.probing, app.server.services.identity, app.server.services.state):
        await closing.aclose()  # as the lifespan does
    return answer


async def test_it_is_ready_where_the_api_takes_the_key(api: Api) -> None:
    answer = await ask(settings_for(api), "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "state": "ok", "api": "ok"})
    assert answer.headers["x-request-id"]


async def test_it_is_not_ready_where_calls_would_fail(api: Api, tmp_path: Path) -> None:
    api.faults.add("status", status=401, body={"error": "no"}, times=100)
    answer = await ask(settings_for(api), "/readyz")
    assert (answer.status_code, answer.json()["api"]) == (503, "key rejected")
    broken = tmp_path / "broken"
    broken.mkdir(mode=0o700)
    (broken / "state.db").write_text("no database" * 100)
    answer = await ask(settings_for(api, RUNTYPE_MCP_STATE_DIR=str(broken)), "/readyz")
    assert (answer.status_code, answer.json()["state"]) == (503, "unusable")
    unreachable = Settings.from_env({"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": "http://127.0.0.1:9"})
    assert (await ask(unreachable, "/readyz")).json()["api"] == "unreachable"


async def test_the_sandbox_needs_no_api() -> None:
    assert (await ask(Settings.from_env({}, sandbox=True), "/readyz")).json() == {"status": "ready", "state": "ok"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_says_nothing_that_matters_and_changes_nothing(api: Api, path: str) -> None:
    assert (await ask(settings_for(api), path, "POST")).status_code == 405
    head = await ask(settings_for(api), path, "HEAD")
    assert head.status_code == 200
    assert KEY not in (await ask(settings_for(api), path)).text


async def test_every_other_path_answers_to_known_hosts_alone(api: Api) -> None:
    for path in ("/", "/mcp", "/healthz/", "/.well-known/oauth-protected-resource"):
        assert (await ask(settings_for(api), path)).status_code == 421


@pytest.mark.parametrize(
    ("status", "expected"), [(200, "ok"), (403, "ok"), (429, "ok"), (401, "key rejected"), (500, "unreachable")]
)
async def test_what_the_api_says_is_understood(api: Api, status: int, expected: str) -> None:
    if status != 200:
        api.faults.add("status", status=status, body={"error": "no"}, times=10)

    async def no_wait(_: float) -> None:
        await asyncio.sleep(0)

    client = RuntypeClient(None, api.url, sleep=no_wait)
    try:
        assert await check_api(client, ApiKey(settings_for(api))) == expected
    finally:
        await client.aclose()


async def test_without_a_key_of_its_own_it_looks_whether_somebody_answers(api: Api) -> None:
    client = RuntypeClient(None, api.url)
    try:
        assert await check_api(client, None) == "ok"
    finally:
        await client.aclose()


async def test_a_state_that_can_be_read_is_ok(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state")
    assert await check_state(state) == "ok"
    await state.aclose()


async def test_many_probes_at_the_same_time_are_one_question() -> None:
    asked, gate = 0, asyncio.Event()

    async def check() -> str:
        nonlocal asked
        asked += 1
        await gate.wait()
        return "ok"

    now = 0.0
    ready = Readiness({"api": check}, lambda: now)
    waiting = [asyncio.create_task(ready()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*waiting) == [{"api": "ok"}] * 5
    assert asked == 1
    now = READY_FOR - 0.1
    await ready()
    assert asked == 1
    now = READY_FOR
    await ready()
    assert asked == 2


async def test_a_bad_answer_counts_for_a_shorter_time() -> None:
    answers, now = ["unreachable", "ok"], 0.0

    async def check() -> str:
        return answers.pop(0)

    ready = Readiness({"api": check}, lambda: now)
    assert await ready() == {"api": "unreachable"}
    now = UNREADY_FOR
    assert await ready() == {"api": "ok"}
