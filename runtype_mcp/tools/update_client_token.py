from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from runtype_mcp import results
from runtype_mcp.api import models
from runtype_mcp.errors import OutcomeUnknown, PermanentError, UserInputError
from runtype_mcp.policy import effects
from runtype_mcp.tools import last_read, reconcile
from runtype_mcp.tools.arguments import (
    NOT_SENT,
    TOKEN,
    Config,
    Id,
    Name,
    NameConfirmed,
    OneForAList,
    Origins,
    SomeTargets,
    Target,
    Targets,
    TokenRef,
    invalid,
)
from runtype_mcp.tools.lookup import find, resolve
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.spec import ToolContext, ToolSpec

Clearable = Literal["default_flow_id", "target_alias", "target_version_id"]
_ALL = "The complete new list, by id or exact name"


class UpdateClientToken(NameConfirmed):
    client_token: TokenRef = TOKEN
    name: Name | None = None
    allowed_origins: Origins | None = Field(default=None, description="The complete new list")
    agent_ids: Targets | None = Field(default=None, description=_ALL)
    flow_ids: SomeTargets | None = Field(default=None, description=_ALL)
    default_flow_id: Target | None = None
    is_active: bool | None = Field(default=None, description="false stops the token, reversibly")
    target_alias: Id | None = Field(default=None, description="Release alias to follow, such as live")
    target_version_id: Id | None = Field(default=None, description="Agent version to pin instead")
    rate_limit_per_minute: models.PerMinute | None = None
    rate_limit_per_hour: models.PerHour | None = None
    max_messages_per_session: models.PerSession | None = None
    session_idle_timeout_minutes: models.IdleMinutes | None = None
    config: Config | None = Field(default=None, description="All display settings; every browser gets them")
    clear: Annotated[list[Clearable], OneForAList] | None = Field(default=None, description="Settings to empty")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_ambiguous(cls, data: Any) -> Any:
        # Elsewhere an empty string means "not given". Here it may mean "take it away". All of them empty come from
        # converters that make a model send every property there is.
        empty = [name for name in get_args(Clearable) if isinstance(data, dict) and data.get(name) == ""]
        if 0 < len(empty) < len(get_args(Clearable)):
            raise ValueError(f'{empty[0]} is empty; to take it away, set clear to ["{empty[0]}"], else leave it out')
        return data

    def change(self, token: models.ClientToken) -> dict[str, Any]:
        """The fields that change, by their names in Python, checked against the token as it is."""
        names = self.model_fields_set & models.UpdateClientToken.model_fields.keys()
        change = {name: getattr(self, name) for name in sorted(names)}
        clear = set(self.clear or ())
        if both := sorted(clear & change.keys()):
            raise ValueError(f"{both[0]} is both set and cleared")
        change |= dict.fromkeys(sorted(clear), None)
        # A token follows one target, so setting one lets go of the other.
        for target, other in (("target_alias", "target_version_id"), ("target_version_id", "target_alias")):
            if change.get(target) is not None and getattr(token, other) is not None and other not in change:
                change[other] = None
        merged = token.model_dump() | change
        models.check_targets(merged["target_alias"], merged["target_version_id"], merged["agent_ids"])
        if change.keys() & {"default_flow_id", "flow_ids"}:
            models.check_default_flow(merged["default_flow_id"], merged["flow_ids"])
        if not merged["agent_ids"] and not merged["flow_ids"] and change.keys() & {"agent_ids", "flow_ids"}:
            raise ValueError("at least one agent or flow must stay")
        return change


async def plan(args: UpdateClientToken, context: ToolContext) -> Plan:
    if not args.clear and not args.model_fields_set & models.UpdateClientToken.model_fields.keys():
        raise UserInputError("No field to update is given.", "Give at least one.", changed=NOT_SENT)
    token = await find(context, args.client_token)
    resolved, names = await resolve(context, args)
    try:
        change = resolved.change(token)
        models.UpdateClientToken(**change)
    except ValidationError as exc:
        raise invalid(exc, list(UpdateClientToken.model_fields)) from None
    except ValueError as exc:
        raise UserInputError(f"{exc}.", "Correct the arguments.", changed=NOT_SENT) from None
    runs = [*change.get("agent_ids", []), *change.get("flow_ids", [])]
    return Plan.on(
        token,
        operation="update_client_token",
        verb="Update",
        arguments=args.given | {"client_token": token.id},
        changes=change,
        effects=tuple(effects.updating(token, change, context.caller.redactor, names)),
        undo="The previous settings can be put back with another update.",
        # What a name stands for now. An approval is bound to it, so a name that moves on is asked about again.
        note=f"Runs: {effects.labels(runs, names)}." if names and runs else "",
    )


async def update_client_token(args: UpdateClientToken, context: ToolContext, plan: Plan) -> results.UpdateResult:
    """Change settings of a client token; they apply immediately. A change that would break what embeds it, or let
    more in, is only previewed until confirm."""
    assert plan.token is not None
    before, change, note = plan.token, dict(plan.changes), None
    try:
        updated = await context.api.update_client_token(before.id, models.UpdateClientToken(**change))
        after, warnings = updated.client_token, reconcile.api_warnings(updated.warnings)
        if reconcile.differing(after, change):
            after = await context.api.get_client_token(before.id)
            others = reconcile.differing(after, change)
            if others and _as_before(before.settings(), after.settings(), change):
                raise PermanentError(
                    f"The API answered that the token was updated, but it is as before: {', '.join(others)}.",
                    "Tell the user; the API may not support this change.",
                )
            warnings += reconcile.not_as_asked(after, change)
    except OutcomeUnknown as error:
        look = partial(_read_again, context, before, change, error)
        found = "The token was read again and is as before: it was not updated"
        after = await reconcile.look_again(context, error, look, found, "The same call may be repeated.")
        warnings, note = [], reconcile.applied(error)
    was, now = before.settings(), after.settings()
    changes = [
        results.Change(field=name, before=results.compact(was[name]), after=results.compact(now[name]))
        for name in now
        if was[name] != now[name] and name != "token_hint"  # what the API puts there may be the value itself
    ]
    await last_read.record(context, after, fields=[*last_read.SUMMARY, *(item.field for item in changes)])
    others = [item.field for item in changes if item.field not in change]
    if was["token_hint"] != now["token_hint"]:
        others.append("its value")
    if others:
        warnings.append(f"Somebody else changed at the same time: {', '.join(others)}.")
    return results.UpdateResult(
        client_token=results.summary(after), changes=changes, warnings=warnings or None, note=note
    )


def _as_before(was: dict[str, Any], now: dict[str, Any], change: dict[str, Any]) -> bool:
    return all(now[name] == was[name] for name in change)


async def _read_again(
    context: ToolContext, before: models.ClientToken, change: dict[str, Any], error: OutcomeUnknown
) -> models.ClientToken | None:
    """After a lost answer: the token, if it has the new settings."""
    after = await context.api.get_client_token(before.id)
    now = after.settings()
    if all(now[name] == value for name, value in change.items()):
        return after
    # Not the settings alone: an older API does not send all of them back.
    if after.updated_at == before.updated_at and _as_before(before.settings(), now, change):
        return None
    raise reconcile.unclear(
        error,
        "The token was changed, but does not have the new settings.",
        "Call get_client_token and decide again.",
        "It is unknown what was changed.",
    )


UPDATE = ToolSpec(
    update_client_token,
    UpdateClientToken,
    results.UpdateResult,
    title="Update client token",
    scope="write",
    plan=plan,
    writes=True,
    destructive=True,
)
