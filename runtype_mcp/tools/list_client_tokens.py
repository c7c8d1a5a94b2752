from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runtype_mcp import results
from runtype_mcp.api.models import ClientToken
from runtype_mcp.policy import origins
from runtype_mcp.tools.arguments import Arguments, ShortText
from runtype_mcp.tools.last_read import SUMMARY
from runtype_mcp.tools.spec import Call, ToolSpec


def _origin(value: str) -> str:
    return origins.normalise(value)


class ListClientTokens(Arguments):
    name_contains: ShortText | None = Field(default=None, description="Any case")
    environment: Literal["test", "live"] | None = Field(default=None, description="Only these")
    active: bool | None = Field(default=None, description="Only these")
    allowed_origin: Annotated[str, AfterValidator(_origin)] | None = Field(default=None, description="Only if admitted")
    unused_since: date | None = Field(default=None, description="Only idle since")
    limit: int = Field(default=50, ge=1, le=200, description="Page size")
    offset: int = Field(default=0, ge=0, description="From nextOffset")
    detail: Literal["summary", "full"] = Field(default="summary", description="full: all settings")

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


async def list_client_tokens(args: ListClientTokens, call: Call) -> results.TokenList:
    """Find client tokens. Filters cover all pages."""
    lock = call.settings.environment
    window: list[ClientToken] = []
    total: int | None = None
    if args.filters or lock is not None:
        total = 0
        async for page in call.api.iterate_client_tokens():
            for token in page:
                if args.admits(token) and lock in (None, token.environment):
                    if args.offset <= total < args.offset + args.limit:
                        window.append(token)
                    total += 1
        has_more = total > args.offset + len(window)
    else:
        answer = await call.api.list_client_tokens(args.limit, args.offset)
        window, has_more = answer.client_tokens, bool(answer.pagination and answer.pagination.has_more)
        if answer.pagination is None:  # older API versions ignore the paging and send everything
            total = len(window)
            window = window[args.offset : args.offset + args.limit]
            has_more = total > args.offset + len(window)
        elif not has_more and (window or not args.offset):
            total = args.offset + len(window)
    full = args.detail == "full"
    for token in window:
        call.show(token, None if full else SUMMARY)
    return results.TokenList(
        columns=None if full else results.COLUMNS,
        rows=None if full else [results.row(token) for token in window],
        client_tokens=[results.full(token) for token in window] if full else None,
        count=len(window),
        total=total,
        has_more=has_more and bool(window),
        next_offset=args.offset + len(window) if has_more and window else None,
        note=f"Only {lock} tokens: the server is locked to them." if lock else None,
    )


LIST = ToolSpec(list_client_tokens, ListClientTokens, results.TokenList, title="List client tokens")
