"""A team's server as a real process, clients with tokens of their own, and an issuer of tokens."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtype_mcp.api.scoped_client import Scope
from runtype_mcp.http.auth import ON_BEHALF_OF
from runtype_mcp.http.callers_file import CallersFile
from tests.processes import Process, started
from tests.support import McpClient, running

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
ALL: tuple[Scope, ...] = ("read", "write", "delete", "reveal", "approve")


@contextlib.contextmanager
def team_server(*arguments: str, **environ: str) -> Iterator[tuple[str, Process]]:
    """`runtype-mcp http` on a free port; yields its URL."""
    with started("http", "--port", "0", *arguments, **environ) as process:
        assert process.popen.stderr is not None
        lines = list[str]()
        while not (found := re.search(r"Serving MCP on (https?://\S+)/mcp", "".join(lines[-1:]))):
            lines.append(process.popen.stderr.readline().decode())
            assert lines[-1], "".join(lines)
        yield found[1], process


@contextlib.asynccontextmanager
async def caller(url: str, era: str, token: str, **headers: str) -> AsyncIterator[McpClient]:
    """A client with a bearer token."""
    sent = {"authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        httpx.AsyncClient(headers=sent, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=era) as client,
    ):
        yield McpClient(client, [])


def post(url: str, message: dict[str, Any], headers: list[tuple[str, str]]) -> httpx.Response:
    """One request as it stands, with its headers as often as they are given."""
    raw = [*HEADERS.items(), *headers]
    return httpx.post(
        f"{url}/mcp", content=json.dumps(message), headers=[(n.encode(), v.encode("latin-1")) for n, v in raw]
    )


def called(tool: str, **arguments: Any) -> dict[str, Any]:
    """A call on the modern era as one message."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def modern(tool: str) -> list[tuple[str, str]]:
    """The headers that go with it."""
    return [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", tool)]


@dataclass
class Bot:
    """A named caller that may say for whom it calls."""

    name: str
    token: str
    key: ed25519.Ed25519PrivateKey

    @classmethod
    def added(cls, file: Path, name: str, *scopes: Scope) -> Bot:
        key = ed25519.Ed25519PrivateKey.generate()
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return cls(name, CallersFile(file).add(name, scopes or ALL, public_key=pem), key)

    def says(self, person: str, *, key: Any = None, algorithm: str = "EdDSA", **claims: Any) -> str:
        now = int(time.time())
        said = {"iss": self.name, "sub": person, "aud": "runtype-mcp", "iat": now, "exp": now + 120} | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.key if key is None else key, algorithm=algorithm)

    def header(self, person: str, **claims: Any) -> dict[str, str]:
        return {ON_BEHALF_OF.replace("-", "_"): self.says(person, **claims)}


@dataclass
class FakeIssuer:
    """An issuer of tokens with its keys, over HTTP."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    status: int = 200

    def add(self, kid: str, kind: str = "RSA") -> None:
        self.keys[kid] = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if kind == "RSA"
            else ec.generate_private_key(ec.SECP256R1())
            if kind == "EC"
            else ed25519.Ed25519PrivateKey.generate()
        )

    def jwks(self) -> dict[str, Any]:
        return {"keys": [json.loads(_jwk(key)) | {"kid": kid, "use": "sig"} for kid, key in self.keys.items()]}

    def token(
        self, *scopes: str, kid: str = "k1", key: Any = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": "https://mcp.example.com/mcp",
            "sub": "ana",
            "iat": now,
            "exp": now + 300,
            "client_id": "cursor",
            "scope": " ".join(scopes),
            **claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        key = key or self.keys[kid]
        algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
        used = next((name for kind, name in algorithm.items() if isinstance(key, kind)), "EdDSA")
        return jwt.encode(said, key, algorithm=used, headers={"kid": kid, **(header or {})})


def _jwk(key: Any) -> str:
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        return str(jwt.algorithms.RSAAlgorithm.to_jwk(public))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return str(jwt.algorithms.ECAlgorithm.to_jwk(public))
    return str(jwt.algorithms.OKPAlgorithm.to_jwk(public))


@contextlib.contextmanager
def issuer() -> Iterator[FakeIssuer]:
    """An issuer that listens."""
    made = FakeIssuer()

    async def metadata(request: Request) -> Response:
        made.requests.append(request.url.path)
        return JSONResponse({"issuer": made.url, "jwks_uri": f"{made.url}/keys"} | made.metadata, made.status)

    async def keys(request: Request) -> Response:
        made.requests.append(request.url.path)
        return JSONResponse(made.jwks(), made.status)

    routes = [Route("/.well-known/openid-configuration", metadata), Route("/keys", keys)]
    with running(Starlette(routes=routes)) as made.url:
        made.add("k1")
        yield made
