"""Whatever a model passes to a tool: a classed answer, nothing written by accident, and no secret repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import mcp_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import ValidationError
from pydantic_core._pydantic_core import list_all_errors  # the only list of its sentences that there is

from runtype_mcp.sandbox.store import Record
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.arguments import invalid
from tests.properties.generators import Bench, bench, checked
from tests.support import AGENT, FLOW, KEY, text_of

modest = settings(max_examples=400, deadline=None)
TOOL = st.sampled_from([spec.name for spec in SPECS])
SECRETS = [
    "ct_live_flow01k7_0123456789abcdef0123456789abcdef",
    "ct_test_agent01j_fedcba9876543210fedcba9876543210",
    "rt_live_4f9c2b7ad1e84c0e9b3a5d6f7a8b9c0d",
    KEY,
]


@pytest.fixture(scope="module", name="bench")
def _bench() -> Iterator[Bench]:
    with bench() as made:
        yield made


NUMBERS = st.integers() | st.floats() | st.sampled_from([2**53, 2**63, -(2**63) - 1, 10**30])
ANY_TEXT = st.text(max_size=20) | st.sampled_from(["\ud83e", "a\udc00b", "\b", "\u2028", "\x00", "\U000e0041"])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
TEXTS = st.text(max_size=300) | st.sampled_from(
    ["", " ", ".", "..", "../..", "%2e%2e", "a/b", "*", "native", "null", "ct_1?x=1", "ct_\x00", "[", "{}", '["*"]']
)
DEEP = st.builds(lambda depth, opener: opener * depth, st.integers(1, 3000), st.sampled_from(["[", '{"a":']))
NESTED = st.integers(1, 900).map(lambda depth: '{"a":' * depth + "1" + "}" * depth)


def answered(bench: Bench, tool: str, arguments: dict[str, Any]) -> mcp_types.CallToolResult:
    """Call, and check what holds for every answer; an error has changed nothing, and says so."""
    result = bench.call(tool, arguments)
    text = checked(result)
    if result.is_error:
        assert "Nothing was" in text
        assert not bench.changed
    return result


@modest
@given(tool=TOOL, data=st.data())
def test_any_json_at_all_is_answered_and_writes_nothing(bench: Bench, tool: str, data: st.DataObject) -> None:
    names = st.sampled_from([*bench.schemas[tool]["properties"], "id", "token"]) | st.text(max_size=12)
    arguments = data.draw(st.dictionaries(names, JSON | TEXTS | DEEP | NESTED, max_size=6))
    answered(bench, tool, arguments)
    assert bench.api.writes == []


def fitting(name: str, schema: dict[str, Any], tokens: tuple[Record, ...]) -> st.SearchStrategy[Any]:
    """Values that the schema admits for an argument, mostly ones that also make sense."""
    match name:
        case "client_token":
            return st.sampled_from([text for r in tokens for text in (r.token["id"], r.token["name"]) if text])
        case "expected_name" | "name" | "name_contains":
            return st.sampled_from([r.token["name"] for r in tokens if r.token["name"]]) | st.text(min_size=1)
        case "allowed_origins" | "allowed_origin":
            one = st.sampled_from(
                ["https://shop.example", "http://localhost:3000", "https://*.a.example", "*", "native"]
            )
            return st.lists(one, min_size=1, max_size=3) if name == "allowed_origins" else one
        case "agent_ids":
            return st.lists(st.sampled_from([AGENT, "agent_unknown"]), max_size=2)
        case "flow_ids" | "default_flow_id" | "flow_id":
            flow = st.sampled_from([FLOW, "flow_unknown"])
            return flow if name.endswith("_id") else st.lists(flow, min_size=1, max_size=2)
        case "deliver":
            return st.just("show")  # files have tests of their own
    match schema:
        case {"enum": options}:
            return st.sampled_from(options)
        case {"type": "integer"}:
            return st.integers(schema.get("minimum", -100), schema.get("maximum", 100_000))
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "array", "items": items}:
            return st.lists(fitting("", items, tokens), max_size=3)
        case {"type": "object"}:
            # A client's own library cannot send half of a character as a key; a text of JSON can.
            in_a_text = st.dictionaries(ANY_TEXT, JSON, max_size=3).map(json.dumps)
            return st.dictionaries(st.text(max_size=10), JSON, max_size=3) | in_a_text | NESTED
        case {"format": "date"}:
            return st.dates().map(str)
    return st.text(min_size=1, max_size=60)


@modest
@given(tool=TOOL, data=st.data())
def test_arguments_that_nearly_fit_are_answered_and_an_error_changes_nothing(
    bench: Bench, tool: str, data: st.DataObject
) -> None:
    schema = bench.schemas[tool]
    fits = {
        name: fitting(name, field, bench.tokens) for name, field in schema["properties"].items() if name != "env_file"
    }
    required = {name: fits.pop(name) for name in schema.get("required", [])}
    arguments = data.draw(st.fixed_dictionaries(required, optional=fits))
    if arguments and data.draw(st.integers(0, 3)) == 0:
        arguments[data.draw(st.sampled_from(sorted(arguments)))] = data.draw(JSON | TEXTS)
    if "expected_name" in schema["properties"] and data.draw(st.booleans()):
        confirmed = [
            r.token["name"] for r in bench.tokens if arguments["client_token"] in (r.token["id"], r.token["name"])
        ]
        arguments |= {"confirm": True, "expected_name": confirmed[0] if confirmed else "Shop"}
    result = answered(bench, tool, arguments)
    if result.is_error and "Nothing was sent." in text_of(result):
        assert bench.api.writes == []
    if not bench.api.writes:
        assert not bench.changed


# pydantic's own sentences are for programmers. Ours come from one table, and what it lacks is said in general words.

ITS_WORDS = sorted(
    {
        words
        for known in list_all_errors()
        for words in re.split(r"\{\w+\}", known["message_template_python"])
        if len(words.split()) > 2
    }
)
GIVEN: dict[str, Any] = {"min_length": 1, "max_length": 2, "actual_length": 3, "field_type": "list", "expected": "'a'"}


def test_no_problem_of_pydantics_is_told_in_its_words() -> None:
    told = set()
    for known in list_all_errors():
        if known["type"] in ("value_error", "assertion_error"):
            continue  # our own words
        context = {name: GIVEN.get(name, 7) for name in known.get("example_context") or {}}
        context |= {name: value for name, value in (known.get("example_context") or {}).items() if name not in GIVEN}
        line: Any = {"type": known["type"], "loc": ("name",), "input": "secret", "ctx": context}
        error = ValidationError.from_exception_data("Arguments", [line])
        text = str(invalid(error, ["name", "limit"]))
        assert not any(words in text for words in ITS_WORDS), text
        assert "secret" not in text
        told.add(text)
    assert len(told) > 8


@modest
@given(tool=TOOL, data=st.data())
def test_no_answer_holds_a_sentence_of_pydantics(bench: Bench, tool: str, data: st.DataObject) -> None:
    properties = bench.schemas[tool]["properties"]
    required = {name: fitting(name, properties[name], bench.tokens) for name in bench.schemas[tool].get("required", [])}
    wrong = data.draw(st.dictionaries(st.sampled_from(sorted(properties)), JSON | TEXTS | DEEP, min_size=1, max_size=4))
    result = answered(bench, tool, data.draw(st.fixed_dictionaries(required)) | wrong)
    said = text_of(result) if result.is_error else ""
    assert not any(words in said for words in ITS_WORDS), said


AROUND = st.sampled_from(["", " ", "/", "https://x.example/", "my-", '"', "\n", "Bearer ", "é"])
SHAPES: list[Callable[[str], Any]] = [
    lambda text: text,
    lambda text: [text],
    lambda text: {text: 1},
    lambda text: {"a": [text]},
    lambda text: json.dumps([text]),
    lambda text: json.dumps({"a": text}),
]


@modest
@given(
    tool=TOOL,
    data=st.data(),
    secret=st.sampled_from(SECRETS),
    before=AROUND,
    after=AROUND,
    shape=st.sampled_from(SHAPES),
)
def test_a_secret_in_an_argument_is_repeated_in_no_answer(
    bench: Bench, tool: str, data: st.DataObject, secret: str, before: str, after: str, shape: Callable[[str], Any]
) -> None:
    schema = bench.schemas[tool]
    required = {name: fitting(name, schema["properties"][name], bench.tokens) for name in schema.get("required", [])}
    planted = before + secret + after
    place = data.draw(st.sampled_from([*schema["properties"], "unknown", planted]))
    arguments = data.draw(st.fixed_dictionaries(required)) | {place: shape(planted)}
    result = answered(bench, tool, arguments)
    assert secret not in text_of(result)
    assert secret not in json.dumps(result.structured_content)
    assert not any(secret in target for _, target, _ in bench.api.received)
