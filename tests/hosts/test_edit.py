"""Edits of hosts' files: what is asked for changes, and every other byte stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtype_mcp.hosts.edit import Format, apply, editor
from runtype_mcp.hosts.json_text import parse
from runtype_mcp.hosts.paths import REMOVE, Item, Malformed, Path, changed, find

ENTRY = {"command": "/opt/runtype-mcp", "args": ["--sandbox"], "env": {"A": "${env:A}"}}
JSON: Path = ("mcpServers", "runtype")
TOML: Path = ("mcp_servers", "runtype")
YAML: Path = ("extensions", "runtype")

COMMENTED = """\
// my servers
{
  "mcpServers": {
    "other": { "command": "npx", "args": ["-y", "x"] }, // keep
    // "old": {}
    "last": {
      "url": "https://example.com" /* why */
    }
    // the end
  },
  "theme": "dark",
}
"""


@pytest.mark.parametrize(
    "text",
    [
        COMMENTED,
        COMMENTED.replace("\n", "\r\n"),
        COMMENTED.replace("  ", "\t"),
        '{\n  "mcpServers": {}\n}\n',
        '{"mcpServers": {}}',
        '{"mcpServers": {"a": {"command": "b"}}, "z": [1, 2.5e3, true, null, "\\u00e9 \\" // no comment"]}',
        '\ufeff{\n    "mcpServers": {\n        "a": {"command": "b"}\n    }\n}',
        '{\n  "mcpServers": {\n    // none yet\n  }\n}\n',
        '{\n  "mcpServers": {\n    "a": {}, // first\n    "b": {},\n  },\n}\n',
    ],
)
def test_what_is_put_into_json_and_taken_out_again_leaves_the_same_bytes(text: str) -> None:
    with_entry = apply("JSON", text, [(JSON, ENTRY)])
    assert find(parse(with_entry), JSON) == ENTRY
    assert apply("JSON", with_entry, [(JSON, REMOVE)]) == text


def test_an_entry_goes_where_a_person_would_put_it() -> None:
    assert apply("JSON", COMMENTED, [(JSON, ENTRY)]) == COMMENTED.replace(
        "why */\n    }\n    // the end\n",
        'why */\n    },\n    // the end\n    "runtype": {\n      "command": "/opt/runtype-mcp",\n'
        '      "args": ["--sandbox"],\n      "env": {\n        "A": "${env:A}"\n      }\n    }\n',
    )


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (
            '{\n  "a": 1, // one\n  "k": 2, // ours\n  // about c\n  "c": 3\n}',
            '{\n  "a": 1, // one\n  // about c\n  "c": 3\n}',
        ),
        ('{"a": 1, "k": 2, "c": 3}', '{"a": 1, "c": 3}'),
        ('{"a": 1, "k": 2}', '{"a": 1}'),
        ('{"k": 2}', "{}"),
        ('{\n  "k": 2\n}', "{}"),
        ('{\n  // about k\n  "k": 2\n}', "{\n  // about k\n}"),
        ('{\n  "a": 1,\n  "k": 2,\n}', '{\n  "a": 1,\n}'),
        ("{}", "{}"),
        ("", ""),
    ],
)
def test_a_member_is_removed_with_its_comma_and_its_own_comment_alone(text: str, after: str) -> None:
    assert apply("JSON", text, [(("k",), REMOVE)]) == after


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', 3),
        ('{\n  "a" 1\n}', 2),
        ("{\n  a: 1\n}", 2),
        ('{\n  "a": [1, 2\n', 3),
        ('{"a": 01}', 1),
        ('{"a": "\n"}', 1),
        ('{"a": "\\x"}', 1),
        ('{"a": tru}', 1),
        ("{}\n{}", 2),
        ("{,}", 1),
        ("/* open\n{}", 1),
        ('{"mcpServers": 3}', 1),
        ('{\n"mcpServers": []}', 2),
        ('{"mcpServers": {},\n"mcpServers": {}}', 2),
        ("[" * 300 + "]" * 300, 1),
    ],
)
def test_json_that_cannot_be_read_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(Malformed) as refused:
        editor("JSON").edit(text, JSON, ENTRY)
    assert refused.value.line == line
    assert str(refused.value)


def test_an_element_of_a_list_is_known_by_its_id() -> None:
    text = '{\n  "inputs": [\n    { "id": "a" } // keep\n  ]\n}\n'
    place = ("inputs", Item("k"))
    more = apply("JSON", text, [(place, {"id": "k"})])
    assert parse(more) == {"inputs": [{"id": "a"}, {"id": "k"}]}
    assert apply("JSON", more, [(place, {"id": "k", "x": 1})]) == more.replace('"id": "k"', '"id": "k",\n      "x": 1')
    assert apply("JSON", more, [(place, REMOVE)]) == text
    assert parse(apply("JSON", "{}", [(place, {"id": "k"})])) == {"inputs": [{"id": "k"}]}


CODEX = """\
# my codex
model = "gpt-5" # fast

[mcp_servers.other]
command = "npx"   # keep
args = ["-y", "x"]

[projects."/x"]
trust_level = "trusted"
"""
GOOSE = """\
# my goose
GOOSE_MODE: "auto"   # keep
extensions:
  developer:
    enabled: true
    args:
    - a
    hint: |
      # not a comment

# about the rest
rest: {a: 1}
"""


@pytest.mark.parametrize(
    ("form", "place", "text"),
    [
        ("TOML", TOML, CODEX),
        ("TOML", TOML, CODEX.replace("\n", "\r\n")),
        ("TOML", TOML, 'model = "x"\n'),
        ("TOML", TOML, ""),
        ("TOML", TOML, '[mcp_servers]\na.command = "x"\n'),
        ("TOML", TOML, 'mcp_servers = { a = { command = "x" } } # one line\nq = 1\n'),
        ("YAML", YAML, GOOSE),
        ("YAML", YAML, GOOSE.replace("\n", "\r\n")),
        ("YAML", YAML, "extensions: {}  # none\nz: 1\n"),
        ("YAML", YAML, "---\nextensions:\n    a: {enabled: true}\n    # end\n"),
        ("YAML", YAML, "x: &a {b: 1}\nextensions:\n  q: *a\n"),
    ],
)
def test_what_is_put_into_toml_and_yaml_and_taken_out_again_leaves_the_same_bytes(
    form: Format, place: Path, text: str
) -> None:
    with_entry = apply(form, text, [(place, ENTRY)])
    assert find(editor(form).parse(with_entry), place) == ENTRY
    assert apply(form, with_entry, [(place, REMOVE)]) == text


@pytest.mark.parametrize("form", ["JSON", "TOML", "YAML"])
def test_a_value_inside_an_entry_changes_alone(form: Format) -> None:
    place = {"JSON": JSON, "TOML": TOML, "YAML": YAML}[form]
    text = {"JSON": COMMENTED, "TOML": CODEX, "YAML": GOOSE}[form]
    before = apply(form, text, [(place, ENTRY)])
    after = apply(form, before, [((*place, "command"), "/new/runtype-mcp")])
    assert after == before.replace("/opt/", "/new/")
    more = [((*place, "args"), ["--read-only"]), ((*place, "env", "B"), "two words: x"), ((*place, "env", "A"), REMOVE)]
    data = editor(form).parse(apply(form, before, more))
    assert find(data, place) == {**ENTRY, "args": ["--read-only"], "env": {"B": "two words: x"}}


def test_only_the_entry_is_left_of_a_mapping_that_was_empty() -> None:
    assert apply("YAML", "extensions:\nz: 1\n", [(YAML, {"a": 1})]) == "extensions:\n  runtype:\n    a: 1\nz: 1\n"
    assert apply("YAML", "# mine\n", [(YAML, {"a": 1})]) == "# mine\nextensions:\n  runtype:\n    a: 1\n"
    assert apply("JSON", "// mine\n", [(JSON, 1)]) == '// mine\n{\n  "mcpServers": {\n    "runtype": 1\n  }\n}\n'


@pytest.mark.parametrize(
    ("form", "place", "text", "line"),
    [
        ("TOML", TOML, "a = 1\nb = \n", 2),
        ("TOML", TOML, "mcp_servers = 1\n", 0),
        ("TOML", TOML, "a = 1\na = 2\n", 2),
        ("YAML", YAML, "a: 1\nb: [\n", 3),
        ("YAML", YAML, "a: 1\n\tb: 2\n", 2),
        ("YAML", YAML, "a: 1\na: 2\n", 2),
        ("YAML", YAML, "extensions: [1]\n", 1),
        ("YAML", YAML, "x: 1\nextensions: {a: {b: 1}}\n", 2),
        ("YAML", YAML, "a: 1\n---\nb: 2\n", 2),
    ],
)
def test_toml_and_yaml_that_cannot_be_edited_are_refused_with_the_line(
    form: Format, place: Path, text: str, line: int
) -> None:
    with pytest.raises(Malformed) as refused:
        apply(form, text, [(place, ENTRY)])
    assert refused.value.line == line


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    data=st.dictionaries(st.sampled_from(["mcpServers", "z", "é"]), st.dictionaries(st.text(max_size=2), VALUES)),
    indent=st.sampled_from([None, 2, "\t"]),
)
def test_any_json_keeps_its_data_and_gets_its_bytes_back(data: dict[str, object], indent: int | str | None) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    with_entry = apply("JSON", text, [(JSON, ENTRY)])
    assert json.loads(with_entry) == changed(data, JSON, ENTRY)
    if "mcpServers" in data and "runtype" not in data["mcpServers"]:  # type: ignore[operator]  # objects, by the above
        assert apply("JSON", with_entry, [(JSON, REMOVE)]) == text
