"""A person at a terminal: what they are asked there, and what they type.

Questions go to stderr and answers come from stdin, so that stdout carries the result alone.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mcp.client import ClientRequestContext
from mcp_types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from runtype_mcp.commands.call_arguments import convert
from runtype_mcp.commands.output import console, say
from runtype_mcp.errors import UserInputError
from runtype_mcp.policy.sanitize import names_match, sanitize_line

TRIES = 3
WHOLE = 10_000


class CtrlC:
    """What Ctrl+C does while a call is made: `stop`, which lets a write end. Pressed again, it ends the program."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def catch(self) -> None:
        """From here on Ctrl+C stops the call."""
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(self._pressed) and None)

    def release(self) -> None:
        """From here on it raises KeyboardInterrupt, which alone ends what waits for a line."""
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _pressed(self) -> None:
        self.release()
        self._stop()


class Terminal:
    """Asks the person. `asking` is true while a question stands: nothing goes on before it is answered."""

    def __init__(self, ctrl_c: CtrlC) -> None:
        self._ctrl_c, self.asking = ctrl_c, False
        self._typed, self._effects = "", list[str]()

    def say(self, text: str) -> None:
        say(text, to=console(stderr=True))

    def read(self, prompt: str) -> str:
        """The line that the person types; empty where they type none, or press Ctrl+C."""
        self.asking = True
        self._ctrl_c.release()
        try:
            sys.stderr.write(prompt)
            sys.stderr.flush()
            return sys.stdin.readline().strip()
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            return ""
        finally:
            self._ctrl_c.catch()
            self.asking = False

    def typed_name(self, name: str, effects: Sequence[str]) -> str:
        """The token's name as the person types it, who has read the effects; empty where they do not."""
        for left in reversed(range(TRIES)):
            typed = self.read("Type the token's name to go ahead, or nothing to stop: ")
            if not typed or names_match(typed, name):
                self._typed, self._effects = typed, list(effects)
                return typed
            self.say(f"That is not the token's name.{' Try again.' if left else ''}")
        return ""

    async def elicit(self, _: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Answer a question of the server with what the person types."""
        if not isinstance(params, ElicitRequestFormParams):
            return ElicitResult(action="decline")
        properties: dict[str, dict[str, Any]] = params.requested_schema.get("properties", {})
        if [*properties] == ["name"] and self._has_answered(params.message):
            return ElicitResult(action="accept", content={"name": self._typed})
        self.say(f"\nThe server asks: {sanitize_line(params.message, WHOLE)}")
        content: dict[str, Any] = {}
        for name, schema in properties.items():
            answer = self._field(name, schema)
            if answer is not None:
                content[name] = answer
            elif name in params.requested_schema.get("required", []):
                return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=content)

    def _has_answered(self, question: str) -> bool:
        """Whether the person has just typed the name under every effect that the question names. Once."""
        same = bool(self._typed and self._effects) and all(effect in question for effect in self._effects)
        self._effects = []
        return same

    def _field(self, name: str, schema: dict[str, Any]) -> Any:
        """What the person gives for a field of a form; None for nothing."""
        title = sanitize_line(str(schema.get("title") or name), 200)
        help_ = sanitize_line(str(schema.get("description") or ""), 500)
        for _ in range(TRIES):
            typed = self.read(f"{title}{f' ({help_})' if help_ else ''}, or nothing to decline: ")
            if not typed:
                return None
            try:
                return convert(title, schema, typed)
            except UserInputError as exc:
                self.say(exc.what)
        return None
