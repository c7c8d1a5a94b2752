"""Resources: what an assistant may want to know about the server itself."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

from runtype_mcp import __version__
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.approval import policy_sentence
from runtype_mcp.tools.pipeline import forbidden
from runtype_mcp.tools.spec import App

POLICY_URI = "runtype-mcp://policy"


def policy(app: App) -> str:
    """The operator's policy in force, a line each. Everything here is out of the model's reach."""
    settings = app.settings
    live = settings.approval_for("live")
    refused = [reason for endpoint in SPECS if (reason := forbidden(endpoint, settings))]
    return "\n".join(
        [
            f"runtype-mcp {__version__}, " + ("the embedded sandbox" if settings.sandbox else settings.base_url),
            "API key: " + ("set" if settings.api_key else "not set"),
            policy_sentence(settings.approval),
            *([f"For live tokens: {policy_sentence(live)}"] if live != settings.approval else []),
            *([f"Only {settings.environment} tokens can be used."] if settings.environment else []),
            *(["Values are delivered into files alone, never shown."] if settings.secrets == "file" else []),
            f"Writes and gated calls are {'recorded' if settings.audit else 'not recorded'} in an audit log.",
            *refused,
        ]
    )


def add_resources(server: MCPServer[None], app: App) -> None:
    @server.resource(POLICY_URI, name="policy", title="Policy in force", mime_type="text/plain")
    def _policy() -> str:
        """What this server may do, and what it asks first."""
        return policy(app)
