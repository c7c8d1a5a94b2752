"""The connections to the API: one HTTP client, made when it is first needed, that holds no credentials."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2 as httpx

from runtype_mcp import __version__, errors

Transport = Callable[[], httpx.AsyncBaseTransport]

# A team's burst waits here, in turn, instead of meeting the API's rate limit; and a small pool is a quick one.
_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=30)


class Connections:
    """One HTTP client for all keys, made when it is first needed."""

    def __init__(
        self, base_url: str, timeout: httpx.Timeout, transport: Transport | None, *, trusting_all: bool = False
    ) -> None:
        self._encrypted, self.timeout, self._transport = base_url.startswith("https:"), timeout, transport
        self._trusting_all = trusting_all
        self._http: httpx.AsyncClient | None = None

    def open(self) -> httpx.AsyncClient:
        if self._http is None:
            try:
                self._http = httpx.AsyncClient(
                    headers={"User-Agent": f"runtype-mcp/{__version__} (python)", "Accept": "application/json"},
                    timeout=self.timeout,
                    limits=_LIMITS,
                    # Never followed: the key would travel to wherever the redirect points.
                    follow_redirects=False,
                    # None is kept: a cookie that answers one key must not go out with another.
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                    transport=self._transport() if self._transport else None,
                    # http:// is this machine alone: no proxy of the environment may see the key in the clear.
                    trust_env=self._encrypted,
                    # To read all certificate authorities takes 0.1 s. Where none is needed, none is trusted.
                    verify=_no_authorities(self._trusting_all) if self._trusting_all or not self._encrypted else True,
                )
            except (ValueError, OSError, ImportError, httpx.InvalidURL) as exc:
                # A proxy or a certificate file of the environment. Its text is left out: it may hold a password.
                raise errors.NoConnectionPossible(f"No connection can be prepared ({type(exc).__name__}).") from None
        return self._http

    async def aclose(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()


def _no_authorities(trusting_all: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusting_all:  # to look at a certificate; what goes over such a connection is no secret
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
