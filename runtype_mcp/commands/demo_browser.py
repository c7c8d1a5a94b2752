"""The browser of the demo, and the person in front of it: `python -m runtype_mcp.commands.demo_browser OUT URL`.

It opens the page that the server says, as a real browser would, reads what waits, types the token's name and approves.
What the person saw goes into the file OUT.
"""

from __future__ import annotations

import json
import sys
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener


def approve(address: str) -> dict[str, Any]:
    """Open the page and approve the one call that waits there. Returns the card that the page shows of it."""
    browser = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))  # loopback needs no proxy
    browser.open(address).read()
    page = urljoin(address, "../")  # the address opens the page once; the rest goes by the session's cookie
    (card,) = json.load(browser.open(f"{page}api/approvals"))["approvals"]
    decision = {"decision": "approve", "name": card["name"], "decisionToken": card["decisionToken"]}
    headers = {"Content-Type": "application/json", "Origin": "/".join(address.split("/")[:3])}
    answer = Request(f"{page}api/approvals/{card['code']}", json.dumps(decision).encode(), headers)  # noqa: S310 - loopback
    browser.open(answer).read()
    return dict(card)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(approve(sys.argv[2])), encoding="utf-8")
