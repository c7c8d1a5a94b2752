from __future__ import annotations

from typing import Any

from pydantic import Field

from runtype_mcp import results
from runtype_mcp.api.client import AgentsOrFlows
from runtype_mcp.errors import MissingScope
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools.arguments import OFFSET, Arguments, ShortText
from runtype_mcp.tools.spec import ToolContext, ToolSpec

LISTS: tuple[AgentsOrFlows, ...] = ("agents", "flows")
PAGE = 50


class ListAgentsAndFlows(Arguments):
    name_contains: ShortText | None = Field(default=None, description="Part of the name")
    offset: int = OFFSET

    def admits(self, name: str | None) -> bool:
        return self.name_contains is None or self.name_contains.casefold() in (name or "").casefold()


async def list_agents_and_flows(args: ListAgentsAndFlows, context: ToolContext) -> results.AgentAndFlowList:
    """List the agents and flows that a client token can run, with their ids."""
    window: list[list[Any]] = []
    missing: list[MissingScope] = []
    total = 0
    for kind in LISTS:
        try:
            # Whether the API's own search looks at whole names is not documented, so every page is read.
            async for page in context.agents_or_flows(kind):
                for found in page:
                    if args.admits(found.name):
                        if args.offset <= total < args.offset + PAGE:
                            window.append([kind[:-1], *map(_line, (found.id, found.name, found.status))])
                        total += 1
        except MissingScope as error:
            missing.append(error)
    if len(missing) == len(LISTS):
        raise MissingScope(
            f"The key may not list {' or '.join(LISTS)}.", "Ask the user for the ids; tools take those without a list."
        )
    has_more = bool(window) and total > args.offset + len(window)
    return results.AgentAndFlowList(
        rows=window,
        count=len(window),
        total=total,
        has_more=has_more,
        next_offset=args.offset + len(window) if has_more else None,
        note=f"{missing[0].what} They are left out." if missing else None,
    )


def _line(text: str | None) -> str | None:
    return text and sanitize_line(text, results.MAX_NAME)


LIST_AGENTS_AND_FLOWS = ToolSpec(
    list_agents_and_flows, ListAgentsAndFlows, results.AgentAndFlowList, title="List agents and flows", scope="read"
)
