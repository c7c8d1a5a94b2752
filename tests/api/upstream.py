"""A stand-in for the API at the other end of a real socket: it keeps what it received, and says what it is told to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from runtype_mcp.api import models
from runtype_mcp.api.client import RuntypeClient
from tests.support import no_wait

KEY = "rt_live_4f9c2b7ad1e84c0e9b3a5d6f7a8b9c0d"
VALUE = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"
ID = "ct_01k7example0000000000000000"

TOKEN: dict[str, Any] = {
    "id": ID,
    "name": "Shop",
    "flowIds": ["flow_1"],
    "defaultFlowId": "flow_1",
    "agentIds": ["agent_1"],
    "allowedOrigins": ["https://shop.example"],
    "environment": "live",
    "pinToVersion": "latest",
    "targetAlias": None,
    "targetVersionId": None,
    "productSurfaceId": "surf_1",
    "rateLimitPerMinute": 10,
    "rateLimitPerHour": 100,
    "maxMessagesPerSession": 100,
    "sessionIdleTimeoutMinutes": 30,
    "config": {"placeholder": "Ask us"},
    "isActive": True,
    "tokenPrefix": "ct_live_flow01k7",
    "tokenHint": "cdef",
    "tokenValue": VALUE,
    "conversationCount": 3,
    "lastUsedAt": None,
    "createdAt": "2026-11-01T00:00:00.000Z",
    "updatedAt": "2026-11-02T00:00:00.000Z",
}
"""Every field of the contract, and the value that no result may carry."""
CONVERSATION: dict[str, Any] = {
    "id": "conv_1",
    "name": None,
    "firstMessage": "Hi",
    "createdAt": "2026-11-01T00:00:00.000Z",
    "updatedAt": "2026-11-02T00:00:00.000Z",
}


@dataclass(frozen=True)
class Received:
    """A request as it arrived. `path` is what stood on the wire, percent-encoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """Bytes go out as they are, anything else as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Upstream:
    """Says its answers in turn, and the last one for ever."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.answers: list[Answer] = [Answer(200, {"clientToken": TOKEN})]

    def says(self, *answers: Answer) -> None:
        self.answers = list(answers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.received.append(
            Received(
                scope["method"],
                scope["raw_path"].decode("ascii"),
                scope["query_string"].decode("ascii"),
                {name.decode(): value.decode() for name, value in scope["headers"]},
                body,
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": raw})


@asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[RuntypeClient]:
    """A client whose waits take no time, and which is closed at the end."""
    client = RuntypeClient(KEY, url, **{"sleep": no_wait} | options)
    try:
        yield client
    finally:
        await client.aclose()


Operation = Callable[[RuntypeClient], Any]
CREATE = models.CreateClientToken(name="Shop", allowed_origins=["https://shop.example"], agent_ids=["agent_1"])
READS: dict[str, Operation] = {
    "list_client_tokens": lambda client: client.list_client_tokens(200, 0),
    "get_client_token": lambda client: client.get_client_token(ID),
    "get_client_token_value": lambda client: client.get_client_token_value(ID),
    "list_client_token_conversations": lambda client: client.list_client_token_conversations(ID, 25, 0),
}
WRITES: dict[str, Operation] = {
    "create_client_token": lambda client: client.create_client_token(CREATE),
    "update_client_token": lambda client: client.update_client_token(ID, models.UpdateClientToken(name="New")),
    "delete_client_token": lambda client: client.delete_client_token(ID),
    "regenerate_client_token": lambda client: client.regenerate_client_token(ID),
}
ALL = READS | WRITES
GOOD = Answer(
    200,
    {"clientToken": TOKEN, "token": VALUE, "clientTokens": [TOKEN], "conversations": [CONVERSATION], "success": True},
)
"""Right for every operation."""
