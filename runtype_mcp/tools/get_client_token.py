from __future__ import annotations

from pydantic import Field

from runtype_mcp import results
from runtype_mcp.tools.arguments import Arguments, TokenRef
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.spec import Call, ToolSpec


class GetClientToken(Arguments):
    client_token: TokenRef = Field(description="Id or exact name")


async def get_client_token(args: GetClientToken, call: Call) -> results.TokenResult:
    """Read a client token's settings and use."""
    token = await find(call, args.client_token, exact=False)
    if token.conversation_count is None and token.id != args.client_token:
        token = await call.api.get_client_token(token.id)  # only this endpoint counts conversations
    call.show(token)
    return results.TokenResult(client_token=results.full(token))


GET = ToolSpec(get_client_token, GetClientToken, results.TokenResult, title="Get client token")
