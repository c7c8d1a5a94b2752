from __future__ import annotations

from functools import partial

from runtype_mcp import results
from runtype_mcp.api import models
from runtype_mcp.errors import ClientTokenError, OutcomeUnknown, PermanentError, ValueNotStored
from runtype_mcp.policy import effects
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools import delivery, last_read, reconcile
from runtype_mcp.tools.arguments import TOKEN, Delivery, NameConfirmed, TokenRef
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.spec import ToolContext, ToolSpec


class RegenerateClientToken(Delivery, NameConfirmed):
    client_token: TokenRef = TOKEN


async def plan(args: RegenerateClientToken, context: ToolContext) -> Plan:
    token = await find(context, args.client_token)
    await delivery.check(context, args, token)
    return Plan.on(
        token,
        operation="regenerate_client_token",
        verb="Replace the value of",
        arguments=args.given | {"client_token": token.id},
        effects=tuple(effects.regenerating(token)),
        undo="The old value cannot be brought back. To avoid an outage, create a second token, embed its value, "
        "then delete this one.",
        # The hint changes with the value, so one answer cannot regenerate twice.
        note=f"The present value ends with {token.token_hint[-4:]}." if token.token_hint else "",
    )


async def regenerate_client_token(
    args: RegenerateClientToken, context: ToolContext, plan: Plan
) -> results.SecretResult:
    """Replace a client token's leaked value. The old one stops working immediately, wherever it is embedded; settings
    stay."""
    assert plan.token is not None
    before, note = plan.token, None
    own = await delivery.present_value(context, args, before)
    try:
        made = await context.api.regenerate_client_token(before.id)
        value, hint = made.value, made.client_token.token_hint
        if _ends_alike(value, before):
            await _ensure_changed(context, before, value)
    except OutcomeUnknown as error:
        value, hint = await reconcile.look_again(
            context,
            error,
            partial(_value_now, context, before, error),
            "The value is as before: no new value was made",
            "Before the call is repeated, call get_client_token: a new valueEndsWith means that it was done late.",
        )
        note = reconcile.applied(error)
    # The token that comes with the new value is a reduced one; its settings stayed, but for the hint.
    now = before.model_copy(update={"token_hint": hint})
    await last_read.record(context, now, fields=[*last_read.SUMMARY, "token_hint"])
    return results.SecretResult(
        client_token=results.summary(before),
        note=note,
        next=f"Put the new value wherever the old one is embedded: {_places(before.allowed_origins)}.",
        **await delivery.deliver(context, args, value, own),
    )


def _places(entries: list[str]) -> str:
    """Where a value with these allowed origins is embedded, as far as they tell."""
    sites = [sanitize_line(entry, 100) for entry in entries if entry not in ("*", "native")]
    places = [f"on {', '.join(sites)}"] if sites else []
    if "native" in entries:
        places.append("in apps (native)")
    if "*" in entries or not entries:
        places.append("on sites that only the user knows, since every origin is allowed")
    return "; ".join(places)


def _ends_alike(value: str, before: models.ClientToken) -> bool:
    return bool(before.token_hint) and value.endswith(before.token_hint[-4:])  # type: ignore[index]  # not None here


async def _ensure_changed(context: ToolContext, before: models.ClientToken, value: str) -> None:
    """A 200 is not believed alone: one value in 65,536 ends like the one before, and so does one that stayed."""
    after = await context.api.get_client_token(before.id)
    if after.updated_at == before.updated_at:
        raise PermanentError(
            "The API answered that it made a new value, but the token and the end of its value are as before.",
            "Call get_client_token_value with deliver verify to see which value is valid.",
            changed="Probably nothing was changed.",
        )


async def _value_now(
    context: ToolContext, before: models.ClientToken, error: OutcomeUnknown
) -> tuple[str, str | None] | None:
    """After a lost answer: the value and its hint, if they are new ones."""
    after = await context.api.get_client_token(before.id)
    same_hint = after.token_hint == before.token_hint
    if same_hint and after.updated_at == before.updated_at:
        return None
    if same_hint and not before.token_hint:
        raise reconcile.unclear(
            error,
            "The token was changed, but this API does not tell whether its value was.",
            "Ask the user whether the old value still works before regenerating again.",
            "The old value may have stopped working.",
        )
    try:
        value = await context.api.get_client_token_value(before.id)
    except ClientTokenError as look:
        later = f"Call get_client_token_value for {before.id} once the API answers."
        raise reconcile.unclear(
            error,
            f"The token was changed, but its value cannot be read: {look.what}",
            "Regenerate again once the user agrees." if isinstance(look, ValueNotStored) else later,
            "The old value has probably stopped working.",
        ) from look
    # The token may have been changed by somebody else instead. Then the value still ends as it did.
    return None if same_hint and _ends_alike(value, before) else (value, after.token_hint)


REGENERATE = ToolSpec(
    regenerate_client_token,
    RegenerateClientToken,
    results.SecretResult,
    title="Regenerate client token",
    scope="write",
    plan=plan,
    writes=True,
    destructive=True,
    idempotent=False,
)
