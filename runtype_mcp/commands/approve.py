"""Approving a call outside the conversation: `runtype-mcp approvals` and `runtype-mcp approve CODE`.

`approve` insists on a terminal, so a pipe from an agent's shell is not enough. It is a hurdle, not a wall: an agent
that can open a pseudo-terminal as this user can type what a person would. Where that matters, set the policy to `deny`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.commands.output import failed, print_json, print_table, say
from runtype_mcp.credentials import ApiKey
from runtype_mcp.errors import ClientTokenError
from runtype_mcp.person import person
from runtype_mcp.policy.sanitize import names_match, sanitize_line
from runtype_mcp.results import Summary, compact, one_line
from runtype_mcp.settings import Settings
from runtype_mcp.storage.opening import open_state
from runtype_mcp.storage.state import State
from runtype_mcp.storage.tickets import StateError, Ticket

WHOLE = 10_000
"""Characters: more than a question can have. A person is shown all that a call would do, not its start."""
TRIES = 3
QUESTION = "Type the token's name to approve, deny to deny, or nothing to leave it undecided: "


def approvals(settings: Settings, *, as_json: bool = False) -> int:
    """List the calls that wait for a person, or were decided and not used yet. Returns the exit code."""
    return _with_state(settings, _print_json if as_json else _list)


def approve(settings: Settings, code: str) -> int:
    """Show one call with the facts, and let a person decide. Returns 0 if it was approved, else 1."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return failed("approve needs a terminal: a person has to read and type. Nothing was approved.")
    return _with_state(settings, lambda state: _decide(state, settings, code))


def _with_state(settings: Settings, act: Callable[[State], int]) -> int:
    if not settings.shares_state:
        return failed("Approvals are kept in a home directory, and there is none: set RUNTYPE_MCP_STATE_DIR.")
    state = open_state(settings.redis_url, settings.state_dir)
    try:
        return act(state)
    except StateError as exc:
        return failed(str(exc))
    finally:
        asyncio.run(state.aclose())


def _list(state: State) -> int:
    tickets = asyncio.run(state.open_tickets())
    if tickets:
        rows = [(ticket.code, ticket.state, _what(ticket), str(_minutes(ticket))) for ticket in tickets]
        styles = {"waiting": "yellow", "approved": "green", "denied": "red"}
        print_table(("code", "state", "call", "minutes left"), rows, lead=2, longest=500, styles=styles)
    else:
        say("Nothing waits for approval.")
    return 0


def _print_json(state: State) -> int:
    tickets = asyncio.run(state.open_tickets())
    print_json([_as_json(ticket) for ticket in tickets])
    return 0


def _as_json(ticket: Ticket) -> dict[str, Any]:
    return {
        "code": ticket.code,
        "state": ticket.state,
        "operation": ticket.operation,
        "environment": ticket.environment,
        "clientToken": {"id": ticket.subject_id or None, "name": ticket.subject_name},
        "effects": [effect["sentence"] for effect in ticket.card["effects"]],
        "changes": ticket.card["changes"],
        "baseUrl": ticket.base_url,
        "createdAt": datetime.fromtimestamp(ticket.created, UTC).isoformat(timespec="seconds"),
        "expiresAt": datetime.fromtimestamp(ticket.expires, UTC).isoformat(timespec="seconds"),
        "decidedBy": ticket.decided_by or None,
        "decidedIn": ticket.decided_in or None,
    }


def _decide(state: State, settings: Settings, code: str) -> int:
    ticket = asyncio.run(state.find_ticket(code))
    if ticket is None or ticket.state == "approved":
        return failed("No call waits under this code: it was mistyped, has expired, or is approved already.")
    say(f"{_what(ticket)}\nAPI: {sanitize_line(ticket.base_url, 255)}")
    for effect in ticket.card["effects"]:
        say(f"- {sanitize_line(effect['sentence'], WHOLE)}")
    for change in ticket.card["changes"]:
        line = f"{change['field']}: {compact(change['before'])} -> {compact(change['after'])}"
        say(sanitize_line(line, sys.maxsize))
    say(f"{asyncio.run(_facts(settings, ticket))}\nThe approval is for exactly this call, once, on the token as it is.")
    if ticket.state == "denied":
        say(f"It was denied by {sanitize_line(ticket.decided_by, 80)}. To approve it takes that back.")
    for left in reversed(range(TRIES)):
        try:
            typed = input(QUESTION).strip()
        except EOFError:
            typed = ""
        if not typed:
            return failed("No answer. Nothing was decided.")
        if typed.lower() == "deny":  # also where a token has this name: in doubt, no
            asyncio.run(state.decide_ticket(ticket.code, approve=False, by=person(), decided_in="terminal"))
            say(f"Denied. To take that back: runtype-mcp approve {ticket.code}")
            return 1
        if names_match(typed, ticket.subject_name):
            approved = asyncio.run(state.decide_ticket(ticket.code, approve=True, by=person(), decided_in="terminal"))
            say(f"Approved. The same call now goes ahead once, within {_minutes(approved)} minutes.")
            return 0
        say(f"That is not the token's name.{' Try again.' if left else ''}")
    return failed("Nothing was decided.")


def _what(ticket: Ticket) -> str:
    name, where = sanitize_line(ticket.subject_name, 255), sanitize_line(ticket.environment, 20)
    subject = f"the {where} client token '{name}' {sanitize_line(ticket.subject_id, 128)}".rstrip()
    return f"{sanitize_line(ticket.operation, 60)}: {subject}"


def _minutes(ticket: Ticket) -> int:
    return max(0, round((ticket.expires - time.time()) / 60))


async def _facts(settings: Settings, ticket: Ticket) -> str:
    """The token as it is at this moment, or as it was when the call was made; and which of the two."""
    if ticket.card["token"] is None:
        return f"It does not exist yet. {sanitize_line(ticket.card['note'], WHOLE)}".rstrip()
    then = f"When it was asked: {sanitize_line(one_line(Summary.model_validate(ticket.card['token'])), 500)}"
    if settings.sandbox or settings.base_url != ticket.base_url:
        return f"{then}\nNot read again: RUNTYPE_BASE_URL is not the server's here."
    api = RuntypeClient(None, settings.base_url, total_timeout=settings.total_timeout)
    try:
        if (key := await ApiKey(settings).get()) is None:
            return f"{then}\nNot read again: no API key is set or stored here. `runtype-mcp login` stores one."
        api = api.with_key(key)
        return f"Now: {sanitize_line(one_line(await api.get_client_token(ticket.subject_id)), 500)}"
    except ClientTokenError as exc:
        return f"{then}\nIt cannot be read now: {sanitize_line(exc.what, 200)}"
    finally:
        await api.aclose()
