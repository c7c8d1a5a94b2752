"""Argument types that several tools share, and how arguments are checked.

Benign variants are accepted (one string for a list, JSON in a string, null or an empty string for "not given");
nothing is widened, unknown arguments are refused, and no message repeats a rejected value, which may be a secret.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from runtype_mcp.errors import UserInputError
from runtype_mcp.policy import origins, redaction
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.settings import Settings

NOT_SENT = "Nothing was sent."


def _as_list(value: Any) -> Any:
    if isinstance(value, str):
        parsed = _from_json(value)
        return parsed if isinstance(parsed, list) else [value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _short(value: str) -> str:
    if not 1 <= len(value) <= 255:
        raise ValueError("must have 1 to 255 characters")
    return value


def _some(values: list[str]) -> list[str]:
    if not values:
        raise ValueError("must name at least one")
    return values


def _origins(values: list[str]) -> list[str]:
    return list(dict.fromkeys(origins.normalise(value) for value in values))


def _file_and_variable(value: str) -> str:
    if not re.fullmatch(r".+:[A-Za-z_][A-Za-z0-9_]{0,63}", value):
        raise ValueError("must be file:VARIABLE, such as .env:RUNTYPE_CLIENT_TOKEN")
    return value


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _not_a_value(instead: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        # Refused here, before it can reach a URL, a log or the API: values are secrets, ids are not.
        if redaction.looks_like_value(value) or redaction.contains_secret(value):
            raise ValueError(f"this is a secret value; {instead}")
        return value

    return check


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        if _shallow(value, 32):
            return value
    except (ValueError, RecursionError):
        pass
    raise ValueError("must be plain JSON, with whole characters, finite numbers and at most 32 levels")


def _shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels >= 0 and all(_shallow(item, levels - 1) for item in inner)


def _id(value: str) -> str:
    # A model's argument may stand in a question to a person, and must not become sentences there.
    if not re.fullmatch(r"[!-~]{1,128}", value):
        raise ValueError("an id has 1 to 128 characters, without spaces and special characters")
    return value


def _visible(value: str) -> str:
    if not sanitize_line(value, 255):
        raise ValueError("must have a character that can be seen")
    return value


# Bounds are checked here and left out of the schemas: strict converters of agent frameworks refuse most of them.
ShortText = Annotated[str, AfterValidator(_short)]
Name = Annotated[ShortText, AfterValidator(_visible)]
Id = Annotated[str, AfterValidator(_not_a_value("give the id")), AfterValidator(_id)]
TokenRef = Annotated[
    ShortText, AfterValidator(_not_a_value("give the token's id or name, which list_client_tokens shows"))
]
OneForAList = BeforeValidator(_as_list)
Target = Annotated[ShortText, AfterValidator(_not_a_value("give an id or a name")), AfterValidator(_visible)]
"""An agent or a flow: an id, or an exact name that `lookup.resolve` puts the id in place of."""
Targets = Annotated[list[Target], OneForAList, AfterValidator(_unique)]
SomeTargets = Annotated[list[Target], OneForAList, AfterValidator(_some), AfterValidator(_unique)]
Config = Annotated[dict[str, Any], BeforeValidator(_from_json), AfterValidator(_plain)]
Confirm = Annotated[bool, Field(strict=True)]
Origins = Annotated[list[str], OneForAList, AfterValidator(_some), AfterValidator(_origins)]
A = TypeVar("A", bound="Arguments")

TOKEN = Field(description="Token id or exact name")
OFFSET: Any = Field(default=0, ge=0, description="nextOffset of the page before")


class Arguments(BaseModel):
    """Base of every tool's arguments."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_what_is_not_given(cls, data: Any) -> Any:
        # Clients send null for what they leave out, and strict converters an empty string. Only `clear` clears.
        if not isinstance(data, dict):
            return data
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {k: v for k, v in data.items() if v is not None and not (v == "" and k in optional)}

    @property
    def given(self) -> dict[str, Any]:
        """The arguments that the caller gave, by name."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"confirm", "expected_name"})


class Confirmable(Arguments):
    """Arguments of a gated tool."""

    confirm: Confirm = Field(default=False, description="true once the user agreed to the preview")


class NameConfirmed(Confirmable):
    expected_name: ShortText | None = Field(default=None, description="With confirm: the token's present name")


class Delivery(Arguments):
    """Where a value goes."""

    deliver: Literal["show", "env_file"] = Field(
        default="show", description="show puts the value into this conversation, env_file into a file"
    )
    env_file: Annotated[str, AfterValidator(_file_and_variable)] | None = Field(
        default=None, description="file:VARIABLE, such as .env:RUNTYPE_CLIENT_TOKEN"
    )
    replace: bool = Field(default=False, description="Overwrite another token in the file")

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        # No default: a file that nobody named is never written.
        if self.deliver != "show" and self.env_file is None:
            raise ValueError("env_file says where: file:VARIABLE, such as .env:RUNTYPE_CLIENT_TOKEN")
        # Whoever names a file does not want the value in the conversation.
        if self.deliver == "show" and self.env_file is not None:
            raise ValueError("env_file goes with deliver env_file; deliver show writes no file")
        return self

    @property
    def file_and_variable(self) -> tuple[str, str]:
        file, _, variable = (self.env_file or "").rpartition(":")
        return file, variable


def narrowed(model: type[Arguments], settings: Settings) -> type[Arguments]:
    """The same arguments, without the ways of a value that are closed: into the conversation, or into a file."""
    if not issubclass(model, Delivery):
        return model
    if settings.callers_elsewhere:
        return _no_files(model)
    return _files_only(model) if settings.secrets == "file" else model


def _elsewhere(value: Any) -> Any:
    if value in (None, "", False, "show"):
        return value
    raise ValueError("is not offered: this server is on another machine than your files. A value can only be shown")


@cache
def _no_files(model: type[Delivery]) -> type[Arguments]:
    # No schema shows these, and who gives them all the same is told why.
    closed = SkipJsonSchema[Annotated[Any, BeforeValidator(_elsewhere)]]
    fields: dict[str, Any] = {"deliver": (closed, "show"), "env_file": (closed, None), "replace": (closed, False)}
    return create_model(model.__name__, __base__=model, **fields)


@cache
def _files_only(model: type[Delivery]) -> type[Arguments]:
    field = model.model_fields["deliver"]
    ways = tuple(way for way in get_args(field.annotation) if way != "show")
    deliver = (Literal[ways], Field(default=ways[0], description="env_file writes the value into a file"))
    made: type[Arguments] = create_model(model.__name__, __base__=model, deliver=deliver)  # type: ignore[arg-type]  # made at run time
    return made


def validate(model: type[A], arguments: dict[str, Any], redactor: Redactor) -> A:
    """Check a call's arguments.

    Raises:
        UserInputError: every problem, by argument, without the rejected values. Nothing was sent.
    """
    texts = "\n".join(_strings(arguments))
    try:
        texts.encode()
    except UnicodeEncodeError:
        # Legal in JSON, and in no text that can be sent: not to the API, and not back in a complaint about it.
        raise UserInputError(
            "An argument holds half of a character (a lone surrogate).", "Send whole ones.", changed=NOT_SENT
        ) from None
    if redaction.contains_mark(texts):
        raise UserInputError(
            f"An argument holds {redaction.MARK!r}, this server's own mark where a secret was.",
            "Use the real text, or leave the argument out.",
            changed=NOT_SENT,
        )
    # What the caller's own redactor masks beyond the known shapes is its API key, whatever that looks like.
    if redactor.redact_text(texts) != redaction.redact_text(texts):
        raise UserInputError(
            "An argument holds the server's own API key.", "Leave it out, and tell the user.", changed=NOT_SENT
        )
    try:
        return model.model_validate(arguments)
    except ValidationError as exc:
        raise invalid(exc, list(model.model_fields)) from None


def invalid(exc: ValidationError, known: list[str]) -> UserInputError:
    """What is wrong with the arguments, each problem once, without the rejected values."""
    problems = [_problem(error, known) for error in exc.errors(include_url=False, include_input=False)]
    what = "; ".join(dict.fromkeys(problems))
    return UserInputError(what if what.endswith("?") else f"{what}.", "Correct the arguments.", changed=NOT_SENT)


def _problem(error: Any, known: list[str]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, known, 1, 0.5)
        if where in ("id", "token", "token_id", "client_token_id") and "client_token" in known:
            near = ["client_token"]
        hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
        return f"{where[:64]}: unknown argument{hint}"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"]).rstrip(".")  # our own words, as they were raised
    else:
        message = _SENTENCES.get(error["type"], "is not what this argument takes").format(**error.get("ctx", {}))
    return f"{where}: {message}" if where else message


_SENTENCES = {
    "missing": "is required",
    "string_type": "must be text",
    "string_unicode": "holds half of a character (a lone surrogate)",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "finite_number": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "date_from_datetime_parsing": "must be a date, such as 2026-08-31",
    "date_parsing": "must be a date, such as 2026-08-31",
    "date_type": "must be a date, such as 2026-08-31",
    "date_from_datetime_inexact": "must be a date, such as 2026-08-31",
}
"""pydantic's own sentences are for its programmers: a problem that is not here is told in general words."""


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            for item in pair:
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
