"""MCP Apps: the page that hosts show in a conversation, beside the result of a tool.

The page is one self-contained file. Every tool that shows or changes tokens is bound to it, and a host that knows no
pages loses nothing: the text of a result says all that its data says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver.resources import FileResource

PAGE = Path(__file__).with_name("page.html")
PAGE_URI = "ui://runtype-mcp/page"


def page_extension() -> Apps:
    """The protocol's extension with the page as its one resource, which is read from its file when it is asked for."""
    extension = Apps()
    extension.add_resource(
        # Without `csp` in its `_meta` a host lets the page reach nothing.
        FileResource(uri=PAGE_URI, name="page", title="Client tokens", mime_type=APP_MIME_TYPE, path=PAGE.resolve())
    )
    return extension


def shown_on_page() -> dict[str, Any]:
    """The `_meta` of a tool whose results a host shows on the page."""
    return {"ui": {"resourceUri": PAGE_URI}}
