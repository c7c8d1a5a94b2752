"""MCP Apps: the page that hosts show in a conversation, and what a person decides on it.

The page is one self-contained file. The tools whose results it can show are bound to it. A host that knows no pages
loses nothing: the text of a result says all that its data says.

To the server, a page's call looks like a model's. So a decision on a card needs what no model is shown: a one-time
code in the `_meta` of the preview's result. It is worth what a form of the client is worth, as much as the host.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path
from typing import Any, Literal

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver.resources import FileResource
from pydantic import Field

from runtype_mcp.policy.sanitize import names_match, sanitize_line
from runtype_mcp.results import Audit, ConversationList, MutationResult, Result, TokenList, TokenResult
from runtype_mcp.storage.state import StateError
from runtype_mcp.tools.arguments import Arguments
from runtype_mcp.tools.plan import Plan, sha256
from runtype_mcp.tools.spec import ToolContext, ToolSpec
from runtype_mcp.tools.ticket_approval import ticket_request
from runtype_mcp.tools.verdict import counted

PAGE = Path(__file__).with_name("page.html")
PAGE_URI = "ui://runtype-mcp/page"
APPROVAL = "runtype-mcp/approval"
"""The key in a preview's `_meta` of what the card shows, and of the code that decides it."""
SHOWN = (TokenList, TokenResult, MutationResult, ConversationList, Audit)
"""Results that the page has a view for. A frame with the text of another would only repeat it."""
logger = logging.getLogger("runtype_mcp")


def page_extension() -> Apps:
    """The protocol's extension with the page as its one resource, which is read from its file when it is asked for."""
    extension = Apps()
    extension.add_resource(
        # Without `csp` in its `_meta` a host lets the page reach nothing.
        FileResource(uri=PAGE_URI, name="page", title="Client tokens", mime_type=APP_MIME_TYPE, path=PAGE.resolve())
    )
    return extension


def tool_meta(spec: ToolSpec) -> dict[str, Any] | None:
    """The `_meta` of a tool: on which page hosts show its results, and whether models may call it."""
    if spec.app_only:
        return {"ui": {"resourceUri": PAGE_URI, "visibility": ["app"]}}
    return {"ui": {"resourceUri": PAGE_URI}} if issubclass(spec.result, SHOWN) else None


async def preview_meta(context: ToolContext, plan: Plan) -> dict[str, Any]:
    """The `_meta` of a preview's result: the card, and the code that decides it where a decision on it counts."""
    request = ticket_request(context, plan)
    approval: dict[str, Any] = {"card": {**request.card, "state": "waiting"}}
    if "app" in counted(context.settings, plan.environment):
        code = secrets.token_hex(16)
        try:
            card = await context.state.keep_card(_hash(code), request, _holder(context))
        except StateError as exc:  # the preview is whole without it
            logger.warning("A card in the conversation cannot be decided on: %s", exc)
        else:
            approval["approvalCode"] = code
            approval["card"] |= {"created": card.created, "expires": card.expires}
    return {APPROVAL: approval}


class ConfirmInApp(Arguments):
    approval_code: str
    decision: Literal["approve", "deny"]
    name: str = Field(default="", max_length=255)


class Decided(Result):
    """What came of a decision. `wrong_name` may be corrected; `gone` can be decided no more."""

    state: Literal["approved", "denied", "wrong_name", "gone"]
    message: str


async def confirm_in_app(args: ConfirmInApp, context: ToolContext) -> Decided:
    """Only for pages."""
    # Of a hash, a guess chooses no part: how long it takes to find none tells nothing about those that there are.
    key, holder = _hash(args.approval_code), _holder(context)
    request = await context.state.find_card(key, holder)
    if request is None:
        return _GONE
    if args.decision == "approve" and not names_match(args.name, request.subject_name):
        return Decided(state="wrong_name", message="That is not the token's name. Nothing was decided.")
    by = f"a person in {sanitize_line(context.caller.name, 80)}"
    ticket = await context.state.decide_card(key, holder, approve=args.decision == "approve", by=by)
    if ticket is None:
        return _GONE
    if ticket.state == "denied":
        return Decided(state="denied", message="Denied. Nothing was changed.")
    return Decided(state="approved", message="Approved. The same call now goes ahead once, within 15 minutes.")


_GONE = Decided(
    state="gone",
    message="Nothing was approved: this card was decided, has expired, or is not of this conversation. "
    "A new preview brings a new one.",
)

CONFIRM = ToolSpec(confirm_in_app, ConfirmInApp, Decided, title="Decide on a card", scope="read", app_only=True)


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _holder(context: ToolContext) -> str:
    return sha256(context.caller.account, context.caller.subject)
