"""Manage Runtype client tokens from any MCP client, safely."""

__version__ = "0.1.0"
