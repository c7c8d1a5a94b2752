"""FastMCP with the eight functions."""

import sys

from fastmcp import FastMCP  # type: ignore[import-not-found]  # lives in its own environment

from benchmarks.peers.tools import TOOLS

server = FastMCP("client-tokens")
for function in TOOLS:
    server.tool(function)

if len(sys.argv) > 1:
    server.run(transport="http", port=int(sys.argv[1]))
else:
    server.run()
