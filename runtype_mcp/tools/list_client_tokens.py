from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runtype_mcp import results
from runtype_mcp.api.models import ClientToken
from runtype_mcp.policy import origins
from runtype_mcp.policy.timestamps import utc
from runtype_mcp.tools import last_read
from runtype_mcp.tools.arguments import OFFSET, Arguments, ShortText
from runtype_mcp.tools.spec import ToolContext, ToolSpec


def _origin(value: str) -> str:
    return origins.normalise(value)


def _last_four(value: str) -> str:
    # Of a whole value that somebody pasted, only its end is kept: the API tells no more of a value than that.
    if len(value) < 4:
        raise ValueError("must be the last 4 characters of a value, or more of it")
    return value[-4:]


class ListClientTokens(Arguments):
    name_contains: ShortText | None = Field(default=None, description="Part of the name")
    environment: Literal["test", "live"] | None = None
    active: bool | None = Field(default=None, description="true for active tokens, false for inactive ones")
    allowed_origin: Annotated[str, AfterValidator(_origin)] | None = Field(
        default=None, description="Tokens that admit this origin"
    )
    value_ends_with: Annotated[str, AfterValidator(_last_four)] | None = Field(
        default=None, description="Last 4 characters of a value somebody found"
    )
    never_used: bool | None = Field(default=None, description="true for tokens never used, false for used ones")
    unused_since: date | None = Field(
        default=None,
        description="Last used before YYYY-MM-DD (UTC); if never used, created before it",
    )
    limit: int = Field(default=50, ge=1, le=200, description="50 unless given")
    offset: int = OFFSET
    detail: Literal["summary", "full"] = Field(
        default="summary", description="full gives every setting; summary unless given"
    )

    def admits(self, token: ClientToken) -> bool:
        """Whether a token passes every filter that is given."""
        return (
            (self.name_contains is None or self.name_contains.casefold() in (token.name or "").casefold())
            and (self.environment is None or token.environment == self.environment)
            and (self.active is None or token.is_active == self.active)
            and (self.allowed_origin is None or origins.admits(token.allowed_origins, self.allowed_origin))
            and (self.value_ends_with is None or (token.token_hint or "")[-4:] == self.value_ends_with)
            and (self.never_used is None or (token.last_used_at is None) == self.never_used)
            and (self.unused_since is None or _before(token.last_used_at or token.created_at, self.unused_since))
        )


def _before(moment: str, day: date) -> bool:
    then = utc(moment)
    return then is not None and then.date() < day


async def list_client_tokens(args: ListClientTokens, context: ToolContext) -> results.TokenList:
    """List the client tokens that pass every given filter. Values are never included."""
    lock = context.api.environment
    window: list[ClientToken] = []
    total = 0
    # The API neither filters nor counts, so every page is read, whichever one is asked for.
    async for page in context.client_tokens():
        for token in filter(args.admits, page):
            if args.offset <= total < args.offset + args.limit:
                window.append(token)
            total += 1
    has_more = bool(window) and total > args.offset + len(window)
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


LIST = ToolSpec(list_client_tokens, ListClientTokens, results.TokenList, title="List client tokens", scope="read")
