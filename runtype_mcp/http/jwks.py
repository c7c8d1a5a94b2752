"""The public keys of an issuer of tokens, found through its metadata and kept for a while.

Whoever sends tokens can name any key in them. So an unknown name makes us look again at most once in a while, and
nothing that a token says is ever an address.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import httpx2
import jwt

from runtype_mcp.setting_values import is_secure, plain_address

KEYS_FOR = 600.0
"""Seconds for which keys are taken as they are."""
LOOK_AGAIN_AFTER = 30.0
"""Seconds between two looks, whatever is asked."""
KEYS_AT_MOST = 3600.0
"""Seconds for which keys count while the issuer cannot be reached."""
MAX_BYTES = 262_144
SECONDS = 5.0
"""For one look, however many requests it takes."""
KINDS = ("RSA", "EC", "OKP")
"""Of keys: pairs, of which the public half is published."""
logger = logging.getLogger("runtype_mcp")


class IssuerError(Exception):
    """The issuer cannot be asked, or answers something else. The message is one line for a person."""


class SigningKey(NamedTuple):
    """A public key, its kind (`RSA`, `EC` or `OKP`), and the one algorithm that it is for, if the issuer says so."""

    key: Any
    kind: str
    algorithm: str | None


class Issuer:
    """An issuer of tokens: its metadata and its keys.

    Args:
        issuer: as it stands in `iss`.
        jwks_url: where its keys are, if not where its metadata says.
        clock: seconds that only grow.
        transport: carries the requests; one is made if none is given.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.issuer = issuer
        self._jwks_url, self._clock, self._transport = jwks_url, clock, transport
        self._http: httpx2.AsyncClient | None = None
        self._looking = anyio.Lock()
        self._keys: dict[str | None, SigningKey] = {}
        self._read = self._looked = float("-inf")

    async def key(self, kid: str | None) -> SigningKey | None:
        """The key of this name; None if there is none. Without a name it is the issuer's only key."""
        if self._known(kid) is None:
            await self._look()
        elif self._clock() - self._read >= KEYS_FOR and not self._looking.locked():
            await self._look()  # only one request waits for it: the others have a key that counts
        return self._known(kid) if self._clock() - self._read < KEYS_AT_MOST else None

    def _known(self, kid: str | None) -> SigningKey | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _look(self) -> None:
        async with self._looking:
            if self._clock() - self._looked < LOOK_AGAIN_AFTER:
                return
            try:
                with anyio.fail_after(SECONDS):
                    url = self._jwks_url or checked_url((await self.metadata()).get("jwks_uri"))
                    self._keys = _signing_keys(await self.fetch(url))
                self._read = self._clock()
            except (IssuerError, TimeoutError) as exc:
                logger.warning("The keys of %s cannot be read: %s", self.issuer, exc or "it takes too long")
            finally:
                self._looked = self._clock()  # when it ended: an issuer that hangs must not be asked without a pause

    async def metadata(self) -> dict[str, Any]:
        """What the issuer says about itself (RFC 8414, or OpenID Connect Discovery).

        Raises:
            IssuerError: it says nothing, or says that it is somebody else.
        """
        parts = urlsplit(self.issuer)
        host, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        problem = IssuerError("it has no metadata")
        for url in (
            f"{host}{path}/.well-known/openid-configuration",
            f"{host}/.well-known/oauth-authorization-server{path}",
        ):
            try:
                found = await self.fetch(url)
            except IssuerError as exc:
                problem = exc
                continue
            if found.get("issuer") != self.issuer:
                raise IssuerError("its metadata names another issuer")
            return found
        raise problem

    async def fetch(self, url: str, **request: Any) -> dict[str, Any]:
        """A JSON object that the issuer has at `url`: with `data`, the answer to a form.

        Raises:
            IssuerError: it has none there.
        """
        if self._http is None:
            self._http = httpx2.AsyncClient(
                timeout=SECONDS, follow_redirects=False, transport=self._transport, trust_env=self._transport is None
            )
        method = "POST" if request else "GET"
        try:
            with anyio.fail_after(SECONDS):
                async with self._http.stream(method, url, **request) as response:
                    raw = b""
                    async for chunk in response.aiter_bytes():
                        raw += chunk
                        if len(raw) > MAX_BYTES:
                            raise IssuerError("its answer is too long")
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, TimeoutError) as exc:
            raise IssuerError(f"it cannot be reached ({type(exc).__name__})") from None
        if response.status_code != 200:
            raise IssuerError(f"it answers with status {response.status_code}")
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise IssuerError("its answer is no JSON object")
        return found

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()


def checked_url(url: object) -> str:
    """An address that may be asked: https, or this machine.

    Raises:
        IssuerError: it is another one.
    """
    parts = plain_address(url)
    if parts is None or not is_secure(parts):
        raise IssuerError("its metadata names no https:// address for this")
    return parts.geturl()


def _signing_keys(jwks: dict[str, Any]) -> dict[str | None, SigningKey]:
    """The keys that sign, by name. Secret ones (`oct`) are none: whoever can read them can sign."""
    found: dict[str | None, SigningKey] = {}
    entries = jwks.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in KINDS:
            continue
        kid, algorithm = entry.get("kid"), entry.get("alg")
        try:
            key = jwt.PyJWK(entry).key
        except (jwt.PyJWTError, ValueError, TypeError):  # of a kind that is not known here, or broken
            continue
        found[kid if isinstance(kid, str) else None] = SigningKey(
            key, entry["kty"], algorithm if isinstance(algorithm, str) else None
        )
    if not found:
        raise IssuerError("it has no keys that sign")
    return found
