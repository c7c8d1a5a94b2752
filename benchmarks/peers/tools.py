"""Eight tools that forward to the API with httpx2 and return what it sent."""

import os
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import httpx2

client: httpx2.AsyncClient | None = None


async def call(method: str, path: str, **kwargs: Any) -> dict[str, Any]:
    global client
    if client is None:  # made at the first call: it costs every start 45 ms otherwise
        headers = {"Authorization": f"Bearer {os.environ['RUNTYPE_API_KEY']}"}
        # Keep every connection alive: the default of 20 makes 64 callers reconnect all the time.
        limits = httpx2.Limits(max_connections=100, max_keepalive_connections=100)
        client = httpx2.AsyncClient(base_url=os.environ["RUNTYPE_BASE_URL"], headers=headers, limits=limits)
    response = await client.request(method, f"/v1/client-tokens{path}", **kwargs)
    response.raise_for_status()
    result: dict[str, Any] = response.json() if response.content else {}
    return result


async def list_client_tokens(limit: int = 50, offset: int = 0) -> dict[str, Any]:
    """List client tokens."""
    return await call("GET", "", params={"limit": limit, "offset": offset})


async def create_client_token(
    name: str,
    allowed_origins: list[str],
    flow_ids: list[str] | None = None,
    agent_ids: list[str] | None = None,
    environment: Literal["test", "live"] = "live",
    rate_limit_per_minute: int = 10,
    rate_limit_per_hour: int = 100,
) -> dict[str, Any]:
    """Create a client token. The value is in the result."""
    body = {"name": name, "allowedOrigins": allowed_origins, "environment": environment}
    limits = {"rateLimitPerMinute": rate_limit_per_minute, "rateLimitPerHour": rate_limit_per_hour}
    return await call("POST", "", json=body | limits | {"flowIds": flow_ids or [], "agentIds": agent_ids or []})


async def get_client_token(client_token: str) -> dict[str, Any]:
    """Get one client token by its id."""
    return await call("GET", f"/{client_token}")


async def update_client_token(
    client_token: str,
    name: str | None = None,
    allowed_origins: list[str] | None = None,
    is_active: bool | None = None,
    rate_limit_per_minute: int | None = None,
    rate_limit_per_hour: int | None = None,
) -> dict[str, Any]:
    """Change a client token's settings."""
    body: dict[str, Any] = {"name": name, "allowedOrigins": allowed_origins, "isActive": is_active}
    body |= {"rateLimitPerMinute": rate_limit_per_minute, "rateLimitPerHour": rate_limit_per_hour}
    changes = {field: value for field, value in body.items() if value is not None}
    return await call("PUT", f"/{client_token}", json=changes)


async def delete_client_token(client_token: str) -> dict[str, Any]:
    """Delete a client token for good."""
    return await call("DELETE", f"/{client_token}")


async def get_client_token_value(client_token: str) -> dict[str, Any]:
    """Get a client token's value."""
    return await call("GET", f"/{client_token}/token")


async def regenerate_client_token(client_token: str) -> dict[str, Any]:
    """Replace a client token's value; the old one stops working at once."""
    return await call("POST", f"/{client_token}/regenerate")


async def list_client_token_conversations(client_token: str, limit: int = 20, offset: int = 0) -> dict[str, Any]:
    """List conversations that were held with a client token."""
    return await call("GET", f"/{client_token}/conversations", params={"limit": limit, "offset": offset})


TOOLS: list[Callable[..., Awaitable[dict[str, Any]]]] = [
    list_client_tokens,
    create_client_token,
    get_client_token,
    update_client_token,
    delete_client_token,
    get_client_token_value,
    regenerate_client_token,
    list_client_token_conversations,
]
