"""Prompts: the jobs that take several calls in the right order."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer


def add_prompts(server: MCPServer[None]) -> None:
    @server.prompt(title="Rotate a client token without downtime")
    def rotate_client_token(client_token: str) -> str:
        """Replace a token while its pages keep working."""
        return (
            f"Rotate the client token {client_token!r} without downtime. A regenerated value has no grace period, so:\n"
            "1. get_client_token: note every setting.\n"
            "2. create_client_token with the same settings and a new name; prefer deliver env_file.\n"
            "3. Tell me which pages need the new value (its allowed origins), and wait until I say they have it.\n"
            "4. get_client_token on the old one: lastUsedAt must have stopped moving.\n"
            "5. update_client_token on the old one with is_active false; wait for my word that nothing broke.\n"
            "6. Only then delete_client_token on the old one.\n"
            "Stop and tell me whenever a step is refused."
        )

    @server.prompt(title="Embed a chat widget")
    def embed_chat_widget(agent: str, origin: str) -> str:
        """Create a token for one site, put it into the project, and place the widget."""
        return (
            f"Embed a Runtype chat widget for the agent {agent!r} on {origin!r}.\n"
            f"1. create_client_token with this agent in agent_ids, allowed_origins [{origin!r}] only, environment "
            "test, and deliver env_file, so that the value never enters this conversation.\n"
            "2. Make sure that the file is ignored by version control.\n"
            "3. Read the variable at build time, and place the script that the result's `next` shows.\n"
            "4. Ask me before you create a live token for production: an environment cannot be changed later."
        )
