"""`runtype-mcp call --url`: a server at an address, in both protocol eras, and what its failures mean."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.commands.call_result import EXIT_CODES
from runtype_mcp.listen import Server, bind
from runtype_mcp.server import build_server
from runtype_mcp.storage.state import MemoryState
from tests.confirmations import put
from tests.processes import on_terminal, run
from tests.support import LEGACY, MODERN, Api, settings_for

TOKEN = "bot-0123456789abcdef"
SURE = ("client_token=Shop", "confirm=true", "expected_name=Shop")
FORM = "Name of the token (Type it to approve.), or nothing to decline: "


@pytest.fixture
def shop(api: Api) -> str:
    return put(api.store, name="Shop")


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """An app with a lifespan on a free port; yields the address of its MCP endpoint."""
    ready = threading.Event()
    server = Server(app, ready.set, lifespan="on")
    bound, url = bind("127.0.0.1", 0)
    with bound:
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        assert ready.wait(30)
        try:
            yield f"{url}/mcp"
        finally:
            server.should_exit = True
            thread.join()


class Between:
    """In front of a server: keeps what each request brought, and stands in for it where `answer` gives a response."""

    def __init__(self, api: Api, era: str = MODERN, **environ: str) -> None:
        server = build_server(settings_for(api, **environ), state=MemoryState())
        self._app, self._era = server.streamable_http_app(host="127.0.0.1"), era
        self.authorizations: list[str | None] = []
        self.versions: set[str | None] = set()
        self.instead: dict[str, Response] = {}
        self.then_drop: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        raw = await request.body()
        method = json.loads(raw)["method"] if raw and "method" in json.loads(raw) else ""
        self.authorizations.append(request.headers.get("authorization"))
        if self._era == LEGACY and method == "server/discover":
            await Response(status_code=400)(scope, receive, send)
            return
        if method == "tools/call":
            self.versions.add(request.headers.get("mcp-protocol-version"))
        if method in self.instead:
            await self.instead[method](scope, receive, send)
            return

        body: list[Message] = [{"type": "http.request", "body": raw}]

        async def receive_again() -> Message:
            return body.pop() if body else await receive()

        async def drop(_: Message) -> None:
            raise ConnectionError  # uvicorn closes the connection without an answer

        await self._app(scope, receive_again, drop if method in self.then_drop else send)


def remote(url: str, *words: str, **environ: str) -> tuple[int, str, str]:
    done = run("call", *words, "--url", url, **environ)
    return done.returncode, done.stdout, done.stderr


def test_a_call_at_an_address_acts_with_the_token_of_the_environment(api: Api, era: str, shop: str) -> None:
    """The key is the server's: the caller has none."""
    app = Between(api, era)
    with served(app) as url:
        code, out, errors = remote(url, "delete_client_token", *SURE, "--json", RUNTYPE_MCP_TOKEN=TOKEN)
    assert (code, errors) == (0, "")
    assert json.loads(out)["status"] == "done"
    assert api.writes == [("DELETE", f"/v1/client-tokens/{shop}", None)]
    assert set(app.authorizations) == {f"Bearer {TOKEN}"}
    assert app.versions == {MODERN if era == MODERN else "2025-11-25"}
    assert TOKEN not in out + errors


def test_the_servers_question_is_asked_in_the_terminal(api: Api, era: str, shop: str) -> None:
    app = Between(api, era, RUNTYPE_MCP_APPROVAL="human")
    with served(app) as url, on_terminal("call", "delete_client_token", *SURE, "--url", url) as terminal:
        terminal.until(FORM)
        assert not api.writes
        terminal.types("Shop\n")
        assert terminal.ended() == 0, terminal.shown
    assert len(api.writes) == 1


def test_the_token_may_be_in_a_file_that_nobody_else_writes(api: Api, tmp_path: Path) -> None:
    app, file = Between(api), tmp_path / "token"
    file.write_text(f"Bearer {TOKEN}\n")
    with served(app) as url:
        file.chmod(0o666)
        code, _, errors = remote(url, "list_client_tokens", "--token-file", str(file))
        assert (code, "others may write to it" in errors, app.authorizations) == (2, True, [])
        file.chmod(0o600)
        assert remote(url, "list_client_tokens", "--token-file", str(file), RUNTYPE_MCP_TOKEN="other")[0] == 0
    assert set(app.authorizations) == {f"Bearer {TOKEN}"}


def test_without_a_token_none_is_sent(api: Api) -> None:
    app = Between(api)
    with served(app) as url:
        assert remote(url, "list_client_tokens", RUNTYPE_API_KEY="rt_test_not_for_this_server")[0] == 0
    assert set(app.authorizations) == {None}


ANSWERS: dict[str, tuple[Response, str, str]] = {
    "401": (Response(status_code=401), "failed", "does not accept this token: set RUNTYPE_MCP_TOKEN, or give"),
    "403": (
        Response(
            status_code=403,
            headers={"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="client_tokens:delete"'},
        ),
        *("refused", "refuses this caller, who lacks the scope client_tokens:delete. Nothing was changed."),
    ),
    "403 without a scope": (Response(status_code=403), "refused", "refuses this caller. Nothing was changed."),
    "429": (
        Response(status_code=429, headers={"Retry-After": "7"}),
        *("failed", "is too busy or about to end (429). Try again in 7 seconds. Nothing was changed."),
    ),
    "503": (Response(status_code=503), "failed", "is too busy or about to end (503). Try again later."),
    "404": (Response(status_code=404), "failed", "No MCP server answers at this address"),
    "500": (Response(status_code=500), "unknown", "answered with status 500. It is unknown whether"),
    "a gateway's page": (Response("<html>", media_type="text/html"), "unknown", "answered with an error"),
    "no JSON": (Response("{", media_type="application/json"), "unknown", "answered with an error"),
    "not MCP": (JSONResponse({"ok": True}), "unknown", "answered with an error"),
    "another result": (
        JSONResponse({"jsonrpc": "2.0", "id": 3, "result": {"resultType": "complete", "content": "text"}}),
        *("unknown", "It is unknown whether"),
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_each_answer_of_a_server_or_a_proxy_is_told_by_what_it_means(api: Api, shop: str, case: str) -> None:
    app = Between(api)
    app.instead["tools/call"], outcome, says = ANSWERS[case]
    with served(app) as url:
        code, out, errors = remote(url, "delete_client_token", *SURE, RUNTYPE_MCP_TOKEN=TOKEN)
        assert (code, out) == (EXIT_CODES[outcome], ""), errors
        assert says in errors
        assert len(errors.splitlines()) == 1
        if outcome == "unknown":  # a read changes nothing, whatever came of it
            code, _, errors = remote(url, "get_client_token", "client_token=Shop", RUNTYPE_MCP_TOKEN=TOKEN)
            assert (code, "Nothing was changed." in errors) == (EXIT_CODES["failed"], True), errors
    assert TOKEN not in errors


def test_a_connection_that_is_lost_in_a_write_leaves_the_outcome_unknown(api: Api, era: str, shop: str) -> None:
    app = Between(api, era)
    app.then_drop.add("tools/call")
    with served(app) as url:
        code, out, errors = remote(url, "delete_client_token", *SURE)
    assert (code, out) == (EXIT_CODES["unknown"], ""), errors
    assert "look before repeating the call" in errors
    assert len(errors.splitlines()) == 1


def test_a_server_that_wants_a_token_says_so(api: Api) -> None:
    app = Between(api)
    app.instead |= dict.fromkeys(("server/discover", "initialize"), Response(status_code=401))
    with served(app) as url:
        code, _, errors = remote(url, "list_client_tokens")
    assert code == EXIT_CODES["failed"]
    assert "wants a token: set RUNTYPE_MCP_TOKEN, or give --token-file. Nothing was changed." in errors


def test_a_server_that_cannot_be_reached_is_named() -> None:
    code, _, errors = remote("http://127.0.0.1:1/mcp", "list_client_tokens")
    assert code == EXIT_CODES["failed"]
    assert errors.startswith("runtype-mcp: 127.0.0.1:1 cannot be reached")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://mcp.example/mcp",
        "ftp://mcp.example/mcp",
        "mcp.example/mcp",
        "https://me:secret@mcp.example/mcp",
        "https://mcp.example:99999/mcp",
        "https://mcp.example/mcp#part",
        "https://mcp.example\\@evil.example/mcp",
        "",
    ],
)
def test_a_token_is_sent_to_an_https_address_alone_or_within_this_machine(url: str) -> None:
    code, _, errors = remote(url, "list_client_tokens", RUNTYPE_MCP_TOKEN=TOKEN)
    assert code == 2
    assert errors.startswith("runtype-mcp: --url must be an https:// address")
    assert "secret" not in errors


@pytest.mark.parametrize("token", ["two words", "ümlaut", "line\nbreak"])
def test_a_token_that_no_server_gave_is_not_sent(token: str) -> None:
    code, _, errors = remote("http://127.0.0.1:1/mcp", "list_client_tokens", RUNTYPE_MCP_TOKEN=token)
    assert (code, errors) == (2, "runtype-mcp: RUNTYPE_MCP_TOKEN holds spaces or characters that no token has.\n")


def test_a_token_of_callers_is_no_setting_of_a_server() -> None:
    assert run("settings", "--json", RUNTYPE_MCP_TOKEN=TOKEN).returncode == 0
    assert run("approvals", RUNTYPE_MCP_TOKEN=TOKEN).returncode == 0
