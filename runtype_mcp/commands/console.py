"""`runtype-mcp console`: tokens, findings, approvals and the audit log as pages in the person's browser."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp_types import CallToolResult, Implementation, TextContent

from runtype_mcp import __version__
from runtype_mcp.commands.output import failed, say
from runtype_mcp.console.app import HOST, create_app
from runtype_mcp.console.approvals import approval_routes
from runtype_mcp.console.browser import can_open_browser, open_browser, this_machine
from runtype_mcp.console.reads import ReadError, read_routes
from runtype_mcp.console.session import Session
from runtype_mcp.listen import Server, bind
from runtype_mcp.server import RuntypeServer


def console(server: RuntypeServer, port: int, *, opens: bool) -> int:
    """Serve the console until Ctrl+C. Returns the exit code; 0 picks a free port."""
    opens = opens and can_open_browser(os.environ, this_machine())
    if not opens and not sys.stdout.isatty():
        # As `approve` does: whoever has the address can approve, so a pipe from an agent's shell is not enough.
        return failed("console needs a browser that it can open, or a terminal to print the address to.")
    try:
        bound, url = bind(HOST, port)
    except OSError as exc:
        return failed(f"port {port} cannot be used ({exc.strerror}). Choose another --port.")
    session = Session()

    def announce() -> None:
        if opens:
            open_browser(session.address(url))
            say("The console opens in your browser. Ctrl+C ends it.")
        if sys.stdout.isatty():
            say("If no page appears, open this address." if opens else "Open this address. Ctrl+C ends the console.")
            say(f"It opens the console once, within 15 minutes:\n{session.address(url)}")
        sys.stdout.flush()

    async def serve() -> None:
        # A client of this server in this process: what is read goes the way of a model's call, under a name of its own.
        person = Implementation(name="runtype-mcp console", version=__version__)
        async with Client(server, client_info=person) as client:

            async def read(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
                return _data(await client.call_tool(tool, arguments))

            state, settings = server.services.state, server.services.settings
            routes = [
                *approval_routes(state, session.person, "console", tickets=lambda _: state.open_tickets()),
                *read_routes(read, settings.audit if isinstance(settings.audit, Path) else None),
            ]
            await Server(create_app("console", settings, session, url, routes), announce).serve([bound])

    with bound:
        anyio.run(serve)
    return 0


def _data(result: CallToolResult) -> dict[str, Any]:
    if result.is_error or result.structured_content is None:
        text = " ".join(part.text for part in result.content if isinstance(part, TextContent))
        raise ReadError(re.sub(r"^Error \(\w+\): ", "", text))
    data: dict[str, Any] = result.structured_content
    return data
