from __future__ import annotations

from typing import Literal

import anyio.to_thread
from pydantic import Field

from runtype_mcp import results
from runtype_mcp.errors import UserInputError
from runtype_mcp.policy import effects
from runtype_mcp.storage import env_file
from runtype_mcp.tools import delivery
from runtype_mcp.tools.arguments import TOKEN, Delivery, NameConfirmed, TokenRef
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.spec import ToolContext, ToolSpec


class GetClientTokenValue(Delivery, NameConfirmed):
    client_token: TokenRef = TOKEN
    deliver: Literal["show", "env_file", "verify"] = Field(  # type: ignore[assignment]  # one way more than its base
        default="show",
        description="show puts the value into this conversation, env_file into a file; verify compares the file",
    )


async def plan(args: GetClientTokenValue, context: ToolContext) -> Plan:
    token = await find(context, args.client_token)
    await delivery.check(context, args, token)
    return Plan.on(
        token,
        operation="get_client_token_value",
        verb="Show the value of",
        arguments=args.given | {"client_token": token.id},
        effects=tuple(effects.showing_value(token) if args.deliver == "show" else ()),
        undo="A shown value can only be replaced (regenerate_client_token)."
        + ("" if context.settings.callers_elsewhere else " To deliver it by env_file is safer."),
        # The hint changes with the value, so an answer about one value never shows another.
        note=f"The value ends with {token.token_hint[-4:]}." if token.token_hint else "",
    )


async def get_client_token_value(args: GetClientTokenValue, context: ToolContext, plan: Plan) -> results.ValueResult:
    """Get the value of a client token, which a page or an app embeds. Showing one that no origin list protects needs
    confirm."""
    assert plan.token is not None
    value = await context.api.get_client_token_value(plan.token.id)
    if args.deliver != "verify":
        delivered = await delivery.deliver(context, args, value)
        return results.ValueResult(client_token=results.summary(plan.token), **delivered)
    place = (delivery.root(context), *args.file_and_variable)
    try:
        same = await anyio.to_thread.run_sync(env_file.same_value, *place, value)
    except env_file.EnvFileError as exc:
        raise UserInputError(str(exc), changed="") from exc
    path, variable = env_file.whole_path(*place[:2]), place[2]
    found = {True: "holds the present value", False: "holds another value", None: "is not set"}[same]
    note = f"{variable} in {path} {found}."
    return results.ValueResult(client_token=results.summary(plan.token), matches=same or False, note=note)


VALUE = ToolSpec(
    get_client_token_value,
    GetClientTokenValue,
    results.ValueResult,
    title="Get client token value",
    scope="reveal",
    plan=plan,
)
