"""TOML as hosts keep it. tomlkit keeps what it does not change; a new table is appended, so that nothing else moves."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import tomlkit
import tomlkit.exceptions
from tomlkit.items import InlineTable, Table

from runtype_mcp.hosts.paths import REMOVE, Malformed, Path, changed, find, nested, one_line


def parse(text: str) -> Any:
    """The data.

    Raises:
        Malformed: it is not TOML.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as exc:
        line = re.search(r"at line (\d+)", str(exc))
        what = re.sub(r" \(at .*\)$", "", str(exc))
        raise Malformed(what[:1].lower() + what[1:], int(line[1]) if line else text.count("\n") + 1) from None


def edit(text: str, path: Path, value: Any) -> str:
    """The text with `value` at `path`, or without what is at `path` if the value is REMOVE.

    Raises:
        Malformed: it is not TOML, or what is on the way is no table.
    """
    data = parse(text)
    line_end = "\r\n" if "\r\n" in text else "\n"
    if find(data, path) is None:
        if value is REMOVE:
            return text
        if isinstance(value, dict):
            appended = _append(text, path, value, line_end)
            if _holds(appended, changed(data, path, value)):
                return appended
    edited = _edit(text, path, value)
    # Where the removed table was the last one, the empty line before it goes too.
    if value is REMOVE and text.startswith(edited.rstrip()):
        edited = edited.rstrip() + line_end if edited.strip() else ""
    return edited


def _append(text: str, path: Path, table: dict[str, Any], line_end: str) -> str:
    header = ".".join(map(_key, path))
    lines = [f"[{header}]", *(f"{_key(key)} = {render(one)}" for key, one in table.items())]
    before = text.rstrip() + line_end * 2 if text.strip("\ufeff \t\r\n") else text.rstrip()
    return before + line_end.join([*lines, ""])


def _edit(text: str, path: Path, value: Any) -> str:
    document = tomlkit.parse(text)
    at: Any = document
    for depth, step in enumerate(path[:-1]):
        if step not in at and value is not REMOVE:
            at[step] = tomlkit.item(nested(path[depth + 1 :], value))
            return tomlkit.dumps(document)
        at = at[step]
        if not isinstance(at, Table | InlineTable) and not hasattr(at, "keys"):
            raise Malformed(f"{step} is not a table")
    if value is REMOVE:
        del at[path[-1]]
    else:
        at[path[-1]] = tomlkit.value(render(value))
    return tomlkit.dumps(document)


def _holds(text: str, data: Any) -> bool:
    try:
        return bool(tomllib.loads(text) == data)
    except tomllib.TOMLDecodeError:  # such as a second [table] where the first is written in another way
        return False


def render(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {render(one)}' for key, one in value.items())} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(render, value))}]"
    return one_line(value).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else one_line(key)
