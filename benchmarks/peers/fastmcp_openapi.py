"""FastMCP's `from_openapi`: no function written by hand."""

import json
import os
import sys
from pathlib import Path

import httpx2
from fastmcp import FastMCP  # type: ignore[import-not-found]  # lives in its own environment

server = FastMCP.from_openapi(
    openapi_spec=json.loads(Path(__file__).with_name("openapi.json").read_text()),
    client=httpx2.AsyncClient(
        base_url=os.environ["RUNTYPE_BASE_URL"],
        headers={"Authorization": f"Bearer {os.environ['RUNTYPE_API_KEY']}"},
        limits=httpx2.Limits(max_connections=100, max_keepalive_connections=100),
    ),
    name="client-tokens",
)

if len(sys.argv) > 1:
    server.run(transport="http", port=int(sys.argv[1]))
else:
    server.run()
