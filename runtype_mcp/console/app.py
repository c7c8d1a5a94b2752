"""The pages on loopback as one ASGI application: the session, the shipped page, and the JSON that it asks for.

The application trusts nobody who reaches the port. A website in the person's browser, a program of another user, and
a name that resolves to this machine are each stopped by a check of their own, before anything is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp import __version__
from runtype_mcp.console.peer import is_of_another_user
from runtype_mcp.console.session import COOKIE, Session
from runtype_mcp.settings import Settings
from runtype_mcp.storage.state import StateError

HOST = "127.0.0.1"
MAX_BODY = 4096
"""Bytes. A decision is a few hundred."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
CLOSED = (
    "This address does not open the page: it was used already, has expired, or was copied from somewhere else. "
    "Nothing was decided. If the page is open in another tab, use that one. "
    "Otherwise repeat the call in your assistant, or start the command again: it opens a new page."
)


class Page(NamedTuple):
    """The shipped page, split: a policy without inline scripts and styles is what keeps a hostile name text."""

    html: str
    script: str
    style: str


@cache
def shipped_page() -> Page:
    """`page.html` as the wheel brings it, with `{base}` where the session's path belongs."""
    html = (files("runtype_mcp.console") / "page.html").read_text(encoding="utf-8")
    parts: dict[str, str] = {}

    def take(name: str, pattern: str, instead: str) -> None:
        nonlocal html
        (parts[name],) = re.findall(pattern, html, re.DOTALL)
        html = re.sub(pattern, lambda _: instead, html, flags=re.DOTALL)

    take("style", r"<style>(.*?)</style>", '<link rel="stylesheet" href="{base}page.css">')
    take("script", r'<script type="module">(.*?)</script>', '<script type="module" src="{base}page.js"></script>')
    return Page(html, **parts)


def create_app(
    kind: Literal["approval", "console"],
    settings: Settings,
    session: Session,
    origin: str,
    routes: Sequence[BaseRoute],
) -> ASGIApp:
    """The application for one session.

    Args:
        kind: what the page shows.
        settings: what the operator decided.
        session: who may use it.
        origin: where it listens, such as `http://127.0.0.1:49152`.
        routes: the JSON that the page may ask for, below `api/`.
    """
    shown = {
        "kind": kind,
        "server": "Runtype client tokens",
        "version": __version__,
        "apiHost": urlsplit(settings.base_url).netloc,
        "sandbox": settings.sandbox,
    }

    def page() -> Response:
        return HTMLResponse(shipped_page().html.replace("{base}", session.path))

    async def open_page(request: Request) -> Response:
        cookie = session.exchange(request.path_params["secret"])
        if cookie is None:
            return PlainTextResponse(CLOSED, 403)
        # Not a redirect: a browser that comes from elsewhere would not send a strict cookie along with it.
        answer = page()
        answer.set_cookie(COOKIE, cookie, path=session.path, httponly=True, samesite="strict")
        return answer

    async def again(_: Request) -> Response:
        return page()

    async def script(_: Request) -> Response:
        return Response(shipped_page().script, media_type="text/javascript")

    async def style(_: Request) -> Response:
        return Response(shipped_page().style, media_type="text/css")

    async def who(_: Request) -> Response:
        return JSONResponse(shown)

    api = [Route("/session", who, methods=["GET"]), *routes]
    pages = [
        Route("/open/{secret}", open_page, methods=["GET"]),
        Route("/", again, methods=["GET"]),
        Route("/page.js", script, methods=["GET"]),
        Route("/page.css", style, methods=["GET"]),
        Mount("/api", routes=api),
    ]
    app = Starlette(
        routes=[Mount(session.path.rstrip("/"), routes=pages)],
        exception_handlers={HTTPException: refused, StateError: unavailable},
    )
    app.router.redirect_slashes = False
    return Guard(app, session, origin)


async def refused(_: Request, exc: Exception) -> Response:
    """The answer to an `HTTPException`, as the page reads it."""
    assert isinstance(exc, HTTPException)
    return JSONResponse({"error": exc.detail}, exc.status_code, headers=exc.headers)


async def unavailable(_: Request, exc: Exception) -> Response:
    """The answer to a `StateError`."""
    return JSONResponse({"error": str(exc)}, 503)


async def json_body(request: Request) -> bytes:
    """The body of a request, which must say that it is JSON.

    Raises:
        HTTPException: it is too long, or of another type.
    """
    if request.headers.get("content-type") != "application/json":  # what no form of another website can send
        raise HTTPException(415, "Send JSON.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise HTTPException(413, "That is too long. Nothing was decided.")
    return body


class Guard:
    """Lets through what comes from the session's own page, and puts the browser's protections on every answer."""

    def __init__(self, app: ASGIApp, session: Session, origin: str) -> None:
        self._app, self._session, self._origin = app, session, origin
        self._host = origin.removeprefix("http://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # there is no lifespan and no websocket
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        problem = self._problem(Request(scope))
        app = self._app if problem is None else problem
        await app(scope, receive, protected)

    def _problem(self, request: Request) -> Response | None:
        """The refusal of a request; None where it may go on."""
        headers, path = request.headers, request.url.path
        # A name that an attacker points at this machine arrives with that name.
        if headers.getlist("host") != [self._host]:
            return PlainTextResponse("This server answers to its own address only.", 421)
        if not path.startswith(self._session.path):
            return PlainTextResponse(CLOSED, 404)
        opens = path.startswith(f"{self._session.path}open/")
        if not comes_from_here(headers, opens=opens, page=path == self._session.path):
            return PlainTextResponse("Another website, or a frame, must not use this page. Nothing was decided.", 403)
        if request.method not in ("GET", "POST"):  # a HEAD would use a secret up
            return PlainTextResponse("Only GET and POST are answered.", 405)
        if request.method == "POST" and headers.getlist("origin") != [self._origin]:
            return PlainTextResponse("Another website must not use this page. Nothing was decided.", 403)
        if opens and request.client and is_of_another_user(request.client.port, int(self._host.rpartition(":")[2])):
            return PlainTextResponse(CLOSED, 403)  # before the secret is looked at, so that it still opens the page
        if not opens and not self._session.knows(request.cookies.get(COOKIE, "")):
            return PlainTextResponse(CLOSED, 403)
        return None


def comes_from_here(headers: Headers, *, opens: bool, page: bool) -> bool:
    """Whether the browser says that our own page asks, or a person who opens it.

    Some browsers leave these headers out on loopback. Then the cookie, which is strict, and the origin decide.
    """
    site = headers.get("sec-fetch-site", "same-origin")
    if headers.get("sec-fetch-dest", "document") in ("iframe", "frame", "embed", "object", "fencedframe"):
        return False
    # What is fetched ahead of the person would use the secret up.
    if "prefetch" in headers.get("sec-purpose", "") + headers.get("purpose", ""):
        return False
    if site == "same-origin" or (site == "none" and (opens or page)):
        return True
    # A client's window or a mail is another site. It may open the page, and learns nothing from that.
    return opens and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
