"""A small OpenID provider over HTTP, which signs in whoever a test says, and lies where a test says so."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.support import SwappableApp, running

CLIENT, SECRET = "approvals-page", "s3cret/of the page"
ALL = "openid profile email client_tokens:approve"


@dataclass
class Provider:
    """An issuer at `url`.

    Attributes:
        person: the claims of whoever sits before the browser.
        granted: the scopes that it grants; None: it does not say which.
        claims: claims of id tokens that are other than they should be.
        signs: signs tokens; its keys stay those that it had at first.
        answers: parameters of its redirects that are other than they should be.
        access: claims of access tokens beside the person's; None: those are of a shape that only it reads.
        methods: how clients may prove themselves at the token endpoint.
        received: the forms that came to the token endpoint.
    """

    url: str
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "bob", "name": "Bob"})
    granted: str | None = ALL
    claims: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    access: dict[str, Any] | None = None
    methods: list[str] = field(default_factory=lambda: ["client_secret_basic"])
    received: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._key = self.signs = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._codes: dict[str, dict[str, str]] = {}

    def token(self, claims: dict[str, Any]) -> str:
        """Claims, signed, good for five minutes."""
        now = int(time.time())
        usual = {"iss": self.url, "iat": now, "exp": now + 300}
        return jwt.encode(usual | claims, self.signs, "RS256", {"kid": "k1"})

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self._metadata),
            Route("/jwks", self._jwks),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
        ]

    async def _metadata(self, _: Request) -> Response:
        endpoints = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
        return JSONResponse(
            {name: self.url + path for name, path in endpoints.items()}
            | {"issuer": self.url, "token_endpoint_auth_methods_supported": self.methods}
            | {"authorization_response_iss_parameter_supported": True}
        )

    async def _jwks(self, _: Request) -> Response:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return JSONResponse({"keys": [key | {"kid": "k1", "use": "sig", "alg": "RS256"}]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert (asked["code_challenge_method"], asked["scope"]) == ("S256", ALL)
        assert len(asked["state"]) >= 32
        assert len(asked["nonce"]) >= 32
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url} | self.answers
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.received.append(form)
        basic = request.headers.get("authorization", "")
        if basic:
            given = [unquote(part) for part in base64.b64decode(basic.removeprefix("Basic ")).decode().split(":")]
        else:
            given = [form.get("client_id", ""), form.get("client_secret", "")]
        asked = self._codes.pop(form.get("code", ""), None)  # a code is good once
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proved = asked and base64.urlsafe_b64encode(verifier).decode().rstrip("=") == asked["code_challenge"]
        public = self.methods == ["none"] and given == [CLIENT, ""]
        if not (public or given == [CLIENT, SECRET]) or asked is None or not proved:
            return JSONResponse({"error": "invalid_grant"}, 400)
        assert form["redirect_uri"] == asked["redirect_uri"]
        claims = {"aud": CLIENT, "nonce": asked["nonce"]} | self.person | self.claims
        access = "opaque" if self.access is None else self.token(self.person | self.access)
        answer = {"token_type": "Bearer", "access_token": access, "id_token": self.token(claims)}
        return JSONResponse(answer | ({"scope": self.granted} if self.granted is not None else {}))


@contextmanager
def oidc_provider() -> Iterator[Provider]:
    stage = SwappableApp()
    with running(stage) as url:
        provider = Provider(url)
        stage.app = Starlette(routes=provider.routes())
        yield provider
