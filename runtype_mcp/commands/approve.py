"""Approving a gated call outside the conversation: `runtype-mcp approvals` and `runtype-mcp approve CODE`.

`approve` insists on a terminal, so a pipe from an agent's shell is not enough. It is a hurdle, not a wall: an agent
that can open a pseudo-terminal as this user can type what a person would. Where that matters, set the policy to `deny`.
"""

from __future__ import annotations

import asyncio
import getpass
import sys
import time

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.errors import ClientTokenError
from runtype_mcp.policy.sanitize import names_match, sanitize_line
from runtype_mcp.results import one_line
from runtype_mcp.settings import Settings, load
from runtype_mcp.storage.tickets import Ticket, TicketError, Tickets, state_dir


def approvals() -> int:
    """List what waits, one line each."""
    try:
        waiting = Tickets(state_dir()).waiting()
    except TicketError as exc:
        return _failed(str(exc))
    for ticket in waiting:
        minutes = max(0, int((ticket.expires - time.time()) // 60))
        _say(f"{ticket.code}  {_what(ticket)}  ({minutes} min left)")
    if not waiting:
        _say("Nothing waits for approval.")
    return 0


def approve(code: str) -> int:
    """Show one waiting call with the live facts, and approve it when its token's name is typed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _failed("approve needs a terminal: a person has to read and type. Nothing was approved.")
    try:
        tickets = Tickets(state_dir())
        ticket = tickets.find(code)
        if ticket is None or ticket.state != "waiting":
            return _failed("No call waits under this code: it was mistyped, has expired, or is decided already.")
        _say(f"{_what(ticket)}\nAPI: {sanitize_line(ticket.base_url, 255)}")
        for line in ticket.lines:
            _say(f"- {sanitize_line(line, 400)}")
        _say(_live_facts(load(), ticket))
        _say("The approval is for exactly this call, once, on the token as it is; it expires in 15 minutes.")
        typed = input("Type the token's name to approve, or nothing to deny: ")
        if not names_match(typed, ticket.subject_name):
            tickets.deny(ticket.code)
            _say("Denied. Nothing was approved.")
            return 1
        tickets.approve(ticket.code, _who())
    except (TicketError, EOFError) as exc:
        return _failed(str(exc) or "No answer. Nothing was approved.")
    _say("Approved. The same call now goes ahead once.")
    return 0


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user whom the system has no name for, as in a container
        return "a user without a name"


def _what(ticket: Ticket) -> str:
    name = sanitize_line(ticket.subject_name, 255)
    return f"{ticket.operation}: the {sanitize_line(ticket.environment, 20)} client token '{name}' {sanitize_line(ticket.subject_id, 128)}"


def _live_facts(settings: Settings, ticket: Ticket) -> str:
    """The token as it is at this moment; where it cannot be read, that this is so."""
    if not ticket.subject_id:
        return "It does not exist yet."
    if settings.base_url != ticket.base_url or settings.api_key is None:
        return "It cannot be read from here (RUNTYPE_API_KEY and RUNTYPE_BASE_URL differ from the server's)."

    async def read() -> str:
        api = RuntypeClient(settings.api_key, settings.base_url, total_timeout=settings.total_timeout)
        try:
            return "Now: " + one_line(await api.get_client_token(ticket.subject_id))
        finally:
            await api.aclose()

    try:
        return sanitize_line(asyncio.run(read()), 500)
    except ClientTokenError as exc:
        return f"It cannot be read now: {sanitize_line(exc.what, 200)}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _failed(text: str) -> int:
    sys.stderr.write(f"runtype-mcp: {text}\n")
    return 1
