"""The hosts' own configuration files, and this server's entry in them."""

NAMES = (
    *("claude-desktop", "claude-code", "cursor", "vscode", "devin", "windsurf", "zed", "codex", "gemini", "goose"),
    "lm-studio",
)
"""What `install` calls the hosts, in the order of `table.HOSTS`; here, so that a start does not load the table."""
