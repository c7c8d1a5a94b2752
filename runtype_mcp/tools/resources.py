"""Resources: what a person may attach to a conversation. Tokens, the policy in force, and the documentation.

No resource holds a value, and none shows what the operator's settings keep from the tools.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import mcp_types
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from runtype_mcp import __version__, results
from runtype_mcp.errors import ClientTokenError, Refused
from runtype_mcp.settings import Settings
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.get_client_token import GET
from runtype_mcp.tools.list_client_tokens import LIST
from runtype_mcp.tools.lookup import find
from runtype_mcp.tools.spec import ToolContext, ToolSpec, disabled_reason
from runtype_mcp.tools.verdict import policy_sentence

POLICY_URI = "runtype://policy"
TOKENS_URI = "runtype://client-tokens"
PAGE_URI = "runtype://docs/{page}"
MOST = 200
"""Tokens in one resource. A longer list says so, and that the tool filters and pages."""


def describe(settings: Settings) -> list[str]:
    """The operator's policy in force, a sentence each: for instructions, the resource and the docs."""
    said = [policy_sentence(settings.approval)]
    if (live := settings.approval_for("live")) != settings.approval:
        said.append(f"For live tokens: {policy_sentence(live)}")
    if settings.environment:
        said.append(f"Only {settings.environment} tokens can be used.")
    if settings.read_only:
        said.append("Read-only.")
    if settings.secrets == "file":
        said.append("Values are delivered into files alone, never shown.")
    if settings.sandbox:
        said.append("This is the sandbox: example data, nothing real.")
    return said


def policy(settings: Settings) -> str:
    """The policy, and what else the operator decided, a line each. Everything here is out of the model's reach."""
    refused = [reason for spec in SPECS if (reason := disabled_reason(spec, settings))]
    return "\n".join(
        [
            f"runtype-mcp {__version__}, " + ("the embedded sandbox" if settings.sandbox else settings.base_url),
            f"API key: {settings.key_source}",
            *describe(settings),
            f"Gated calls are {'recorded' if settings.audit else 'not recorded'} in an audit log.",
            *refused,
        ]
    )


def documents() -> dict[str, Path]:
    """The pages of the documentation by name: as the package brings them, or as they lie in a checkout."""
    package = Path(__file__).parents[1]
    folder = next((place for place in (package / "docs", package.parent / "docs") if place.is_dir()), package)
    pages = sorted(folder.rglob("*.md")) if folder != package else []
    return {page.relative_to(folder).with_suffix("").as_posix().replace("/", "-"): page for page in pages}


def add_resources(server: MCPServer[None], settings: Settings, current: Callable[[], Awaitable[ToolContext]]) -> None:
    """Offer the resources. `current` gives the context of the request that is being answered."""

    @server.resource(POLICY_URI, name="policy", title="Policy in force", mime_type="text/plain")
    def _policy() -> str:
        """What this server may do, and what it asks first."""
        return policy(settings)

    @server.resource(TOKENS_URI, name="client-tokens", title="Client tokens", mime_type="text/plain")
    async def _tokens() -> str:
        """All client tokens, a line each, without their values."""
        return await _read(current, LIST, _all_tokens)

    @server.resource(f"{TOKENS_URI}/{{id}}", name="client-token", title="One client token", mime_type="text/plain")
    async def _token(id: str) -> str:  # noqa: A002 - the name in the address
        """All settings of one client token, without its value."""
        return await _read(current, GET, lambda context: _one_token(context, id))

    @server.resource(PAGE_URI, name="docs", title="Documentation", mime_type="text/markdown")
    def _page(page: str) -> str:
        """A page of this server's documentation."""
        found = documents()
        if page not in found:
            raise MCPError(mcp_types.INVALID_PARAMS, f"There is no such page. The pages are {', '.join(found)}.")
        return found[page].read_text("utf-8")


async def _read(
    current: Callable[[], Awaitable[ToolContext]],
    same_as: ToolSpec,
    work: Callable[[ToolContext], Awaitable[results.Result]],
) -> str:
    """The text of a result, where the operator allows the tool that shows the same."""
    try:
        context = await current()
        if reason := disabled_reason(same_as, context.settings):
            raise Refused(reason, "Only the operator can change this.")
        data: dict[str, Any] = context.caller.redactor.redact_json((await work(context)).data())
    except ClientTokenError as error:
        code = mcp_types.INVALID_PARAMS if error.kind == "user_input" else mcp_types.INTERNAL_ERROR
        raise MCPError(code, " ".join(part for part in (error.what, error.next_step) if part)) from error
    return results.as_text(data)


async def _all_tokens(context: ToolContext) -> results.Result:
    tokens = [token async for page in context.api.iterate_client_tokens() for token in page]
    shown, more = tokens[:MOST], len(tokens) > MOST
    return results.TokenList(
        columns=results.COLUMNS,
        rows=[results.row(token) for token in shown],
        count=len(shown),
        total=len(tokens),
        has_more=more,
        note="list_client_tokens gives the others, and filters." if more else None,
    )


async def _one_token(context: ToolContext, token_id: str) -> results.Result:
    return results.TokenResult(client_token=results.full(await find(context, token_id)))
