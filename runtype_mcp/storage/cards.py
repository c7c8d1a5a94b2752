"""Requests that a person may decide on a card in the conversation: how they are kept until then.

The card holds a one-time code, which is in the `_meta` of a preview and nowhere else. Only its hash is kept, so what
is on the disk approves nothing. A card is for one holder (an account and a caller) and for ten minutes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtype_mcp.storage.tickets import CLOCK_CORRECTION, TicketRequest

CARD_TTL = 600.0
"""Seconds for which a card can be decided on."""
MAX_CARDS = 100
"""How many are kept, over all callers; the oldest give way."""


@dataclass(frozen=True, slots=True)
class Card:
    """A request on a card that was made at `created` (unix seconds)."""

    request: TicketRequest
    holder: str
    created: float

    @property
    def expires(self) -> float:
        """Unix seconds."""
        return self.created + CARD_TTL

    @classmethod
    def parse(cls, stored: Any) -> Card:
        """The card that `asdict` made `stored` of. ValueError if it is anything else."""
        try:
            card = cls(**{**stored, "request": TicketRequest(**stored["request"])})
            sound = math.isfinite(card.created)
        except (TypeError, KeyError) as error:
            raise ValueError("it is not a card") from error
        if not sound:
            raise ValueError("it is not a card that can be stored")
        return card

    def is_open_to(self, holder: str, now: float) -> bool:
        """Whether `holder` may decide it. A clock that is set back must not keep it alive."""
        return self.holder == holder and self.created - CLOCK_CORRECTION <= now < self.expires


def superfluous(stored: Mapping[str, Any]) -> list[str]:
    """The keys of the oldest cards, as many as must go before one more is kept."""
    oldest_first = sorted(stored, key=lambda key: Card.parse(stored[key]).created)
    return oldest_first[: max(0, len(stored) - MAX_CARDS + 1)]
