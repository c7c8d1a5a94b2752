"""What the HTTP server measures: spans for OpenTelemetry, and metrics for Prometheus where the operator wants them.

Labels and attributes hold no ids, no names and no secrets. Spans go where the process's tracer provider sends them;
there is none unless somebody sets one up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from runtype_mcp.observer import ApiRequest, Observer
from runtype_mcp.settings import SettingsError
from runtype_mcp.storage.state import State, StateError

if TYPE_CHECKING:
    from prometheus_client import Metric

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BILLION = 1e9


class Metrics:
    """Counters of one process; of all workers, where the process that started them says where they meet.

    Raises:
        SettingsError: the extra that brings Prometheus's client is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Histogram
        except ImportError:
            raise SettingsError("RUNTYPE_MCP_METRICS needs more packages: pip install 'runtype-mcp[team]'") from None
        self.registry = CollectorRegistry()
        of = self.registry
        self.calls = Counter("runtype_mcp_calls", "Calls of tools", ["tool", "outcome"], registry=of)
        self.approvals = Counter("runtype_mcp_approvals", "Gated calls that went ahead", ["tool", "how"], registry=of)
        self.api_seconds = Histogram(
            "runtype_mcp_api_seconds", "Requests to the API", ["operation", "status"], buckets=SECONDS, registry=of
        )
        self.api_retries = Counter("runtype_mcp_api_retries", "Requests tried again", ["operation"], registry=of)
        self.requests = Counter("runtype_mcp_http_requests", "Requests answered", ["status"], registry=of)

    async def text(self, state: State) -> bytes:
        """What Prometheus reads."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it ships no types for this
        return generate_latest(registry) + generate_latest(_Waiting(await _waiting(state)))


class _Waiting:
    """What is true of all processes at the same time, so that none of them may count it."""

    def __init__(self, approvals: int | None) -> None:
        self._approvals = approvals

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        if self._approvals is not None:
            yield GaugeMetricFamily(
                "runtype_mcp_waiting_approvals", "Calls that wait for a person", value=self._approvals
            )


async def _waiting(state: State) -> int | None:
    try:
        return sum(ticket.state == "waiting" for ticket in await state.open_tickets())
    except StateError:
        return None  # `/readyz` says it


class Telemetry(Observer):
    """Turns what happens into spans, and into metrics if there are any."""

    def __init__(self, metrics: Metrics | None, tracer: trace.Tracer) -> None:
        self._metrics, self._tracer = metrics, tracer

    def call_ended(self, tool: str, outcome: str) -> None:
        if self._metrics:
            self._metrics.calls.labels(tool, outcome).inc()

    def approved(self, tool: str, how: str) -> None:
        if self._metrics:
            # A ticket's code is an id.
            self._metrics.approvals.labels(tool, "ticket" if how.startswith("ticket") else how).inc()

    def authorized(self, tool: str, began: int, ended: int) -> None:
        self._tracer.start_span(f"authorize {tool}", start_time=began).end(ended)

    def api_answered(self, request: ApiRequest) -> None:
        method, _, route = request.operation.partition(" ")
        attributes: dict[str, str | int] = {"http.request.method": method, "url.template": route}
        if request.status is not None:
            attributes["http.response.status_code"] = request.status
        if request.attempt > 1:
            attributes["http.request.resend_count"] = request.attempt - 1
        span = self._tracer.start_span(
            request.operation, kind=SpanKind.CLIENT, attributes=attributes, start_time=request.began
        )
        if request.status is None or request.status >= 400:
            span.set_status(StatusCode.ERROR)
        span.end(request.ended)
        if self._metrics:
            status = f"{request.status // 100}xx" if request.status else "none"
            seconds = (request.ended - request.began) / _BILLION
            self._metrics.api_seconds.labels(request.operation, status).observe(seconds)
            if request.attempt > 1:
                self._metrics.api_retries.labels(request.operation).inc()

    def request_answered(self, status: int) -> None:
        """An HTTP request was answered; 0: the client left before."""
        if self._metrics:
            self._metrics.requests.labels(str(status or "none")).inc()


def flush_spans() -> None:
    """Have the process's tracer provider, if it has one, send what it still holds: a signal ends without `atexit`."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()
