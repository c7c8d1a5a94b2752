"""Who may call over HTTP, as RUNTYPE_MCP_AUTH says: `passthrough`, `static` or `jwt`.

The SDK asks the verifier for each request, refuses those without a good token, and binds sessions and questions to
whoever it names. What is here stands before that: a request that names two callers names none.
"""

from __future__ import annotations

import hashlib
import re
from contextvars import ContextVar

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from starlette.types import ASGIApp, Receive, Scope, Send

from runtype_mcp.api.scoped_client import SCOPES, scope_name
from runtype_mcp.credentials import ApiKey
from runtype_mcp.environment import is_client_token
from runtype_mcp.http.asgi import answer
from runtype_mcp.http.callers_file import CallersError, CallersFile, KnownCaller
from runtype_mcp.http.identity import CallerToken, PassthroughIdentity, TeamIdentity
from runtype_mcp.http.jwt_tokens import JwtVerifier, signed_by_bot
from runtype_mcp.identity import Authentication
from runtype_mcp.settings import Settings, SettingsError

ON_BEHALF_OF = "runtype-on-behalf-of"
"""The header in which a bot that is trusted with it says for whom it calls."""
MAX_TOKEN = 8192
"""Characters of a bearer token."""
UNAUTHORIZED = (b"www-authenticate", b'Bearer error="invalid_token"')
_API_KEY = re.compile(r"rt_[A-Za-z0-9_-]{9,250}")
_NOWHERE = "https://runtype-mcp.invalid"
"""The SDK wants the address of an issuer, and shows it to nobody where there is no public address."""

_person: ContextVar[str | None] = ContextVar("person", default=None)
"""What the header says, between `OneCaller` and the verifier, which see one request in one task."""


def audience(settings: Settings) -> str:
    """For whom tokens and statements for this server are made out: its public address, if it has one."""
    return f"{settings.public_url}/mcp" if settings.public_url else "runtype-mcp"


def check_auth(settings: Settings) -> None:
    """Refuse what cannot be right together.

    Raises:
        SettingsError: it says what to do.
    """
    own_key = settings.api_key or settings.api_key_file
    if settings.auth == "passthrough" and (settings.sandbox or own_key):
        held = "the sandbox" if settings.sandbox else "a key of the server's own"
        raise SettingsError(
            f"RUNTYPE_MCP_AUTH=passthrough and {held} exclude each other: each caller brings a key for Runtype."
        )
    if settings.auth == "static":
        if settings.callers is None:
            raise SettingsError(
                "RUNTYPE_MCP_AUTH=static needs RUNTYPE_MCP_CALLERS: `runtype-mcp callers add` makes it."
            )
        try:
            CallersFile(settings.callers).callers()
        except CallersError as exc:
            raise SettingsError(f"RUNTYPE_MCP_CALLERS: {exc}") from None
    if settings.auth == "jwt" and not (settings.jwt_issuer and settings.public_url):
        raise SettingsError(
            "RUNTYPE_MCP_AUTH=jwt needs RUNTYPE_MCP_JWT_ISSUER, which signs the tokens, and RUNTYPE_MCP_PUBLIC_URL, "
            "which they are made out for."
        )


def build_authentication(settings: Settings, key: ApiKey) -> Authentication | None:
    """How callers are told apart; None where they are not.

    Raises:
        SettingsError: the settings contradict each other.
    """
    check_auth(settings)
    # As texts: an `AnyHttpUrl` would end an issuer in a slash, and clients compare it to the letter.
    told = AuthSettings.model_validate(
        {
            "issuer_url": settings.jwt_issuer or _NOWHERE,
            "resource_server_url": audience(settings) if settings.public_url else None,
            "validate_token_resource": False,  # each verifier checks the audience itself
        }
    )
    alone = told.model_copy(update={"resource_server_url": None})  # there is nobody to get a token from
    match settings.auth:
        case "none":
            return None
        case "passthrough":
            return Authentication(
                Passthrough(settings.base_url),
                alone,
                lambda client: PassthroughIdentity(settings, client),
                steps_up=False,
                aclose=_nothing,
            )
        case "static":
            assert settings.callers is not None
            return Authentication(
                Static(CallersFile(settings.callers), audience(settings)),
                alone,
                lambda client: TeamIdentity(settings, key, client),
                steps_up=False,
                aclose=_nothing,
            )
        case "jwt":
            verifier = JwtVerifier.of(settings, settings.jwt_audience or audience(settings))
            return Authentication(
                verifier,
                told,
                lambda client: TeamIdentity(settings, key, client),
                steps_up=True,
                aclose=verifier.aclose,
            )


def who_may_call(settings: Settings) -> str:
    """In words for people."""
    return {
        "none": "whoever reaches it; nobody is authenticated",
        "passthrough": "whoever brings a Runtype API key as bearer token, and with that key",
        "static": f"whoever has a token of {settings.callers}",
        "jwt": f"whoever has a token of {settings.jwt_issuer} for {settings.jwt_audience or audience(settings)}",
    }[settings.auth]


async def _nothing() -> None:
    """There is nothing to close."""


class Passthrough:
    """Takes every API key for a caller. The API says whether it is one."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def verify_token(self, token: str) -> AccessToken | None:
        # A client token is for browsers: whoever sends one here has mixed them up, and it must not travel further.
        if not _API_KEY.fullmatch(token) or is_client_token(token):
            return None
        digest = hashlib.sha256(f"{self._base_url} {token}".encode()).hexdigest()[:32]
        return CallerToken(
            token=token,
            client_id=f"key:{digest}",
            subject=f"key:{digest}",
            claims={"iss": "passthrough"},
            # What the key may do, the API knows. It says nothing about who may approve for others.
            scopes=[scope_name(scope) for scope in SCOPES - {"approve"}],
            caller=f"key:{digest}",
            name=f"key …{token[-4:]}",
        )


class Static:
    """Takes the tokens of named callers. A bot among them may call on somebody's behalf."""

    def __init__(self, file: CallersFile, audience: str) -> None:
        self._file, self._audience = file, audience

    async def verify_token(self, token: str) -> AccessToken | None:
        if len(token) > MAX_TOKEN or (caller := self._file.find(token)) is None:
            return None
        statement = _person.get()
        if statement is None:
            return self._made(token, caller, None, caller.name)
        if caller.public_key is None:
            return None  # to ignore the header would record the bot for what a person did
        person = signed_by_bot(statement, caller.public_key, caller.name, self._audience)
        if person is None:
            return None
        subject, name = person
        return self._made(token, caller, subject, f"{name or subject} (via {caller.name})")

    def _made(self, token: str, caller: KnownCaller, person: str | None, name: str) -> CallerToken:
        identity = f"static:{caller.name}" + (f":{person}" if person else "")
        return CallerToken(
            token=token,
            client_id=f"static:{caller.name}",
            subject=identity,
            claims={"iss": "static"},
            scopes=[scope_name(scope) for scope in caller.scopes],
            expires_at=int(caller.expires.timestamp()) if caller.expires else None,
            caller=identity,
            name=name,
        )


class OneCaller:
    """Refuses a request that names its caller more than once, or with what can be no token of ours.

    Two headers would be read in two ways: by a proxy, which checks one, and by us, who take the other.

    Args:
        app: what answers the others.
        bots: whether a bot may say for whom it calls. Where it may not, its word must not pass for ignored.
    """

    def __init__(self, app: ASGIApp, *, bots: bool) -> None:
        self._app, self._bots = app, bots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bearers = _values(scope, b"authorization")
        persons = _values(scope, ON_BEHALF_OF.encode())
        if len(bearers) > 1 or len(persons) > 1:
            await answer(send, 400, "A request names one caller, in one header of a kind.")
            return
        if persons and not self._bots:
            await answer(send, 400, "Nobody calls on behalf of others here: that goes with RUNTYPE_MCP_AUTH=static.")
            return
        if any(len(value) > MAX_TOKEN for value in (*bearers, *persons)):
            await answer(send, 401, "The token is too long.", [UNAUTHORIZED])
            return
        if any(is_client_token(value.decode("latin-1")[len("bearer ") :].strip()) for value in bearers):
            await answer(send, 401, "A client token is for browsers. It opens nothing here.", [UNAUTHORIZED])
            return
        set_person = _person.set(persons[0].decode("latin-1") if persons else None)
        try:
            await self._app(scope, receive, send)
        finally:
            _person.reset(set_person)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]
