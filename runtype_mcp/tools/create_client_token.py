from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import Field, ValidationError

from runtype_mcp import results
from runtype_mcp.api import models
from runtype_mcp.errors import (
    ClientTokenError,
    OutcomeUnknown,
    PermanentError,
    Refused,
    UserInputError,
    ValueNotStored,
)
from runtype_mcp.policy import effects
from runtype_mcp.tools import delivery, reconcile
from runtype_mcp.tools.approval import Plan
from runtype_mcp.tools.arguments import Config, Confirmable, Delivery, Id, Ids, Name, Origins, first_problem
from runtype_mcp.tools.lookup import locked
from runtype_mcp.tools.spec import Call, ToolSpec


class CreateClientToken(Delivery, Confirmable):
    name: Name = Field(description="Label")
    allowed_origins: Origins = Field(description="scheme://host[:port], https://*.host, * or native")
    agent_ids: Ids = Field(default=[], description="Agents it runs")
    flow_ids: Ids = Field(default=[], description="And/or flows")
    default_flow_id: Id | None = Field(default=None, description="One of flow_ids")
    environment: Literal["test", "live"] = Field(default="test", description="Fixed for good")
    product_surface_id: Id | None = Field(default=None, description="Fixed for good")
    target_alias: Id | None = Field(default=None, description="Release to follow")
    target_version_id: Id | None = Field(default=None, description="Or its one agent's version")
    rate_limit_per_minute: models.PerMinute = Field(default=10, description="Requests")
    rate_limit_per_hour: models.PerHour = Field(default=100, description="Requests")
    max_messages_per_session: models.PerSession = Field(default=100, description="Messages")
    session_idle_timeout_minutes: models.IdleMinutes = Field(default=30, description="Minutes")
    config: Config = Field(default={}, description="Public display settings")
    allow_duplicate_name: bool = Field(default=False, description="Even so")

    def request(self) -> models.CreateClientToken:
        """The body. The environment is always said: the API's own default is live."""
        fields = {
            name: getattr(self, name) for name in self.model_fields_set & models.CreateClientToken.model_fields.keys()
        }
        try:
            return models.CreateClientToken(**fields | {"environment": self.environment})
        except ValidationError as exc:
            raise UserInputError(first_problem(exc), "Correct the arguments.", changed="Nothing was sent.") from None


async def plan(args: CreateClientToken, call: Call) -> Plan:
    args.request()
    if call.settings.environment not in (None, args.environment):
        raise Refused(locked(call.settings, f"environment is {args.environment}"), "Do not retry; tell the user.")
    await delivery.check(call, args)
    twins = await _named(call, args)
    if twins and not args.allow_duplicate_name:
        raise UserInputError(
            f"There is a {args.environment} client token of this name: {'; '.join(map(results.one_line, twins[:5]))}.",
            "Use or update it, or set allow_duplicate_name to create another.",
        )
    call.known = {twin.id for twin in twins}
    return Plan(
        operation="create_client_token",
        verb="Create",
        arguments=args.given,
        token=None,
        name=args.name,
        environment=args.environment,
        effects=tuple(effects.creating(args.allowed_origins, args.environment, args.config)),
        undo="It can be deactivated or deleted later. Safer: exact https origins.",
        # Another token of the name changes the question, so one answer cannot create two.
        note=f"Allowed origins: {', '.join(args.allowed_origins)}. Tokens of this name so far: {len(twins)}.",
    )


async def create_client_token(args: CreateClientToken, call: Call) -> results.SecretResult:
    """Create a token and get its value to embed. Repeated names are refused; open origins need confirm."""
    note = None
    try:
        made = await call.api.create_client_token(args.request())
        token, value, warnings = made.client_token, made.value, made.warnings
    except OutcomeUnknown as error:
        token = await _appeared(call, args, error)
        value, warnings, note = await _value_of(call, token, error), [], reconcile.applied(error)
    call.show(token)
    delivered = await delivery.deliver(call, args, value)
    messages = [warning.message for warning in warnings] + (delivered.pop("warnings", None) or [])
    kind, runs = ("agent", token.agent_ids) if token.agent_ids else ("flow", token.flow_ids)
    return results.SecretResult(
        client_token=results.summary(token),
        warnings=messages or None,
        note=note,
        next=(
            'Embed: <script src="https://cdn.runtype.com/persona/latest/install.global.js" '
            f'data-runtype-token="VALUE" data-{kind}-id="{runs[0] if runs else ""}"></script>'
        ),
        **delivered,
    )


async def _named(call: Call, args: CreateClientToken) -> list[models.ClientToken]:
    found: list[models.ClientToken] = []
    async for page in call.api.iterate_client_tokens():
        found += [token for token in page if token.name == args.name and token.environment == args.environment]
    return found


async def _appeared(call: Call, args: CreateClientToken, error: OutcomeUnknown) -> models.ClientToken:
    """After a lost answer: the token that appeared, if it can be no other."""
    new: list[models.ClientToken] = []
    for pause in reconcile.PAUSES:
        await asyncio.sleep(pause)
        try:
            new = [token for token in await _named(call, args) if token.id not in call.known]
        except ClientTokenError as look:
            raise reconcile.undetermined(error, look) from look
        if len(new) == 1 and _as_asked(new[0], args):
            return new[0]
    if not new:
        raise reconcile.not_applied_yet(
            error,
            "No new token of this name has appeared: it was not created",
            "The same call may be repeated; should the token appear after all, the repeat is refused.",
        )
    raise OutcomeUnknown(
        f"The API's answer was lost. {error.what} New tokens of this name appeared, which somebody else may have made: "
        f"{'; '.join(map(results.one_line, new[:5]))}.",
        "Ask the user which to keep.",
        changed="It is unknown which of them this call created, if any.",
    )


def _as_asked(token: models.ClientToken, args: CreateClientToken) -> bool:
    """Whether a token may be the one that was asked for: somebody else's of the same name runs or admits others."""
    return all(
        set(getattr(token, name)) == set(getattr(args, name)) for name in ("allowed_origins", "agent_ids", "flow_ids")
    )


async def _value_of(call: Call, token: models.ClientToken, error: OutcomeUnknown) -> str:
    """After a lost answer: the value of the token that appeared."""
    try:
        return await call.api.get_client_token_value(token.id)
    except ClientTokenError as look:
        later = f"Call get_client_token_value for {token.id} once the API answers; do not create it again."
        raise PermanentError(
            f"The API's answer was lost. {error.what} {token.id} was created; its value cannot be read: {look.what}",
            look.next_step if isinstance(look, ValueNotStored) else later,
            changed="",
        ) from look


CREATE = ToolSpec(
    create_client_token,
    CreateClientToken,
    results.SecretResult,
    title="Create client token",
    planned=plan,
    writes=True,
    idempotent=False,
)
