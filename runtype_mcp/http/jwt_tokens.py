"""Signed tokens: what an issuer says of a caller, and what a bot says of the person for whom it calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import jwt
from mcp.server.auth.provider import AccessToken

from runtype_mcp.http.identity import CallerToken
from runtype_mcp.http.jwks import Issuer
from runtype_mcp.settings import Settings

SKEW = 60
"""Seconds by which clocks may differ."""
MAX_TOKEN = 8192
MAX_STATEMENT_AGE = 300
"""Seconds for which a bot's statement may be good: it is made for each call."""
ALGORITHMS = dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA")
ALGORITHMS |= dict.fromkeys(("ES256", "ES384", "ES512"), "EC") | {"EdDSA": "OKP"}
"""Signatures by a key pair, and its kind. `none` proves nothing, and HMAC would take a public key for a secret."""


class JwtVerifier:
    """Takes the tokens that one issuer signed for one audience (RFC 9068)."""

    def __init__(self, issuer: Issuer, audience: str) -> None:
        self.issuer, self.audience = issuer, audience
        self.aclose = issuer.aclose

    @classmethod
    def of(cls, settings: Settings, audience: str) -> Self:
        assert settings.jwt_issuer is not None
        return cls(Issuer(settings.jwt_issuer, settings.jwt_jwks_url), audience)

    async def verify_token(self, token: str) -> AccessToken | None:
        claims = await verified_claims(token, self.issuer, self.audience)
        if claims is None:
            return None
        person = f"jwt:{self.issuer.issuer}:{claims['sub']}"
        return CallerToken(
            token=token,
            client_id=text_of(claims, "client_id", "azp") or "unknown",
            subject=claims["sub"],
            claims={"iss": self.issuer.issuer},
            scopes=granted(claims),
            expires_at=int(claims["exp"]) + SKEW,
            caller=person,
            name=text_of(claims, "name", "email", "preferred_username") or claims["sub"],
        )


async def verified_claims(token: str, issuer: Issuer, audience: str) -> dict[str, Any] | None:
    """What the token says, if the issuer signed it for this audience and it is good now; None otherwise."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        return None
    kid, algorithm = header.get("kid"), header.get("alg")
    # Keys and addresses in a header (`jwk`, `jku`, `x5u`) are its sender's, and are not looked at. What an extension
    # that must be understood means (`crit`), nobody here knows.
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header:
        return None
    if not isinstance(kid, str | None):
        return None
    key = await issuer.key(kid)
    if key is None or key.kind != ALGORITHMS[algorithm] or key.algorithm not in (None, algorithm):
        return None
    return _decoded(token, key.key, algorithm, issuer=issuer.issuer, audience=audience)


def _decoded(token: str, key: Any, algorithm: str, *, issuer: str, audience: str) -> dict[str, Any] | None:
    """The claims of a token with this signature, from this issuer, for this audience, which is good now."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            audience=audience,
            leeway=SKEW,
            options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_iat": True},
        )
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError):  # a date may be anything that JSON can write
        return None
    subject = claims["sub"]
    return claims if isinstance(subject, str) and 0 < len(subject) <= 255 and subject.isprintable() else None


def signed_by_bot(statement: str, public_key: str, bot: str, audience: str) -> tuple[str, str] | None:
    """The person (id, and name if there is one) for whom a bot says that it calls; None if it does not say so.

    The statement is a JWT that the bot signs with Ed25519: `iss` is its own name, `sub` the person, `aud` this server.
    """
    try:
        if jwt.get_unverified_header(statement).get("alg") != "EdDSA" or "crit" in jwt.get_unverified_header(statement):
            return None
    except jwt.PyJWTError:
        return None
    claims = _decoded(statement, public_key, "EdDSA", issuer=bot, audience=audience)
    if claims is None or int(claims["exp"]) - int(claims["iat"]) > MAX_STATEMENT_AGE:
        return None
    return claims["sub"], text_of(claims, "name")


def granted(claims: dict[str, Any]) -> list[str]:
    """The scopes in a token, in each of the places where issuers put them."""
    found: list[str] = []
    for name in ("scope", "scp", "permissions"):
        value = claims.get(name)
        parts: Iterable[Any] = value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else ()
        found += [part for part in parts if isinstance(part, str)]
    return found


def text_of(claims: dict[str, Any], *names: str) -> str:
    """The first of these claims that is a text, and not an empty one."""
    return next((value for name in names if isinstance(value := claims.get(name), str) and value.strip()), "")
