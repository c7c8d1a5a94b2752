"""What an assistant can read about the server itself, and the jobs that it is helped through."""

from __future__ import annotations

from pathlib import Path

import mcp_types
import pytest
from mcp import MCPError

from runtype_mcp import __version__
from runtype_mcp.tools import SPECS
from runtype_mcp.tools.resources import POLICY_URI
from tests.support import KEY, Api, McpClient, mcp_client

pytestmark = pytest.mark.anyio

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


async def test_the_policy_is_listed(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        *_, resource = (await model.client.list_resources()).resources
        templates = (await model.client.list_resource_templates()).resource_templates
    assert (resource.uri, resource.name, resource.title) == (POLICY_URI, "policy", "Policy in force")
    assert resource.description
    assert templates == []


async def test_the_instructions_tell_the_policy_and_name_nothing_that_a_model_cannot_read(api: Api, era: str) -> None:
    async with mcp_client(api, "auto" if era != "legacy" else era) as model:
        assert model.client.instructions
        assert "Policy auto: " in model.client.instructions
        assert "://" not in model.client.instructions


async def test_the_policy_as_it_is_without_any_setting(api: Api, era: str) -> None:
    assert await read(api, era) == [
        f"runtype-mcp {__version__}, {api.url}",
        "API key: RUNTYPE_API_KEY",
        "Policy auto: confirm and the name are needed, and a person is asked where the client can ask.",
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
            await model.client.read_resource("runtype-mcp://else")
        assert await policy(model)


# Prompts

ARGUMENTS = {
    "rotate_client_token": {"client_token": "Shop"},
    "embed_chat_widget": {"agent": "Support", "origin": "https://shop.example"},
}


async def test_prompts_are_listed_with_their_arguments(api: Api, era: str) -> None:
    async with mcp_client(api, era) as model:
        prompts = (await model.client.list_prompts()).prompts
    assert {prompt.name: {argument.name for argument in prompt.arguments or []} for prompt in prompts} == {
        name: set(arguments) for name, arguments in ARGUMENTS.items()
    }
    for prompt in prompts:
        assert prompt.title
        assert prompt.description
        assert all(argument.required for argument in prompt.arguments or [])


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_a_prompt_names_its_arguments_and_tools_that_exist(api: Api, era: str, name: str) -> None:
    async with mcp_client(api, era) as model:
        (message,) = (await model.client.get_prompt(name, ARGUMENTS[name])).messages
    assert message.role == "user"
    assert isinstance(message.content, mcp_types.TextContent)
    words = message.content.text.replace(":", " ").split()
    for value in ARGUMENTS[name].values():
        assert value in message.content.text
    named = {word for word in words if word.endswith(("client_token", "client_tokens")) and "_" in word}
    assert named
    assert named <= TOOL_NAMES


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
