"""What comes back, shaped for a model: small, flat, without secrets, with the next step where there is one.

A result's data is the structured result; `as_text` writes the same facts as compact lines, because hosts differ in
which of the two they show the model. Fields that are null or empty are left out of both.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from runtype_mcp.api import models
from runtype_mcp.policy import origins
from runtype_mcp.policy.sanitize import fence, new_nonce, sanitize_line
from runtype_mcp.policy.timestamps import utc_day, utc_second

if TYPE_CHECKING:
    from runtype_mcp.tools.plan import Plan  # it loads the SDK, which a terminal's commands do without

MAX_NAME = 255
MAX_VISITOR_NAME = 80
MAX_VISITOR_MESSAGE = 200
MAX_FACTS = 5
"""Origins that tell a token from another; effects name all that change."""


class Result(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    def data(self) -> dict[str, Any]:
        """The structured result, in the API's names."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def text(self) -> str:
        return as_text(self.data())


class Summary(Result):
    """The facts that tell tokens apart."""

    id: str
    name: str | None = None
    environment: str
    is_active: bool | None = None
    allowed_origins: list[str]
    last_used_at: str | None = None
    conversation_count: int | None = None


class Token(Summary):
    """Every fact about a token but its value."""

    agent_ids: list[str] | None = None
    flow_ids: list[str] | None = None
    default_flow_id: str | None = None
    target_alias: str | None = None
    target_version_id: str | None = None
    product_surface_id: str | None = None
    pin_to_version: str | None = None  # a legacy setting, shown where it is not the usual one
    rate_limit_per_minute: int | None = None
    rate_limit_per_hour: int | None = None
    max_messages_per_session: int | None = None
    session_idle_timeout_minutes: int | None = None
    config: dict[str, Any] | None = None
    value_ends_with: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


_CELL = [{"type": "string"}, {"type": "boolean"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]
Cell = Annotated[Any, WithJsonSchema({"anyOf": _CELL})]


class TokenList(Result):
    """Summaries are a table, because the names of fields would cost half of a long list; full tokens are not."""

    columns: list[str] | None = None
    rows: list[list[Cell]] | None = None
    client_tokens: list[Token] | None = None
    count: int
    total: int
    has_more: bool
    next_offset: int | None = None
    note: str | None = None


class AgentAndFlowList(Result):
    columns: list[str] = ["kind", "id", "name", "status"]
    rows: list[list[Cell]]
    count: int
    total: int
    has_more: bool
    next_offset: int | None = None
    note: str | None = None


class TokenResult(Result):
    client_token: Token
    next: str | None = None


class Change(Result):
    """Values as compact JSON, because a setting may be of any type."""

    field: str
    before: str
    after: str


class MutationResult(Result):
    """The result of a gated call: done, or only previewed."""

    status: Literal["done", "preview"] = "done"
    client_token: Summary | None = None
    effects: list[str] | None = None
    undo: str | None = None
    confirm_call: str | None = None
    note: str | None = None


class UpdateResult(MutationResult):
    changes: list[Change] | None = None
    warnings: list[str] | None = None


class SecretResult(MutationResult):
    """The result of a call that makes or reads a value. `value` is the one field that may carry it."""

    value: str | None = Field(default=None, repr=False)
    delivered: str | None = None  # where the value went instead
    warnings: list[str] | None = None
    next: str | None = None


class ValueResult(SecretResult):
    matches: bool | None = None  # of verify


class Conversation(Result):
    """An outline, without a visitor's words: those stand in the list's `visitor_text` alone."""

    id: str
    message_count: int | None = None
    flow_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class ConversationList(Result):
    conversations: list[Conversation]
    visitor_text: str | None = None
    count: int
    has_more: bool
    next_offset: int | None = None


class Finding(Result):
    """What a rule found in one token; or in many, which are counted, and of which the first are named."""

    severity: Literal["high", "medium", "low"]
    rule: str
    count: int | None = None
    ids: list[str] | None = None
    id: str | None = None
    name: str | None = None
    reason: str
    fix: str | None = None
    next: str | None = None


class Audit(Result):
    findings: list[Finding]
    checked: int
    high: int
    medium: int
    low: int
    has_more: bool
    next_offset: int | None = None


def summary(token: models.ClientToken) -> Summary:
    return Summary(
        id=token.id,
        name=token.name and sanitize_line(token.name, MAX_NAME),
        environment=token.environment,
        is_active=token.is_active,
        allowed_origins=token.allowed_origins,
        last_used_at=_last_used(token),
        conversation_count=token.conversation_count,
    )


def one_line(token: models.ClientToken | Summary) -> str:
    """What tells one token from another of its name."""
    state = "active" if token.is_active else "inactive"
    kind = sanitize_line(token.environment, 20)
    return f"{sanitize_line(token.id, 128)} ({kind}, {state}, {_places(token, 3)}, last used {_last_used(token)})"


def facts(token: models.ClientToken) -> str:
    """The same for a person who is asked, after the token's name and id."""
    state = "active" if token.is_active else "inactive"
    return f"It is {state}, allows {_places(token, MAX_FACTS)}, and was last used: {_last_used(token)}."


def _places(token: models.ClientToken | Summary, most: int) -> str:
    # The widest first, so that what is left out is never what matters most.
    widest = sorted(token.allowed_origins, key=lambda entry: (not origins.is_open(entry), "*" not in entry))
    more = f" and {len(widest) - most} more" if len(widest) > most else ""
    return (", ".join(sanitize_line(entry, 100) for entry in widest[:most]) or "no origin") + more


def _last_used(token: models.ClientToken | Summary) -> str:
    return utc_day(token.last_used_at) if token.last_used_at else "never"


COLUMNS = ["id", "name", "environment", "isActive", "allowedOrigins", "lastUsedAt"]


def row(token: models.ClientToken) -> list[Any]:
    """A summary as a row of `COLUMNS`. Nobody counts conversations for a list."""
    facts = summary(token).model_dump(by_alias=True)
    return [facts[column] for column in COLUMNS]


def full(token: models.ClientToken) -> Token:
    """Every fact about a token but its value."""
    given = token.model_dump(exclude={"name", "token_hint", "agent_ids", "flow_ids", "config"})
    if token.pin_to_version == "latest":
        del given["pin_to_version"]
    return Token(
        **given | {"last_used_at": token.last_used_at or "never"},
        name=token.name and sanitize_line(token.name, MAX_NAME),
        agent_ids=token.agent_ids or None,
        flow_ids=token.flow_ids or None,
        config=token.config or None,
        # The last four characters only: a version of the API that put more there would leak it.
        value_ends_with=token.token_hint[-4:] if token.token_hint else None,
    )


def preview(result: type[Result], plan: Plan, policy: str) -> Result:
    """What a gated call would do."""
    return result.model_validate(
        {
            "status": "preview",
            "client_token": summary(plan.token) if plan.token else None,
            "effects": [effect.sentence for effect in plan.effects],
            "undo": plan.undo,
            "confirm_call": plan.confirm_call(),
            "note": " ".join(part for part in (plan.note, "Nothing was changed.", policy) if part),
        }
    )


_ID = re.compile(r"[A-Za-z]{1,12}_[A-Za-z0-9]{1,40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def conversations(found: list[models.Conversation], has_more: bool, next_offset: int | None) -> ConversationList:
    """Conversations, with everything that a visitor wrote in one fenced block: data that no instruction can leave."""
    rows: list[Conversation] = []
    words: list[str] = []
    for number, item in enumerate(found, 1):
        flow, count = item.flow_id, item.message_count
        # Outside the fence stands only what cannot hold a sentence. An id of another shape goes inside.
        plain = _ID.fullmatch(item.id) is not None
        label = item.id if plain else f"conversation {number}"
        rows.append(
            Conversation(
                id=label,
                message_count=count if isinstance(count, int) else None,
                flow_id=flow if isinstance(flow, str) and _ID.fullmatch(flow) else None,
                created_at=utc_second(item.created_at),
                updated_at=utc_second(item.updated_at),
            )
        )
        # An Origin header is whatever a program sends, so it is a visitor's word too.
        said = [
            ("id", None if plain else item.id, 128),
            ("name", item.name, MAX_VISITOR_NAME),
            ("first message", item.first_message, MAX_VISITOR_MESSAGE),
            ("origin", item.origin if isinstance(item.origin, str) else None, MAX_VISITOR_NAME),
        ]
        parts = [f"{what}: {line}" for what, raw, most in said if raw and (line := sanitize_line(raw, most))]
        if parts:
            words.append(f"{label} {'; '.join(parts)}")
    return ConversationList(
        conversations=rows,
        visitor_text=fence(words, new_nonce()) if words else None,
        count=len(rows),
        has_more=has_more,
        next_offset=next_offset,
    )


def as_text(data: dict[str, Any]) -> str:
    """The same facts as `data`, a line each. No text from a token can pass for another fact or another line."""
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, str):
            lines.append(f"{key}: {value}")  # our own words; what visitors wrote is fenced
        elif isinstance(value, list) and value and isinstance(value[0], list):
            lines += [f"{key}:", *("\t".join(_shown(cell, "; ") for cell in item) for item in value)]
        elif isinstance(value, list) and value and (isinstance(value[0], dict) or any(len(str(v)) > 60 for v in value)):
            lines.append(f"{key}:")
            lines += [f"- {_shown(item)}" for item in value]
        else:
            lines.append(f"{key}: {_shown(value)}")
    return "\n".join(lines)


def _shown(value: Any, *separators: str) -> str:
    """A value within a line, quoted where it holds what separates the line's parts."""
    match value:
        case str():
            plain = value.isprintable() and not any(separator in value for separator in separators)
            return value if plain else compact(value)
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(_shown(item, ", ", "; ") for item in value) or "none"
        case dict() if value and not separators:
            return "; ".join(f"{name}: {_shown(item, '; ')}" for name, item in value.items())
        case _:
            return compact(value)


def compact(value: Any) -> str:
    """JSON without what only costs tokens, on one line to every reader."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isprintable() else json.dumps(value, separators=(",", ":"))
