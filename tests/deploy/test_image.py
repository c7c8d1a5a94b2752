"""The steps of the Dockerfile give an installation that serves, as a user without rights, and writes nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.http.callers_file import CallersFile
from tests.deploy.calls import Caller
from tests.deploy.image import ROOT, Stage, build, instructions, is_sent, words
from tests.deploy.nginx import free_port
from tests.processes import TIMEOUT

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        "deploy/secrets/api-key",
        "docs.env",
        "runtype_mcp/__pycache__/cli.pyc",
        "tests/support.py",
    ],
)
def test_what_the_image_does_not_need_never_reaches_the_builder(path: str) -> None:
    assert not is_sent(path)


@pytest.mark.parametrize(
    "path", ["LICENSE", "constraints.txt", "docs/images/icon.svg", "runtype_mcp/policy/effects.py"]
)
def test_what_the_image_needs_reaches_the_builder(path: str) -> None:
    assert is_sent(path)


def test_no_step_takes_a_secret_or_the_whole_checkout() -> None:
    for word, rest in instructions(DOCKERFILE):
        if word in ("ARG", "ENV", "LABEL"):
            assert not re.search(r"(?i)key|secret|token=|password", rest.replace("client tokens", "")), rest
        assert word != "ADD"
        assert not (word == "COPY" and rest.split()[0] == "."), "it copies what happens to lie there"


@pytest.fixture(scope="module")
def built() -> Iterator[Stage]:
    # Not in pytest's folder, which the user of the image could not enter.
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        os.chmod(folder, 0o755)
        stage = build(Path(folder))
        os.chmod(stage.path("/tmp"), 0o1777)
        yield stage


def test_it_has_the_package_compiled_and_nothing_that_installs_or_tests(built: Stage) -> None:
    installed = built.path("/opt/runtype-mcp")
    (packages,) = installed.glob("lib/python3.*/site-packages")
    names = {path.name for path in packages.iterdir()}
    assert {"runtype_mcp", "redis", "jwt", "prometheus_client"} <= names
    assert not names & {"pip", "pytest", "tests", "playwright"}
    assert (packages / "runtype_mcp/docs/safety.md").is_file()
    sources = list(packages.joinpath("runtype_mcp").rglob("*.py"))
    assert len(sources) > 50
    assert all(Path(_compiled(path)).is_file() for path in sources)


def _compiled(source: Path) -> str:
    return importlib.util.cache_from_source(str(source))


def test_it_serves_as_a_user_who_owns_nothing_and_writes_nowhere_but_to_tmp(built: Stage) -> None:
    user, group = map(int, built.settings["USER"].split(":"))
    assert user > 0
    before = _state_of(built)
    port = str(free_port())
    command = [word.replace("8765", port) for name in ("ENTRYPOINT", "CMD") for word in words(built.settings[name])]
    callers = built.path("/tmp/callers")
    bearer = CallersFile(callers).add("bot", ("read",))
    callers.chmod(0o444)
    environ = built.environment | {
        "RUNTYPE_MCP_SANDBOX": "true",
        "RUNTYPE_MCP_AUTH": "static",
        "RUNTYPE_MCP_CALLERS": str(callers),
        "RUNTYPE_MCP_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    others: dict[str, Any] = {"user": user, "group": group, "extra_groups": []} if _may_be(user, group) else {}
    with subprocess.Popen(command, cwd=built.folder, env=environ, stderr=subprocess.PIPE, **others) as process:
        try:
            assert process.stderr is not None
            assert b"Serving MCP on" in process.stderr.readline()
            check = words(re.sub(r"^.*? CMD ", "", built.settings["HEALTHCHECK"]).replace("8765", port))
            assert subprocess.run(check, env=environ, check=False).returncode == 0
            with Caller(f"http://127.0.0.1:{port}/mcp", bearer) as caller:
                assert caller.call("list_client_tokens", limit=1).done
            with Caller(f"http://127.0.0.1:{port}/mcp", "") as nobody:
                assert nobody.call("list_client_tokens", limit=1).status == 401
        finally:
            process.send_signal(signal.Signals[built.settings["STOPSIGNAL"]])
            process.wait(TIMEOUT)
    assert subprocess.run(check, env=environ, capture_output=True, check=False).returncode != 0
    assert _state_of(built) == before


def _may_be(user: int, group: int) -> bool:
    """Whether this machine lets the test be that user: as root, and where others may use its Python."""
    try:
        return not subprocess.run([sys.executable, "-c", ""], user=user, group=group, check=False).returncode
    except OSError:
        return False


def _state_of(built: Stage) -> dict[str, int]:
    """When each file was changed, but for those in /tmp."""
    files = [path for path in built.root.rglob("*") if built.path("/tmp") not in (path, *path.parents)]
    assert len(files) > 1000
    return {str(path): path.lstat().st_mtime_ns for path in files}
