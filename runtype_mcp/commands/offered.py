"""Which of a server's tools are for its callers."""

from __future__ import annotations

from mcp_types import Tool


def is_for_models(tool: Tool) -> bool:
    """Whether a host offers it to its models, and not to pages alone."""
    return "model" in (tool.meta or {}).get("ui", {}).get("visibility", ["model"])
