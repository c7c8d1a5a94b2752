"""Words of a command line as a tool's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.commands.call_arguments import MAX_FILE, meaning, parse, takes
from runtype_mcp.errors import UserInputError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "A name"},
        "environment": {"type": "string", "enum": ["test", "live"]},
        "limit": {"type": "integer"},
        "share": {"type": "number"},
        "active": {"type": "boolean"},
        "origins": {"type": "array", "items": {"type": "string"}, "description": "Where it works"},
        "clear": {"type": "array", "items": {"type": "string", "enum": ["config", "target_alias"]}},
        "counts": {"type": "array", "items": {"type": "integer"}},
        "config": {"type": "object"},
        "later": {},
    },
}
SECRET = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["name=Shop"], {"name": "Shop"}),
        (["name= a = b "], {"name": " a = b "}),
        (["name=123"], {"name": "123"}),
        (['name={"a": 1}'], {"name": '{"a": 1}'}),
        (["name="], {"name": ""}),
        (["limit="], {"limit": ""}),
        (["origins="], {"origins": ""}),
        (["limit=20"], {"limit": 20}),
        (["limit=-1"], {"limit": -1}),
        (["share=0.5"], {"share": 0.5}),
        (["active=true"], {"active": True}),
        (["active=False"], {"active": False}),
        (["origins=https://a.example"], {"origins": ["https://a.example"]}),
        (["origins=a, b,,c"], {"origins": ["a", "b", "c"]}),
        (["origins=a", "name=x", "origins=b"], {"origins": ["a", "b"], "name": "x"}),
        (['origins=["a, b", "c"]'], {"origins": ["a, b", "c"]}),
        (["origins=[]"], {"origins": []}),
        (["counts=1,2"], {"counts": [1, 2]}),
        (['config={"theme": "dark"}'], {"config": {"theme": "dark"}}),
        (["name=@@home"], {"name": "@home"}),
        (["name=me@home"], {"name": "me@home"}),
        (["later=anything"], {"later": "anything"}),
    ],
)
def test_a_word_is_read_by_the_type_of_its_argument(words: list[str], given: dict[str, Any]) -> None:
    assert parse(words, SCHEMA) == given


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["Shop"], "Every argument is NAME=VALUE."),
        ([f"nme={SECRET}"], "nme: unknown argument; did you mean name?"),
        ([f"origin={SECRET}"], "origin: unknown argument; did you mean origins?"),
        ([f"zzzz={SECRET}"], "zzzz: unknown argument; known are name, environment, limit"),
        ([f"\x1b[31mzz={SECRET}"], "zz: unknown argument"),
        ([f"limit={SECRET}"], "limit must be a whole number."),
        (["limit=1.5"], "limit must be a whole number."),
        (["limit=" + "9" * 5000], "limit must be a whole number."),
        ([f"share={SECRET}"], "share must be a number."),
        ([f"active={SECRET}"], "active must be true or false."),
        (["active=1"], "active must be true or false."),
        ([f"origins=[{SECRET}"], "origins must be a list as JSON."),
        (["origins=[" * 9], "origins must be a list as JSON."),
        (["counts=1,x"], "counts must be a whole number."),
        ([f"config={SECRET}"], "config must be an object as JSON."),
        (["config=[1]"], "config must be an object as JSON."),
        (["config=" + '{"a":' * 9999], "config must be an object as JSON."),
        (["name=a", f"name={SECRET}"], "name is given twice."),
        (["origins=", "origins=a"], "origins is given twice."),
        (["name=@/no/such/file"], "name: the file cannot be read (No such file or directory)."),
        (["name=@/"], "name: the file cannot be read (Is a directory)."),
        (["name=@"], "name: the file cannot be read (Is a directory)."),
    ],
)
def test_a_word_that_does_not_fit_is_refused_without_its_value(words: list[str], says: str) -> None:
    with pytest.raises(UserInputError) as refused:
        parse(words, SCHEMA)
    assert str(refused.value).startswith(says)
    assert "Nothing was sent." in str(refused.value)
    assert "0123456789abcdef" not in str(refused.value)


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    origins, config = tmp_path / "origins", tmp_path / "config.json"
    origins.write_bytes(b"\xef\xbb\xbfhttps://a.example\r\nhttps://b.example\n")
    config.write_text('{"theme": "dark"}\n')
    given = parse([f"origins=@{origins}", f"config=@{config}"], SCHEMA)
    assert given == {"origins": ["https://a.example", "https://b.example"], "config": {"theme": "dark"}}


@pytest.mark.parametrize(
    ("content", "problem"), [(b"x" * (MAX_FILE + 1), "is larger than 1,000,000 bytes"), (b"\xff", "is not text")]
)
def test_a_file_that_no_argument_can_be_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "value"
    file.write_bytes(content)
    with pytest.raises(UserInputError, match=problem):
        parse([f"name=@{file}"], SCHEMA)


def test_each_type_is_told_in_a_word() -> None:
    told = {name: takes(schema) for name, schema in SCHEMA["properties"].items()}
    assert told == {
        "name": "text",
        "environment": "test or live",
        "limit": "number",
        "share": "number",
        "active": "true or false",
        "origins": "list",
        "clear": "list",
        "counts": "list",
        "config": "JSON",
        "later": "text",
    }
    assert meaning(SCHEMA["properties"]["origins"]) == "Where it works"
    assert meaning(SCHEMA["properties"]["clear"]) == "config, target_alias"
