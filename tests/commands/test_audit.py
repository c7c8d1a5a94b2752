"""The audit log as a person sees it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtype_mcp.storage.audit_log import AuditLog
from tests.processes import on_terminal, run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    written = AuditLog(tmp_path / "audit.jsonl")
    call = {"call": "1", "tool": "delete_client_token", "token": "ct_1", "name": "\x1b[31mShop\n" + "x" * 200}
    written.append({"event": "started", **call})
    written.append({"event": "ended", "outcome": "failed: no answer", "duration_ms": 5, **call})
    return tmp_path / "audit.jsonl"


def test_in_a_pipe_each_call_is_one_line_of_cells_that_are_cut(log: Path) -> None:
    head, line = run("audit", "show", str(log)).stdout.splitlines()
    assert head.index("tool") == line.index("delete_client_token")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  failed: no answer", line)
    assert line.isprintable()
    assert len(line) < 200
    assert line.endswith("5")


def test_on_a_terminal_of_80_columns_each_call_is_a_block(log: Path) -> None:
    with on_terminal("audit", "show", str(log), COLUMNS="80", NO_COLOR="1") as terminal:
        assert terminal.ended() == 0
    first, *more = terminal.shown.splitlines()
    assert re.fullmatch(r"[\d-]+ [\d:]+Z  failed: no answer", first)
    assert "tool: delete_client_token · token: " in more[0]
    assert all(line.startswith("    ") and len(line) <= 80 for line in more)
