"""Whatever a client sends, in whatever pieces: the replay and the SDK after it answer as without a replay.

All sessions share one cache, so a wrong reply that one of them leaves behind is found by another.
"""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stdio.sessions import (
    CALL,
    INITIALIZED,
    LEGACY_START,
    LISTS,
    MODERN_START,
    StdioPair,
    converse,
    envelope,
    hello,
    id_of,
    ids,
    lines_of,
    notification,
    request,
)
from tests.stdio.test_replay import ODD
from tests.stdio.test_transport import MALFORMED

names = st.sampled_from([0, 1, "1", "a"])
versions = st.sampled_from(["2024-11-05", "2025-11-25", "1999-01-01", "2026-07-28"])
params = st.sampled_from([None, {}, {"_meta": {"progressToken": 1}}, envelope(), {"cursor": "1"}])
methods = st.sampled_from([*LISTS, "ping", "server/discover", "tools/call", "no/such/method"])

opening = st.sampled_from(
    [LEGACY_START[:2], LEGACY_START, MODERN_START[:1], MODERN_START, [hello()], [INITIALIZED], []]
)
asked = st.builds(request, names, methods, params)
greeted = st.builds(hello, versions, st.sampled_from([None, {"elicitation": {}}]), names)
told = st.sampled_from([INITIALIZED, notification("notifications/roots/list_changed"), notification("notifications/x")])
cancelled = st.builds(lambda name: notification("notifications/cancelled", {"requestId": name}), names)
MALFORMED_IDS = {line: json.dumps(name) for line, _, name in MALFORMED if isinstance(line, str) and len(line) < 10_000}
odd = st.sampled_from([*ODD, *MALFORMED_IDS])
lines = st.lists(asked | asked | asked | greeted | told | cancelled | odd | st.just(CALL), max_size=10)
# The last to be answered, so that an answer which nobody waits for has been given by then.
LAST = [request(f"last {n}", "tools/list", params) for n, params in enumerate((None, envelope()))] + [
    json.dumps(json.loads(CALL) | {"id": "last 2"}),
    request("last 3", "tools/call", {"name": "no_such_tool", **envelope()}),
    request("last 4", "ping"),
]
cuts = st.lists(st.integers(0, 3000), max_size=6)


def _unsure(line: str) -> set[str]:
    """The ids that a line cancels, or that may or may not get an answer because of it; without quotes."""
    names = {id_of(line), MALFORMED_IDS.get(line)} if line in ODD or line in MALFORMED_IDS else set()
    if '"requestId"' in line:
        names.add(json.dumps(json.loads(line)["params"]["requestId"]))
    return {name.strip('"') for name in names if name}  # "1" cancels 1 too


@pytest.mark.parametrize("leaves_early", [False, True])
def test_with_a_replay_it_answers_as_without(tmp_path: Path, leaves_early: bool) -> None:
    pair = StdioPair(tmp_path, max_replies=100_000).warmed(LEGACY_START, MODERN_START)
    pair.replayed_sessions, runs = 0, 0

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(opening, lines, cuts)
    def holds(opening: list[str], lines: list[str], cuts: list[int]) -> None:
        nonlocal runs
        if not opening:  # the SDK takes this for a handshake too, some moments after it went on to the next line
            lines = [line for line in lines if "notifications/initialized" not in line]
        said = [*opening, *lines, *LAST]
        unsure = {name for line in said for name in _unsure(line)}
        sure = Counter({name: n for name, n in ids(said).items() if name.strip('"') not in unsure})
        whole = lines_of(said)
        uncancelled = lines_of(line for line in said if "notifications/cancelled" not in line)
        expected = Counter(converse(pair.alone, [uncancelled], sure))
        edges = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
        pieces = [whole[start:end] for start, end in pairwise(edges)]

        answers = converse(pair.replayed, pieces, Counter() if leaves_early else sure)
        runs += 1
        assert set(ids(answers)) <= {*ids(said), *MALFORMED_IDS.values()}
        if leaves_early:
            assert Counter(line for line in answers if b'"Connection closed"' not in line) <= expected
        else:
            assert Counter(answers) <= expected
            assert _of(sure, answers) == _of(sure, expected.elements())
            if opening[:1] == [hello()]:
                assert id_of(answers[0]) == '"hello"'

    holds()
    assert 0 < pair.replayed_sessions < runs


def _of(names: Counter[str], answers: Iterable[bytes]) -> Counter[bytes]:
    return Counter(line for line in answers if id_of(line) in names)
