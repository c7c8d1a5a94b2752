"""A tool's arguments as words of a command line: `name=value`, read by the tool's JSON schema."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from runtype_mcp.errors import UserInputError
from runtype_mcp.policy.sanitize import sanitize_line

NOT_SENT = "Nothing was sent."
MAX_FILE = 1_000_000
"""Bytes of a file that is an argument. No argument comes near it."""

Schema = dict[str, Any]


def parse(words: Sequence[str], schema: Schema) -> dict[str, Any]:
    """The arguments that the words give.

    Raises:
        UserInputError: a word is none, or does not fit its type. Values are not repeated. Nothing was sent.
    """
    properties: dict[str, Schema] = schema.get("properties", {})
    given: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise _wrong("Every argument is NAME=VALUE.", "Put one with spaces in it into quotes.")
        if name not in properties:
            raise _wrong(f"{sanitize_line(name, 64)}: unknown argument{nearest(name, properties)}")
        value = convert(name, properties[name], _content(name, text))
        if name in given:
            if not isinstance(value, list) or not isinstance(given[name], list):
                raise _wrong(f"{name} is given twice.")
            value = given[name] + value
        given[name] = value
    return given


def convert(name: str, schema: Schema, text: str) -> Any:
    """The value of a text, by the type that the schema says.

    Raises:
        UserInputError: the text is none of that type. It is not repeated.
    """
    if text == "":
        return text  # for any type: tools take it for an argument that is not given
    match schema.get("type"):
        case "boolean":
            if text.lower() not in ("true", "false"):
                raise _wrong(f"{name} must be true or false.")
            return text.lower() == "true"
        case "integer":
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
                raise _wrong(f"{name} must be a whole number.")
            return int(text)
        case "number":
            try:
                return float(text)
            except ValueError:
                raise _wrong(f"{name} must be a number.") from None
        case "array":
            if text.lstrip().startswith("["):
                return _json(name, text, list, "a list as JSON")
            items = (item.strip() for item in re.split(r"[,\n]", text))
            return [convert(name, schema.get("items", {}), item) for item in items if item]
        case "object":
            return _json(name, text, dict, "an object as JSON")
        case _:
            return text


def takes(schema: Schema) -> str:
    """What a person may put there, in a few words."""
    if choices := schema.get("enum"):
        return " or ".join(map(str, choices))
    kind = str(schema.get("type", "text"))
    return {"string": "text", "boolean": "true or false", "integer": "number", "array": "list", "object": "JSON"}.get(
        kind, kind
    )


def meaning(schema: Schema) -> str:
    """What it is for, and of a list, which items there are."""
    items = ", ".join(map(str, schema.get("items", {}).get("enum", [])))
    return ": ".join(part for part in (str(schema.get("description", "")), items) if part)


def nearest(given: str, names: Iterable[str]) -> str:
    """The end of a sentence: what was probably meant, or else what there is."""
    names = list(names)
    near = difflib.get_close_matches(given, names, 1, 0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(names) or 'none'}."


def _content(name: str, text: str) -> str:
    if text.startswith("@@"):
        return text[1:]
    if not text.startswith("@"):
        return text
    try:
        source = sys.stdin.buffer if text == "@-" else Path(text[1:]).open("rb")  # noqa: SIM115  # closed below
        with source:
            raw = source.read(MAX_FILE + 1)
        if len(raw) <= MAX_FILE:
            return raw.decode("utf-8-sig")
        problem = f"is larger than {MAX_FILE:,} bytes"
    except OSError as exc:
        problem = f"cannot be read ({exc.strerror})"
    except UnicodeDecodeError:
        problem = "is not text in UTF-8"
    raise _wrong(f"{name}: the file {problem}.", "@@ stands for an @ at the start of a value.")


def _json(name: str, text: str, kind: type, what: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise _wrong(f"{name} must be {what}.")
    return value


def _wrong(what: str, next_step: str = "`runtype-mcp call TOOL --help` tells its arguments.") -> UserInputError:
    return UserInputError(what, "" if what.endswith("?") else next_step, changed=NOT_SENT)
