"""The page's address is the person's alone: it is searched for in all that leaves the server, a real process."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp.console.session import COOKIE
from runtype_mcp.sandbox.store import Record
from tests.confirmations import put
from tests.console.browsing import Browser
from tests.console.desktop import Desktop, approve, at, decide, deny
from tests.processes import Process, started, until
from tests.support import KEY, Api

URL_CLIENT: dict[str, Any] = {"elicitation": {"url": {}}}


def call(api: Api, **token: Any) -> dict[str, Any]:
    return {"client_token": put(api.store, **token), "confirm": True, "expected_name": token.get("name", "Shop")}


def environ(api: Api, tmp_path: Path, **more: str) -> dict[str, str]:
    log = str(tmp_path / "audit.jsonl")
    settings = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_AUDIT": log}
    return settings | {"RUNTYPE_MCP_LOG_LEVEL": "DEBUG"} | more


class Listener:
    """A client that keeps every line that it receives."""

    def __init__(self, server: Process, capabilities: dict[str, Any], version: str = "2025-11-25") -> None:
        self.server, self.lines = server, list[str]()
        params = {"protocolVersion": version, "capabilities": capabilities}
        self.answer(server.ask("initialize", params | {"clientInfo": {"name": "lines", "version": "1"}}))
        server.send({"method": "notifications/initialized"})

    def ask(self, tool: str, **arguments: Any) -> int:
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        return self.server.ask("tools/call", params)

    def message(self) -> dict[str, Any]:
        self.lines.append(self.server.line().decode())
        message: dict[str, Any] = json.loads(self.lines[-1])
        return message

    def answer(self, number: int) -> dict[str, Any]:
        while True:
            message = self.message()
            if message.get("id") == number and "method" not in message:
                return message


def kept(tmp_path: Path) -> str:
    """All that was written to a disk, but what the scripted browser notes."""
    folders = [tmp_path, Path(os.environ["RUNTYPE_MCP_STATE_DIR"])]
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file() and file.name != "opened"}
    return "".join(file.read_bytes().decode("latin-1") for file in files)


def secrets_of(address: str, page: Browser | None = None) -> list[str]:
    """The address's secret, the session's path and the cookie."""
    _, session, secret = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{22})/open/([\w-]{43})", address).groups()  # type: ignore[union-attr]
    return [secret, session, *([page.client.cookies[COOKIE]] if page else [])]


def test_the_secret_is_nowhere_but_in_the_browser(api: Api, desktop: Desktop, tmp_path: Path) -> None:
    with started(**environ(api, tmp_path, RUNTYPE_MCP_APPROVAL_WAIT="1")) as server:
        client = Listener(server, {})
        # approved, denied, left alone until the patience ends, and a decision that the server refuses
        hidden = []
        first = client.ask("delete_client_token", **call(api))
        with at(desktop.address()) as page:
            hidden += secrets_of(desktop.address(), page)
            hidden.append(page.cards()[0]["decisionToken"])
            assert page.post("api/approvals/0000-0000", {"decision": "deny", "decisionToken": ""}).status_code == 410
            assert page.post("api/approvals/x", "nonsense").status_code == 400
            assert httpx.get(desktop.address()).status_code == 403
            approve(page)
            assert client.answer(first)["result"]["isError"] is False
            second = client.ask("delete_client_token", **call(api))
            until(page.cards, "a call that waits")
            deny(page)
            assert "denied" in json.dumps(client.answer(second))
            third = client.answer(client.ask("delete_client_token", **call(api)))
            assert "A page is open" in json.dumps(third)
        assert server.popen.stdin is not None
        server.popen.stdin.close()
        assert server.ended() == 0
        assert server.popen.stdout is not None
        received = "".join(client.lines) + server.popen.stdout.read().decode()
        errors = server.errors()
    assert '"notifications/progress"' in received
    for secret in hidden:
        for where, text in (("received", received), ("stderr", errors), ("files", kept(tmp_path))):
            assert secret not in text, where
    assert len(api.writes) == 1


def test_a_client_that_opens_links_gets_the_secret_in_the_link_alone(api: Api, tmp_path: Path) -> None:
    """By the protocol's design the address goes to the client, which is to show it to a person and to no model."""
    with started(**environ(api, tmp_path)) as server:
        client = Listener(server, URL_CLIENT)
        number = client.ask("delete_client_token", **call(api))
        message: dict[str, Any] = {}
        while message.get("method") != "elicitation/create":
            message = client.message()
        asked = client.lines.pop()
        url = message["params"]["url"]
        server.send({"id": message["id"], "result": {"action": "accept"}})
        with at(url) as page:
            secrets = secrets_of(url, page)
            approve(page)
        assert client.answer(number)["result"]["isError"] is False
        server.popen.stdin.close()  # type: ignore[union-attr]
        received = "".join(client.lines) + server.popen.stdout.read().decode()  # type: ignore[union-attr]
        server.ended()
        errors = server.errors()
    assert asked.count(secrets[0]) == 1
    assert '"notifications/elicitation/complete"' in received
    for secret in secrets:
        assert secret not in received + errors + kept(tmp_path)
    assert len(api.writes) == 1


@pytest.mark.parametrize("how", ["killed", "left by its client"])
def test_a_server_that_is_gone_decides_nothing_and_the_next_one_asks_anew(
    api: Api, desktop: Desktop, tmp_path: Path, how: str
) -> None:
    yes = call(api)
    with started(**environ(api, tmp_path)) as server:
        Listener(server, {}).ask("delete_client_token", **yes)
        with at(desktop.address()) as page:
            (card,) = page.cards()
            if how == "killed":
                server.popen.kill()
            else:
                server.popen.stdin.close()  # type: ignore[union-attr]
            server.ended()
            body = {"decision": "approve", "name": "Shop", "decisionToken": card["decisionToken"]}
            with pytest.raises(httpx.TransportError):
                page.post(f"api/approvals/{card['code']}", body)
    assert not api.writes
    with started(**environ(api, tmp_path)) as server:
        client = Listener(server, {})
        number = client.ask("delete_client_token", **yes)
        with at(desktop.address(2)) as page:
            assert page.cards()[0]["code"] == card["code"], "it is the same request"
            assert decide(page, "approve").status_code == 200
        assert client.answer(number)["result"]["isError"] is False
    assert len(api.writes) == 1


def test_no_page_opens_when_a_session_starts_and_reads(api: Api, desktop: Desktop, tmp_path: Path) -> None:
    api.seeded()
    record: Record = api.store.newest_first()[0]
    with started(**environ(api, tmp_path)) as server:
        server.hello()
        assert not server.call("list_client_tokens").get("isError")
        assert "preview" in server.text("delete_client_token", client_token=record.token["id"])
        assert _listening(server.popen.pid) == []
    assert desktop.opened == []


def _listening(pid: int) -> list[str]:
    """The sockets of a process that wait for connections."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(fd)):
            inodes.add(found[1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
