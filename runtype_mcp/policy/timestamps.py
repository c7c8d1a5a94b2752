"""Moments as the API writes them, for filters and for readers: always in UTC, and always said so."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from runtype_mcp.policy.sanitize import sanitize_line

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.{0,20})?", re.ASCII)


def utc(moment: str) -> datetime | None:
    """The moment in UTC. One without a zone counts as UTC; None if it is not in ISO 8601."""
    try:
        then = datetime.fromisoformat(moment) if _ISO.fullmatch(moment) else None
        return then and (then.astimezone(UTC) if then.tzinfo else then.replace(tzinfo=UTC))
    except (ValueError, OverflowError):  # such as 2026-02-30, or a zone that leads out of the calendar
        return None


def utc_day(moment: str) -> str:
    """Its day, such as `2026-01-02 UTC`. What is not in ISO 8601 is given as it is, in one short line."""
    then = utc(moment)
    return f"{then:%Y-%m-%d} UTC" if then else sanitize_line(moment, 40)


def utc_second(moment: str) -> str | None:
    """It to the second, such as `2026-01-02T03:04:05Z`; None if it is not in ISO 8601."""
    then = utc(moment)
    return f"{then:%Y-%m-%dT%H:%M:%SZ}" if then else None
