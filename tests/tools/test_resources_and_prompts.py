"""What an assistant can read about the server itself, and the jobs that it is helped through."""

from __future__ import annotations

import re
from pathlib import Path

import mcp_types
import pytest
from mcp import MCPError

from runtype_mcp import __version__
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.resources import POLICY_URI, documents
from tests.support import KEY, Api, McpClient, mcp_client, seed_many

pytestmark = pytest.mark.anyio

CODES = {"is_active", "process", "env", "env_file"}
"""What else in a prompt looks like the name of something."""
TOOL_NAMES = {spec.name for spec in SPECS}


async def policy(model: McpClient) -> list[str]:
    """The policy, a line each."""
    (content,) = (await model.client.read_resource(POLICY_URI)).contents
    assert isinstance(content, mcp_types.TextResourceContents)
    assert (content.uri, content.mime_type) == (POLICY_URI, "text/plain")
    return content.text.splitlines()


async def read(api: Api, era: str, **environ: str) -> list[str]:
    async with mcp_client(api, era, None, **environ) as model:
        return await policy(model)


async def test_the_resources_are_listed(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        resources = {found.uri: found for found in (await model.client.list_resources()).resources}
        templates = (await model.client.list_resource_templates()).resource_templates
    assert resources.keys() >= {POLICY_URI, "runtype://client-tokens"}
    assert (resources[POLICY_URI].name, resources[POLICY_URI].title) == ("policy", "Policy in force")
    assert {found.uri_template for found in templates} == {"runtype://client-tokens/{id}", "runtype://docs/{page}"}
    ours = [found for uri, found in resources.items() if uri.startswith("runtype://")]
    assert all(found.description and found.title for found in ours)
    assert all(found.description and found.title for found in templates)


async def test_the_instructions_tell_the_policy_and_name_nothing_that_a_model_cannot_read(api: Api, era: str) -> None:
    async with mcp_client(api, "auto" if era != "legacy" else era) as model:
        assert model.client.instructions
        assert "Policy auto: " in model.client.instructions
        assert "://" not in model.client.instructions


async def test_the_policy_as_it_is_without_any_setting(api: Api, era: str) -> None:
    assert await read(api, era) == [
        f"runtype-mcp {__version__}, {api.url}",
        "API key: RUNTYPE_API_KEY",
        "Policy auto: confirm and the name are needed, and a person is asked where one can be.",
        "Gated calls are not recorded in an audit log.",
    ]
    assert not api.received  # nothing is asked of the API


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"RUNTYPE_MCP_APPROVAL": "human"}, "Policy human: a person must approve"),
        ({"RUNTYPE_MCP_APPROVAL": "flag"}, "Policy flag: confirm and the name are needed; no person is asked."),
        ({"RUNTYPE_MCP_APPROVAL": "deny"}, "Policy deny: calls with such effects are refused."),
        ({"RUNTYPE_MCP_APPROVAL_LIVE": "deny"}, "For live tokens: Policy deny"),
        ({"RUNTYPE_MCP_ENVIRONMENT": "test"}, "Only test tokens can be used."),
        ({"RUNTYPE_MCP_SECRETS": "file"}, "Values are delivered into files alone, never shown."),
        ({"RUNTYPE_MCP_AUDIT": "/tmp/audit.jsonl"}, "Gated calls are recorded in an audit log."),
        (
            {"RUNTYPE_MCP_TOOLS": "!delete_*"},
            "The operator's list of tools (RUNTYPE_MCP_TOOLS) leaves delete_client_token out.",
        ),
        ({"RUNTYPE_MCP_SANDBOX": "1"}, f"runtype-mcp {__version__}, the embedded sandbox"),
        ({"RUNTYPE_API_KEY": ""}, "API key: profile 'default' of runtype-mcp login"),
        ({"RUNTYPE_API_KEY": "", "RUNTYPE_API_KEY_FILE": "/a/key"}, "API key: RUNTYPE_API_KEY_FILE"),
    ],
    ids=str,
)
async def test_each_setting_is_in_the_policy(api: Api, era: str, environ: dict[str, str], line: str) -> None:
    plain = await read(api, era)
    assert not any(said.startswith(line) for said in plain)
    found = await read(api, era, **environ)
    assert any(said.startswith(line) for said in found), found


async def test_a_rung_that_is_the_same_for_live_tokens_is_said_once(api: Api, era: str) -> None:
    found = await read(api, era, RUNTYPE_MCP_APPROVAL="human", RUNTYPE_MCP_APPROVAL_LIVE="human")
    assert sum("Policy human" in line for line in found) == 1


async def test_read_only_names_every_tool_that_it_refuses(api: Api, era: str) -> None:
    found = await read(api, era, RUNTYPE_MCP_READ_ONLY="1")
    for endpoint in SPECS:
        assert any(f"and {endpoint.name} writes" in line for line in found) is endpoint.writes


async def test_the_policy_holds_no_secret_and_no_path(api: Api, era: str, tmp_path: Path) -> None:
    environ = {"RUNTYPE_MCP_AUDIT": str(tmp_path / "audit.jsonl"), "RUNTYPE_MCP_FILES_ROOT": str(tmp_path)}
    said = "\n".join(await read(api, era, **environ))
    assert KEY not in said
    assert str(tmp_path) not in said


async def test_an_unknown_resource_is_a_protocol_error(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        with pytest.raises(MCPError, match="Unknown resource"):
            await model.client.read_resource("runtype://else")
        assert await policy(model)


# Tokens and pages


async def text_at(model: McpClient, uri: str) -> str:
    (content,) = (await model.client.read_resource(uri)).contents
    assert isinstance(content, mcp_types.TextResourceContents)
    return content.text


def values(api: Api) -> list[str]:
    return [record.value for record in api.store.newest_first() if record.value]


async def test_all_tokens_are_a_line_each_and_without_values(api: Api, era: str) -> None:
    api.seeded()
    async with mcp_client(api, era) as model:
        text = await text_at(model, "runtype://client-tokens")
        listed = await model.text("list_client_tokens")
    assert text == listed, "the tool and the resource say the same"
    assert not any(value in text for value in values(api))


async def test_one_token_is_read_by_its_id_without_its_value(api: Api, era: str) -> None:
    api.seeded()
    async with mcp_client(api, era) as model:
        for record in api.store.newest_first()[:3]:
            text = await text_at(model, f"runtype://client-tokens/{record.token['id']}")
            assert text == await model.text("get_client_token", client_token=record.token["id"])
            assert not any(value in text for value in values(api))


async def test_a_long_list_is_cut_and_says_what_gives_the_others(api: Api, era: str) -> None:
    seed_many(api.store, 230)
    async with mcp_client(api, era) as model:
        lines = (await text_at(model, "runtype://client-tokens")).splitlines()
    assert lines[-4:] == [
        "count: 200",
        "total: 230",
        "hasMore: true",
        "note: list_client_tokens gives the others, and filters.",
    ]


@pytest.mark.parametrize(
    ("uri", "environ", "says"),
    [
        ("runtype://client-tokens/ct_01kunknown00", {}, "The API found no such client token"),
        ("runtype://client-tokens", {"RUNTYPE_API_KEY": ""}, "No Runtype API key is set."),
        ("runtype://client-tokens", {"RUNTYPE_MCP_TOOLS": "!list_client_tokens"}, "leaves list_client_tokens out"),
        ("runtype://client-tokens/ct_1", {"RUNTYPE_MCP_TOOLS": "!get_client_token"}, "leaves get_client_token out"),
        ("runtype://docs/secrets", {}, "There is no such page. The pages are "),
    ],
)
async def test_what_cannot_be_read_is_said_with_what_to_do(
    api: Api, era: str, uri: str, environ: dict[str, str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with mcp_client(api, era, None, **environ) as model:
        with pytest.raises(MCPError, match=re.escape(says)):
            await model.client.read_resource(uri)
    assert "Traceback" not in caplog.text


async def test_a_token_of_the_other_environment_is_out_of_reach(api: Api, era: str) -> None:
    seed_many(api.store, 3)
    live = next(record.token["id"] for record in api.store.newest_first() if record.token["environment"] == "live")
    async with mcp_client(api, era, None, RUNTYPE_MCP_ENVIRONMENT="test") as model:
        assert live not in await text_at(model, "runtype://client-tokens")
        with pytest.raises(MCPError, match="locked to test"):
            await model.client.read_resource(f"runtype://client-tokens/{live}")


async def test_a_value_in_the_place_of_an_id_reaches_no_url(api: Api, era: str) -> None:
    api.seeded()
    async with mcp_client(api, era) as model:
        for value in values(api)[:3]:
            with pytest.raises(MCPError) as refused:
                await model.client.read_resource(f"runtype://client-tokens/{value}")
            assert value not in str(refused.value)
    assert not any(value in path for value in values(api) for _, path, _ in api.received)


async def test_every_page_of_the_documentation_can_be_read(api: Api, era: str) -> None:
    assert {"safety", "confirmations", "tool-design"} <= documents().keys()
    async with mcp_client(api, era) as model:
        for page, path in documents().items():
            assert await text_at(model, f"runtype://docs/{page}") == path.read_text("utf-8")


async def test_no_address_of_a_page_leads_out_of_the_documentation(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        for page in ("..%2FREADME", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "safety.md", "%2Fetc%2Fpasswd"):
            with pytest.raises(MCPError):
                await model.client.read_resource(f"runtype://docs/{page}")


# Prompts

ARGUMENTS = {
    "rotate_client_token": {"client_token": "Shop"},
    "respond_to_leak": {"client_token": "Shop"},
    "embed_chat_widget": {"agent": "Support", "origin": "https://shop.example", "framework": "vite"},
    "debug_silent_widget": {"client_token": "Shop", "origin": "https://shop.example"},
    "review_conversations": {"client_token": "Shop"},
    "move_site": {"old_origin": "https://old.example", "new_origin": "https://new.example"},
    "clean_up_client_tokens": {},
}
OPTIONAL = {("embed_chat_widget", "framework"), ("debug_silent_widget", "origin")}


async def test_prompts_are_listed_with_their_arguments(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        prompts = (await model.client.list_prompts()).prompts
    assert {prompt.name: {argument.name for argument in prompt.arguments or []} for prompt in prompts} == {
        name: set(arguments) for name, arguments in ARGUMENTS.items()
    }
    for prompt in prompts:
        assert prompt.title
        assert prompt.description
        for argument in prompt.arguments or []:
            assert bool(argument.required) is ((prompt.name, argument.name) not in OPTIONAL)


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_a_prompt_names_its_arguments_and_tools_that_exist(api: Api, era: str, name: str) -> None:
    async with mcp_client(api, era) as model:
        (message,) = (await model.client.get_prompt(name, ARGUMENTS[name])).messages
    assert message.role == "user"
    assert isinstance(message.content, mcp_types.TextContent)
    words = re.findall(r"\w+", message.content.text)
    for value in ARGUMENTS[name].values():
        assert value in message.content.text
    named = {word for word in words if re.match("(?:list|get|create|update|delete|regenerate|audit)_", word)}
    assert named
    assert named <= TOOL_NAMES
    said = {field for spec in SPECS for field in spec.arguments.model_fields} | set(CODES)
    assert {word for word in words if "_" in word and word.islower()} - TOOL_NAMES <= said


@pytest.mark.parametrize(
    ("framework", "variable", "how"),
    [
        ("script", None, "script tag"),
        ("React", "REACT_APP_RUNTYPE_CLIENT_TOKEN", "process.env.REACT_APP_RUNTYPE_CLIENT_TOKEN"),
        ("Next.js", "NEXT_PUBLIC_RUNTYPE_CLIENT_TOKEN", "process.env.NEXT_PUBLIC_RUNTYPE_CLIENT_TOKEN"),
        ("react with vite", "VITE_RUNTYPE_CLIENT_TOKEN", "import.meta.env.VITE_RUNTYPE_CLIENT_TOKEN"),
        ("something else", None, "script tag"),
    ],
)
async def test_a_widget_is_embedded_by_the_frameworks_own_public_prefix(
    api: Api, era: str, framework: str, variable: str | None, how: str, tmp_path: Path
) -> None:
    given = {"agent": "Customer support", "origin": "https://shop.example", "framework": framework}
    async with mcp_client(api, era, None, RUNTYPE_MCP_FILES_ROOT=str(tmp_path)) as model:
        (message,) = (await model.client.get_prompt("embed_chat_widget", given)).messages
        assert isinstance(message.content, mcp_types.TextContent)
        assert how in message.content.text
        place = re.search(r"env_file '([^']+)'", message.content.text)
        assert (place is not None) is (variable is not None)
        if place is not None:
            assert place[1].endswith(f":{variable}")
            new = {"name": "Site", "allowed_origins": [given["origin"]], "agent_ids": [given["agent"]]}
            made = await model.call("create_client_token", **new, deliver="env_file", env_file=place[1])
            assert not made.is_error, "the call of the first step works as it stands"


async def test_the_framework_may_be_left_out(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        (message,) = (
            await model.client.get_prompt("embed_chat_widget", {"agent": "A", "origin": "https://a.example"})
        ).messages
    assert "script tag" in str(message.content)


async def test_a_rotation_keeps_the_old_token_until_the_user_says_so(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        (message,) = (await model.client.get_prompt("rotate_client_token", {"client_token": "Shop"})).messages
    assert isinstance(message.content, mcp_types.TextContent)
    text = message.content.text
    places = [text.index(tool) for tool in ("create_client_token", "is_active false", "delete_client_token")]
    assert places == sorted(places)
    assert "regenerate_client_token" not in text  # which would be the outage


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("rotate_client_token", None, "Missing required arguments: {'client_token'}"),
        ("embed_chat_widget", {"origin": "https://shop.example"}, "Missing required arguments: {'agent'}"),
        ("rotate", {}, "Unknown prompt: rotate"),
    ],
)
async def test_a_wrong_request_for_a_prompt_is_the_clients_mistake(
    api: Api, era: str, name: str, arguments: dict[str, str] | None, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with mcp_client(api, era) as model:
        with pytest.raises(MCPError) as refused:
            await model.client.get_prompt(name, arguments)
    assert (refused.value.error.code, refused.value.error.message) == (mcp_types.INVALID_PARAMS, says)
    assert "Traceback" not in caplog.text
