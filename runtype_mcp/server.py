"""`build_server` puts the parts together. Nothing here touches the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import mcp_types
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError

from runtype_mcp import __version__
from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.settings import Settings
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.approval import policy_sentence
from runtype_mcp.tools.pipeline import build_tool, forbidden
from runtype_mcp.tools.prompts import add_prompts
from runtype_mcp.tools.resources import POLICY_URI, add_resources
from runtype_mcp.tools.spec import App

_STABLE = CacheHint(ttl_ms=3_600_000, scope="private")  # what these lists say is fixed for the life of a process


class RuntypeServer(MCPServer[None]):
    """The SDK's server with the operator's policy on its list of tools."""

    def __init__(self, app: App, **options: Any) -> None:
        self.app = app
        self._hidden = {endpoint.name for endpoint in SPECS if forbidden(endpoint, app.settings)}
        self._known = [endpoint.name for endpoint in SPECS]  # no set: what is asked for may be unhashable
        super().__init__(tools=[build_tool(endpoint, app) for endpoint in SPECS], **options)
        # Outermost, which the SDK's own option is not: its spans repeat names as well as its errors and logs do.
        self._lowlevel_server.middleware.insert(0, self._mask)

    async def _mask(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Mask secrets in what a client names: a value in the place of a tool's name, a URI or a prompt's argument."""
        if not ctx.params or (ctx.method == "tools/call" and ctx.params.get("name") in self._known):
            return await call_next(ctx)
        taken_as_is = ("arguments", "inputResponses", "requestState") if ctx.method == "tools/call" else ()
        params = {k: v if k in taken_as_is else self.app.redactor.redact_json(v) for k, v in ctx.params.items()}
        return await call_next(replace(ctx, params=params))

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[None, Any] | None = None
    ) -> mcp_types.GetPromptResult | mcp_types.InputRequiredResult:
        try:
            return await super().get_prompt(name, arguments, context)
        except ValueError as exc:  # an unknown name or a missing argument, which the SDK takes for a crash
            raise MCPError(mcp_types.INVALID_PARAMS, str(exc)) from exc

    async def list_tools(self) -> list[mcp_types.Tool]:
        # A forbidden tool stays callable, so that the refusal can say who decided; it is not offered.
        return [tool for tool in await super().list_tools() if tool.name not in self._hidden]


def build_server(settings: Settings, api: RuntypeClient | None = None) -> RuntypeServer:
    """The MCP server for these settings.

    Args:
        settings: what the operator decided.
        api: the client of the API; made from the settings if it is not given.
    """
    api = api or _client(settings)
    redactor = Redactor([settings.api_key] if settings.api_key else [])
    app = App(settings, api, redactor)

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield None
        finally:
            await api.aclose()

    server = RuntypeServer(
        app,
        name="runtype-mcp",
        title="Runtype client tokens",
        version=__version__,
        instructions=instructions(settings),
        log_level=settings.log_level,
        lifespan=lifespan,
        cache_hints={
            "server/discover": _STABLE,
            "tools/list": _STABLE,
            "prompts/list": _STABLE,
            "resources/list": _STABLE,
            "resources/templates/list": _STABLE,
        },
    )
    add_resources(server, app)
    add_prompts(server)
    return server


def instructions(settings: Settings) -> str:
    """What every session's model is told, in as few words as carry it."""
    said = [
        "Manages Runtype client tokens: the browser keys of embedded chat widgets.",
        "Calls that break or expose something only preview until confirm and expected_name are given; get the "
        "user's yes to the preview first.",
        policy_sentence(settings.approval),
    ]
    if (live := settings.approval_for("live")) != settings.approval:
        said.append(f"For live tokens: {policy_sentence(live)}")
    if settings.environment:
        said.append(f"Only {settings.environment} tokens can be used.")
    if settings.read_only:
        said.append("Read-only.")
    if settings.sandbox:
        said.append("This is the sandbox: example data, nothing real.")
    return " ".join([*said, f"Details: {POLICY_URI}."])


def _client(settings: Settings) -> RuntypeClient:
    def sandbox() -> Any:
        from runtype_mcp.sandbox.app import create_app  # at the first call, and only with --sandbox

        return create_app()

    return RuntypeClient(
        settings.api_key,
        settings.base_url,
        connect_timeout=settings.connect_timeout,
        total_timeout=settings.total_timeout,
        app=sandbox if settings.sandbox else None,
    )
