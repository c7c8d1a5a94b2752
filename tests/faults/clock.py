"""Waits that take no time, for tests of what comes after them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between tries and looks are short."""
    sleep = asyncio.sleep

    async def short(seconds: float, result: Any = None) -> Any:
        return await sleep(min(seconds, 0.01), result)

    monkeypatch.setattr(asyncio, "sleep", short)
