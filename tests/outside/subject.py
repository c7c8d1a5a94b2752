"""What is tested: the one place that names our server."""

import sys

from runtype_mcp.http.app import serve
from runtype_mcp.server import RuntypeServer, build_server
from runtype_mcp.settings import Settings

__all__ = ["HTTP", "STDIO", "build", "serve"]

STDIO = (sys.executable, "-m", "runtype_mcp", "--sandbox")
HTTP = (sys.executable, "-m", "runtype_mcp", "http", "--sandbox", "--port", "0")


def build() -> RuntypeServer:
    """The server as `runtype-mcp --sandbox` builds it."""
    return build_server(Settings.from_env({}, sandbox=True))
