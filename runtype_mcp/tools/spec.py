"""What a tool is (`ToolSpec`), and what its function has at hand when it is called (`ToolContext`)."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from mcp.server.mcpserver import Context

from runtype_mcp import results
from runtype_mcp.api.client import AgentsOrFlows
from runtype_mcp.api.models import AgentOrFlow, ClientToken
from runtype_mcp.api.scoped_client import Scope, ScopedClient, scope_name
from runtype_mcp.errors import CallerLacksScope
from runtype_mcp.identity import Caller, Identity
from runtype_mcp.observer import SILENT, Observer
from runtype_mcp.settings import Settings
from runtype_mcp.storage.audit_log import AuditSink
from runtype_mcp.storage.state import State
from runtype_mcp.storage.tickets import Ticket
from runtype_mcp.tools.arguments import Arguments
from runtype_mcp.tools.plan import Plan

T = TypeVar("T")


class ApprovalPages(Protocol):
    """A page in a person's browser, on which they decide tickets. OSError from any method: it cannot be shown."""

    def can_open(self) -> bool:
        """Whether a browser can be opened where a person sits."""

    def is_open(self) -> bool:
        """Whether the person has the page open: it shows every ticket that waits."""

    def address(self, ticket: Ticket) -> str:
        """An address that opens the page once. It is a secret: only who opens it for the person may see it."""

    def show(self, ticket: Ticket) -> None:
        """Open the page in the person's browser, unless it is open."""

    def waiting(self, ticket: Ticket) -> AbstractContextManager[None]:
        """Within it a call waits for the ticket, so that the page can say how it goes on."""

    async def wait(self, ticket: Ticket, seconds: float) -> None:
        """Wait until a person may have decided, at most for `seconds`."""

    async def aclose(self) -> None:
        """Stop serving the page."""


@dataclass(frozen=True)
class Services:
    """What all calls of a server share. Built once by `build_server`, never by a module.

    `sleep` waits a number of seconds; tests pass one that does not. `preview_meta` gives the `_meta` of a preview's
    result: what a page is told of the call, and a model is not. `pages` makes the page in a person's browser, at the
    first need; None where none may be shown. `observer` is told of each call.
    """

    settings: Settings
    identity: Identity
    state: State
    audit_log: AuditSink | None
    sleep: Callable[[float], Awaitable[None]]
    preview_meta: Callable[[ToolContext, Plan], Awaitable[dict[str, Any]]]
    pages: Callable[[], ApprovalPages] | None = None
    observer: Observer = SILENT


@dataclass(frozen=True)
class ToolContext:
    """One call: who calls, what it shares with others, and the protocol's own context."""

    services: Services
    caller: Caller
    mcp: Context[Any, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    began: float = field(default_factory=time.monotonic)
    _read: Counter[str] = field(default_factory=Counter)

    @property
    def api(self) -> ScopedClient:
        return self.caller.api

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def state(self) -> State:
        return self.services.state

    def client_tokens(self) -> AsyncIterator[list[ClientToken]]:
        """All client tokens in reach, a page at a time. A client that asked for it is told how far that is."""
        return self._telling(self.api.iterate_client_tokens(), "client tokens")

    def agents_or_flows(self, kind: AgentsOrFlows) -> AsyncIterator[list[AgentOrFlow]]:
        """All agents or flows, likewise."""
        return self._telling(self.api.iterate_agents_or_flows(kind), kind)

    async def _telling(self, pages: AsyncIterator[list[T]], what: str) -> AsyncIterator[list[T]]:
        is_first = True
        async for page in pages:
            self._read[what] += len(page)
            if page and not is_first:  # one page takes no time, and most accounts have no second one
                await self.mcp.report_progress(self._read.total(), message=f"{self._read[what]} {what} read")
            is_first = False
            yield page


@dataclass(frozen=True)
class ToolSpec:
    """One tool.

    A tool that only reads has `run(args, context)`. A tool that may break or expose something has `plan(args,
    context)` and `run(args, context, plan)`: the plan is made and approved before the function is called.

    Attributes:
        run: the tool's function. Its name is the tool's, and its docstring is the description.
        scope: what a caller needs for it at least.
        plan: works out what the call would do, on the token as it is now.
        writes: it changes something at the API. Showing a value is gated, and writes nothing.
        destructive: it can break or remove something.
        idempotent: the same call again changes nothing more.
        decides: it decides on the call of another person, and to call it is to confirm it.
        app_only: pages call it, and models do not; so the operator's list of tools, which is about models, leaves it.
    """

    run: Callable[..., Awaitable[results.Result]]
    arguments: type[Arguments]
    result: type[results.Result]
    title: str
    scope: Scope
    plan: Callable[[Any, ToolContext], Awaitable[Any]] | None = None
    writes: bool = False
    destructive: bool = False
    idempotent: bool = True
    decides: bool = False
    app_only: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def description(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


def disabled_reason(spec: ToolSpec, settings: Settings) -> str | None:
    """Why the operator's policy forbids a tool altogether; None where it does not."""
    if settings.read_only and spec.writes:
        return f"This server is read-only (RUNTYPE_MCP_READ_ONLY), and {spec.name} writes."
    if not spec.app_only and not settings.allows_tool(spec.name):
        return f"The operator's list of tools (RUNTYPE_MCP_TOOLS) leaves {spec.name} out."
    return None


def needed_scopes(spec: ToolSpec) -> list[Scope]:
    """All the scopes that a caller of the tool needs."""
    # Who changes a token, or sees its value, is shown the token. A decision on somebody's call shows that call alone.
    return list(dict.fromkeys(["approve" if spec.scope == "approve" else "read", spec.scope]))


def missing_scopes(spec: ToolSpec, scopes: frozenset[Scope]) -> list[str]:
    """The scopes that a tool needs and a caller lacks, by name; empty where it may be called."""
    return [scope_name(scope) for scope in needed_scopes(spec) if scope not in scopes]


def check_scopes(spec: ToolSpec, scopes: frozenset[Scope]) -> None:
    """Refuse a caller that lacks a scope.

    Raises:
        CallerLacksScope: it names what is missing. Nothing was sent.
    """
    if missing := missing_scopes(spec, scopes):
        raise CallerLacksScope(f"{spec.name} needs the scope {' and '.join(missing)}, which this caller lacks.")
