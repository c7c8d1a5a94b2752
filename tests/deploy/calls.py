"""A caller of the newer protocol as its messages are on the wire: what it sends can be sent again, to the letter."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2 as httpx

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "caller", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


@dataclass
class Answered:
    """One answer. `replica` tells which process gave it, `status` is HTTP's; 0 where the connection broke."""

    status: int
    request_id: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether a person is asked."""
        return self.result.get("resultType") == "input_required"

    @property
    def done(self) -> bool:
        return self.result.get("resultType") == "complete" and not self.result.get("isError")

    @property
    def text(self) -> str:
        return "\n".join(part.get("text", "") for part in self.result.get("content", []))


class Caller:
    """Calls tools at `url`, with a bearer token if there is one."""

    def __init__(self, url: str, bearer: str = "", **options: Any) -> None:
        self._url = url
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        self._http = httpx.Client(headers=headers, timeout=60, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, tool: str, more: dict[str, Any] | None = None, /, **arguments: Any) -> Answered:
        """Call a tool. `more` is what an answer to a question adds (see `answer_to`)."""
        params = {"name": tool, "arguments": arguments, "_meta": META, **(more or {})}
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        try:
            got = self._http.post(self._url, json=message, headers=headers)
        except httpx.TransportError:
            return Answered(0)
        kind = got.headers.get("content-type", "")
        texts = [got.text] if kind.startswith("application/json") else []
        if kind.startswith("text/event-stream"):  # how a call is answered that takes long
            texts = [line.removeprefix("data: ") for line in got.text.splitlines() if line.startswith("data: {")]
        body = json.loads(texts[-1]) if texts else {}
        return Answered(got.status_code, got.headers.get("x-request-id", ""), body.get("result", {}))


def answer_to(asked: Answered, name: str) -> dict[str, Any]:
    """What a client adds to the call when a person has typed this name."""
    given = {"action": "accept", "content": {"name": name}}
    return {
        "requestState": asked.result["requestState"],
        "inputResponses": dict.fromkeys(asked.result["inputRequests"], given),
    }
