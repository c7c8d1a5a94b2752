"""Writes the README's badges: links that put the server into a host with one click.

    python -m scripts.badges

A link cannot know where a checkout is, so its command is `uvx runtype-mcp`, which needs none. What else is in it is
what `runtype-mcp install` would write.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import quote, urlencode

from runtype_mcp.hosts import plan
from runtype_mcp.hosts.launch import Launch
from runtype_mcp.hosts.table import HOSTS

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- badges -->", "<!-- end of badges, written by scripts/badges.py -->"
NAME = "runtype"
UVX = Launch("uvx", ("runtype-mcp",))


def links() -> dict[str, str]:
    """The link for each host that has such links."""
    servers = {name: plan.server(HOSTS[name], "user", UVX, plan.Choice(name=NAME)) for name in HOSTS}
    entries = {name: HOSTS[name].entry(servers[name]) for name in HOSTS}
    question = HOSTS["vscode"].question(servers["vscode"])
    assert question is not None
    goose = entries["goose"]
    return {
        "cursor": _link("https://cursor.com/install-mcp", name=NAME, config=_base64(entries["cursor"])),
        "vscode": _link(
            "https://vscode.dev/redirect/mcp/install",
            name=NAME,
            inputs=json.dumps([question[1]]),
            config=json.dumps(entries["vscode"]),
        ),
        "lm-studio": _link("https://lmstudio.ai/install-mcp", name=NAME, config=_base64(entries["lm-studio"])),
        "goose": _link(
            "https://block.github.io/goose/extension",
            cmd=goose["cmd"],
            arg=goose["args"][0],
            timeout=str(goose["timeout"]),
            id=NAME,
            name="Runtype client tokens",
            description=goose["description"],
        ),
    }


def _link(address: str, **parameters: str) -> str:
    return f"{address}?{urlencode(parameters, quote_via=quote, safe='')}"


def _base64(value: object) -> str:
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


def block() -> str:
    """The badges as Markdown."""
    badges = []
    for name, link in links().items():
        title = HOSTS[name].title
        image = f"https://img.shields.io/badge/{quote(title.replace(' ', '_'))}-add_the_server-0b7285"
        badges.append(f"[![Add to {title}]({image})]({link})")
    return "\n".join([START, " ".join(badges), END])


def main() -> None:
    text = README.read_text("utf-8")
    README.write_text(re.sub(f"{START}.*{END}", lambda _: block(), text, flags=re.S), "utf-8")


if __name__ == "__main__":
    main()
