"""`RuntypeClient`: one method per endpoint of `/v1/client-tokens`, and the lists of agents and flows; typed.

Reads are retried; a write is repeated only where no byte of it can have left. One HTTP client serves every key: it is
made at the first call, holds connections and no credentials, and is closed by `aclose`.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx2 as httpx
from pydantic import BaseModel

from runtype_mcp import errors
from runtype_mcp.api import models
from runtype_mcp.api.connections import Connections, Transport
from runtype_mcp.api.probe import Probe, issuer
from runtype_mcp.api.responses import Method, date, from_response, parsed, unfinished
from runtype_mcp.observer import SILENT, ApiRequest, Observer

T = TypeVar("T", bound=BaseModel)

AgentsOrFlows = Literal["agents", "flows"]
PAGE = 200
"""Tokens a page: the most that the API gives."""
CURSOR_PAGE = 100
"""Agents or flows a page. The most that the API gives is not documented: whatever comes is taken."""
MAX_PAGES = 1000
"""200,000 tokens. A longer list is taken for one that does not end."""
TRIES = 3
MAX_BODY = 32 * 2**20
"""Bytes of one answer, decompressed. More than any list of tokens, less than a decompression bomb."""


def next_delay(attempt: int, retry_after: float | None, left: float) -> float | None:
    """Seconds to wait before attempt number `attempt + 1`; None when no further attempt fits into `left` seconds."""
    if attempt >= TRIES:
        return None
    delay = retry_after if retry_after is not None else 0.25 * 2 ** (attempt - 1) * (1 + random.random())  # noqa: S311 - jitter
    return delay if delay < left else None


def asgi_transport(app: Callable[[], Any]) -> Transport:
    """A transport that calls an ASGI application in this process. `app` makes it, at the first call."""
    return lambda: httpx.ASGITransport(app=app())


class RuntypeClient:
    """The eight operations.

    Args:
        api_key: sent as `Authorization: Bearer`, to `base_url` and nowhere else. None: every call says that it lacks.
        base_url: scheme, host and port.
        connect_timeout: seconds for one connection.
        total_timeout: seconds for one operation, retries and waits included.
        transport: makes what carries requests, such as `asgi_transport`; None is the network.
        sleep: waits so many seconds between two attempts.
        clock: seconds that only grow.
        observer: is told of each request.

    Every method raises `errors.ClientTokenError`, and nothing else.
    """

    def __init__(
        self,
        api_key: str | None,
        base_url: str,
        *,
        connect_timeout: float = 5.0,
        total_timeout: float = 30.0,
        transport: Transport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer = SILENT,
    ) -> None:
        self._api_key, self._base_url, self._total_timeout = api_key, base_url, total_timeout
        self._connections = Connections(base_url, httpx.Timeout(total_timeout, connect=connect_timeout), transport)
        self._sleep, self._clock, self._observer = sleep, clock, observer

    def with_key(self, api_key: str | None) -> RuntypeClient:
        """A client that calls with another key over the same connections."""
        other = copy.copy(self)
        other._api_key = api_key
        return other

    async def aclose(self) -> None:
        """Close the connections, which all clients of `with_key` share. The next call opens new ones."""
        await self._connections.aclose()

    # The eight endpoints.

    async def list_client_tokens(self, limit: int, offset: int) -> models.ClientTokenPage:
        """GET /v1/client-tokens: one page of 1 to 200 tokens, in no documented order."""
        params = {"limit": str(limit), "offset": str(offset)}
        return await self._call("GET", "/v1/client-tokens", models.ClientTokenPage, params=params)

    async def create_client_token(self, request: models.CreateClientToken) -> models.ClientTokenWithValue:
        """POST /v1/client-tokens. Not idempotent."""
        return await self._call("POST", "/v1/client-tokens", models.ClientTokenWithValue, body=request.body())

    async def get_client_token(self, token_id: str) -> models.ClientToken:
        """GET /v1/client-tokens/{id}."""
        return (await self._call("GET", _path(token_id), models.GotClientToken)).client_token

    async def update_client_token(self, token_id: str, request: models.UpdateClientToken) -> models.UpdatedClientToken:
        """PUT /v1/client-tokens/{id}: a partial update, and the last write wins."""
        body = request.body()
        try:
            return await self._call("PUT", _path(token_id), models.UpdatedClientToken, body=body)
        except errors.UserInputError as exc:
            nulls = [name for name, value in body.items() if value is None]
            if exc.status != 400 or not nulls:
                raise
            # Whether null clears a field is not documented.
            what = f"{exc.what} It may be that this API cannot clear {' or '.join(nulls)}."
            raise errors.UserInputError(what, exc.next_step, status=400) from exc

    async def delete_client_token(self, token_id: str) -> models.Deleted:
        """DELETE /v1/client-tokens/{id}. Cannot be undone."""
        return await self._call("DELETE", _path(token_id), models.Deleted)

    async def get_client_token_value(self, token_id: str) -> str:
        """GET /v1/client-tokens/{id}/token: the secret itself."""
        return (await self._call("GET", _path(token_id, "/token"), models.ClientTokenValue)).value

    async def regenerate_client_token(self, token_id: str) -> models.ClientTokenWithValue:
        """POST /v1/client-tokens/{id}/regenerate. The old value stops working immediately."""
        return await self._call("POST", _path(token_id, "/regenerate"), models.ClientTokenWithValue)

    async def list_client_token_conversations(
        self, token_id: str, limit: int, offset: int, flow_id: str | None = None
    ) -> models.ConversationPage:
        """GET /v1/client-tokens/{id}/conversations."""
        params = {"limit": str(limit), "offset": str(offset)} | ({"flow_id": flow_id} if flow_id else {})
        return await self._call("GET", _path(token_id, "/conversations"), models.ConversationPage, params=params)

    async def iterate_client_tokens(self) -> AsyncIterator[list[models.ClientToken]]:
        """All tokens, a page at a time, by `hasMore`. A token that a shifted page repeats is given once."""
        offset, given, pages = 0, set[str](), itertools.count(1)
        coming: asyncio.Task[models.ClientTokenPage] | None = None
        try:
            while True:
                page = await (coming or self.list_client_tokens(PAGE, offset))
                coming = None
                fresh = [token for token in page.client_tokens if token.id not in given]
                more = page.pagination is not None and page.pagination.has_more
                if more and (not fresh or next(pages) == MAX_PAGES):
                    raise errors.PermanentError("The API's list of tokens does not end.")
                given.update(token.id for token in fresh)
                offset += len(page.client_tokens)
                if more:
                    # The API works on the next page while the caller works on this one.
                    coming = asyncio.create_task(self.list_client_tokens(PAGE, offset))
                    await asyncio.sleep(0)
                yield fresh
                if not more:
                    return
        finally:
            if coming is not None:
                coming.cancel()

    async def iterate_agents_or_flows(self, kind: AgentsOrFlows) -> AsyncIterator[list[models.AgentOrFlow]]:
        """GET /v1/agents or /v1/flows: all of them, a page at a time, by cursors."""
        params, seen = {"limit": str(CURSOR_PAGE)}, set[str]()
        while True:
            try:
                page = await self._call("GET", f"/v1/{kind}", models.AgentOrFlowPage, params=params)
            except errors.MissingScope as exc:
                # Which scope it takes is not documented, so none is named.
                raise errors.MissingScope(f"The key may not list {kind}.", status=exc.status) from exc
            except (errors.NotFound, errors.NotTheApi) as exc:
                if exc.status != 404:
                    raise
                advice = "Ask the user for the ids."
                raise errors.PermanentError(f"This API has no list of {kind}.", advice, status=404) from exc
            yield page.data
            cursor = page.pagination.next_cursor if page.pagination and page.pagination.has_more else None
            if cursor is None:
                return
            if cursor in seen or len(seen) == MAX_PAGES:
                raise errors.PermanentError(f"The API's list of {kind} does not end.")
            seen.add(cursor)
            params["cursor"] = cursor

    # The one way out.

    async def _call(
        self,
        method: Method,
        path: str,
        answer: type[T],
        *,
        params: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> T:
        if self._api_key is None:
            raise errors.NoApiKey("No Runtype API key is set.")
        deadline = self._clock() + self._total_timeout
        sent = False
        try:
            async with asyncio.timeout(self._total_timeout):
                for attempt in itertools.count(1):
                    sent = True
                    try:
                        return parsed(method, answer, await self._once(method, path, params, body, attempt))
                    except errors.RetryableError as exc:
                        failure = exc
                    sent = False
                    delay = next_delay(attempt, failure.retry_after, deadline - self._clock())
                    if delay is None or not (method == "GET" or isinstance(failure, errors.Unreachable)):
                        raise failure
                    await self._sleep(delay)
        except TimeoutError:
            what = f"The API gave no complete answer within {self._total_timeout:g} seconds."
            raise unfinished(method if sent else "GET", what, errors.TimedOut) from None
        raise AssertionError("unreachable")  # pragma: no cover - the loop ends by a return or an error

    async def _once(
        self, method: Method, path: str, params: dict[str, str] | None, body: dict[str, Any] | None, attempt: int
    ) -> bytes:
        """The body of a 2xx."""
        url, headers = self._base_url + path, {"Authorization": f"Bearer {self._api_key}"}
        http = self._connections.open()
        status, began = None, time.time_ns()
        try:
            with self._classified(method):
                async with http.stream(method, url, params=params, json=body, headers=headers) as response:
                    raw = await _read(method, response)
                    status = response.status_code
        finally:
            self._observer.api_answered(ApiRequest(_operation(method, path), attempt, status, began, time.time_ns()))
        if not 200 <= response.status_code < 300:
            raise from_response(method, response.status_code, response.headers, raw, str(self._api_key))
        return raw

    async def probe(self) -> Probe:
        """Who answers at the API's address, asked once and without a key."""
        http = self._connections.open()
        try:
            async with asyncio.timeout(self._total_timeout):
                with self._classified("GET"):
                    async with http.stream(
                        "GET", f"{self._base_url}/v1/client-tokens", params={"limit": "1"}
                    ) as response:
                        return Probe(response.status_code, date(response.headers), issuer(_certificate(response)))
        except TimeoutError:
            what = f"The API gave no answer within {self._total_timeout:g} seconds."
            raise errors.TimedOut(what) from None

    async def untrusted_issuer(self) -> str:
        """Who signed the certificate at the API's address, whether it is trusted or not. No key is sent."""
        connections = Connections(self._base_url, self._connections.timeout, None, trusting_all=True)
        try:
            async with asyncio.timeout(self._total_timeout):
                with self._classified("GET"):
                    async with connections.open().stream("GET", self._base_url) as response:
                        return issuer(_certificate(response))
        except (TimeoutError, errors.ClientTokenError):
            return ""
        finally:
            await connections.aclose()

    @contextmanager
    def _classified(self, method: Method) -> Iterator[None]:
        """The failures of the HTTP client as errors of ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            # Raised before the request can have left this machine.
            if "certificate" in str(exc):
                what = f"The API at {self._base_url} has a certificate that this machine does not trust."
                raise errors.UntrustedCertificate(what) from exc
            why = re.sub(r"^\[Errno -?\d+\] ", "", str(exc)) or type(exc).__name__
            what = f"The API at {self._base_url} cannot be reached ({why})."
            raise errors.Unreachable(what) from exc
        except httpx.InvalidURL as exc:
            raise errors.NotTheApi(f"{self._base_url} is not an address of an API.") from exc
        except UnicodeError:  # a key that is not ASCII, or half a surrogate pair in a body; its text may be the key
            raise errors.UserInputError("The call holds characters that cannot be sent.") from None
        except (httpx.HTTPError, ssl.SSLError) as exc:  # a damaged TLS record comes as it is
            what = f"The connection to the API failed before its answer was complete ({type(exc).__name__})."
            raise unfinished(method, what, errors.RetryableError) from exc


def _certificate(response: httpx.Response) -> bytes:
    """The certificate of who answered, in DER; empty without TLS."""
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream else None
    return (tls.getpeercert(True) if tls else None) or b""


async def _read(method: Method, response: httpx.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > MAX_BODY:
            what = f"The API's answer is larger than {MAX_BODY >> 20} MiB."
            raise unfinished(method, what, errors.PermanentError)
        chunks.append(chunk)
    return b"".join(chunks)


def _operation(method: Method, path: str) -> str:
    """The request without the id in its path."""
    parts = path.split("/")
    return f"{method} {'/'.join([*parts[:3], *(['{id}'] if len(parts) > 3 else []), *parts[4:]])}"


def _path(token_id: str, tail: str = "") -> str:
    # URL parsers fold these away even when they are percent-encoded, and would name another path.
    if token_id in ("", ".", ".."):
        raise errors.UserInputError(f"'{token_id}' is not an id.", "Give the id of one.", changed="Nothing was sent.")
    # Ids come from models. Percent-encode everything, "/" and "." included, so that no id can name another path.
    return "/v1/client-tokens/" + quote(token_id, safe="", errors="surrogatepass").replace(".", "%2E") + tail
