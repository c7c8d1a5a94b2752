"""The OpenAI Agents SDK. `strict` before the server's command makes its schemas strict where it can."""

import json
from typing import Any

# None of these is in the project's environment.
from agents import Agent, FunctionTool, RunContextWrapper, set_tracing_disabled  # type: ignore[import-not-found]
from agents.mcp import MCPServerStdio, MCPUtil  # type: ignore[import-not-found]
from agents.tool_context import ToolContext  # type: ignore[import-not-found]

from tests.outside.converters.walk import CLOSED, Answer, Checks, Json, expect, run, walk


class Server(MCPServerStdio):  # type: ignore[misc]
    """The framework's own, which remembers whether a call failed: the framework tells the model, and nobody else."""

    failed = False

    async def call_tool(self, *args: Any, **more: Any) -> Any:
        result = await super().call_tool(*args, **more)
        self.failed = result.is_error
        return result


class OpenAIAgents:
    def __init__(self, server: Server, tools: list[FunctionTool]) -> None:
        self._server = server
        self.tools = {tool.name: tool for tool in tools}

    @property
    def names(self) -> list[str]:
        return list(self.tools)

    def schema(self, tool: str) -> Json:
        found: Json = self.tools[tool].params_json_schema
        return found

    async def call(self, tool: str, arguments: Json) -> Answer:
        said = json.dumps(arguments)
        context = ToolContext(None, tool_name=tool, tool_call_id="call", tool_arguments=said)
        output = await self.tools[tool].on_invoke_tool(context, said)
        return Answer(self._server.failed, output["text"])


async def main(command: list[str]) -> Checks:
    set_tracing_disabled(True)
    strict = command[0] == "strict"
    program, *arguments = command[strict:]
    # The framework gives a session five seconds by default, which a busy machine may need to start a process.
    server = Server({"command": program, "args": arguments}, client_session_timeout_seconds=60)
    async with server:
        tools = await MCPUtil.get_function_tools(server, strict, RunContextWrapper(None), Agent("outside"))
        framework = OpenAIAgents(server, tools)
        checks = await walk(framework, "openai-agents")

    async def converts_strictly(tool: str) -> None:
        expect(framework.tools[tool].strict_json_schema, "is served as it is")

    if strict:
        await checks.of_each("the tools without an open object are strict", sorted(CLOSED), converts_strictly)
    return checks


if __name__ == "__main__":
    run(main)
