"""The team's page for approvals, at `/approvals/` of the public address: who signs in may decide others' calls there.

It is the page that the console shows, behind a sign-in. Nothing of it lives in this process: who is signed in is in the
`State`, under the hash of a cookie, so every replica knows it and signing out ends it on all of them.
"""

from __future__ import annotations

import hashlib
import html
import logging
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp import __version__
from runtype_mcp.console.app import HEADERS, comes_from_here, refused, shipped_page, unavailable
from runtype_mcp.console.approvals import approval_routes
from runtype_mcp.console.session import Decider
from runtype_mcp.credentials import read_private
from runtype_mcp.http.jwks import Issuer
from runtype_mcp.http.jwt_tokens import JwtVerifier
from runtype_mcp.http.oidc import APPROVE, Oidc, SignedIn, SignInError
from runtype_mcp.identity import Authentication
from runtype_mcp.settings import Settings, SettingsError
from runtype_mcp.storage.audit_log import AuditError
from runtype_mcp.storage.state import StateError
from runtype_mcp.storage.tickets import Ticket
from runtype_mcp.tools.list_approvals import waiting_tickets
from runtype_mcp.tools.spec import Services

PATH = "/approvals/"
SIGNED_IN_FOR = 1800
"""Seconds. A right that the issuer takes away ends with it at the latest."""
SIGN_IN_WITHIN = 600
"""Seconds that a person has at the issuer."""
GONE = "This request was decided elsewhere, was used, has expired, or is your own. Nothing was decided here."
logger = logging.getLogger("runtype_mcp")


def check_team_page(settings: Settings) -> None:
    """Refuse what cannot be right together.

    Raises:
        SettingsError: it says what to do.
    """
    if settings.oidc_client_id is None:
        if settings.oidc_client_secret_file is not None:
            raise SettingsError("RUNTYPE_MCP_OIDC_CLIENT_SECRET_FILE goes with RUNTYPE_MCP_OIDC_CLIENT_ID.")
        return
    if settings.auth != "jwt" or not settings.wants_second_person:
        # Elsewhere a person would have one identity on the page and another as a caller, and could approve their own.
        raise SettingsError(
            "RUNTYPE_MCP_OIDC_CLIENT_ID goes with RUNTYPE_MCP_AUTH=jwt and RUNTYPE_MCP_APPROVAL=second-person (or "
            "RUNTYPE_MCP_APPROVAL_LIVE): on the page, people are who they are as callers."
        )
    if settings.oidc_client_secret_file is not None:
        try:
            read_private(settings.oidc_client_secret_file, ours=False)
        except OSError as exc:
            raise SettingsError(f"RUNTYPE_MCP_OIDC_CLIENT_SECRET_FILE cannot be read ({exc.strerror}).") from None


def add_team_page(
    app: Starlette, settings: Settings, services: Services, authentication: Authentication | None
) -> None:
    """Serve the page beside `/mcp`.

    Raises:
        SettingsError: the settings contradict each other.
    """
    check_team_page(settings)
    assert authentication is not None
    assert isinstance(authentication.verifier, JwtVerifier)
    verifier = authentication.verifier
    app.router.routes += team_approval_routes(settings, services, verifier.issuer, verifier.audience)


def team_approval_routes(settings: Settings, services: Services, issuer: Issuer, audience: str) -> list[BaseRoute]:
    """The routes of the page. `issuer` signs people in, and callers' tokens for `audience`."""
    assert settings.public_url
    page = _TeamPage(settings, services, Oidc(settings, issuer, audience, f"{settings.public_url}{PATH}callback"))
    return [Route(PATH.rstrip("/"), page.to_page, methods=["GET"]), Mount(PATH.rstrip("/"), app=page.app())]


@dataclass(frozen=True, slots=True)
class _TeamPage:
    settings: Settings
    services: Services
    oidc: Oidc

    def app(self) -> ASGIApp:
        api = approval_routes(
            self.services.state, self._person, "team page", tickets=self._tickets, record=self._record, gone=GONE
        )
        routes = [
            Route("/", self._open, methods=["GET"]),
            Route("/callback", self._callback, methods=["GET"]),
            Route("/signed-out", self._signed_out, methods=["GET"]),
            Route("/page.js", self._script, methods=["GET"]),
            Route("/page.css", self._style, methods=["GET"]),
            Route("/api/session", self._session, methods=["GET"]),
            Route("/api/sign-out", self._sign_out, methods=["POST"]),
            Mount("/api", routes=api),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={HTTPException: refused, StateError: unavailable, SignInError: self._not_signed_in},
        )
        app.router.redirect_slashes = False
        assert self.settings.public_url
        return _Guard(app, self.settings.public_url)

    async def to_page(self, _: Request) -> Response:
        return RedirectResponse(PATH, 303)

    # Signing in

    async def _open(self, request: Request) -> Response:
        if await self._signed_in(request) is not None:
            return HTMLResponse(shipped_page().html.replace("{base}", PATH))
        address, kept = await self.oidc.begin()
        answer = RedirectResponse(address, 303)
        # The issuer sends the browser back from its own site, so this one cannot be strict. It opens nothing alone.
        self._set_cookie(answer, "sign-in", kept, SIGN_IN_WITHIN, strict=False)
        return answer

    async def _callback(self, request: Request) -> Response:
        kept = request.cookies.get(self._cookie("sign-in"), "")
        query = request.query_params
        if len(query.multi_items()) != len(query):
            raise SignInError("The address of the answer says something twice.")
        person = await self.oidc.finish(dict(query), kept)
        if not person.may_approve:
            answer = self._said(
                "You may not approve",
                f"{person.name} is signed in without the scope {APPROVE}. Nothing was decided. "
                "Ask whoever runs your sign-in for it, then sign in again.",
                403,
            )
        else:
            # Not a redirect: the browser comes from another site, and would not send a strict cookie along with it.
            answer = self._said("Signed in", "The approvals open now.", refresh=True)
            cookie = secrets.token_urlsafe(32)
            await self.services.state.keep_sign_in(_digest(cookie), _stored(person), SIGNED_IN_FOR)
            self._set_cookie(answer, "approvals", cookie, SIGNED_IN_FOR, strict=True)
        self._set_cookie(answer, "sign-in", "", 0, strict=False)  # it is for one attempt
        return answer

    async def _sign_out(self, request: Request) -> Response:
        await self._person(request)
        await self.services.state.end_sign_in(_digest(request.cookies[self._cookie("approvals")]))
        answer = JSONResponse({})
        self._set_cookie(answer, "approvals", "", 0, strict=True)
        return answer

    async def _signed_out(self, _: Request) -> Response:
        return self._said("Signed out", "You are signed out here. At your issuer you may still be signed in.")

    async def _not_signed_in(self, _: Request, exc: Exception) -> Response:
        logger.warning("Nobody was signed in: %s", exc)
        return self._said("Not signed in", f"{exc} Nothing was decided.", 403)

    async def _signed_in(self, request: Request) -> Decider | None:
        cookie = request.cookies.get(self._cookie("approvals"))
        found = await self.services.state.find_sign_in(_digest(cookie)) if cookie else None
        return Decider(found["name"], bytes.fromhex(found["key"]), found["subject"]) if found else None

    async def _person(self, request: Request) -> Decider:
        if (person := await self._signed_in(request)) is None:
            raise HTTPException(401, "You are not signed in any more. Reload this page to sign in again.")
        return person

    # What the page asks for

    async def _session(self, request: Request) -> Response:
        person = await self._person(request)
        return JSONResponse(
            {
                "kind": "team",
                "server": "Runtype client tokens",
                "version": __version__,
                "apiHost": urlsplit(self.settings.base_url).netloc,
                "sandbox": self.settings.sandbox,
                "person": person.name,
            }
        )

    async def _tickets(self, person: Decider) -> list[Ticket]:
        waiting = await waiting_tickets(self.services.state, self.settings)
        return [ticket for ticket in waiting if ticket.requested_by != person.subject]

    async def _record(self, person: Decider, ticket: Ticket, decision: str, outcome: str | None) -> None:
        """Write a line of the audit log before a decision, and one after it."""
        log = self.services.audit_log
        if log is None:
            return
        entry: dict[str, Any] = {
            "event": "started" if outcome is None else "ended",
            "call": _digest(f"{ticket.code} {ticket.digest} {person.subject}")[:16],
            "caller": person.name,
            "subject": person.subject,
            "tool": "approvals page",
            "token": ticket.subject_id or None,
            "name": ticket.subject_name,
            "environment": ticket.environment,
            "effects": [effect["sentence"] for effect in ticket.card["effects"]],
            "approval": "person",
            "decides": ticket.code,
            "decision": decision,
            "requested_by": ticket.requested_by,
        }
        if outcome is not None:
            entry["outcome"] = outcome
        try:
            await anyio.to_thread.run_sync(log.append, self.services.identity.redactor.redact_json(entry))
        except AuditError as exc:
            if outcome is None:
                problem = f"The audit log cannot be written: {exc} Nothing was decided. Tell the operator."
                raise HTTPException(503, problem) from exc
            logger.exception("This decision's end is not recorded: %s", ticket.code)

    async def _script(self, _: Request) -> Response:
        return Response(shipped_page().script, media_type="text/javascript")

    async def _style(self, _: Request) -> Response:
        return Response(shipped_page().style, media_type="text/css")

    # Answers

    def _said(self, title: str, sentence: str, status: int = 200, *, refresh: bool = False) -> Response:
        """A page of one sentence, which leads to the approvals."""
        again = f'<meta http-equiv="refresh" content="0;url={PATH}">' if refresh else ""
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>{again}'
            f'<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="{PATH}page.css"></head>'
            f'<body><div class="frame narrow"><header class="top"><h1>{html.escape(title)}</h1></header>'
            f'<main><p>{html.escape(sentence)}</p><p><a href="{PATH}">Open the approvals</a></p></main></div>'
            "</body></html>"
        )
        return HTMLResponse(page, status)

    def _cookie(self, name: str) -> str:
        # With this prefix a browser takes the cookie from this very host alone, and over TLS alone.
        return f"__Host-runtype-mcp-{name}" if self._secure else f"runtype-mcp-{name}"

    @property
    def _secure(self) -> bool:
        return str(self.settings.public_url).startswith("https://")

    def _set_cookie(self, answer: Response, name: str, value: str, seconds: int, *, strict: bool) -> None:
        answer.set_cookie(
            self._cookie(name),
            value,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict" if strict else "lax",
        )


class _Guard:
    """Lets through what comes from the page itself or from a person who opens it, and protects every answer."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app, self._origin, self._host = app, public_url, urlsplit(public_url).netloc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        problem = self._problem(Request(scope))
        await (self._app if problem is None else problem)(scope, receive, protected)

    def _problem(self, request: Request) -> Response | None:
        headers, path = request.headers, request.url.path
        if headers.get("host", "").lower() != self._host:
            return PlainTextResponse(f"The approvals are at {self._origin}{PATH}", 421)
        opens = path in (PATH, f"{PATH}callback", f"{PATH}signed-out")
        if not comes_from_here(headers, opens=opens, page=opens):
            return PlainTextResponse("Another website, or a frame, must not use this page. Nothing was decided.", 403)
        if request.method not in ("GET", "POST"):
            return PlainTextResponse("Only GET and POST are answered.", 405)
        if request.method == "POST" and headers.getlist("origin") != [self._origin]:
            return PlainTextResponse("Another website must not use this page. Nothing was decided.", 403)
        return None


def _stored(person: SignedIn) -> dict[str, str]:
    return {"name": person.name, "subject": person.subject, "key": secrets.token_hex(32)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
