"""The approvals of a page: which calls wait, and what a person decides about one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from runtype_mcp.console.app import json_body
from runtype_mcp.console.session import Decider
from runtype_mcp.policy.sanitize import names_match
from runtype_mcp.storage.state import State, StateError
from runtype_mcp.storage.tickets import DecidedIn, Ticket

GONE = "This request was decided elsewhere, was used, or has expired. Nothing was changed here."


Record = Callable[[Decider, Ticket, str, str | None], Awaitable[None]]
"""Records a decision: who decides, on which call, `approve` or `deny`, and the outcome once there is one.

Raises:
    HTTPException: it cannot be recorded, so it is not made.
"""


class Decision(BaseModel):
    """What the page sends when a person has decided. `name` is what they typed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    decision: Literal["approve", "deny"]
    name: str = Field(default="", max_length=255)
    decision_token: str = Field(alias="decisionToken", max_length=64)


def approval_routes(
    state: State,
    who: Callable[[Request], Awaitable[Decider]],
    decided_in: DecidedIn,
    *,
    tickets: Callable[[Decider], Awaitable[list[Ticket]]],
    decided: Callable[[Ticket], str] | None = None,
    record: Record | None = None,
    gone: str = GONE,
    now: Callable[[], float] = time.time,
) -> list[BaseRoute]:
    """`approvals` and `approvals/CODE` for a page.

    Args:
        state: where the tickets are.
        who: the person who uses the page.
        decided_in: by which way a decision on this page counts as made.
        tickets: the tickets that this page shows the person, and that they may decide.
        decided: is told each decision, and says how the call goes on.
        record: is told of each decision, before and after it is made.
        gone: what is said where there is nothing to decide.
        now: unix seconds.
    """

    async def listed(request: Request) -> Response:
        decider = await who(request)
        cards = [
            ticket.shown | {"decisionToken": decider.decision_token(ticket.code, ticket.digest)}
            for ticket in await tickets(decider)
        ]
        return JSONResponse({"approvals": cards, "now": now()})

    async def decide(request: Request) -> Response:
        decider = await who(request)
        try:
            given = Decision.model_validate_json(await json_body(request))
        except ValidationError:
            raise HTTPException(400, "That is not a decision. Nothing was decided. Reload the page.") from None
        ticket = next((t for t in await tickets(decider) if t.code == request.path_params["code"]), None)
        if ticket is None:
            return _answer(410, "gone", gone)
        if not decider.is_decision_token(given.decision_token, ticket.code, ticket.digest):
            raise HTTPException(403, "This decision is not for the call that is shown. Nothing was decided. Reload.")
        approve = given.decision == "approve"
        if approve and not names_match(given.name, ticket.subject_name):
            return _answer(409, "wrong_name", "That is not the token's name. Nothing was decided. Type it as shown.")
        if record:
            await record(decider, ticket, given.decision, None)
        try:
            made = await state.decide_ticket(
                ticket.code,
                approve=approve,
                by=decider.name,
                by_subject=decider.subject,
                decided_in=decided_in,
                only_waiting=True,
            )
        except StateError as exc:
            if record:
                await record(decider, ticket, given.decision, f"refused: {exc}")
            found = await state.find_ticket(ticket.code)
            if found is not None and found.state == "waiting":
                raise
            return _answer(410, "gone", gone)
        if record:
            await record(decider, ticket, given.decision, made.state)
        message = decided(made) if decided else _goes_on(made)
        return _answer(200, made.state, message)

    return [
        Route("/approvals", listed, methods=["GET"]),
        Route("/approvals/{code}", decide, methods=["POST"]),
    ]


def _answer(status: int, state: str, message: str) -> Response:
    return JSONResponse({"state": state, "message": message}, status)


def _goes_on(ticket: Ticket) -> str:
    if ticket.state == "denied":
        return "Denied. Nothing was changed, and the call does not go ahead."
    return (
        "Approved. The call goes ahead once, when your assistant makes it or makes it again within 15 minutes, "
        "on the token as it was shown."
    )
