"""`docs/confirmations.md` says what the code does."""

from pathlib import Path

import pytest

from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.tickets import TicketRequest
from runtype_mcp.tools import SPECS
from tests.confirmations import (
    ASKS,
    CASES,
    COLUMNS,
    CONFIRM,
    PAGE,
    PAGED,
    REFUSED,
    RUNS,
    SECOND,
    TICKET,
    effects,
    example,
    render,
    table,
)
from tests.support import Api

pytestmark = pytest.mark.anyio


async def test_what_can_stop_pages_or_let_more_in_never_runs_at_once(api: Api, tmp_path: Path, era: str) -> None:
    rows = await table(api, era, tmp_path)
    for case in CASES:
        if case.group == "Neither":
            assert set(rows[case.does]) == {RUNS}, case.does
        else:
            assert rows[case.does] == [ASKS, PAGED, CONFIRM, ASKS, PAGED, TICKET, SECOND, CONFIRM, REFUSED], case.does
    assert [policy for policy, _ in COLUMNS] == ["auto"] * 3 + ["human"] * 3 + ["second-person", "flag", "deny"]
    written = render(rows, await effects(api), await example(api))
    assert PAGE.read_text(encoding="utf-8") == written, "run: python -m tests.confirmations"


async def test_no_tool_and_no_call_is_forgotten() -> None:
    assert {case.tool for case in CASES} == {spec.name for spec in SPECS}
    assert len({case.does for case in CASES}) == len(CASES)
    gated = {case.tool for case in CASES if case.group != "Neither"}
    assert gated == {spec.name for spec in SPECS if spec.plan is not None}


async def test_every_gated_call_says_what_would_happen(api: Api) -> None:
    said = await effects(api)
    assert list(said) == [case.does for case in CASES if case.group != "Neither"]
    assert all(said.values())


async def test_the_example_is_the_same_every_time(api: Api) -> None:
    assert await example(api) == await example(api)


async def test_a_code_is_good_for_as_long_as_the_page_says(tmp_path: Path) -> None:
    state = SqliteState(tmp_path)
    ticket = await state.request_ticket(TicketRequest("0" * 64, "", "", "", "", "", {}, "", ""))
    await state.aclose()
    assert ticket.expires - ticket.created == 15 * 60
    assert "15\n   minutes" in PAGE.read_text(encoding="utf-8")
