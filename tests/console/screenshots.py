"""Makes pictures of every view to look at: `python -m tests.console.screenshots FOLDER`.

Each view is made narrow and wide, light and dark. `--docs` renews the three that the documentation shows.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from tests.console.chromium import NARROW, WIDE, Clock, Desk, desk, launched
from tests.console.hosting import chat, host_page
from tests.support import Api, SwappableApp, running

DOCS = Path(__file__).parents[2] / "docs" / "images"
SHOP = "Northwind Store - Support"
IN_CHAT: dict[str, tuple[str, dict[str, Any]]] = {
    "tokens": ("list_client_tokens", {}),
    "token": ("get_client_token", {"client_token": SHOP}),
    "findings": ("audit_client_tokens", {}),
    "conversations": ("list_client_token_conversations", {"client_token": SHOP}),
    "card": ("regenerate_client_token", {"client_token": SHOP}),
}
FOR_DOCS = {"approval-wide-light": "approval.png", "tokens-wide-dark": "tokens.png", "card-narrow-light": "card.png"}


async def ask(at: Desk) -> None:
    """A call that waits, with much to judge."""
    tokens = {record.token["name"]: record.token["id"] for record in at.api.store.newest_first()}
    origins = ["https://northwind.example", "https://*.northwind.example", "native"]
    update = {"client_token": tokens[SHOP], "allowed_origins": origins, "rate_limit_per_minute": 300}
    await at.client.call("update_client_token", **update, confirm=True, expected_name=SHOP)


async def shoot(folder: Path, own: Path, browser: Browser, api: Api, host: str) -> None:
    for size, viewport in (("narrow", NARROW), ("wide", WIDE)):
        for scheme in ("light", "dark"):
            os.environ["RUNTYPE_MCP_STATE_DIR"] = str(own / f"{size}-{scheme}")  # nothing is decided yet
            look = {"viewport": viewport, "color_scheme": scheme, "device_scale_factor": 2}
            async with desk(api.seeded(), browser, Clock(time.time())) as at:
                await ask(at)
                page = await at.open(**look)
                await page.locator("article").wait_for()
                await page.locator(".frame").screenshot(path=folder / f"approval-{size}-{scheme}.png")
                await page.get_by_label("To approve, type the name").fill("Northwind Store")
                await page.get_by_role("button", name="Approve").click()
                await page.locator(".error:not(:empty)").wait_for()
                await page.locator(".frame").screenshot(path=folder / f"typo-{size}-{scheme}.png")
                await page.get_by_label("To approve, type the name").fill(SHOP)
                await page.get_by_role("button", name="Approve").click()
                await page.locator(".outcome").wait_for()
                await page.locator(".frame").screenshot(path=folder / f"approved-{size}-{scheme}.png")
            for name, (tool, arguments) in IN_CHAT.items():
                async with chat(api.seeded(), browser, host, look) as conversation:
                    result = await conversation.model.call(tool, **arguments)
                    shown = result.model_dump(mode="json", by_alias=True, exclude_none=True)
                    await conversation.show(tool, arguments, shown, theme=scheme)
                    frame = conversation.window.locator("iframe")
                    await conversation.window.wait_for_function("document.querySelector('iframe').style.height")
                    height = await conversation.page.evaluate("document.body.offsetHeight + 16")
                    await conversation.window.set_viewport_size({"width": viewport["width"], "height": height})
                    await frame.screenshot(path=folder / f"{name}-{size}-{scheme}.png")


async def main(folder: Path) -> None:
    stage = SwappableApp()
    with tempfile.TemporaryDirectory() as own, running(stage) as url, host_page() as host:
        async with launched() as browser:
            await shoot(folder, Path(own), browser, Api(url, stage).install(), host)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(where))
    if "--docs" in sys.argv:
        DOCS.mkdir(parents=True, exist_ok=True)
        for made, kept in FOR_DOCS.items():
            (DOCS / kept).write_bytes((where / f"{made}.png").read_bytes())
