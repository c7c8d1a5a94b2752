"""From what a caller names to the one client token, agent or flow that is meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from runtype_mcp import results
from runtype_mcp.api.client import AgentsOrFlows
from runtype_mcp.api.models import AgentOrFlow, ClientToken
from runtype_mcp.errors import MissingScope, NotFound, UserInputError
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools.arguments import Arguments
from runtype_mcp.tools.spec import ToolContext

MAX_COMPARED = 10_000
"""Names that a name without a match is compared with. More would take seconds."""
NEAR = 0.6
"""How alike a name is to be suggested, by `difflib`. Nothing is done on a suggestion: the call has to be repeated."""
_ID = re.compile(r"ct_\S+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_TARGET_ID = re.compile(r"(agent|flow)(_\S+|-(?=\S*\d)\S+)|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What is taken for an id of an agent or a flow, and sent as it is: who may not list them can still name them."""
_TARGETS: tuple[tuple[AgentsOrFlows, tuple[str, ...]], ...] = (
    ("agents", ("agent_ids",)),
    ("flows", ("flow_ids", "default_flow_id")),
)
A = TypeVar("A", bound=Arguments)


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
    async for page in context.client_tokens():
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


async def resolve(context: ToolContext, args: A) -> tuple[A, dict[str, str]]:
    """The same arguments with ids for the names of agents and flows, and the names by their ids.

    Ids alone cost no request, and then no name is known.

    Raises:
        NotFound: there is none of this exact name.
        UserInputError: several have it; the message lists them, and none is guessed.
        MissingScope: the key may not list them, so only ids can be given.
    """
    ids: dict[str, Any] = {}
    names: dict[str, str] = {}
    for kind, fields in _TARGETS:
        given = {name: value for name in fields if name in args.model_fields_set and (value := getattr(args, name))}
        refs = [ref for value in given.values() for ref in ([value] if isinstance(value, str) else value)]
        if all(_TARGET_ID.fullmatch(ref) for ref in refs):
            continue
        known = await _all(context, kind, next(ref for ref in refs if not _TARGET_ID.fullmatch(ref)))
        names |= {item.id: item.name for item in known if item.name}
        found = {ref: _only(kind, ref, known) for ref in refs}
        for name, value in given.items():
            ids[name] = found[value] if isinstance(value, str) else list(dict.fromkeys(found[ref] for ref in value))
    return args.model_copy(update=ids), names


async def _all(context: ToolContext, kind: AgentsOrFlows, ref: str) -> list[AgentOrFlow]:
    try:
        return [item async for page in context.agents_or_flows(kind) for item in page]
    except MissingScope as error:
        what = f"{error.what} So the name '{sanitize_line(ref, 80)}' cannot be looked up."
        raise MissingScope(what, f"Ask the user for the id of the {kind[:-1]}.") from error


def _only(kind: AgentsOrFlows, ref: str, known: list[AgentOrFlow]) -> str:
    """The id of the one agent or flow that `ref` names."""
    if _TARGET_ID.fullmatch(ref):
        return ref
    found = [item for item in known if ref in (item.id, item.name, item.name and sanitize_line(item.name, 255))]
    if not found:
        names = {item.id: item.name for item in known[:MAX_COMPARED] if item.name}
        raise NotFound(
            f"No {kind[:-1]} has the id or the exact name '{sanitize_line(ref, 80)}'.{did_you_mean(ref, names)}",
            "Call list_agents_and_flows.",
        )
    if len(found) > 1:
        one_each = "; ".join(
            sanitize_line(item.id, 128) + (f" ({sanitize_line(item.status, 40)})" if item.status else "")
            for item in found[:10]
        )
        raise UserInputError(
            f"{len(found)} {kind} have the name '{sanitize_line(ref, 80)}': {one_each}.",
            "Call again with the id of one.",
        )
    return found[0].id


def did_you_mean(ref: str, known: Mapping[str, str]) -> str:
    """A sentence that names up to three of `known` (ids to names) whose names are near `ref`; else nothing."""
    wanted = ref.casefold()
    within = [key for key, name in known.items() if len(wanted) > 2 and wanted in name.casefold()]
    spelled = {name.casefold(): key for key, name in reversed([*known.items()])}
    alike = [spelled[name] for name in difflib.get_close_matches(wanted, spelled, 3, NEAR)]
    near = list(dict.fromkeys([*alike, *within]))[:3]
    shown = [f"'{sanitize_line(known[key], 80)}' ({sanitize_line(key, 128)})" for key in near]
    return f" Did you mean {' or '.join(shown)}?" if shown else ""
