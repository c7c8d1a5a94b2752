"""The commands of docs/teams.md that are not ours, run as they stand there."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from runtype_mcp.settings import Settings
from runtype_mcp.storage.redis_state import RedisState
from runtype_mcp.storage.state import StateError
from tests.deploy.image import ROOT
from tests.deploy.nginx import free_port
from tests.redis_server import redis_server

pytestmark = pytest.mark.anyio
PAGE = (ROOT / "docs/teams.md").read_text("utf-8")
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
NOT_HERE = ("runtype-mcp ", "python3 -m venv", "docker compose", "kubectl")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What the page's commands leave in deploy/secrets."""
    (tmp_path / "deploy").mkdir()
    script = "\n".join(line for line in LINES if not line.startswith(NOT_HERE))
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True)
    return tmp_path / "deploy/secrets"


def test_the_secrets_are_whole_and_nobody_else_enters_their_folder(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {path.name for path in secrets.iterdir()} == {
        "redis-password",
        "redis-url",
        "redis-users",
        "request-state-keys",
    }
    for file in secrets.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o444
    read = Settings.from_env(
        {
            "RUNTYPE_MCP_REDIS_URL_FILE": str(secrets / "redis-url"),
            "RUNTYPE_MCP_REQUEST_STATE_KEYS_FILE": str(secrets / "request-state-keys"),
        }
    )
    assert read.redis_url
    assert read.redis_url.endswith("@redis:6379/0")
    assert read.request_state_keys
    assert len(read.request_state_keys[0]) == 64


async def test_the_redis_user_may_do_what_the_server_does_and_nothing_else(secrets: Path, tmp_path: Path) -> None:
    port, password = free_port(), (secrets / "redis-password").read_text().strip()
    url = f"redis://runtype:{password}@127.0.0.1:{port}/0"
    options = ["--port", str(port), "--bind", "127.0.0.1", "--aclfile", str(secrets / "redis-users")]
    with redis_server(tmp_path / "redis", *options, url=url) as server:
        state = RedisState(url)
        try:
            async with state.lock("a token") as held:
                await held.ensure_held()
                await state.advance_write_epoch()
            used = await state.approvals_used("digest")
            assert await state.use_approval("digest", used)
            assert not await state.use_approval("digest", used)
            assert await state.hit("caller", 10, 60) == 0
            await state.record_reads("somebody", {"ct_1": {"name": "A"}})
            assert await state.last_read("somebody", "ct_1") == {"name": "A"}
        finally:
            await state.aclose()
        with server.client() as client:
            for command in (["SET", "other", "1"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"]):
                with pytest.raises(Exception, match=r"(?i)permission"):
                    client.execute_command(*command)
        stranger = RedisState(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(StateError):
            await stranger.write_epoch()
        await stranger.aclose()


def test_the_commands_for_containers_name_what_is_there() -> None:
    compose = [line for line in LINES if line.startswith("docker compose")]
    assert compose
    for line in compose:
        (file,) = re.findall(r"-f (\S+)", line)
        assert yaml.safe_load((ROOT / file).read_text())["services"]
    applied = [line for line in LINES if line.startswith("kubectl apply -k")]
    assert [(ROOT / line.split()[-1] / "kustomization.yaml").is_file() for line in applied] == [True]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="there is no kubectl here")
def test_the_secret_of_kubernetes_has_what_the_manifests_mount(secrets: Path, tmp_path: Path) -> None:
    (line,) = [line for line in LINES if line.startswith("kubectl create secret")]
    command = [*line.split(), "--dry-run=client", "--output", "yaml"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    secret = yaml.safe_load(made)
    assert secret["metadata"] == {"creationTimestamp": None, "name": "runtype-mcp", "namespace": "runtype-mcp"}
    assert {"redis-url", "redis-users", "request-state-keys"} <= secret["data"].keys()
