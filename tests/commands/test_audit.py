"""The table of the audit log."""

from typing import Any

from runtype_mcp.commands.audit import table
from runtype_mcp.storage.audit_log import Row


def row(**cells: Any) -> Row:
    empty = dict.fromkeys(("caller", "tool", "token", "effects", "approval", "outcome"), "")
    return Row(**{"time": "2026-01-01T00:00:00.000Z", "duration_ms": None, **empty, **cells})


def test_a_table_is_aligned() -> None:
    head, first, second = table([row(tool="t", outcome="ok", duration_ms=3), row(tool="longer")]).splitlines()
    assert head.index("tool") == first.index("t ") == second.index("longer")
    assert head.index("outcome") == first.index("ok")
    assert head.index("ms") == first.index("3")


def test_a_table_is_cut_to_its_width_and_no_column_takes_it_all() -> None:
    _, cut = table([row(effects="x" * 200, approval="a" * 200, outcome="never seen")], width=100).splitlines()
    assert len(cut) == 100
    assert cut.endswith("…")
    assert cut.count("x") < 40
    assert "  aaa" in cut


def test_no_cell_of_a_table_can_drive_a_terminal() -> None:
    text = table([row(token="\x1b[31mred\r\nnew\tline\x07\u202egnp\u200b\u2028end\x9b0m\ud800")])
    assert len(text.splitlines()) == 2
    assert "red" in text
    assert text.replace("\n", "").isprintable()


def test_a_table_of_no_calls_is_its_heading() -> None:
    assert table([]) == "time  caller  tool  token  effects  approval  outcome  ms"
