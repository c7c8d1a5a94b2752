"""Approval: preview, confirm and name, a person, the operator's policy. It fails closed.

A call with effects goes ahead only when everything that the operator's policy asks for has said yes. Whatever breaks
on the way (a client that cannot ask, an unusable answer, an error in here) ends in a refusal, and the write is never
reached. Prompts express intent; this enforces it, whatever a model was talked into.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, DeclinedElicitation, ElicitationResult
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import (
    Elicit,
    Resolve,
    build_resolver_plans,
    find_resolved_parameters,
    resolve_arguments,
)
from mcp.shared.exceptions import MCPError
from mcp_types import InputRequiredResult
from pydantic import BaseModel, Field

from runtype_mcp.errors import Refused
from runtype_mcp.policy.sanitize import names_match, sanitize_line
from runtype_mcp.settings import Settings
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.second_person import OfAnother, ask_another
from runtype_mcp.tools.spec import ToolContext
from runtype_mcp.tools.ticket_approval import (
    MODERN,
    OnPage,
    ask_on_page,
    decided_elsewhere,
    page_for,
    refuse_with_ticket,
)
from runtype_mcp.tools.verdict import NOT_AGAIN, Approved, Denied, Preview, Verdict, denied, policy_sentence

MAX_QUESTION = 6000
"""Characters. A person is shown everything that a call would do, or is not asked at all."""


class TypedName(BaseModel):
    """The form that a person fills in. Required, typed, without a default: some clients accept a form unseen."""

    name: str = Field(min_length=1, max_length=255, title="Name of the token", description="Type it to approve.")


@dataclass(frozen=True, slots=True)
class Gated:
    """A gated call on its way through the approval.

    `make_plan` reads the token and works the plan out, anew each time. `confirm` and `expected_name` are the caller's.
    """

    make_plan: Callable[[], Awaitable[Plan]]
    context: ToolContext
    confirm: bool
    expected_name: str | None


def supports_elicitation(context: Context[Any, Any]) -> bool:
    """Whether a person can be asked through this client: yes or no. An error in here is neither, and refuses."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    if context.protocol_version is not None and context.protocol_version >= MODERN:
        return True
    return bool(context.session.can_send_request)


def evaluate(plan: Plan, settings: Settings, confirm: bool, expected_name: str | None) -> Verdict | None:
    """Everything that is decided without asking a person. None: a person is to be asked, if one can be."""
    if not plan.effects:
        return Approved("not gated")
    approval = plan.policy or settings.approval_for(plan.environment)
    if approval == "deny":
        return denied(f"{plan.verb} {plan.subject}: {policy_sentence('deny')}", "Do not retry; tell the user.")
    if len(plan.question()) > MAX_QUESTION:
        # Cut, it would hide what comes last. The caller chooses what that is.
        return denied(
            f"{plan.verb} {plan.subject}: this would do more than a person can be shown at one time.",
            "Split it into several calls.",
        )
    if not confirm:
        return Preview()
    if plan.token is not None and expected_name is None:
        return denied(
            f"confirm came without expected_name, the name of {plan.subject}.",
            "Check with the user that this is the token they mean, then add its name.",
        )
    if plan.token is not None and not names_match(expected_name or "", plan.name):
        return denied(
            f"{sanitize_line(plan.token.id, 128)} is named '{sanitize_line(plan.name, 255)}', "
            f"not '{sanitize_line(expected_name or '', 255)}'.",
            "Find the token that is meant with list_client_tokens.",
        )
    return Approved("flag") if approval == "flag" else None


# What the SDK resolves before the operation runs, on both protocol eras by one path: it asks older clients during the
# call, and newer ones within the answer, running these again when the client comes back. Their module and names are
# part of what a newer client sends back.


async def plan_for(gated: Gated) -> Plan:
    plan = await gated.make_plan()
    return replace(plan, approvals_used=await gated.context.state.approvals_used(plan.digest)) if plan.effects else plan


async def verdict_for(
    gated: Gated, plan: Annotated[Plan, Resolve(plan_for)], context: Context[Any, Any]
) -> Elicit[TypedName] | Verdict | OnPage | OfAnother:
    settings = gated.context.settings
    verdict = evaluate(plan, settings, gated.confirm, gated.expected_name)
    if verdict is not None:
        return verdict
    approval = plan.policy or settings.approval_for(plan.environment)
    if plan.policy is None and (verdict := await decided_elsewhere(gated.context, plan)) is not None:
        return verdict
    if approval == "second-person":
        return OfAnother()
    if supports_elicitation(context):
        return Elicit(gated.context.caller.redactor.redact_text(plan.question()), TypedName)
    if (page := page_for(gated.context)) is not None:
        return page
    if approval == "auto":
        return Approved("flag")
    return await refuse_with_ticket(gated.context, plan)


async def _resolved(
    plan: Annotated[Plan, Resolve(plan_for)], verdict: Annotated[ElicitationResult[TypedName], Resolve(verdict_for)]
) -> None:
    """Carries the annotations that the SDK reads; it is never called."""


_PARAMETERS = find_resolved_parameters(_resolved)
_PLANS = build_resolver_plans(_PARAMETERS, {"gated"})


async def authorize(gated: Gated) -> tuple[Plan, Verdict] | InputRequiredResult:
    """Take a call through the approval.

    Returns:
        The plan and the verdict; or the question, to be answered by a newer client's next request.

    Raises:
        Refused: the client could not put the question to a person. Nothing was changed.
        ClientTokenError: the plan cannot be made, because there is no such token, for example.
    """
    try:
        resolved = await resolve_arguments(_PARAMETERS, _PLANS, {"gated": gated}, gated.context.mcp)
    except (ToolError, MCPError) as exc:
        # An unusable answer (an empty form, the wrong shape), or a client that fails when it is asked.
        raise Refused("The question to a person brought no usable answer.", NOT_AGAIN) from exc
    if isinstance(resolved, InputRequiredResult):
        return resolved
    plan: Plan = resolved["plan"]
    match resolved["verdict"]:
        case AcceptedElicitation(data=(Approved() | Preview() | Denied()) as verdict):
            return plan, verdict
        case AcceptedElicitation(data=OnPage() as page):
            decided = await ask_on_page(gated.context, plan, page)
            return decided if isinstance(decided, InputRequiredResult) else (plan, decided)
        case AcceptedElicitation(data=OfAnother()):
            return plan, await ask_another(gated.context, plan)
        case AcceptedElicitation(data=TypedName() as typed):
            return plan, await _typed(gated.context, plan, typed.name)
        case DeclinedElicitation():
            return plan, denied("No person said yes: the client declined the question.")
        case CancelledElicitation():
            return plan, denied("No person said yes: the question was closed without an answer.")
        case _:
            raise Refused("The question to a person returned an unusable answer.", NOT_AGAIN)


async def _typed(context: ToolContext, plan: Plan, name: str) -> Verdict:
    if not names_match(name, plan.name):
        return denied("The person typed another name than this token's, so nothing went ahead.")
    if not await context.state.use_approval(plan.digest, plan.approvals_used):
        return denied("This answer was used already.")
    return Approved("person")
