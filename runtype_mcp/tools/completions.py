"""Completions: what a person may type for an argument of a prompt, or of a resource's address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import mcp_types

from runtype_mcp.api.client import AgentsOrFlows
from runtype_mcp.errors import ClientTokenError
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools.list_agents_and_flows import LIST_AGENTS_AND_FLOWS
from runtype_mcp.tools.list_client_tokens import LIST
from runtype_mcp.tools.prompts import FRAMEWORKS
from runtype_mcp.tools.resources import documents
from runtype_mcp.tools.spec import ToolContext, disabled_reason

MOST = 100
"""Values in one answer: the protocol's limit."""


async def complete(context: ToolContext, argument: mcp_types.CompletionArgument, *, ids: bool) -> mcp_types.Completion:
    """Names (or, for an address, ids) that contain what was typed so far.

    Where the API cannot be asked, or the operator disabled the tool that would show the same, there are none: whoever
    types has no use for an error.
    """
    try:
        match argument.name:
            case "client_token" | "id" if not disabled_reason(LIST, context.settings):
                known = [(t.id, t.name) async for page in context.api.iterate_client_tokens() for t in page]
            case "agent" | "flow" if not disabled_reason(LIST_AGENTS_AND_FLOWS, context.settings):
                kind: AgentsOrFlows = "agents" if argument.name == "agent" else "flows"
                known = [(a.id, a.name) async for page in context.api.iterate_agents_or_flows(kind) for a in page]
            case "page":
                known = [(page, page) for page in documents()]
            case "framework":
                known = [(framework, framework) for framework in FRAMEWORKS]
            case _:
                known = []
    except ClientTokenError:
        known = []
    fitting = _fitting(argument.value, known, ids)
    shown = [context.caller.redactor.redact_text(value) for value in fitting[:MOST]]
    return mcp_types.Completion(values=shown, total=len(fitting), has_more=len(fitting) > MOST)


def _fitting(typed: str, known: Iterable[tuple[str, str | None]], ids: bool) -> list[str]:
    """Those whose name or id contains what was typed, and what to put there: a name only where it is the only one."""
    shown = [(key, sanitize_line(name or "", 255)) for key, name in known]
    many = Counter(name for _, name in shown)
    wanted = typed.casefold()
    return [
        key if ids or not name or many[name] > 1 else name
        for key, name in shown
        if wanted in name.casefold() or wanted in key.casefold()
    ]
