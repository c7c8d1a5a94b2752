"""JSON as hosts keep it: with comments and trailing commas. An edit changes its own characters and keeps all others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runtype_mcp.hosts.paths import KINDS, REMOVE, Item, Malformed, Path, Step, nested, one_line

_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])")
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"(?:true|false|null)\b")
_MAX_DEPTH = 200


@dataclass(slots=True)
class _Child:
    """A member of an object or an element of an array. `start` is where its key, or else its value, begins."""

    key: str | None
    start: int
    node: _Node
    comma: int = -1  # where the comma behind it is; -1 without one


@dataclass(slots=True)
class _Node:
    """A value in the text, from `start` up to `end`. `children` is None unless it is an object or an array."""

    start: int
    end: int
    value: Any
    children: list[_Child] | None = field(default=None)


def parse(text: str) -> Any:
    """The data. An empty file holds an empty object.

    Raises:
        Malformed: it is not JSON, even with comments and trailing commas.
    """
    return _tree(text).value


def edit(text: str, path: Path, value: Any) -> str:
    """The text with `value` at `path`, or without what is at `path` if the value is REMOVE.

    Objects on the way are made. Comments, order, indentation and line ends stay.

    Raises:
        Malformed: it is not JSON, or what is on the way is no object.
    """
    node = _tree(text)
    if node.start == node.end:  # an empty file, or one of comments alone
        text = text + "{}\n" if text.strip("\ufeff \t\r\n") else text[: text.startswith("\ufeff")] + "{}\n"
        node = _tree(text)
    for depth, step in enumerate(path):
        child = _find(text, node, step)
        if child is None:
            return text if value is REMOVE else _insert(text, node, step, nested(path[depth + 1 :], value))
        if depth == len(path) - 1:
            return _remove(text, node, child) if value is REMOVE else _replace(text, child, value)
        node = child.node
    raise ValueError("an edit needs a path")


def _find(text: str, node: _Node, step: Step) -> _Child | None:
    """The child that a step leads to."""
    wanted = list if isinstance(step, Item) else dict
    if not isinstance(node.value, wanted) or node.children is None:
        raise _malformed(text, node.start, f"{one_line(node.value)} is where {KINDS[wanted]} belongs")
    if isinstance(step, Item):
        found = [c for c in node.children if isinstance(c.node.value, dict) and c.node.value.get("id") == step]
    else:
        found = [child for child in node.children if child.key == step]
    if len(found) > 1:
        raise _malformed(text, found[1].start, f'"{step}" is there twice')
    return found[0] if found else None


def _replace(text: str, child: _Child, value: Any) -> str:
    old = text[child.node.start : child.node.end]
    flat = len(old) > 2 and "\n" not in old  # `{}` shows nothing of how it would be written
    indent = _indent_at(text, child.start)
    rendered = one_line(value) if flat else _render(value, indent, _unit(text), _line_end(text))
    return text[: child.node.start] + rendered + text[child.node.end :]


def _insert(text: str, node: _Node, step: Step, value: Any) -> str:
    """The text with a new last child."""
    assert node.children is not None
    key = "" if isinstance(step, Item) else f"{json.dumps(step, ensure_ascii=False)}: "
    last = node.children[-1] if node.children else None
    if last and "\n" not in text[node.start : last.start]:  # it is written on one line, and stays there
        at = last.node.end
        return f"{text[:at]}, {key}{one_line(value)}{text[at:]}"
    unit, line_end = _unit(text), _line_end(text)
    outer = _indent_at(text, node.start)
    inner = _indent_at(text, last.start) if last else outer + unit
    closing = node.end - 1
    before = text[:closing].rstrip(" \t\r\n")  # up to the last comment, if there is one
    after = text[len(before) :] if last or before[-1:] not in "{[" else line_end + outer + text[closing:]
    comma = "," if last and last.comma >= 0 else ""
    if last and not comma:
        end = last.node.end
        before = f"{before[:end]},{before[end:]}"
    if not re.match(r"[ \t]*\r?\n", after):  # the bracket is on the line of the last child
        after = line_end + outer + after.lstrip(" \t")
    return f"{before}{line_end}{inner}{key}{_render(value, inner, unit, line_end)}{comma}{after}"


def _remove(text: str, node: _Node, child: _Child) -> str:
    """The text without a child, and without its comma and a comment on its last line; other comments stay."""
    assert node.children is not None
    index = node.children.index(child)
    is_last = index == len(node.children) - 1
    start, end = child.start, child.comma + 1 or child.node.end
    rest_of_line = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/[ \t]*)?(?=\r?\n)")
    line = text.rfind("\n", 0, start) + 1
    alone = not text[line:start].strip(" \t")
    if is_last:
        start = len(text[:start].rstrip(" \t\r\n"))
        if len(node.children) == 1 and not text[end : node.end - 1].strip() and start == node.start + 1:
            end = node.end - 1  # nothing is left between the brackets
    elif alone and (rest := rest_of_line.match(text, end)):
        start, end = line, text.find("\n", rest.end()) + 1
    else:
        end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    before = text[:start]
    if is_last and index and child.comma < 0:
        comma = node.children[index - 1].comma
        before = before[:comma] + before[comma + 1 :]
    return before + text[end:]


# How the file is written


def _unit(text: str) -> str:
    """One level of indentation, as the file has it."""
    found = re.search(r"\n([ \t]+)(?=[^\s/])", text)
    return found[1] if found else "  "


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_at(text: str, position: int) -> str:
    """The indentation of the line that holds a position."""
    line = text.rfind("\n", 0, position) + 1
    found = re.compile(r"[ \t]*").match(text, line)
    return found[0] if found else ""


def _render(value: Any, indent: str, unit: str, line_end: str) -> str:
    """A value over several lines, its own first line excepted; arrays of plain values stay on one."""
    if not isinstance(value, dict) or not value:
        return one_line(value)
    inner = indent + unit
    members = (
        f"{inner}{json.dumps(key, ensure_ascii=False)}: {_render(one, inner, unit, line_end)}"
        for key, one in value.items()
    )
    return f"{{{line_end}{f',{line_end}'.join(members)}{line_end}{indent}}}"


# Reading


def _tree(text: str) -> _Node:
    start = _skip(text, 1 if text.startswith("\ufeff") else 0)
    if start == len(text):
        return _Node(start, start, {}, [])
    node = _value(text, start, 0)
    end = _skip(text, node.end)
    if end < len(text):
        raise _malformed(text, end, "something follows behind the end")
    return node


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _value(text: str, start: int, depth: int) -> _Node:
    if depth > _MAX_DEPTH:
        raise _malformed(text, start, "it is nested too deeply")
    first = text[start : start + 1]
    if first in ("{", "["):
        return _container(text, start, depth)
    if found := _STRING.match(text, start) or _NUMBER.match(text, start):
        return _Node(start, found.end(), json.loads(found[0]))
    if found := _WORD.match(text, start):
        return _Node(start, found.end(), _WORDS[found[0]])
    raise _malformed(text, start, _unexpected(first, "a value"))


def _container(text: str, start: int, depth: int) -> _Node:
    is_object = text[start] == "{"
    bracket = "}" if is_object else "]"
    children = list(_children(text, start + 1, depth, bracket))
    after = children[-1] if children else None
    end = _skip(text, start + 1 if after is None else after.comma + 1 or after.node.end) + 1
    values = [child.node.value for child in children]
    data = dict(zip((child.key for child in children), values, strict=True)) if is_object else values
    return _Node(start, end, data, children)


def _children(text: str, position: int, depth: int, bracket: str) -> Iterator[_Child]:
    position = _skip(text, position)
    while text[position : position + 1] != bracket:
        start, key = position, None
        if bracket == "}":
            found = _STRING.match(text, position)
            if not found:
                raise _malformed(text, position, _unexpected(text[position : position + 1], 'a name in "quotes"'))
            key = json.loads(found[0])
            position = _skip(text, found.end())
            if text[position : position + 1] != ":":
                raise _malformed(text, position, _unexpected(text[position : position + 1], "a colon"))
            position = _skip(text, position + 1)
        child = _Child(key, start, _value(text, position, depth + 1))
        position = _skip(text, child.node.end)
        if text[position : position + 1] == ",":
            child.comma = position
            position = _skip(text, position + 1)
        elif text[position : position + 1] != bracket:
            raise _malformed(text, position, _unexpected(text[position : position + 1], f"a comma or {bracket}"))
        yield child


def _unexpected(found: str, wanted: str) -> str:
    return f"{wanted} is missing before {found!r}" if found else f"the file ends where {wanted} belongs"


def _malformed(text: str, position: int, what: str) -> Malformed:
    return Malformed(what, text.count("\n", 0, position) + 1)
