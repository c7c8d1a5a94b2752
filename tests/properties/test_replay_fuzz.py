"""Whatever a client says, in whatever pieces: the front and the SDK behind it answer as the SDK alone does.

All conversations share one cache, so a wrong answer that one of them leaves behind is found by another.
"""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtype_mcp.stdio import reply_cache
from tests.stdio.test_replay import (
    CALL,
    INITIALIZED,
    LEGACY_START,
    LISTS,
    MODERN_START,
    ODD,
    StdioPair,
    converse,
    envelope,
    hello,
    id_of,
    ids,
    notification,
    request,
)

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
odd = st.sampled_from([line for line in ODD if len(line) < 10_000])
lines = st.lists(asked | asked | asked | greeted | told | cancelled | odd | st.just(CALL), max_size=10)
# The last to be answered, so that an answer which nobody waits for has been given by then.
LAST = [request(f"last {n}", "tools/list", params) for n, params in enumerate((None, envelope()))] + [
    json.dumps(json.loads(CALL) | {"id": "last 2"}),
    request("last 3", "tools/call", {"name": "no_such_tool", **envelope()}),
    request("last 4", "ping"),
]
cuts = st.lists(st.integers(0, 3000), max_size=6)


def _named(line: str) -> str | None:
    """The id that a line cancels, or that it may or may not get an answer to."""
    if line in ODD:
        return id_of(line)
    return json.dumps(json.loads(line)["params"]["requestId"]) if '"requestId"' in line else None


@pytest.mark.parametrize("in_threads", [False, True])
@pytest.mark.parametrize("leaves_early", [False, True])
def test_the_front_answers_as_the_sdk_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves_early: bool, in_threads: bool
) -> None:
    monkeypatch.setattr(reply_cache, "_KEPT", 100_000)
    pair = StdioPair(tmp_path).warmed(LEGACY_START, MODERN_START)
    pair.in_threads, pair.answered, runs = in_threads, 0, 0

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(opening, lines, cuts)
    def holds(opening: list[str], lines: list[str], cuts: list[int]) -> None:
        nonlocal runs
        if not opening:  # the SDK takes this for a handshake too, some moments after it went on to the next line
            lines = [line for line in lines if "notifications/initialized" not in line]
        said = [*opening, *lines, *LAST]
        unsure = {name.strip('"') for line in said if (name := _named(line))}  # "1" cancels 1 too
        sure = Counter({name: n for name, n in ids(said).items() if name.strip('"') not in unsure})
        whole = "".join(f"{line}\n" for line in said).encode()
        uncancelled = "".join(f"{line}\n" for line in said if "notifications/cancelled" not in line).encode()
        expected = Counter(converse(pair.alone, [uncancelled], sure))
        edges = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
        pieces = [whole[start:end] for start, end in pairwise(edges)]

        answers = converse(pair.fronted, pieces, Counter() if leaves_early else sure)
        runs += 1
        assert ids(answers) <= ids(said)
        if leaves_early:
            assert Counter(line for line in answers if b'"Connection closed"' not in line) <= expected
        else:
            assert Counter(answers) <= expected
            assert _of(sure, answers) == _of(sure, expected.elements())
            if opening[:1] == [hello()]:
                assert id_of(answers[0]) == '"hello"'

    holds()
    assert 0 < pair.answered < runs


def _of(names: Counter[str], answers: Iterable[bytes]) -> Counter[bytes]:
    return Counter(line for line in answers if id_of(line) in names)
