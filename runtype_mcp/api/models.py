"""What is sent to `/v1/client-tokens` and what comes back.

Requests forbid unknown fields, and tell "not given" (left out of the body) from null. Responses tolerate
unknown fields, and everything that only newer or older API versions send is optional. A token's value is
never kept on a `ClientToken`, whatever the API sends there: only the answers that exist to carry it have `value`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

Name = Annotated[str, Field(min_length=1, max_length=255)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=128)]
PerMinute = Annotated[int, Field(ge=1, le=1000)]
PerHour = Annotated[int, Field(ge=1, le=10000)]
PerSession = Annotated[int, Field(ge=1, le=1000)]
IdleMinutes = Annotated[int, Field(ge=1, le=1440)]

LIMITS = ("rate_limit_per_minute", "rate_limit_per_hour", "max_messages_per_session", "session_idle_timeout_minutes")
"""The four limits, by their names in Python."""


_WIRE = ConfigDict(alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True)


class Request(BaseModel):
    model_config = ConfigDict(**_WIRE, extra="forbid")

    def body(self) -> dict[str, Any]:
        """The JSON body: what was given, and nothing else. A null that was given stays a null."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def check_targets(alias: str | None, version: str | None, agents: list[str]) -> None:
    """At most one target; an exact version needs exactly one agent."""
    if alias is not None and version is not None:
        raise ValueError("target_alias and target_version_id exclude each other: give one")
    if version is not None and len(agents) != 1:
        raise ValueError(f"target_version_id needs exactly one agent id, and there are {len(agents)}")


def check_default_flow(default: str | None, flows: list[str]) -> None:
    """The default flow is one of the token's flows."""
    if default is not None and default not in flows:
        raise ValueError("default_flow_id must be one of flow_ids")


class CreateClientToken(Request):
    """Body of POST /v1/client-tokens."""

    name: Name
    allowed_origins: Annotated[list[str], Field(min_length=1)]
    agent_ids: list[Id] = []
    flow_ids: list[Id] = []
    default_flow_id: Id | None = None
    environment: Literal["test", "live"] = "live"
    product_surface_id: Id | None = None
    target_alias: Id | None = None
    target_version_id: Id | None = None
    pin_to_version: Literal["latest", "published"] = "latest"
    rate_limit_per_minute: PerMinute = 10
    rate_limit_per_hour: PerHour = 100
    max_messages_per_session: PerSession = 100
    session_idle_timeout_minutes: IdleMinutes = 30
    config: dict[str, Any] = {}

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not self.agent_ids and not self.flow_ids:
            raise ValueError("agent_ids or flow_ids: name at least one agent or flow")
        check_targets(self.target_alias, self.target_version_id, self.agent_ids)
        check_default_flow(self.default_flow_id, self.flow_ids)
        return self


_NOT_GIVEN: Any = None
"""The default of a field that may be left out. It is never sent; a null that is given is checked like any value."""


class UpdateClientToken(Request):
    """Body of PUT /v1/client-tokens/{id}: a partial update. Environment and surface are fixed at creation.

    Null clears `default_flow_id`, `target_alias` and `target_version_id`. Lists replace the whole list. What only the
    whole token can tell is for `check_targets` and `check_default_flow`.
    """

    name: Name = _NOT_GIVEN
    allowed_origins: Annotated[list[str], Field(min_length=1)] = _NOT_GIVEN
    agent_ids: list[Id] = _NOT_GIVEN
    flow_ids: Annotated[list[Id], Field(min_length=1)] = _NOT_GIVEN
    default_flow_id: Id | None = None
    is_active: bool = _NOT_GIVEN
    target_alias: Id | None = None
    target_version_id: Id | None = None
    pin_to_version: str = _NOT_GIVEN  # the API takes back the stored value, whatever it is
    rate_limit_per_minute: PerMinute = _NOT_GIVEN
    rate_limit_per_hour: PerHour = _NOT_GIVEN
    max_messages_per_session: PerSession = _NOT_GIVEN
    session_idle_timeout_minutes: IdleMinutes = _NOT_GIVEN
    config: dict[str, Any] = _NOT_GIVEN


class Response(BaseModel):
    model_config = ConfigDict(**_WIRE, extra="ignore")


class ClientToken(Response):
    """A client token's settings. `token_hint` is the displayable end of its value, never the value."""

    id: str
    name: str | None
    flow_ids: list[str]
    agent_ids: list[str]
    allowed_origins: list[str]
    environment: str  # test or live; anything newer counts as live
    is_active: bool
    created_at: str
    updated_at: str
    default_flow_id: str | None = None
    target_alias: str | None = None
    target_version_id: str | None = None
    product_surface_id: str | None = None
    pin_to_version: str | None = None
    rate_limit_per_minute: int | None = None
    rate_limit_per_hour: int | None = None
    max_messages_per_session: int | None = None
    session_idle_timeout_minutes: int | None = None
    config: dict[str, Any] | None = None
    token_hint: str | None = None
    conversation_count: int | None = None
    last_used_at: str | None = None

    @property
    def is_live(self) -> bool:
        return self.environment != "test"

    @property
    def display_name(self) -> str:
        """What confirms a call about this token: its name, or its id where it has none."""
        return self.name or self.id

    def settings(self) -> dict[str, Any]:
        """What somebody may have changed, without what changes by itself (use, counts, times)."""
        # As JSON: a NaN that somebody stored in `config` becomes null, and so equals itself.
        return self.model_dump(mode="json", exclude={"conversation_count", "last_used_at", "created_at", "updated_at"})


class ApiWarning(Response):
    """A security warning of the API about a token's settings. One of another shape says nothing, and breaks nothing."""

    type: str = ""
    message: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_any_shape(cls, data: Any) -> Any:
        said = data if isinstance(data, dict) else {"message": data}
        return {name: text for name, text in said.items() if isinstance(text, str)}


def _list_or_none(data: Any) -> Any:
    return data if isinstance(data, list) else []


ApiWarnings = Annotated[list[ApiWarning], BeforeValidator(_list_or_none)]
"""A write that was done must not look lost because of its warnings."""


class Pagination(Response):
    has_more: bool
    limit: int | None = None
    offset: int | None = None


class ClientTokenPage(Response):
    """One page of the list. Without `pagination` it is the complete list, as older API versions send it."""

    client_tokens: list[ClientToken]
    pagination: Pagination | None = None


class GotClientToken(Response):
    client_token: ClientToken


class UpdatedClientToken(GotClientToken):
    warnings: ApiWarnings = []


class ClientTokenWithValue(GotClientToken):
    """The answer of create and regenerate: the token, and its new value."""

    value: str = Field(validation_alias=AliasChoices("token", "value"), min_length=1, repr=False)
    warnings: ApiWarnings = []

    @model_validator(mode="before")
    @classmethod
    def _value_beside(cls, data: Any) -> Any:
        # Some API versions send the value only inside the object.
        if isinstance(data, dict) and not data.get("token") and isinstance(inner := data.get("clientToken"), dict):
            return {**data, "token": inner.get("tokenValue")}
        return data


class ClientTokenValue(Response):
    value: str = Field(validation_alias=AliasChoices("token", "value"), min_length=1, repr=False)


class Deleted(Response):
    """The answer of delete. It says whether it was done; a 200 that does not is not understood."""

    success: bool


class AgentOrFlow(Response):
    """What a token may run. An agent's `config` may hold prompts and keys: it is dropped unread."""

    id: str
    name: str | None = None
    status: str | None = None


class CursorPagination(Response):
    has_more: bool
    next_cursor: str | None = None


class AgentOrFlowPage(Response):
    data: list[AgentOrFlow]
    pagination: CursorPagination | None = None


class Conversation(Response):
    """A conversation's outline. Names and messages are a visitor's text; some fields are untyped upstream."""

    id: str
    name: str | None = None
    first_message: str | None = None
    created_at: str
    updated_at: str
    flow_id: Any = None
    origin: Any = None
    message_count: Any = None


class ConversationPage(Response):
    conversations: list[Conversation]
    pagination: Pagination | None = None
