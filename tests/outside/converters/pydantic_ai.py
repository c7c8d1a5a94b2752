"""Pydantic AI: its agent calls the tools, with a script in the place of the model."""

# None of these is in the project's environment.
from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found]
from pydantic_ai import Agent, ToolDefinition  # type: ignore[import-not-found]
from pydantic_ai.mcp import MCPToolset  # type: ignore[import-not-found]
from pydantic_ai.messages import (  # type: ignore[import-not-found]
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel  # type: ignore[import-not-found]
from pydantic_ai.profiles.google import GoogleJsonSchemaTransformer  # type: ignore[import-not-found]
from pydantic_ai.profiles.openai import OpenAIJsonSchemaTransformer  # type: ignore[import-not-found]

from tests.outside.converters.walk import CLOSED, LISTED, Answer, Checks, Json, run, same, walk


class PydanticAI:
    def __init__(self, toolset: MCPToolset) -> None:
        self._agent = Agent(FunctionModel(self._model), toolsets=[toolset])
        self._asked: list[ToolCallPart] = []
        self._answer = Answer(False, "")
        self.tools: dict[str, ToolDefinition] = {}

    def _model(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.tools = {tool.name: tool for tool in info.function_tools}
        if self._asked:
            return ModelResponse([self._asked.pop()])
        for part in messages[-1].parts:
            if isinstance(part, ToolReturnPart):
                self._answer = Answer(part.outcome != "success", part.model_response_str(wrap_if_error=False))
        return ModelResponse([TextPart("Done.")])

    @property
    def names(self) -> list[str]:
        return list(self.tools)

    def schema(self, tool: str) -> Json:
        found: Json = self.tools[tool].parameters_json_schema
        return found

    async def look(self) -> None:
        await self._agent.run("Which tools are there?")

    async def call(self, tool: str, arguments: Json) -> Answer:
        self._asked = [ToolCallPart(tool, arguments)]
        await self._agent.run("Call it.")
        return self._answer


async def main(command: list[str]) -> Checks:
    toolset = MCPToolset(StdioTransport(command[0], command[1:]))
    async with toolset:
        framework = PydanticAI(toolset)
        await framework.look()
        checks = await walk(framework, "pydantic-ai")

    async def converts_for_openai(tool: str) -> None:
        schema = OpenAIJsonSchemaTransformer(framework.schema(tool), strict=True).walk()
        same(sorted(schema["required"]), sorted(LISTED[tool]["inputSchema"]["properties"]))

    async def converts_for_gemini(tool: str) -> None:
        schema = GoogleJsonSchemaTransformer(framework.schema(tool)).walk()
        same(sorted(schema["properties"]), sorted(LISTED[tool]["inputSchema"]["properties"]))

    await checks.of_each("the tools without an open object have a strict form", sorted(CLOSED), converts_for_openai)
    await checks.of_each("every tool has Gemini's form", LISTED, converts_for_gemini)
    return checks


if __name__ == "__main__":
    run(main)
