"""The audit log as people read it: `runtype-mcp audit show` and `runtype-mcp audit verify`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from runtype_mcp.commands.output import failed, print_json, print_table, say
from runtype_mcp.storage import audit_log, audit_writers
from runtype_mcp.storage.audit_log import Row

_HEADINGS = ("time", "outcome", "tool", "token", "effects", "approval", "caller", "ms")
_CELL = 40
_STYLES = {"done": "green", "refused": "yellow", "failed": "red"}


def show(files: Sequence[Path], redis_url: str | None = None, *, as_json: bool = False) -> int:
    """Print one line for each call, of all files. Returns the exit code. `redis_url`: where the file `redis` is."""
    try:
        rows = [row for file in files if not _is_of_writers(file) for row in audit_log.rows(file)]
        if written := [file for file in files if _is_of_writers(file)]:
            rows += audit_log.rows_of(audit_writers.entries(_lines(written, redis_url)))
    except audit_log.AuditError as exc:
        return failed(str(exc))
    if len(files) > 1:
        rows.sort(key=lambda row: row.time)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print_table(_HEADINGS, map(_cells, rows), lead=2, longest=_CELL, styles=_STYLES)
    return 0


def _is_of_writers(file: Path) -> bool:
    """Whether it holds lines of several writers: the stream in Redis, or what servers printed."""
    return str(file) == "redis" or next(audit_writers.captured(file), None) is not None


def _lines(files: Sequence[Path], redis_url: str | None) -> Iterator[bytes]:
    for file in files:
        yield from audit_writers.streamed(redis_url or "") if str(file) == "redis" else audit_writers.captured(file)


def _cells(row: Row) -> tuple[str, ...]:
    took = "" if row.duration_ms is None else str(row.duration_ms)
    time = row.time[:19].replace("T", " ") + row.time[19:].lstrip(".0123456789")  # no part of a second
    return (time, row.outcome, row.tool, row.token, row.effects, row.approval, row.caller, took)


def verify(
    files: Sequence[Path], redis_url: str | None = None, head: str | None = None, *, as_json: bool = False
) -> int:
    """Print what is wrong with each log, then its head. Returns 1 if anything is wrong.

    Lines of writers are checked over all files together: one writer's may be in several.
    """
    try:
        written = [file for file in files if _is_of_writers(file)]
        if head is not None and (written or len(files) > 1):
            return failed("--head is for one file that servers write to. Compare the heads of writers yourself.")
        found: dict[str, tuple[int, list[tuple[int | None, str]], str]] = {}
        for file in files:
            if file not in written:
                of_file = audit_log.verify(file, head)
                found[str(file)] = (of_file.lines, list(of_file.problems), of_file.head)
        for writer, chain in audit_writers.chains(_lines(written, redis_url)).items():
            found[f"writer {writer}"] = (chain.lines, [(None, problem) for problem in chain.problems], chain.head)
    except audit_log.AuditError as exc:
        return failed(str(exc))
    told = []
    for name, (lines, problems, last) in found.items():
        shown = [{"line": number, "problem": problem} for number, problem in problems]
        told.append({"log": name, "lines": lines, "problems": shown, "head": last})
        if as_json:
            continue
        where = f"{name}: " if len(files) > 1 or written else ""
        for number, problem in problems:
            say(f"{where}line {number}: {problem}" if number else f"{where}{problem}", "red")
        say(f"{where}{lines} lines, {len(problems)} problems, head {last}")
    if as_json:
        alone = {name: value for name, value in told[0].items() if name != "log"} if told else {}
        print_json(alone if len(files) == 1 and not written else told)
    return int(any(problems for _, problems, _ in found.values()))
