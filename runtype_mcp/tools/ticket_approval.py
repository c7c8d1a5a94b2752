"""Approval by a ticket, where the client shows no form: a person decides on a page, or in a terminal.

A ticket is bound to the exact call, the token's state and the account, and lets one call through. Nothing that a
client or a page says opens anything by itself: only a ticket that a person has decided does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestURLParams, ElicitResult, InputRequiredResult

from runtype_mcp.errors import Refused
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.storage.state import StateError
from runtype_mcp.storage.tickets import Ticket, TicketRequest
from runtype_mcp.tools.plan import Plan, sha256
from runtype_mcp.tools.spec import ApprovalPages, ToolContext
from runtype_mcp.tools.verdict import NOT_AGAIN, Approved, Denied, Verdict, counted, denied, policy_sentence, waiting

LINKS_SINCE = "2025-11-25"
MODERN = "2026-07-28"
"""From this protocol version on, a client is asked within the answer, and can always be."""
PAGE = "approval_page"
"""What a newer client's answer to the question for opening the page is filed under."""


@dataclass(frozen=True, slots=True)
class OnPage:
    """A person is to decide on a page. `link`: their client opens it for them, and not this server."""

    pages: ApprovalPages
    link: bool


def supports_links(context: Context[Any, Any]) -> bool:
    """Whether the client opens links for a person. A client that shows forms is not asked this."""
    capabilities = context.client_capabilities
    if capabilities is None or capabilities.elicitation is None or capabilities.elicitation.url is None:
        return False
    # Older versions know no such question.
    version = context.protocol_version or ""
    return version >= MODERN or (version >= LINKS_SINCE and bool(context.session.can_send_request))


async def decided_elsewhere(context: ToolContext, plan: Plan) -> Verdict | None:
    """What a person has decided of this call elsewhere than in a form of the client; None where nobody has."""
    request, places = ticket_request(context, plan), counted(context.settings, plan.environment)
    try:
        ticket = await context.state.take_ticket(request.digest, request.scope, counted=places)
    except StateError as exc:
        raise Refused(f"Approvals outside the conversation do not work: {exc}", "Tell the operator.") from exc
    if ticket is None:
        return None
    if ticket.state == "denied":
        return denied(f"A person denied this call ({ticket.code}).")
    return Approved(f"ticket {ticket.code} ({ticket.decided_in})", by=ticket.decided_by_subject)


def page_for(context: ToolContext) -> OnPage | None:
    """How a page can be put before a person; None where it cannot."""
    if context.services.pages is None:
        return None
    pages, link = context.services.pages(), supports_links(context.mcp)
    return OnPage(pages, link) if link or pages.can_open() else None


async def ask_on_page(context: ToolContext, plan: Plan, page: OnPage) -> Verdict | InputRequiredResult:
    """Put the call before a person on a page, and wait for them for as long as clients wait for an answer."""
    ticket = await requested(context, plan)
    try:
        if not page.link:
            page.pages.show(ticket)
        elif (unopened := await _open_link(context, plan, page.pages, ticket)) is not None:
            return unopened
        with page.pages.waiting(ticket):
            says = "A person is asked on a page in their browser."
            verdict = await decision(context, plan, ticket, says, partial(page.pages.wait, ticket))
    except OSError:  # fails closed, also under `auto`: a person was to be asked
        return await refuse_with_ticket(context, plan)
    if verdict is None:
        return waiting(
            f"No person has decided yet ({ticket.code}). A page is open in the user's browser. {plan.what()}",
            "Tell the user. When they have approved there, repeat this exact call. Where no page is to be seen, "
            f"`runtype-mcp approve {ticket.code}` in a terminal does the same.",
            ticket.code,
        )
    if page.link and (context.mcp.protocol_version or "") < MODERN:
        await context.mcp.session.send_elicit_complete(_elicitation(ticket))
    return verdict


async def _open_link(
    context: ToolContext, plan: Plan, pages: ApprovalPages, ticket: Ticket
) -> InputRequiredResult | Denied | None:
    """Have the client open the page; None once it has, or where the person has it open."""
    mcp, message = context.mcp, context.caller.redactor.redact_text(plan.what())
    answer: object = (mcp.input_responses or {}).get(PAGE)
    if answer is None and pages.is_open():
        return None
    if (mcp.protocol_version or "") < MODERN:
        try:
            address, name = pages.address(ticket), _elicitation(ticket)
            answer = await mcp.session.elicit_url(message, address, name, related_request_id=mcp.request_id)
        except MCPError as exc:
            raise Refused("The client could not open the page for a person.", NOT_AGAIN) from exc
    elif answer is None:
        params = ElicitRequestURLParams(message=message, url=pages.address(ticket))
        return InputRequiredResult(input_requests={PAGE: ElicitRequest(params=params)})
    # It says that the page was opened, and no more: only what a person decides there lets the call through.
    if isinstance(answer, ElicitResult) and answer.action == "accept":
        return None
    return denied("No person said yes: the client did not open the page for one.")


def _elicitation(ticket: Ticket) -> str:
    return f"approval {ticket.code}"


async def decision(
    context: ToolContext, plan: Plan, ticket: Ticket, says: str, wait: Callable[[float], Awaitable[None]]
) -> Verdict | None:
    """What a person decides, wherever they do; None where nobody has by the time the call must be answered.

    `says` is the progress that the client is told. `wait` waits until somebody may have decided, at most for a number
    of seconds.
    """
    patience, began = context.settings.approval_wait, anyio.current_time()
    while True:
        if (verdict := await decided_elsewhere(context, plan)) is not None:
            return verdict
        if await context.state.find_ticket(ticket.code) is None:
            return denied(
                "This request has expired, or its approval was used by the same call.",
                "If the user still wants it, call again.",
            )
        waited = anyio.current_time() - began
        if waited >= patience:
            return None
        await context.mcp.report_progress(waited, patience, says)
        await wait(patience - waited)


async def requested(context: ToolContext, plan: Plan) -> Ticket:
    """The ticket of exactly this call.

    Raises:
        Refused: there is none. Nothing was changed.
    """
    try:
        places = counted(context.settings, plan.environment)
        return await context.state.request_ticket(ticket_request(context, plan), counted=places)
    except StateError as exc:
        raise Refused(f"Approvals outside the conversation do not work: {exc}", "Tell the operator.") from exc


async def refuse_with_ticket(context: ToolContext, plan: Plan) -> Verdict:
    """A code under which a person can approve this call, in this state, outside the conversation."""
    if not context.settings.shares_state:
        return denied("There is no place where approvals could be given.", "Tell the operator: RUNTYPE_MCP_STATE_DIR.")
    ticket = await requested(context, plan)
    return waiting(
        f"A person must approve this outside the conversation. {plan.what()}",
        f"Ask the user to run `runtype-mcp approve {ticket.code}` in a terminal, then repeat this exact call. "
        f"{policy_sentence('human')}",
        ticket.code,
    )


def approval_card(context: ToolContext, plan: Plan) -> dict[str, Any]:
    """What a person is shown of a call, on a page or in a terminal. It leaves the server past the exit of results."""
    settings = context.settings
    card = plan.card() | {
        "apiHost": urlsplit(settings.base_url).netloc,
        "sandbox": settings.sandbox,
        "requestedBy": sanitize_line(context.caller.name, 80),
    }
    return cast(dict[str, Any], context.caller.redactor.redact_json(card))


def ticket_request(context: ToolContext, plan: Plan) -> TicketRequest:
    """The request for a person's decision on exactly this call."""
    owner, card = [context.caller.account], approval_card(context, plan)
    subject_id = plan.token.id if plan.token else ""
    second_person = context.settings.approval_for(plan.environment) == "second-person"
    if second_person:
        # Callers of one account share it: who approves the call of another must not have approved their own with it.
        owner += ["second person", context.caller.subject]
    return TicketRequest(
        # Servers of one user share the tickets: a yes for one account's token is none for another's.
        digest=sha256(plan.digest, *owner),
        # A denial is for the operation on this token, or one more harmless field would ask again.
        scope=sha256(*owner, plan.operation, subject_id or plan.name),
        operation=plan.operation,
        subject_id=card["token"]["id"] if plan.token else "",
        subject_name=card["name"],
        environment=card["environment"],
        card=card,
        base_url=context.settings.base_url,
        requested_by=context.caller.subject,
        second_person=second_person,
    )
