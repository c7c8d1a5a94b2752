"""JSON schemas as models and hosts take them best: flat, strict, and without what only costs tokens.

No `title`, `anyOf`, `const` or `$ref`: some hosts fail on them, and every one is paid for in every session.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class _Flat(GenerateJsonSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        # "Not given" is said by leaving a field out, so null needs no arm of its own.
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if not found.get("default") or self.mode == "serialization":  # null, false, 0 and empty say nothing
            found.pop("default", None)
        return found

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        found.pop("description", None)  # a class's docstring is for its readers here
        return found

    def list_schema(self, schema: core_schema.ListSchema) -> JsonSchemaValue:
        found = super().list_schema(schema)
        return found if found.get("items") else {"type": "array"}  # of anything

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        return {"type": "object"}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


_ORDER = (
    *("type", "description", "default", "items", "enum", "minLength", "maxLength", "minItems", "minimum", "maximum"),
    *("format", "additionalProperties", "properties", "required"),
)
"""Of the orders that read well, the one that costs a model the fewest tokens."""


def flat(model: type[BaseModel], mode: Any = "validation") -> dict[str, Any]:
    """The schema of `model`, closed where the model forbids more, with every reference put in its place."""
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
    closed: dict[str, Any] = inline(schema)
    # What is required comes first, and the confirmation last, as a reader would ask.
    required = closed.get("required", [])
    order = sorted(closed["properties"], key=lambda name: (name not in required, name in ("confirm", "expected_name")))
    return closed | {"properties": {name: closed["properties"][name] for name in order}}
