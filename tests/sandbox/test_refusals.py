"""What the API refuses, and in which words, over real HTTP."""

from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.sandbox.store import Record, Store

from .conftest import AGENT, FLOW, OTHER_AGENT, OTHER_FLOW, TOKENS, VERSION, Sandbox, problems

SHOP = {"name": "Shop", "allowedOrigins": ["https://shop.example"], "agentIds": [AGENT]}
LIMITS = {
    "rateLimitPerMinute": 1000,
    "rateLimitPerHour": 10_000,
    "maxMessagesPerSession": 1000,
    "sessionIdleTimeoutMinutes": 1440,
}

WRONG_EITHER_WAY: list[tuple[str, Any, str]] = [
    ("name", "", "MISSING_REQUIRED_FIELD"),
    ("name", "n" * 256, "OUT_OF_RANGE"),
    ("name", None, "INVALID_TYPE"),
    ("name", 7, "INVALID_TYPE"),
    ("allowedOrigins", [], "MISSING_REQUIRED_FIELD"),
    ("allowedOrigins", "https://shop.example", "INVALID_TYPE"),
    ("agentIds", None, "INVALID_TYPE"),
    ("config", [], "INVALID_TYPE"),
    ("config", None, "INVALID_TYPE"),
    ("pinToVersion", VERSION, "INVALID_VALUE"),
    ("targetAlias", 5, "INVALID_TYPE"),
    ("defaultFlowId", OTHER_FLOW, "INVALID_VALUE"),
    *((limit, value, "OUT_OF_RANGE") for limit in LIMITS for value in (0, -1)),
    *((limit, highest + 1, "OUT_OF_RANGE") for limit, highest in LIMITS.items()),
    *((limit, value, "INVALID_TYPE") for limit in LIMITS for value in ("10", 1.5, True, None)),
]


@pytest.mark.parametrize(("field", "value", "code"), WRONG_EITHER_WAY)
def test_a_wrong_field_is_named_on_create_and_update(sandbox: Sandbox, field: str, value: Any, code: str) -> None:
    body = SHOP | {"flowIds": [FLOW], field: value}
    assert problems(sandbox.http.post(TOKENS, json=body)) == {field: code}
    assert len(sandbox.store) == 0
    path = sandbox.made(flowIds=[FLOW])
    before = sandbox.token(path)
    assert problems(sandbox.http.put(path, json={field: value})) == {field: code}
    assert sandbox.token(path) == before


@pytest.mark.parametrize(("field", "highest"), LIMITS.items())
def test_both_ends_of_a_limit_are_accepted(sandbox: Sandbox, field: str, highest: int) -> None:
    for name, value in (("n", 1), ("n" * 255, highest)):
        token = sandbox.create(**{"name": name, field: value})["clientToken"]
        assert (token["name"], token[field]) == (name, value)


@pytest.mark.parametrize("missing", ["name", "allowedOrigins"])
def test_name_and_origins_are_required(sandbox: Sandbox, missing: str) -> None:
    body = {field: value for field, value in SHOP.items() if field != missing}
    assert problems(sandbox.http.post(TOKENS, json=body)) == {missing: "MISSING_REQUIRED_FIELD"}


def test_all_problems_come_at_once_and_point_into_lists(sandbox: Sandbox) -> None:
    body = {"allowedOrigins": ["https://a.example", ""], "agentIds": [3], "environment": "prod"}
    assert problems(sandbox.http.post(TOKENS, json=body)) == {
        "name": "MISSING_REQUIRED_FIELD",
        "allowedOrigins.1": "MISSING_REQUIRED_FIELD",
        "agentIds.0": "INVALID_TYPE",
        "environment": "INVALID_ENUM",
    }


def test_snake_case_is_not_camel_case(sandbox: Sandbox) -> None:
    body = {"name": "Shop", "allowed_origins": ["https://shop.example"], "agent_ids": [AGENT]}
    assert set(problems(sandbox.http.post(TOKENS, json=body))) == {"allowedOrigins", "agentIds"}


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b'"text"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(sandbox: Sandbox, content: bytes) -> None:
    assert problems(sandbox.http.post(TOKENS, content=content)) == {"": "INVALID_TYPE"}
    assert problems(sandbox.http.put(sandbox.made(), content=content)) == {"": "INVALID_TYPE"}


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[" * 100 + "]" * 100])
def test_a_body_that_could_not_be_sent_back_is_refused(sandbox: Sandbox, value: str) -> None:
    body = f'{{"config":{{"x":{value}}}}}'
    assert problems(sandbox.http.put(sandbox.made(), content=body)) == {"": "INVALID_TYPE"}


def test_a_body_may_be_nested_100_levels_deep_even_when_a_file_keeps_it(sandbox: Sandbox, tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(99):
        deep = {"x": deep}
    sandbox.store = Store(tmp_path / "data.json")
    sandbox.install()
    assert sandbox.token(sandbox.made(config=deep))["config"] == deep
    assert len(Store(tmp_path / "data.json")) == 1
    deep = {"x": deep}
    assert problems(sandbox.http.put(sandbox.made(), json={"config": deep})) == {"": "INVALID_TYPE"}


@pytest.mark.parametrize("nothing", [{}, {"agentIds": [], "flowIds": []}])
def test_a_new_token_needs_something_to_run(sandbox: Sandbox, nothing: dict[str, Any]) -> None:
    body = {"name": "Shop", "allowedOrigins": ["*"]} | nothing
    assert problems(sandbox.http.post(TOKENS, json=body)) == {"agentIds": "MISSING_REQUIRED_FIELD"}


def test_an_update_leaves_something_to_run(sandbox: Sandbox) -> None:
    path = sandbox.made(flowIds=[FLOW])
    assert problems(sandbox.http.put(path, json={"flowIds": []})) == {"flowIds": "MISSING_REQUIRED_FIELD"}
    assert sandbox.http.put(path, json={"agentIds": []}).status_code == 200
    only_agents = sandbox.made()
    assert problems(sandbox.http.put(only_agents, json={"agentIds": []})) == {"agentIds": "MISSING_REQUIRED_FIELD"}
    assert sandbox.token(only_agents)["agentIds"] == [AGENT]


def test_a_token_that_never_ran_anything_can_be_renamed(sandbox: Sandbox) -> None:
    path = sandbox.made()
    record = sandbox.store.newest_first()[0]
    sandbox.store.put(Record(record.token | {"agentIds": []}, record.value))
    assert sandbox.http.put(path, json={"name": "New"}).json()["clientToken"]["name"] == "New"


def test_an_alias_excludes_a_version_on_the_merged_token(sandbox: Sandbox) -> None:
    both = {"targetAlias": "live", "targetVersionId": VERSION}
    refusal = {"targetVersionId": "MUTUALLY_EXCLUSIVE"}
    assert problems(sandbox.http.post(TOKENS, json=SHOP | both)) == refusal
    path = sandbox.made(targetAlias="live")
    assert problems(sandbox.http.put(path, json={"targetVersionId": VERSION})) == refusal
    switch = {"targetAlias": None, "targetVersionId": VERSION}
    assert sandbox.http.put(path, json=switch).json()["clientToken"]["targetVersionId"] == VERSION


def test_a_pinned_version_needs_exactly_one_agent_on_the_merged_token(sandbox: Sandbox) -> None:
    refusal = {"agentIds": "INVALID_COMBINATION"}
    two = SHOP | {"agentIds": [AGENT, OTHER_AGENT], "targetVersionId": VERSION}
    none = SHOP | {"agentIds": [], "flowIds": [FLOW], "targetVersionId": VERSION}
    assert problems(sandbox.http.post(TOKENS, json=two)) == refusal
    assert problems(sandbox.http.post(TOKENS, json=none)) == refusal
    path = sandbox.made(targetVersionId=VERSION)
    assert problems(sandbox.http.put(path, json={"agentIds": [AGENT, OTHER_AGENT]})) == refusal
    wide = sandbox.made(agentIds=[AGENT, OTHER_AGENT])
    assert problems(sandbox.http.put(wide, json={"targetVersionId": VERSION})) == refusal


def test_a_default_flow_stays_among_the_flows(sandbox: Sandbox) -> None:
    path = sandbox.made(flowIds=[FLOW], defaultFlowId=FLOW)
    assert problems(sandbox.http.put(path, json={"flowIds": [OTHER_FLOW]})) == {"defaultFlowId": "INVALID_VALUE"}


def test_an_update_may_echo_the_agent_version_that_is_stored_as_pin(sandbox: Sandbox) -> None:
    path = sandbox.made()
    record = sandbox.store.newest_first()[0]
    sandbox.store.put(Record(record.token | {"pinToVersion": VERSION}, record.value))
    assert sandbox.http.put(path, json={"pinToVersion": VERSION, "name": "New"}).status_code == 200
    other = sandbox.http.put(path, json={"pinToVersion": VERSION + "x"})
    assert problems(other) == {"pinToVersion": "INVALID_VALUE"}


@pytest.mark.parametrize(("field", "value"), [("environment", "test"), ("productSurfaceId", "surf_1")])
def test_an_immutable_field_is_refused(sandbox: Sandbox, field: str, value: str) -> None:
    path = sandbox.made()
    before = sandbox.token(path)
    assert problems(sandbox.http.put(path, json={field: value, "name": "New"})) == {field: "IMMUTABLE_FIELD"}
    assert sandbox.token(path) == before


@pytest.mark.parametrize(
    ("field", "reference", "error"),
    [
        ("flowIds", "flow_unknown01", "Referenced flow not found"),
        ("flowIds", "flow-1234abcd", "Referenced flow not found"),
        ("flowIds", "flow_abc", "Referenced flow not found"),
        ("agentIds", "agent_unknown", "Referenced agent not found"),
        ("agentIds", FLOW, "Referenced agent not found"),
    ],
)
def test_an_unknown_reference_is_not_found(sandbox: Sandbox, field: str, reference: str, error: str) -> None:
    known = FLOW if field == "flowIds" else AGENT
    body = {field: [known, reference]}
    path = sandbox.made()
    answers = [sandbox.http.post(TOKENS, json=SHOP | body), sandbox.http.put(path, json=body)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, {"error": error})] * 2
    assert len(sandbox.store) == 1


@pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", "1.5", "", "+5", "1e2", "٣", "9" * 30])
def test_a_list_limit_is_digits_from_1_to_200(sandbox: Sandbox, limit: str) -> None:
    assert problems(sandbox.http.get(TOKENS, params={"limit": limit})) == {"limit": "OUT_OF_RANGE"}


def test_a_list_limit_of_200_is_accepted(sandbox: Sandbox) -> None:
    assert sandbox.http.get(TOKENS, params={"limit": 200}).json()["pagination"]["limit"] == 200


@pytest.mark.parametrize("offset", ["-1", "x", ""])
def test_an_offset_is_digits(sandbox: Sandbox, offset: str) -> None:
    assert problems(sandbox.http.get(TOKENS, params={"offset": offset})) == {"offset": "OUT_OF_RANGE"}


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_a_conversations_limit_is_digits_from_1_to_100(sandbox: Sandbox, limit: str) -> None:
    response = sandbox.http.get(f"{sandbox.made()}/conversations", params={"limit": limit})
    assert problems(response) == {"limit": "OUT_OF_RANGE"}
    assert response.json()["error"] == "Invalid parameters"


ON_ONE = [
    ("GET", ""),
    ("PUT", ""),
    ("DELETE", ""),
    ("GET", "/token"),
    ("POST", "/regenerate"),
    ("GET", "/conversations"),
]


@pytest.mark.parametrize(("method", "rest"), ON_ONE)
def test_a_malformed_id_differs_from_an_unknown_one(sandbox: Sandbox, method: str, rest: str) -> None:
    for malformed in ("nonsense", "ct_live_flow01k7_00", "ct_test_x", "ct_", "ct_a%2Ftoken", "ct_a%20b", "..%2Fct_a"):
        response = sandbox.http.request(method, f"{TOKENS}/{malformed}{rest}", json={})
        assert (response.status_code, response.json()) == (400, {"error": "Invalid client token ID"})
    response = sandbox.http.request(method, f"{TOKENS}/ct_01kunknown{rest}", json={})
    assert (response.status_code, response.json()) == (404, {"error": "Client token not found"})


def test_an_encoded_slash_does_not_reach_another_endpoint(sandbox: Sandbox) -> None:
    path = sandbox.made()
    assert sandbox.http.get(f"{path}%2Ftoken").json() == {"error": "Invalid client token ID"}


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer xx_live_1", "Basic rt_live_1", "rt_live_1"])
def test_a_call_without_a_known_key_is_unauthorized(sandbox: Sandbox, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    del sandbox.http.headers["authorization"]
    try:
        response = sandbox.http.get(TOKENS, headers=headers)
    finally:
        sandbox.http.headers["authorization"] = "Bearer rt_test_1"
    assert (response.status_code, response.json()) == (401, {"error": "Unauthorized"})
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_only_the_given_keys_work_when_keys_are_given(sandbox: Sandbox) -> None:
    sandbox.install(keys={"oauth-token"})
    assert sandbox.http.get(TOKENS).status_code == 401
    assert sandbox.http.get(TOKENS, headers={"authorization": "bearer oauth-token"}).status_code == 200


def test_a_read_only_key_reads_and_does_not_write(sandbox: Sandbox) -> None:
    path, headers = sandbox.made(), {"authorization": "Bearer rt_test_read_only"}
    before = sandbox.token(path)
    for method, target in [("POST", TOKENS), *((method, path + rest) for method, rest in ON_ONE if method != "GET")]:
        response = sandbox.http.request(method, target, json=SHOP, headers=headers)
        assert (response.status_code, response.json()) == (403, {"error": "Insufficient permissions"})
    assert [sandbox.http.get(path + rest, headers=headers).status_code for rest in ("", "/token")] == [200, 200]
    assert sandbox.token(path) == before
    assert len(sandbox.store) == 1


def test_a_key_without_the_right_to_delete_does_all_else(sandbox: Sandbox) -> None:
    path, headers = sandbox.made(), {"authorization": "Bearer rt_test_no_delete"}
    response = sandbox.http.delete(path, headers=headers)
    assert (response.status_code, response.json()) == (403, {"error": "Insufficient permissions"})
    for method, rest in ON_ONE:
        if method != "DELETE":
            assert sandbox.http.request(method, path + rest, json={}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/client-token", f"{TOKENS}/", f"{TOKENS}/ct_a/tokens"])
def test_other_paths_are_not_found(sandbox: Sandbox, path: str) -> None:
    for headers in ({}, {"authorization": "no key"}):
        response = sandbox.http.get(path, headers=headers)
        assert (response.status_code, response.json()) == (404, {"error": "Not found"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", TOKENS, {"GET", "POST"}),
        ("PATCH", f"{TOKENS}/ct_a", {"GET", "PUT", "DELETE"}),
        ("GET", f"{TOKENS}/ct_a/regenerate", {"POST"}),
    ],
)
def test_other_methods_are_refused_with_those_that_work(
    sandbox: Sandbox, method: str, path: str, allowed: set[str]
) -> None:
    response = sandbox.http.request(method, path)
    assert response.status_code == 405
    assert allowed <= {name.strip() for name in response.headers["allow"].split(",")}
