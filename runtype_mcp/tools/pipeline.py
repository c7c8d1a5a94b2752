"""The way of a call: check the arguments, authorize, record, act, shape the answer. One way, for every tool."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ConfigDict, Field

from runtype_mcp import results
from runtype_mcp.errors import AwaitingApproval, ClientTokenError, OutcomeUnknown, PermanentError, Refused
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.storage.audit_log import AuditError
from runtype_mcp.storage.state import StateError
from runtype_mcp.tools import last_read
from runtype_mcp.tools.approval import Gated, authorize
from runtype_mcp.tools.arguments import Arguments, Confirmable, NameConfirmed, narrowed, validate
from runtype_mcp.tools.plan import Plan
from runtype_mcp.tools.schema import flat
from runtype_mcp.tools.spec import Services, ToolContext, ToolSpec, check_scopes, disabled_reason
from runtype_mcp.tools.verdict import Approved, Denied, Preview, policy_sentence

MAX_ERROR = 4000
"""Characters of an error's text. A longer one is itself a bug."""
ERROR = "runtype-mcp/error"
"""The key in the `_meta` of a failure's result of what came of the call, and of the code under which it waits."""
logger = logging.getLogger("runtype_mcp")

Answer = results.Result | ClientTokenError


class Decision(NamedTuple):
    """What came of a call before it acts. `answer` None: it goes ahead with `args`, and with `plan` if it is gated.

    `meta` is the `_meta` of the result. `approved_by` is the identity of a second person who approved it.
    """

    args: Arguments | None
    plan: Plan | None
    approval: str
    answer: Answer | None
    meta: dict[str, Any] | None = None
    approved_by: str = ""


class GuardedTool(Tool):
    """A `ToolSpec` as the SDK's tool, with the SDK's `run` replaced: strict arguments, approval, our own errors."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    services: Services = Field(exclude=True)
    spec: ToolSpec = Field(exclude=True)
    arguments: type[Arguments] = Field(exclude=True)

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult | InputRequiredResult:
        """Answer one call. A failure is an answer too; only a protocol error is raised."""
        # Around everything: what is raised from here reaches the client as it is, text and all.
        work = self._run(arguments, context)
        answer: CallToolResult | InputRequiredResult | ClientTokenError
        answer = await _caught(self.spec, work, may_have_written=self.spec.writes)
        if isinstance(answer, ClientTokenError):
            answer = call_result(answer, self.services.identity.redactor)
        self.services.observer.call_ended(self.spec.name, outcome_of(answer))
        return answer

    async def _run(self, arguments: dict[str, Any], mcp: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        context = ToolContext(self.services, await self.services.identity.caller(mcp), mcp)
        decided = await _caught(self.spec, self._decide(arguments, context), may_have_written=False)
        if isinstance(decided, InputRequiredResult):
            return decided
        if isinstance(decided, ClientTokenError):
            decided = Decision(None, None, "none", decided)
        if decided.approval != "none":
            self.services.observer.approved(self.spec.name, decided.approval)
        # Nothing is interrupted from here on: a client that leaves or cancels in the middle of a write must not
        # cost the record of it, or a new value that exists already and was to be delivered.
        with anyio.CancelScope(shield=self.spec.writes or self.spec.decides):
            answer = decided.answer
            if answer is None:
                work = self._act(context, decided)
                answer = await _caught(self.spec, work, may_have_written=self.spec.writes)
            warning = await self._record_end(context, decided, answer)
        return call_result(answer, context.caller.redactor, warning, decided.meta)

    async def _decide(self, arguments: dict[str, Any], context: ToolContext) -> Decision | InputRequiredResult:
        """All before the act: the operator's list of tools, the scopes, the arguments, the plan and its approval."""
        if (reason := disabled_reason(self.spec, context.settings)) is not None:
            raise Refused(reason, "Do not retry; only the operator can change this.")
        check_scopes(self.spec, context.caller.scopes)
        args = validate(self.arguments, arguments, context.caller.redactor)
        if self.spec.plan is None:
            return Decision(args, None, "none", None)
        gated = Gated(
            make_plan=lambda: self._plan(context, args),
            context=context,
            confirm=self.spec.decides or (isinstance(args, Confirmable) and args.confirm),
            expected_name=args.expected_name if isinstance(args, NameConfirmed) else None,
        )
        began = time.time_ns()
        authorized = await authorize(gated)
        self.services.observer.authorized(self.spec.name, began, time.time_ns())
        if isinstance(authorized, InputRequiredResult):
            return authorized
        plan, verdict = authorized
        match verdict:
            case Approved(how, by):
                return Decision(args, plan, how, None, approved_by=by)
            case Denied(error):
                return Decision(args, plan, "none", error)
            case Preview():
                policy = policy_sentence(context.settings.approval_for(plan.environment))
                shown = results.preview(self.spec.result, plan, policy)
                return Decision(args, plan, "none", shown, await self.services.preview_meta(context, plan))

    async def _plan(self, context: ToolContext, args: Arguments) -> Plan:
        """Work out what the call would do, on the token as it is now, and as the caller knows it."""
        assert self.spec.plan is not None
        epoch = await context.state.write_epoch()  # before the read: what is written from here on counts as later
        plan: Plan = await self.spec.plan(args, context)
        if plan.token is not None:
            if not plan.effects:
                await last_read.ensure_current(context, plan.token, plan.changes)
            elif isinstance(args, Confirmable) and args.confirm:
                await last_read.ensure_current(context, plan.token)
            await last_read.record(context, plan.token, fields=last_read.SUMMARY)
        return plan.masked(context.caller.redactor.redact_text, epoch)

    async def _act(self, context: ToolContext, decided: Decision) -> results.Result:
        args, plan = decided.args, decided.plan
        assert args is not None
        if plan is None:
            return await self.spec.run(args, context)
        if not self.spec.writes:
            plan = await self._planned_again(context, args, plan, decided.approval)
            await self._record(context, "started", decided._replace(plan=plan))
            return await self.spec.run(args, context, plan)
        # One call at a time acts on a token, or makes one of a name, over all servers that share the state.
        key = f"{context.caller.account} {plan.token.id if plan.token else f'{plan.environment} {plan.name}'}"
        answer: results.Result | ClientTokenError | None = None
        try:
            async with context.state.lock(key) as lock:
                plan = await self._planned_again(context, args, plan, decided.approval)
                # First, because nothing is written unrecorded.
                await self._record(context, "started", decided._replace(plan=plan))
                await context.state.advance_write_epoch()
                await lock.ensure_held()  # last: what takes long is behind us
                try:
                    answer = await _caught(self.spec, self.spec.run(args, context, plan), may_have_written=True)
                finally:
                    await context.state.advance_write_epoch()
        except StateError:
            if answer is None:
                raise
            # What was done at the API stands, and is told. Only others may have read the token too early.
            logger.warning("The end of %s could not be told to other servers.", context.id, exc_info=True)
        if isinstance(answer, ClientTokenError):
            raise answer
        return answer

    async def _planned_again(self, context: ToolContext, args: Arguments, plan: Plan, approval: str) -> Plan:
        """The plan on the token as it is now, if that may be another than the one that was decided on."""
        # A person may take minutes, and two calls can both have seen the token before either acted.
        if approval in ("flag", "not gated") and await context.state.write_epoch() == plan.write_epoch:
            return plan
        if plan.token is not None:
            # By its id: another token may have the name by now, and the lock is on this one.
            args = args.model_copy(update={"client_token": plan.token.id})
        fresh = await self._plan(context, args)
        if (plan.effects or fresh.effects) and fresh.digest != plan.digest:
            raise Refused(
                f"{plan.subject} was changed by somebody else after this call was decided.",
                "Call again without confirm to see it as it is now.",
            )
        return fresh

    async def _record(self, context: ToolContext, event: str, decided: Decision, outcome: str | None = None) -> None:
        """Write a line of the audit log, if the operator keeps one.

        Raises:
            PermanentError: it cannot be written. Before a write this refuses the write.
        """
        log = context.services.audit_log
        if log is None:
            return
        plan = decided.plan
        entry: dict[str, Any] = {
            "event": event,
            "call": context.id,
            # Over HTTP the id of the request, which is in the log too; the client's own ids begin anew in each session.
            "request": (context.mcp.headers or {}).get("x-request-id") or str(context.mcp.request_id),
            "caller": context.caller.name,
            "subject": context.caller.subject,
            "tool": self.spec.name,
            "token": plan.token.id if plan and plan.token else None,
            "name": plan.name if plan else None,
            "environment": plan.environment if plan else None,
            "effects": [effect.sentence for effect in plan.effects] if plan else [],
            "approval": decided.approval,
        }
        if decided.approved_by:
            entry["approved_by"] = decided.approved_by
        if plan:
            entry |= plan.recorded
        if outcome is not None:
            entry |= {"outcome": outcome, "duration_ms": round((time.monotonic() - context.began) * 1000)}
        try:
            await anyio.to_thread.run_sync(log.append, context.caller.redactor.redact_json(entry))
        except AuditError as exc:
            raise PermanentError(
                f"The audit log cannot be written: {exc}", "Tell the operator: without it nothing is written or shown."
            ) from exc

    async def _record_end(self, context: ToolContext, decided: Decision, answer: Answer) -> str | None:
        """Record how a gated call ended. A line that fails after a write cannot undo it: it is told."""
        if self.spec.plan is None:
            return None
        outcome = getattr(answer, "status", "done")
        if isinstance(answer, ClientTokenError):
            verb = {"refused": "refused", "waiting": "refused", "unknown": "unknown"}.get(answer.outcome, "failed")
            outcome = f"{verb}: {answer.what}"
        try:
            await self._record(context, "ended", decided, outcome)
        except PermanentError as error:
            logger.exception("This call stands unrecorded: %s", context.id)
            return f"{error.what} This call's end is not recorded."
        return None


async def _caught(spec: ToolSpec, work: Awaitable[Any], *, may_have_written: bool) -> Any:
    """What `work` returns, or the failure that it raised."""
    try:
        return await work
    except MCPError:
        raise
    except ClientTokenError as error:
        return error
    except StateError as exc:
        return PermanentError(str(exc), "Tell the operator.")
    except Exception as exc:  # the one boundary: a crash is answered, and its text stays in the log
        logger.exception("%s crashed", spec.name)
        what = f"The server failed where it should not ({type(exc).__name__})."
        next_step = "Tell the operator; see the log."
        if may_have_written:
            return OutcomeUnknown(what, next_step, changed="It is unknown whether anything was changed.")
        return PermanentError(what, next_step)


def call_result(
    answer: Answer, redactor: Redactor, warning: str | None = None, meta: dict[str, Any] | None = None
) -> CallToolResult:
    """The one exit: everything passes the redactor, but the one field that exists to carry a value, and `meta`."""
    if isinstance(answer, ClientTokenError):
        text = f"Error ({answer.kind}): {answer}" + (f" {warning}" if warning else "")
        # What the API says may repeat what anyone has put there, so it is cleaned as every such text is.
        text = sanitize_line(redactor.redact_text(text), MAX_ERROR)
        # For programs, which would have to guess it from the text. No host shows a model what is in `_meta`.
        error: dict[str, str] = {"outcome": answer.outcome, "kind": answer.kind}
        if isinstance(answer, AwaitingApproval):
            error["approval"] = answer.code
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True, _meta={ERROR: error})
    data = answer.data()
    value = data.pop("value", None)
    if warning:
        data["warnings"] = [*data.get("warnings", []), warning]
    text = results.as_text(data)
    # The text says all that the data says, so it is looked through once for both; an escape could hide a part.
    if "\\" in text or redactor.redact_text(text) != text:
        data = redactor.redact_json(data)
        text = results.as_text(data)
    if value is not None:
        data["value"] = value
        text += f"\nvalue: {value}"
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=data, _meta=meta)


def outcome_of(answer: CallToolResult | InputRequiredResult) -> str:
    """What came of a call, in a word: `done`, `preview`, `asked`, or the outcome of an error."""
    if isinstance(answer, InputRequiredResult):
        return "asked"
    if answer.is_error:
        return str((answer.meta or {})[ERROR]["outcome"])
    return str((answer.structured_content or {}).get("status", "done"))


def build_tool(spec: ToolSpec, services: Services, meta: dict[str, Any] | None = None) -> GuardedTool:
    """The SDK's tool for a spec, with schemas as the settings want them. `meta` is its `_meta`, which no model sees."""
    arguments = narrowed(spec.arguments, services.settings)
    reads = not (spec.writes or spec.app_only or spec.decides)  # what a page calls changes what is approved
    return GuardedTool(
        services=services,
        spec=spec,
        arguments=arguments,
        fn=spec.run,
        name=spec.name,
        title=spec.title,
        description=spec.description,
        # Most hosts show models also what only pages call: each word of it would be paid for and tempt.
        parameters=flat(Arguments if spec.app_only else arguments),
        # The SDK validates neither arguments nor results with these: `run` does the first, and results are typed.
        fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_schema=flat(spec.result, "serialization")),
        is_async=True,
        meta=meta,
        annotations=ToolAnnotations(
            read_only_hint=reads,
            # Of a read these two say nothing; and every tool is open-world, which is the default.
            destructive_hint=None if reads else spec.destructive,
            idempotent_hint=None if reads else spec.idempotent,
        ),
    )
