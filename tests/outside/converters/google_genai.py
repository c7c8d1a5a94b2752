"""Google's Gen AI SDK, which converts an MCP session itself, and calls it when Gemini answers with a function call."""

from typing import Any

# None of these is in the project's environment.
from google.genai import types  # type: ignore[import-not-found]
from google.genai._adapters import McpToGenAiToolAdapter  # type: ignore[import-not-found]
from google.genai._extra_utils import get_function_response_parts_async  # type: ignore[import-not-found]
from google.genai._mcp_utils import mcp_to_gemini_tool  # type: ignore[import-not-found]
from mcp import ClientSession, StdioServerParameters, stdio_client

from tests.outside.converters.walk import Answer, Checks, Json, run, walk


class GoogleGenAI:
    def __init__(self, session: ClientSession, listed: Any) -> None:
        self._listed = {tool.name: tool for tool in listed.tools}
        self._adapter = McpToGenAiToolAdapter(session, listed)

    @property
    def names(self) -> list[str]:
        return [tool.function_declarations[0].name for tool in self._adapter.tools]

    def schema(self, tool: str) -> Json:
        # One by one, or the first that fails hides the others.
        (declaration,) = mcp_to_gemini_tool(self._listed[tool]).function_declarations
        found: Json = declaration.parameters.model_dump(mode="json", by_alias=True, exclude_none=True)
        return found

    async def call(self, tool: str, arguments: Json) -> Answer:
        said = types.Part.from_function_call(name=tool, args=arguments)
        candidate = types.Candidate(content=types.Content(role="model", parts=[said]))
        response = types.GenerateContentResponse(candidates=[candidate])
        (part,) = await get_function_response_parts_async(response, {tool: self._adapter})
        ((kind, result),) = part.function_response.response.items()
        return Answer(kind == "error", result if isinstance(result, str) else result.content[0].text)


async def main(command: list[str]) -> Checks:
    server = StdioServerParameters(command=command[0], args=command[1:])
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        return await walk(GoogleGenAI(session, await session.list_tools()), "google-genai")


if __name__ == "__main__":
    run(main)
