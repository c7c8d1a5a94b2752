from __future__ import annotations

import asyncio

from pydantic import Field

from runtype_mcp import results
from runtype_mcp.errors import ClientTokenError, NotFound, OutcomeUnknown, PermanentError
from runtype_mcp.policy import effects
from runtype_mcp.tools import reconcile
from runtype_mcp.tools.approval import Plan
from runtype_mcp.tools.arguments import NameConfirmed, TokenRef
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.spec import Call, ToolSpec


class DeleteClientToken(NameConfirmed):
    client_token: TokenRef = Field(description="Id or exact name")


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


async def delete_client_token(args: DeleteClientToken, call: Call) -> results.MutationResult:
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
        note = reconcile.applied(error)
    return results.MutationResult(client_token=results.summary(token), note=note)


async def _gone(call: Call, token_id: str, error: OutcomeUnknown) -> None:
    """After a lost answer: returns if the token does not exist any more."""
    for pause in reconcile.PAUSES:
        await asyncio.sleep(pause)
        try:
            await call.api.get_client_token(token_id)
        except NotFound:
            try:
                # A 404 of something between here and the API is no word about a token.
                await call.api.list_client_tokens(1, 0)
            except ClientTokenError as look:
                raise reconcile.undetermined(error, look) from look
            return
        except ClientTokenError as look:
            raise reconcile.undetermined(error, look) from look
    raise reconcile.not_applied_yet(
        error, "The token is still there: it was not deleted", "The same call may be repeated."
    ) from error


DELETE = ToolSpec(
    delete_client_token,
    DeleteClientToken,
    results.MutationResult,
    title="Delete client token",
    planned=plan,
    writes=True,
    destructive=True,
)
