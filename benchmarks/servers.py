"""The servers that are compared, and the environments that they are installed into."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.upstream import TOKEN_ID

HERE = Path(__file__).parent
PEERS = HERE / "peers"
CACHE = Path(os.environ.get("RUNTYPE_BENCH_DIR") or Path.home() / ".cache" / "runtype-mcp-bench")
OURS = Path(sys.executable).with_name("runtype-mcp")

UV = "uv==0.13.8"
PYTHON_PEERS = {"fastmcp": "fastmcp==4.1.6", "awslabs": "awslabs-openapi-mcp-server==1.1.6"}
NODE_PEERS = ["@notionhq/notion-mcp-server@2.5.2", "@modelcontextprotocol/server-everything@2026.8.31"]

GET = ("get_client_token", {"client_token": TOKEN_ID})
GET_BY_OPERATION = ("getClientToken", {"id": TOKEN_ID})


@dataclass(frozen=True)
class Server:
    name: str
    stdio: list[str]  # $URL stands for the upstream's address
    http: list[str] | None = None  # $PORT stands for the port to listen on
    get: tuple[str, dict[str, Any]] | None = None  # the call that gets one client token, if it has one
    env: dict[str, str] = field(default_factory=dict)
    fresh_cache: bool = False  # an empty XDG_CACHE_HOME for every start


def install() -> None:
    """Install what is missing. A peer keeps its own environment, with compiled bytecode, as installers leave it."""
    uv = CACHE / "uv" / "bin" / "uv"
    if not uv.exists():
        subprocess.run([sys.executable, "-m", "venv", uv.parent.parent], check=True)
        subprocess.run([uv.with_name("pip"), "install", "-q", UV], check=True)
    override = CACHE / "override.txt"
    override.write_text("certifi>=2025.1\n")  # fastmcp asks for a newer one than some mirrors have
    for name, requirement in PYTHON_PEERS.items():
        if not (CACHE / name / requirement).exists():
            subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, CACHE / name], check=True)
            pip: list[str | Path] = [uv, "pip", "install", "-q", "--compile-bytecode", "--override", override]
            subprocess.run([*pip, "--python", CACHE / name / "bin" / "python", requirement], check=True)
            (CACHE / name / requirement).touch()
    if shutil.which("npm") and not (CACHE / "node_modules").exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", CACHE, *NODE_PEERS], check=True)


def servers() -> list[Server]:
    """Ours first if it is installed, then every peer that is."""
    fastmcp = str(CACHE / "fastmcp" / "bin" / "python")
    quiet = {
        "FASTMCP_SHOW_SERVER_BANNER": "false",
        "FASTMCP_CHECK_FOR_UPDATES": "off",
        "FASTMCP_LOG_LEVEL": "WARNING",
    }

    def script(name: str, file: str, python: str, get: tuple[str, dict[str, Any]], **env: str) -> Server:
        argv = [python, str(PEERS / file)]
        return Server(name, argv, [*argv, "$PORT"], get, env | {"PYTHONPATH": str(HERE.parent)})

    ours, ours_http = [str(OURS)], [str(OURS), "http", "--port", "$PORT"]
    awslabs = [str(CACHE / "awslabs" / "bin" / "awslabs.openapi-mcp-server"), "--api-url", "$URL"]
    awslabs += ["--spec-path", str(PEERS / "openapi.json"), "--auth-type", "bearer", "--auth-token", "bench"]
    awslabs += ["--allow-insecure-http", "--allow-private-networks", "--log-level", "ERROR"]
    found = [
        Server("runtype-mcp", ours, ours_http, GET),
        Server("runtype-mcp, cold cache", ours, None, GET, fresh_cache=True),
        script("mcp MCPServer", "bare_sdk.py", sys.executable, GET),
        script("mcp low-level", "bare_lowlevel.py", sys.executable, GET),
        script("fastmcp by hand", "fastmcp_hand.py", fastmcp, GET, **quiet),
        script("fastmcp from_openapi", "fastmcp_openapi.py", fastmcp, GET_BY_OPERATION, **quiet),
        Server("awslabs-openapi", awslabs, None, GET_BY_OPERATION, {"FASTMCP_LOG_LEVEL": "ERROR"}),
        node("notion (Node)", NODE_PEERS[0], NOTION_TOKEN="ntn_bench"),
        node("everything (Node)", NODE_PEERS[1]),
    ]
    runs = OURS.exists() and not subprocess.run([OURS, "--version"], capture_output=True).returncode
    return [server for server in found if (runs if server.stdio == ours else Path(server.stdio[0]).exists())]


def node(name: str, package: str, **env: str) -> Server:
    root = CACHE / "node_modules" / package.rsplit("@", 1)[0]
    if not root.exists():
        return Server(name, ["missing"])
    (entry,) = json.loads((root / "package.json").read_text())["bin"].values()
    return Server(name, [shutil.which("node") or "missing", str(root / entry)], env=env)


def environment(server: Server, url: str, cache: Path) -> dict[str, str]:
    """A small environment, the same for all: no proxies, no tokens, no colours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ours = {"RUNTYPE_API_KEY": "rt_test_bench", "RUNTYPE_BASE_URL": url, "XDG_CACHE_HOME": str(cache)}
    return kept | ours | server.env
