"""The way of a call: check the arguments, pass the gate, record, act, shape the answer. One way, for every tool."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ConfigDict, Field, create_model

from runtype_mcp import results
from runtype_mcp.errors import ClientTokenError, OutcomeUnknown, PermanentError, Refused
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.settings import Settings
from runtype_mcp.tools import approval
from runtype_mcp.tools.arguments import Arguments, Delivery, validate
from runtype_mcp.tools.schema import flat
from runtype_mcp.tools.spec import App, Call, ToolSpec

_LONGEST_ERROR = 4000
"""Characters. No error is as long, unless something is wrong."""
logger = logging.getLogger("runtype_mcp")

Answer = results.Result | ClientTokenError


class GuardedTool(Tool):
    """An `ToolSpec` as the SDK's tool, with the SDK's `run` replaced: strict arguments, the gate, our own errors."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    app: App = Field(exclude=True)
    endpoint: ToolSpec = Field(exclude=True)
    arguments: type[Arguments] = Field(exclude=True)

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult | InputRequiredResult:
        """Answer one call. A failure is an answer too; only a protocol error is raised."""
        # Around everything: what is raised from here reaches the client as it is, text and all.
        answer = await _caught(self.endpoint, self._run(arguments, context), lambda: self.endpoint.writes)
        return self._result(answer) if isinstance(answer, ClientTokenError) else answer

    async def _run(self, arguments: dict[str, Any], context: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        call = Call(self.app, self.endpoint, Arguments(), context)
        try:
            call.args = self._admitted(arguments)
        except ClientTokenError as error:
            return self._result(error, await _record_end(call, error))
        answer = await _caught(self.endpoint, _gated(call), lambda: call.started)
        if isinstance(answer, InputRequiredResult):
            return answer
        # Nothing is interrupted from here on: a client that leaves or cancels in the middle of a write must not
        # cost the record of it, or a new value that exists already and was to be delivered.
        with anyio.CancelScope(shield=self.endpoint.writes):
            if answer is None:
                answer = await _caught(self.endpoint, _in_turn(call), lambda: call.started)
            assert not isinstance(answer, InputRequiredResult)
            warning = await _record_end(call, answer)
        return self._result(answer, warning)

    def _admitted(self, arguments: dict[str, Any]) -> Arguments:
        """The arguments of a call that the policy allows; raises for another, and for arguments that do not fit."""
        if (reason := forbidden(self.endpoint, self.app.settings)) is not None:
            raise Refused(reason, "Do not retry; only the operator can change this.")
        return validate(self.arguments, arguments)

    def _result(self, answer: Answer, warning: str | None = None) -> CallToolResult:
        """The one exit: everything passes the redactor, but the one field that exists to carry a value."""
        redact = self.app.redactor
        if isinstance(answer, ClientTokenError):
            text = f"Error ({answer.kind}): {answer}" + (f" {warning}" if warning else "")
            # What the API says may repeat what anyone has put there, so it is cleaned as every such text is.
            text = sanitize_line(redact.redact_text(text), _LONGEST_ERROR)
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
        data = answer.data()
        value = data.pop("value", None)
        if warning:
            data["warnings"] = [*data.get("warnings", []), warning]
        text = results.as_text(data)
        # The text says all that the data says, so it is looked through once for both; an escape could hide a part.
        if "\\" in text or redact.redact_text(text) != text:
            data = redact.redact_json(data)
            text = results.as_text(data)
        if value is not None:
            data["value"] = value
            text += f"\nvalue: {value}"
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=data)


async def _caught(endpoint: ToolSpec, work: Awaitable[Any], started: Callable[[], bool]) -> Any:
    """What `work` gives, or the failure that it raised. `started`: whether a write may have begun by then."""
    try:
        return await work
    except MCPError:
        raise
    except ClientTokenError as error:
        return error
    except Exception as exc:  # the one boundary: a crash is answered, and its text stays in the log
        logger.exception("%s crashed", endpoint.name)
        what, next_step = (
            f"The server failed where it should not ({type(exc).__name__}).",
            "Tell the operator; see the log.",
        )
        if started():
            return OutcomeUnknown(what, next_step, changed="It is unknown whether anything was changed.")
        return PermanentError(what, next_step)


async def _gated(call: Call) -> InputRequiredResult | results.Result | None:
    """Take a gated call through the gate. None: go ahead."""
    if call.endpoint.planned is None:
        return None
    passed = await approval.authorize(call, call.context)
    if isinstance(passed, InputRequiredResult):
        return passed
    plan, verdict = passed
    if isinstance(verdict, approval.Preview):
        call.approval = "none"
        return results.preview(
            call.endpoint.result, plan, approval.policy_sentence(call.settings.approval_for(plan.environment))
        )
    call.approval = verdict.how
    if verdict.how == "person":
        # A person may take minutes, and they said yes to what they were shown, not to what is there now.
        await _plan_again(call, plan, "somebody else while the person was asked")
    else:
        call.decided = plan
    return None


async def _plan_again(call: Call, decided: approval.Plan, by: str) -> None:
    fresh = await call.plan()
    if (decided.effects or fresh.effects) and fresh.digest != decided.digest:
        raise Refused(f"{decided.subject} was changed by {by}.", "Call again without confirm to see it as it is now.")


async def _in_turn(call: Call) -> results.Result:
    """Act, while no other call of this server acts on the same token, or on a new one of the same name."""
    if call.decided is None:
        return await _act(call)
    async with call.turn():
        if call.planned_after != call.app.written:
            # Two calls at once have both seen the token before either acted: the second must not act on that.
            await _plan_again(call, call.decided, "another call meanwhile")
        return await _act(call)


async def _act(call: Call) -> results.Result:
    if not call.endpoint.writes:
        return await call.endpoint.act(call.args, call)
    await call.record("started")  # first, so that nothing is ever written unrecorded
    call.started = True
    call.app.written += 1
    try:
        return await call.endpoint.act(call.args, call)
    finally:
        call.app.written += 1


async def _record_end(call: Call, answer: Answer) -> str | None:
    """Record how a writing or gated call ended. A line that fails after a write cannot undo it: it is told."""
    if not call.endpoint.writes and not (call.decided and call.decided.effects):
        return None
    outcome = getattr(answer, "status", "done")
    if isinstance(answer, ClientTokenError):
        verb = {Refused: "refused", OutcomeUnknown: "unknown"}.get(type(answer), "failed")
        outcome = f"{verb}: {answer.what}"
    try:
        await call.record("ended", outcome)
    except PermanentError as error:
        logger.exception("This call stands unrecorded: %s", call.id)
        return f"{error.what} This call's end is not recorded."
    return None


def forbidden(endpoint: ToolSpec, settings: Settings) -> str | None:
    """Why the operator's policy forbids a tool altogether; None where it does not."""
    if settings.read_only and endpoint.writes:
        return f"This server is read-only (RUNTYPE_MCP_READ_ONLY), and {endpoint.name} writes."
    if not settings.allows_tool(endpoint.name):
        return f"The operator's list of tools (RUNTYPE_MCP_TOOLS) leaves {endpoint.name} out."
    return None


def build_tool(endpoint: ToolSpec, app: App) -> GuardedTool:
    """The SDK's tool for an endpoint, with schemas as the settings want them."""
    arguments = endpoint.arguments
    if app.settings.secrets == "file" and issubclass(arguments, Delivery):
        arguments = _without_show(arguments)
    return GuardedTool(
        app=app,
        endpoint=endpoint,
        arguments=arguments,
        fn=endpoint.act,
        name=endpoint.name,
        title=endpoint.title,
        description=endpoint.description,
        parameters=flat(arguments),
        # The SDK validates neither arguments nor results with these: `run` does the first, and views are typed.
        fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_schema=flat(endpoint.result, "serialization")),
        is_async=True,
        annotations=ToolAnnotations(
            read_only_hint=not endpoint.writes,
            # Of a read these two say nothing; and every tool is open-world, which is the default.
            destructive_hint=endpoint.destructive if endpoint.writes else None,
            idempotent_hint=endpoint.idempotent if endpoint.writes else None,
        ),
    )


def _without_show(model: type[Arguments]) -> type[Arguments]:
    """The same arguments where values may go into files alone (RUNTYPE_MCP_SECRETS=file)."""
    field = model.model_fields["deliver"]
    ways = tuple(way for way in getattr(field.annotation, "__args__", ()) if way != "show")
    narrowed = Field(default=ways[0], description=field.description)
    return create_model(model.__name__, __base__=model, deliver=(Literal[ways], narrowed))  # type: ignore[arg-type]  # made at run time
