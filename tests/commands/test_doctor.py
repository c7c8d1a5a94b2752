"""`runtype-mcp doctor`: for each thing that can be wrong, the line that names it and the exit code."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from runtype_mcp import __version__
from tests.faults import proxy as faults
from tests.faults.proxy import Exchange, Proxy, proxying
from tests.faults.tls import signed_by
from tests.processes import TIMEOUT, environment, on_terminal, run
from tests.redis_server import redis_server
from tests.support import Api, running

pytestmark = pytest.mark.anyio

ONE = "rt_test_one0123456789abcdef0123456789"
AUTHORITY = "Example Corp Inspection CA"
NETWORK = ("proxy", "DNS", "API", "TLS", "clock", "access")


@pytest.fixture
def environ(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An API, a key of it, and a project to work in."""
    api.seeded().install(keys={ONE})
    (tmp_path / "project" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path))  # without hosts
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return {"RUNTYPE_BASE_URL": api.url, "RUNTYPE_API_KEY": ONE}


class Report:
    """What `doctor --json` found."""

    def __init__(self, code: int, found: dict[str, Any]) -> None:
        self.code, self.found = code, found

    def __getitem__(self, check: str) -> str:
        """The lines of one check: status, finding and what to do."""
        lines = [c for c in self.found["checks"] if c["check"] == check]
        return "\n".join(f"{c['status']}: {c['says']} {c['todo']}".rstrip() for c in lines)

    def failures(self) -> list[str]:
        return [c["check"] for c in self.found["checks"] if c["status"] == "fail"]


def report(environ: dict[str, str], *arguments: str) -> Report:
    done = run("doctor", "--json", *arguments, **environ)
    assert done.stderr == ""
    assert "0123456789" not in done.stdout
    found = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0)
    for check in found["checks"]:
        assert check["says"].endswith((".", "?"))
        assert bool(check["todo"]) is (check["status"] in ("warn", "fail"))
    return Report(done.returncode, found)


async def while_serving(environ: dict[str, str]) -> Report:
    """The same, while a server of the test runs in this thread."""
    return await anyio.to_thread.run_sync(report, environ)


# All is well


def test_where_all_is_well_it_says_so_and_writes_nothing(api: Api, environ: dict[str, str], tmp_path: Path) -> None:
    found = report(environ)
    assert (found.code, found.failures(), api.writes) == (0, [], [])
    assert found["version"].startswith(f"ok: runtype-mcp {__version__} on Python {sys.version_info.major}.")
    assert found["key"] == "ok: rt_test_…6789, from RUNTYPE_API_KEY. It is a test key."
    assert found["DNS"] == "ok: 127.0.0.1 is 127.0.0.1."
    assert found["API"] == f"ok: {api.url} answers."
    assert found["TLS"] == "skip: TLS is not used: the address is http:// on this machine."
    assert found["clock"] == "ok: This machine's clock agrees with the API's."
    assert found["access"].startswith("ok: The key may read client tokens.")
    assert found["files root"] == f"ok: {tmp_path / 'project'} is a project: env files are written below it."
    for check in ("state", "cache", "config"):
        assert found[check].endswith("can be written.")
    assert sorted(os.listdir(tmp_path)) == ["project"]


def test_each_setting_is_told_with_where_it_came_from(environ: dict[str, str]) -> None:
    given = {"RUNTYPE_MCP_APPROVAL": "Human", "RUNTYPE_MCP_ENVIRONMENT": " ", "RUNTYPE_MCP_READ_ONLY": "false"}
    found = report(environ | given, "--read-only")
    assert found["settings"].split("\n") == [
        "ok: RUNTYPE_API_KEY is rt_test_…6789 (from the environment).",
        f"ok: RUNTYPE_BASE_URL is {environ['RUNTYPE_BASE_URL']} (from the environment).",
        "ok: RUNTYPE_MCP_READ_ONLY is true (from --read-only).",
        "ok: RUNTYPE_MCP_APPROVAL is human (from the environment).",
        f"ok: RUNTYPE_MCP_STATE_DIR is {os.environ['RUNTYPE_MCP_STATE_DIR']} (from the environment).",
    ]


def test_a_key_that_does_not_count_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    found = report(environ | {"RUNTYPE_API_KEY_FILE": str(tmp_path / "key")}, "--profile", "work")
    assert "RUNTYPE_API_KEY is not used, because of --profile (from the environment)." in found["settings"]
    assert "RUNTYPE_MCP_PROFILE is work (from --profile)." in found["settings"]
    assert found["key"].startswith(
        "fail: There is no key: RUNTYPE_API_KEY is not set, and profile 'work' is not stored."
    )


def test_the_sandbox_needs_no_network_and_no_key(environ: dict[str, str]) -> None:
    found = report(environ, "--sandbox")
    assert (found.code, found["network"]) == (
        0,
        "skip: The sandbox is in this process: it needs no key and no network.",
    )
    assert not any(found[check] for check in NETWORK)
    assert "RUNTYPE_API_KEY is not used in the sandbox" in found["settings"]


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"BROWSER": "any", "CI": ""}, "ok: A browser can be opened here, for `runtype-mcp console`."),
        ({"BROWSER": "any", "CI": "true"}, "skip: No browser can be opened from here. A person is asked in the"),
    ],
)
def test_whether_a_page_can_be_opened_is_told(environ: dict[str, str], variables: dict[str, str], says: str) -> None:
    assert report(environ | variables, "--sandbox")["person"].startswith(says)


def test_people_read_one_line_for_each_check(environ: dict[str, str]) -> None:
    done = run("doctor", **environ | {"RUNTYPE_API_KEY": "rt_test_wrong"})
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["check", "finding"]
    assert {line.split()[0] for line in lines} == {"ok", "skip", "fail"}
    (line,) = [line for line in lines if line.startswith("fail")]
    assert line.startswith("fail  access      http://127.0.0.1:")
    assert line.endswith("Run `runtype-mcp login` with another key.")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_on_a_terminal_it_fits(environ: dict[str, str]) -> None:
    with on_terminal("doctor", **environ, COLUMNS="80") as terminal:
        assert terminal.ended() == 0
    for line in terminal.shown.splitlines():
        assert len(line) <= 80 or " " not in line.strip()  # a path stays whole


# The key


def test_without_a_key_it_says_what_to_run(environ: dict[str, str]) -> None:
    found = report(environ | {"RUNTYPE_API_KEY": ""})
    assert (found.code, found.failures(), found["access"]) == (1, ["key"], "")
    assert "Run `runtype-mcp login`. Without an account, use --sandbox" in found["key"]
    assert found["API"].startswith("ok: ")


def test_a_key_that_cannot_be_read_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    found = report(environ | {"RUNTYPE_API_KEY": "", "RUNTYPE_API_KEY_FILE": str(tmp_path / "gone")})
    assert (found.code, found.failures()) == (1, ["key"])
    assert found["key"].startswith(f"fail: RUNTYPE_API_KEY_FILE names {tmp_path / 'gone'}, which does not exist.")


def test_a_key_that_the_api_does_not_accept_is_told(api: Api, environ: dict[str, str]) -> None:
    found = report(environ | {"RUNTYPE_API_KEY": "rt_live_revoked"})
    assert (found.code, found.failures()) == (1, ["access"])
    assert found["access"].startswith(
        f"fail: {api.url} does not accept the key rt_live_…. It was mistyped, was revoked,"
    )


def test_a_key_without_the_permission_is_told(api: Api, environ: dict[str, str]) -> None:
    for _ in range(2):  # to the request without a key as well
        api.faults.add("status", status=403, body={"error": "Insufficient permissions"})
    found = report(environ)
    assert (found.code, found.failures()) == (1, ["access"])
    assert "but it may not read client tokens. It needs the scope CLIENT_TOKENS:READ" in found["access"]


# The way to the API


def test_a_name_that_does_not_exist_is_told(environ: dict[str, str]) -> None:
    found = report(environ | {"RUNTYPE_BASE_URL": "https://no-such-host.invalid"})
    assert (found.code, found.failures()) == (1, ["DNS"])
    assert found["DNS"].startswith(
        "fail: The name no-such-host.invalid is not known. Check the spelling in RUNTYPE_BASE"
    )
    assert found["access"] == "skip: Not checked, because the API cannot be reached."


def apart(environ: dict[str, str], how: str, **files: Path) -> Report:
    """What doctor finds in namespaces of its own, where `files` stand in the place of those in /etc."""
    if sys.platform != "linux" or subprocess.run(["unshare", how, "true"], capture_output=True).returncode != 0:
        pytest.skip("only root on Linux, or a user whom it lets have namespaces, can make a machine that is offline")
    mounts = [f"mount --bind {path} /etc/{name.replace('_', '.')}" for name, path in files.items()]
    command = " && ".join([*mounts, f"exec {sys.executable} -m runtype_mcp doctor --json"])
    done = subprocess.run(
        ["unshare", how, "sh", "-c", command],
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.stderr == ""
    return Report(done.returncode, json.loads(done.stdout))


FAR = {"RUNTYPE_BASE_URL": "https://api.example"}
OFFLINE = "Connect it, then run this again. `--sandbox` needs no network."


def test_a_machine_without_a_network_is_offline_and_nothing_else_is_blamed(environ: dict[str, str]) -> None:
    found = apart(environ | FAR, "-rn")
    assert (found.code, found.failures()) == (1, ["network"])
    assert found["network"] == f"fail: This machine seems to be offline: it has no route to anywhere. {OFFLINE}"
    assert not found["DNS"] + found["proxy"]
    assert found["access"] == "skip: Not checked, because the API cannot be reached."


def test_a_machine_whose_name_server_does_not_answer_is_offline(environ: dict[str, str], tmp_path: Path) -> None:
    nobody = tmp_path / "resolv.conf"
    nobody.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    found = apart(environ | FAR, "-rm", resolv_conf=nobody)
    assert (found.code, found.failures()) == (1, ["network"])
    assert found["network"] == f"fail: This machine seems to be offline: no DNS server answers. {OFFLINE}"


def test_a_name_server_that_never_answers_is_not_waited_for(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.0.0.53", 53))
        except OSError:
            pytest.skip("only root can be a name server")
        slow = tmp_path / "resolv.conf"
        slow.write_text("nameserver 127.0.0.53\noptions timeout:30 attempts:5\n")
        found = apart(environ | FAR | {"RUNTYPE_MCP_TIMEOUT": "1"}, "-rm", resolv_conf=slow)
    assert (found.code, found.failures()) == (1, ["network"])
    assert "its DNS server gave no answer within 1 seconds." in found["network"]


def test_the_usual_name_is_not_said_to_be_misspelt(environ: dict[str, str], tmp_path: Path) -> None:
    files = tmp_path / "nsswitch.conf"
    files.write_text("hosts: files\n")
    found = apart(environ | {"RUNTYPE_BASE_URL": ""}, "-rm", nsswitch_conf=files)
    todo = "Check the DNS server of this machine, and whether a VPN must be on."
    assert found["DNS"] == f"fail: The name api.runtype.com is not known. {todo}"


def test_an_address_where_nobody_listens_is_told(environ: dict[str, str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        found = report(environ | {"RUNTYPE_BASE_URL": url})
    assert (found.code, found.failures()) == (1, ["API"])
    assert found["API"].startswith(f"fail: {url} cannot be reached. The API at {url} cannot be reached (All connection")


@asynccontextmanager
async def spoiled(api: Api, fault: faults.Fault, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    async with proxying(api.url, tls) as proxy:
        proxy.spoil(fault)
        yield proxy


async def test_an_api_that_does_not_answer_in_time_is_told(api: Api, environ: dict[str, str]) -> None:
    async with spoiled(api, faults.silence) as proxy:
        found = await while_serving(environ | {"RUNTYPE_BASE_URL": proxy.url, "RUNTYPE_MCP_TIMEOUT": "0.5"})
    assert (found.code, found.failures()) == (1, ["API"])
    assert "does not answer. The API gave no answer within 0.5 seconds. A firewall may drop" in found["API"]


async def test_an_api_that_fails_is_told(api: Api, environ: dict[str, str]) -> None:
    async with spoiled(api, faults.unavailable) as proxy:
        found = await while_serving(environ | {"RUNTYPE_BASE_URL": proxy.url})
    assert (found.code, found.failures()) == (1, ["API"])
    assert "answers 503 to a request without a key" in found["API"]
    assert found["API"].endswith("It may be down: try again in some minutes.")


@pytest.mark.parametrize("status", [200, 404])
def test_an_address_of_something_else_is_told(environ: dict[str, str], status: int) -> None:
    page = HTMLResponse("<h1>Log in to this network</h1>", status)
    with running(Starlette(routes=[Route("/{path:path}", page)])) as url:
        found = report(environ | {"RUNTYPE_BASE_URL": url})
    assert (found.code, found.failures()) == (1, ["API"])
    assert (
        f"{url} answers {status} to a request without a key, which the API does not. Check RUNTYPE_BASE_URL"
        in found["API"]
    )


@pytest.fixture
def inspected(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """The server's side of a certificate that a company's authority signed, and the authority's file."""
    server, authority = signed_by(AUTHORITY, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return context, authority


async def test_an_authority_that_is_not_trusted_is_named_and_gets_no_key(
    api: Api, environ: dict[str, str], inspected: tuple[ssl.SSLContext, Path]
) -> None:
    async with proxying(api.url, inspected[0]) as proxy:
        found = await while_serving(environ | {"RUNTYPE_BASE_URL": proxy.url})
    assert (found.code, found.failures()) == (1, ["TLS"])
    assert found["TLS"].startswith(
        "fail: The certificate is not trusted (unable to get local issuer certificate). It is"
    )
    assert f"It is signed by {AUTHORITY}. If that is your company's authority, set SSL_CERT_FILE" in found["TLS"]
    assert [request for request in api.received if "client-tokens" in request[1]] == []


async def test_an_authority_that_is_trusted_and_not_public_is_named(
    api: Api, environ: dict[str, str], inspected: tuple[ssl.SSLContext, Path]
) -> None:
    async with proxying(api.url, inspected[0]) as proxy:
        trusting = {"RUNTYPE_BASE_URL": proxy.url, "SSL_CERT_FILE": str(inspected[1])}
        found = await while_serving(environ | trusting)
    assert (found.code, found.failures()) == (0, [])
    assert found["TLS"].startswith(
        f"warn: The certificate is trusted, and signed by {AUTHORITY}, which signs few public"
    )
    assert found["access"].startswith("ok: ")


def test_a_certificate_file_that_is_not_there_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    missing = {"RUNTYPE_BASE_URL": "https://127.0.0.1:9", "SSL_CERT_FILE": str(tmp_path / "gone.pem")}
    found = report(environ | missing)
    assert (found.code, found.failures()) == (1, ["TLS"])
    assert found["TLS"].endswith(
        "Check the file that SSL_CERT_FILE names, and the addresses in HTTPS_PROXY and ALL_PROXY."
    )


def test_a_server_that_speaks_no_tls_is_told(api: Api, environ: dict[str, str]) -> None:
    found = report(environ | {"RUNTYPE_BASE_URL": api.url.replace("http:", "https:")})
    assert (found.code, found.failures()) == (1, ["API"])
    assert "SSL" in found["API"]


# A proxy

THROUGH = {"RUNTYPE_BASE_URL": "https://api.example"}


def test_a_proxy_that_cannot_be_reached_is_told(environ: dict[str, str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        found = report(environ | THROUGH | {"HTTPS_PROXY": f"http://me:secret@{address}"})
    assert (found.code, found.failures()) == (1, ["proxy"])
    used, failed = found["proxy"].split("\n")
    assert used == f"ok: {address} is used (HTTPS_PROXY)."
    assert failed.startswith("fail: https://api.example cannot be reached through the proxy 127.0.0.1.")
    assert "secret" not in found["proxy"]


async def test_a_proxy_that_wants_a_password_is_told(api: Api, environ: dict[str, str]) -> None:
    async def wants_password(x: Exchange) -> None:
        await x.answer("407 Proxy Authentication Required", b"")

    async with spoiled(api, wants_password) as proxy:
        found = await while_serving(environ | THROUGH | {"HTTPS_PROXY": proxy.url})
    assert (found.code, found.failures()) == (1, ["proxy"])
    assert "407 Proxy Authentication Required" in found["proxy"]


@pytest.mark.parametrize("address", ["http://", "http://[x", "http://proxy.example:99999"])
def test_a_proxy_that_is_no_address_is_told(environ: dict[str, str], address: str) -> None:
    found = report(environ | THROUGH | {"https_proxy": address})
    assert (found.code, found.failures()) == (1, ["proxy"])
    assert found["proxy"].startswith(
        "fail: The proxy of https_proxy is not an address. Correct it, such as http://proxy"
    )


def test_a_proxy_whose_name_is_not_known_is_told(environ: dict[str, str]) -> None:
    found = report(environ | THROUGH | {"ALL_PROXY": "http://proxy.invalid:8080"})
    assert (found.code, found.failures()) == (1, ["DNS"])
    assert "The name proxy.invalid is not known. Check the spelling in HTTPS_PROXY" in found["DNS"]


# The clock


@pytest.mark.parametrize(("date", "says"), [("Sun, 01 Jan 2023", "ahead of"), ("Mon, 01 Jan 2125", "behind")])
async def test_a_clock_that_is_wrong_is_told(api: Api, environ: dict[str, str], date: str, says: str) -> None:
    async def at_another_time(x: Exchange) -> None:
        await x.answer("401 Unauthorized", b"{}", f"Date: {date} 00:00:00 GMT")

    async with proxying(api.url) as proxy:
        proxy.spoil(at_another_time, times=1)
        found = await while_serving(environ | {"RUNTYPE_BASE_URL": proxy.url})
    assert (found.code, found.failures()) == (0, [])
    assert f"minutes {says} the API's. Set it:" in found["clock"]


@pytest.mark.parametrize("header", ["Date: nonsense", "X: y"])
async def test_an_api_without_a_clock_is_told(api: Api, environ: dict[str, str], header: str) -> None:
    async def without_date(x: Exchange) -> None:
        await x.answer("401 Unauthorized", b"{}", header)

    async with proxying(api.url) as proxy:
        proxy.spoil(without_date, times=1)
        found = await while_serving(environ | {"RUNTYPE_BASE_URL": proxy.url})
    assert found["clock"] == "skip: Not checked: the API does not say what time it is."


# The configuration, folders and files


def test_all_settings_that_cannot_be_used_are_told_at_the_same_time(environ: dict[str, str]) -> None:
    wrong = {"RUNTYPE_MCP_APPROVAL": "always", "RUNTYPE_MCP_READONLY": "1", "RUNTYPE_MCP_TOOLS": "no_such"}
    found = report(environ | wrong)
    assert (found.code, found.failures()) == (2, ["settings"] * 3)
    for line in (
        "fail: RUNTYPE_MCP_READONLY is not a setting; did you mean RUNTYPE_MCP_READ_ONLY? No server starts with that.",
        "fail: RUNTYPE_MCP_APPROVAL must be 'auto', 'human', 'second-person', 'flag' or 'deny'. No server starts with",
        "fail: RUNTYPE_MCP_TOOLS: no tool matches 'no_such'. No server starts with that.",
    ):
        assert line in found["settings"]
    assert found["access"].startswith("ok: ")  # the rest is checked as well


def test_a_flag_that_cannot_be_used_is_told(environ: dict[str, str]) -> None:
    found = report(environ, "--base-url", "http://api.example")
    assert (found.code, found.failures()) == (2, ["settings"])
    assert "RUNTYPE_BASE_URL must be an https:// address" in found["settings"]
    assert found["network"] == "skip: Not checked, because RUNTYPE_BASE_URL cannot be used."


def test_a_key_that_is_none_is_told_once(environ: dict[str, str]) -> None:
    found = report(environ | {"RUNTYPE_API_KEY": "ct_live_flow01k7_x"})
    assert (found.code, found.failures()) == (2, ["settings"])
    assert "RUNTYPE_API_KEY holds a client token" in found["settings"]
    assert found["key"] == "skip: Not checked, because the setting that names it cannot be used."
    assert found["access"] == ""


@pytest.mark.skipif(sys.platform == "win32", reason="links")
@pytest.mark.parametrize("kind", ["below a file", "a file", "a link"])
def test_a_state_directory_that_cannot_be_written_is_told(environ: dict[str, str], tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    path, says = {
        "below a file": (tmp_path / "file" / "state", f"{tmp_path / 'file'} is not a folder"),
        "a file": (tmp_path / "file", "it is not a folder"),
        "a link": (tmp_path / "link", "it is a symbolic link"),
    }[kind]
    found = report(environ | {"RUNTYPE_MCP_STATE_DIR": str(path)})
    assert (found.code, found.failures()) == (1, ["state"])
    assert found["state"].startswith(f"fail: {path} cannot hold the state: {says}. Calls that ask a person fail.")


def test_other_directories_that_cannot_be_written_are_told_and_stop_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    blocked = {"XDG_CACHE_HOME": str(tmp_path / "file"), "XDG_CONFIG_HOME": str(tmp_path / "file")}
    found = report(environ | blocked)
    assert found.code == 0
    assert found["cache"].startswith(
        f"warn: {tmp_path / 'file' / 'runtype-mcp'}: {tmp_path / 'file'} is not a folder. Each"
    )
    assert "`runtype-mcp login` cannot store a key." in found["config"]


def test_without_a_home_directory_it_says_what_to_set(environ: dict[str, str]) -> None:
    homeless = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "RUNTYPE_MCP_STATE_DIR"), "")
    found = report(environ | homeless | {"HOME": "nowhere"})
    assert found.code == 0
    assert found["state"].startswith("warn: There is no home directory: approvals are kept in memory")
    assert found["cache"].startswith("warn: There is no home directory. Each start takes longer.")


def test_an_audit_log_that_cannot_be_written_is_a_setting_that_cannot_be_used(
    environ: dict[str, str], tmp_path: Path
) -> None:
    log = {"RUNTYPE_MCP_AUDIT": str(tmp_path / "audit.jsonl")}
    assert report(environ | log)["audit"] == f"ok: {tmp_path / 'audit.jsonl'} can be written."
    found = report(environ | {"RUNTYPE_MCP_AUDIT": str(tmp_path)})
    assert (found.code, found.failures()) == (2, ["settings"])


@pytest.mark.parametrize("folder", ["home", "elsewhere"])
def test_a_folder_that_is_no_project_is_told(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    found = report(environ | ({"HOME": str(tmp_path / folder)} if folder == "home" else {}))
    assert found.code == 0
    says = {
        "home": f"This starts in {tmp_path / 'home'}, which is no project: values cannot be written into env files.",
        "elsewhere": f"{tmp_path / 'elsewhere'} does not look like a project: none of the usual files is in it.",
    }
    assert found["files root"] == f"warn: {says[folder]} Set RUNTYPE_MCP_FILES_ROOT to your project's folder."


def test_a_redis_that_answers_is_told_without_its_password_and_so_is_one_that_does_not(
    environ: dict[str, str], tmp_path: Path
) -> None:
    keys = {"RUNTYPE_MCP_REQUEST_STATE_KEYS": "a" * 32}
    with redis_server(tmp_path / "redis", "--requirepass", "word") as server:
        url = server.url.replace("unix://", "unix://:word@")
        found = report(environ | keys | {"RUNTYPE_MCP_REDIS_URL": url})
        wrong = report(environ | {"RUNTYPE_MCP_REDIS_URL": url.replace("word", "another")})
    assert found["state"] == f"ok: {server.url.replace('unix://', 'unix://:***@')} answers."
    assert "1 keys, which are not shown" in found["settings"]
    assert wrong["state"].startswith("fail: What the servers share could not be used")
    for told in (found, wrong):
        assert not any(secret in str(told.found) for secret in (":word@", ":another@", "a" * 32))
