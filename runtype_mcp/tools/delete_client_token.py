from __future__ import annotations

from functools import partial

from runtype_mcp import results
from runtype_mcp.errors import NotFound, OutcomeUnknown, PermanentError
from runtype_mcp.policy import effects
from runtype_mcp.tools import reconcile
from runtype_mcp.tools.arguments import TOKEN, NameConfirmed, TokenRef
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.spec import ToolContext, ToolSpec


class DeleteClientToken(NameConfirmed):
    client_token: TokenRef = TOKEN


async def plan(args: DeleteClientToken, context: ToolContext) -> Plan:
    token = await find(context, args.client_token)
    return Plan.on(
        token,
        operation="delete_client_token",
        verb="Delete",
        arguments={"client_token": token.id},
        effects=tuple(effects.deleting(token)),
        undo="This cannot be undone. To stop it reversibly, use update_client_token with is_active false.",
    )


async def delete_client_token(args: DeleteClientToken, context: ToolContext, plan: Plan) -> results.MutationResult:
    """Delete a client token for good; whatever embeds it stops working immediately. To stop it reversibly, use
    update_client_token with is_active false."""
    assert plan.token is not None
    note = "Deleted."
    try:
        answer = await context.api.delete_client_token(plan.token.id)
        if not answer.success:
            raise PermanentError("The API answered that it did not delete the token.", "Read the token again.")
    except OutcomeUnknown as error:
        look = partial(_gone, context, plan.token.id)
        found = "The token is still there: it was not deleted"
        await reconcile.look_again(context, error, look, found, "The same call may be repeated.")
        note = reconcile.applied(error)
    return results.MutationResult(client_token=results.summary(plan.token), note=note)


async def _gone(context: ToolContext, token_id: str) -> bool | None:
    try:
        await context.api.get_client_token(token_id)
    except NotFound:
        await context.api.list_client_tokens(1, 0)  # a gateway's 404 page says nothing about the token
        return True
    return None


DELETE = ToolSpec(
    delete_client_token,
    DeleteClientToken,
    results.MutationResult,
    title="Delete client token",
    scope="delete",
    plan=plan,
    writes=True,
    destructive=True,
)
