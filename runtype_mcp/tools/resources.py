"""Resources: what an assistant may want to know about the server itself."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

from runtype_mcp import __version__
from runtype_mcp.settings import Settings
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.approval import policy_sentence
from runtype_mcp.tools.spec import disabled_reason

POLICY_URI = "runtype-mcp://policy"


def describe(settings: Settings) -> list[str]:
    """The operator's policy in force, a sentence each: for instructions, the resource and the docs."""
    said = [policy_sentence(settings.approval)]
    if (live := settings.approval_for("live")) != settings.approval:
        said.append(f"For live tokens: {policy_sentence(live)}")
    if settings.environment:
        said.append(f"Only {settings.environment} tokens can be used.")
    if settings.read_only:
        said.append("Read-only.")
    if settings.secrets == "file":
        said.append("Values are delivered into files alone, never shown.")
    if settings.sandbox:
        said.append("This is the sandbox: example data, nothing real.")
    return said


def policy(settings: Settings) -> str:
    """The policy, and what else the operator decided, a line each. Everything here is out of the model's reach."""
    refused = [reason for spec in SPECS if (reason := disabled_reason(spec, settings))]
    return "\n".join(
        [
            f"runtype-mcp {__version__}, " + ("the embedded sandbox" if settings.sandbox else settings.base_url),
            f"API key: {settings.key_source}",
            *describe(settings),
            f"Gated calls are {'recorded' if settings.audit else 'not recorded'} in an audit log.",
            *refused,
        ]
    )


def add_resources(server: MCPServer[None], settings: Settings) -> None:
    @server.resource(POLICY_URI, name="policy", title="Policy in force", mime_type="text/plain")
    def _policy() -> str:
        """What this server may do, and what it asks first."""
        return policy(settings)
