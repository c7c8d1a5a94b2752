"""`build_server` puts the parts together. Nothing here touches the network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import anyio
import mcp_types
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.request_state import RequestStateSecurity
from mcp.shared.exceptions import MCPError

from runtype_mcp import __version__
from runtype_mcp.api.client import RuntypeClient, asgi_transport
from runtype_mcp.console.mcp_apps import CONFIRM, page_extension, preview_meta, tool_meta
from runtype_mcp.credentials import ApiKey
from runtype_mcp.errors import ClientTokenError
from runtype_mcp.identity import Authentication, Identity, StaticKey
from runtype_mcp.observer import SILENT, Observer
from runtype_mcp.settings import Settings, SettingsError
from runtype_mcp.storage.audit_log import AuditLog, AuditSink
from runtype_mcp.storage.opening import open_state
from runtype_mcp.storage.state import State
from runtype_mcp.tools import FOR_A_SECOND_PERSON, SPECS
from runtype_mcp.tools.completions import complete
from runtype_mcp.tools.pipeline import build_tool
from runtype_mcp.tools.prompts import add_prompts
from runtype_mcp.tools.resources import add_resources, describe
from runtype_mcp.tools.spec import ApprovalPages, Services, ToolContext, ToolSpec, disabled_reason, missing_scopes

_STABLE = ("server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list")
"""What these say is fixed for the life of a process."""


_request: ContextVar[ServerRequestContext[Any, Any]] = ContextVar("request")
"""The request being answered, for completions and resources: the SDK does not hand it to them."""


class RuntypeServer(MCPServer[None]):
    """The SDK's server with the operator's policy on its list of tools."""

    def __init__(self, services: Services, **options: Any) -> None:
        self.services = services
        specs = [*specs_for(services.settings), CONFIRM]
        self.specs = specs
        self._enabled = [spec for spec in specs if not disabled_reason(spec, services.settings)]
        self._known = [spec.name for spec in specs]  # not a set: what is asked for may be unhashable
        super().__init__(tools=[build_tool(spec, services, tool_meta(spec)) for spec in specs], **options)
        # Outermost, which the SDK's own option is not: its spans repeat names as well as its errors and logs do.
        self.middleware.insert(0, self._mask)

    async def _mask(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Mask secrets in what a client names: a value in the place of a tool's name, a URI or a prompt's argument."""
        _request.set(ctx)
        if not ctx.params or (ctx.method == "tools/call" and ctx.params.get("name") in self._known):
            return await call_next(ctx)
        taken_as_is = ("arguments", "inputResponses", "requestState") if ctx.method == "tools/call" else ()
        redact = self.services.identity.redactor.redact_json
        params = {k: v if k in taken_as_is else redact(v) for k, v in ctx.params.items()}
        return await call_next(replace(ctx, params=params))

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[None, Any] | None = None
    ) -> mcp_types.GetPromptResult | mcp_types.InputRequiredResult:
        try:
            return await super().get_prompt(name, arguments, context)
        except ValueError as exc:  # an unknown name or a missing argument, which the SDK takes for a crash
            raise MCPError(mcp_types.INVALID_PARAMS, str(exc)) from exc

    async def current_context(self) -> ToolContext:
        """What is at hand for the request that is being answered.

        Raises:
            ClientTokenError: who calls cannot be found out.
        """
        mcp = self._context()
        return ToolContext(self.services, await self.services.identity.caller(mcp), mcp)

    def _context(self) -> Context[Any, Any]:
        return Context(request_context=_request.get(), mcp_server=self)

    def add_completions(self) -> None:
        """Offer what a person may type for an argument of a prompt or of a resource's address."""

        @self.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK leaves it untyped
        async def _complete(
            ref: mcp_types.PromptReference | mcp_types.ResourceTemplateReference,
            argument: mcp_types.CompletionArgument,
            _: mcp_types.CompletionContext | None,
        ) -> mcp_types.Completion:
            try:
                context = await self.current_context()
            except ClientTokenError:
                return mcp_types.Completion(values=[])
            return await complete(context, argument, ids=isinstance(ref, mcp_types.ResourceTemplateReference))

    async def list_tools(self) -> list[mcp_types.Tool]:
        # A forbidden tool stays callable, so that the refusal can say who decided; it is not offered.
        scopes = await self.services.identity.scopes(self._context())
        specs = [spec for spec in self._enabled if not missing_scopes(spec, scopes)]
        offered = {spec.name for spec in specs}
        if not any(spec.plan and not spec.decides for spec in specs):
            offered.discard(CONFIRM.name)  # there is nothing to decide on
        hidden = set(self._known) - offered  # whoever embeds this server may add tools of their own
        return [tool for tool in await super().list_tools() if tool.name not in hidden]


def build_server(
    settings: Settings,
    *,
    state: State | None = None,
    key: ApiKey | None = None,
    identity: Identity | None = None,
    authentication: Authentication | None = None,
    extensions: Sequence[Extension] = (),
    pages: bool = False,
    processes: int = 1,
    request_state_keys: Sequence[str] = (),
    observer: Observer = SILENT,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> RuntypeServer:
    """The MCP server for these settings.

    Args:
        settings: what the operator decided.
        state: what is kept, and shared with other servers; what the settings say if it is not given.
        key: the API key that the settings name, made of them if it is not given.
        identity: who calls; everybody is that key if it is not given.
        authentication: how callers over HTTP are told apart; it brings an identity of its own.
        extensions: what is added to the protocol, beside the page of MCP Apps.
        pages: whether a browser on this machine may show a person what waits for approval. Only for one client, which
            is on this machine too.
        processes: how many answer the same clients. More than one share what they showed to whom.
        request_state_keys: where the settings name none: they seal what clients of the newer protocol bring back.
        observer: is told of each call, and of each request to the API.
        sleep: waits a number of seconds; tests pass one that does not.

    Raises:
        SettingsError: the settings name tools that do not exist, or ask for a second person where everybody is one.
    """
    settings.check_tools(spec.name for spec in specs_for(settings))
    if settings.wants_second_person and identity is None and (authentication is None or settings.auth == "passthrough"):
        raise SettingsError(
            "RUNTYPE_MCP_APPROVAL cannot be second-person here: this server does not tell people apart. "
            "Use a server for a team, or another policy."
        )
    state = state or open_state(settings.redis_url, settings.state_dir, shared_reads=processes > 1)
    keys = settings.request_state_keys or request_state_keys
    served: list[ApprovalPages] = []

    def approval_pages() -> ApprovalPages:
        from runtype_mcp.console.browser_pages import BrowserPages  # at the first call that waits for a page

        if not served:
            served.append(BrowserPages(settings, state))
        return served[0]

    client = _client(settings, sleep, observer)
    if authentication is not None:
        identity = authentication.identity(client)
    services = Services(
        settings=settings,
        identity=identity or StaticKey(settings, key or ApiKey(settings), client),
        state=state,
        audit_log=_audit_log(settings),
        sleep=sleep,
        preview_meta=preview_meta,
        pages=approval_pages if pages and settings.pages else None,
        observer=observer,
    )

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield None
        finally:
            for page in served:
                await page.aclose()
            await services.identity.aclose()
            if authentication is not None:
                await authentication.aclose()
            await services.state.aclose()

    server = RuntypeServer(
        services,
        name="runtype-mcp",
        title="Runtype client tokens",
        version=__version__,
        instructions=instructions(settings),
        log_level=settings.log_level,
        lifespan=lifespan,
        extensions=[page_extension(), *extensions],
        # Without keys, each process has one of its own: a question is then answered where it was asked.
        request_state_security=RequestStateSecurity(keys=keys) if keys else None,
        auth=authentication.settings if authentication else None,
        token_verifier=authentication.verifier if authentication else None,
        cache_hints=dict.fromkeys(_STABLE, CacheHint(ttl_ms=3_600_000, scope="private")),
    )
    add_resources(server, settings, server.current_context)
    add_prompts(server, files=not settings.callers_elsewhere)
    server.add_completions()
    return server


def specs_for(settings: Settings) -> tuple[ToolSpec, ...]:
    """The tools for models."""
    return SPECS + FOR_A_SECOND_PERSON if settings.wants_second_person else SPECS


def instructions(settings: Settings) -> str:
    """What every session's model is told, in as few words as carry it."""
    return " ".join(
        [
            "Manages Runtype client tokens: the browser keys of embedded chat widgets.",
            "A call that would break or expose something is only previewed until confirm and expected_name are given; "
            "get the user's yes to the preview first.",
            *describe(settings),
        ]
    )


def _client(settings: Settings, sleep: Callable[[float], Awaitable[None]], observer: Observer) -> RuntypeClient:
    def sandbox() -> Any:
        from runtype_mcp.sandbox.app import create_app  # at the first call, and only with --sandbox

        return create_app()

    return RuntypeClient(
        None,  # each call brings its caller's
        settings.base_url,
        connect_timeout=settings.connect_timeout,
        total_timeout=settings.total_timeout,
        transport=asgi_transport(sandbox) if settings.sandbox else None,
        sleep=sleep,
        observer=observer,
    )


def _audit_log(settings: Settings) -> AuditSink | None:
    if not isinstance(settings.audit, str):
        return AuditLog(settings.audit) if settings.audit else None
    from runtype_mcp.storage.audit_writers import redis_log, stdout_log

    if settings.audit == "stdout":
        return stdout_log()
    if settings.redis_url is None:
        raise SettingsError("RUNTYPE_MCP_AUDIT=redis needs RUNTYPE_MCP_REDIS_URL.")
    return redis_log(settings.redis_url)
