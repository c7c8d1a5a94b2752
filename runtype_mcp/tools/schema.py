"""JSON schemas as models and hosts take them best: flat, and of the few words that every host knows.

No `title`, `const` or `$ref`, and no `anyOf` in arguments: some hosts fail on them, and every one is paid for in every
session. No `additionalProperties`, `default`, `format` or lengths either: converters of agent frameworks refuse them.
The server checks what the schema leaves out, and the descriptions say it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class _Flat(GenerateJsonSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        # "Not given" is said by leaving a field out, so null needs no arm of its own.
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        found.pop("description", None)  # a class's docstring is for its readers here
        return found

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        return {"type": "object"}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        # That a count is not negative, and a limit not zero, goes without saying.
        found = super().int_schema(schema)
        if found.get("minimum") in (0, 1):
            del found["minimum"]
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


_ORDER = ("type", "description", "items", "enum", "minimum", "maximum", "anyOf", "properties", "required")
"""The words that are kept, in the order that reads well and costs a model the fewest tokens."""


@cache
def flat(model: type[BaseModel], mode: Any = "validation") -> dict[str, Any]:
    """The schema of `model` with every reference put in its place. Servers share it, so change none."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Flat, mode=mode)
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(definitions[node["$ref"].rpartition("/")[2]] | {k: v for k, v in node.items() if k != "$ref"})
        found = {key: properties(item) if key == "properties" else inline(item) for key, item in node.items()}
        if mode == "serialization" and node is not schema:
            found.pop("required", None)  # of a part of a result it says little for what it costs
        return {key: found[key] for key in _ORDER if key in found}

    def properties(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: inline(field) for name, field in fields.items()}

    schema["type"] = "object"
    made: dict[str, Any] = {"properties": {}} | inline(schema)
    # What is required comes first, and the confirmation last, as a reader would ask.
    required = made.get("required", [])
    order = sorted(made["properties"], key=lambda name: (name not in required, name in ("confirm", "expected_name")))
    return made | {"properties": {name: made["properties"][name] for name in order}}
