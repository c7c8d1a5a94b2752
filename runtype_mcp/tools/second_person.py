"""Approval by a second person: somebody else than the one who asks, with the scope `client_tokens:approve`.

They decide a ticket, by the tool `decide_approval` or on the team's page. `storage/tickets.py` refuses what anybody
decides of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.spec import ToolContext
from runtype_mcp.tools.ticket_approval import decision, requested
from runtype_mcp.tools.verdict import Verdict, denied, policy_sentence, waiting

LOOK_AGAIN = 1.0
"""Seconds until a decision is noticed, whichever server it was made on."""


@dataclass(frozen=True, slots=True)
class OfAnother:
    """Another person is to decide."""


async def ask_another(context: ToolContext, plan: Plan) -> Verdict:
    """Have the call wait for another person, for as long as clients wait for an answer."""
    if not context.caller.subject:
        return denied("It is not known who calls, so nobody could be another person.", "Tell the operator.")
    ticket = await requested(context, plan)

    async def pause(seconds: float) -> None:
        await context.services.sleep(min(LOOK_AGAIN, seconds))

    verdict = await decision(context, plan, ticket, "Another person is asked to approve.", pause)
    return verdict or waiting(
        f"Another person must approve this call, and nobody has decided yet ({ticket.code}). {plan.what()}",
        f"Tell the user the code {ticket.code}. A colleague who may approve can decide it with list_approvals and "
        f"decide_approval{_page(context)}. Then repeat this exact call, within 15 minutes. "
        f"{policy_sentence('second-person')}",
        ticket.code,
    )


def _page(context: ToolContext) -> str:
    settings = context.settings
    return f", or on {settings.public_url}/approvals/" if settings.oidc_client_id else ""
