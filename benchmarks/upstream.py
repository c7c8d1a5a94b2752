"""A stand-in for the API that is never the bottleneck: `python -m benchmarks.upstream [TOKENS]` prints its port.

Replies are rendered before they are asked for, and a bare protocol sends them: a web framework here would take
the second core of a small machine from the server under test.
"""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN_ID = "ct_01k7bench0000000000000000"  # the first token's id


def token(n: int) -> dict[str, Any]:
    """One client token of about 800 bytes; every fourth is a test token, every eighth has never been used."""
    environment = "test" if n % 4 == 3 else "live"
    return {
        "id": f"ct_01k7bench{n:016d}",
        "name": f"Support widget {n:05d}",
        "flowIds": [f"flow_01jv{n % 50:022d}"],
        "defaultFlowId": f"flow_01jv{n % 50:022d}",
        "agentIds": [],
        "allowedOrigins": [f"https://shop{n}.example.com", f"https://www.shop{n}.example.com"],
        "environment": environment,
        "pinToVersion": "latest",
        "targetAlias": None,
        "targetVersionId": None,
        "productSurfaceId": None,
        "rateLimitPerMinute": 10,
        "rateLimitPerHour": 100,
        "maxMessagesPerSession": 100,
        "sessionIdleTimeoutMinutes": 30,
        "config": {"placeholder": "Ask us anything", "theme": {"mode": "light", "primaryColor": "#007bff"}},
        "isActive": True,
        "tokenPrefix": f"ct_{environment}_flow01jv",
        "tokenHint": f"{n % 10000:04d}",
        "tokenValue": None,
        "lastUsedAt": None if n % 8 == 7 else "2026-09-02T09:00:00.000Z",
        "createdAt": "2026-09-01T12:00:00.000Z",
        "updatedAt": "2026-09-01T12:00:00.000Z",
        "conversationCount": n % 100,
    }


class Upstream(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, count: int, rendered: dict[bytes, bytes]) -> None:
        self.count, self.rendered, self.buffer = count, rendered, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:  # only GETs are ever sent, so a head is a whole request
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            if target not in self.rendered:
                self.rendered[target] = self.render(target.decode())
            self.transport.write(self.rendered[target])

    def render(self, target: str) -> bytes:
        url = urlsplit(target)
        if url.path == "/v1/client-tokens":
            query = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
            limit, offset = query.get("limit", self.count), query.get("offset", 0)
            page = {"limit": limit, "offset": offset, "hasMore": offset + limit < self.count}
            tokens = [token(n) for n in range(offset, min(offset + limit, self.count))]
            body = {"clientTokens": tokens} | ({"pagination": page} if "limit" in query else {})
        else:
            body = {"clientToken": token(int(url.path.rsplit("/", 1)[1].removeprefix("ct_01k7bench")))}
        content = json.dumps(body, separators=(",", ":")).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            len(content),
            content,
        )


async def main(count: int) -> None:
    rendered: dict[bytes, bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(count, rendered), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
