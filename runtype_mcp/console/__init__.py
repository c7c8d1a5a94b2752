"""Pages for people: in a conversation (MCP Apps), and in a browser on this machine."""
