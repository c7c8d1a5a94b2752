"""`RuntypeClient`: one method per endpoint of `/v1/client-tokens`, typed in and out.

It knows nothing of MCP. Reads are retried; a write is repeated only where no byte of it can have left.
One HTTP client is made at the first call and closed by `aclose`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx2 as httpx
from pydantic import BaseModel, ValidationError

from runtype_mcp import __version__, errors
from runtype_mcp.api import models

T = TypeVar("T", bound=BaseModel)
Method = Literal["GET", "POST", "PUT", "DELETE"]

PAGE = 200
"""Tokens a page: the most that the API gives."""
MAX_PAGES = 1000
"""200,000 tokens. A list that goes on does not end."""
CONVERSATIONS_PAGE = 100
"""Conversations a page at most: the API's own maximum is unknown, and its other lists stop here."""
TRIES = 3
MAX_BODY = 32 * 2**20
"""Bytes of one answer, decompressed. More than any list of tokens, less than a decompression bomb."""

# A team's burst waits here, in turn, instead of meeting the API's rate limit; and a small pool is a quick one.
_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=30)

# Raised before the request can have left this machine, so even a write may be tried again.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def next_delay(attempt: int, retry_after: float | None, left: float) -> float | None:
    """Seconds to wait before attempt number `attempt + 1`; None when no further attempt fits into `left` seconds."""
    if attempt >= TRIES:
        return None
    delay = retry_after if retry_after is not None else 0.25 * 2 ** (attempt - 1) * (1 + random.random())  # noqa: S311 - jitter
    return delay if delay < left else None


class RuntypeClient:
    """The eight operations.

    Args:
        api_key: sent as `Authorization: Bearer`, to `base_url` and nowhere else. None: every call says how to set one.
        base_url: scheme, host and port.
        connect_timeout: seconds for one connection.
        total_timeout: seconds for one operation, retries and waits included.
        app: an ASGI application to call in process instead of the network.

    Every method raises `errors.ClientTokenError`, and nothing else.
    """

    def __init__(
        self,
        api_key: str | None,
        base_url: str,
        *,
        connect_timeout: float = 5.0,
        total_timeout: float = 30.0,
        app: Callable[[], Any] | None = None,
    ) -> None:
        self._api_key, self._base_url, self._app = api_key, base_url, app
        self._connect_timeout, self._total_timeout = connect_timeout, total_timeout
        self._http: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close the connections. The next call opens new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    # The eight endpoints.

    async def list_client_tokens(self, limit: int, offset: int) -> models.ClientTokenPage:
        """GET /v1/client-tokens: one page of 1 to 200 tokens, in no documented order."""
        return await self._call(
            "GET",
            "/v1/client-tokens",
            models.ClientTokenPage,
            params={"limit": str(limit), "offset": str(offset)},
        )

    async def create_client_token(self, request: models.CreateClientToken) -> models.ClientTokenWithValue:
        """POST /v1/client-tokens. Not idempotent."""
        return await self._call("POST", "/v1/client-tokens", models.ClientTokenWithValue, body=request.body())

    async def get_client_token(self, token_id: str) -> models.ClientToken:
        """GET /v1/client-tokens/{id}."""
        return (await self._call("GET", _path(token_id), models.GotClientToken)).client_token

    async def update_client_token(self, token_id: str, request: models.UpdateClientToken) -> models.UpdatedClientToken:
        """PUT /v1/client-tokens/{id}: a partial update, and the last write wins."""
        return await self._call("PUT", _path(token_id), models.UpdatedClientToken, body=request.body())

    async def delete_client_token(self, token_id: str) -> models.Deleted:
        """DELETE /v1/client-tokens/{id}. Cannot be undone."""
        return await self._call("DELETE", _path(token_id), models.Deleted)

    async def get_client_token_value(self, token_id: str) -> str:
        """GET /v1/client-tokens/{id}/token: the secret itself."""
        return (await self._call("GET", _path(token_id, "/token"), models.ClientTokenValue)).value

    async def regenerate_client_token(self, token_id: str) -> models.ClientTokenWithValue:
        """POST /v1/client-tokens/{id}/regenerate. The old value stops working at once."""
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
            raise errors.AuthError(
                "No Runtype API key is set.",
                "Ask the operator to set RUNTYPE_API_KEY in this server's environment, or to start it with "
                "--sandbox to try it without an account.",
            )
        deadline = time.monotonic() + self._total_timeout
        sending = False
        try:
            async with asyncio.timeout(self._total_timeout):
                for attempt in range(1, TRIES + 1):
                    sending = True
                    try:
                        return await self._once(method, path, answer, params, body)
                    except _NOT_SENT as exc:
                        if "certificate" in str(exc):  # no waiting mends that
                            raise errors.PermanentError(
                                f"The API at {self._base_url} has a certificate that this machine does not trust.",
                                "Ask the operator to check RUNTYPE_BASE_URL, and whether a proxy's own certificate "
                                "must be trusted here (SSL_CERT_FILE).",
                            ) from exc
                        failure: errors.ClientTokenError = errors.RetryableError(
                            f"The API at {self._base_url} cannot be reached ({str(exc) or type(exc).__name__}).",
                            "Check the network and RUNTYPE_BASE_URL, then try again.",
                        )
                    except errors.RetryableError as exc:
                        if method != "GET":
                            raise
                        failure = exc
                    sending = False
                    delay = next_delay(attempt, failure.retry_after, deadline - time.monotonic())
                    if delay is None:
                        raise failure
                    await asyncio.sleep(delay)
        except TimeoutError:
            what = f"The API gave no complete answer within {self._total_timeout:g} seconds (RUNTYPE_MCP_TIMEOUT)."
            raise self._lost(method, what, sending) from None
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: Method,
        path: str,
        answer: type[T],
        params: dict[str, str] | None,
        body: dict[str, Any] | None,
    ) -> T:
        try:
            async with self._client().stream(method, self._base_url + path, params=params, json=body) as response:
                raw = await self._read(method, response)
        except _NOT_SENT:
            raise
        except httpx.InvalidURL as exc:
            raise errors.PermanentError(
                f"{self._base_url} is no address of an API.", "Ask the operator to check RUNTYPE_BASE_URL."
            ) from exc
        except (httpx.HTTPError, ssl.SSLError) as exc:  # a damaged TLS record comes as it is
            what = f"The connection to the API failed before its answer was complete ({type(exc).__name__})."
            raise self._lost(method, what, True) from exc
        if not 200 <= response.status_code < 300:
            # An API may repeat the key in its complaint. Masked before anything is cut, so that no part of it stays.
            raw = raw.replace(str(self._api_key).encode(), b"[redacted]")
            raise errors.from_response(method, response.status_code, response.headers, raw)
        try:
            return _parsed(answer, raw)
        except ValidationError as exc:
            # The places that do not fit, never what stands there: it may be a value.
            places = sorted(
                {".".join(str(p) for p in e["loc"]) or "the whole" for e in exc.errors(include_input=False)}
            )
            what = f"The API's answer cannot be understood ({', '.join(places[:5])})."
            if method == "GET":
                raise errors.PermanentError(what, "Ask the operator to check RUNTYPE_BASE_URL.") from None
            raise self._lost(method, what, True) from None

    @staticmethod
    async def _read(method: Method, response: httpx.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MAX_BODY:
                what = f"The API's answer is larger than {MAX_BODY >> 20} MiB."
                if method == "GET":
                    raise errors.PermanentError(what)
                raise errors.OutcomeUnknown(what, "Read the token before repeating this.", changed="")
            chunks.append(chunk)
        return b"".join(chunks)

    @staticmethod
    def _lost(method: Method, what: str, sent: bool) -> errors.ClientTokenError:
        if method == "GET" or not sent:
            return errors.RetryableError(what, "Try again later.")
        return errors.OutcomeUnknown(what, "Read the token before repeating this.", changed="")

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            transport = httpx.ASGITransport(app=self._app()) if self._app else None
            try:
                self._http = httpx.AsyncClient(
                    headers={
                        "Authorization": f"Bearer {self._api_key}",
                        "User-Agent": f"runtype-mcp/{__version__} (python)",
                        "Accept": "application/json",
                    },
                    timeout=httpx.Timeout(self._total_timeout, connect=self._connect_timeout),
                    limits=_LIMITS,
                    # Never followed: the key would travel to wherever the redirect points.
                    follow_redirects=False,
                    transport=transport,
                    # http:// is this machine alone: no proxy of the environment may see the key in the clear.
                    trust_env=self._base_url.startswith("https:"),
                )
            except (ValueError, OSError, ImportError, httpx.InvalidURL) as exc:
                # A proxy or a certificate file of the environment. Its text is left out: it may hold a password.
                raise errors.PermanentError(
                    f"No connection can be prepared ({type(exc).__name__}).",
                    "Ask the operator to check RUNTYPE_BASE_URL, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE.",
                ) from None
        return self._http


def _parsed(answer: type[T], raw: bytes) -> T:
    try:
        return answer.model_validate_json(raw)
    except ValidationError as exc:
        # A text that JavaScript cut inside a character ends in half a surrogate pair: legal JSON, but no text here.
        # One visitor's words must not hide a whole page, so the half becomes a question mark.
        try:
            whole = json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8", "replace")
        except (ValueError, RecursionError):
            raise exc from None
        return answer.model_validate_json(whole)


def _path(token_id: str, tail: str = "") -> str:
    # URL parsers fold these away even when they are percent-encoded, and would name another path.
    if token_id in ("", ".", ".."):
        raise errors.UserInputError(
            f"'{token_id}' is not an id.",
            "Call list_client_tokens to see which tokens exist.",
            changed="Nothing was sent.",
        )
    # Ids come from models. Percent-encode everything, "/" and "." included, so that no id can name another path.
    return "/v1/client-tokens/" + quote(token_id, safe="").replace(".", "%2E") + tail
