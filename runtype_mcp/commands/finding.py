"""What one check of `runtype-mcp doctor` found."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line. `says` and `todo` are sentences; `todo` is empty where there is nothing to do."""

    status: Literal["ok", "warn", "fail", "skip"]
    check: str
    says: str
    todo: str = ""
