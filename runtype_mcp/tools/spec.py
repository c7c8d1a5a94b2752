"""What one call has at hand: the server's parts, the caller, the arguments, and the token that was found."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context

from runtype_mcp import results
from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.api.models import ClientToken
from runtype_mcp.errors import PermanentError
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.settings import Settings
from runtype_mcp.storage.audit_log import AuditError, AuditLog
from runtype_mcp.storage.tickets import Tickets, state_dir
from runtype_mcp.tools.approval import Plan
from runtype_mcp.tools.arguments import Arguments, Confirmable, NameConfirmed
from runtype_mcp.tools.last_read import SUMMARY, Seen


@dataclass
class App:
    """The parts that calls share. Built once for a server, never for a module."""

    settings: Settings
    api: RuntypeClient
    redactor: Redactor
    seen: Seen = field(default_factory=Seen)
    answered: Counter[str] = field(default_factory=Counter)  # questions that a person said yes to
    turns: WeakValueDictionary[str, anyio.Lock] = field(default_factory=WeakValueDictionary)
    written: int = 0  # moments at which the server began or ended a write

    @cached_property
    def audit(self) -> AuditLog | None:
        return AuditLog(self.settings.audit) if self.settings.audit else None

    @cached_property
    def tickets(self) -> Tickets:
        return Tickets(state_dir())


@dataclass(frozen=True)
class ToolSpec:
    """One tool. `act` is its function, and its docstring is the description; `planned` marks it as gated.

    `writes` and `destructive` are about the API: a gated read does neither.
    """

    act: Callable[[Any, Call], Awaitable[results.Result]]
    arguments: type[Arguments]
    result: type[results.Result]
    title: str
    planned: Callable[[Any, Call], Awaitable[Plan]] | None = None
    writes: bool = False
    destructive: bool = False
    idempotent: bool = True

    @property
    def name(self) -> str:
        return self.act.__name__

    @property
    def description(self) -> str:
        return " ".join((self.act.__doc__ or "").split())


@dataclass
class Call:
    """One call of one tool."""

    app: App
    endpoint: ToolSpec
    args: Arguments
    context: Context[Any, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    began: float = field(default_factory=time.monotonic)
    decided: Plan | None = None
    change: dict[str, Any] = field(default_factory=dict)  # of an update: the fields that change
    known: set[str] = field(default_factory=set)  # of a create: tokens of its name that were there before
    planned_after: int = 0  # `App.written` when the plan was made
    approval: str = "none"
    started: bool = False

    @property
    def api(self) -> RuntypeClient:
        return self.app.api

    @property
    def settings(self) -> Settings:
        return self.app.settings

    @property
    def confirm(self) -> bool:
        return isinstance(self.args, Confirmable) and self.args.confirm

    @property
    def expected_name(self) -> str | None:
        return self.args.expected_name if isinstance(self.args, NameConfirmed) else None

    @property
    def answered(self) -> Counter[str]:
        return self.app.answered

    def masked(self, text: str) -> str:
        return self.app.redactor.redact_text(text)

    def tickets(self) -> Tickets:
        return self.app.tickets

    @cached_property
    def caller(self) -> str:
        """Who calls, as far as the client says: for the audit and for what was shown to whom, never for trust."""
        params = self.context.session.client_params
        info = params.client_info if params else None
        name = f"{info.name} {info.version}".strip() if info else "unknown client"
        session = (self.context.headers or {}).get("mcp-session-id", "")
        return f"{name} {session[:8]}".strip()

    async def plan(self) -> Plan:
        """Work out what the call would do, on the token as it is now, and as the caller knows it."""
        assert self.endpoint.planned is not None
        self.planned_after = self.app.written
        plan = self._masked(await self.endpoint.planned(self.args, self))
        if plan.token is not None:
            if not plan.effects:
                self.app.seen.check(self.caller, plan.token, self.change or plan.arguments)
            elif self.confirm:
                self.app.seen.check(self.caller, plan.token)
            self.show(plan.token, SUMMARY)
        self.decided = plan
        return plan

    def turn(self) -> anyio.Lock:
        """One call at a time acts on a token, or makes one of a name: what is held while this one acts."""
        assert self.decided is not None
        key = self.decided.token.id if self.decided.token else f"{self.decided.environment} {self.decided.name}"
        return self.app.turns.setdefault(key, anyio.Lock())

    def _masked(self, plan: Plan) -> Plan:
        """The same plan, fit for people: a question and a ticket leave the server too, past the one exit of results."""
        redact = self.app.redactor.redact_text
        effects = tuple(replace(effect, sentence=redact(effect.sentence)) for effect in plan.effects)
        return replace(plan, effects=effects, note=redact(plan.note))

    def show(self, token: ClientToken, fields: Iterable[str] | None = None) -> None:
        """Remember that this caller was shown `token`, or `fields` of it."""
        self.app.seen.show(self.caller, token, fields)

    async def record(self, event: str, outcome: str = "") -> None:
        """Write a line of the audit, if the operator keeps one.

        Raises:
            PermanentError: it cannot be written. Before a write this refuses the write.
        """
        if self.app.audit is None:
            return
        plan = self.decided
        entry: dict[str, Any] = {
            "event": event,
            "call": self.id,
            "request": self.context.request_id,
            "caller": self.caller,
            "tool": self.endpoint.name,
            "token": plan.token.id if plan and plan.token else None,
            "name": plan.name if plan else None,
            "environment": plan.environment if plan else None,
            "effects": [effect.sentence for effect in plan.effects] if plan else [],
            "approval": self.approval,
        }
        if event == "ended":
            entry |= {"outcome": outcome, "duration_ms": round((time.monotonic() - self.began) * 1000)}
        try:
            await anyio.to_thread.run_sync(self.app.audit.append, self.app.redactor.redact_json(entry))
        except AuditError as exc:
            raise PermanentError(
                f"The audit log cannot be written: {exc}", "Tell the operator: without it nothing is written."
            ) from exc
