"""Faults on demand, over real HTTP: what the caller sees, and whether the operation happened."""

from typing import Any, get_args

import httpx2 as httpx
import pytest

from runtype_mcp.sandbox.faults import Faults, Kind
from runtype_mcp.sandbox.seed import seed_many

from .conftest import AGENT, TOKENS, Sandbox

SHOP = {"name": "Shop", "allowedOrigins": ["https://shop.example"], "agentIds": [AGENT]}
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
REPLACING: list[Kind] = ["status", "html_502", "plain_text", "empty", "wrong_shape"]
SPOILING: list[Kind] = ["truncated_json", "extra_fields", "legacy_list"]


@pytest.mark.parametrize(
    ("options", "status", "body"),
    [
        ({}, 500, {"error": "Internal Server Error"}),
        ({"status": 401}, 401, {"error": "Unauthorized"}),
        ({"status": 403, "body": {"error": {"code": "x"}}}, 403, {"error": {"code": "x"}}),
        ({"status": 429, "headers": {"Retry-After": "2"}}, 429, {"error": "Too Many Requests"}),
        ({"status": 503, "headers": {"Retry-After": DATE}}, 503, {"error": "Service Unavailable"}),
    ],
)
def test_a_status_comes_with_its_body_and_headers(
    sandbox: Sandbox, options: dict[str, Any], status: int, body: Any
) -> None:
    sandbox.faults.add("status", **options)
    response = sandbox.http.get(TOKENS)
    assert (response.status_code, response.json()) == (status, body)
    assert response.headers.get("retry-after") == options.get("headers", {}).get("Retry-After")
    assert "x-request-id" in response.headers


def test_a_gateway_answers_with_a_page(sandbox: Sandbox) -> None:
    sandbox.faults.add("html_502")
    response = sandbox.http.get(TOKENS)
    assert response.status_code == 502
    assert response.headers["content-type"].startswith("text/html")
    assert "502 Bad Gateway" in response.text


def test_plain_text_and_nothing_are_no_json(sandbox: Sandbox) -> None:
    sandbox.faults.add("plain_text")
    sandbox.faults.add("plain_text", status=200)
    sandbox.faults.add("empty")
    sandbox.faults.add("empty", status=503)
    responses = [sandbox.http.get(TOKENS) for _ in range(4)]
    assert [response.status_code for response in responses] == [500, 200, 200, 503]
    assert [response.text for response in responses] == ["upstream connect error"] * 2 + [""] * 2
    assert responses[0].headers["content-type"].startswith("text/plain")


def test_truncated_json_has_a_true_length_and_half_of_the_text(sandbox: Sandbox) -> None:
    whole = sandbox.http.get(TOKENS)
    sandbox.faults.add("truncated_json")
    cut = sandbox.http.get(TOKENS)
    assert cut.status_code == 200
    assert cut.content == whole.content[: len(whole.content) // 2]
    assert int(cut.headers["content-length"]) == len(cut.content)
    with pytest.raises(ValueError):
        cut.json()


@pytest.mark.parametrize("body", [None, {"clientTokens": 5}, "text", 0])
def test_a_wrong_shape_is_valid_json(sandbox: Sandbox, body: Any) -> None:
    sandbox.faults.add("wrong_shape", body=body)
    response = sandbox.http.get(TOKENS)
    assert (response.status_code, response.json()) == (200, [] if body is None else body)


def test_extra_fields_appear_in_every_object_but_config(sandbox: Sandbox) -> None:
    path = sandbox.made(config={"theme": {"mode": "dark"}})
    sandbox.faults.add("extra_fields", times=2)
    one, many = (sandbox.http.get(target).json() for target in (path, f"{TOKENS}?limit=1"))
    assert all(
        "addedLater" in value for value in (one, one["clientToken"], many["clientTokens"][0], many["pagination"])
    )
    assert one["clientToken"]["config"] == {"theme": {"mode": "dark"}}


def test_a_legacy_list_ignores_the_query(sandbox: Sandbox) -> None:
    seed_many(sandbox.store, 4)
    sandbox.faults.add("legacy_list")
    answer = sandbox.http.get(TOKENS, params={"limit": 2, "offset": 2}).json()
    assert set(answer) == {"clientTokens"}
    assert len(answer["clientTokens"]) == 4
    assert sandbox.received[-1][1] == f"{TOKENS}?limit=2&offset=2"


@pytest.mark.parametrize("kind", REPLACING)
def test_a_replaced_answer_means_nothing_happened_unless_after_commit(sandbox: Sandbox, kind: Kind) -> None:
    sandbox.faults.add(kind)
    sandbox.http.post(TOKENS, json=SHOP)
    assert len(sandbox.store) == 0
    sandbox.faults.add(kind, after_commit=True)
    lost = sandbox.http.post(TOKENS, json=SHOP)
    assert lost.status_code != 201
    assert len(sandbox.store) == 1


@pytest.mark.parametrize("kind", SPOILING)
def test_a_spoiled_answer_means_it_happened(sandbox: Sandbox, kind: Kind) -> None:
    sandbox.faults.add(kind)
    assert sandbox.http.post(TOKENS, json=SHOP).status_code == 201
    assert len(sandbox.store) == 1


def test_a_lost_regeneration_still_killed_the_old_value(sandbox: Sandbox) -> None:
    path = sandbox.made()
    old = sandbox.http.get(f"{path}/token").json()
    sandbox.faults.add("html_502", path="/regenerate", after_commit=True)
    assert sandbox.http.post(f"{path}/regenerate").status_code == 502
    assert sandbox.http.get(f"{path}/token").json() != old


def test_a_slow_answer_is_the_real_one(sandbox: Sandbox) -> None:
    sandbox.faults.add("slow", seconds=0.01)
    sandbox.faults.add("slow", seconds=0.01, after_commit=True)
    assert [sandbox.http.post(TOKENS, json=SHOP).status_code for _ in range(2)] == [201, 201]
    assert len(sandbox.store) == 2


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_caller_who_hangs_up_got_it_done_only_after_commit(sandbox: Sandbox, after_commit: bool) -> None:
    sandbox.faults.add("slow", seconds=60, after_commit=after_commit)
    with pytest.raises(httpx.ReadTimeout):
        sandbox.http.post(TOKENS, json=SHOP, timeout=httpx.Timeout(10, read=0.25))
    assert sandbox.http.get(TOKENS).status_code == 200, "the next call is not held up"
    assert len(sandbox.store) == after_commit


def test_a_rule_applies_to_its_method_and_path_and_so_many_times(sandbox: Sandbox) -> None:
    path = sandbox.made()
    sandbox.faults.add("status", status=503, method="GET", path="/token", times=2)
    calls = [("POST", "/regenerate"), ("GET", ""), ("GET", "/token"), ("GET", "/token"), ("GET", "/token")]
    assert [sandbox.http.request(method, path + rest).status_code for method, rest in calls] == [
        *(200, 200, 503, 503, 200)
    ]


def test_a_rule_may_be_for_one_page(sandbox: Sandbox) -> None:
    seed_many(sandbox.store, 4)
    sandbox.faults.add("status", path="offset=2")
    statuses = [sandbox.http.get(TOKENS, params={"limit": 2, "offset": n}).status_code for n in (0, 2, 2)]
    assert statuses == [200, 500, 200]


def test_rules_apply_in_the_order_they_were_added(sandbox: Sandbox) -> None:
    for status in (429, 500, 503):
        sandbox.faults.add("status", status=status)
    assert [sandbox.http.get(TOKENS).status_code for _ in range(4)] == [429, 500, 503, 200]


def test_a_misspelt_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="not a kind of fault; there are status,"):
        Faults().add("http_502")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(TypeError, match="secnods"):
        Faults().add("slow", secnods=1)


def test_every_kind_is_tested_above() -> None:
    assert {*REPLACING, *SPOILING, "slow"} == set(get_args(Kind))
