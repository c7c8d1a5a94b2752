"""Signing in at the issuer that also signs the callers' tokens: OpenID Connect, by authorization code with PKCE.

Who is signed in has the same identity as in their MCP client, because it is the same issuer's `sub`. What a browser
brings back is believed only together with a cookie that it got from here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from runtype_mcp.credentials import read_private
from runtype_mcp.http.jwks import Issuer, IssuerError, checked_url
from runtype_mcp.http.jwt_tokens import granted, text_of, verified_claims
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.settings import Settings

APPROVE = "client_tokens:approve"
METADATA_FOR = 600.0
"""Seconds for which the issuer's metadata is taken as it is."""


class SignInError(Exception):
    """Nobody is signed in. The message is for people."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person. `subject` is that of their MCP clients."""

    name: str
    subject: str
    may_approve: bool


class Oidc:
    """This server as a client of the issuer.

    Args:
        settings: name the client.
        issuer: where people sign in.
        audience: for whom access tokens for MCP are made out.
        redirect_uri: where the issuer sends browsers back to.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        settings: Settings,
        issuer: Issuer,
        audience: str,
        redirect_uri: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert settings.oidc_client_id
        self._client_id, self._secret_file = settings.oidc_client_id, settings.oidc_client_secret_file
        self._issuer, self._audience, self._redirect_uri, self._clock = issuer, audience, redirect_uri, clock
        self._known: tuple[float, dict[str, Any]] | None = None

    async def begin(self) -> tuple[str, str]:
        """The address at which a person signs in, and what their browser keeps until they are back."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": f"openid profile email {APPROVE}",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = await self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", f"{state}.{nonce}.{verifier}"

    async def finish(self, query: dict[str, str], kept: str) -> SignedIn:
        """Who has signed in.

        Args:
            query: what the issuer sent with the browser.
            kept: what the browser has kept.

        Raises:
            SignInError: nobody has.
        """
        state, nonce, verifier = kept.split(".") if kept.count(".") == 2 else ("", "", "")
        if not state or not hmac.compare_digest(state.encode(), query.get("state", "").encode()):
            raise SignInError("This browser did not begin to sign in here, or began too long ago.")
        metadata = await self._metadata()
        expected = metadata.get("authorization_response_iss_parameter_supported") is True
        if query.get("iss", None if expected else self._issuer.issuer) != self._issuer.issuer:
            raise SignInError("Another issuer has sent the browser.")
        if "code" not in query:
            raise SignInError(f"The issuer refused ({sanitize_line(query.get('error', 'it gave no code'), 80)}).")
        tokens = await self._redeem(query["code"], verifier)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        claims = None
        if isinstance(id_token, str):
            claims = await verified_claims(id_token, self._issuer, self._client_id)
        if claims is None or claims.get("azp", self._client_id) != self._client_id:
            raise SignInError("The issuer's answer is not signed by it for this server, or is not good any more.")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise SignInError("The issuer's answer is to another attempt to sign in.")
        scopes = {*granted({"scope": tokens.get("scope")}), *granted(claims)}
        if isinstance(access_token, str):
            allowed = await verified_claims(access_token, self._issuer, self._audience)
            if allowed is not None and allowed["sub"] == claims["sub"]:
                scopes.update(granted(allowed))
        name = text_of(claims, "name", "email", "preferred_username") or claims["sub"]
        subject = f"jwt:{self._issuer.issuer}:{claims['sub']}"
        return SignedIn(sanitize_line(name, 80), subject, APPROVE in scopes)

    async def _redeem(self, code: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        request: dict[str, Any] = {"data": form}
        methods = (await self._metadata()).get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if self._secret_file is None:
            form["client_id"] = self._client_id
        else:
            try:
                secret = read_private(self._secret_file, ours=False)[1].strip()
            except OSError as exc:
                raise SignInError(
                    f"This server cannot read its own secret ({exc.strerror}). Tell its operator."
                ) from exc
            if "client_secret_basic" in methods:
                request["auth"] = (quote(self._client_id, safe=""), quote(secret, safe=""))
            else:
                form |= {"client_id": self._client_id, "client_secret": secret}
        endpoint = await self._endpoint("token_endpoint")
        try:
            return await self._issuer.fetch(endpoint, **request)
        except IssuerError as exc:
            raise SignInError(f"The issuer did not accept the code: {exc}.") from exc

    async def _endpoint(self, name: str) -> str:
        try:
            return checked_url((await self._metadata()).get(name))
        except IssuerError as exc:
            raise SignInError(f"Nobody can sign in now: {exc}.") from exc

    async def _metadata(self) -> dict[str, Any]:
        if self._known is None or self._clock() - self._known[0] >= METADATA_FOR:
            try:
                self._known = self._clock(), await self._issuer.metadata()
            except IssuerError as exc:
                raise SignInError(f"The issuer cannot be asked: {exc}.") from exc
        return self._known[1]
