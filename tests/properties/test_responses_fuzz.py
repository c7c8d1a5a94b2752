"""Whatever the API answers to a tool's requests: a classed answer, and a value in no place but its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mcp_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.tools import SPECS
from tests.properties.generators import Bench, bench, checked
from tests.support import AGENT, KEY

modest = settings(max_examples=400, deadline=None)

NAME = "Northwind Store - Support"
PLANTED = "ct_live_planted1_00112233445566778899aabbccddeeff"
CONFIRMED = {"client_token": NAME, "confirm": True, "expected_name": NAME}
CALLS: dict[str, dict[str, Any]] = {
    "list_client_tokens": {"detail": "full"},
    "get_client_token": {"client_token": NAME},
    "get_client_token_value": {"client_token": NAME},
    "list_client_token_conversations": {"client_token": NAME, "limit": 100},
    "audit_client_tokens": {},
    "list_agents_and_flows": {},
    "create_client_token": {"name": "New", "allowed_origins": ["https://new.example"], "agent_ids": [AGENT]},
    "update_client_token": CONFIRMED | {"name": "Renamed", "is_active": False},
    "delete_client_token": CONFIRMED,
    "regenerate_client_token": CONFIRMED,
}
TOOL = st.sampled_from(sorted(CALLS))

NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, 10**400, 1e400])
TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        "",
        PLANTED,
        f"see {PLANTED}!",
        KEY,
        "../..",
        "\x1b[2J",
        "\ud83e",
        "</untrusted>",
        "2026-13-45T99:99:99Z",
        "*",
        "x" * 500,
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | TEXTS, inner, max_size=3),
    max_leaves=8,
)
STATUS = st.sampled_from(
    [200, 200, 200, 201, 204, 206, 301, 303, 400, 401, 403, 404, 408, 409, 418, 429, 500, 502, 503, 599]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "content-type", "content-encoding", "location", "www-authenticate"]),
    st.sampled_from(["0", "9999999", "soon", "gzip", "br", "Wed, 21 Oct 2026 07:28:00 GMT", "text/html", KEY, "/v1/x"]),
    max_size=2,
)
DELETED = object()


@dataclass(frozen=True)
class Whole:
    """Another answer instead of the sandbox's. A refusal is a true one; else the operation happens all the same."""

    status: int
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Part:
    """The sandbox's answer with one place of its JSON changed, counted from its start."""

    place: int
    value: Any


BODIES = (
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"error": value, "message": value, "hint": value}).encode())
    | JSON.map(lambda value: json.dumps({"clientToken": value, "clientTokens": [value], "token": value}).encode())
    | st.sampled_from(
        [
            b"",
            b"null",
            b"[" * 300,
            b'{"a":' * 300,
            b"<html>502</html>",
            b'{"error":"\\ud83e"}',
            b"\xff\xfe{\x00}\x00",
        ]
    )
)
CHANGES = st.builds(Whole, STATUS, BODIES, HEADERS) | st.builds(Part, st.integers(0, 400), JSON | st.just(DELETED))


def changed(value: Any, part: Part) -> Any:
    """`value` with the place that `part` means replaced, or removed."""
    left = part.place

    def walk(node: Any) -> Any:
        nonlocal left
        if left == 0:
            left = -1
            return part.value
        left -= 1
        if isinstance(node, dict):
            pairs = ((name, walk(item)) for name, item in node.items())
            return {name: item for name, item in pairs if item is not DELETED}
        if isinstance(node, list):
            return [item for item in map(walk, node) if item is not DELETED]
        return node

    found = walk(value)
    return None if found is DELETED else found


def spoiling(changes: list[Whole | Part | None]) -> Callable[[ASGIApp], ASGIApp]:
    """The sandbox, whose first answers are changed one by one, and whose later ones are its own."""

    def around(app: ASGIApp) -> ASGIApp:
        left = list(changes)

        async def spoiled(scope: Scope, receive: Receive, send: Send) -> None:
            change = left.pop(0) if left else None
            if change is None:
                await app(scope, receive, send)
                return
            said: list[Message] = []

            async def keep(message: Message) -> None:
                said.append(message)

            refuses = isinstance(change, Whole) and 400 <= change.status < 500 and change.status != 408
            if not refuses:
                await app(scope, receive, keep)
            if isinstance(change, Part):
                whole = json.loads(b"".join(message.get("body", b"") for message in said))
                change = Whole(said[0]["status"], json.dumps(changed(whole, change)).encode(), {})
            body = b"" if change.status == 204 else change.body
            headers = [(name.encode(), text.encode()) for name, text in change.headers.items()]
            headers.append((b"content-length", str(len(body)).encode()))
            await send({"type": "http.response.start", "status": change.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return spoiled

    return around


@pytest.fixture(scope="module", name="bench")
def _bench() -> Iterator[Bench]:
    with bench() as made:
        yield made


def without_its_value(result: mcp_types.CallToolResult, text: str) -> str:
    """All that an answer says, but for the one field that exists to carry a value."""
    data = dict(result.structured_content or {})
    value = data.pop("value", None)
    said = f"{text}\n{json.dumps(data)}"
    return said.replace(str(value), "") if value else said


def check(bench: Bench, tool: str, result: mcp_types.CallToolResult) -> None:
    said = without_its_value(result, checked(result))
    said.encode()  # half a surrogate pair would end the connection to the client
    assert PLANTED not in said
    assert not [record.value for record in bench.tokens if record.value and record.value in said]
    assert len(bench.api.writes) <= 1
    if result.is_error and "Nothing was changed." in said:
        assert not bench.changed, said


@modest
@given(tool=TOOL, changes=st.lists(st.none() | CHANGES, min_size=1, max_size=5))
def test_any_answers_at_all_make_a_classed_answer(bench: Bench, tool: str, changes: list[Whole | Part | None]) -> None:
    check(bench, tool, bench.call(tool, CALLS[tool], spoiling(changes)))


@modest
@given(tool=TOOL, quiet=st.integers(0, 4), part=st.builds(Part, st.integers(0, 400), JSON | st.just(DELETED)))
def test_one_odd_place_in_one_answer_makes_a_classed_answer(bench: Bench, tool: str, quiet: int, part: Part) -> None:
    check(bench, tool, bench.call(tool, CALLS[tool], spoiling([*[None] * quiet, part])))


def test_every_tool_is_called() -> None:
    assert CALLS.keys() == {spec.name for spec in SPECS}


def test_without_a_change_every_call_succeeds(bench: Bench) -> None:
    for tool, arguments in CALLS.items():
        assert not bench.call(tool, arguments).is_error, tool
