"""Three replicas behind nginx, one after the other, with nothing that keeps a caller at one of them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2 as httpx
import mcp_types
import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client

from runtype_mcp.sandbox.seed import seed
from tests.deploy.calls import Caller, answer_to
from tests.deploy.cluster import Cluster, cluster
from tests.deploy.kills import PHASES, kill_often
from tests.support import MODERN, accept, text_of

pytestmark = pytest.mark.anyio
ROUNDS = 1
"""For each moment. `python -m tests.deploy.kills` makes hundreds."""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        seed(found.api.store)
        yield found


def a_token(team: Cluster) -> tuple[str, str]:
    """The id and the name of a token that nobody has deleted."""
    token = next(record.token for record in team.api.store.newest_first() if record.token["name"])
    return token["id"], token["name"]


async def test_a_question_and_its_answer_may_reach_different_replicas(team: Cluster) -> None:
    token, name = a_token(team)
    before = len(team.api.applied)
    request_ids = list[str]()

    async def keep(answer: httpx.Response) -> None:
        request_ids.append(answer.headers["x-request-id"])

    async def person(context: ClientRequestContext, params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        assert name in params.message
        return accept(name)

    headers = {"Authorization": f"Bearer {team.bearers['admin']}"}
    async with httpx.AsyncClient(headers=headers, event_hooks={"response": [keep]}) as http:
        transport = streamable_http_client(team.url, http_client=http)
        async with Client(transport, mode=MODERN, elicitation_callback=person) as client:
            await client.list_tools()
            request_ids.clear()
            sure = {"client_token": token, "confirm": True, "expected_name": name}
            result = await client.call_tool("delete_client_token", sure)
    assert not result.is_error, text_of(result)
    asked, answered, *_ = (team.answered_by(one).number for one in request_ids)
    assert asked != answered
    assert [seen.method for seen in team.api.applied[before:]] == ["DELETE"]


def test_an_answer_that_is_sent_again_to_the_others_counts_once(team: Cluster) -> None:
    token, name = a_token(team)
    before = len(team.api.applied)
    sure = {"client_token": token, "confirm": True, "expected_name": name}
    with Caller(team.url, team.bearers["admin"]) as caller:
        more = answer_to(caller.call("regenerate_client_token", **sure), name)
        first, *others = [caller.call("regenerate_client_token", more, **sure) for _ in range(4)]
    assert first.done, first
    assert not any(other.done for other in others)
    assert len(team.api.applied) == before + 1


def test_nobody_uses_the_answer_of_another(team: Cluster) -> None:
    token, name = a_token(team)
    before = len(team.api.applied)
    sure = {"client_token": token, "confirm": True, "expected_name": name}
    with Caller(team.url, team.bearers["admin"]) as admin, Caller(team.url, team.bearers["other"]) as other:
        more = answer_to(admin.call("delete_client_token", **sure), name)
        assert not other.call("delete_client_token", more, **sure).done
    assert len(team.api.applied) == before


def test_a_caller_without_a_token_or_without_the_scope_gets_nowhere(team: Cluster) -> None:
    token, name = a_token(team)
    before = len(team.api.applied)
    with Caller(team.url, "") as nobody, Caller(team.url, team.bearers["reader"]) as reader:
        assert nobody.call("list_client_tokens").status == 401
        assert reader.call("list_client_tokens", limit=1).done
        refused = reader.call("delete_client_token", client_token=token, confirm=True, expected_name=name)
        assert not refused.done
    assert len(team.api.applied) == before


def test_without_redis_reads_go_on_and_gated_calls_are_refused_until_it_is_back(team: Cluster) -> None:
    token, name = a_token(team)
    before = len(team.api.applied)
    sure = {"client_token": token, "confirm": True, "expected_name": name}
    with Caller(team.url, team.bearers["admin"]) as caller:
        more = answer_to(caller.call("delete_client_token", **sure), name)
        team.redis.stop()
        for _ in team.replicas:
            assert caller.call("get_client_token", client_token=token).done
            assert caller.call("list_client_tokens", limit=1).done
            refused = caller.call("delete_client_token", more, **sure)
            assert not refused.done
            assert "Redis" in refused.text
            assert "Nothing was changed" in refused.text
        assert len(team.api.applied) == before
        team.redis.start()
        done = caller.call("delete_client_token", more, **sure)
        assert done.done, done
    assert len(team.api.applied) == before + 1


@pytest.mark.parametrize("phase", PHASES)
def test_a_replica_that_is_killed_loses_nothing_and_doubles_nothing(team: Cluster, phase: str) -> None:
    first = list(PHASES).index(phase)
    run = kill_often(team, [first + len(PHASES) * number for number in range(ROUNDS)])
    assert not list(run.problems())
    assert [one.killed for one in run.rounds] == [1] * ROUNDS
