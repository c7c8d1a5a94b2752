"""Several processes at one address: each can go on where another began, and none is missed."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from runtype_mcp.http import create_app
from runtype_mcp.http.start import check_settings
from runtype_mcp.settings import Settings, SettingsError
from runtype_mcp.storage import audit_log
from tests.http.processes import Held, call, http_server
from tests.http.test_app import HEADERS, hello
from tests.http.test_telemetry import samples
from tests.processes import TIMEOUT, Process, run, until
from tests.support import KEY, Api

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks for the workers in /proc")


def workers(process: Process) -> list[int]:
    pid = process.popen.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_worker_goes_on_where_another_asked_and_died(api: Api, tmp_path: Path) -> None:
    token = api.seeded().store.newest_first()[0].token
    log = tmp_path / "audit.jsonl"
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_MCP_AUDIT": str(log)}
    sure = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
    with http_server("--base-url", api.url, "--workers", "2", **environ) as (process, url):
        first, second = workers(process)
        os.kill(second, signal.SIGSTOP)  # so the first one answers
        with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
            assert call(client, "get_client_token", client_token=token["id"]).status_code == 200
            asked = call(client, "delete_client_token", brought={}, **sure).json()["result"]
        assert asked["resultType"] == "input_required"
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_running(first), "it is gone")
        os.kill(second, signal.SIGCONT)
        answers = {key: {"action": "accept", "content": {"name": token["name"]}} for key in asked["inputRequests"]}
        brought = {"inputResponses": answers, "requestState": asked["requestState"]}
        with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
            done = call(client, "delete_client_token", brought=brought, **sure).json()["result"]
            assert done["structuredContent"]["status"] == "done"
            again = call(client, "delete_client_token", brought=brought, **sure).json()["result"]
            assert again["isError"]
        until(lambda: len(set(workers(process)) - {first}) == 2, "another worker in its place")
        process.popen.send_signal(signal.SIGTERM)
        assert process.ended() == -signal.SIGTERM
        assert "A worker ended (exit code -9). It is started again." in process.errors()
    assert [method for method, _, _ in api.writes] == ["DELETE"]
    row = next(audit_log.rows(log))
    assert (row.outcome, row.approval) == ("done", "person")


def test_a_signal_ends_all_of_them_after_the_call_that_runs(api: Api) -> None:
    api.stage.app = held = Held(api.seeded().stage.app, "GET")
    with (
        ThreadPoolExecutor() as pool,
        http_server("--base-url", api.url, "--workers", "2", RUNTYPE_API_KEY=KEY) as (process, url),
        httpx.Client(base_url=url, timeout=TIMEOUT) as client,
    ):
        pids = workers(process)
        read = pool.submit(call, client, "list_client_tokens", limit=1)
        assert held.arrived.wait(TIMEOUT)
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: sum(map(is_running, pids)) == 1, "the idle one has ended")
        held.released.set()
        assert read.result(TIMEOUT).json()["result"]["structuredContent"]["count"] == 1
        assert process.ended() == -signal.SIGTERM
        assert not any(map(is_running, pids))
        assert "Traceback" not in process.errors()


def test_they_end_when_what_started_them_is_killed(api: Api) -> None:
    with http_server("--base-url", api.url, "--workers", "2", RUNTYPE_API_KEY=KEY) as (process, _):
        pids = workers(process)
        process.popen.kill()
        until(lambda: not any(map(is_running, pids)), "no worker is left")


def test_sessions_would_live_in_one_of_them_so_there_are_none(api: Api) -> None:
    with http_server("--base-url", api.url, "--workers", "2", RUNTYPE_API_KEY=KEY) as (_, url):
        answer = httpx.post(f"{url}/mcp", headers=HEADERS, json=hello())
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers


def test_what_they_count_is_added_up(api: Api) -> None:
    api.seeded()
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_MCP_METRICS": "1"}
    with http_server("--base-url", api.url, "--workers", "2", **environ) as (process, url):
        for stopped in workers(process):
            os.kill(stopped, signal.SIGSTOP)
            with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
                assert call(client, "list_client_tokens", limit=1).status_code == 200
                found = samples(client.get("/metrics").text)
            os.kill(stopped, signal.SIGCONT)
    assert found["runtype_mcp_calls_total", "done", "list_client_tokens"] == 2
    assert found[("runtype_mcp_waiting_approvals",)] == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["--sandbox", "--workers", "2"], {}, "Each worker would have a sandbox of its own."),
        (["--workers", "0"], {}, "workers are a number from 1 to 64"),
        (["--workers", "2"], {"RUNTYPE_MCP_TOOLS": "none_such"}, "no tool matches 'none_such'"),
    ],
)
def test_what_contradicts_itself_is_one_line(arguments: list[str], environ: dict[str, str], said: str) -> None:
    done = run("http", *arguments, **environ)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_workers_without_a_place_to_share_are_refused() -> None:
    alone = Settings(api_key=KEY)
    check_settings(alone, 1)
    with pytest.raises(SettingsError, match="RUNTYPE_MCP_STATE_DIR"):
        check_settings(alone, 2)
    with pytest.raises(SettingsError, match="request_state_keys"):
        create_app(alone.model_copy(update={"state_dir": Path("/nowhere")}), processes=2)


def test_workers_that_do_not_start_end_it(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import os, sys\nif '-P' in sys.orig_argv: os._exit(7)\n")
    done = run("http", "--workers", "2", "--base-url", api.url, RUNTYPE_API_KEY=KEY, PYTHONPATH=str(folder))
    assert done.returncode == 1
    assert "Serving" not in done.stderr
