"""LangChain's MCP adapters, and LangChain's own conversion of their tools to what models take."""

# None of these is in the project's environment.
from langchain_core.tools import BaseTool  # type: ignore[import-not-found]
from langchain_core.utils.function_calling import convert_to_openai_tool  # type: ignore[import-not-found]
from langchain_mcp_adapters.client import MultiServerMCPClient  # type: ignore[import-not-found]
from langchain_mcp_adapters.tools import load_mcp_tools  # type: ignore[import-not-found]

from tests.outside.converters.walk import LISTED, Answer, Checks, Json, run, same, walk


class LangChain:
    def __init__(self, tools: list[BaseTool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    @property
    def names(self) -> list[str]:
        return list(self._tools)

    def schema(self, tool: str, strict: bool | None = None) -> Json:
        found: Json = convert_to_openai_tool(self._tools[tool], strict=strict)["function"]["parameters"]
        return found

    async def call(self, tool: str, arguments: Json) -> Answer:
        asked = {"type": "tool_call", "id": "call", "name": tool, "args": arguments}
        message = await self._tools[tool].ainvoke(asked)
        return Answer(message.status == "error", message.text)


async def main(command: list[str]) -> Checks:
    server = {"transport": "stdio", "command": command[0], "args": command[1:]}
    async with MultiServerMCPClient({"runtype": server}).session("runtype") as session:
        framework = LangChain(await load_mcp_tools(session))
        checks = await walk(framework, "langchain")

    async def converts_strictly(tool: str) -> None:
        schema = framework.schema(tool, strict=True)
        same(sorted(schema.get("required", ())), sorted(LISTED[tool]["inputSchema"]["properties"]))

    await checks.of_each("every tool has a strict form", LISTED, converts_strictly)
    return checks


if __name__ == "__main__":
    run(main)
