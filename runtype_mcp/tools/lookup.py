"""From what a caller names to the one client token that is meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from runtype_mcp import results
from runtype_mcp.api.models import ClientToken
from runtype_mcp.errors import NotFound, UserInputError
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools.spec import ToolContext

MAX_COMPARED = 10_000
"""Names that a name without a match is compared with. More would take seconds."""
NEAR = 0.6
"""How alike a name is to be suggested, by `difflib`. Nothing is done on a suggestion: the call has to be repeated."""
_ID = re.compile(r"ct_\S+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def find(context: ToolContext, ref: str, *, exact: bool = True) -> ClientToken:
    """The client token of this id or name.

    Args:
        ref: an id, or a whole name.
        exact: whether case matters. It does wherever something may change.

    Raises:
        NotFound: there is none in reach.
        UserInputError: several have this name; the message lists them, and none is guessed.
    """
    if _ID.fullmatch(ref):
        return await context.api.get_client_token(ref)
    known: dict[str, str] = {}
    named: list[ClientToken] = []
    similar: list[ClientToken] = []
    async for page in context.api.iterate_client_tokens():
        for token in page:
            if token.name and len(known) < MAX_COMPARED:
                known[token.id] = token.name
            if token.name and ref in (token.name, sanitize_line(token.name, 255)):
                named.append(token)
            elif not exact and token.name and token.name.casefold() == ref.casefold():
                similar.append(token)
    found = named or similar
    if not found:
        lock = context.api.environment
        raise NotFound(
            f"No {f'{lock} ' if lock else ''}client token has the id or the exact name '{sanitize_line(ref, 80)}'."
            + did_you_mean(ref, known),
            "Call list_client_tokens (name_contains finds parts of names)."
            + (f" This server is locked to {lock} tokens (RUNTYPE_MCP_ENVIRONMENT)." if lock else ""),
        )
    if len(found) > 1:
        one_each = "; ".join(results.one_line(token) for token in found[:10])
        raise UserInputError(
            f"{len(found)} client tokens have this name: {one_each}.", "Call again with the id of one."
        )
    return found[0]


def did_you_mean(ref: str, known: Mapping[str, str]) -> str:
    """A sentence that names up to three of `known` (ids to names) whose names are near `ref`; else nothing."""
    wanted = ref.casefold()
    within = [key for key, name in known.items() if len(wanted) > 2 and wanted in name.casefold()]
    spelled = {name.casefold(): key for key, name in reversed([*known.items()])}
    alike = [spelled[name] for name in difflib.get_close_matches(wanted, spelled, 3, NEAR)]
    near = list(dict.fromkeys([*alike, *within]))[:3]
    shown = [f"'{sanitize_line(known[key], 80)}' ({sanitize_line(key, 128)})" for key in near]
    return f" Did you mean {' or '.join(shown)}?" if shown else ""
