"""Which module may import which, read from the source, lazy and relative imports included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import runtype_mcp
from tests.processes import TIMEOUT, unmeasured

ROOT = Path(runtype_mcp.__file__).parent
MODULES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}

# Each line may import from itself and from the lines that it names: one way, down the list.
MAY_IMPORT = {
    "__init__.py": set[str](),
    "__main__.py": {"cli"},
    "cli.py": {"runtype_mcp", "stdio", "commands"},
    "commands": {
        *("runtype_mcp", "stdio", "http", "server", "sandbox", "hosts", "tools", "storage", "policy", "api", "results"),
        *(
            "identity",
            "credentials",
            "keyring_access",
            "setting_variables",
            "settings",
            "setting_values",
            "environment",
            "errors",
            "person",
            "console",
            "listen",
            "logs",
        ),
    },
    "http": {
        *("runtype_mcp", "server", "console", "listen", "tools", "storage", "policy", "api", "identity"),
        *("credentials", "settings", "setting_values", "environment", "errors", "logs", "observer"),
    },
    "stdio": {"runtype_mcp", "server", "credentials", "settings", "environment"},
    "hosts": {"runtype_mcp", "storage"},
    "server.py": {
        *("runtype_mcp", "console", "tools", "storage", "policy", "api", "sandbox", "identity", "credentials"),
        *("settings", "errors", "observer"),
    },
    "console": {"runtype_mcp", "listen", "tools", "storage", "policy", "results", "settings", "person"},
    "tools": {"runtype_mcp", "storage", "policy", "api", "results", "identity", "settings", "errors", "observer"},
    "results.py": {"policy", "api", "tools"},
    "identity.py": {"policy", "api", "credentials", "settings", "errors"},
    "credentials.py": {"setting_values", "keyring_access", "storage", "policy", "settings", "environment", "errors"},
    "keyring_access.py": set[str](),
    "storage": {"policy", "errors"},
    "policy": {"api"},
    "api": {"runtype_mcp", "errors", "observer"},
    "settings.py": {"setting_values", "setting_variables", "policy", "environment"},
    "setting_variables.py": set[str](),
    "setting_values.py": {"policy", "environment"},
    "environment.py": set[str](),
    "errors.py": set[str](),
    "person.py": set[str](),
    "sandbox": {"listen"},
    "listen.py": set[str](),
    "observer.py": set[str](),
    "logs.py": {"policy"},
}
SPEAKS_MCP = ("server.py", "console", "tools", "http", "stdio", "commands", "identity.py")
"""`policy/`, `api/`, `storage/` and the rest know nothing of the protocol, not even lazily."""
NETWORK = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "aiohttp", "urllib3"}
READS_OR_WRITES = {
    *("os", "io", "pathlib", "sqlite3", "socket", "subprocess", "shutil", "tempfile", "filelock", "time", "http"),
    *("anyio", "asyncio", "threading", "selectors", "select", "open"),
}
LOADED_LATE = {
    *("sqlite3", "filelock", "publicsuffixlist", "stamina", "tenacity", "jsonschema", "rich", "shtab", "webbrowser"),
    *("tomlkit", "ruamel", "redis", "prometheus_client"),
    *("runtype_mcp.console.browser_pages", "runtype_mcp.console.app", "runtype_mcp.console.browser"),
}
"""What a start must not wait for: each is imported by the first call that needs it."""


def imports(path: str) -> Iterator[str]:
    """The absolute names of all that a module imports, wherever in it."""
    package = ["runtype_mcp", *Path(path).parent.parts]
    for node in ast.walk(MODULES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def parts(path: str) -> set[str]:
    """The parts of this package that a module imports from; `runtype_mcp` stands for the package alone."""
    found = set[str]()
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "runtype_mcp":
            part = rest.partition(".")[0]
            found.add(part if (ROOT / part).is_dir() or (ROOT / f"{part}.py").is_file() else "runtype_mcp")
    return found


def libraries(path: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def called(tree: ast.AST) -> set[str]:
    """The names of the functions and methods that are called."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {f.id if isinstance(f, ast.Name) else f.attr for f in functions if isinstance(f, ast.Name | ast.Attribute)}


def rule(path: str) -> str:
    """The rule that names this module: its folder's, or its own."""
    return path.partition("/")[0]


@pytest.mark.parametrize("path", MODULES)
def test_a_module_imports_only_from_below(path: str) -> None:
    assert rule(path) in MAY_IMPORT, "no rule names this module: say above what it may import"
    assert parts(path) <= MAY_IMPORT[rule(path)] | {rule(path).removesuffix(".py")}


def test_every_rule_names_a_module_that_exists() -> None:
    assert MAY_IMPORT.keys() == {rule(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES)
def test_only_what_serves_knows_the_protocol(path: str) -> None:
    if not path.startswith(SPEAKS_MCP):
        assert not {"mcp", "mcp_types"} & libraries(path)


def test_policy_does_no_input_or_output() -> None:
    for path in MODULES:
        if rule(path) == "policy":
            assert not (NETWORK | READS_OR_WRITES) & (libraries(path) | called(MODULES[path])), path
            assert "runtype_mcp.api.client" not in {name.rpartition(".")[0] for name in imports(path)}, path


def test_http_is_spoken_in_one_place() -> None:
    """To the API; `call --url` to an MCP server, of which it knows the failures; a team's server to an issuer."""
    found = {path for path in MODULES if NETWORK & libraries(path)}
    expected = {"api/client.py", "api/connections.py", "commands/call.py", "commands/call_server.py", "http/jwks.py"}
    assert found == expected


@pytest.mark.parametrize("path", MODULES)
def test_no_import_is_hidden_from_these_rules(path: str) -> None:
    assert not {"import_module", "__import__", "exec", "eval"} & called(MODULES[path])


@pytest.mark.parametrize("module", ["runtype_mcp.server", "runtype_mcp.http.app", "runtype_mcp.commands"])
def test_a_start_loads_nothing_that_only_a_call_needs(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True, env=unmeasured())
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not LOADED_LATE & loaded


def test_only_one_boundary_catches_everything() -> None:
    caught = [(path, node) for path, tree in MODULES.items() for node in ast.walk(tree) if catches_everything(node)]
    ((path, handler),) = caught
    assert path == "tools/pipeline.py"
    assert isinstance(handler, ast.ExceptHandler)
    assert "the one boundary" in (ROOT / path).read_text().splitlines()[handler.lineno - 1]


def catches_everything(node: ast.AST) -> bool:
    """Whether this is an `except`, or a `suppress`, of all that may be raised."""
    match node:
        case ast.ExceptHandler(type=None):
            return True
        case ast.ExceptHandler(type=ast.expr() as kind):
            named = [kind]
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args):
            named = args
        case _:
            return False
    return bool(
        {"Exception", "BaseException"} & {name for kind in named for name in re.findall(r"\w+", ast.unparse(kind))}
    )


def test_nothing_is_made_when_a_module_is_imported() -> None:
    """No client, no settings and no server at module level: each belongs to a call of `build_server`."""
    kinds = {"RuntypeClient", "AsyncClient", "Settings", "RuntypeServer", "MCPServer", "build_server"}
    for path, tree in MODULES.items():
        for statement in tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
                assert not kinds & {node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)}, path


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    assert {path: lines for path in MODULES if (lines := len((ROOT / path).read_text().splitlines())) > 350} == {}


@pytest.mark.parametrize("path", MODULES)
def test_no_group_is_repeated_possessively(path: str) -> None:
    """Python 3.11 before 3.11.5 matches such a group wrongly: a secret or a line of an env file would slip through."""
    source = (ROOT / path).read_text(encoding="utf-8")
    assert not re.findall(r"(?:\)|_CHAR\})[*+?]\+", source), "repeat the group greedily, with a look ahead if need be"
