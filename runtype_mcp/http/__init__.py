"""Streamable HTTP: `create_app` for any ASGI server, and what `runtype-mcp http` serves it with."""

from runtype_mcp.http.app import create_app

__all__ = ["create_app"]
