"""Writes `tests/tools/tools_list.json`: what every client is told of the tools.

python -m tests.tools.update_snapshot
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from mcp import Client

from runtype_mcp.server import build_server
from runtype_mcp.settings import Settings
from tests.support import LEGACY

SNAPSHOT = Path(__file__).with_name("tools_list.json")


async def tools_list(era: str = LEGACY, **environ: str) -> list[dict[str, Any]]:
    """The tools as they stand on the wire."""
    async with Client(build_server(Settings.from_env({"RUNTYPE_MCP_SANDBOX": "1", **environ})), mode=era) as client:
        listed = await client.list_tools()
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools]


def text_of(tools: list[dict[str, Any]]) -> str:
    return json.dumps(tools, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(text_of(asyncio.run(tools_list())), encoding="utf-8")
