"""What is tested: the one place that names our server."""

import sys
from typing import Any

from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp

STDIO = (sys.executable, "-m", "runtype_mcp", "--sandbox")
HTTP = (sys.executable, "-m", "runtype_mcp", "http", "--sandbox", "--port", "0")


def build() -> MCPServer[Any]:
    """The server as `runtype-mcp --sandbox` builds it."""
    from runtype_mcp.server import build_server
    from runtype_mcp.settings import load

    return build_server(load({}, sandbox=True))


def serve(server: MCPServer[Any]) -> ASGIApp:
    """The app as `runtype-mcp http` serves it."""
    from runtype_mcp.http import create_http_app

    return create_http_app(server)
