"""Secrets that are each unique, an API that puts them everywhere, and a record of every exit of the server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import mcp.shared._otel
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtype_mcp import logs
from runtype_mcp.http.telemetry import Metrics
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.policy.visible import visible
from runtype_mcp.sandbox.rules import DEFAULTS
from runtype_mcp.sandbox.store import Record, Store, digest

USUAL_KEY = f"rt_live_{digest('canary key'):064x}"[:40]
UNUSUAL_KEY = "Zq7wKxT2mVb9LpRd4HsYc8NfJg3UaEo6WiXyBtQk"


def planted(place: str) -> str:
    """A client token value that stands in this place and nowhere else."""
    return f"ct_live_flow01k7_{digest('canary ' + place):064x}"[:49]


PLACES = (
    *("error", "message", "hint", "detail", "path", "suggestion", "header", "cookie", "location", "html", "text"),
    *(
        "tokenValue",
        "tokenHint",
        "another tokenHint",
        "extra",
        "shape",
        "warning",
        "config",
        "name",
        "origin",
        "twin origin",
    ),
    *(
        "conversation name",
        "first message",
        "conversation origin",
        "flow",
        "agent",
        "argument",
        "file",
        "person",
        "crash",
    ),
)


def blocks(secret: str) -> list[str]:
    """What a text must not hold: any eight characters of a secret that are not its harmless start or its last four."""
    start = re.match(r"(?:ct|rt)_live_(?:flow01k7_)?", secret)
    tail = secret[start.end() if start else 0 :]
    return [tail[at : at + 8] for at in range(0, len(tail) - 7, 8)]


class Watch:
    """Every secret that is known, and which of them a text gives away."""

    def __init__(self, key: str) -> None:
        self._known: dict[str, list[str]] = {}
        for place in PLACES:
            self.add(place, planted(place))
        self.add("API key", key)
        self.add("API key in base64", base64.b64encode(f"user:{key}".encode()).decode()[8:-8])

    def add(self, name: str, secret: str) -> None:
        self._known[name] = blocks(secret)

    def seen_in(self, text: str) -> set[str]:
        text = re.sub("\0+", "\n", text)  # most of a database's file
        readings = text + "\n" + visible(unquote(text))
        return {name for name, parts in self._known.items() if any(part in readings for part in parts)}


# The API that leaks


@dataclass(frozen=True)
class Failure:
    """What comes instead of an answer, or of its end (`cut`), or after `seconds`; `hang_up` breaks the connection."""

    name: str
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    hang_up: bool = False
    seconds: float = 0


When = Literal["reads", "writes", "lost"]
"""`lost`: the write happens, and its answer is the failure."""


def failures(key: str) -> list[Failure]:
    """Each way of failing, with the key and a value in every part that a client might repeat."""

    def js(value: object) -> bytes:
        return json.dumps(value).encode()

    basic = base64.b64encode(f"user:{key}".encode()).decode()
    said = {
        "error": f"The key {key} is bad for {planted('error')}",
        "message": f"Authorization: Bearer {key}; Basic {basic}; {planted('message')}",
        "details": [
            {"path": planted("path"), "message": f"{planted('detail')} {key}", "suggestion": planted("suggestion")}
        ],
    }
    nested = {"error": {"message": f"{basic} {planted('message')}", "code": planted("error")}}
    away = f"https://elsewhere.example/?key={key}&token={planted('location')}"
    html = f"<html><body><h1>{planted('html')}</h1>{key}</body></html>".encode()
    plain = f"upstream said {planted('text')} to {key} {basic}".encode()
    odd = {planted("shape"): key, "clientToken": {"id": [planted("shape")], "name": {"x": key}}, "clientTokens": key}
    # What is cut to a length must not lose what it is recognised by.
    long = {"error": f"{'x' * 285} {key}", "message": f"{'y' * 290}{planted('message')}"}
    return [
        Failure("unauthorized", 401, js(said), {"www-authenticate": f'Bearer realm="{key}"'}),
        Failure("forbidden", 403, js(nested)),
        Failure("not found", 404, js(said)),
        Failure("conflict", 409, plain),
        Failure("refused with a hint", 400, js(said | {"hint": f"{planted('hint')} {key}"})),
        Failure("unprocessable", 422, js({k: said[k] for k in ("details",)} | {"message": said["message"]})),
        Failure("rate limited", 429, js(said), {"retry-after": "0"}),
        Failure("a long error", 400, js(long)),
        Failure("failed", 500, js(said)),
        Failure("failed in plain text", 503, plain),
        Failure("a gateway's page", 502, html),
        Failure("redirect", 302, html, {"location": away}),
        Failure("another shape", 200, js(odd)),
        Failure("a list", 200, js([planted("shape"), key])),
        Failure("a page where JSON was due", 200, html),
        Failure("nothing", 200, b""),
        Failure("half of it", cut=True),
        Failure("a hang-up", hang_up=True),
    ]


class Leaky:
    """The sandbox, whose every answer carries secrets where none belongs; `fail` spoils the answers to come."""

    def __init__(self, sandbox: ASGIApp, key: str) -> None:
        self._sandbox, self._key = sandbox, key
        self._failure: tuple[When, Failure] | None = None
        self.regenerates = False  # somebody else does, while a token is updated

    def fail(self, when: When | None = None, failure: Failure | None = None) -> None:
        self._failure = (when, failure) if when and failure else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        when, failure = self._failure or (None, None)
        if failure is None or (scope["method"] == "GET") != (when == "reads"):
            failure = None
        status, body = 200, b""
        if failure is None or when == "lost" or failure.cut or failure.hang_up:
            status, body = await self._answer(scope, receive)
        if failure is not None and failure.seconds:
            with suppress(TimeoutError):  # until the client hangs up
                async with asyncio.timeout(failure.seconds):
                    while (await receive())["type"] != "http.disconnect":
                        pass
            return
        cut = False
        if failure is not None:
            status = failure.status if failure.body is not None else status
            cut = failure.hang_up
            body = body[: len(body) // 2] if failure.body is None else failure.body
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body) + 100 * cut),
            "x-debug": f"{planted('header')} {self._key}",
            "set-cookie": f"session={planted('cookie')}; {self._key}",
        } | (dict(failure.headers) if failure else {})
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": cut})
        if cut:
            await send({"type": "http.response.body", "body": b""})  # too short: the connection is closed

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._sandbox(scope, receive, keep)
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return messages[0]["status"], json.dumps(self._with_secrets(json.loads(body), scope["method"])).encode()

    def _with_secrets(self, answer: dict[str, Any], method: str) -> dict[str, Any]:
        tokens = [*answer.get("clientTokens", []), *([answer["clientToken"]] if "clientToken" in answer else [])]
        for token in tokens:
            hint = token.get("tokenHint") or ""
            # Much more than the last four characters, without the start that a value is recognised by.
            place = "another tokenHint" if method == "PUT" and self.regenerates else "tokenHint"
            much = planted(place).rpartition("_")[2]
            token |= {"tokenValue": planted("tokenValue"), "tokenHint": much + hint}
            token |= {"secret": planted("extra"), "apiKey": self._key, planted("extra"): self._key}
        said = f"{planted('warning')} {self._key}"
        answer |= {"debug": {"key": self._key, "value": planted("extra")}, "message": said}
        if "clientToken" in answer:
            answer["warnings"] = [{"type": said, "message": said}]
        return answer


# Tokens with secrets in their settings


def _record(label: str, name: str, random: str, **fields: Any) -> Record:
    made = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z", "lastUsedAt": None}
    token = DEFAULTS | {"id": f"ct_01canary{label}", "name": name, "agentIds": ["agent_1"], **made}
    token |= {"allowedOrigins": [f"https://{label}.example"]}
    chat = {
        "id": f"conv_{label}",
        "name": f"{planted('conversation name')}\u200b{planted('conversation name')[:20]}\u200b",
        "firstMessage": f"{'z' * 170} {planted('first message')}",
        "flowId": planted("flow"),
        "origin": f"https://{planted('conversation origin')}.example",
        "messageCount": 2,
        "createdAt": made["createdAt"],
        "updatedAt": made["updatedAt"],
    }
    return Record(token | fields, None, [chat]).with_value(random)


PLAIN, OPEN, TWIN = "ct_01canaryplain", "ct_01canaryopen", "ct_01canarytwin1"
NAMES = {PLAIN: "Plain", OPEN: f"Open {planted('name')}"}


def filled(watch: Watch) -> Store:
    """A store with the tokens above, each of whose values is watched."""
    store = Store()
    config = {"note": planted("config"), "nested": [{"url": f"https://x.example/?t={planted('config')}"}]}
    agents = ["agent_1", planted("agent")]
    twin = [f"https://{planted('twin origin')}.example"]
    for label, name, fields in (
        ("plain", NAMES[PLAIN], {}),
        ("open", NAMES[OPEN], {"allowedOrigins": ["*", planted("origin")], "config": config, "agentIds": agents}),
        ("twin1", "Twin", {"allowedOrigins": twin}),
        ("twin2", "Twin", {"allowedOrigins": twin}),
    ):
        store.put(_record(label, name, f"{digest('value of ' + label):064x}"[:32], **fields))
    watch_values(watch, store)
    return store


def watch_values(watch: Watch, store: Store) -> dict[str, str]:
    """Watch the values that are in the store now; they are given by id."""
    values = {record.token["id"]: record.value or "" for record in store.newest_first()}
    for value in values.values():
        watch.add(f"value {value[:21]}…{value[-4:]}", value)
    return values


# The exits


class Exits:
    """What left the server in other ways than as a result: logs, spans, files."""

    def __init__(self, log: io.StringIO, spans: InMemorySpanExporter, folder: Path, tracer: Tracer) -> None:
        self._log, self._spans, self._folder, self.tracer = log, spans, folder, tracer
        self.metrics = Metrics()
        self.most_log = 0

    def drain(self) -> dict[str, str]:
        """Everything since the last time, by exit. The env file that values are delivered to is left out."""
        log = self._log.getvalue()
        self.most_log = max(self.most_log, len(log))
        self._log.seek(0)
        self._log.truncate()
        spans = "\n".join(_told(span) for span in self._spans.get_finished_spans() if _is_of_server(span))
        self._spans.clear()
        files = {}
        for file in sorted(self._folder.rglob("*")):
            if file.is_file() and file.relative_to(self._folder) != Path("files/.env"):
                files[str(file.relative_to(self._folder))] = f"{file.name}\n{file.read_text(errors='replace')}"
                file.unlink()
        measured = "\n".join(f"{sample}" for metric in self.metrics.registry.collect() for sample in metric.samples)
        return {"logs": log, "spans": spans, "metrics": measured, **files}


def _is_of_server(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return span.kind is SpanKind.SERVER or (scope is not None and scope.name == "runtype_mcp")


def _told(span: ReadableSpan) -> str:
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    return repr((span.name, dict(span.attributes or {}), events, span.status.description))


@contextmanager
def recorded(folder: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exits]:
    """Record the exits of every server in this process: all loggers at DEBUG, through what the command installs."""
    installed: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.setattr(logging, "basicConfig", lambda **options: installed.update(options))
        logs.log_to_stderr("DEBUG", Redactor([key]))
    (handler,) = installed["handlers"]
    handler.stream = log = io.StringIO()
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with monkeypatch.context() as patch:
        patch.setattr(mcp.shared._otel, "_tracer", provider.get_tracer("test"))
        root.handlers[:] = [handler]
        root.setLevel(installed["level"])
        try:
            yield Exits(log, exporter, folder, provider.get_tracer("runtype_mcp"))
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            provider.shutdown()
