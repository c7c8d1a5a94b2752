"""How fast a caller may go, over real connections and through the SDK's own authentication."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from starlette.middleware.authentication import AuthenticationMiddleware

from runtype_mcp.http.callers_file import CallersFile
from runtype_mcp.http.rate_limit import PARTS, WINDOW, Buckets, CallerLimit, StrangerLimit
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.state import State
from tests.http.processes import call, http_server
from tests.http.serving import Echo, serving
from tests.processes import TIMEOUT
from tests.support import KEY, Api


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Tokens:
    """`ana-…` is a token of Ana's, from whatever client."""

    async def verify_token(self, token: str) -> AccessToken | None:
        person, known, client = token.partition("-")
        return AccessToken(token=token, client_id=client, scopes=[], subject=person) if known else None


def server(limit: int, clock: Clock, shared: State | None = None, echo: Echo | None = None) -> StrangerLimit:
    inner = CallerLimit(RequireAuthMiddleware(echo or Echo(), []), limit, shared, clock)
    return StrangerLimit(AuthenticationMiddleware(inner, BearerAuthBackend(Tokens())), limit, clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> Iterator[httpx.Client]:
    with serving(server(3, clock)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as made:
        yield made


def ask(client: httpx.Client, token: str | None) -> httpx.Response:
    return client.post("/", headers={"authorization": f"Bearer {token}"} if token else {})


def statuses(client: httpx.Client, token: str | None, times: int) -> list[int]:
    return [ask(client, token).status_code for _ in range(times)]


def test_a_caller_is_told_when_to_come_again_and_others_are_not_held_up(client: httpx.Client, clock: Clock) -> None:
    assert statuses(client, "ana-1", 3) == [200] * 3
    refused = ask(client, "ana-1")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= WINDOW
    assert statuses(client, "bob-1", 3) == [200] * 3
    clock.now += int(refused.headers["retry-after"])
    assert statuses(client, "ana-1", 2) == [200, 429]


def test_another_client_of_the_same_person_is_the_same_caller(client: httpx.Client) -> None:
    assert statuses(client, "ana-1", 2) + statuses(client, "ana-2", 2) == [200, 200, 200, 429]


def test_wrong_tokens_are_soon_not_even_looked_at(client: httpx.Client, clock: Clock) -> None:
    assert statuses(client, "wrong", 2) + statuses(client, None, 1) == [401] * 3
    refused = ask(client, "another")
    assert refused.status_code == 429
    assert ask(client, "ana-1").status_code == 429  # a right guess would not be told from a wrong one
    clock.now += int(refused.headers["retry-after"])
    assert ask(client, "ana-1").status_code == 200


def test_a_good_token_never_counts_as_a_wrong_one(client: httpx.Client, clock: Clock) -> None:
    for _ in range(5):
        assert statuses(client, "ana-1", 3) == [200] * 3
        clock.now += WINDOW


def test_several_processes_count_together(clock: Clock, tmp_path: Path) -> None:
    states = [SqliteState(tmp_path / "state", now=clock) for _ in range(2)]
    limit = 2 * PARTS
    apps = [server(limit, clock, state) for state in states]
    with serving(apps[0]) as one, serving(apps[1]) as other:
        clients = [httpx.Client(base_url=f"http://127.0.0.1:{port}") for port in (one, other)]
        got = [ask(client, "ana-1").status_code for _ in range(limit) for client in clients]
        for client in clients:
            client.close()
    # Each may be ahead of the count by the part that it asked for.
    assert limit <= got.count(200) <= limit + 2
    assert got[-1] == 429


def test_calls_at_the_same_time_cost_no_more_than_one_after_the_other(clock: Clock, tmp_path: Path) -> None:
    """A part of the limit is asked for once, however many wait for it."""
    limit, at_once = 4 * PARTS, 40
    shared = SqliteState(tmp_path / "state", now=clock)
    with (
        serving(server(limit, clock, shared)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT) as client,
        ThreadPoolExecutor(at_once) as pool,
    ):
        answered = Counter(pool.map(lambda _: ask(client, "ana-1").status_code, range(limit + at_once)))
    assert answered == {200: limit, 429: at_once}


def test_where_they_cannot_count_together_each_counts_alone(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "state.db").write_text("no database" * 100)
    with (
        serving(server(3, clock, SqliteState(tmp_path / "state"))) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        assert statuses(client, "ana-1", 4) == [200, 200, 200, 429]


def test_the_callers_that_are_remembered_are_bounded(clock: Clock) -> None:
    buckets = Buckets(clock)
    for number in range(10_001):
        buckets.hit(f"{number}", 1)
    assert buckets.wait("0", 1) == 0.0  # the oldest gave way
    assert buckets.wait("10000", 1) > 0


def test_the_server_holds_its_callers_to_it(api: Api, tmp_path: Path) -> None:
    file = CallersFile(tmp_path / "callers.json")
    ana, bob = file.add("ana", ("read",)), file.add("bob", ("read",))
    environ = {
        "RUNTYPE_API_KEY": KEY,
        "RUNTYPE_MCP_AUTH": "static",
        "RUNTYPE_MCP_CALLERS": str(file.path),
        "RUNTYPE_MCP_RATE_LIMIT": "1",
    }
    with http_server("--base-url", api.url, **environ) as (_, url):

        def calls(token: str, times: int) -> list[int]:
            headers = {"authorization": f"Bearer {token}"}
            with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT) as client:
                return [call(client, "list_client_tokens", limit=1).status_code for _ in range(times)]

        assert calls(ana, 2) == [200, 429]
        assert calls(bob, 1) == [200]
        assert calls("wrong", 2) == [401, 429]
        assert calls(bob, 1) == [429]  # from the same address
        assert httpx.get(f"{url}/readyz").status_code == 200
    assert len(api.received) == 3  # two calls, and the probe
