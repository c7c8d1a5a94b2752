"""The server that `runtype-mcp call` calls: one of this machine's settings, in this process, or one at an address."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from runtype_mcp.commands.call_result import Failure
from runtype_mcp.credentials import read_private
from runtype_mcp.environment import bearer
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.server import RuntypeServer
from runtype_mcp.setting_values import is_secure, plain_address
from runtype_mcp.settings import CALLERS_TOKEN, SettingsError

NOT_DONE = (400, 401, 403, 404, 405, 408, 413, 415, 421, 429, 431, 503)
"""What a server or a proxy answers before a tool is called."""


class Connected(Protocol):
    """Connects a client, and says what it means when that or a call fails."""

    def client(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A connected client; `options` are the SDK's."""

    def failure(self, error: Exception, *, wrote: bool) -> Failure:
        """What an error means. `wrote`: a call that may change something had no answer yet."""


class Local:
    """A server in this process, as a host would start it: one pipeline, one policy, the same state and audit log."""

    def __init__(self, server: RuntypeServer) -> None:
        self._server = server

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        async with Client(self._server, **options) as client:
            yield client

    def failure(self, error: Exception, *, wrote: bool) -> Failure:
        return _failure(f"The server failed: {_why(error)}.", wrote)


class Remote:
    """A server at an address, over Streamable HTTP, in whichever era it speaks.

    Raises:
        SettingsError: the address or the token cannot be used.
    """

    def __init__(self, url: str, token: str | None, token_file: Path | None) -> None:
        self._url, self._host = url, _host(url)
        token = token if token_file is None else _in_file(token_file)
        token = bearer(token.strip()) if token else ""
        if not re.fullmatch(r"[\x21-\x7e]*", token):
            where = CALLERS_TOKEN if token_file is None else "The file of --token-file"
            raise SettingsError(f"{where} holds spaces or characters that no token has.")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._last: httpx2.Response | None = None

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        http = httpx2.AsyncClient(
            headers=self._headers,
            timeout=httpx2.Timeout(30, read=300),  # a person may be asked in between
            event_hooks={"request": [self._sends], "response": [self._got]},
        )
        async with http, Client(streamable_http_client(self._url, http_client=http), **options) as client:
            yield client

    async def _sends(self, _: httpx2.Request) -> None:
        self._last = None

    async def _got(self, response: httpx2.Response) -> None:
        self._last = response

    def failure(self, error: Exception, *, wrote: bool) -> Failure:
        if self._last is not None and self._last.status_code >= 400:
            return self._answered(self._last, wrote)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return Failure(
                "failed", f"{self._host} cannot be reached: {_why(error)}. Nothing was changed by this call."
            )
        if isinstance(error, MCPError):
            return _failure(
                f"{self._host} answered with an error: {sanitize_line(str(error), 500).rstrip('.')}.", wrote
            )
        return _failure(f"The connection to {self._host} was lost: {_why(error)}.", wrote)

    def _answered(self, response: httpx2.Response, wrote: bool) -> Failure:
        status, challenge = response.status_code, response.headers.get("www-authenticate", "")
        wrote = wrote and status not in NOT_DONE
        match status:
            case 401:
                given = "does not accept this token" if self._headers else "wants a token"
                what = f"{self._host} {given}: set {CALLERS_TOKEN}, or give --token-file."
            case 403:
                scope = re.search(r'\bscope="([\w: .-]{1,200})"', challenge)
                what = f"{self._host} refuses this caller" + (f", who lacks the scope {scope[1]}." if scope else ".")
                return Failure("refused", f"{what} Nothing was changed.")
            case 429 | 503:
                after = response.headers.get("retry-after", "")
                when = f" in {after} seconds" if re.fullmatch("[0-9]{1,6}", after) else " later"
                what = f"{self._host} is too busy or about to end ({status}). Try again{when}."
            case 404 | 405:
                what = f"No MCP server answers at this address of {self._host} ({status})."
            case _:
                what = f"{self._host} answered with status {status}."
        return _failure(what, wrote)


def _failure(what: str, wrote: bool) -> Failure:
    if wrote:
        return Failure("unknown", f"{what} It is unknown whether anything was changed: look before repeating the call.")
    return Failure("failed", f"{what} Nothing was changed.")


def _why(error: Exception) -> str:
    return sanitize_line(str(error) or type(error).__name__, 200).rstrip(".")


def _host(url: str) -> str:
    """The host and port of an address that may be sent a token."""
    parts = plain_address(url)
    if parts is None or not is_secure(parts):
        raise SettingsError(
            "--url must be an https:// address, such as https://mcp.example/mcp (http:// only for this machine)."
        )
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _in_file(path: Path) -> str:
    try:
        return read_private(path, ours=False)[1]
    except OSError as exc:
        raise SettingsError(f"The file of --token-file cannot be used: {exc.strerror}.") from None
