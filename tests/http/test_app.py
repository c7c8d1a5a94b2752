"""`runtype-mcp http`: a real process, both protocol eras by URL, and who is kept out."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import mcp_types
import pytest
from mcp import Client
from mcp.client import ClientRequestContext

from runtype_mcp.console.mcp_apps import CONFIRM
from runtype_mcp.storage import audit_log
from runtype_mcp.tools import SPECS
from tests.processes import run, started
from tests.support import KEY, MODERN, Api, accept, seed_many, text_of

pytestmark = pytest.mark.anyio

LINE = re.compile(r"Serving MCP on (http://127\.0\.0\.1:\d+)/mcp \(health: \1/healthz\)\n")
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def first_line(process: Any) -> str:
    line: bytes = process.popen.stderr.readline()
    found = LINE.fullmatch(line.decode())
    assert found, line
    return found[1]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server on the embedded sandbox, for all tests that change nothing in it."""
    with started("http", "--sandbox", "--port", "0", RUNTYPE_MCP_LOG_LEVEL="ERROR") as process:
        yield first_line(process)


def hello(**changed: Any) -> dict[str, Any]:
    info = {"name": "test", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params} | changed


async def test_both_eras_are_served_at_one_address(url: str, era: str) -> None:
    async with Client(f"{url}/mcp", mode=era) as client:
        assert (client.protocol_version == MODERN) is (era == MODERN)
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert listed == {spec.name for spec in (*SPECS, CONFIRM)}
        result = await client.call_tool("list_client_tokens", {"limit": 3})
        assert result.structured_content is not None
        assert result.structured_content["count"] == 3
        assert (await client.read_resource("runtype://policy")).contents


async def test_a_client_that_negotiates_gets_the_newest_era(url: str) -> None:
    async with Client(f"{url}/mcp") as client:
        assert client.protocol_version == MODERN


async def test_progress_arrives_by_http(api: Api, era: str) -> None:
    seed_many(api.store, 450)
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    with started("http", "--port", "0", RUNTYPE_API_KEY=KEY, RUNTYPE_BASE_URL=api.url) as process:
        async with Client(f"{first_line(process)}/mcp", mode=era) as client:
            await client.call_tool("audit_client_tokens", {}, progress_callback=hear)
    assert heard == [400, 450]


async def test_a_person_is_asked_and_the_write_happens_once(api: Api, era: str, tmp_path: Path) -> None:
    api.seeded()
    token = api.store.newest_first()[0].token
    log = tmp_path / "audit.jsonl"
    asked: list[str] = []

    async def answer(context: ClientRequestContext, params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        asked.append(params.message)
        return accept(token["name"])

    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_MCP_AUDIT": str(log)}
    with started("http", "--port", "0", "--base-url", api.url, **environ) as process:
        url = first_line(process)
        async with Client(f"{url}/mcp", mode=era, elicitation_callback=answer) as client:
            sure = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
            result = await client.call_tool("delete_client_token", sure)
            assert not result.is_error, text_of(result)
    assert [method for method, _, _ in api.writes] == ["DELETE"]
    assert len(asked) == 1
    (row,) = audit_log.rows(log)
    assert (row.outcome, row.approval) == ("done", "person")


def test_health_answers_without_a_session(url: str) -> None:
    answer = httpx.get(f"{url}/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert httpx.post(f"{url}/healthz").status_code == 405
    assert httpx.get(f"{url}/").status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "0.0.0.0:{port}"]
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_another_name_for_this_machine_is_refused(url: str, host: str, method: str) -> None:
    """A website that rebinds its name to 127.0.0.1 comes with its own name in Host."""
    headers = HEADERS | {"host": host.format(port=urlsplit(url).port)}
    answer = httpx.request(method, f"{url}/mcp", headers=headers, json=hello() if method == "POST" else None)
    assert answer.status_code == 421
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1.evil.example", "null", "https://localhost"]
)
def test_a_website_is_refused(url: str, origin: str) -> None:
    answer = httpx.post(f"{url}/mcp", headers=HEADERS | {"origin": origin}, json=hello())
    assert answer.status_code == 403
    assert "mcp-session-id" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_this_machine_by_its_own_names_is_let_in(url: str, name: str) -> None:
    port = urlsplit(url).port
    own = {"host": f"{name}:{port}", "origin": f"http://{name}:{port}"}
    assert httpx.post(f"{url}/mcp", headers=HEADERS | own, json=hello()).status_code == 200


def test_a_refused_name_is_logged_without_a_secret_in_it(api: Api) -> None:
    secret = "rt_live_0123456789abcdef0123456789abcdef"
    with started("http", "--port", "0", "--base-url", api.url, RUNTYPE_API_KEY=secret) as process:
        url = first_line(process)
        for header in ("host", "origin"):
            assert httpx.post(f"{url}/mcp", headers=HEADERS | {header: secret}, json=hello()).status_code in (421, 403)
        process.popen.send_signal(signal.SIGINT)
        process.ended()
        log = process.errors()
    assert "Invalid Host header" in log
    assert "Invalid Origin header" in log
    assert "0123456789abcdef" not in log


@pytest.mark.skipif(sys.platform != "linux", reason="only there is all of 127.0.0.0/8 this machine")
def test_it_listens_on_loopback_alone(url: str) -> None:
    port = urlsplit(url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    # Whoever listens on every address also answers here.
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(url: str) -> None:
    port = str(urlsplit(url).port)
    done = run("http", "--sandbox", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"runtype-mcp: port {port} cannot be used \([^\n]+\)\. Choose another --port\.\n", done.stderr)


def test_ctrl_c_ends_it_while_a_client_is_connected() -> None:
    with started("http", "--sandbox", "--port", "0") as process:
        url = first_line(process)
        with httpx.Client() as other:
            answer = other.post(f"{url}/mcp", headers=HEADERS, json=hello())
            session = answer.headers["mcp-session-id"]
            stream = {**HEADERS, "mcp-session-id": session, "mcp-protocol-version": "2025-06-18"}
            with other.stream("GET", f"{url}/mcp", headers=stream) as open_stream:
                assert open_stream.status_code == 200
                process.popen.send_signal(signal.SIGINT)
                assert process.ended() == -signal.SIGINT
        assert "Traceback" not in process.errors()


async def test_two_clients_are_told_apart_in_the_audit(api: Api, tmp_path: Path) -> None:
    api.seeded()
    log = tmp_path / "audit.jsonl"
    token = api.store.newest_first()[0].token
    with started(
        "http", "--port", "0", "--base-url", api.url, RUNTYPE_API_KEY=KEY, RUNTYPE_MCP_AUDIT=str(log)
    ) as process:
        url = first_line(process)
        for number in range(2):
            async with Client(f"{url}/mcp", mode="legacy") as client:
                await client.call_tool("update_client_token", {"client_token": token["id"], "config": {"n": number}})
    callers = {json.loads(line)["caller"] for line in log.read_text().splitlines()}
    assert len(callers) == 2
