"""Change a configuration file's text, in the format that it has, and prove that nothing else changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from runtype_mcp.hosts.paths import REMOVE, Malformed, Path, changed, find

Format = Literal["JSON", "TOML", "YAML"]
Change = tuple[Path, Any]


class LibraryMissing(Exception):
    """The library that edits files of this format is not installed; `package` is its name at PyPI."""

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package


class Editor(NamedTuple):
    """What reads and edits one format: text to data, and text, path and value to text."""

    parse: Callable[[str], Any]
    edit: Callable[[str, Path, Any], str]


def editor(form: Format) -> Editor:
    """The editor for a format.

    Raises:
        LibraryMissing: it needs a library that is not installed.
    """
    package = ""
    try:
        if form == "TOML":
            package = "tomlkit"
            from runtype_mcp.hosts import toml_text

            return Editor(toml_text.parse, toml_text.edit)
        if form == "YAML":
            package = "ruamel.yaml"
            from runtype_mcp.hosts import yaml_text

            return Editor(yaml_text.parse, yaml_text.edit)
    except ModuleNotFoundError:
        raise LibraryMissing(package) from None
    from runtype_mcp.hosts import json_text

    return Editor(json_text.parse, json_text.edit)


def apply(form: Format, text: str, changes: Iterable[Change]) -> str:
    """The text after the changes, each a path and its new value, or REMOVE.

    Raises:
        Malformed: the file cannot be read, or cannot be changed without touching anything else.
        LibraryMissing: the format needs a library that is not installed.
    """
    parse, edit = editor(form)
    data = parse(text)
    for path, value in changes:
        before, there = data, find(data, path)
        if there != value and not (value is REMOVE and there is None):
            text = edit(text, path, value)
            data = parse(text)
        if _without_empty(data, path) != _without_empty(changed(before, path, value), path):
            raise Malformed("it is written in a way that cannot be changed safely")
    return text


def _without_empty(data: Any, path: Path) -> Any:
    """The data without the empty objects on the way: whether a removal leaves one is the format's choice."""
    for depth in range(len(path) - 1, 0, -1):
        if find(data, path[:depth]) in ({}, []):
            data = changed(data, path[:depth], REMOVE)
    return data
