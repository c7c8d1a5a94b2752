"""The audit log as people read it: `runtype-mcp audit show FILE` and `runtype-mcp audit verify FILE`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from runtype_mcp.commands.output import failed, print_json, print_table, say
from runtype_mcp.storage import audit_log
from runtype_mcp.storage.audit_log import Row

_HEADINGS = ("time", "outcome", "tool", "token", "effects", "approval", "caller", "ms")
_CELL = 40
_STYLES = {"done": "green", "refused": "yellow", "failed": "red"}


def show(file: Path, *, as_json: bool = False) -> int:
    """Print one line for each call. Returns the exit code."""
    try:
        rows = list(audit_log.rows(file))
    except audit_log.AuditError as exc:
        return failed(str(exc))
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print_table(_HEADINGS, map(_cells, rows), lead=2, longest=_CELL, styles=_STYLES)
    return 0


def _cells(row: Row) -> tuple[str, ...]:
    took = "" if row.duration_ms is None else str(row.duration_ms)
    time = row.time[:19].replace("T", " ") + row.time[19:].lstrip(".0123456789")  # no part of a second
    return (time, row.outcome, row.tool, row.token, row.effects, row.approval, row.caller, took)


def verify(file: Path, head: str | None, *, as_json: bool = False) -> int:
    """Print what is wrong with a log, then its head. Returns 1 if anything is wrong."""
    try:
        found = audit_log.verify(file, head)
    except audit_log.AuditError as exc:
        return failed(str(exc))
    if as_json:
        problems = [{"line": number, "problem": problem} for number, problem in found.problems]
        print_json({"lines": found.lines, "problems": problems, "head": found.head})
    else:
        for number, problem in found.problems:
            say(f"line {number}: {problem}", "red")
        say(f"{found.lines} lines, {len(found.problems)} problems, head {found.head}")
    return 1 if found.problems else 0
