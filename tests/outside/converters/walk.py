"""What every agent framework has to make of our tools: it converts them for a model, calls them, reads the answers.

Each module beside this one says how one framework does that. Like them it runs in the framework's own environment,
so it imports nothing but the standard library. The checks look at facts, never at wording.
"""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]

ALL: list[Json] = json.loads(Path(__file__).parents[2].joinpath("tools/tools_list.json").read_text())
LISTED: dict[str, Json] = {
    tool["name"]: tool for tool in ALL if "visibility" not in tool.get("_meta", {}).get("ui", {})
}
"""The tools for models, as the server lists them."""
FOR_PAGES = {tool["name"] for tool in ALL} - LISTED.keys()
"""Some frameworks leave these out, and most do not."""

CLOSED = {
    "delete_client_token",
    "get_client_token",
    "get_client_token_value",
    "list_client_token_conversations",
    "list_client_tokens",
    "regenerate_client_token",
}
"""The tools that a strict form has to fit: they have arguments, and none is an object of anything."""

VALUE = re.compile(r"ct_(?:live|test)_[A-Za-z0-9]+_[A-Za-z0-9]{16,}")


class Answer(NamedTuple):
    """What a model is told of a call."""

    failed: bool
    text: str


class Framework(Protocol):
    """Our tools after a framework's own conversion."""

    @property
    def names(self) -> list[str]: ...

    def schema(self, tool: str) -> Json:
        """What a model is told of a tool's arguments."""

    async def call(self, tool: str, arguments: Json) -> Answer:
        """Call a tool as the framework does when a model asks for it."""


class Checks(dict[str, str]):
    """What came of every check: sentence -> `passed`, or `failed: ` and why."""

    async def __call__(self, sentence: str, body: Callable[[], Awaitable[None]]) -> None:
        try:
            await body()
            self[sentence] = "passed"
        except AssertionError as error:
            self[sentence] = f"failed: {error}"
        except Exception as error:
            self[sentence] = f"failed: {type(error).__name__}: {error}"

    async def of_each(self, sentence: str, tools: Iterable[str], body: Callable[[str], Awaitable[None]]) -> None:
        """A check of several tools, which says of each why it fails."""

        async def each() -> None:
            wrong = Checks()
            for tool in tools:
                await wrong(tool, partial(body, tool))
            why = [f"{tool} {outcome}" for tool, outcome in wrong.items() if outcome != "passed"]
            expect(not why, "\n".join(why))

        await self(sentence, each)


def expect(fact: object, what: str) -> None:
    if not fact:
        raise AssertionError(what)


def same(got: object, expected: object) -> None:
    expect(got == expected, f"expected {str(expected)[:300]}, got {str(got)[:300]}")


async def walk(framework: Framework, label: str) -> Checks:
    """Hold a framework's tools to what they are for."""
    checks = Checks()
    name = f"Outside {label}"
    agent, before = "", ""

    async def ok(tool: str, arguments: Json | None = None) -> str:
        answer = await framework.call(tool, arguments or {})
        expect(not answer.failed, f"{tool} answered: {answer.text}")
        return answer.text

    def plain(tool: str) -> Json:
        """Arguments with which a call of a tool reads or previews, and changes nothing."""
        new = {"name": "Outside, everywhere", "allowed_origins": ["*"], "agent_ids": [agent]}
        more: dict[str, Json] = {
            "audit_client_tokens": {},
            "create_client_token": new,
            "list_agents_and_flows": {},
            "list_client_tokens": {},
            "update_client_token": {"client_token": name, "is_active": False},
        }
        return more.get(tool, {"client_token": name})

    def blank(value: object, types: tuple[str, ...] = ()) -> Callable[[str], Awaitable[None]]:
        """The check that an optional argument with `value` counts as left out; of all `types`, or of some."""

        async def check(tool: str) -> None:
            arguments = plain(tool)
            for argument, schema in LISTED[tool]["inputSchema"]["properties"].items():
                if argument not in arguments and (not types or schema["type"] in types):
                    arguments[argument] = value
            same(await ok(tool, arguments), await ok(tool, plain(tool)))

        return check

    async def all_convert() -> None:
        same(sorted(set(framework.names) - FOR_PAGES), sorted(LISTED))

    async def converts(tool: str) -> None:
        schema, listed = framework.schema(tool), LISTED[tool]["inputSchema"]
        same(sorted(schema.get("properties") or {}), sorted(listed["properties"]))
        missing = set(listed.get("required", ())) - set(schema.get("required") or ())
        expect(not missing, f"no longer required: {missing}")
        for argument, given in listed["properties"].items():
            found = schema["properties"][argument]
            same(found.get("description"), given.get("description"))
            same(choices(found), given.get("enum"))
            expect(given["type"] != "array" or holds(found), f"{argument} is a list of nothing in particular")

    async def lists() -> None:
        nonlocal agent
        text = await ok("list_client_tokens", {"detail": "full"})
        expect(not VALUE.search(text), "no value in a list")
        found = re.search(r"\bagent_[0-9a-z]{26}\b", text)
        expect(found, "an agent's id")
        agent = found[0] if found else ""

    async def creates() -> None:
        nonlocal before
        arguments = {"name": name, "allowed_origins": ["https://shop.example.com"], "agent_ids": [agent]}
        expect(VALUE.search(await ok("create_client_token", arguments)), "a value")
        before = await ok("list_client_tokens", {"detail": "full"})
        expect(name in before, "the new token in the list")

    async def previews() -> None:
        expect(name in await ok("delete_client_token", {"client_token": name}), "the name in the preview")
        same(await ok("list_client_tokens", {"detail": "full"}), before)

    async def refuses() -> None:
        sure = {"client_token": name, "confirm": True, "expected_name": "Another token"}
        for tool, wrong in ("get_client_token", {"client_token": "no such token"}), ("delete_client_token", sure):
            answer = await framework.call(tool, wrong)
            expect(answer.failed, f"an error, not {answer.text}")
            expect(len(answer.text) > 40, f"what to do about it, not {answer.text!r}")

    async def takes_neutral(tool: str) -> None:
        properties = LISTED[tool]["inputSchema"]["properties"]
        arguments = {argument: neutral(schema) for argument, schema in properties.items()} | plain(tool)
        await ok(tool, arguments)

    async def unchanged() -> None:
        same(await ok("list_client_tokens", {"detail": "full"}), before)

    await checks("the ten tools convert", all_convert)
    await checks.of_each("a converted tool says of its arguments all that a listed one does", LISTED, converts)
    await checks("tokens are listed without a value", lists)
    await checks("a token is created", creates)
    await checks("a delete without confirm only previews", previews)
    await checks("a model is told of an error, and what to do", refuses)
    await checks.of_each("null counts as left out", LISTED, blank(None))
    await checks.of_each("an empty text counts as left out where a text is wanted", LISTED, blank("", ("string",)))
    await checks.of_each("an empty text counts as left out wherever it stands", LISTED, blank(""))
    await checks.of_each("a call that names every argument is taken", sorted(CLOSED), takes_neutral)
    await checks("nothing of all this changed anything", unchanged)
    return checks


def neutral(schema: Json) -> object:
    """What a model gives for an argument that it has no use for, and may not leave out."""
    by_type: Json = {"string": "", "boolean": False, "array": [], "integer": schema.get("minimum")}
    return schema.get("default", schema["enum"][0] if "enum" in schema else by_type[schema["type"]])


def choices(schema: Json) -> object:
    """The values that an argument may have; converters add null to an optional one's."""
    found = next((arm["enum"] for arm in arms(schema) if arm.get("enum")), None)
    return [choice for choice in found if choice is not None] if found else None


def holds(schema: Json) -> bool:
    return any(arm.get("items") for arm in arms(schema))


def arms(schema: Json) -> list[Json]:
    return [schema, *(schema.get("anyOf") or ())]


def run(main: Callable[[list[str]], Coroutine[Any, Any, Checks]]) -> None:
    """Run a module's `main` with the command that starts our server, and print one line for the runner."""
    checks = asyncio.run(main(sys.argv[1:]))
    print(json.dumps(checks))
    sys.exit(any(outcome != "passed" for outcome in checks.values()))
