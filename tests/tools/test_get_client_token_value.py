"""get_client_token_value: into the result, into a file, or only compared."""

import os
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from tests.confirmations import SITE, put
from tests.support import AGENT, MODERN, Api, McpClient, mcp_client
from tests.tools.checks import VALUE, Json, call, not_sent, refusal

pytestmark = pytest.mark.anyio

TOOL = "get_client_token_value"
INTO = {"deliver": "env_file", "env_file": ".env:CHAT_TOKEN"}
COMPARE = {"deliver": "verify", "env_file": ".env:CHAT_TOKEN"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that values may be written below."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def at(root: Path) -> Json:
    return {"RUNTYPE_MCP_FILES_ROOT": str(root)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def value_of(api: Api, target: str) -> str:
    record = api.store.get(target)
    assert record is not None
    assert record.value is not None
    return record.value


async def test_a_value_that_origins_protect_is_shown_at_once(api: Api, era: str) -> None:
    target = put(api.store)
    async with mcp_client(api, era) as model:
        for more in ({}, {"deliver": "show"}, {"deliver": None}):
            data = await call(api, model, TOOL, client_token=target, **more)
            assert data["value"] == value_of(api, target)
            assert data["clientToken"]["id"] == target
            assert data["status"] == "done"


async def test_a_value_goes_into_a_file_and_not_into_the_result(api: Api, era: str, root: Path) -> None:
    target = put(api.store, allowedOrigins=["*"])
    (root / ".env").write_text("A=1\nCHAT_TOKEN=\nB=2\n")
    async with mcp_client(api, era, **at(root)) as model:
        data = await call(api, model, TOOL, client_token=target, **INTO)
        assert "value" not in data
        for fact in (str(root / ".env"), "CHAT_TOKEN", value_of(api, target)[-4:]):
            assert fact in data["delivered"]
    assert (root / ".env").read_text() == f"A=1\nCHAT_TOKEN={value_of(api, target)}\nB=2\n"
    assert (root / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "matches", "said"),
    [
        ("CHAT_TOKEN={value}\n", True, "present value"),
        ("CHAT_TOKEN='{value}'\n", True, "present value"),
        ("CHAT_TOKEN=another\n", False, "another value"),
        ("OTHER={value}\n", False, "is not set"),
        (None, False, "is not set"),
    ],
)
async def test_a_file_is_compared_without_showing_either_value(
    api: Api, era: str, root: Path, content: str | None, matches: bool, said: str
) -> None:
    target = put(api.store, allowedOrigins=["*"])
    if content is not None:
        (root / ".env").write_text(content.format(value=value_of(api, target)))
        (root / ".env").chmod(0o600)
    async with mcp_client(api, era, **at(root)) as model:
        data = await call(api, model, TOOL, client_token=target, **COMPARE)
        assert data["matches"] is matches
        assert data["note"].startswith(f"CHAT_TOKEN in {root}/.env ")
        assert said in data["note"]
        assert "value" not in data
    if content is None:
        assert not names(root)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"deliver": "env_file"}, "file:VARIABLE"),
        ({"deliver": "verify"}, "file:VARIABLE"),
        ({"deliver": "env_file", "env_file": ".env"}, "file:VARIABLE"),
        ({"deliver": "env_file", "env_file": ".env:1BAD"}, "file:VARIABLE"),
        ({"deliver": "env_file", "env_file": ":TOKEN"}, "file:VARIABLE"),
        ({"env_file": ".env:TOKEN"}, "goes with deliver env_file"),
        ({"deliver": "clipboard"}, "'show', 'env_file' or 'verify'"),
        ({"file": ".env:TOKEN"}, "env_file"),
    ],
    ids=str,
)
async def test_bad_arguments_are_explained_and_nothing_is_sent(api: Api, arguments: Json, said: str) -> None:
    target = put(api.store)
    async with mcp_client(api, MODERN) as model:
        assert said in await not_sent(api, model, TOOL, client_token=target, **arguments)


@pytest.mark.parametrize("file", ["../out.env", "/etc/out.env", "link/.env", "missing/.env", ".git/config.env"])
async def test_a_file_that_must_not_be_written_is_refused_before_the_value_is_read(
    api: Api, era: str, root: Path, file: str, tmp_path: Path
) -> None:
    (root / "link").symlink_to(tmp_path)
    target = put(api.store)
    async with mcp_client(api, era, **at(root)) as model:
        await refusal(api, model, TOOL, client_token=target, deliver="env_file", env_file=f"{file}:TOKEN")
        assert not [path for _, path, _ in api.received if path.endswith("/token")]
    assert names(root) == ["link"]
    assert names(tmp_path) == ["project"]


OTHER = "postgres://db.example/shop"


@pytest.mark.parametrize(
    "content",
    [f"DATABASE_URL={OTHER}\n", f"DATABASE_URL={OTHER}\nDATABASE_URL=\n", f"DATABASE_URL=\nDATABASE_URL={OTHER}\n"],
    ids=["once", "and again, empty", "after an empty one"],
)
async def test_a_variable_that_holds_something_else_is_not_overwritten(api: Api, root: Path, content: str) -> None:
    (root / ".env").write_text(content)
    target = put(api.store)
    async with mcp_client(api, MODERN, **at(root)) as model:
        into = {"deliver": "env_file", "env_file": ".env:DATABASE_URL"}
        text = await refusal(api, model, TOOL, client_token=target, **into)
        assert "would be lost" in await refusal(api, model, TOOL, client_token=target, **into, replace=True)
    assert "would be lost" in text
    assert OTHER not in text
    assert (root / ".env").read_text() == content


@pytest.mark.parametrize("policy", ["auto", "human", "flag", "deny"])
async def test_another_tokens_value_is_replaced_only_on_an_explicit_word(
    api: Api, era: str, root: Path, policy: str
) -> None:
    """The API may not be able to show it again: a value from before values were stored would be lost for good."""
    (root / ".env").write_text(f"CHAT_TOKEN={VALUE}\n")
    target = put(api.store, environment="test")
    async with mcp_client(api, era, **at(root), RUNTYPE_MCP_APPROVAL=policy) as model:
        calls: dict[str, Json] = {
            TOOL: {"client_token": target},
            "create_client_token": {"name": "New", "allowed_origins": SITE, "agent_ids": AGENT},
            "regenerate_client_token": {"client_token": target, "confirm": True, "expected_name": "Shop"},
        }
        for tool, more in calls.items():
            text = await refusal(api, model, tool, **more, **INTO)
            assert VALUE[-4:] in text
            assert "set replace to true" in text
        assert (root / ".env").read_text() == f"CHAT_TOKEN={VALUE}\n"
        data = await call(api, model, TOOL, client_token=target, **INTO, replace=True)
        assert f"it replaced a value that ended with …{VALUE[-4:]}" in data["delivered"]
    assert (root / ".env").read_text() == f"CHAT_TOKEN={value_of(api, target)}\n"


async def test_a_value_that_was_put_there_since_the_check_is_not_replaced(api: Api, root: Path) -> None:
    target = put(api.store)
    app = api.stage.app

    async def slipping(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/token"):
            (root / ".env").write_text(f"CHAT_TOKEN={VALUE}\n")
        await app(scope, receive, send)

    api.stage.app = slipping
    async with mcp_client(api, MODERN, **at(root)) as model:
        text = await model.text(TOOL, client_token=target, **INTO)
    assert "The value was not delivered." in text
    assert (root / ".env").read_text() == f"CHAT_TOKEN={VALUE}\n"


async def test_a_preview_writes_nothing_at_all(api: Api, root: Path) -> None:
    target = put(api.store)
    changed = os.stat(root).st_mtime_ns
    async with mcp_client(api, MODERN, **at(root)) as model:
        data = await call(api, model, "regenerate_client_token", client_token=target, **INTO)
    assert data["status"] == "preview"
    assert os.stat(root).st_mtime_ns == changed


@pytest.mark.parametrize("secrets", ["show", "file"])
async def test_where_there_is_no_folder_the_advice_is_one_that_works(
    api: Api, monkeypatch: pytest.MonkeyPatch, secrets: str
) -> None:
    monkeypatch.chdir("/")
    target = put(api.store)
    async with mcp_client(api, MODERN, RUNTYPE_MCP_SECRETS=secrets) as model:
        text = await refusal(api, model, TOOL, client_token=target, **INTO)
    assert "RUNTYPE_MCP_FILES_ROOT" in text
    assert "show" not in text, "that would be the unsafe way"


async def test_a_value_that_is_not_stored_is_told_with_the_way_out(api: Api, era: str, root: Path) -> None:
    api.seeded()
    async with mcp_client(api, era, **at(root)) as model:
        for more in ({}, INTO, COMPARE):
            text = await refusal(api, model, TOOL, client_token="Help centre 2023", **more)
            assert "not" in text
            assert "regenerate_client_token" in text
    assert not names(root)


async def delivered(api: Api, model: McpClient, tool: str, **arguments: object) -> Json:
    return await call(api, model, tool, **arguments, **INTO)


async def test_create_and_regenerate_deliver_in_the_same_way(api: Api, era: str, root: Path) -> None:
    async with mcp_client(api, era, **at(root)) as model:
        made = await delivered(
            api,
            model,
            "create_client_token",
            name="Shop",
            allowed_origins="https://shop.example",
            agent_ids="agent_1abcdef",
        )
        target = made["clientToken"]["id"]
        assert "value" not in made
        first = value_of(api, target)
        assert f"CHAT_TOKEN={first}\n" in (root / ".env").read_text()
        again = await delivered(
            api, model, "regenerate_client_token", client_token=target, confirm=True, expected_name="Shop"
        )
        assert "value" not in again
        second = value_of(api, target)
        assert second != first
        assert f"CHAT_TOKEN={second}\n" in (root / ".env").read_text()
        assert first not in (root / ".env").read_text()
        same = await call(api, model, TOOL, client_token=target, **COMPARE)
        assert same["matches"] is True
