from __future__ import annotations

import asyncio

from pydantic import Field

from runtype_mcp import results
from runtype_mcp.api import models
from runtype_mcp.errors import ClientTokenError, OutcomeUnknown, ValueNotStored
from runtype_mcp.policy import effects
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools import delivery, reconcile
from runtype_mcp.tools.approval import Plan
from runtype_mcp.tools.arguments import Delivery, NameConfirmed, TokenRef
from runtype_mcp.tools.last_read import SUMMARY
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.spec import Call, ToolSpec


class RegenerateClientToken(Delivery, NameConfirmed):
    client_token: TokenRef = Field(description="Id or exact name")


async def plan(args: RegenerateClientToken, call: Call) -> Plan:
    token = await find(call, args.client_token)
    await delivery.check(call, args)
    return Plan(
        operation="regenerate_client_token",
        verb="Replace the value of",
        arguments=args.given | {"client_token": token.id},
        token=token,
        name=token.display_name,
        environment=token.environment,
        effects=tuple(effects.regenerating()),
        undo="The old value cannot be brought back. Without an outage: create a second token, swap, delete this one.",
        # The hint changes with the value, so one answer cannot regenerate twice.
        note=f"The present value ends with {token.token_hint[-4:]}." if token.token_hint else "",
    )


async def regenerate_client_token(args: RegenerateClientToken, call: Call) -> results.SecretResult:
    """Replace a leaked value. The old one dies at once; settings stay."""
    assert call.decided is not None
    assert call.decided.token is not None
    before = call.decided.token
    note = None
    try:
        made = await call.api.regenerate_client_token(before.id)
        value, hint = made.value, made.client_token.token_hint
    except OutcomeUnknown as error:
        (value, hint), note = await _value_now(call, before, error), reconcile.applied(error)
    # The token that comes with the new value is a reduced one; its settings stayed, but for the hint.
    call.show(before.model_copy(update={"token_hint": hint}), [*SUMMARY, "token_hint"])
    places = ", ".join(sanitize_line(entry, 100) for entry in before.allowed_origins)
    return results.SecretResult(
        client_token=results.summary(before),
        note=note,
        next=f"Put the new value into every page on: {places}.",
        **await delivery.deliver(call, args, value),
    )


async def _value_now(call: Call, before: models.ClientToken, error: OutcomeUnknown) -> tuple[str, str | None]:
    """After a lost answer: the value and its hint, if they are new ones."""
    for pause in reconcile.PAUSES:
        await asyncio.sleep(pause)
        try:
            after = await call.api.get_client_token(before.id)
        except ClientTokenError as look:
            raise reconcile.undetermined(error, look) from look
        same_hint = after.token_hint == before.token_hint
        if same_hint and after.updated_at == before.updated_at:
            continue
        if same_hint and not before.token_hint:
            raise OutcomeUnknown(
                f"The API's answer was lost. {error.what} The token was changed, but this API does not tell whether "
                "its value was.",
                "Ask the user whether the old value still works before regenerating again.",
                changed="The old value may have stopped working.",
            )
        try:
            value = await call.api.get_client_token_value(before.id)
        except ClientTokenError as look:
            later = f"Call get_client_token_value for {before.id} once the API answers."
            raise OutcomeUnknown(
                f"The API's answer was lost. {error.what} The token was changed, but its value cannot be read: "
                f"{look.what}",
                "Regenerate again once the user agrees." if isinstance(look, ValueNotStored) else later,
                changed="The old value has probably stopped working.",
            ) from look
        # The token may have been changed by somebody else instead. Then the value still ends as it did.
        if not (same_hint and before.token_hint and value.endswith(before.token_hint[-4:])):
            return value, after.token_hint
    raise reconcile.not_applied_yet(
        error,
        "The value is as before: no new value was made",
        "Before the call is repeated, call get_client_token: a new valueEndsWith means that it was done late.",
    )


REGENERATE = ToolSpec(
    regenerate_client_token,
    RegenerateClientToken,
    results.SecretResult,
    title="Regenerate client token",
    planned=plan,
    writes=True,
    destructive=True,
    idempotent=False,
)
