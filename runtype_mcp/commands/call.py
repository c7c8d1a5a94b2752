"""`runtype-mcp call`: one tool, called from a shell, a script or a bot.

It is an MCP client like any other, so it may do what a model's call may do, and is asked what that is asked. A person
at a terminal is asked there. A script is a client that shows no forms: what then happens is the server's policy.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, Implementation, Tool
from pydantic import ValidationError

from runtype_mcp import __version__
from runtype_mcp.commands.call_arguments import NOT_SENT, meaning, nearest, parse, takes
from runtype_mcp.commands.call_result import EXIT_CODES, Failure, report, show
from runtype_mcp.commands.call_server import Connected
from runtype_mcp.commands.call_terminal import CtrlC, Terminal
from runtype_mcp.commands.offered import is_for_models
from runtype_mcp.commands.output import console, print_json, print_table, say
from runtype_mcp.errors import UserInputError
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools import SPECS

HINT = (
    "To go ahead, repeat it with --confirm in a terminal. A script says confirm=true and expected_name=… as the tool "
    "takes them."
)
OURS = Implementation(name="runtype-mcp call", version=__version__)


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line."""

    tool: str | None
    words: tuple[str, ...]
    confirm: bool
    as_json: bool
    helps: bool


def call(order: Order, server: Connected) -> int:
    """Make the call and print what came of it. Returns the exit code, which `EXIT_CODES` names."""
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # what it would say is said below, without tracebacks
    attempt = _Attempt(order, server)
    answer: CallToolResult | Failure | int
    try:
        answer = asyncio.run(attempt.make())
    except KeyboardInterrupt:
        answer = attempt.stopped()
    except UserInputError as error:
        answer = Failure.of(error)
    return answer if isinstance(answer, int) else report(answer, as_json=order.as_json, hint=HINT)


class _Attempt:
    """One run of the program. It knows at each moment whether something may have been changed."""

    def __init__(self, order: Order, server: Connected) -> None:
        self._order, self._server = order, server
        self._cancel: Callable[[], None] = lambda: None  # once it runs, there is something to cancel
        self._ctrl_c = CtrlC(self._stop)
        # A program's output is read by nobody in time, and its input is not typed: such a client shows no forms.
        self._terminal = Terminal(self._ctrl_c) if sys.stdin.isatty() and sys.stderr.isatty() else None
        self._writing = False
        self._told = ""

    def _stop(self) -> None:
        if self._may_have_written():
            sys.stderr.write("Stopping once the call that is under way has ended. Ctrl+C again ends it now.\n")
            sys.stderr.flush()
        # Not the task's own cancellation: that would break off a write, which the server shields from this one.
        self._cancel()

    def stopped(self) -> Failure:
        if self._may_have_written():
            what = "Stopped. The call was under way, and may have changed something: look before repeating it."
            return Failure("unknown", what)
        return Failure("stopped", "Stopped. Nothing was changed.")

    def _may_have_written(self) -> bool:
        return self._writing and not (self._terminal and self._terminal.asking)

    async def make(self) -> CallToolResult | Failure | int:
        """Connect and call. What it returns is yet to be printed, if it is no exit code."""
        self._ctrl_c.catch()
        answer: CallToolResult | Failure | int | None = None
        options = {"elicitation_callback": self._terminal.elicit} if self._terminal else {}
        try:
            with anyio.CancelScope() as scope:
                self._cancel = scope.cancel
                async with self._server.client(client_info=OURS, **options) as client:
                    answer = await self._with(client)
        except* UserInputError as group:
            raise _first(group) from None
        except* (MCPError, httpx2.HTTPError, OSError, ValidationError, RuntimeError) as group:
            # The last two are the SDK's, of a result that is not what the server said it would be.
            if answer is None:  # else it was only the end of the connection
                answer = self._server.failure(_first(group), wrote=self._may_have_written())
        return self.stopped() if answer is None else answer

    async def _with(self, client: Client) -> CallToolResult | Failure | int:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools if is_for_models(tool)}
        name = self._order.tool
        if name is None:
            return self._list(tools)
        if name not in tools:
            if name in (spec.name for spec in SPECS) and not self._order.helps:
                # It is not offered to this caller. The server says why, without an argument.
                return await client.call_tool(name, {})
            raise UserInputError(f"{sanitize_line(name, 64)}: unknown tool{nearest(name, tools)}", "", changed=NOT_SENT)
        if self._order.helps:
            return self._help(tools[name])
        arguments = parse(self._order.words, tools[name].input_schema)
        if self._order.confirm and "confirm" in arguments:
            raise UserInputError(
                "--confirm asks you here, and confirm says yes already.", "Give one.", changed=NOT_SENT
            )
        return await self._call(client, tools[name], arguments)

    async def _call(self, client: Client, tool: Tool, arguments: dict[str, Any]) -> CallToolResult | Failure:
        result = await self._send(client, tool, arguments)
        data = result.structured_content or {}
        if not self._order.confirm or result.is_error or data.get("status") != "preview":
            return result
        assert self._terminal is not None
        show(data, console(stderr=True))
        token, effects = data.get("clientToken") or {}, data.get("effects") or []
        name = str(token.get("name") or token.get("id") or arguments.get("name", ""))
        typed = self._terminal.typed_name(name, effects)
        if not typed:
            return Failure("refused", "Nobody typed the token's name. Nothing was changed.")
        confirmation = {"confirm": True, "expected_name": typed}
        known = tool.input_schema.get("properties", {})
        given = {key: value for key, value in confirmation.items() if key in known}
        return await self._send(client, tool, arguments | given)

    async def _send(self, client: Client, tool: Tool, arguments: dict[str, Any]) -> CallToolResult:
        self._writing = not (tool.annotations and tool.annotations.read_only_hint)
        result = await client.call_tool(tool.name, arguments, progress_callback=self._progress)
        self._writing = False
        return result

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        if message and message != self._told and sys.stderr.isatty():
            self._told = message
            sys.stderr.write(f"{sanitize_line(message, 500)}\n")
            sys.stderr.flush()

    def _list(self, tools: dict[str, Tool]) -> int:
        rows = [(tool.name, _sentence(tool)) for tool in tools.values()]
        if self._order.as_json:
            kept = {"name", "title", "description", "input_schema"}
            print_json([tool.model_dump(mode="json", by_alias=True, include=kept) for tool in tools.values()])
        else:
            print_table(("tool", "does"), rows, longest=1000)
            say("\n`runtype-mcp call TOOL --help` tells its arguments.")
        return EXIT_CODES["done"]

    def _help(self, tool: Tool) -> int:
        if self._order.as_json:
            print_json(tool.input_schema)
            return EXIT_CODES["done"]
        say(f"runtype-mcp call {tool.name}", "bold")
        say(sanitize_line(tool.description or "", 4000))
        required = tool.input_schema.get("required", [])
        rows = [
            (name, takes(schema) + (", needed" if name in required else ""), meaning(schema))
            for name, schema in tool.input_schema.get("properties", {}).items()
        ]
        if rows:
            say()
            print_table(("argument", "takes", "meaning"), rows, lead=2, longest=1000)
        return EXIT_CODES["done"]


def _sentence(tool: Tool) -> str:
    first, dot, _ = (tool.description or tool.title or "").partition(". ")
    return first + "." * bool(dot)


def _first(group: BaseExceptionGroup[Any]) -> Any:
    """The first error in nested groups."""
    error: Any = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
