"""The house: which room may import which, read from the source, lazy and relative imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import runtype_mcp

ROOT = Path(runtype_mcp.__file__).parent
MODULES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}

# server → tools → safety → api → models. `runtype_mcp` itself is the version.
MAY_IMPORT = {
    "api/models.py": set[str](),
    "api/errors.py": set[str](),
    "api/client.py": {"runtype_mcp", "api"},
    "safety": {"runtype_mcp", "safety", "api", "settings"},
    "views.py": {"runtype_mcp", "api", "safety"},
    "tools": {"runtype_mcp", "tools", "safety", "api", "views", "settings"},
    "server.py": {"runtype_mcp", "tools", "safety", "api", "views", "settings", "sandbox"},
    "sandbox": {"runtype_mcp", "sandbox", "listen"},
    "settings.py": set[str](),
}
KNOWS_THE_PROTOCOL = {"safety/gate.py"}
"""Of the safety room, only the gate asks people, and so only it knows how clients are asked."""
NETWORK = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "aiohttp", "urllib3"}


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


def rooms(path: str) -> set[str]:
    """The rooms of this package that a module imports from; `runtype_mcp` stands for the package alone."""
    found = set[str]()
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "runtype_mcp":
            room = rest.partition(".")[0]
            found.add(room if (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file() else "runtype_mcp")
    return found


def libraries(path: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def in_room(room: str) -> list[str]:
    return [path for path in MODULES if path == room or path.startswith(f"{room}/")]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_from_below(room: str) -> None:
    assert in_room(room)
    for path in in_room(room):
        assert rooms(path) <= MAY_IMPORT[room], path


@pytest.mark.parametrize("module", ["api.client", "api"])
def test_safety_decides_and_never_calls_the_api(module: str) -> None:
    for path in in_room("safety"):
        assert f"runtype_mcp.{module}.RuntypeClient" not in set(imports(path)), path
        assert not NETWORK & libraries(path), path


def test_only_the_gate_of_api_and_safety_knows_the_protocol() -> None:
    knowing = {path for room in ("api", "safety") for path in in_room(room) if {"mcp", "mcp_types"} & libraries(path)}
    assert knowing == KNOWS_THE_PROTOCOL


def test_the_sandbox_knows_nothing_of_the_server_that_it_stands_in_for() -> None:
    for path in in_room("sandbox"):
        assert not {"api", "tools", "safety", "views", "server", "settings"} & rooms(path), path
        assert not {"mcp", "mcp_types"} & libraries(path), path


def test_http_is_spoken_in_one_place() -> None:
    assert {path for path in MODULES if NETWORK & libraries(path)} == {"api/client.py"}


def test_only_one_boundary_catches_everything() -> None:
    caught = [
        (path, handler)
        for path, tree in MODULES.items()
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler) and everything(handler)
    ]
    ((path, handler),) = caught
    assert path == "tools/endpoint.py"
    assert "the one boundary" in (ROOT / path).read_text().splitlines()[handler.lineno - 1]


def everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    named = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(named & {"Exception", "BaseException"})


def test_nothing_is_made_when_a_module_is_imported() -> None:
    """No client, no settings and no server at module level: each belongs to a call of `build_server`."""
    kinds = {"RuntypeClient", "AsyncClient", "Settings", "load", "App", "RuntypeServer", "MCPServer", "build_server"}
    for path, tree in MODULES.items():
        for statement in tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
                assert not kinds & {node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)}, path
