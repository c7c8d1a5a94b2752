"""The eight endpoints over real HTTP: what they answer when nothing is wrong with the question."""

import re
from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.store import Record
from tests.support import seed_many

from .conftest import AGENT, FLOW, OTHER_AGENT, OTHER_FLOW, TOKENS, VERSION, Sandbox

FULL = {
    *("id", "name", "flowIds", "defaultFlowId", "agentIds", "allowedOrigins", "environment", "pinToVersion"),
    *("targetAlias", "targetVersionId", "productSurfaceId", "rateLimitPerMinute", "rateLimitPerHour"),
    *("maxMessagesPerSession", "sessionIdleTimeoutMinutes", "config", "isActive", "tokenPrefix", "tokenHint"),
    *("tokenValue", "lastUsedAt", "createdAt", "updatedAt", "organizationId"),
}
REDUCED = FULL - {
    *("productSurfaceId", "rateLimitPerMinute", "rateLimitPerHour", "maxMessagesPerSession"),
    *("sessionIdleTimeoutMinutes", "config", "lastUsedAt"),
}


def test_a_created_token_has_the_documented_defaults_and_every_field(sandbox: Sandbox) -> None:
    response = sandbox.http.post(
        TOKENS, json={"name": "Shop", "allowedOrigins": ["https://shop.example"], "flowIds": [FLOW]}
    )
    assert response.status_code == 201
    assert set(response.json()) == {"clientToken", "token", "warnings"}
    token = response.json()["clientToken"]
    assert set(token) == FULL
    defaults: dict[str, Any] = {
        "environment": "live",
        "flowIds": [FLOW],
        "agentIds": [],
        "defaultFlowId": None,
        "pinToVersion": "latest",
        "targetAlias": None,
        "targetVersionId": None,
        "productSurfaceId": None,
        "rateLimitPerMinute": 10,
        "rateLimitPerHour": 100,
        "maxMessagesPerSession": 100,
        "sessionIdleTimeoutMinutes": 30,
        "config": {},
        "isActive": True,
        "lastUsedAt": None,
    }
    assert {field: token[field] for field in defaults} == defaults
    assert re.fullmatch(r"ct_01k[0-9a-hjkmnp-tv-z]{23}", token["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", token["createdAt"])


def test_a_value_names_environment_and_first_flow_and_shows_its_ends(sandbox: Sandbox) -> None:
    answer = sandbox.create(flowIds=[FLOW], environment="test")
    token = answer["clientToken"]
    assert re.fullmatch(r"ct_test_flow01jv_[0-9a-f]{32}", answer["token"])
    assert (token["tokenPrefix"], token["tokenHint"]) == ("ct_test_flow01jv", answer["token"][-4:])
    assert sandbox.create()["token"].startswith("ct_live_agent01j_")


def test_a_test_token_shows_its_value_in_every_object_and_a_live_one_in_none(sandbox: Sandbox) -> None:
    test, live = sandbox.create(environment="test"), sandbox.create()
    assert test["clientToken"]["tokenValue"] == test["token"]
    assert live["clientToken"]["tokenValue"] is None
    listed = sandbox.http.get(TOKENS).json()["clientTokens"]
    assert {token["tokenValue"] for token in listed} == {test["token"], None}


def test_two_tokens_may_share_a_name(sandbox: Sandbox) -> None:
    assert sandbox.made(name="Twin") != sandbox.made(name="Twin")


def test_a_floating_point_limit_comes_back_as_an_integer(sandbox: Sandbox) -> None:
    assert repr(sandbox.create(rateLimitPerMinute=20.0)["clientToken"]["rateLimitPerMinute"]) == "20"


def test_unknown_and_snake_case_fields_are_passed_over(sandbox: Sandbox) -> None:
    token = sandbox.create(rate_limit_per_hour=7, isActive=False, surprise=True)["clientToken"]
    assert token["rateLimitPerHour"] == 100
    assert token["isActive"] is True
    assert set(token) == FULL


def test_a_list_without_limit_is_whole_and_has_no_pagination(sandbox: Sandbox) -> None:
    seed_many(sandbox.store, 230)
    answer = sandbox.http.get(TOKENS, params={"offset": 5}).json()
    assert set(answer) == {"clientTokens"}
    assert len(answer["clientTokens"]) == 230
    assert all(set(token) == FULL for token in answer["clientTokens"])


def test_pages_join_to_the_whole_list(sandbox: Sandbox) -> None:
    seed_many(sandbox.store, 5)
    whole = sandbox.http.get(TOKENS).json()["clientTokens"]
    pages = [sandbox.http.get(TOKENS, params={"limit": 2, "offset": offset}).json() for offset in (0, 2, 4, 6)]
    assert [token for page in pages for token in page["clientTokens"]] == whole
    exact = sandbox.http.get(TOKENS, params={"limit": 5}).json()["pagination"]
    assert exact == {"limit": 5, "offset": 0, "hasMore": False}
    assert [page["pagination"] for page in pages] == [
        {"limit": 2, "offset": offset, "hasMore": more}
        for offset, more in ((0, True), (2, True), (4, False), (6, False))
    ]


def test_only_get_one_counts_conversations(sandbox: Sandbox) -> None:
    path = sandbox.made()
    assert set(sandbox.token(path)) == FULL | {"conversationCount"}
    assert sandbox.token(path)["conversationCount"] == 0


def test_an_update_changes_the_named_fields_and_leaves_the_rest(sandbox: Sandbox) -> None:
    path = sandbox.made(config={"placeholder": "Ask"}, rateLimitPerHour=50)
    before = sandbox.token(path)
    response = sandbox.http.put(path, json={"name": "Renamed", "config": {"welcomeMessage": "Hi"}, "isActive": False})
    assert set(response.json()) == {"clientToken", "warnings"}
    after = sandbox.token(path)
    changed = {field for field in before if before[field] != after[field]}
    assert changed == {"name", "config", "isActive", "updatedAt"}
    assert after["config"] == {"welcomeMessage": "Hi"}


def test_every_update_has_a_later_updated_at(sandbox: Sandbox) -> None:
    path = sandbox.made()
    stamps = [sandbox.token(path)["updatedAt"]]
    for _ in range(5):
        stamps.append(sandbox.http.put(path, json={}).json()["clientToken"]["updatedAt"])
    stamps.append(sandbox.http.post(f"{path}/regenerate").json()["clientToken"]["updatedAt"])
    assert stamps == sorted(set(stamps))


def test_null_clears_targets_and_default_flow(sandbox: Sandbox) -> None:
    path = sandbox.made(flowIds=[FLOW], defaultFlowId=FLOW, targetVersionId=VERSION)
    switch = {"targetVersionId": None, "targetAlias": "live", "defaultFlowId": None}
    token = sandbox.http.put(path, json=switch).json()["clientToken"]
    assert {field: token[field] for field in switch} == switch
    assert sandbox.http.put(path, json={"targetAlias": None}).json()["clientToken"]["targetAlias"] is None


def test_an_update_may_replace_agents_and_flows(sandbox: Sandbox) -> None:
    path = sandbox.made(flowIds=[FLOW], defaultFlowId=FLOW)
    change = {"flowIds": [OTHER_FLOW], "defaultFlowId": OTHER_FLOW, "agentIds": [OTHER_AGENT]}
    token = sandbox.http.put(path, json=change).json()["clientToken"]
    assert {field: token[field] for field in change} == change


def test_a_deleted_token_is_gone(sandbox: Sandbox) -> None:
    path = sandbox.made()
    response = sandbox.http.delete(path)
    assert (response.status_code, response.json()) == (200, {"success": True, "message": "Client token deleted"})
    again = [sandbox.http.delete(path), sandbox.http.get(path), sandbox.http.get(f"{path}/token")]
    assert {(r.status_code, r.json()["error"]) for r in again} == {(404, "Client token not found")}
    assert sandbox.http.get(TOKENS).json() == {"clientTokens": []}


def test_the_value_can_be_read_again(sandbox: Sandbox) -> None:
    answer = sandbox.create()
    response = sandbox.http.get(f"{TOKENS}/{answer['clientToken']['id']}/token")
    assert response.json() == {"token": answer["token"]}


def test_a_regenerated_token_keeps_its_settings_and_loses_its_old_value(sandbox: Sandbox) -> None:
    old = sandbox.create(config={"placeholder": "Ask"}, flowIds=[FLOW])
    path = f"{TOKENS}/{old['clientToken']['id']}"
    before = sandbox.token(path)
    answer = sandbox.http.post(f"{path}/regenerate").json()
    assert set(answer) == {"clientToken", "token", "message"}
    assert set(answer["clientToken"]) == REDUCED
    assert answer["token"] != old["token"]
    assert answer["clientToken"]["tokenHint"] == answer["token"][-4:]
    assert sandbox.http.get(f"{path}/token").json() == {"token": answer["token"]}
    assert old["token"] not in sandbox.http.get(TOKENS).text
    after = sandbox.token(path)
    assert {field for field in before if before[field] != after[field]} == {"tokenHint", "updatedAt"}


def test_each_regeneration_makes_another_value(sandbox: Sandbox) -> None:
    path = sandbox.made()
    assert len({sandbox.http.post(f"{path}/regenerate").json()["token"] for _ in range(3)}) == 3


def test_a_legacy_value_is_refused_with_a_hint_until_regenerated(sandbox: Sandbox) -> None:
    path = sandbox.made()
    record = sandbox.store.newest_first()[0]
    sandbox.store.put(Record(record.token, None))
    response = sandbox.http.get(f"{path}/token")
    assert response.status_code == 400
    assert set(response.json()) == {"error", "hint"}
    assert "/regenerate" in response.json()["hint"]
    fresh = sandbox.http.post(f"{path}/regenerate").json()["token"]
    assert sandbox.http.get(f"{path}/token").json() == {"token": fresh}


def _with_conversations(sandbox: Sandbox, n: int) -> str:
    path = sandbox.made()
    record = sandbox.store.newest_first()[0]
    entries = [{"id": f"conv_{i}", "flowId": FLOW if i % 3 == 0 else OTHER_FLOW} for i in range(n)]
    sandbox.store.put(Record(record.token, record.value, entries))
    return f"{path}/conversations"


def test_conversations_come_in_pages_of_25_unless_asked(sandbox: Sandbox) -> None:
    path = _with_conversations(sandbox, 30)
    first = sandbox.http.get(path).json()
    assert len(first["conversations"]) == 25
    assert first["pagination"] == {"limit": 25, "offset": 0, "hasMore": True}
    rest = sandbox.http.get(path, params={"limit": 100, "offset": 25}).json()
    assert [entry["id"] for entry in rest["conversations"]] == [f"conv_{i}" for i in range(25, 30)]
    assert rest["pagination"] == {"limit": 100, "offset": 25, "hasMore": False}
    assert sandbox.token(path.removesuffix("/conversations"))["conversationCount"] == 30


def test_conversations_can_be_limited_to_a_flow(sandbox: Sandbox) -> None:
    path = _with_conversations(sandbox, 9)
    answer = sandbox.http.get(path, params={"flow_id": FLOW, "limit": 2}).json()
    assert [entry["id"] for entry in answer["conversations"]] == ["conv_0", "conv_3"]
    assert answer["pagination"]["hasMore"] is True
    camel = sandbox.http.get(path, params={"flowId": FLOW}).json()
    assert len(camel["conversations"]) == 9, "only the documented snake_case filter works"


@pytest.mark.parametrize(
    ("environment", "origin", "warning"),
    [
        ("live", "*", "wildcard_origin"),
        ("test", "*", "wildcard_origin"),
        ("live", "native", "native_origin"),
        ("live", "http://shop.example", "insecure_origin"),
        ("live", "http://localhost:3000", "localhost_origin"),
        ("live", "https://127.0.0.1", "localhost_origin"),
        ("live", "http://localhost.shop.example", "insecure_origin"),
        ("test", "http://localhost:3000", None),
        ("test", "http://shop.example", None),
        ("live", "https://*.shop.example", None),
    ],
)
def test_risky_origins_are_warned_about(sandbox: Sandbox, environment: str, origin: str, warning: str | None) -> None:
    answer = sandbox.create(environment=environment, allowedOrigins=["https://fine.example", origin])
    assert all(set(entry) == {"type", "message"} for entry in answer["warnings"])
    assert [entry["type"] for entry in answer["warnings"]] == ([warning] if warning else [])
    path = f"{TOKENS}/{answer['clientToken']['id']}"
    assert sandbox.http.put(path, json={}).json()["warnings"] == answer["warnings"]


def test_every_answer_has_a_request_id_of_its_own(sandbox: Sandbox) -> None:
    paths = [TOKENS, f"{TOKENS}/ct_01kunknown", "/v1/unknown"]
    ids = {sandbox.http.get(path).headers["x-request-id"] for path in paths}
    assert len(ids) == len(paths)


def test_half_a_surrogate_pair_survives_the_journey(sandbox: Sandbox) -> None:
    body = b'{"name":"\\ud83e ok","allowedOrigins":["https://a.example"],"agentIds":["%b"]}' % AGENT.encode()
    answer = sandbox.http.post(TOKENS, content=body).json()
    assert answer["clientToken"]["name"] == "\ud83e ok"


@pytest.mark.anyio
async def test_the_app_also_works_without_a_socket() -> None:
    transport = httpx.ASGITransport(app=create_app())
    headers = {"authorization": "Bearer rt_x"}
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers) as http:
        assert len((await http.get(TOKENS, params={"limit": 3})).json()["clientTokens"]) == 3
        assert (await http.get(f"{TOKENS}/ct_a%2Ftoken")).json() == {"error": "Invalid client token ID"}
