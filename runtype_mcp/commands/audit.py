"""The audit log as people read it: `runtype-mcp audit show FILE` and `runtype-mcp audit verify FILE`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runtype_mcp.commands import failed, say
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.storage import audit_log
from runtype_mcp.storage.audit_log import Row

_HEADINGS = ("time", "caller", "tool", "token", "effects", "approval", "outcome", "ms")
_CELL = 40


def table(rows: Iterable[Row], *, width: int = 160) -> str:
    """The rows as aligned plain text, each line at most `width` characters long.

    Names and effects may carry text that a visitor wrote, so no cell can move the cursor, colour the terminal, add a
    line or turn the reading direction.
    """
    cells: list[tuple[str, ...]] = [_HEADINGS]
    for row in rows:
        took = "" if row.duration_ms is None else str(row.duration_ms)
        texts = (row.time, row.caller, row.tool, row.token, row.effects, row.approval, row.outcome, took)
        cells.append(tuple(sanitize_line(text, _CELL) for text in texts))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in lines)


def show(file: Path) -> int:
    """Print one line for each call. Returns the exit code."""
    try:
        say(table(audit_log.rows(file)))
    except audit_log.AuditError as exc:
        return failed(str(exc))
    return 0


def verify(file: Path, head: str | None) -> int:
    """Print what is wrong with a log, then its head. Returns 1 if anything is wrong."""
    try:
        found = audit_log.verify(file, head)
    except audit_log.AuditError as exc:
        return failed(str(exc))
    for number, problem in found.problems:
        say(f"line {number}: {problem}")
    say(f"{found.lines} lines, {len(found.problems)} problems, head {found.head}")
    return 1 if found.problems else 0
