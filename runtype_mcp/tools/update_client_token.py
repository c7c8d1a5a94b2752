from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from runtype_mcp import results
from runtype_mcp.api import models
from runtype_mcp.errors import ClientTokenError, OutcomeUnknown, UserInputError
from runtype_mcp.policy import effects
from runtype_mcp.tools import reconcile
from runtype_mcp.tools.approval import Plan
from runtype_mcp.tools.arguments import (
    Config,
    Flows,
    Id,
    Ids,
    Name,
    NameConfirmed,
    OneForAList,
    Origins,
    TokenRef,
    first_problem,
)
from runtype_mcp.tools.last_read import SUMMARY
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.spec import Call, ToolSpec

Clearable = Literal["default_flow_id", "target_alias", "target_version_id"]


class UpdateClientToken(NameConfirmed):
    client_token: TokenRef = Field(description="Id or exact name")
    name: Name | None = Field(default=None, description="New label")
    allowed_origins: Origins | None = Field(default=None, description="Whole list")
    agent_ids: Ids | None = Field(default=None, description="Whole list")
    flow_ids: Flows | None = Field(default=None, description="Whole list")
    default_flow_id: Id | None = Field(default=None, description="One of its flows")
    is_active: bool | None = Field(default=None, description="false stops it")
    target_alias: Id | None = Field(default=None, description="Release to follow")
    target_version_id: Id | None = Field(default=None, description="Or its one agent's version")
    rate_limit_per_minute: models.PerMinute | None = Field(default=None, description="Requests")
    rate_limit_per_hour: models.PerHour | None = Field(default=None, description="Requests")
    max_messages_per_session: models.PerSession | None = Field(default=None, description="Messages")
    session_idle_timeout_minutes: models.IdleMinutes | None = Field(default=None, description="Minutes")
    config: Config | None = Field(default=None, description="Whole object")
    clear: Annotated[list[Clearable], OneForAList] | None = Field(default=None, description="Empty these")

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


async def plan(args: UpdateClientToken, call: Call) -> Plan:
    if not args.clear and not args.model_fields_set & models.UpdateClientToken.model_fields.keys():
        raise UserInputError("No field to update is given.", "Give at least one.", changed="Nothing was sent.")
    token = await find(call, args.client_token)
    try:
        change = args.change(token)
        models.UpdateClientToken(**change)
    except ValidationError as exc:
        raise UserInputError(first_problem(exc), "Correct the arguments.", changed="Nothing was sent.") from None
    except ValueError as exc:
        raise UserInputError(f"{exc}.", "Correct the arguments.", changed="Nothing was sent.") from None
    call.change = change
    return Plan(
        operation="update_client_token",
        verb="Update",
        arguments=args.given | {"client_token": token.id},
        token=token,
        name=token.display_name,
        environment=token.environment,
        effects=tuple(effects.updating(token, change)),
        undo="The settings before can be put back with another update.",
    )


async def update_client_token(args: UpdateClientToken, call: Call) -> results.UpdateResult:
    """Change given settings, live at once. Changes that break or expose something need confirm."""
    assert call.decided is not None
    assert call.decided.token is not None
    before, change = call.decided.token, call.change
    note = None
    try:
        updated = await call.api.update_client_token(before.id, models.UpdateClientToken(**change))
        after, warnings = updated.client_token, [warning.message for warning in updated.warnings]
    except OutcomeUnknown as error:
        after, warnings, note = await _read_again(call, before, change, error), [], reconcile.applied(error)
    was, now = before.settings(), after.settings()
    changes = [
        results.Change(field=name, before=results.compact(was[name]), after=results.compact(now[name]))
        for name in now
        if was[name] != now[name] and name != "token_hint"  # what the API puts there may be the value itself
    ]
    call.show(after, [*SUMMARY, *(item.field for item in changes)])
    strangers = [item.field for item in changes if item.field not in change]
    if was["token_hint"] != now["token_hint"]:
        strangers.append("its value")
    if strangers:
        warnings.append(f"Somebody else changed at the same time: {', '.join(strangers)}.")
    return results.UpdateResult(
        client_token=results.summary(after), changes=changes, warnings=warnings or None, note=note
    )


async def _read_again(
    call: Call, before: models.ClientToken, change: dict[str, Any], error: OutcomeUnknown
) -> models.ClientToken:
    """After a lost answer: the token, if it has the new settings."""
    for pause in reconcile.PAUSES:
        await asyncio.sleep(pause)
        try:
            after = await call.api.get_client_token(before.id)
        except ClientTokenError as look:
            raise reconcile.undetermined(error, look) from look
        was, now = before.settings(), after.settings()
        if all(now[name] == value for name, value in change.items()):
            return after
        # Not the settings alone: an older API does not send all of them back.
        if after.updated_at != before.updated_at or any(now[name] != was[name] for name in change):
            raise OutcomeUnknown(
                f"The API's answer was lost. {error.what} The token was changed, but does not have the new settings.",
                "Call get_client_token and decide again.",
                changed="It is unknown what was changed.",
            )
    raise reconcile.not_applied_yet(
        error, "The token was read again and is as before: it was not updated", "The same call may be repeated."
    )


UPDATE = ToolSpec(
    update_client_token,
    UpdateClientToken,
    results.UpdateResult,
    title="Update client token",
    planned=plan,
    writes=True,
    destructive=True,
)
