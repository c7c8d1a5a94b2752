"""YAML as hosts keep it. ruamel.yaml finds the place; an edit changes its own lines and keeps all others."""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from runtype_mcp.hosts.paths import REMOVE, Malformed, Path, nested, one_line

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
_NOT_TEXT = re.compile(r"(?i)true|false|null|yes|no|on|off|y|n")


def parse(text: str) -> Any:
    """The data; an empty file holds an empty mapping.

    Raises:
        Malformed: it is not one YAML document.
    """
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError as exc:
        raise _malformed(exc) from None
    return {} if data is None else data


def edit(text: str, path: Path, value: Any) -> str:
    """The text with `value` at `path`, or without what is at `path` if the value is REMOVE.

    Raises:
        Malformed: it is not YAML, or what is on the way is no mapping.
    """
    try:
        node = YAML().compose(text)
    except YAMLError as exc:
        raise _malformed(exc) from None
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if node is None:
        return (
            text if value is REMOVE else _spliced(lines, len(lines), len(lines), render(nested(path, value)), line_end)
        )
    column, key_line = 0, 0
    for depth, step in enumerate(path):
        rest = path[depth + 1 :]
        found = _child(node, step)
        if found is None:
            if value is REMOVE:
                return text
            return _insert(text, node, (column, key_line), render({step: nested(rest, value)}), line_end)
        key, child = found
        if not rest:
            start, end = key.start_mark.line, _end(lines, key, child)
            if node.flow_style:
                raise Malformed(f"{step} is written on one line: edit it by hand", start + 1)
            if value is REMOVE and len(node.value) == 1 and depth:
                return _emptied(lines, key_line, start, end, line_end)
            new = [] if value is REMOVE else _indented(render({step: value}), key.start_mark.column)
            return _spliced(lines, start, end, new, line_end)
        column, key_line, node = key.start_mark.column, key.start_mark.line, child
    raise ValueError("an edit needs a path")


def _child(node: Node, step: str) -> tuple[Node, Node] | None:
    if isinstance(node, ScalarNode) and node.value in ("", "null", "~") and not node.style:
        return None
    if not isinstance(node, MappingNode):
        raise Malformed("a list or a text is where a mapping belongs", node.start_mark.line + 1)
    found = [(key, child) for key, child in node.value if key.value == step]
    if len(found) > 1:
        raise Malformed(f"{step} is there twice", found[1][0].start_mark.line + 1)
    return found[0] if found else None


def _insert(text: str, node: Node, key: tuple[int, int], new: list[str], line_end: str) -> str:
    """The text with a new last child of a mapping; `key` is the column and the line of the key that leads to it."""
    lines = text.splitlines(keepends=True)
    if isinstance(node, MappingNode) and node.value and not node.flow_style:
        last_key, last = node.value[-1]
        at = _end(lines, last_key, last)
        return _spliced(lines, at, at, _indented(new, last_key.start_mark.column), line_end)
    if isinstance(node, MappingNode) and node.value:
        raise Malformed("its entries are written on one line: edit it by hand", node.start_mark.line + 1)
    # `extensions:` alone, or `extensions: {}`
    start, end = node.start_mark, node.end_mark
    lines = (text[: start.index].rstrip(" ") + text[end.index :]).splitlines(keepends=True)
    column, line = key
    return _spliced(lines, line + 1, line + 1, _indented(new, column + 2), line_end)


def _emptied(lines: list[str], key_line: int, start: int, end: int, line_end: str) -> str:
    """The text without the only child of a mapping, of which an empty one stays."""
    head = re.sub(r":(?=\s|$)", ": {}", lines[key_line].rstrip("\r\n"), count=1) + line_end
    return "".join([*lines[:key_line], head, *lines[key_line + 1 : start], *lines[end:]])


def _spliced(lines: list[str], start: int, end: int, new: list[str], line_end: str) -> str:
    before = lines[:start]
    if before and new and not before[-1].endswith("\n"):
        before[-1] += line_end
    return "".join([*before, *(line + line_end for line in new), *lines[end:]])


def _end(lines: list[str], key: Node, value: Node) -> int:
    """The line behind the last one of a key and its value; comments that are indented further belong to them."""
    mark = value.end_mark
    first = int(key.start_mark.line) + 1
    end = int(mark.line) + (1 if mark.column and (not isinstance(value, CollectionNode) or value.flow_style) else 0)
    end = max(min(end, len(lines)), first)
    while end > first:
        line = lines[end - 1].strip()
        indent = len(lines[end - 1]) - len(lines[end - 1].lstrip(" "))
        if line and not (line.startswith("#") and indent <= key.start_mark.column):
            break
        end -= 1
    return end


def _indented(lines: list[str], column: int) -> list[str]:
    return [" " * column + line for line in lines]


def render(value: dict[str, Any]) -> list[str]:
    """A mapping as lines."""
    lines = []
    for key, one in value.items():
        if isinstance(one, dict) and one:
            lines += [f"{_scalar(key)}:", *_indented(render(one), 2)]
        elif isinstance(one, list) and one:
            lines += [f"{_scalar(key)}:", *(f"  - {_scalar(element)}" for element in one)]
        else:
            lines.append(f"{_scalar(key)}: {_scalar(one)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value):
        return value
    return one_line(value)


def _malformed(error: YAMLError) -> Malformed:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    what = (error.problem if isinstance(error, MarkedYAMLError) else "") or "it cannot be read"
    return Malformed(str(what), mark.line + 1 if mark else 0)
