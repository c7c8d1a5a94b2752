from __future__ import annotations

import sys
import time

from runtype_mcp import results
from runtype_mcp.policy.sanitize import fence, new_nonce, sanitize_line
from runtype_mcp.settings import Settings
from runtype_mcp.storage.state import State
from runtype_mcp.storage.tickets import Ticket
from runtype_mcp.tools.arguments import Arguments
from runtype_mcp.tools.spec import ToolContext, ToolSpec

MOST = 10
"""Calls that are shown, oldest first: each is shown whole."""


class ListApprovals(Arguments):
    pass


class Waiting(results.Result):
    """A call that waits, without a word of the person who asks: those stand in the list's `call_text` alone."""

    approval: str
    tool: str
    environment: str
    seconds_left: int


class ApprovalList(results.Result):
    approvals: list[Waiting]
    call_text: str | None = None
    count: int
    total: int
    note: str | None = None


async def list_approvals(args: ListApprovals, context: ToolContext) -> ApprovalList:
    """List the calls of other people that wait for approval: who asks, and what each would do."""
    waiting = await waiting_tickets(context.state, context.settings)
    found = [ticket for ticket in waiting if ticket.requested_by != context.caller.subject]
    own = len(waiting) - len(found)
    shown = found[:MOST]
    lines = [line for ticket in shown for line in described(ticket)]
    return ApprovalList(
        approvals=[
            Waiting(
                approval=ticket.code,
                tool=ticket.operation,
                environment="test" if ticket.environment == "test" else "live",
                seconds_left=max(0, round(ticket.expires - time.time())),
            )
            for ticket in shown
        ],
        call_text=fence(lines, new_nonce(), by="the people who ask, and others,", tag="call-text") if lines else None,
        count=len(shown),
        total=len(found),
        note=f"{own} of your own wait for somebody else." if own else None,
    )


async def waiting_tickets(state: State, settings: Settings) -> list[Ticket]:
    """The calls on this API that wait for a second person, oldest first."""
    return [
        ticket
        for ticket in await state.open_tickets()
        if ticket.second_person and ticket.state == "waiting" and ticket.base_url == settings.base_url
    ]


def described(ticket: Ticket) -> list[str]:
    """What the call would do, whole, in lines that begin with its code."""
    card = ticket.card
    said = [
        f"asked by: {card['requestedBy']}",
        f"{card['verb']}: {card['name']} {ticket.subject_id}".rstrip(),
        *token_now(ticket),
        *(f"{effect['kind']}: {effect['sentence']}" for effect in card["effects"]),
        *changes(ticket),
        *(text for text in (card["undo"], card["note"]) if text),
    ]
    return [f"{ticket.code} {line}" for line in said]


def token_now(ticket: Ticket) -> list[str]:
    """The token as it was when it was asked for, in one line; nothing where there is none yet."""
    token = ticket.card["token"]
    return [f"the token: {results.one_line(results.Summary.model_validate(token))}"] if token else []


def changes(ticket: Ticket) -> list[str]:
    """What an update changes, a line each."""
    compact = results.compact
    lines = [
        f"{item['field']}: {compact(item['before'])} -> {compact(item['after'])}" for item in ticket.card["changes"]
    ]
    return [sanitize_line(line, sys.maxsize) for line in lines]


LIST_APPROVALS = ToolSpec(list_approvals, ListApprovals, ApprovalList, title="List approvals", scope="approve")
