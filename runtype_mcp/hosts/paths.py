"""Where something is in a configuration, whatever the format of its file."""

from __future__ import annotations

import json
from typing import Any, Final


class Item(str):
    """A step into a list: to the element whose `id` this is. Any other step is a key."""

    __slots__ = ()


Step = str
Path = tuple[Step, ...]
REMOVE: Final = object()
"""In place of a value: what is there goes."""


KINDS: Final = {dict: "an object", list: "a list"}


class Malformed(Exception):
    """A file that cannot be edited. The message is a clause for people; `line` counts from 1, and is 0 if unknown."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


def nested(path: Path, value: Any) -> Any:
    """The value below the keys of a path that does not exist yet."""
    for step in reversed(path):
        value = [value] if isinstance(step, Item) else {str(step): value}
    return value


def find(data: Any, path: Path) -> Any:
    """What is at a path; None if nothing is."""
    for step in path:
        if isinstance(step, Item):
            elements = data if isinstance(data, list) else []
            data = next((one for one in elements if isinstance(one, dict) and one.get("id") == step), None)
        else:
            data = data.get(step) if isinstance(data, dict) else None
    return data


def changed(data: Any, path: Path, value: Any) -> Any:
    """The data with `value` at `path`, or without what is there: what an edit of the text must come to.

    Raises:
        Malformed: something else than an object or a list is on the way.
    """
    step, rest = path[0], path[1:]
    kind = list if isinstance(step, Item) else dict
    if data is not None and not isinstance(data, kind):
        raise Malformed(f"{one_line(data)} is where {KINDS[kind]} belongs")
    if isinstance(step, Item):
        elements = list(data or [])
        at = next((i for i, one in enumerate(elements) if isinstance(one, dict) and one.get("id") == step), None)
        old = None if at is None else elements[at]
        new = value if not rest or (old is None and value is REMOVE) else changed(old, rest, value)
        at = len(elements) if at is None else at
        elements[at : at + 1] = [] if new is REMOVE else [new]
        return elements
    members = dict(data or {})
    old = members.pop(step, None) if not rest and value is REMOVE else members.get(step)
    new = value if not rest or (old is None and value is REMOVE) else changed(old, rest, value)
    return members if new is REMOVE else {**members, str(step): new}


def one_line(value: Any) -> str:
    """A value as JSON on one line, which TOML (objects excepted) and YAML read too."""
    return json.dumps(value, ensure_ascii=False)
