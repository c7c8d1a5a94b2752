"""The suites. Each runs a tool that nobody here wrote, and returns what came of every check in it."""

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts import release
from tests.outside import subject

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = HERE / "node_modules"
SCOPE = MODULES / "@modelcontextprotocol"
CONVERTERS = HERE / "converters"

Outcomes = dict[str, str]
"""Check -> `passed`, `warned`, `skipped` or `failed`; after a colon, why."""


# A developer's own settings of the server would change what is tested.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("RUNTYPE_")}


class OutsideError(Exception):
    """A tool could not be run at all, so it says nothing about the server."""


def install(folder: Path = HERE) -> None:
    """Install the tools that the folder's lock file names, unless they are there."""
    lock, installed = folder / "package-lock.json", folder / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci"], cwd=folder, check=True)


def environment(pins: Path) -> Path:
    """The folder of programs of an environment that has what `pins` names, and nothing else; made if it is not there.

    Each tool has its own, because they disagree on what they need, and because none may join in the project's.
    """
    home = HERE / ".venv" / pins.stem
    done = home / pins.name
    if not done.exists() or done.read_text() != pins.read_text():
        commands: tuple[list[str | Path], ...] = (
            [_uv(), "venv", "--clear", "--python", sys.executable, home],
            [_uv(), "pip", "sync", "--python", home / "bin/python", pins],
        )
        for command in commands:
            run = _run(command, 600, env=_clean())
            if run.returncode != 0:
                raise OutsideError(f"{pins.name} is not installed:\n{run.stderr}")
        done.write_text(pins.read_text())
    return home / "bin"


def _run(command: Sequence[str | Path], seconds: float = 120, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `command` from the project's root. It has no terminal and no input."""
    arguments = [str(part) for part in command]
    options = {
        "cwd": ROOT,
        "env": ENVIRONMENT,
        "stdin": subprocess.DEVNULL,
        "capture_output": True,
        "text": True,
        **more,
    }
    try:
        return subprocess.run(arguments, timeout=seconds, check=False, **options)
    except subprocess.TimeoutExpired:
        raise OutsideError(f"no end after {seconds:.0f} s: {' '.join(arguments)}") from None
    except FileNotFoundError:
        raise OutsideError(f"{arguments[0]} is not installed") from None


def _node_program() -> str:
    """Node. It comes with the tools where npm has it for this platform: the Inspector needs 22.19."""
    return str(next(MODULES.glob("node-linux-*/bin/node"), "node"))


def _node(script: Path, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return _run([_node_program(), script, *arguments], **more)


@contextlib.contextmanager
def _listening(command: Sequence[str]) -> Iterator[str]:
    """Start an HTTP server that prints its URL on stderr, and stop it at the end."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "stderr")
        with log.open("w") as stderr:
            process = subprocess.Popen(
                command, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
            )
        try:
            yield _url(process, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        printed = log.read_text()
        if found := re.search(r"http://\S+/mcp", printed):
            return found[0]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise OutsideError(f"the server printed no URL:\n{printed}")


def conformance(revision: str) -> Outcomes:
    """Every scenario that the official suite has for a revision of the protocol, scored or not."""
    tool = SCOPE / "conformance/dist/index.js"
    command = [sys.executable, "-m", "tests.outside.conformance_server"]
    with _listening(command) as url, tempfile.TemporaryDirectory() as results:
        run = _node(tool, "server", "--url", url, "--requirements", revision, "--output-dir", results)
        outcomes = {}
        for checks in Path(results).glob("server-*/checks.json"):
            scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", checks.parent.name)
            outcomes[scenario] = _scenario(json.loads(checks.read_text()))
    outcomes["the suite's own verdict"] = "passed" if run.returncode == 0 else f"failed: exit {run.returncode}"
    return outcomes


def _scenario(checks: list[dict[str, str]]) -> str:
    # The suite calls a scenario passed when nothing failed, so one that tested nothing passes there; and one that
    # exchanged no valid answer still has its messages "valid". Here a pass needs a check of its own that succeeded.
    for status, word in (("FAILURE", "failed"), ("WARNING", "warned")):
        if bad := [check for check in checks if check["status"] == status]:
            return f"{word}: " + "; ".join(f"{check['id']} {check.get('errorMessage', '')}" for check in bad)
    own = [check for check in checks if check["status"] == "SUCCESS" and check["id"] != "wire-schema-valid"]
    return "passed" if own else "skipped"


def typescript(script: str, *target: str) -> Outcomes:
    """A client drives the tools end to end, and answers the questions that a person would."""
    return _printed(script, _node(HERE / script, *target))


def _printed(name: str, run: subprocess.CompletedProcess[str]) -> Outcomes:
    try:
        outcomes: Outcomes = json.loads(run.stdout)
    except ValueError:
        raise OutsideError(f"{name} did not finish:\n{run.stderr}") from None
    return outcomes


def typescript_http(script: str) -> Outcomes:
    with _listening(subject.HTTP) as url:
        return typescript(script, url)


def converter(framework: str, *how: str) -> Outcomes:
    """An agent framework converts the tools for its models, and calls them as a model would."""
    python = environment(CONVERTERS / f"{framework}.txt") / "python"
    module = f"tests.outside.converters.{framework.replace('-', '_')}"
    return _printed(framework, _run([python, "-m", module, *how, *subject.STDIO], env=_clean()))


def _inspect(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    launcher = SCOPE / "inspector/clients/launcher/build/index.js"
    return _node(launcher, "--cli", *arguments, "--format", "json", "--quiet", **more)


def inspector(*target: str) -> Outcomes:
    """The Inspector's command line: its schema lint, a call, and a call that fails."""
    lint = _inspect(*target, "--method", "tools/list", "--strict")
    call = [*target, "--method", "tools/call", "--tool-name"]
    good = _inspect(*call, "list_client_tokens")
    bad = _inspect(*call, "get_client_token", "--tool-arg", "client_token=no such token")
    return {
        # Findings below an error leave exit code 0, and are printed.
        "the schema lint finds nothing": _verdict(lint.returncode == 0 and not lint.stderr, lint),
        "a call is answered": _verdict(good.returncode == 0, good),
        "a tool's error is exit code 5": _verdict(bad.returncode == 5, bad),
    }


def inspector_http() -> Outcomes:
    with _listening(subject.HTTP) as url:
        return inspector(url, "--transport", "http", "--protocol-era", "modern")


def _verdict(passed: bool, run: subprocess.CompletedProcess[str]) -> str:
    return "passed" if passed else f"failed: exit {run.returncode}\n{run.stderr or run.stdout}"


def bundle() -> Outcomes:
    """The desktop bundle: valid, packed, lean, and started from its unpacked files as a host starts it."""
    mcpb = MODULES / "@anthropic-ai/mcpb/dist/cli/cli.js"
    manifest = json.loads((ROOT / "manifest.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        packed, unpacked = Path(scratch, "runtype.mcpb"), Path(scratch, "unpacked")
        valid = _node(mcpb, "validate", ROOT / "manifest.json")
        try:
            release.bundle(packed, [_node_program(), str(mcpb)])
        except release.ReleaseError as problem:
            raise OutsideError(str(problem)) from None
        unpack = _node(mcpb, "unpack", packed, unpacked)
        with zipfile.ZipFile(packed) as archive:
            strangers = sorted({name.split("/")[0] for name in archive.namelist()} - BUNDLED)
            strangers += [name for name in archive.namelist() if name.endswith(".pyc")]
        # A host prepares the environment when the bundle is installed, and starts the command later.
        prepare = _run([_uv(), "sync", "--directory", unpacked], 600, cwd=scratch, env=_clean())
        starts = {name: _start_bundle(unpacked, fields, scratch) for name, fields in FILLED.items()}
    declared = {tool["name"] for tool in manifest["tools"]}
    writes = {f"{verb}_client_token" for verb in ("create", "update", "delete", "regenerate")}
    outcomes = {
        "the manifest is valid": _verdict(valid.returncode == 0, valid),
        "the bundle is packed and unpacked": _verdict(unpack.returncode == 0, unpack),
        "the bundle holds only what runs": "passed" if not strangers else f"failed: {strangers}",
        "its environment is prepared": _verdict(prepare.returncode == 0, prepare),
    }
    for name, (placeholders, run) in starts.items():
        listed = {tool["name"] for tool in json.loads(run.stdout or "{}").get("result", {}).get("tools", [])}
        expected = declared - writes if name == "filled in, read only" else declared
        outcomes[f"no placeholder is left, {name}"] = "passed" if not placeholders else f"failed: {placeholders}"
        outcomes[f"it starts and lists its tools, {name}"] = (
            "passed" if listed == expected else f"failed: {sorted(listed ^ expected)}\n{run.stderr}"
        )
    return outcomes


FILLED: dict[str, dict[str, Any]] = {
    "left empty": {},
    "sandbox mode": {"sandbox": True},
    "filled in, read only": {
        "api_key": "rt_test_0123456789",
        "approval": "human",
        "files_root": str(ROOT),
        "read_only": True,
    },
}
"""What a person put into the bundle's form."""


def _start_bundle(
    unpacked: Path, fields: dict[str, Any], scratch: str
) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Start an unpacked bundle: the placeholders that the host left, and what the Inspector listed."""
    filled = _node(HERE / "fill.mjs", unpacked / "manifest.json", unpacked, json.dumps(fields))
    config = Path(scratch, "config.json")
    config.write_text(json.dumps({"mcpServers": {"bundle": json.loads(filled.stdout or "{}")}}))
    listed = _inspect("--config", config, "--server", "bundle", "--method", "tools/list", cwd=scratch, env=_clean())
    return re.findall(r"\$\{[^}]*\}", filled.stdout), listed


def package() -> Outcomes:
    """The wheel and the source, as they are uploaded."""
    with tempfile.TemporaryDirectory() as scratch:
        build = _run([_uv(), "build", "--out-dir", scratch], 600, env=_clean())
        files = sorted(Path(scratch).glob("*.whl")) + sorted(Path(scratch).glob("*.tar.gz"))
        check = _run([_uv(), "tool", "run", "twine==7.0.0", "check", "--strict", *files], 600, env=_clean())
    return {
        "a wheel and a source are built": _verdict(len(files) == 2, build),
        "both pass twine check": _verdict(check.returncode == 0, check),
    }


BUNDLED = {"LICENSE", "README.md", "docs", "icon.png", "manifest.json", "pyproject.toml", "runtype_mcp"}


def host(name: str) -> Outcomes:
    """A host's own command line, in a home where `runtype-mcp install` has been, and without a network."""
    install(HOSTS)
    with tempfile.TemporaryDirectory() as scratch:
        home, project, told = Path(scratch, "home"), Path(scratch, "project"), Path(scratch, "told")
        home.mkdir()
        project.mkdir()
        no_network = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
        trusted = {"GEMINI_CLI_TRUST_WORKSPACE": "true", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        env = {"HOME": str(home), "PATH": os.environ["PATH"], "RUNTYPE_API_KEY": KEY, **no_network, **trusted}

        def ours(*arguments: str) -> subprocess.CompletedProcess[str]:
            return _run([sys.executable, "-m", "runtype_mcp", *arguments, "--yes"], cwd=project, env=env)

        installed = ours("install", name)
        path = Path(installed.stdout.splitlines()[1])
        # In the server's place, a program that notes what it is given, and then is the server.
        spy = Path(scratch, "runtype-mcp")
        program = Path(sys.executable).with_name("runtype-mcp")
        spy.write_text(f'#!/bin/sh\nenv > "{told}"\nexec "{program}" "$@"\n')
        spy.chmod(0o755)
        path.write_text(path.read_text().replace(str(program), str(spy)))
        listed = _LISTS[name](project, env)
        given = dict(line.partition("=")[::2] for line in told.read_text().splitlines()) if told.exists() else {}
        removed = ours("uninstall", name)
        after = _LISTS[name](project, env)
    return {
        "install writes its file": _verdict(installed.returncode == 0, installed),
        "it says that the server is connected": "passed" if "runtype connected" in listed else f"failed: {listed}",
        "the key reaches the server and is in no file": "passed" if given.get("RUNTYPE_API_KEY") == KEY else "failed",
        "the server starts in the project": "passed" if given.get("PWD") == str(project) else "failed",
        "uninstall takes it out again": _verdict(removed.returncode == 0 and "runtype" not in after, removed),
    }


HOSTS = HERE / "hosts"
KEY = "rt_test_0123456789abcdef"


def _claude_code(project: Path, env: dict[str, str]) -> str:
    program = next((HOSTS / "node_modules/@anthropic-ai").glob("claude-code-*/claude"))
    run = _run([program, "mcp", "list"], cwd=project, env=env)
    return re.sub(r"runtype: .* - . Connected", "runtype connected", run.stdout + run.stderr)


def _gemini(project: Path, env: dict[str, str]) -> str:
    program = HOSTS / "node_modules/@google/gemini-cli/bundle/gemini.js"
    run = _node(program, "mcp", "list", cwd=project, env=env)
    return re.sub(r"runtype: .* - Connected", "runtype connected", run.stdout + run.stderr)


def _codex(project: Path, env: dict[str, str]) -> str:
    """What its app server says, where its `mcp list`, which starts no server, has it enabled too."""
    program = next((HOSTS / "node_modules/@openai").glob("codex-*/vendor/*/bin/codex"))
    enabled = re.findall(r"^(\S+) .*\benabled\b", _run([program, "mcp", "list"], cwd=project, env=env).stdout, re.M)
    with subprocess.Popen(
        [program, "app-server"],
        cwd=project,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        give_up = threading.Timer(120, process.kill)
        give_up.start()
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        answers = (json.loads(line) for line in stdout)

        def ask(message: dict[str, Any]) -> Any:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
            return next((one.get("result", {}) for one in answers if one.get("id") == message["id"]), {})

        ask({"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "outside", "version": "1"}}})
        thread = ask({"id": 2, "method": "thread/start", "params": {"cwd": str(project)}})
        which = {"threadId": thread.get("thread", {}).get("id")}
        status = ask({"id": 3, "method": "mcpServerStatus/list", "params": which}).get("data", [])
        give_up.cancel()
        process.terminate()
    connected = [one["name"] for one in status if one["tools"]]
    names = sorted({*enabled, *(one["name"] for one in status)})
    return " ".join(f"{name} {'connected' if name in connected and name in enabled else 'failed'}" for name in names)


_LISTS = {"claude-code": _claude_code, "codex": _codex, "gemini": _gemini}


def _uv() -> str:
    beside_python = Path(sys.executable).with_name("uv")
    uv = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if uv is None:
        raise OutsideError("uv is not here: pip install uv")
    return uv


def _clean() -> dict[str, str]:
    """The environment without what would lend others this checkout's code or packages."""
    lent = ("PYTHONPATH", "VIRTUAL_ENV")
    path = os.pathsep.join([str(Path(_uv()).parent), os.environ["PATH"]])
    # uv brings its own list of authorities, which lacks that of a proxy in between; pip and npm ask the system.
    return {n: value for n, value in ENVIRONMENT.items() if n not in lent} | {"PATH": path, "UV_SYSTEM_CERTS": "1"}


SUITES: dict[str, Callable[[], Outcomes]] = {
    "conformance-2025-11-25": functools.partial(conformance, "2025-11-25"),
    "conformance-2026-07-28": functools.partial(conformance, "2026-07-28"),
    "typescript-legacy-stdio": functools.partial(typescript, "typescript_legacy.mjs", *subject.STDIO),
    "typescript-legacy-http": functools.partial(typescript_http, "typescript_legacy.mjs"),
    "typescript-modern-stdio": functools.partial(typescript, "typescript_modern.mjs", *subject.STDIO),
    "typescript-modern-http": functools.partial(typescript_http, "typescript_modern.mjs"),
    "inspector-stdio": functools.partial(inspector, *subject.STDIO),
    "inspector-http": inspector_http,
    "google-genai": functools.partial(converter, "google-genai"),
    "openai-agents": functools.partial(converter, "openai-agents"),
    "openai-agents-strict": functools.partial(converter, "openai-agents", "strict"),
    "langchain-mcp-adapters": functools.partial(converter, "langchain-mcp-adapters"),
    "pydantic-ai": functools.partial(converter, "pydantic-ai"),
    "bundle": bundle,
    "host-claude-code": functools.partial(host, "claude-code"),
    "host-codex": functools.partial(host, "codex"),
    "host-gemini": functools.partial(host, "gemini"),
    "package": package,
}
