"""What the conformance suite needs a server to have, added to a server that is already built.

The suite judges the protocol, not the product, so most of its scenarios call tools, resources and prompts by
fixed names. They exist in this test-only module and never in the shipped package; the server under them (its
middleware, its overrides of listing and calling, its HTTP app) is the real one.
"""

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequests,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

Fn = TypeVar("Fn", bound=Callable[..., Any])

# One pixel and no sound: the suite looks at the kind of content, never at the picture.
GIF = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="


def add_fixtures(server: MCPServer[Any]) -> None:
    """Add everything that the suite calls by name to `server`."""
    _add_content_tools(server)
    _add_notifying_tools(server)
    _add_tools_that_call_the_client(server)
    _add_tools_that_return_questions(server)
    _add_schema_tools(server)
    _add_resources(server)
    _add_prompts(server)
    _add_handshake_era_methods(server)


def _tool(server: MCPServer[Any], name: str) -> Callable[[Fn], Fn]:
    return server.tool(name, description="A fixture of the conformance suite.", structured_output=False)


def _prompt(server: MCPServer[Any], name: str) -> Callable[[Fn], Fn]:
    return server.prompt(name, description="A fixture of the conformance suite.")


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _image() -> ImageContent:
    return ImageContent(type="image", data=GIF, mime_type="image/gif")


def _embedded(uri: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type="text/plain", text="Embedded text.")
    return EmbeddedResource(type="resource", resource=contents)


def _form(message: str, properties: dict[str, Any]) -> ElicitRequest:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _ask_name() -> ElicitRequest:
    return _form("What is your name?", {"name": {"type": "string"}})


def _ask_model(prompt: str) -> CreateMessageRequest:
    messages = [SamplingMessage(role="user", content=_text(prompt))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=100))


def _add_content_tools(server: MCPServer[Any]) -> None:
    results: dict[str, list[ContentBlock]] = {
        "test_simple_text": [_text("This is a simple text response for testing.")],
        "test_image_content": [_image()],
        "test_audio_content": [AudioContent(type="audio", data=WAV, mime_type="audio/wav")],
        "test_embedded_resource": [_embedded("test://embedded-resource")],
        "test_multiple_content_types": [
            _text("Three kinds:"),
            _image(),
            _embedded("test://mixed-content-resource"),
        ],
    }

    def returning(blocks: list[ContentBlock]) -> Callable[[], list[ContentBlock]]:
        return lambda: blocks

    for name, blocks in results.items():
        _tool(server, name)(returning(blocks))

    @_tool(server, "test_error_handling")
    def fail() -> str:
        raise ToolError("This tool intentionally returns an error for testing")

    @_tool(server, "test_missing_capability")
    def require_sampling(ctx: Context) -> str:
        if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
            needs: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs sampling", needs)
        return "The client declared sampling."


def _add_notifying_tools(server: MCPServer[Any]) -> None:
    async def log(ctx: Context) -> str:
        for step in ("started", "processing data", "completed"):
            await ctx.info(f"Tool execution {step}")
            await anyio.sleep(0.05)
        return "Logged."

    for name in ("test_tool_with_logging", "test_logging_tool"):
        _tool(server, name)(log)

    @_tool(server, "test_tool_with_progress")
    async def progress(ctx: Context) -> str:
        for done in (0, 50, 100):
            await ctx.report_progress(done, total=100)
            await anyio.sleep(0.05)
        return "Done."

    @_tool(server, "test_reconnection")
    async def drop_the_stream(ctx: Context) -> str:
        await ctx.close_sse_stream()
        await anyio.sleep(0.2)
        return "Finished after the stream was closed."

    @_tool(server, "test_trigger_tool_change")
    async def change_tools(ctx: Context) -> str:
        await ctx.notify_tools_changed()
        return "Announced."

    @_tool(server, "test_trigger_prompt_change")
    async def change_prompts(ctx: Context) -> str:
        await ctx.notify_prompts_changed()
        return "Announced."


def _add_tools_that_call_the_client(server: MCPServer[Any]) -> None:
    """2025-11-25 and older: the server sends a request while the tool runs."""

    async def ask(ctx: Context, request: ElicitRequest) -> str:
        # Tied to the call that caused it, or it waits on the GET stream, which may not be open.
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        reply = await ctx.session.send_request(request, ElicitResult, metadata=related)
        return f"Elicitation completed: action={reply.action}, content={json.dumps(reply.content)}"

    @_tool(server, "test_sampling")
    async def sample(prompt: str, ctx: Context) -> str:
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        reply = await ctx.session.send_request(_ask_model(prompt), CreateMessageResult, metadata=related)
        return f"LLM response: {reply.content}"

    @_tool(server, "test_elicitation")
    async def elicit(message: str, ctx: Context) -> str:
        return await ask(ctx, _form(message, {"response": {"type": "string"}}))

    @_tool(server, "test_elicitation_sep1034_defaults")
    async def elicit_with_defaults(ctx: Context) -> str:
        statuses = ["active", "inactive", "pending"]
        properties = {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": statuses, "default": "active"},
            "verified": {"type": "boolean", "default": True},
        }
        return await ask(ctx, _form("Who is it?", properties))

    @_tool(server, "test_elicitation_sep1330_enums")
    async def elicit_with_enums(ctx: Context) -> str:
        plain = ["option1", "option2", "option3"]
        titled = [{"const": f"value{n}", "title": f"Value {n}"} for n in (1, 2, 3)]
        properties = {
            "untitledSingle": {"type": "string", "enum": plain},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["One", "Two"]},
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
            "titledMulti": {"type": "array", "items": {"anyOf": titled}},
        }
        return await ask(ctx, _form("Which of them?", properties))


def _asking(
    requests: InputRequests, state: str | None = None
) -> Callable[[Context], Awaitable[str | InputRequiredResult]]:
    """A tool or prompt that asks for `requests` until all are answered under the state that it handed out."""

    async def ask(ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses or {}
        if requests.keys() <= answers.keys() and ctx.request_state == state:
            return f"state-ok: {', '.join(sorted(answers))}"
        return InputRequiredResult(input_requests=requests, request_state=state)

    return ask


def _add_tools_that_return_questions(server: MCPServer[Any]) -> None:
    """2026-07-28: the server answers with what it needs, and the client calls again."""
    confirm: InputRequests = {"confirm": _form("Please confirm", {"ok": {"type": "boolean"}})}
    name: InputRequests = {"user_name": _ask_name()}
    model: InputRequests = {"capital_question": _ask_model("What is the capital of France?")}
    roots: InputRequests = {"client_roots": ListRootsRequest()}
    tools = {
        "test_streaming_elicitation": _asking(name),
        "test_input_required_result_elicitation": _asking(name),
        "test_input_required_result_sampling": _asking(model),
        "test_input_required_result_list_roots": _asking(roots),
        "test_input_required_result_request_state": _asking(confirm, "asked"),
        "test_input_required_result_tampered_state": _asking(confirm, "asked"),
        "test_input_required_result_multiple_inputs": _asking(name | model | roots, "asked"),
    }
    for tool, fn in tools.items():
        _tool(server, tool)(fn)

    @_tool(server, "test_input_required_result_multi_round")
    async def ask_twice(ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses or {}
        if ctx.request_state == "second" and "step2" in answers:
            return "Both steps were answered."
        if ctx.request_state == "first" and "step1" in answers:
            color = _form("Step 2: What is your favorite color?", {"color": {"type": "string"}})
            return InputRequiredResult(input_requests={"step2": color}, request_state="second")
        return InputRequiredResult(input_requests={"step1": _ask_name()}, request_state="first")

    @_tool(server, "test_input_required_result_capabilities")
    async def ask_what_the_client_can(ctx: Context) -> InputRequiredResult:
        can = ctx.client_capabilities
        questions: InputRequests = {}
        if can is not None and can.sampling is not None:
            questions |= model
        if can is not None and can.elicitation is not None:
            questions |= name
        return InputRequiredResult(input_requests=questions, request_state="asked")


def _add_schema_tools(server: MCPServer[Any]) -> None:
    @_tool(server, "test_x_mcp_header")
    def mirror(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        return f"region={region}"

    @_tool(server, "json_schema_2020_12_tool")
    def keep_the_schema() -> str:
        return "The schema is the test."

    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "address", "type": "object", "properties": {"street": {"type": "string"}}}},
        "properties": {
            "address": {"$ref": "#/$defs/address"},
            "by": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"by": {"const": "phone"}}, "required": ["by"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }


def _add_resources(server: MCPServer[Any]) -> None:
    server.resource("test://static-text", name="text")(lambda: "This is the content of the static text resource.")
    server.resource("test://static-binary", name="binary")(lambda: base64.b64decode(GIF))
    server.resource("test://watched-resource", name="watched")(lambda: "Watched.")

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002 - the name is the template's
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def _add_prompts(server: MCPServer[Any]) -> None:
    _prompt(server, "test_simple_prompt")(lambda: "This is a simple prompt for testing.")
    _prompt(server, "test_prompt_with_image")(lambda: [_image(), "What is in this image?"])
    context = _form("What context should the prompt use?", {"context": {"type": "string"}})
    _prompt(server, "test_input_required_result_prompt")(_asking({"user_context": context}))

    @_prompt(server, "test_prompt_with_arguments")
    def with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @_prompt(server, "test_prompt_with_embedded_resource")
    def with_resource(resourceUri: str) -> list[ContentBlock]:  # noqa: N803 - the suite sends this name
        return [_embedded(resourceUri), _text("Please process the embedded resource above.")]

    # The suite accepts any list. A server that completes its own arguments keeps its handler.
    if server._lowlevel_server.get_request_handler("completion/complete") is None:

        async def complete(ctx: ServerRequestContext[Any], params: CompleteRequestParams) -> CompleteResult:
            return CompleteResult(completion=Completion(values=[]))

        server._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, complete)


def _add_handshake_era_methods(server: MCPServer[Any]) -> None:
    """Three methods that 2026-07-28 removed. The product does not serve them; the SDK has no public way to."""

    async def accept(ctx: ServerRequestContext[Any], params: object) -> EmptyResult:
        return EmptyResult()

    add = server._lowlevel_server.add_request_handler
    add("logging/setLevel", SetLevelRequestParams, accept)
    add("resources/subscribe", SubscribeRequestParams, accept)
    add("resources/unsubscribe", UnsubscribeRequestParams, accept)
