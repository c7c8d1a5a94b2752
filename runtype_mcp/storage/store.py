"""Where a `State` keeps things: what one step of it reads and changes, and a store in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

LISTED = ("ticket", "card")
"""The kinds whose values are few, and are asked for by `items`."""


class Store(Protocol):
    """JSON values by kind and key, during one step that happens as a whole or not at all."""

    @property
    def first_count(self) -> int:
        """What counts begin with: another number once the store has lost its memory, where it can."""

    def get(self, kind: str, key: str) -> Any:
        """The value; None if there is none."""

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """The values that there are of these keys."""

    def items(self, kind: str) -> dict[str, Any]:
        """All values of one of the kinds `LISTED`."""

    def put(self, kind: str, key: str, value: Any, expires: float) -> None:
        """Keep a value, which may be dropped from `expires` (unix seconds) on."""

    def delete(self, kind: str, key: str) -> None:
        """Drop a value."""


class MemoryStore:
    """A store without a disk."""

    first_count = 0

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[Any, float]] = {}

    def get(self, kind: str, key: str) -> Any:
        return self._kept.get((kind, key), (None, 0))[0]

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        return {key: self._kept[kind, key][0] for key in keys if (kind, key) in self._kept}

    def items(self, kind: str) -> dict[str, Any]:
        return {key: value for (of, key), (value, _) in self._kept.items() if of == kind}

    def put(self, kind: str, key: str, value: Any, expires: float) -> None:
        self._kept[kind, key] = (value, expires)

    def delete(self, kind: str, key: str) -> None:
        del self._kept[kind, key]

    def prune(self, now: float) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if kept[1] > now}
