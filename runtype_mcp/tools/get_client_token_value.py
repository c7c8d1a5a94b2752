from __future__ import annotations

from typing import Literal

import anyio.to_thread
from pydantic import Field

from runtype_mcp import results
from runtype_mcp.errors import UserInputError
from runtype_mcp.policy import effects
from runtype_mcp.storage import env_file
from runtype_mcp.tools import delivery
from runtype_mcp.tools.approval import Plan
from runtype_mcp.tools.arguments import Delivery, NameConfirmed, TokenRef
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.spec import Call, ToolSpec


class GetClientTokenValue(Delivery, NameConfirmed):
    client_token: TokenRef = Field(description="Id or exact name")
    deliver: Literal["show", "env_file", "verify"] = Field(  # type: ignore[assignment]  # one way more than its base
        default="show", description="verify: compare file"
    )


async def plan(args: GetClientTokenValue, call: Call) -> Plan:
    token = await find(call, args.client_token)
    await delivery.check(call, args)
    return Plan(
        operation="get_client_token_value",
        verb="Show the value of",
        arguments=args.given | {"client_token": token.id},
        token=token,
        name=token.display_name,
        environment=token.environment,
        effects=tuple(effects.showing_value(token) if args.deliver == "show" else ()),
        undo="A value that was shown can only be replaced (regenerate). Safer: deliver env_file.",
        # The hint changes with the value, so an answer about one value never shows another.
        note=f"The value ends with {token.token_hint[-4:]}." if token.token_hint else "",
    )


async def get_client_token_value(args: GetClientTokenValue, call: Call) -> results.ValueResult:
    """Get the secret that pages embed. Showing an open-origin one needs confirm."""
    assert call.decided is not None
    assert call.decided.token is not None
    token = call.decided.token
    value = await call.api.get_client_token_value(token.id)
    if args.deliver != "verify":
        return results.ValueResult(client_token=results.summary(token), **await delivery.deliver(call, args, value))
    try:
        same = await anyio.to_thread.run_sync(env_file.same_value, delivery.root(call), *args.file_and_variable, value)
    except env_file.EnvFileError as exc:
        raise UserInputError(str(exc), changed="") from exc
    note = {True: "holds the present value", False: "holds another value", None: "does not hold the variable"}[same]
    return results.ValueResult(
        client_token=results.summary(token), matches=same or False, note=f"{args.env_file} {note}."
    )


VALUE = ToolSpec(
    get_client_token_value, GetClientTokenValue, results.ValueResult, title="Get client token value", planned=plan
)
