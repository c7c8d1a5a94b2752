"""The README's badges: each is decoded as its host does it, and what it says is started."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from runtype_mcp.hosts.table import HOSTS
from scripts.badges import block
from tests.processes import TIMEOUT
from tests.support import LEGACY, stdio_client

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
LINKS = {
    title: urlsplit(link) for title, link in re.findall(r"\[!\[Add to ([^\]]+)\]\(https://[^)]+\)\]\(([^)]+)\)", README)
}
ADDRESSES = {
    "Cursor": "https://cursor.com/install-mcp",
    "VS Code": "https://vscode.dev/redirect/mcp/install",
    "LM Studio": "https://lmstudio.ai/install-mcp",
    "Goose": "https://block.github.io/goose/extension",
}


def parameters(title: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(LINKS[title].query, strict_parsing=True).items()}


def server(title: str) -> dict[str, Any]:
    """What a host makes of its link: command, arguments and environment."""
    given = parameters(title)
    if title == "Goose":
        return {"command": given["cmd"], "args": [given["arg"]]}
    config = given["config"]
    found: dict[str, Any] = json.loads(config if title == "VS Code" else base64.b64decode(config, validate=True))
    return found


def test_the_badges_are_what_the_script_writes() -> None:
    assert block() in README


def test_each_badge_leads_to_its_host() -> None:
    assert {title: f"{link.scheme}://{link.netloc}{link.path}" for title, link in LINKS.items()} == ADDRESSES


@pytest.mark.anyio
@pytest.mark.parametrize("title", ADDRESSES)
async def test_each_badge_starts_the_server_without_a_checkout_and_holds_no_key(title: str) -> None:
    found = server(title)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # uvx takes the program that is called as its package is.
    assert (found["command"], found["args"]) == ("uvx", [project["name"]])
    assert project["name"] in project["scripts"]
    env = found.get("env", {})
    assert all(value.startswith("${") for value in env.values())
    with anyio.fail_after(TIMEOUT):
        async with stdio_client([], LEGACY, **env) as model:  # no host has filled the references in
            assert (await model.client.list_tools()).tools


def test_a_badge_says_what_install_would_write() -> None:
    assert parameters("Cursor")["name"] == parameters("VS Code")["name"] == parameters("LM Studio")["name"] == "runtype"
    assert server("Cursor")["env"] == {
        "RUNTYPE_API_KEY": "${env:RUNTYPE_API_KEY}",
        "RUNTYPE_MCP_FILES_ROOT": "${workspaceFolder}",
    }
    (asked,) = json.loads(parameters("VS Code")["inputs"])
    assert server("VS Code")["env"] == {"RUNTYPE_API_KEY": f"${{input:{asked['id']}}}"}
    assert asked["password"] is True
    goose = parameters("Goose")
    assert (goose["id"], goose["timeout"]) == ("runtype", "300")
    assert HOSTS["goose"].title == "Goose"
