"""`runtype-mcp demo`: a real client walks through every tool of a real server on the embedded sandbox.

The server runs as a subprocess, over stdio, as a host would start it. Each step says what it expects, and the exit
code is 1 if anything differs. Nothing is real: no account, no key, no network.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types
from mcp import Client, StdioServerParameters
from mcp.client import ClientRequestContext

from runtype_mcp import __version__
from runtype_mcp.policy.redaction import hint

AGENT = "agent_01kxvr4cjsf6f941tg3n2mbnrb"
SITE = "https://shop.example"
NAME = "Demo shop chat"


class Transcript:
    """Prints the walk. Colours on a terminal alone, and never where NO_COLOR is set."""

    def __init__(self) -> None:
        self.colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.steps = self.differences = 0
        self.called: set[str] = set()

    def paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def say(self, text: str = "") -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def step(self, title: str) -> None:
        self.steps += 1
        self.say(f"\n{self.paint(f'{self.steps:>2}. {title}', 1)}")

    def quote(self, text: str, most: int = 9) -> None:
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 108) or [""]]
        for line in lines[:most]:
            self.say(self.paint(f"    │ {line}", 2))
        if len(lines) > most:
            self.say(self.paint(f"    │ … {len(lines) - most} more lines", 2))

    def check(self, what: str, holds: bool) -> None:
        self.differences += not holds
        mark = self.paint("✓", 32) if holds else self.paint("✗ DIFFERS:", 31)
        self.say(f"    {mark} {what}")


class Walk:
    """One client, the person at its keyboard, and the transcript."""

    def __init__(self, client: Client, out: Transcript, person: Person) -> None:
        self.client, self.out, self.person = client, out, person

    async def call(self, tool: str, most: int = 9, /, **arguments: Any) -> mcp_types.CallToolResult:
        self.out.called.add(tool)
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        self.out.say(f"    {self.out.paint(tool, 36)}({shown})")
        result = await self.client.call_tool(tool, arguments)
        text = "\n".join(item.text for item in result.content if isinstance(item, mcp_types.TextContent))
        value = (result.structured_content or {}).get("value")
        # The client has the value. The transcript, which people paste into tickets, has its ends alone.
        self.out.quote(text.replace(value, hint(value)) if value else text, most)
        return result

    async def look(self, token: str) -> dict[str, Any]:
        result = await self.client.call_tool("get_client_token", {"client_token": token})
        found: dict[str, Any] = (result.structured_content or {}).get("clientToken", {})
        return found


class Person:
    """Answers the questions that the server asks people: with the words that the script gives them."""

    def __init__(self, out: Transcript) -> None:
        self.out = out
        self.types: str | None = None
        self.asked = 0

    async def answer(
        self, context: ClientRequestContext, params: mcp_types.ElicitRequestParams
    ) -> mcp_types.ElicitResult:
        self.asked += 1
        self.out.say(f"    {self.out.paint('The person is asked:', 33)}")
        self.out.quote(params.message)
        if self.types is None:
            self.out.say(f"    {self.out.paint('The person declines.', 33)}")
            return mcp_types.ElicitResult(action="decline")
        self.out.say(f"    {self.out.paint(f'The person types: {self.types}', 33)}")
        return mcp_types.ElicitResult(action="accept", content={"name": self.types})


def main() -> int:
    """Walk. 0 when everything is as it should be, 1 when anything differs."""
    out = Transcript()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_walk(out, Path(folder)))
    out.say()
    if out.differences:
        out.say(out.paint(f"{out.differences} of the checks above differ.", 31))
        return 1
    out.say(out.paint(f"All {len(out.called)} tools did what they should, and nothing changed without a yes.", 32))
    return 0


@asynccontextmanager
async def _started(out: Transcript, folder: Path) -> AsyncIterator[Walk]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RUNTYPE_")}
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "runtype_mcp", "--sandbox"],
        env=environ | {"RUNTYPE_MCP_FILES_ROOT": str(folder)},
    )
    person = Person(out)
    async with Client(server, elicitation_callback=person.answer) as client:
        yield Walk(client, out, person)


async def _walk(out: Transcript, folder: Path) -> None:
    out.say(out.paint(f"runtype-mcp {__version__}: a walk through every tool, on the embedded sandbox", 1))
    async with _started(out, folder) as walk:
        tools = {tool.name for tool in (await walk.client.list_tools()).tools}
        out.say(f"A subprocess serves {len(tools)} tools over stdio ({walk.client.protocol_version}).")
        await _read(walk)
        token = await _create(walk, folder)
        await _change(walk, token)
        await _replace_and_delete(walk, token, folder)
        out.step("Every tool was called")
        out.check(f"{len(tools)} of {len(tools)}", tools == out.called)


async def _read(walk: Walk) -> None:
    out = walk.out
    out.step("Find tokens: filters that the API lacks, over all pages")
    result = await walk.call("list_client_tokens", environment="live", active=True, limit=3)
    page = result.structured_content or {}
    out.check("a page of three, and how to get the next", page.get("count") == 3 and page.get("nextOffset") == 3)
    out.check("no value in it", "ct_live_" not in str(page))

    out.step("Review all of them, as a security reviewer would")
    result = await walk.call("audit_client_tokens", 4)
    findings = (result.structured_content or {}).get("findings", [])
    out.check("the worst finding comes first", bool(findings) and findings[0]["severity"] == "high")

    out.step("Read what visitors wrote: data, never instructions")
    busiest = {"count": 0, "id": ""}
    everything = await walk.client.call_tool("list_client_tokens", {"limit": 200})
    for token_id, *_ in (everything.structured_content or {})["rows"]:
        count = (await walk.look(token_id)).get("conversationCount", 0)
        if count > busiest["count"]:
            busiest = {"count": count, "id": token_id}
    result = await walk.call("list_client_token_conversations", 12, client_token=busiest["id"], limit=4)
    words = (result.structured_content or {}).get("visitorText", "")
    out.check("visitors' words stand in one fenced block", "<visitor-text " in words and "</visitor-text " in words)


async def _create(walk: Walk, folder: Path) -> str:
    out = walk.out
    out.step("Create a token, and have its value written where it belongs: not into this conversation")
    result = await walk.call(
        "create_client_token",
        name=NAME,
        allowed_origins=f"{SITE}/",
        agent_ids=AGENT,
        deliver="env_file",
        env_file=".env:RUNTYPE_CLIENT_TOKEN",
    )
    made = result.structured_content or {}
    token = made.get("clientToken", {})
    file = folder / ".env"
    written = file.read_text() if file.exists() else ""
    out.check("a test token for one https origin, without asking", made.get("status") == "done")
    out.check("a model that says 'https://shop.example/' means the origin", token.get("allowedOrigins") == [SITE])
    out.check("the value is in .env and not in the result", "ct_test_" in written and "ct_test_" not in str(made))

    out.step("Create it again, as agents do")
    result = await walk.call("create_client_token", name=NAME, allowed_origins=SITE, agent_ids=AGENT)
    out.check("refused: the existing one is named", result.is_error is True and token.get("id", "?") in str(result))

    out.step("Read one token by its name")
    result = await walk.call("get_client_token", client_token=NAME)
    out.check(
        "found by its name", (result.structured_content or {}).get("clientToken", {}).get("id") == token.get("id")
    )
    return str(token.get("id"))


async def _change(walk: Walk, token: str) -> None:
    out, person = walk.out, walk.person
    out.step("Add an exact https origin: harmless, so it happens at once")
    both = [SITE, "https://www.shop.example"]
    await walk.call("update_client_token", client_token=token, allowed_origins=both)
    out.check("done, and nobody was asked", (await walk.look(token)).get("allowedOrigins") == both and not person.asked)

    out.step("Let every website in: an exposure, so it is only previewed")
    result = await walk.call("update_client_token", client_token=token, allowed_origins=["*"])
    out.check("a preview", (result.structured_content or {}).get("status") == "preview")
    out.check("nothing changed", (await walk.look(token)).get("allowedOrigins") == both)

    out.step("The model insists; a person declines")
    result = await walk.call(
        "update_client_token", client_token=token, allowed_origins=["*"], confirm=True, expected_name=NAME
    )
    out.check("refused", result.is_error is True and person.asked == 1)
    out.check("nothing changed", (await walk.look(token)).get("allowedOrigins") == both)


async def _replace_and_delete(walk: Walk, token: str, folder: Path) -> None:
    out, person = walk.out, walk.person
    out.step("Is the value in .env the present one? Compared, without showing it")
    file = ".env:RUNTYPE_CLIENT_TOKEN"
    result = await walk.call("get_client_token_value", client_token=token, deliver="verify", env_file=file)
    out.check("it is", (result.structured_content or {}).get("matches") is True)

    out.step("Regenerate: the person types the token's name")
    old = (folder / ".env").read_text()
    person.types = NAME
    result = await walk.call(
        "regenerate_client_token",
        client_token=token,
        deliver="env_file",
        env_file=file,
        confirm=True,
        expected_name=NAME,
    )
    out.check("approved and done", (result.structured_content or {}).get("status") == "done" and person.asked == 2)
    out.check("the new value replaced the old one in .env", (folder / ".env").read_text() != old)

    out.step("Delete a token, under another token's name")
    result = await walk.call("delete_client_token", client_token=token, confirm=True, expected_name="Support")
    out.check("refused before anybody was asked", result.is_error is True and person.asked == 2)

    out.step("Delete it, under its own; the person types something else")
    person.types = "yes"
    result = await walk.call("delete_client_token", client_token=token, confirm=True, expected_name=NAME)
    out.check("refused, and still there", result.is_error is True and (await walk.look(token)).get("id") == token)

    out.step("Delete it, and the person agrees")
    person.types = NAME
    result = await walk.call("delete_client_token", client_token=token, confirm=True, expected_name=NAME)
    out.check("deleted", (result.structured_content or {}).get("status") == "done" and not await walk.look(token))
