from __future__ import annotations

import asyncio

from pydantic import Field

from runtype_mcp import views
from runtype_mcp.api.errors import ClientTokenError, NotFound, OutcomeUnknown, PermanentError
from runtype_mcp.safety import effects
from runtype_mcp.safety.gate import Plan
from runtype_mcp.tools import lost
from runtype_mcp.tools.arguments import Named, Ref
from runtype_mcp.tools.call import Call, Endpoint
from runtype_mcp.tools.lookup import find


class DeleteClientToken(Named):
    client_token: Ref = Field(description="Id or exact name")


async def plan(args: DeleteClientToken, call: Call) -> Plan:
    token = await find(call, args.client_token)
    return Plan(
        operation="delete_client_token",
        verb="Delete",
        arguments={"client_token": token.id},
        token=token,
        name=token.display_name,
        environment=token.environment,
        effects=tuple(effects.deleting()),
        undo="This cannot be undone. Reversible instead: update_client_token with is_active false.",
    )


async def delete_client_token(args: DeleteClientToken, call: Call) -> views.Gated:
    """Delete for good; its pages break. Reversible: update is_active false."""
    assert call.decided is not None
    assert call.decided.token is not None
    token = call.decided.token
    note = "Deleted."
    try:
        answer = await call.api.delete_client_token(token.id)
        if not answer.success:
            raise PermanentError(
                "The API answered that it did not delete the token.", "Read the token again.", changed=""
            )
    except OutcomeUnknown as error:
        await _gone(call, token.id, error)
        note = lost.done(error)
    return views.Gated(client_token=views.summary(token), note=note)


async def _gone(call: Call, token_id: str, error: OutcomeUnknown) -> None:
    """After a lost answer: returns if the token does not exist any more."""
    for pause in lost.PAUSES:
        await asyncio.sleep(pause)
        try:
            await call.api.get_client_token(token_id)
        except NotFound:
            try:
                # A 404 of something between here and the API is no word about a token.
                await call.api.list_client_tokens(1, 0)
            except ClientTokenError as look:
                raise lost.unknown(error, look) from look
            return
        except ClientTokenError as look:
            raise lost.unknown(error, look) from look
    raise lost.not_so_far(
        error, "The token is still there: it was not deleted", "The same call may be repeated."
    ) from error


DELETE = Endpoint(
    delete_client_token,
    DeleteClientToken,
    views.Gated,
    title="Delete client token",
    planned=plan,
    writes=True,
    destructive=True,
)
