from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationError

from runtype_mcp import results
from runtype_mcp.api import models
from runtype_mcp.errors import ClientTokenError, OutcomeUnknown, PermanentError, UserInputError, ValueNotStored
from runtype_mcp.policy import effects
from runtype_mcp.tools import delivery, last_read, reconcile
from runtype_mcp.tools.arguments import Config, Confirmable, Delivery, Id, Name, Origins, Target, Targets, invalid
from runtype_mcp.tools.lookup import resolve
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.spec import ToolContext, ToolSpec


class CreateClientToken(Delivery, Confirmable):
    name: Name = Field(description="A name that people recognise")
    allowed_origins: Origins = Field(
        description="Where it works: https://host[:port], https://*.host for subdomains, * for all, native for apps"
    )
    agent_ids: Targets = Field(
        default=[], description="Agents it may run, by id or exact name; an agent or a flow is needed"
    )
    flow_ids: Targets = Field(default=[], description="Flows it may run, by id or exact name")
    default_flow_id: Target | None = Field(default=None, description="Flow that runs where none is named")
    environment: Literal["test", "live"] = Field(default="test", description="test unless given; fixed for good")
    product_surface_id: Id | None = Field(default=None, description="Chat surface that governs it; fixed for good")
    target_alias: Id | None = Field(default=None, description="Release alias to follow, such as live")
    target_version_id: Id | None = Field(default=None, description="Agent version to pin instead")
    rate_limit_per_minute: models.PerMinute = Field(default=10, description="10 unless given")
    rate_limit_per_hour: models.PerHour = Field(default=100, description="100 unless given")
    max_messages_per_session: models.PerSession = Field(default=100, description="100 unless given")
    session_idle_timeout_minutes: models.IdleMinutes = Field(default=30, description="30 unless given")
    config: Config = Field(default={}, description="Display settings; every browser gets them")
    allow_duplicate_name: bool = Field(default=False, description="Create it even if the name exists")

    def request(self) -> models.CreateClientToken:
        """The body. The environment is always said: the API's own default is live."""
        fields = {
            name: getattr(self, name) for name in self.model_fields_set & models.CreateClientToken.model_fields.keys()
        }
        try:
            return models.CreateClientToken(**fields | {"environment": self.environment})
        except ValidationError as exc:
            raise invalid(exc, list(type(self).model_fields)) from None


@dataclass(frozen=True, kw_only=True)
class CreatePlan(Plan):
    """`existing_ids`: tokens of this name that were there before."""

    request: models.CreateClientToken
    existing_ids: frozenset[str]


async def plan(args: CreateClientToken, context: ToolContext) -> CreatePlan:
    context.api.check_environment(args.environment, f"environment is {args.environment}")
    resolved, names = await resolve(context, args)
    request = resolved.request()
    await delivery.check(context, args)
    twins = await _named(context, request)
    if twins and not args.allow_duplicate_name:
        raise UserInputError(
            f"There is a {args.environment} client token of this name: "
            f"{'; '.join(results.one_line(twin) for twin in twins[:5])}.",
            "Use or update it, or set allow_duplicate_name to create another.",
        )
    found = effects.creating(
        args.allowed_origins, args.environment, args.config, args.target_alias, context.caller.redactor
    )
    return CreatePlan(
        operation="create_client_token",
        verb="Create",
        arguments=args.given,
        token=None,
        name=args.name,
        environment=args.environment,
        effects=tuple(found),
        undo="It can be deactivated or deleted later. Exact https origins are safer.",
        # Another token of the name changes the question, so one answer cannot create two.
        note=f"Allowed origins: {', '.join(args.allowed_origins)}. "
        f"Runs: {effects.labels([*request.agent_ids, *request.flow_ids], names)}. "
        f"Tokens of this name so far: {len(twins)}.",
        request=request,
        existing_ids=frozenset(twin.id for twin in twins),
    )


async def create_client_token(args: CreateClientToken, context: ToolContext, plan: CreatePlan) -> results.SecretResult:
    """Create a client token, and get its value to embed. A name that exists is refused. Origins that let anybody in
    are only previewed until confirm."""
    note = None
    try:
        made = await context.api.create_client_token(plan.request)
        token, value, warnings = made.client_token, made.value, reconcile.api_warnings(made.warnings)
        warnings += reconcile.not_as_asked(token, _asked(plan.request))
    except OutcomeUnknown as error:
        token = await _appeared(context, plan, error)
        value, warnings, note = await _value_of(context, token, error), [], reconcile.applied(error)
    await last_read.record(context, token)
    delivered = await delivery.deliver(context, args, value)
    warnings += delivered.pop("warnings", None) or []
    return results.SecretResult(
        client_token=results.summary(token),
        warnings=warnings or None,
        note=note,
        next=_embed(token),
        **delivered,
    )


def _embed(token: models.ClientToken) -> str:
    kind, runs = ("agent", token.agent_ids) if token.agent_ids else ("flow", token.flow_ids)
    # Escaped: the ids come from the API, and somebody pastes this into a page.
    run = f' data-{kind}-id="{html.escape(runs[0])}"' if runs else ""
    page = (
        'Embed: <script src="https://cdn.runtype.com/persona/latest/install.global.js" '
        f'data-runtype-token="VALUE"{run}></script>'
    )
    app = f"the value is the clientToken of its widget{f', for the {kind} {html.escape(runs[0])}' if runs else ''}."
    who = effects.embedders(token.allowed_origins)
    return page if who == "page" else f"In the app, {app}" if who == "app" else f"{page} In an app, {app}"


async def _named(context: ToolContext, request: models.CreateClientToken) -> list[models.ClientToken]:
    found: list[models.ClientToken] = []
    async for page in context.client_tokens():
        found += [token for token in page if token.name == request.name and token.environment == request.environment]
    return found


async def _appeared(context: ToolContext, plan: CreatePlan, error: OutcomeUnknown) -> models.ClientToken:
    """After a lost answer: the token that appeared, if it can be no other."""

    async def look() -> list[models.ClientToken] | None:
        return [token for token in await _named(context, plan.request) if token.id not in plan.existing_ids] or None

    new = await reconcile.look_again(
        context,
        error,
        look,
        "No new token of this name has appeared: it was not created",
        "The same call may be repeated; should the token appear after all, the repeat is refused.",
    )
    if len(new) == 1 and not reconcile.differing(new[0], _asked(plan.request)):
        return new[0]
    raise reconcile.unclear(
        error,
        "New tokens of this name appeared, which somebody else may have made: "
        f"{'; '.join(results.one_line(token) for token in new[:5])}.",
        "Ask the user which to keep.",
        "It is unknown which of them this call created, if any.",
    )


def _asked(request: models.CreateClientToken) -> dict[str, Any]:
    return request.model_dump(exclude={"pin_to_version"})


async def _value_of(context: ToolContext, token: models.ClientToken, error: OutcomeUnknown) -> str:
    """After a lost answer: the value of the token that appeared."""
    try:
        return await context.api.get_client_token_value(token.id)
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
    scope="write",
    plan=plan,
    writes=True,
    idempotent=False,
)
