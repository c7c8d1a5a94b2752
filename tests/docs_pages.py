"""Writes the pages that say what the code says: every tool with a real call, the settings, and the recorded terminal.

    python -m tests.docs_pages

The calls are made on the sandbox, by a client whose person agrees. What differs from day to day and from run to run
(dates, new ids, nonces, folders) is replaced, so that a page changes only with the code.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from runtype_mcp.sandbox.seed import seed
from runtype_mcp.setting_variables import VARIABLES
from runtype_mcp.tools import SPECS
from tests.processes import run
from tests.support import MODERN, Api, SwappableApp, accept, mcp_client, running, text_of

DOCS = Path(__file__).parents[1] / "docs"
NAME, SITE, FILE = "Shop chat", "https://shop.example", ".env:VITE_RUNTYPE_TOKEN"
TODAY = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""When the calls seem to have been made."""

CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("list_agents_and_flows", "", {"name_contains": "support"}),
    ("list_client_tokens", "", {"environment": "live", "active": True, "limit": 3}),
    (
        "create_client_token",
        "The value goes into `.env`, and the conversation never sees it:",
        {
            "name": NAME,
            "allowed_origins": [SITE],
            "agent_ids": ["Customer support"],
            "deliver": "env_file",
            "env_file": FILE,
        },
    ),
    ("get_client_token", "", {"client_token": NAME}),
    (
        "update_client_token",
        "One more exact https origin is harmless, so it happens immediately:",
        {"client_token": NAME, "allowed_origins": [SITE, "https://www.shop.example"]},
    ),
    (
        "update_client_token",
        "Every website is not, so it is only previewed:",
        {"client_token": NAME, "allowed_origins": ["*"]},
    ),
    (
        "get_client_token_value",
        "Is the value in `.env` the present one? It is compared, and not shown:",
        {"client_token": NAME, "deliver": "verify", "env_file": FILE},
    ),
    (
        "regenerate_client_token",
        "A person was asked, and typed the token's name:",
        {"client_token": NAME, "confirm": True, "expected_name": NAME, "deliver": "env_file", "env_file": FILE},
    ),
    (
        "list_client_token_conversations",
        "Visitors' words stand in one fenced block, which is data:",
        {"client_token": "Northwind Store - Support", "limit": 2},
    ),
    ("audit_client_tokens", "", {}),
    ("delete_client_token", "Without `confirm` nothing happens:", {"client_token": NAME}),
    (
        "delete_client_token",
        "With it, and after a person typed the token's name:",
        {"client_token": NAME, "confirm": True, "expected_name": NAME},
    ),
)
"""Each call in the order in which they are made, with what is worth saying of it."""
MAX_LINES = 12


# Tools


async def tools_page(api: Api, root: Path) -> str:
    """Every tool: what its description says, its arguments, and real calls with their results."""
    seed(api.store, datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0))
    known = {record.token["id"] for record in api.store.newest_first()}
    examples: dict[str, list[str]] = {}
    async with mcp_client(api, MODERN, accept(NAME), RUNTYPE_MCP_FILES_ROOT=str(root)) as model:
        for name, remark, arguments in CALLS:
            result = await model.call(name, **arguments)
            assert not result.is_error, text_of(result)
            text = stable(text_of(result), known, root)
            examples.setdefault(name, []).append(_example(remark, arguments, text))
        listed = {tool.name: tool for tool in (await model.client.list_tools()).tools}
    parts = [_TOOLS_INTRO]
    for spec in SPECS:
        tool = listed[spec.name]
        properties, required = tool.input_schema.get("properties", {}), tool.input_schema.get("required", [])
        parts.append(f"## `{spec.name}`\n\n{_escaped(tool.description or '')}\n")
        rows = [f"| `{key}`{' *' if key in required else ''} | {_meaning(of)} |" for key, of in properties.items()]
        if rows:
            parts.append("\n".join(["| argument | meaning |", "| --- | --- |", *rows]) + "\n")
        parts += examples.get(spec.name, [])
    return "\n".join(parts)


_TOOLS_INTRO = """\
<!-- Written by `python -m tests.docs_pages`, which makes every call below on the sandbox. Do not edit. -->

# Tools

You do not call these: your assistant does, when you ask it for something. Here is what it can do, what each call takes,
and what it answers. The arguments marked * are required. Which calls need a yes of yours is in
[what it asks](what-it-asks.md).

Every result comes twice, as this text and as JSON with the same facts.
"""


def _example(remark: str, arguments: dict[str, Any], text: str) -> str:
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… {len(lines) - MAX_LINES} more lines"]
    call = json.dumps(arguments, indent=2, ensure_ascii=False)
    head = f"{remark}\n\n" if remark else ""
    return f"{head}```json\n{call}\n```\n\n```text\n" + "\n".join(lines) + "\n```\n"


def _meaning(schema: dict[str, Any]) -> str:
    """What a schema says of an argument, with the values that it may have."""
    words = str(schema.get("description", "")).rstrip(".")
    if choices := schema.get("enum"):
        words += ": " + ", ".join(f"`{choice}`" for choice in choices)
    return _escaped(words)


def _escaped(text: str) -> str:
    """Text that is no markup: `|` would end a cell, `<` would begin a tag, `*` would begin emphasis."""
    parts = text.split("`")  # every other one is code
    return "`".join(
        part.replace("|", "\\|") if number % 2 else re.sub(r"([|<*])", r"\\\1", part)
        for number, part in enumerate(parts)
    )


def stable(text: str, known: set[str], root: Path) -> str:
    """The text as it would be on the same day, with the same new ids, nonces and folders."""
    shift = (datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - TODAY).days

    def date(found: re.Match[str]) -> str:
        day = datetime.fromisoformat(found["day"]).replace(hour=12, tzinfo=UTC) - timedelta(days=shift)
        time = found["time"] or ""
        if day == TODAY:  # it may be of this run
            time = re.sub(r"T[\d:.]+", "T12:00:00", time)
        return f"{day:%Y-%m-%d}{time}"

    text = re.sub(r"(?P<day>\b\d{4}-\d\d-\d\d)(?P<time>T[\d:.]+Z?)?", date, text)
    text = re.sub(r"\bct_01\w{24}", lambda found: found[0] if found[0] in known else f"ct_01k{'0' * 23}", text)
    text = text.replace(str(root), "/home/you/shop")
    for nonce in re.findall(r"<visitor-text (\w{8})>", text):
        text = text.replace(nonce, "5f1c9a02")
    return re.sub(r"(ending with |ended with …|valueEndsWith: )\w{4}\b", r"\g<1>3f9a", text)


# Settings


def settings_page() -> str:
    rows = [f"| `{name}` | {row.default} | {row.meaning} |" for name, row in VARIABLES.items()]
    return "\n".join([_SETTINGS_INTRO, "| variable | default | meaning |", "| --- | --- | --- |", *rows]) + "\n"


_SETTINGS_INTRO = """\
<!-- Written by `python -m tests.docs_pages` from `runtype_mcp/settings.py`. Do not edit. -->

# Settings

The server reads environment variables once, when it starts. An empty one counts as unset, as hosts leave it of a form
field that nobody filled in. A bad one, or a name that only resembles a setting's, stops the start with one line that
says what is right. No model can reach them. `runtype-mcp settings` prints this list.
"""


# The recorded terminal


WIDTH = 88
SHOWN = (4, 9)
"""The steps of the demo that the picture shows."""


def terminal_picture() -> str:
    """A picture of the demo, as it looks in a terminal."""
    shown = demo_excerpt(run("demo", FORCE_COLOR="1", NO_COLOR="", COLUMNS=str(WIDTH), TERM="xterm-256color").stdout)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), legacy_windows=False)
    console.print(Text.from_ansi(shown))
    svg = console.export_svg(title="runtype-mcp demo", theme=MONOKAI, unique_id="demo")
    # A picture loads nothing: the font would come from another host.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)


def demo_excerpt(printed: str) -> str:
    """The beginning of the demo, the steps that are shown, and its end."""
    head, *steps = re.split(r"\n(?=(?:\x1b\[\d+m)? ?\d+\. )", printed)
    last = steps[-1].rstrip("\n").splitlines()[-1]
    return "\n".join([head, *(steps[number - 1] for number in SHOWN), "…\n", last])


def _words(svg: str) -> list[str]:
    """What a picture says, without what is new in every run."""
    lines = re.findall(r"<text [^>]*>([^<]*)</text>", svg)
    text = "\n".join(lines).replace("&#160;", " ")
    return re.sub(r"\b(ct|agent)_\w+|\b[0-9a-f]{4,8}\b|\d{4}-\d\d-\d\d\S*|/tmp/\S*", "…", text).split()


def same_picture(one: str, other: str) -> bool:
    """Whether two pictures say the same, apart from ids, nonces, dates and folders."""
    return _words(one) == _words(other)


# All of them


def pages(api: Api, root: Path) -> dict[str, Callable[[], str]]:
    """The file of each page below `docs/`, and what makes it."""
    return {
        "tools.md": lambda: asyncio.run(tools_page(api, root)),
        "settings.md": settings_page,
        "images/demo.svg": terminal_picture,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RUNTYPE_MCP_STATE_DIR"] = str(Path(folder, "state"))
        stage = SwappableApp()
        with running(stage) as url:
            for name, make in pages(Api(url, stage).install(), Path(folder).resolve()).items():
                path, made = DOCS / name, make()
                path.parent.mkdir(exist_ok=True)
                if not (path.exists() and same_picture(made, path.read_text("utf-8")) and path.suffix == ".svg"):
                    path.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
