"""What callers were last shown of tokens, in one process: the settings by subject and token id, oldest first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

TokenSettings = dict[str, Any]
"""A token's settings by their names in Python, as `ClientToken.settings()` gives them."""

MAX_READS = 2000
"""How many are remembered, over all callers."""


class LastReads:
    """The last reads in memory; the oldest give way."""

    def __init__(self) -> None:
        self._reads: OrderedDict[tuple[str, str], TokenSettings] = OrderedDict()

    def get(self, subject: str, token_id: str) -> TokenSettings | None:
        return self._reads.get((subject, token_id))

    def record(self, subject: str, reads: Mapping[str, TokenSettings], fields: Iterable[str] | None) -> None:
        for token_id, settings in reads.items():
            key = (subject, token_id)
            self._reads[key] = merged(self._reads.get(key), settings, fields)
            self._reads.move_to_end(key)
        while len(self._reads) > MAX_READS:
            self._reads.popitem(last=False)


def merged(before: TokenSettings | None, now: TokenSettings, fields: Iterable[str] | None) -> TokenSettings:
    """What counts as shown after `fields` of `now` were shown (None: all), where `before` counted until then.

    Of a token that is new to the subject all of it counts: what changes from now on was changed behind their back.
    """
    if before is None or fields is None:
        return dict(now)
    return before | {name: now[name] for name in fields}
