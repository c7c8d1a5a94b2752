"""What Prometheus and OpenTelemetry are told."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2 as httpx
import pytest
from mcp import Client
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families

from runtype_mcp.http.telemetry import Telemetry
from runtype_mcp.server import build_server
from tests.http.processes import address, call, http_server
from tests.processes import TIMEOUT, started
from tests.support import KEY, Api, no_wait, settings_for


def samples(text: str) -> dict[tuple[str, ...], float]:
    """The value of each sample, by its name and its labels in order."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_is_told_of_calls_approvals_and_the_api_without_ids_or_names(api: Api) -> None:
    token = api.seeded().store.newest_first()[0].token
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_MCP_METRICS": "1", "RUNTYPE_MCP_APPROVAL": "flag"}
    with (
        http_server("--base-url", api.url, **environ) as (_, url),
        httpx.Client(base_url=url, timeout=TIMEOUT) as client,
    ):
        api.faults.add("status", method="GET", status=502, times=1)
        call(client, "get_client_token", client_token=token["id"])
        call(client, "get_client_token", client_token="ct_01jv0000000000000000000009")
        call(client, "update_client_token", client_token=token["id"], allowed_origins=["*"])
        sure = {"confirm": True, "expected_name": token["name"]}
        call(client, "delete_client_token", client_token=token["id"], **sure)
        # It comes by an address, as probes do.
        answer = client.get("/metrics", headers={"host": "10.1.2.3"})
        text = answer.text
    assert answer.status_code == 200
    found = samples(text)
    calls = "runtype_mcp_calls_total"
    assert found[calls, "done", "get_client_token"] == 1
    assert found[calls, "not_found", "get_client_token"] == 1
    assert found[calls, "preview", "update_client_token"] == 1
    assert found[calls, "done", "delete_client_token"] == 1
    assert found["runtype_mcp_approvals_total", "flag", "delete_client_token"] == 1
    one = "GET /v1/client-tokens/{id}"
    assert found["runtype_mcp_api_seconds_count", one, "5xx"] == 1
    assert found["runtype_mcp_api_seconds_count", one, "2xx"] >= 1
    assert found["runtype_mcp_api_seconds_count", one, "4xx"] >= 1
    assert found["runtype_mcp_api_seconds_count", "DELETE /v1/client-tokens/{id}", "2xx"] == 1
    assert found["runtype_mcp_api_retries_total", one] == 1
    assert found["runtype_mcp_http_requests_total", "200"] == 4
    assert found[("runtype_mcp_waiting_approvals",)] == 0
    assert not re.search(rf"ct_0|{re.escape(token['name'])}|{KEY}", text)


def test_calls_that_wait_for_a_person_are_counted(api: Api) -> None:
    token = api.seeded().store.newest_first()[0].token
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_MCP_METRICS": "1", "RUNTYPE_MCP_APPROVAL": "human"}
    with (
        http_server("--base-url", api.url, **environ) as (_, url),
        httpx.Client(base_url=url, timeout=TIMEOUT) as client,
    ):
        sure = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
        call(client, "delete_client_token", **sure)
        found = samples(client.get("/metrics").text)
    assert found[("runtype_mcp_waiting_approvals",)] == 1
    assert not api.writes


def test_nobody_is_told_unless_the_operator_wants_it() -> None:
    with http_server("--sandbox") as (_, url):
        assert httpx.get(f"{url}/metrics").status_code == 404


def test_a_package_that_is_missing_is_one_line() -> None:
    without = "import sys; sys.modules['prometheus_client'] = None"
    with started("http", "--sandbox", "--port", "0", first=without, RUNTYPE_MCP_METRICS="1") as process:
        assert process.ended() == 2
        said = process.errors()
    assert said == "runtype-mcp: RUNTYPE_MCP_METRICS needs more packages: pip install 'runtype-mcp[team]'\n"


@contextmanager
def spans() -> Iterator[tuple[Telemetry, InMemorySpanExporter]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Telemetry(None, provider.get_tracer("runtype_mcp")), exporter
    provider.shutdown()


@pytest.mark.anyio
async def test_each_request_to_the_api_is_a_span(api: Api) -> None:
    token = api.seeded().store.newest_first()[0].token
    api.faults.add("status", method="GET", status=502, times=1)
    with spans() as (telemetry, exporter):
        server = build_server(settings_for(api), observer=telemetry, sleep=no_wait)
        async with Client(server) as client:
            await client.call_tool("delete_client_token", {"client_token": token["id"]})
        by_name: dict[str, list[ReadableSpan]] = {}
        for span in exporter.get_finished_spans():
            by_name.setdefault(span.name, []).append(span)
    failed, again, *_ = by_name["GET /v1/client-tokens/{id}"]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes == {
        "http.request.method": "GET",
        "url.template": "/v1/client-tokens/{id}",
        "http.response.status_code": 502,
    }
    assert again.kind is SpanKind.CLIENT
    assert (again.attributes or {})["http.request.resend_count"] == 1
    assert again.status.status_code is StatusCode.UNSET
    (authorized,) = by_name["authorize delete_client_token"]
    assert authorized.start_time is not None
    assert again.end_time is not None
    assert authorized.start_time <= again.end_time


TO_STDOUT = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(), schedule_delay_millis=3.6e6))
"""


def test_the_last_spans_are_sent_before_the_end(api: Api) -> None:
    api.seeded()
    with started("http", "--port", "0", "--base-url", api.url, first=TO_STDOUT, RUNTYPE_API_KEY=KEY) as process:
        with httpx.Client(base_url=address(process), timeout=TIMEOUT) as client:
            assert call(client, "list_client_tokens", limit=1).status_code == 200
        process.popen.send_signal(signal.SIGTERM)
        assert process.ended() == -signal.SIGTERM
        assert process.popen.stdout is not None
        told = process.popen.stdout.read().decode()
    assert '"name": "GET /v1/client-tokens"' in told
    assert '"name": "tools/call list_client_tokens"' in told
