from __future__ import annotations

from runtype_mcp import results
from runtype_mcp.tools import last_read
from runtype_mcp.tools.arguments import TOKEN, Arguments, TokenRef
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.spec import ToolContext, ToolSpec


class GetClientToken(Arguments):
    client_token: TokenRef = TOKEN


async def get_client_token(args: GetClientToken, context: ToolContext) -> results.TokenResult:
    """Read all settings of one client token, and how much it is used. Its value is not included."""
    token = await find(context, args.client_token, exact=False)
    if token.conversation_count is None and token.id != args.client_token:
        token = await context.api.get_client_token(token.id)  # only this endpoint counts conversations
    await last_read.record(context, token)
    return results.TokenResult(client_token=results.full(token))


GET = ToolSpec(get_client_token, GetClientToken, results.TokenResult, title="Get client token", scope="read")
