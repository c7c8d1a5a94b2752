"""A page on loopback over real HTTP, and what a browser says when it asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx

from runtype_mcp.console.app import create_app
from runtype_mcp.console.approvals import approval_routes
from runtype_mcp.console.session import Session
from runtype_mcp.settings import Settings
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.tickets import Ticket, TicketRequest
from tests.support import SwappableApp, running

OPENED = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
"""What a browser says of an address that a person, or a program of theirs, opens."""
ASKED = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
"""What it says of a request of the page itself."""


def request(n: int = 0, **fields: Any) -> TicketRequest:
    """What a call leaves for a person to decide."""
    token = {"id": f"ct_{n}", "name": "Shop", "environment": "live", "allowedOrigins": ["https://shop.example"]}
    card = {"name": "Shop", "verb": "Delete", "token": token, "effects": [], "changes": [], "note": "", "undo": ""}
    facts: dict[str, Any] = {
        "digest": f"{n:064x}",
        "scope": f"{n}",
        "operation": "delete_client_token",
        "subject_id": f"ct_{n}",
        "subject_name": "Shop",
        "environment": "live",
        "card": card,
        "base_url": "https://api.runtype.com",
        "requested_by": "somebody",
    }
    return TicketRequest(**facts | fields)


@dataclass
class Pages:
    """The server of a page, and the calls that wait on it."""

    url: str
    session: Session
    state: SqliteState

    @property
    def base(self) -> str:
        return f"{self.url}{self.session.path}"

    def ask(self, n: int = 0, **fields: Any) -> Ticket:
        return asyncio.run(self.state.request_ticket(request(n, **fields)))

    def found(self, ticket: Ticket) -> Ticket | None:
        return asyncio.run(self.state.find_ticket(ticket.code))

    def state_of(self, ticket: Ticket) -> str:
        found = self.found(ticket)
        return found.state if found else "gone"

    @contextmanager
    def browser(self) -> Iterator[Browser]:
        """A browser that has the page open."""
        with httpx.Client() as client:
            browser = Browser(client, self.url, self.base)
            assert browser.open(self.session.address(self.url)).status_code == 200
            yield browser


@dataclass
class Browser:
    client: httpx.Client
    origin: str
    base: str

    def open(self, address: str, **headers: str) -> httpx.Response:
        return self.client.get(address, headers=OPENED | headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(f"{self.base}{path}", headers=ASKED | headers)

    def post(self, path: str, json: Any = None, **headers: str) -> httpx.Response:
        return self.client.post(f"{self.base}{path}", json=json, headers=ASKED | {"origin": self.origin} | headers)

    def is_served(self) -> bool:
        """Whether the server of the page is still there."""
        try:
            return self.get("api/session").status_code == 200
        except httpx.ConnectError:
            return False

    def cards(self) -> list[dict[str, Any]]:
        cards: list[dict[str, Any]] = self.get("api/approvals").json()["approvals"]
        return cards

    def decide(self, ticket: Ticket, decision: str, name: str = "", /, **changes: Any) -> httpx.Response:
        """What the page sends; `changes` to that, or to its headers by names with dashes."""
        (token,) = [card["decisionToken"] for card in self.cards() if card["code"] == ticket.code]
        body = {"decision": decision, "name": name, "decisionToken": token}
        headers = {key: changes.pop(key) for key in list(changes) if "-" in key or key in ("origin", "host")}
        return self.post(f"api/approvals/{ticket.code}", body | changes, **headers)


@contextmanager
def pages(directory: Path) -> Iterator[Pages]:
    """The page of the calls that wait in the state in `directory`."""
    state, session, stage = SqliteState(directory), Session(), SwappableApp()

    async def waiting(_: object) -> list[Ticket]:
        return [ticket for ticket in await state.open_tickets() if ticket.state == "waiting"]

    with running(stage) as url:
        routes = approval_routes(state, session.person, "page", tickets=waiting)
        stage.app = create_app("approval", Settings(), session, url, routes)
        yield Pages(url, session, state)
    asyncio.run(state.aclose())
