"""What clients are told of the tools: flat, strict, complete, the same every time, and short."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest

from runtype_mcp.tools import SPECS
from tests.support import ERAS, MODERN, Api, mcp_client, text_of
from tests.tools import update_snapshot
from tests.tools.checks import tokens
from tests.tools.update_snapshot import SNAPSHOT, tools_list

Json = dict[str, Any]


@cache
def offered() -> dict[str, Json]:
    """Every tool by name, those that only pages call included."""
    return {tool["name"]: tool for tool in anyio.run(tools_list)}


@cache
def listed() -> dict[str, Json]:
    """The tools for models by name."""
    return {name: tool for name, tool in offered().items() if "visibility" not in tool.get("_meta", {}).get("ui", {})}


TOOL_NAMES = [spec.name for spec in SPECS]
every_tool = pytest.mark.parametrize("name", TOOL_NAMES)


def nodes(schema: Any) -> Iterator[Json]:
    """Every schema within a schema, and nothing that is only a name in one."""
    assert isinstance(schema, dict)
    yield schema
    for item in schema.get("properties", {}).values():
        yield from nodes(item)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key])


def test_the_tools_are_the_eight_endpoints_the_audit_and_the_list_of_what_tokens_run() -> None:
    assert list(listed()) == TOOL_NAMES
    assert sorted(TOOL_NAMES) == [
        "audit_client_tokens",
        "create_client_token",
        "delete_client_token",
        "get_client_token",
        "get_client_token_value",
        "list_agents_and_flows",
        "list_client_token_conversations",
        "list_client_tokens",
        "regenerate_client_token",
        "update_client_token",
    ]


@every_tool
@pytest.mark.parametrize("which", ["inputSchema", "outputSchema"])
def test_schemas_are_valid_and_flat(name: str, which: str) -> None:
    schema = listed()[name][which]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    for node in nodes(schema):
        if which == "outputSchema" and node.keys() == {"anyOf"}:
            continue  # a cell of a table
        assert not node.keys() - {
            "type",
            "description",
            "items",
            "enum",
            "maximum",
            "properties",
            "required",
        }
        assert isinstance(node["type"], str)
        assert node["type"] != "array" or "items" in node


LIMITS = {
    "rate_limit_per_minute": 1000,
    "rate_limit_per_hour": 10_000,
    "max_messages_per_session": 1000,
    "session_idle_timeout_minutes": 1440,
}
NAME_SAYS_ALL = {
    *((tool, field) for tool in ("update_client_token",) for field in (*LIMITS, "name", "default_flow_id")),
    ("list_client_tokens", "environment"),
    ("list_client_token_conversations", "flow_id"),
    ("audit_client_tokens", "severity"),
}
"""Arguments whose name is the whole description: words beside it would repeat it, in every session."""


@every_tool
def test_every_property_is_described_by_words_that_stand_alone_or_by_its_name(name: str) -> None:
    for field, node in listed()[name]["inputSchema"]["properties"].items():
        assert node["type"], field
        if (name, field) in NAME_SAYS_ALL:
            assert "description" not in node
        else:
            assert 2 <= len(node["description"].split()) <= 30, field


def test_no_description_is_one_that_only_its_author_can_read() -> None:
    for tool in listed().values():
        for said in (tool["description"], *(n.get("description", "") for n in nodes(tool["inputSchema"]))):
            assert not re.search("Only these|Even so|Where to\\b|Else |Whole list|there$|the same$", said), said


@every_tool
@pytest.mark.anyio
async def test_an_unknown_argument_is_refused(api: Api, name: str) -> None:
    """By the server alone: a schema that says so breaks converters of agent frameworks."""
    async with mcp_client(api, MODERN) as model:
        result = await model.call(name, nonsense=1)
        assert result.is_error
        assert "nonsense: unknown argument" in text_of(result)
        assert not api.received


@every_tool
def test_a_tool_says_what_it_is_for_people_and_for_hosts(name: str) -> None:
    tool = listed()[name]
    assert tool["title"]
    assert tool["title"] != name
    assert 20 <= len(tool["description"]) <= 240
    assert tool["description"].endswith(".")
    assert "\n" not in tool["description"]
    assert not set(tool) - {"name", "title", "description", "inputSchema", "outputSchema", "annotations", "_meta"}


@pytest.mark.parametrize(
    ("name", "annotations"),
    [
        ("list_client_tokens", {"readOnlyHint": True}),
        ("get_client_token", {"readOnlyHint": True}),
        ("get_client_token_value", {"readOnlyHint": True}),
        ("list_client_token_conversations", {"readOnlyHint": True}),
        ("audit_client_tokens", {"readOnlyHint": True}),
        ("list_agents_and_flows", {"readOnlyHint": True}),
        ("create_client_token", {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False}),
        ("update_client_token", {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}),
        ("delete_client_token", {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}),
        ("regenerate_client_token", {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False}),
    ],
)
def test_annotations_say_what_the_api_does(name: str, annotations: dict[str, bool]) -> None:
    found = listed()[name]["annotations"]
    # What is left out is the protocol's default, which is destructive and not idempotent.
    defaults = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False}
    for hint, value in annotations.items():
        assert found.get(hint, defaults[hint]) is value
    assert found.get("openWorldHint", True) is True


@pytest.mark.parametrize(
    ("name", "field", "facts"),
    [
        *(
            (name, field, {"type": "integer", "maximum": high})
            for name in ("create_client_token", "update_client_token")
            for field, high in LIMITS.items()
        ),
        ("create_client_token", "name", {"type": "string"}),
        ("create_client_token", "allowed_origins", {"type": "array", "items": {"type": "string"}}),
        ("create_client_token", "agent_ids", {"type": "array", "items": {"type": "string"}}),
        ("create_client_token", "environment", {"type": "string", "enum": ["test", "live"]}),
        ("create_client_token", "config", {"type": "object"}),
        ("create_client_token", "confirm", {"type": "boolean"}),
        ("create_client_token", "deliver", {"type": "string", "enum": ["show", "env_file"]}),
        ("update_client_token", "name", {"type": "string"}),
        ("update_client_token", "is_active", {"type": "boolean"}),
        ("update_client_token", "expected_name", {"type": "string"}),
        ("get_client_token_value", "deliver", {"enum": ["show", "env_file", "verify"]}),
        ("list_client_tokens", "limit", {"type": "integer", "maximum": 200}),
        ("list_client_tokens", "offset", {"type": "integer"}),
        ("list_client_tokens", "environment", {"enum": ["test", "live"]}),
        ("list_client_tokens", "detail", {"enum": ["summary", "full"]}),
        ("list_client_tokens", "unused_since", {"type": "string"}),
        ("list_client_token_conversations", "limit", {"maximum": 100}),
        ("audit_client_tokens", "limit", {"type": "integer", "maximum": 100}),
        ("audit_client_tokens", "severity", {"enum": ["high", "medium", "low"]}),
        ("list_client_tokens", "never_used", {"type": "boolean"}),
    ],
)
def test_the_contracts_limits_are_in_the_schemas(name: str, field: str, facts: Json) -> None:
    node = listed()[name]["inputSchema"]["properties"][field]
    assert {key: node.get(key) for key in facts} == facts


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_a_default_that_counts_is_said(name: str) -> None:
    (spec,) = [spec for spec in SPECS if spec.name == name]
    for field, info in spec.arguments.model_fields.items():
        if info.default and not info.is_required():
            said = listed()[name]["inputSchema"]["properties"][field]["description"]
            assert field == "deliver" or f"{info.default} unless given" in said, field


def test_the_choices_for_clearing_are_the_settings_that_take_null() -> None:
    node = listed()["update_client_token"]["inputSchema"]["properties"]["clear"]
    assert sorted(node["items"]["enum"]) == ["default_flow_id", "target_alias", "target_version_id"]


@pytest.mark.parametrize("name", ["environment", "product_surface_id", "pin_to_version"])
def test_what_cannot_be_changed_is_not_offered(name: str) -> None:
    assert name not in listed()["update_client_token"]["inputSchema"]["properties"]
    assert "pin_to_version" not in listed()["create_client_token"]["inputSchema"]["properties"]


@every_tool
def test_the_token_comes_first_and_the_confirmation_last(name: str) -> None:
    schema = listed()[name]["inputSchema"]
    fields = list(schema["properties"])
    required = schema.get("required", [])
    assert fields[: len(required)] == required
    confirming = [field for field in fields if field in ("confirm", "expected_name")]
    assert fields[len(fields) - len(confirming) :] == confirming


@every_tool
def test_few_arguments_are_required(name: str) -> None:
    required = listed()[name]["inputSchema"].get("required", [])
    assert required in ([], ["client_token"], ["name", "allowed_origins"])


@every_tool
def test_no_schema_has_a_place_for_the_apis_own_copy_of_a_value(name: str) -> None:
    for node in nodes(listed()[name]["outputSchema"]):
        assert not node.get("properties", {}).keys() & {"tokenValue", "token", "tokenHint", "tokenPrefix"}
    has_value = "value" in listed()[name]["outputSchema"]["properties"]
    assert has_value is (name in ("create_client_token", "regenerate_client_token", "get_client_token_value"))


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.anyio
async def test_the_list_is_the_same_every_time_and_for_every_client(era: str) -> None:
    # As text, since the order counts: a host's cache of its prompt lives on it.
    assert json.dumps(await tools_list(era)) == json.dumps(await tools_list(era))
    assert await tools_list(era) == list(offered().values())


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.anyio
async def test_the_list_depends_on_the_operators_settings_alone(era: str) -> None:
    for environ in ({"RUNTYPE_MCP_APPROVAL": "deny"}, {"RUNTYPE_MCP_ENVIRONMENT": "live"}):
        assert await tools_list(era, **environ) == list(offered().values())
    assert await tools_list(era, RUNTYPE_MCP_SECRETS="file") != list(offered().values())


@pytest.mark.anyio
async def test_the_list_costs_no_request(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        await model.client.list_tools()
        assert not api.received


def test_the_snapshot_is_current() -> None:
    """Whatever a client is told is a choice: see the difference in review.

    After a change that is meant: python -m tests.tools.update_snapshot
    """
    wanted = update_snapshot.text_of(list(offered().values()))
    assert Path(SNAPSHOT).read_text(encoding="utf-8") == wanted, "run: python -m tests.tools.update_snapshot"


# What it costs a model, in tokens (o200k), in every session.

VISIBLE, WIRE_OF_EIGHT = 1_900, 3_700
OTHERS = ("audit_client_tokens", "list_agents_and_flows")


def test_what_a_model_sees_stays_within_its_budget() -> None:
    """Also in hosts that show their models what is for pages."""
    seen = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in offered().values()]
    assert sum(map(tokens, seen)) <= VISIBLE


def test_what_is_on_the_wire_for_the_eight_endpoints_stays_within_its_budget() -> None:
    assert tokens([tool for name, tool in listed().items() if name not in OTHERS]) <= WIRE_OF_EIGHT
