"""What becomes of calls when the server is told to end."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.http.processes import Held, call, http_server
from tests.http.test_app import HEADERS, hello
from tests.processes import TIMEOUT, until
from tests.support import KEY, Api


def is_refused(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=TIMEOUT).close()
    except ConnectionError:
        return True
    return False


def test_a_write_ends_while_what_is_new_is_refused(api: Api) -> None:
    token = api.seeded().store.newest_first()[0].token
    api.stage.app = held = Held(api.stage.app, "DELETE")
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_MCP_APPROVAL": "flag"}
    with (
        ThreadPoolExecutor() as pool,
        http_server("--base-url", api.url, **environ) as (process, url),
        httpx.Client(base_url=url, timeout=TIMEOUT) as running,
        httpx.Client(base_url=url, timeout=TIMEOUT) as other,
        httpx.Client(base_url=url, timeout=TIMEOUT) as third,
    ):
        assert other.get("/readyz").status_code == third.get("/readyz").status_code == 200  # connections that stay open
        sure = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
        write = pool.submit(call, running, "delete_client_token", **sure)
        assert held.arrived.wait(TIMEOUT)
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: third.get("/readyz").status_code == 503, "not ready any more")
        assert third.get("/healthz").status_code == 200
        assert third.get("/readyz").json() == {"status": "ending"}
        until(lambda: is_refused(url), "no new connections")

        def refused() -> httpx.Response | None:
            answer = call(third, "list_client_tokens", limit=1)
            return answer if answer.status_code == 503 else None

        answer = until(refused, "new calls are refused")
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["connection"] == "close"
        assert process.popen.poll() is None
        held.released.set()
        result = write.result(TIMEOUT)
        assert result.status_code == 200
        assert result.json()["result"]["structuredContent"]["status"] == "done"
        assert process.ended() == -signal.SIGTERM
        assert "Traceback" not in process.errors()
    assert [method for method, _, _ in api.writes] == ["DELETE"]


def test_it_waits_no_longer_than_it_may(api: Api) -> None:
    api.stage.app = held = Held(api.seeded().stage.app, "GET")
    with (
        ThreadPoolExecutor() as pool,
        http_server("--base-url", api.url, RUNTYPE_API_KEY=KEY, RUNTYPE_MCP_DRAIN="0.1") as (process, url),
        httpx.Client(base_url=url, timeout=TIMEOUT) as client,
    ):
        read = pool.submit(call, client, "list_client_tokens")
        assert held.arrived.wait(TIMEOUT)
        process.popen.send_signal(signal.SIGTERM)
        assert process.ended() == -signal.SIGTERM  # nobody has released the read
        held.released.set()
        assert read.exception(TIMEOUT) or read.result().status_code >= 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_a_client_keeps_open_comes_to_an_end(number: signal.Signals) -> None:
    with http_server("--sandbox") as (process, url), httpx.Client(base_url=url, timeout=TIMEOUT) as client:
        session = client.post("/mcp", headers=HEADERS, json=hello()).headers["mcp-session-id"]
        stream = {**HEADERS, "mcp-session-id": session, "mcp-protocol-version": "2025-06-18"}
        with client.stream("GET", "/mcp", headers=stream) as answer:
            assert answer.status_code == 200
            process.popen.send_signal(number)
            assert list(answer.iter_raw()) == []  # a whole answer: a cut one raises
        assert process.ended() == -number
        assert process.errors().count("\n") == 5  # what it serves, and no complaint
