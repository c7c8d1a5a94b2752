from __future__ import annotations

from pydantic import Field

from runtype_mcp import views
from runtype_mcp.tools.arguments import Arguments, Ref
from runtype_mcp.tools.call import Call, Endpoint
from runtype_mcp.tools.lookup import find


class GetClientToken(Arguments):
    client_token: Ref = Field(description="Id or exact name")


async def get_client_token(args: GetClientToken, call: Call) -> views.Got:
    """Read a client token's settings and use."""
    token = await find(call, args.client_token, exact=False)
    if token.conversation_count is None and token.id != args.client_token:
        token = await call.api.get_client_token(token.id)  # only this endpoint counts conversations
    call.show(token)
    return views.Got(client_token=views.full(token))


GET = Endpoint(get_client_token, GetClientToken, views.Got, title="Get client token")
