"""From what a caller names to the one client token that is meant."""

from __future__ import annotations

import re

from runtype_mcp import results
from runtype_mcp.api.models import ClientToken
from runtype_mcp.errors import NotFound, Refused, UserInputError
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.settings import Settings
from runtype_mcp.tools.spec import Call

_ID = re.compile(r"ct_\S+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def find(call: Call, ref: str, *, exact: bool = True) -> ClientToken:
    """The client token of this id or name.

    Args:
        ref: an id, or a whole name.
        exact: whether case matters. It does wherever something may change.

    Raises:
        NotFound: there is none.
        UserInputError: several have this name; the message lists them, and none is guessed.
        Refused: the operator's policy keeps this token out of reach.
    """
    if _ID.fullmatch(ref):
        return within(call.settings, await call.api.get_client_token(ref))
    named: list[ClientToken] = []
    similar: list[ClientToken] = []
    async for page in call.api.iterate_client_tokens():
        for token in page:
            if ref in (token.name, sanitize_line(token.name, 255)):
                named.append(token)
            elif not exact and token.name and token.name.casefold() == ref.casefold():
                similar.append(token)
    found = named or similar
    if (lock := call.settings.environment) is not None:
        # What is out of reach makes no name ambiguous, and no list of candidates gives it away.
        found = [token for token in found if token.environment == lock] or found[:1]
    if not found:
        raise NotFound(
            f"No client token has the id or the exact name '{sanitize_line(ref, 80)}'.",
            "Call list_client_tokens (name_contains finds parts of names).",
        )
    if len(found) > 1:
        one_each = "; ".join(results.one_line(token) for token in found[:10])
        raise UserInputError(
            f"{len(found)} client tokens have this name: {one_each}.", "Call again with the id of one."
        )
    return within(call.settings, found[0])


def within(settings: Settings, token: ClientToken) -> ClientToken:
    """The same token, if the operator's environment lock lets it be used."""
    if settings.environment is not None and token.environment != settings.environment:
        raise Refused(locked(settings, f"{token.id} is a {token.environment} token"), "Do not retry; tell the user.")
    return token


def locked(settings: Settings, what: str) -> str:
    return f"{what}, and this server is locked to {settings.environment} tokens (RUNTYPE_MCP_ENVIRONMENT)."
