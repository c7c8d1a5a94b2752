"""Argument types that several tools share, and how arguments are checked.

Benign variants are accepted (one string for a list, JSON in a string, null for "not given"); nothing is widened,
unknown arguments are refused, and no message repeats a rejected value, which may be a secret.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from runtype_mcp.errors import UserInputError
from runtype_mcp.policy import origins, redaction
from runtype_mcp.policy.sanitize import sanitize_line


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


def _bounded(most: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not 1 <= len(value) <= most:
            raise ValueError(f"must have 1 to {most} characters")
        return value

    return check


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


def _one_word(value: str) -> str:
    # A model's argument may stand in a question to a person, and must not become sentences there.
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("an id has no spaces and no special characters")
    return value


def _visible(value: str) -> str:
    if not sanitize_line(value, 255):
        raise ValueError("must have a character that can be seen")
    return value


# The schemas show the contract's own limits. Bounds that only keep nonsense out are checked, and cost no tokens.
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_visible)]
ShortText = Annotated[str, AfterValidator(_bounded(255))]
Id = Annotated[
    str, AfterValidator(_bounded(128)), AfterValidator(_not_a_value("give the id")), AfterValidator(_one_word)
]
TokenRef = Annotated[
    ShortText, AfterValidator(_not_a_value("give the token's id or name, which list_client_tokens shows"))
]
OneForAList = BeforeValidator(_as_list)
Ids = Annotated[list[Id], OneForAList, AfterValidator(_unique)]
Flows = Annotated[list[Id], Field(min_length=1), OneForAList, AfterValidator(_unique)]
Config = Annotated[dict[str, Any], BeforeValidator(_from_json), AfterValidator(_plain)]
Confirm = Annotated[bool, Field(strict=True)]
Origins = Annotated[list[str], Field(min_length=1), OneForAList, AfterValidator(_origins)]
A = TypeVar("A", bound="Arguments")


class Arguments(BaseModel):
    """Base of every tool's arguments."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        # Clients send null for what they leave out. Only `clear` clears.
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data

    @property
    def given(self) -> dict[str, Any]:
        """The arguments that the caller gave, by name."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"confirm", "expected_name"})


class Confirmable(Arguments):
    """Arguments of a gated tool."""

    confirm: Confirm = Field(default=False, description="Else preview")


class NameConfirmed(Confirmable):
    expected_name: ShortText | None = Field(default=None, description="Its name")


class Delivery(Arguments):
    """Where a value goes."""

    deliver: Literal["show", "env_file"] = Field(default="show", description="Where to")
    env_file: Annotated[str, AfterValidator(_file_and_variable)] | None = Field(
        default=None, description="file:VARIABLE"
    )

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


def validate(model: type[A], arguments: dict[str, Any]) -> A:
    """Check a call's arguments.

    Raises:
        UserInputError: every problem, by argument, without the rejected values. Nothing was sent.
    """
    texts = _strings(arguments)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        # Legal in JSON, and in no text that can be sent: not to the API, and not back in a complaint about it.
        raise UserInputError(
            "An argument holds half of a character (a lone surrogate).", "Send whole ones.", changed="Nothing was sent."
        ) from None
    if any(redaction.contains_mark(text) for text in texts):
        raise UserInputError(
            f"An argument holds {redaction.MARK!r}, this server's own mark where a secret was.",
            "Use the real text, or leave the argument out.",
        )
    try:
        return model.model_validate(arguments)
    except ValidationError as exc:
        problems = [_problem(model, error) for error in exc.errors(include_url=False, include_input=False)]
        raise UserInputError(
            "; ".join(dict.fromkeys(problems)) + ".", "Correct the arguments.", changed="Nothing was sent."
        ) from None


def first_problem(exc: ValidationError) -> str:
    """The first rule that a request breaks, without the rejected value."""
    error = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{where}: {message}." if where else f"{message}."


def _problem(model: type[BaseModel], error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = list(model.model_fields)
        near = difflib.get_close_matches(where, known, 1, 0.5)
        if where in ("id", "token", "token_id", "client_token_id") and "client_token" in known:
            near = ["client_token"]
        hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
        return f"{where[:64]}: unknown argument{hint}"
    message = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    if error["type"] == "string_unicode":
        message = "holds half of a character (a lone surrogate)"
    return f"{where}: {message}" if where else message


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
