"""The server as an ASGI application: both protocol eras at `/mcp`, and the layers that every request passes.

From the outside in: an id and a line of the log (`request_log.py`), the probes (`probes.py`), the end of the server
(`drain.py`), limits (`limits.py`), known hosts (`hosts.py`), and the SDK's application.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import anyio.to_thread
from mcp.server.transport_security import TransportSecuritySettings
from opentelemetry import trace
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.credentials import ApiKey
from runtype_mcp.http.auth import OneCaller, build_authentication
from runtype_mcp.http.drain import Drain
from runtype_mcp.http.hosts import LOOPBACK, KnownHosts
from runtype_mcp.http.limits import MAX_BODY, RequestLimits
from runtype_mcp.http.probes import Check, Probes, Readiness, check_api, check_state
from runtype_mcp.http.rate_limit import CallerLimit, StrangerLimit
from runtype_mcp.http.request_log import RequestLog
from runtype_mcp.http.start import check_settings
from runtype_mcp.http.step_up import offer_scopes
from runtype_mcp.http.telemetry import Metrics, Telemetry, flush_spans
from runtype_mcp.logs import log_to_stderr
from runtype_mcp.server import RuntypeServer, build_server
from runtype_mcp.settings import Settings, SettingsError

PROBE_SECONDS = 5.0
"""For one answer of the API to a probe."""


@dataclass(frozen=True, slots=True)
class HttpApp:
    """An ASGI application.

    Attributes:
        server: the MCP server behind it.
        drain: what ends it well.
        probing: asks the API for the probes.
    """

    server: RuntypeServer
    drain: Drain
    layers: ASGIApp
    probing: RuntypeClient

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):  # nothing is waited for after it
                await self.probing.aclose()
                await anyio.to_thread.run_sync(flush_spans)
            await send(message)

        await self.layers(scope, receive, closing if scope["type"] == "lifespan" else send)


def create_app(
    settings: Settings | None = None,
    *,
    key: ApiKey | None = None,
    hosts: Iterable[str] = (),
    scheme: str = "http",
    processes: int = 1,
    request_state_keys: Sequence[str] = (),
) -> HttpApp:
    """The application for these settings; those of the environment, which also says how to log, if none are given.

    Args:
        settings: what the operator decided.
        key: the API key that the settings name, made of them if it is not given.
        hosts: names and addresses that clients may use beside those of this machine, as they stand in `Host`.
        scheme: `https` where the ASGI server speaks TLS itself.
        processes: how many processes serve this application at one address. A session lives in one, so with more
            than one, or with a Redis, there are none, and a client of the older protocol cannot show forms.
        request_state_keys: where the settings name none: they seal what clients of the newer protocol bring back, 32
            random bytes or more each. Several processes need the same ones.

    Raises:
        SettingsError: the settings contradict each other, or name what does not exist.
    """
    from_environment = settings is None
    settings = settings or Settings.from_env()
    check_settings(settings, processes)
    if processes > 1 and not (request_state_keys or settings.request_state_keys):
        raise SettingsError("Several processes need the same request_state_keys: one goes on where another asked.")
    # The callers' projects are on other machines.
    settings = settings.model_copy(update={"callers_elsewhere": True, "files_root": None})
    key = key or ApiKey(settings)
    if from_environment:
        log_to_stderr(settings.log_level, key.redactor, settings.log_format)
    metrics = Metrics() if settings.metrics else None
    telemetry = Telemetry(metrics, trace.get_tracer("runtype_mcp"))
    authentication = build_authentication(settings, key)
    server = build_server(
        settings,
        key=key,
        authentication=authentication,
        processes=processes,
        request_state_keys=request_state_keys,
        observer=telemetry,
    )
    shares = processes > 1 or settings.redis_url is not None  # other processes answer the same clients
    mcp = server.streamable_http_app(
        stateless_http=shares,
        max_request_body_size=MAX_BODY,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # `KnownHosts` does it
    )
    inner: ASGIApp = mcp
    if authentication:
        shared = server.services.state if shares else None
        # Behind the SDK's authentication, and before what it lets through.
        mcp.user_middleware.append(Middleware(CallerLimit, limit=settings.rate_limit, shared=shared))
        if authentication.steps_up:
            assert settings.public_url
            offer_scopes(mcp, settings.public_url, authentication.settings, server.specs)
        if settings.oidc_client_id or settings.oidc_client_secret_file:
            from runtype_mcp.http.team_page import add_team_page  # loads what the page alone needs

            add_team_page(mcp, settings, server.services, authentication)
        inner = StrangerLimit(OneCaller(mcp, bots=settings.auth == "static"), settings.rate_limit)
    known = KnownHosts(inner, [*LOOPBACK, *hosts], settings.public_url, scheme)
    drain = Drain(RequestLimits(known, settings.max_requests))
    # Of its own: what waits for a connection of the calls says nothing about the API.
    probing = RuntypeClient(
        None,
        settings.base_url,
        connect_timeout=settings.connect_timeout,
        total_timeout=min(PROBE_SECONDS, settings.total_timeout),
    )
    checks: dict[str, Check] = {"state": lambda: check_state(server.services.state)}
    if not settings.sandbox:
        checks["api"] = lambda: check_api(probing, None if settings.auth == "passthrough" else key)
    measured = partial(metrics.text, server.services.state) if metrics else None
    probes = Probes(drain, Readiness(checks, time.monotonic), lambda: drain.begun, measured)
    return HttpApp(server, drain, RequestLog(probes, telemetry.request_answered), probing)
