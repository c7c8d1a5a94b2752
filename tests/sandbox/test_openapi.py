"""The sandbox's own description: a valid document, and a true one. `tests/outside` tries it with made-up requests."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from starlette.routing import Route

import runtype_mcp.sandbox
from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.seed import seed

from .conftest import AGENT, FLOW, TOKENS, Sandbox

DOCUMENT: dict[str, Any] = json.loads(Path(runtype_mcp.sandbox.__path__[0], "openapi.json").read_text())
COMPONENTS: dict[str, dict[str, Any]] = DOCUMENT["components"]
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
ONE = f"{TOKENS}/{{id}}"


def _is_a_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


FORMATS = FormatChecker(formats=())
FORMATS.checks("date-time", raises=ValueError)(_is_a_moment)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(inner)


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in sorted(METHODS & item.keys()):
            yield method.upper(), path, item[method]


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    _, _, kind, name = node["$ref"].split("/")
    found: dict[str, Any] = COMPONENTS[kind][name]
    return found


def _properties(schema: str) -> set[str]:
    described = COMPONENTS["schemas"][schema]
    parents = (parent["$ref"].rpartition("/")[2] for parent in described.get("allOf", ()))
    return set(described["properties"]).union(*map(_properties, parents))


def _conforms(response: httpx.Response, method: str, path: str) -> Any:
    """The answer's body, which has been checked against the description of this operation and status."""
    described = _resolved(DOCUMENT["paths"][path][method.lower()]["responses"][str(response.status_code)])
    assert response.headers["content-type"] in described["content"]
    for name, header in described.get("headers", {}).items():
        assert name in response.headers or not header.get("required")
    schema = described["content"]["application/json"]["schema"] | {"components": COMPONENTS}
    Draft202012Validator(schema, format_checker=FORMATS).validate(response.json())
    return response.json()


@pytest.mark.parametrize("name", COMPONENTS["schemas"])
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(COMPONENTS["schemas"][name])


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = {node["$ref"] for node in _nodes(DOCUMENT) if "$ref" in node}
    components = {kind: COMPONENTS[kind] for kind in ("parameters", "responses", "schemas")}
    assert used == {f"#/components/{kind}/{name}" for kind, named in components.items() for name in named}


def test_operation_ids_are_unique_and_links_name_them() -> None:
    ids = [operation["operationId"] for _, _, operation in _operations()]
    assert len(set(ids)) == len(ids) == 10
    links = [link for node in _nodes(DOCUMENT["paths"]) for link in node.get("links", {}).values()]
    assert links
    assert {link["operationId"] for link in links} <= set(ids)


def test_a_path_declares_the_parameters_in_its_name() -> None:
    for path, item in DOCUMENT["paths"].items():
        declared = [_resolved(parameter) for parameter in item.get("parameters", ())]
        assert [f"{{{p['name']}}}" for p in declared if p["in"] == "path" and p["required"]] == (
            ["{id}"] if "{" in path else []
        )


def test_it_is_served_to_anybody(sandbox: Sandbox) -> None:
    response = httpx.get(f"{sandbox.url}/openapi.json")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == DOCUMENT


def test_it_describes_every_route_and_nothing_else() -> None:
    routes = [route for route in create_app().routes if isinstance(route, Route) and route.path != "/openapi.json"]
    served = {(method, route.path) for route in routes for method in route.methods or ()}
    assert {route for route in served if route[0] != "HEAD"} == {(method, path) for method, path, _ in _operations()}


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_any_other_method_is_refused_with_those_that_work(sandbox: Sandbox, path: str) -> None:
    allowed = {method for method, described, _ in _operations() if described == path}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    for method in {*map(str.upper, METHODS), "QUERY"} - allowed:
        response = sandbox.http.request(method, path.replace("{id}", "ct_01k"))
        assert response.status_code == 405
        assert response.text == ("" if method == "HEAD" else '{"error":"Method not allowed"}')
        assert set(response.headers["allow"].split(", ")) == allowed


def test_the_defaults_are_those_of_a_new_token(sandbox: Sandbox) -> None:
    properties = COMPONENTS["schemas"]["CreateClientToken"]["properties"]
    promised = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    body = {"name": "Shop", "allowedOrigins": ["https://shop.example"]}
    runs: list[dict[str, Any]] = [{"agentIds": [AGENT]}, {"flowIds": [FLOW]}]
    plain = [sandbox.http.post(TOKENS, json=body | run).json()["clientToken"] for run in runs]
    assert promised.keys() >= {"environment", "pinToVersion", "config", "rateLimitPerHour"}
    assert not promised.keys() & body.keys()
    for name, default in promised.items():
        assert default in [token[name] for token in plain], name


def test_seeded_reads_are_as_described(sandbox: Sandbox) -> None:
    seed(sandbox.store)
    get = sandbox.http.get
    whole = _conforms(get(TOKENS), "GET", TOKENS)
    page = _conforms(get(TOKENS, params={"limit": 3, "offset": 2}), "GET", TOKENS)
    assert (len(whole["clientTokens"]), len(page["clientTokens"]), "pagination" in page) == (16, 3, True)
    statuses = set()
    for token in whole["clientTokens"]:
        path = f"{TOKENS}/{token['id']}"
        _conforms(get(path), "GET", ONE)
        _conforms(get(f"{path}/conversations", params={"limit": 100}), "GET", f"{ONE}/conversations")
        value = get(f"{path}/token")
        _conforms(value, "GET", f"{ONE}/token")
        statuses.add(value.status_code)
    assert statuses == {200, 400}, "a value is read, and one is too old to be read"


def test_writes_are_as_described(sandbox: Sandbox) -> None:
    seed(sandbox.store)
    body = {"name": "Shop", "allowedOrigins": ["*"], "flowIds": [FLOW], "defaultFlowId": FLOW, "config": {"a": [1]}}
    made = _conforms(sandbox.http.post(TOKENS, json=body), "POST", TOKENS)
    assert made["warnings"]
    for token in sandbox.http.get(TOKENS).json()["clientTokens"]:
        path = f"{TOKENS}/{token['id']}"
        _conforms(sandbox.http.put(path, json={"name": "New"}), "PUT", ONE)
        _conforms(sandbox.http.post(f"{path}/regenerate"), "POST", f"{ONE}/regenerate")
        _conforms(sandbox.http.delete(path), "DELETE", ONE)


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in _operations()])
def test_refusals_are_as_described(sandbox: Sandbox, method: str, path: str) -> None:
    def status(token_id: str, query: str = "", body: object = None, key: str = "rt_test_1") -> int:
        url = path.replace("{id}", token_id) + query
        response = sandbox.http.request(method, url, json=body, headers={"authorization": f"Bearer {key}"})
        _conforms(response, method, path)
        return response.status_code

    known = sandbox.made().rpartition("/")[2]
    assert status(known, key="nobody") == 401
    if method != "GET":
        assert status(known, key="rt_test_read_only") == 403
    if "{id}" in path:
        assert status("nonsense") == 400
        assert status("ct_01kunknown") == 404
    if method in ("POST", "PUT") and "regenerate" not in path:
        assert status(known, body={"name": ""}) == 400
        assert status(known, body={"name": "New", "allowedOrigins": ["*"], "flowIds": ["flow_unknown1"]}) == 404
    if method == "GET" and path in (TOKENS, f"{ONE}/conversations"):
        assert status(known, query="?limit=0&offset=x") == 400


def test_every_field_of_an_answer_is_described(sandbox: Sandbox) -> None:
    seed(sandbox.store)
    # Clients have to live with fields that nobody told them of; the sandbox sends one, and so does not describe it.
    unknown = {"organizationId"}
    path = next(f"{TOKENS}/{r.token['id']}" for r in sandbox.store.newest_first() if len(r.conversations) > 30)
    regenerated = sandbox.http.post(f"{path}/regenerate").json()["clientToken"]
    assert set(sandbox.token(path)) == _properties("ClientToken") | unknown
    assert set(regenerated) == _properties("RegeneratedClientToken") | unknown
    conversations = sandbox.http.get(f"{path}/conversations").json()["conversations"]
    assert {field for entry in conversations for field in entry} == _properties("Conversation")
