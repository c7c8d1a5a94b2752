"""What `runtype-mcp http` says when it starts, and where it does not start."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import httpx2 as httpx
import pytest
from cryptography.hazmat.primitives import serialization
from mcp import Client
from mcp_types import TextContent

from runtype_mcp.http.callers_file import CallersFile
from tests.faults.tls import self_signed
from tests.http.processes import call, http_server
from tests.processes import TIMEOUT, Process, run, started
from tests.support import KEY, Api

SECRET = "rt_live_0123456789abcdef0123456789abcdef"


def rest(process: Process, lines: int) -> dict[str, str]:
    """The lines below the first one, by their names."""
    assert process.popen.stderr is not None
    read = [process.popen.stderr.readline().decode() for _ in range(lines)]
    assert all(line.startswith("  ") for line in read)
    return {line[2:10].strip(): line[11:].strip() for line in read}


def test_it_says_what_it_serves_to_whom_and_under_which_rules(api: Api, tmp_path: Path) -> None:
    log, state = tmp_path / "audit.jsonl", tmp_path / "state"
    environ = {
        "RUNTYPE_API_KEY": SECRET,
        "RUNTYPE_MCP_AUDIT": str(log),
        "RUNTYPE_MCP_STATE_DIR": str(state),
        "RUNTYPE_MCP_APPROVAL_LIVE": "deny",
    }
    with http_server("--base-url", api.url, "--read-only", **environ) as (process, _):
        said = rest(process, 5)
    assert said["API"] == f"{api.url}, with the key of RUNTYPE_API_KEY"
    assert said["callers"] == "whoever reaches the port; nobody is authenticated"
    assert said["policy"].startswith("Policy auto")
    assert "For live tokens: Policy deny" in said["policy"]
    assert "Read-only." in said["policy"]
    assert (said["state"], said["audit"]) == (str(state), str(log))
    assert SECRET[8:] not in repr(said)


def test_it_says_that_there_is_no_key_or_that_none_is_needed(api: Api) -> None:
    with http_server("--base-url", api.url) as (process, _):
        assert rest(process, 5)["API"].startswith(f"{api.url}, without a key: run `runtype-mcp login`")
    with http_server("--sandbox") as (process, _):
        assert rest(process, 5)["API"] == "the embedded sandbox: no account, no key"


def test_a_key_that_cannot_be_read_is_said_and_stops_nothing(api: Api, tmp_path: Path) -> None:
    environ = {"RUNTYPE_API_KEY_FILE": str(tmp_path / "none")}
    with http_server("--base-url", api.url, **environ) as (process, url):
        assert "which does not exist" in rest(process, 5)["API"]
        assert httpx.get(f"{url}/readyz").json() == {"status": "not ready", "state": "ok", "api": "no key"}


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["--host", "0.0.0.0"], {}, "--host 0.0.0.0 lets other machines in"),
        (["--host", "::"], {}, "--host :: lets other machines in"),
        (["--host", "192.0.2.1"], {}, "--host 192.0.2.1 lets other machines in"),
        (["--host", "example.com"], {}, "an address is one such as 127.0.0.1, ::1 or 0.0.0.0"),
        (["--socket", "x", "--port", "1"], {}, "--socket excludes --host and --port."),
        (["--tls-key", "x"], {}, "--tls-key goes with --tls-cert."),
        (["--tls-cert", "none.pem"], {}, "--tls-cert and --tls-key cannot be used (No such file or directory)."),
        ([], {"RUNTYPE_MCP_SECRETS": "file"}, "RUNTYPE_MCP_SECRETS=file leaves no way for a value"),
        ([], {"RUNTYPE_MCP_MAX_REQUESTS": "0"}, "RUNTYPE_MCP_MAX_REQUESTS must be a whole number"),
        ([], {"RUNTYPE_MCP_DRAIN": "-1"}, "RUNTYPE_MCP_DRAIN must be a number of seconds"),
        ([], {"RUNTYPE_MCP_LOG_FORMAT": "xml"}, "RUNTYPE_MCP_LOG_FORMAT must be 'text' or 'json'"),
        ([], {"RUNTYPE_MCP_TRUSTED_PROXIES": "nginx"}, "RUNTYPE_MCP_TRUSTED_PROXIES must be addresses or networks"),
    ],
)
def test_what_contradicts_itself_is_one_line_and_no_server(
    arguments: list[str], environ: dict[str, str], said: str
) -> None:
    done = run("http", "--sandbox", *arguments, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("runtype-mcp: ")
    assert done.stderr.count("\n") == 1


def test_it_speaks_tls(tmp_path: Path) -> None:
    file = self_signed(tmp_path / "both.pem")
    trusting = ssl.create_default_context(cafile=str(file))
    with http_server("--sandbox", "--tls-cert", str(file)) as (_, url):
        assert url.startswith("https://127.0.0.1:")
        assert httpx.get(f"{url}/healthz", verify=trusting, timeout=TIMEOUT).json() == {"status": "ok"}


def test_a_key_with_a_password_stops_the_start(tmp_path: Path) -> None:
    file = self_signed(tmp_path / "both.pem")
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    locked = tmp_path / "key.pem"
    method = serialization.BestAvailableEncryption(b"secret")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, method))
    done = run("http", "--sandbox", "--tls-cert", str(file), "--tls-key", str(locked))
    assert done.returncode == 2
    assert "the key has a password" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_env_file_is_written_for_a_caller_elsewhere(api: Api, tmp_path: Path) -> None:
    """The project of a caller is on another machine, also where this server was started in one."""
    token = api.seeded().store.newest_first()[0].token
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_MCP_FILES_ROOT": str(tmp_path), "RUNTYPE_MCP_APPROVAL": "flag"}
    with (
        http_server("--base-url", api.url, **environ) as (_, url),
        httpx.Client(base_url=url, timeout=TIMEOUT) as client,
    ):
        sure = {"client_token": token["id"], "confirm": True, "expected_name": token["name"]}
        answer = call(client, "get_client_token_value", deliver="env_file", env_file=".env:TOKEN", **sure)
        shown = call(client, "get_client_token_value", deliver="show", env_file="", replace=False, **sure)
    (said,) = answer.json()["result"]["content"]
    assert "env_file: is not offered: this server is on another machine than your files" in said["text"]
    assert "Nothing was sent" in said["text"]
    assert not list(tmp_path.glob(".env*"))
    assert shown.json()["result"]["structuredContent"]["value"].startswith("ct_")


@pytest.mark.anyio
async def test_no_way_into_a_file_is_offered_to_a_caller_elsewhere(era: str) -> None:
    with http_server("--sandbox") as (_, url):
        async with Client(f"{url}/mcp", mode=era) as client:
            listed = (await client.list_tools()).tools
            asked = {"client_token": "ct_1", "agent": "agent_1", "origin": "https://shop.example"}
            for prompt in (await client.list_prompts()).prompts:
                given = {one.name: asked.get(one.name, "x") for one in prompt.arguments or []}
                (message,) = (await client.get_prompt(prompt.name, given)).messages
                assert isinstance(message.content, TextContent)
                assert "deliver" not in message.content.text
                assert "env_file" not in message.content.text
    offered = {name for tool in listed for name in tool.input_schema["properties"]}
    assert "confirm" in offered
    assert not {"deliver", "env_file", "replace"} & offered


@pytest.fixture
def team(tmp_path: Path) -> dict[str, str]:
    """A server for named callers."""
    file = CallersFile(tmp_path / "callers.json")
    file.add("ana", ("read",))
    return {"RUNTYPE_MCP_AUTH": "static", "RUNTYPE_MCP_CALLERS": str(file.path), "RUNTYPE_API_KEY": KEY}


def test_every_address_is_listened_on_only_with_a_name_to_be_called_by(api: Api, team: dict[str, str]) -> None:
    done = run("http", "--host", "0.0.0.0", "--port", "0", "--base-url", api.url, **team)
    assert done.returncode == 2
    assert "Set RUNTYPE_MCP_PUBLIC_URL" in done.stderr
    public = {"RUNTYPE_MCP_PUBLIC_URL": "https://mcp.example.com"}
    with http_server("--host", "0.0.0.0", "--base-url", api.url, **team, **public) as (_, url):
        port = url.rpartition(":")[2]
        known = {"mcp.example.com": 401, "evil.example": 421, "0.0.0.0": 421, f"127.0.0.1:{port}": 401}
        for host, expected in known.items():
            assert httpx.post(f"http://127.0.0.1:{port}/mcp", headers={"host": host}).status_code == expected


def test_a_socket_is_for_the_group_too_where_callers_are_authenticated(
    api: Api, team: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short, and that of a test is not
    with started("http", "--socket", "mcp.sock", "--base-url", api.url, **team) as process:
        assert process.popen.stderr is not None
        process.popen.stderr.readline()
        assert stat.S_IMODE(Path("mcp.sock").stat().st_mode) == 0o660
