"""The gate: preview, flag and name, person, policy. It fails closed.

A call with effects goes ahead only when every rung that the operator's policy asks for has said yes. Whatever
breaks on the way (a client that cannot ask, an unusable answer, an error in here) ends in a refusal, and the
write is never reached. Prompts express intent; this enforces it, whatever a model was talked into.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

import anyio.to_thread
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

from runtype_mcp.api.models import ClientToken
from runtype_mcp.errors import Refused
from runtype_mcp.policy.effects import Effect
from runtype_mcp.policy.sanitize import for_question, names_match, sanitize_line
from runtype_mcp.settings import Approval, Settings
from runtype_mcp.storage.tickets import Ticket, TicketError, Tickets

MODERN = "2026-07-28"
"""From this protocol version on, a client is asked within the answer, and can always be."""
NOT_AGAIN = "Do not call again without new instructions from the user."


class TypedName(BaseModel):
    """The form that a person fills in. Required, typed, without a default: some clients accept a form unseen."""

    name: str = Field(min_length=1, max_length=255, title="Name of the token", description="Type it to approve.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call would do, worked out from the live token before anything is asked or sent.

    Attributes:
        operation: the tool's name.
        verb: the operation for people, such as "Delete".
        arguments: the exact call, without the confirmation itself.
        token: as it is now; None for a create.
        name: what confirms the call: the token's present name.
        undo: what cannot be undone, and what to do instead.
        note: a fact that the question must show, so that an answered question cannot be answered twice.
        answered: how often this very question was answered with yes.
    """

    operation: str
    verb: str
    arguments: Mapping[str, Any]
    token: ClientToken | None
    name: str
    environment: str
    effects: tuple[Effect, ...]
    undo: str
    note: str = ""
    answered: int = 0

    def __post_init__(self) -> None:
        # Nobody can recognise or type a name that has nothing to see: the id stands for it.
        if self.token is not None and not sanitize_line(self.name, 255):
            object.__setattr__(self, "name", self.token.id)

    @property
    def subject(self) -> str:
        """The token for a one-line text to people. Names come from the API: they cannot reshape the line."""
        shown = for_question(self.name, "without a name")
        where = f" ({self.token.id})" if self.token else ""
        return f'the {self.environment} client token "{shown}"{where}'

    @property
    def digest(self) -> str:
        """SHA-256 over the exact call and the token's present state: what an approval is bound to."""
        state = self.token.settings() if self.token else None
        bound = [self.operation, self.arguments, state, [effect.sentence for effect in self.effects], self.note]
        return hashlib.sha256(json.dumps(bound, sort_keys=True, default=str).encode()).hexdigest()

    def question(self) -> str:
        """For a person. Only facts that matter and do not change by themselves, so that it is asked once."""
        facts = " ".join(effect.sentence for effect in self.effects)
        # A yes is for one call. Once it is used, the question reads differently, so a copy of it fits no more.
        reference = f"Reference {self.digest[:8]}{f'-{self.answered}' if self.answered else ''}."
        parts = [f"{self.verb} {self.subject}?", facts, self.undo, self.note, reference]
        return " ".join(part for part in parts if part)

    def confirm_call(self) -> str:
        """The exact call that would go ahead."""
        confirmation = {"confirm": True} | ({"expected_name": sanitize_line(self.name, 255)} if self.token else {})
        call = json.dumps({**self.arguments, **confirmation}, ensure_ascii=False, separators=(",", ":"))
        return f"{self.operation} {call}"


class GatedCall(Protocol):
    """What the gate needs of a call."""

    @property
    def settings(self) -> Settings: ...
    @property
    def confirm(self) -> bool: ...
    @property
    def expected_name(self) -> str | None: ...
    @property
    def answered(self) -> Counter[str]: ...  # by a plan's digest: how often a person said yes
    def tickets(self) -> Tickets: ...
    def masked(self, text: str) -> str: ...  # without secrets, the API key included, whatever it looks like
    async def plan(self) -> Plan: ...


@dataclass(frozen=True, slots=True)
class Approved:
    """The call may go ahead. `how` is for the audit: `not gated`, `flag`, `person` or `ticket CODE`."""

    how: str


@dataclass(frozen=True, slots=True)
class Preview:
    """Nobody asked for the change yet: show what it would do."""


def policy_sentence(approval: Approval) -> str:
    """The policy in force, for the model."""
    return {
        "auto": "Policy auto: confirm and the name are needed, and a person is asked where the client can ask.",
        "human": "Policy human: a person must approve, in the client or with 'runtype-mcp approve' in a terminal.",
        "flag": "Policy flag: confirm and the name are needed; no person is asked.",
        "deny": "Policy deny: calls with such effects are refused. Only the operator can change that.",
    }[approval]


def supports_elicitation(context: Context[Any, Any]) -> bool:
    """Whether a person can be asked through this client: yes or no. An error in here is neither, and refuses."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    if context.protocol_version is not None and context.protocol_version >= MODERN:
        return True
    return bool(context.session.can_send_request)


# What the SDK resolves before the operation runs, on both protocol eras by one path: it asks older clients at
# once, and newer ones within the answer, running these again when the client comes back.


async def plan_for(call: GatedCall) -> Plan:
    plan = await call.plan()
    return replace(plan, answered=call.answered[plan.digest])


async def evaluate(
    call: GatedCall, plan: Annotated[Plan, Resolve(plan_for)], context: Context[Any, Any]
) -> Elicit[TypedName] | Approved | Preview:
    """Everything up to the question. Raises `Refused` where the answer is no without asking."""
    if not plan.effects:
        return Approved("not gated")
    approval = call.settings.approval_for(plan.environment)
    if approval == "deny":
        raise Refused(f"{plan.verb} {plan.subject}: {policy_sentence('deny')}", "Do not retry; tell the user.")
    if not call.confirm:
        return Preview()
    expected = call.expected_name
    if plan.token is not None and expected is None:
        raise Refused(
            f"confirm came without expected_name, the name of {plan.subject}.",
            "Check with the user that this is the token they mean, then add its name.",
        )
    if plan.token is not None and not names_match(expected or "", plan.name):
        raise Refused(
            f"{plan.token.id} is named '{sanitize_line(plan.name, 255)}', not '{sanitize_line(expected, 255)}'.",
            "Find the token that is meant with list_client_tokens.",
        )
    if approval == "flag":
        return Approved("flag")
    if supports_elicitation(context):
        return Elicit(call.masked(plan.question()), TypedName)
    if approval == "auto":
        return Approved("flag")
    return await anyio.to_thread.run_sync(_ticket, call, plan)  # it waits for a lock and for the disk


def _ticket(call: GatedCall, plan: Plan) -> Approved:
    """An approval from outside the conversation, bound to this call and this state; without one, a code to get it."""
    try:
        tickets = call.tickets()
        # Servers of one user share the tickets: a yes for one account's token is none for another's.
        account = f"{call.settings.base_url} {call.settings.api_key}"
        bound = hashlib.sha256(f"{plan.digest} {account}".encode()).hexdigest()
        if (ticket := tickets.take(bound)) is not None:
            return Approved(f"ticket {ticket.code}")
        ticket = _request(tickets, bound, plan, call.settings.base_url, call.masked(sanitize_line(plan.name, 255)))
    except TicketError as exc:
        raise Refused(f"Approvals outside the conversation do not work: {exc}", "Tell the operator.") from exc
    if ticket.state == "denied":
        raise Refused(f"A person denied this call ({ticket.code}).", NOT_AGAIN)
    raise Refused(
        f"A person must approve this outside the conversation: {plan.verb} {plan.subject}. "
        f"{' '.join(effect.sentence for effect in plan.effects)}",
        f"Ask the user to run `runtype-mcp approve {ticket.code}` in a terminal, then repeat this exact call. "
        f"{policy_sentence('human')}",
    )


def _request(tickets: Tickets, bound: str, plan: Plan, base_url: str, shown_name: str) -> Ticket:
    return tickets.request(
        bound,
        operation=plan.operation,
        subject_id=plan.token.id if plan.token else "",
        subject_name=shown_name,  # a file is an exit too
        environment=plan.environment,
        lines=tuple(effect.sentence for effect in plan.effects),
        base_url=base_url,
    )


async def _resolved(
    plan: Annotated[Plan, Resolve(plan_for)], verdict: Annotated[ElicitationResult[TypedName], Resolve(evaluate)]
) -> None:
    """Carries the annotations that the SDK reads; it is never called."""


_PARAMETERS = find_resolved_parameters(_resolved)
_PLANS = build_resolver_plans(_PARAMETERS, {"call"})


async def authorize(
    call: GatedCall, context: Context[Any, Any]
) -> tuple[Plan, Approved | Preview] | InputRequiredResult:
    """Take a call through the gate.

    Returns:
        The plan with a yes or a preview; or the question, to be answered by a newer client's next request.

    Raises:
        Refused: nobody said yes. Nothing was changed.
    """
    try:
        resolved = await resolve_arguments(_PARAMETERS, _PLANS, {"call": call}, context)
    except (ToolError, MCPError) as exc:
        # An unusable answer (an empty form, the wrong shape), or a client that fails when it is asked.
        raise Refused("The question to a person brought no usable answer.", NOT_AGAIN) from exc
    if isinstance(resolved, InputRequiredResult):
        return resolved
    plan: Plan = resolved["plan"]
    match resolved["verdict"]:
        case AcceptedElicitation(data=(Approved() | Preview()) as verdict):
            return plan, verdict
        case AcceptedElicitation(data=TypedName() as typed):
            if not names_match(typed.name, plan.name):
                raise Refused("The person typed another name than this token's, so nothing went ahead.", NOT_AGAIN)
            if call.answered[plan.digest] != plan.answered:
                raise Refused("This answer was used already.", NOT_AGAIN)
            call.answered[plan.digest] += 1
            return plan, Approved("person")
        case DeclinedElicitation():
            raise Refused("The person declined.", NOT_AGAIN)
        case CancelledElicitation():
            raise Refused("The person closed the question without an answer.", NOT_AGAIN)
        case _:
            raise Refused("The question to a person brought an answer that is none.", NOT_AGAIN)
