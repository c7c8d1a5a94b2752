"""How many requests a bucket lets through, whenever they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtype_mcp.storage.rate_limit import admit

NOW = 1_764_000_000.0


@given(st.integers(1, 100), st.floats(0.1, 3600), st.lists(st.floats(0, 100), max_size=100))
def test_no_window_admits_more_than_the_bucket_holds_and_what_flows_in(
    limit: int, window: float, pauses: list[float]
) -> None:
    now, full_at, admitted = NOW, None, 0
    for pause in pauses:
        now += pause
        full_at, wait = admit(full_at, now, limit, window)
        admitted += not wait
        assert 0 <= wait <= window / limit + 1e-6
        assert admitted <= limit + (now - NOW) * limit / window + 1


@pytest.mark.parametrize("limit", [1, 2, 7, 60, 1000])
def test_who_waits_as_long_as_was_said_is_admitted(limit: int) -> None:
    full_at = None
    for _ in range(limit):
        full_at, wait = admit(full_at, NOW, limit, 60)
        assert wait == 0.0
    full_at, wait = admit(full_at, NOW, limit, 60)
    assert wait == pytest.approx(60 / limit, abs=1e-3)
    assert admit(full_at, NOW + wait, limit, 60)[1] == 0.0
    assert admit(full_at, NOW + wait / 4, limit, 60)[1] > 0.0
