"""What holds for the answer of every tool, whatever it was asked."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import jsonschema
import mcp_types

from tests.support import Api, McpClient, text_of

Json = dict[str, Any]
VALUE = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"


async def call(api: Api, model: McpClient, tool: str, /, **arguments: Any) -> Json:
    """The structured result of a call that works, once it holds what every result must hold."""
    values = _values(api)
    result = await model.call(tool, **arguments)
    assert not result.is_error, text_of(result)
    data: Json | None = result.structured_content
    assert data is not None
    (listed,) = [listed for listed in (await model.client.list_tools()).tools if listed.name == tool]
    assert listed.output_schema is not None
    jsonschema.validate(data, listed.output_schema, cls=jsonschema.Draft202012Validator)
    _same_facts(data, text_of(result))
    shown = data.get("value")
    _no_value(result, values | _values(api), shown)
    return data


async def refusal(api: Api, model: McpClient, tool: str, /, **arguments: Any) -> str:
    """The text of a call that does not work. Nothing was written, it says so, and no value or key is in it."""
    before = len(api.writes)
    result = await model.call(tool, **arguments)
    assert result.is_error, text_of(result)
    assert result.structured_content is None
    assert len(api.writes) == before
    text = text_of(result)
    assert "Nothing was " in text
    _no_value(result, _values(api), None)
    return text


async def not_sent(api: Api, model: McpClient, tool: str, /, **arguments: Any) -> str:
    """The text of a call that is refused before the API hears of it."""
    before = len(api.received)
    text = await refusal(api, model, tool, **arguments)
    assert len(api.received) == before
    return text


def _values(api: Api) -> set[str]:
    return {record.value for record in api.store.newest_first() if record.value}


def _no_value(result: mcp_types.CallToolResult, values: set[str], shown: str | None) -> None:
    """No value but the one that `value` shows, nor the field that the API may send it in."""
    dumped = result.model_dump_json(by_alias=True)
    assert "tokenValue" not in dumped
    for value in values:
        # In `value`, and on its line of the text.
        assert dumped.count(value) == (2 if value == shown else 0)


def _same_facts(data: Json, text: str) -> None:
    """Hosts show a model the structured result or the text: each alone must do."""
    for path, leaf in leaves(data):
        shown = leaf if isinstance(leaf, str) else json.dumps(leaf)
        assert shown in text, (path, shown)
        assert path.rpartition(".")[2] in text, path


def listed(data: Json) -> list[Json]:
    """The client tokens of a list's structured result, by the names of its columns if it is a table."""
    if "rows" not in data:
        return list(data["clientTokens"])
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def tokens(value: object) -> int:
    """What a text, or a value as compact JSON, costs a model (o200k)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how the package reads its own data
        import bpe_openai
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return len(bpe_openai.get_encoding("o200k_base").encode(text))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar in a JSON value, with the path of names to it."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value
