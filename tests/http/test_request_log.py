"""Ids of requests, and the lines about them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import httpx2 as httpx
import pytest

from runtype_mcp.storage import audit_log
from tests.http.processes import call, http_server
from tests.http.test_app import HEADERS, hello
from tests.processes import TIMEOUT
from tests.support import KEY, Api

SECRET = "rt_live_0123456789abcdef0123456789abcdef"


def lines(stderr: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def test_a_request_keeps_its_id_where_it_is_sane(api: Api) -> None:
    with http_server("--sandbox") as (_, url), httpx.Client(base_url=url) as client:
        assert client.get("/healthz", headers={"x-request-id": "req-1.a_B"}).headers["x-request-id"] == "req-1.a_B"
        for strange in ("", "a b", "x" * 65, 'a"b', "a\u00e9"):
            answer = client.get("/healthz", headers=[(b"x-request-id", strange.encode("latin-1"))])
            assert len(answer.headers["x-request-id"]) == 32
        twice = client.get("/healthz", headers=[("x-request-id", "a"), ("x-request-id", "b")])
        assert len(twice.headers["x-request-id"]) == 32


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_request_is_one_line_of_json_and_its_id_is_in_every_record(api: Api, tmp_path: Path, era: str) -> None:
    token = api.seeded().store.newest_first()[0].token
    log = tmp_path / "audit.jsonl"
    environ = {
        "RUNTYPE_API_KEY": KEY,
        "RUNTYPE_MCP_LOG_FORMAT": "json",
        "RUNTYPE_MCP_LOG_LEVEL": "INFO",
        "RUNTYPE_MCP_AUDIT": str(log),
    }
    with http_server("--base-url", api.url, **environ) as (process, url):
        with httpx.Client(base_url=url, timeout=TIMEOUT, headers={"x-request-id": "the-call"}) as client:
            change = {"client_token": token["id"], "name": "Renamed"}
            if era == "modern":
                assert call(client, "update_client_token", **change).status_code == 200
            else:
                opened = client.post("/mcp", headers={**HEADERS, "x-request-id": "hello"}, json=hello())
                session = {**HEADERS, "mcp-session-id": opened.headers["mcp-session-id"]}
                client.post("/mcp", headers=session, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
                params = {"name": "update_client_token", "arguments": change}
                asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
                assert "Renamed" in client.post("/mcp", headers=session, json=asked).text
            client.get(f"/{SECRET}", headers={"x-request-id": "elsewhere"})
        process.popen.send_signal(signal.SIGTERM)
        process.ended()
        stderr = process.errors()
    records = lines(stderr)
    requests = [record for record in records if record["logger"] == "runtype_mcp.requests"]
    mine = [one for one in requests if one["request_id"] == "the-call" and one["status"] == 200]
    assert len(mine) == 1
    assert (mine[0]["method"], mine[0]["path"], mine[0]["peer"]) == ("POST", "/mcp", "127.0.0.1")
    assert isinstance(mine[0]["duration_ms"], float)
    # What the HTTP client logs in the middle of the call.
    upstream = {one["request_id"] for one in records if str(one["message"]).startswith("HTTP Request: PUT")}
    assert upstream == {"the-call"}
    (elsewhere,) = [one for one in requests if one["request_id"] == "elsewhere"]
    assert elsewhere["status"] == 404
    assert SECRET[8:] not in stderr
    assert {entry["request"] for entry in audit_log.newest(log, 10, 100)} == {"the-call"}


def test_as_text_only_what_is_asked_for_is_logged() -> None:
    with http_server("--sandbox") as (process, url):
        httpx.get(f"{url}/nowhere")
        process.popen.send_signal(signal.SIGTERM)
        process.ended()
        assert "nowhere" not in process.errors()
    with http_server("--sandbox", RUNTYPE_MCP_LOG_LEVEL="INFO") as (process, url):
        httpx.get(f"{url}/nowhere")
        process.popen.send_signal(signal.SIGTERM)
        process.ended()
        assert "INFO runtype_mcp.requests: GET /nowhere 404 in " in process.errors()


def test_json_has_a_line_for_each_request_at_every_level() -> None:
    environ = {"RUNTYPE_MCP_LOG_FORMAT": "json", "RUNTYPE_MCP_LOG_LEVEL": "ERROR"}
    with http_server("--sandbox", **environ) as (process, url):
        httpx.get(f"{url}/healthz")
        process.popen.send_signal(signal.SIGTERM)
        process.ended()
        (only,) = lines(process.errors())
    assert only["path"] == "/healthz"
