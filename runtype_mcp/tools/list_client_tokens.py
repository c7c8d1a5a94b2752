from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runtype_mcp import results
from runtype_mcp.api.models import ClientToken
from runtype_mcp.policy import origins
from runtype_mcp.tools import last_read
from runtype_mcp.tools.arguments import Arguments, ShortText
from runtype_mcp.tools.spec import ToolContext, ToolSpec


def _origin(value: str) -> str:
    return origins.normalise(value)


class ListClientTokens(Arguments):
    name_contains: ShortText | None = Field(default=None, description="Part of the name, in any case")
    environment: Literal["test", "live"] | None = Field(default=None, description="Only tokens of this environment")
    active: bool | None = Field(default=None, description="true: only active tokens; false: only inactive ones")
    allowed_origin: Annotated[str, AfterValidator(_origin)] | None = Field(
        default=None, description="Only tokens that admit this origin, such as https://shop.example"
    )
    unused_since: date | None = Field(
        default=None,
        description="YYYY-MM-DD, UTC: only tokens last used before it, or made before it and never used",
    )
    limit: int = Field(default=50, ge=1, le=200, description="Tokens per page; 50 unless given")
    offset: int = Field(default=0, ge=0, description="nextOffset of the page before")
    detail: Literal["summary", "full"] = Field(
        default="summary", description="full gives every setting; summary unless given"
    )

    @property
    def filters(self) -> bool:
        return bool(
            self.model_fields_set & {"name_contains", "environment", "active", "allowed_origin", "unused_since"}
        )

    def admits(self, token: ClientToken) -> bool:
        """Whether a token passes every filter that is given."""
        return (
            (self.name_contains is None or self.name_contains.casefold() in (token.name or "").casefold())
            and (self.environment is None or token.environment == self.environment)
            and (self.active is None or token.is_active == self.active)
            and (self.allowed_origin is None or origins.admits(token.allowed_origins, self.allowed_origin))
            # A token that was never used counts from the day it was made.
            and (
                self.unused_since is None
                or (token.last_used_at or token.created_at)[:10] < self.unused_since.isoformat()
            )
        )


async def list_client_tokens(args: ListClientTokens, context: ToolContext) -> results.TokenList:
    """List client tokens. Filters cover all pages. Values are never included."""
    lock = context.api.environment
    window, total, more = await (
        _page(args, context) if not args.filters and lock is None else _filtered(args, context)
    )
    has_more = more and bool(window)
    full = args.detail == "full"
    await last_read.record(context, *window, fields=None if full else last_read.SUMMARY)
    return results.TokenList(
        columns=None if full else results.COLUMNS,
        rows=None if full else [results.row(token) for token in window],
        client_tokens=[results.full(token) for token in window] if full else None,
        count=len(window),
        total=total,
        has_more=has_more,
        next_offset=args.offset + len(window) if has_more else None,
        note=f"Only {lock} tokens: the server is locked to them." if lock else None,
    )


Window = tuple[list[ClientToken], int | None, bool]
"""The tokens of a page, how many there are in all if that is known, and whether more follow."""


async def _page(args: ListClientTokens, context: ToolContext) -> Window:
    """One page of the API's own."""
    answer = await context.api.list_client_tokens(args.limit, args.offset)
    found = answer.client_tokens
    if answer.pagination is None:  # older API versions ignore the paging and send everything
        window = found[args.offset : args.offset + args.limit]
        return window, len(found), len(found) > args.offset + len(window)
    more = answer.pagination.has_more
    known = not more and (found or not args.offset)
    return found, args.offset + len(found) if known else None, more


async def _filtered(args: ListClientTokens, context: ToolContext) -> Window:
    """A page of what passes the filters, over all pages of the API."""
    window: list[ClientToken] = []
    total = 0
    async for page in context.api.iterate_client_tokens():
        for token in page:
            if args.admits(token):
                if args.offset <= total < args.offset + args.limit:
                    window.append(token)
                total += 1
    return window, total, total > args.offset + len(window)


LIST = ToolSpec(list_client_tokens, ListClientTokens, results.TokenList, title="List client tokens")
