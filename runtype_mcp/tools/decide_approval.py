from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtype_mcp import results
from runtype_mcp.errors import Refused, UserInputError
from runtype_mcp.policy.effects import Effect
from runtype_mcp.policy.sanitize import for_question, names_match, sanitize_line
from runtype_mcp.storage.state import StateError
from runtype_mcp.storage.tickets import Ticket, normalize_code
from runtype_mcp.tools.arguments import Arguments, ShortText
from runtype_mcp.tools.list_approvals import changes, token_now, waiting_tickets
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.spec import ToolContext, ToolSpec, check_scopes


class DecideApproval(Arguments):
    approval: ShortText = Field(description="Code of the waiting call, such as 4F7K-9TQX")
    decision: Literal["approve", "deny"]
    expected_name: ShortText | None = Field(default=None, description="To approve: the name of the call's token")


class Decision(results.Result):
    status: Literal["approved", "denied"]
    approval: str
    note: str


async def plan(args: DecideApproval, context: ToolContext) -> Plan:
    ticket = await _waiting(args, context)
    approve, card = args.decision == "approve", ticket.card
    if approve and args.expected_name is None:
        raise Refused(
            "To approve takes expected_name, the name of the token that the call is about.",
            "Check with the user what list_approvals shows of the call, then add the name.",
        )
    if approve and not names_match(args.expected_name or "", ticket.subject_name):
        raise Refused(
            f"{ticket.code} is about '{sanitize_line(ticket.subject_name, 255)}', "
            f"not '{sanitize_line(args.expected_name or '', 255)}'.",
            "Find the call that is meant with list_approvals.",
        )
    asker = for_question(card["requestedBy"], "somebody without a name")
    return Plan(
        operation="decide_approval",
        verb=f'Approve that "{asker}" may {card["verb"].lower()}',
        arguments={"approval": ticket.code, "decision": args.decision},
        token=None,
        name=ticket.subject_name,
        environment=ticket.environment,
        # A denial breaks and exposes nothing, so it needs no yes.
        effects=tuple(Effect(**effect) for effect in card["effects"]) if approve else (),
        undo=card["undo"],
        # The ticket is for one call in one state, and so is what is said to it.
        note=" ".join([*token_now(ticket), *changes(ticket), card["note"], f"Approval {ticket.code}."]).strip(),
        policy="auto",
        recorded={"token": ticket.subject_id or None, "decides": ticket.code, "decision": args.decision}
        | {"requested_by": ticket.requested_by},
    )


async def decide_approval(args: DecideApproval, context: ToolContext, plan: Plan) -> Decision:
    """Approve or deny, as your user says, a call that another person asked for. Approved, it goes ahead once when they
    repeat it within 15 minutes."""
    # A form may have been open for long, and the right to approve may have been taken away since.
    check_scopes(DECIDE_APPROVAL, await context.services.identity.scopes(context.mcp))
    try:
        ticket = await context.state.decide_ticket(
            normalize_code(args.approval),
            approve=args.decision == "approve",
            by=sanitize_line(context.caller.name, 80),
            by_subject=context.caller.subject,
            decided_in="tool",
            only_waiting=True,
        )
    except StateError as exc:
        raise Refused(str(exc), "Tell the user.") from exc
    if ticket.state == "denied":
        return Decision(status="denied", approval=ticket.code, note="Denied. The call does not go ahead.")
    note = "Approved. The call goes ahead once, now or when it is repeated."
    return Decision(status="approved", approval=ticket.code, note=note)


async def _waiting(args: DecideApproval, context: ToolContext) -> Ticket:
    code = normalize_code(args.approval)
    waiting = await waiting_tickets(context.state, context.settings)
    ticket = next((ticket for ticket in waiting if ticket.code == code), None)
    if ticket is None:
        raise UserInputError(
            "No call waits for a second person under this code: it was mistyped, was decided, has expired or was used.",
            "list_approvals shows what waits.",
        )
    if ticket.requested_by == context.caller.subject:
        raise Refused(
            f"Your user asked for {ticket.code}, so somebody else must decide it.", "Tell the user; do not retry."
        )
    return ticket


DECIDE_APPROVAL = ToolSpec(
    decide_approval,
    DecideApproval,
    Decision,
    title="Decide approval",
    scope="approve",
    plan=plan,
    destructive=True,
    decides=True,
)
