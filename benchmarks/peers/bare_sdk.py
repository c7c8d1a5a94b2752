"""The MCP Python SDK's `MCPServer`, used as its documentation shows."""

import sys

from mcp.server import MCPServer

from benchmarks.peers.tools import TOOLS

server = MCPServer("client-tokens", log_level="WARNING")  # an access-log line per call would slow it down
for function in TOOLS:
    server.add_tool(function)

if len(sys.argv) > 1:
    server.run("streamable-http", port=int(sys.argv[1]))
else:
    server.run()
