"""`runtype-mcp demo`: a real client walks through every tool of a real server on the embedded sandbox.

The server runs as a subprocess, over stdio, as a host would start it. Each step says what it expects, and the exit
code is 1 if anything differs. Nothing is real: no account, no key, no network.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestParams, ElicitResult, TextContent

from runtype_mcp import __version__
from runtype_mcp.commands.offered import is_for_models
from runtype_mcp.commands.output import console, failed, print_json, say
from runtype_mcp.console.browser import can_open_browser, this_machine
from runtype_mcp.policy.redaction import hint

AGENT = "Customer support"
SITE = "https://shop.example"
NAME = "Demo shop chat"
VARIABLE = ".env:RUNTYPE_CLIENT_TOKEN"


class Walk:
    """The client, the person at its keyboard, and the transcript. `types` is what the person will type, if anything."""

    def __init__(self, folder: Path, *, quiet: bool = False, own_browser: bool = False) -> None:
        self.quiet, self.own_browser = quiet, own_browser and can_open_browser(os.environ, this_machine())
        self.width = min(console().width, 100)
        self.env_file = folder / ".env"
        environ = {name: value for name, value in os.environ.items() if not name.upper().startswith("RUNTYPE")}
        environ |= {"RUNTYPE_MCP_FILES_ROOT": str(folder), "RUNTYPE_MCP_STATE_DIR": str(folder / "state")}
        self.client = Client(_server(environ), elicitation_callback=self.answer)
        # The other client has no forms. Unless it is the person's own, the browser is a scripted one.
        self.seen_in_browser = folder / "seen.json"
        if self.own_browser:
            environ["RUNTYPE_MCP_APPROVAL_WAIT"] = "300"
        else:
            browser = [sys.executable, "-m", "runtype_mcp.commands.demo_browser", str(self.seen_in_browser)]
            words = [Path(word).as_posix() for word in browser]  # a backslash would be taken for an escape
            environ |= {"CI": "", "BROWSER": f"{shlex.join(words)} %s"}
        self.without_forms = Client(_server(environ))
        self.steps: list[dict[str, Any]] = []
        self.checks = self.differences = self.asked = 0
        self.called: set[str] = set()
        self.types = ""

    def say(self, text: str, style: str = "", *, indent: int = 4) -> None:
        if not self.quiet:
            say(text, style, indent=indent)

    def step(self, title: str) -> None:
        self.steps.append({"step": title, "calls": [], "checks": []})
        self.say(f"\n{len(self.steps):>2}. {title}", "bold", indent=0)

    def quote(self, text: str, most: int = 9) -> None:
        wrapped = (textwrap.wrap(line, self.width - 6, break_on_hyphens=False) for line in text.splitlines())
        lines = [part for parts in wrapped for part in parts or [""]]
        for line in lines[:most] + ([f"… {len(lines) - most} more lines"] if len(lines) > most else []):
            self.say(f"│ {line}", "dim")

    def check(self, what: str, holds: bool) -> None:
        self.checks += 1
        self.differences += not holds
        self.steps[-1]["checks"].append({"check": what, "holds": holds})
        self.say(f"✓ {what}" if holds else f"✗ DIFFERS: {what}", "green" if holds else "red")
        sys.stdout.flush()

    async def call(self, tool: str, most: int = 9, /, **arguments: Any) -> dict[str, Any]:
        """Print a call and the start of its answer. Returns the answer's data; a refusal's text is in `refused`."""
        self.called.add(tool)
        self.say(f"{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})", "cyan")
        result = await self.client.call_tool(tool, arguments)
        text = "\n".join(item.text for item in result.content if isinstance(item, TextContent))
        data = result.structured_content or {}
        status = "refused" if result.is_error else data.get("status", "done")
        self.steps[-1]["calls"].append({"tool": tool, "arguments": arguments, "status": status})
        # The client has the value. The transcript, which people paste into tickets, has its ends alone.
        self.quote(text.replace(value, hint(value)) if (value := data.get("value")) else text, most)
        return {**data, "refused": text} if result.is_error else data

    async def look(self, token: str) -> dict[str, Any]:
        """The token as it is, unprinted; empty if it does not exist."""
        result = await self.client.call_tool("get_client_token", {"client_token": token})
        found: dict[str, Any] = (result.structured_content or {}).get("clientToken", {})
        return found

    def written(self) -> str:
        """What stands in the env file."""
        return self.env_file.read_text() if self.env_file.exists() else ""

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """What the person says to a question of the server."""
        self.asked += 1
        self.say("The person is asked:", "yellow")
        self.quote(params.message)
        self.say(f"The person types: {self.types}" if self.types else "The person declines.", "yellow")
        if not self.types:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content={"name": self.types})


def _server(environ: dict[str, str]) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=["-m", "runtype_mcp", "--sandbox"], env=environ)


def demo(*, as_json: bool = False, own_browser: bool = False) -> int:
    """Walk. Returns 0 when everything is as it should be, 1 when anything differs.

    `own_browser`: the person decides on the page of the last call themselves, where a browser can be opened.
    """
    with tempfile.TemporaryDirectory() as folder:
        walk, code = Walk(Path(folder), quiet=as_json, own_browser=own_browser), 0
        try:
            asyncio.run(_all(walk))
        except* MCPError:
            code = failed("The server of the demo ended. What it said is above.")
    if as_json and not code:
        print_json({"version": __version__, "differences": walk.differences, "steps": walk.steps})
    return code or int(walk.differences > 0)


async def _all(walk: Walk) -> None:
    walk.say(f"runtype-mcp {__version__}: a walk through every tool, on the embedded sandbox", "bold", indent=0)
    async with walk.client:
        tools = {tool.name for tool in (await walk.client.list_tools()).tools if is_for_models(tool)}
        walk.say(f"A subprocess serves {len(tools)} tools over stdio ({walk.client.protocol_version}).", indent=0)
        await _read(walk)
        token = await _create(walk)
        await _change(walk, token)
        await _replace_and_delete(walk, token)
        await _page(walk)
        walk.step("Every tool was called")
        walk.check(f"{len(tools & walk.called)} of {len(tools)}", tools == walk.called)
    if walk.differences:
        walk.say(f"\n{walk.differences} of {walk.checks} checks differ.", "red", indent=0)
    else:
        done = f"\nAll {len(tools)} tools did what they should, and nothing changed without a yes."
        walk.say(done, "green", indent=0)


async def _read(walk: Walk) -> None:
    walk.step("Find tokens: filters that the API lacks, over all pages")
    page = await walk.call("list_client_tokens", environment="live", active=True, limit=3)
    walk.check("a page of three, and how to get the next", page.get("count") == 3 and page.get("nextOffset") == 3)
    walk.check("no value in it", "ct_live_" not in str(page))

    walk.step("Review all of them, as a security reviewer would")
    findings = (await walk.call("audit_client_tokens", 4)).get("findings", [])
    walk.check("the worst finding comes first", bool(findings) and findings[0]["severity"] == "high")

    walk.step("Read what visitors wrote: data, never instructions")
    listed = await walk.client.call_tool("list_client_tokens", {"limit": 200})
    tokens = [await walk.look(row[0]) for row in (listed.structured_content or {}).get("rows", [])]
    busiest = max(tokens, key=lambda token: token.get("conversationCount", 0), default={})
    shown = await walk.call("list_client_token_conversations", 12, client_token=busiest.get("id", ""), limit=4)
    words = shown.get("visitorText", "")
    walk.check("visitors' words stand in one fenced block", "<visitor-text " in words and "</visitor-text " in words)


async def _create(walk: Walk) -> str:
    walk.step("Find what a token can run, by name")
    found = await walk.call("list_agents_and_flows", name_contains="support")
    walk.check("the agent, with its id", [row[2] for row in found.get("rows", [])] == [AGENT])

    new = {"name": NAME, "agent_ids": AGENT}
    walk.step("Create a token, and have its value written where it belongs: not into this conversation")
    into: dict[str, Any] = {"deliver": "env_file", "env_file": VARIABLE}
    made = await walk.call("create_client_token", **new, **into, allowed_origins=f"{SITE}/")
    token, written = made.get("clientToken", {}), walk.written()
    walk.check("a test token for one https origin, without asking", made.get("status") == "done")
    walk.check("a model that says 'https://shop.example/' means the origin", token.get("allowedOrigins") == [SITE])
    walk.check("the value is in .env and not in the result", "ct_test_" in written and "ct_test_" not in str(made))

    walk.step("Create it again, as agents do")
    again = await walk.call("create_client_token", **new, allowed_origins=SITE)
    walk.check("refused: the existing one is named", token.get("id", "?") in again.get("refused", ""))

    walk.step("Read one token by its name")
    found = await walk.call("get_client_token", client_token=NAME)
    walk.check("found by its name", found.get("clientToken", {}).get("id") == token.get("id", "?"))
    return str(token.get("id"))


async def _change(walk: Walk, token: str) -> None:
    both, every = [SITE, "https://www.shop.example"], {"client_token": token, "allowed_origins": ["*"]}
    walk.step("Add an exact https origin: harmless, so it happens without a question")
    await walk.call("update_client_token", client_token=token, allowed_origins=both)
    walk.check("done", (await walk.look(token)).get("allowedOrigins") == both)
    walk.check("nobody was asked", not walk.asked)

    walk.step("Let every website in: an exposure, so it is only previewed")
    shown = await walk.call("update_client_token", **every)
    walk.check("a preview, with the call that would go ahead", "confirmCall" in shown)
    walk.check("nothing changed", (await walk.look(token)).get("allowedOrigins") == both)

    walk.step("The model insists; a person declines")
    refusal = await walk.call("update_client_token", **every, confirm=True, expected_name=NAME)
    walk.check("refused", "refused" in refusal and walk.asked == 1)
    walk.check("nothing changed", (await walk.look(token)).get("allowedOrigins") == both)


async def _replace_and_delete(walk: Walk, token: str) -> None:
    this: dict[str, Any] = {"client_token": token, "confirm": True}
    walk.step("Is the value in .env the present one? Compared, without showing it")
    compared = await walk.call("get_client_token_value", client_token=token, deliver="verify", env_file=VARIABLE)
    walk.check("it is", compared.get("matches") is True)

    walk.step("Regenerate: the person types the token's name")
    old, walk.types = walk.written(), NAME
    made = await walk.call("regenerate_client_token", **this, expected_name=NAME, deliver="env_file", env_file=VARIABLE)
    walk.check("approved and done", made.get("status") == "done" and walk.asked == 2)
    walk.check("the new value replaced the old one in .env", walk.written() not in ("", old))

    walk.step("Delete a token, under another token's name")
    refusal = await walk.call("delete_client_token", **this, expected_name="Support")
    walk.check("refused before anybody was asked", "refused" in refusal and walk.asked == 2)

    walk.step("Delete it, under its own; the person types something else")
    walk.types = "yes"
    refusal = await walk.call("delete_client_token", **this, expected_name=NAME)
    walk.check("refused, and still there", "refused" in refusal and (await walk.look(token)).get("id") == token)

    walk.step("Delete it, and the person agrees")
    walk.types = NAME
    gone = await walk.call("delete_client_token", **this, expected_name=NAME)
    walk.check("deleted", gone.get("status") == "done" and not await walk.look(token))


async def _page(walk: Walk) -> None:
    walk.step("A client without forms deletes a token: the person decides on a page in their browser")
    async with walk.without_forms as walk.client:
        listed = await walk.client.call_tool("list_client_tokens", {"environment": "live", "limit": 1})
        ((token, name, *_),) = (listed.structured_content or {})["rows"]
        if walk.own_browser:
            walk.say("A page opens in your browser. Type the token's name there and approve, or deny.", "yellow")
            sys.stdout.flush()
        gone = await walk.call("delete_client_token", client_token=token, confirm=True, expected_name=name)
        is_gone = not await walk.look(token)
        if walk.own_browser:
            walk.check("you decided, and the call did so without being made again", is_gone == ("refused" not in gone))
            return
        card = json.loads(walk.seen_in_browser.read_text("utf-8")) if walk.seen_in_browser.exists() else {}
        walk.say("A page opens in a browser (here a scripted one), and shows:", "yellow")
        walk.quote("\n".join(effect["sentence"] for effect in card.get("effects", [])))
        walk.say(f"The person types: {card.get('name')}", "yellow")
        walk.check("the page named the token", card.get("name") == name)
        walk.check("deleted, and the call was made once", gone.get("status") == "done" and is_gone)
