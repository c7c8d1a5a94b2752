"""The audit log of servers in containers, from a call over HTTP to what `audit` says of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.confirmations import put
from tests.http.processes import call, http_server
from tests.processes import run
from tests.redis_server import RedisServer, redis_server
from tests.support import KEY, Api

RING = "a" * 32


def environ(api: Api, **more: str) -> dict[str, str]:
    return {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_REQUEST_STATE_KEYS": RING, **more}


def rename(url: str, token: str, name: str) -> dict[str, Any]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        answer = call(client, "update_client_token", client_token=token, name=name)
    text = answer.text
    found: dict[str, Any] = json.loads(text[text.index("{") :])["result"]
    return found


def test_what_servers_print_is_shown_and_verified_and_a_gap_is_named(api: Api, tmp_path: Path) -> None:
    token = put(api.store)
    files = []
    for number in range(2):
        with http_server(**environ(api, RUNTYPE_MCP_AUDIT="stdout")) as (process, url):
            assert not rename(url, token, f"Name {number}").get("isError")
            process.popen.terminate()
            assert process.popen.stdout is not None
            files.append(tmp_path / f"{number}.log")
            files[-1].write_bytes(b"before\n" + process.popen.stdout.read() + b"after\n")
    names = [str(file) for file in files]
    shown = json.loads(run("audit", "show", *names, "--json").stdout)
    assert [(row["tool"], row["outcome"]) for row in shown] == [("update_client_token", "done")] * 2
    whole = run("audit", "verify", *names)
    assert whole.returncode == 0
    assert whole.stdout.count("2 lines, 0 problems") == 2
    lines = files[0].read_bytes().splitlines()
    files[0].write_bytes(b"\n".join(line for line in lines if b'"seq":1,' not in line))
    cut = run("audit", "verify", *names)
    assert cut.returncode == 1
    assert cut.stdout.count("A gap: line 1 is missing.") == 1
    assert cut.stdout.count("0 problems") == 1


def test_a_stream_in_redis_is_shown_and_verified(api: Api, redis: RedisServer) -> None:
    token = put(api.store)
    settings = environ(api, RUNTYPE_MCP_AUDIT="redis", RUNTYPE_MCP_REDIS_URL=redis.url)
    with http_server(**settings) as (_, url):
        assert not rename(url, token, "Renamed").get("isError")
    shown = json.loads(run("audit", "show", "redis", "--json", RUNTYPE_MCP_REDIS_URL=redis.url).stdout)
    assert [(row["tool"], row["outcome"]) for row in shown] == [("update_client_token", "done")]
    verified = run("audit", "verify", "redis", RUNTYPE_MCP_REDIS_URL=redis.url)
    assert (verified.returncode, "2 lines, 0 problems" in verified.stdout) == (0, True)
    assert run("audit", "verify", "redis").stderr.startswith("runtype-mcp: The audit log in Redis is where")


def test_what_cannot_be_recorded_in_redis_is_not_done(api: Api, tmp_path: Path) -> None:
    token = put(api.store)
    with redis_server(tmp_path / "redis") as server:
        settings = environ(api, RUNTYPE_MCP_AUDIT="redis", RUNTYPE_MCP_REDIS_URL=server.url)
        with http_server(**settings) as (_, url):
            server.stop()
            assert rename(url, token, "Renamed")["isError"]
    assert not api.writes


@pytest.mark.parametrize(
    ("command", "settings", "says"),
    [
        ((), {"RUNTYPE_MCP_AUDIT": "stdout"}, "RUNTYPE_MCP_AUDIT=stdout is for `runtype-mcp http`"),
        (("console",), {"RUNTYPE_MCP_AUDIT": "stdout"}, "RUNTYPE_MCP_AUDIT=stdout is for `runtype-mcp http`"),
        (("http",), {"RUNTYPE_MCP_AUDIT": "redis"}, "RUNTYPE_MCP_AUDIT=redis needs RUNTYPE_MCP_REDIS_URL."),
    ],
)
def test_a_log_that_cannot_be_there_stops_the_start(
    command: tuple[str, ...], settings: dict[str, str], says: str
) -> None:
    done: subprocess.CompletedProcess[str] = run(*command, **settings)
    assert done.returncode == 2
    assert done.stderr.startswith(f"runtype-mcp: {says}")
    assert done.stdout == ""
