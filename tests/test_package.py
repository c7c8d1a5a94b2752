"""The suite runs against the package as it is installed, so what a wheel lacks is missed."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import runtype_mcp
from tests.processes import run, started

CHECKOUT = Path(__file__).parent.parent / "runtype_mcp"
INSTALLED = Path(runtype_mcp.__file__).parent
AGAIN = "install the package again, as the README's test command does"


def test_the_tests_import_the_installed_package() -> None:
    assert INSTALLED != CHECKOUT, f"these tests ran against the checkout: {AGAIN}"
    assert Path(str(importlib.metadata.distribution("runtype-mcp").locate_file("runtype_mcp"))) == INSTALLED


def test_the_installed_package_is_that_of_this_checkout() -> None:
    for path in CHECKOUT.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            installed = INSTALLED / path.relative_to(CHECKOUT)
            assert installed.is_file(), f"{installed.name} is not in the wheel, or not installed: {AGAIN}"
            assert installed.read_bytes() == path.read_bytes(), f"{installed.name} has changed since: {AGAIN}"


def test_a_process_that_a_test_starts_runs_the_installed_package() -> None:
    with started("--version", first="import runtype_mcp; print(runtype_mcp.__file__)") as process:
        assert process.line().decode() == str(INSTALLED / "__init__.py")
    assert run("--version").stdout == f"runtype-mcp {importlib.metadata.version('runtype-mcp')}\n"


def test_the_wheel_brings_the_package_and_its_types_and_no_tests() -> None:
    brought = {file.parts[0] for file in importlib.metadata.files("runtype-mcp") or []}
    assert {folder for folder in brought if not folder.startswith("runtype_mcp-") and folder != ".."} == {"runtype_mcp"}
    assert (INSTALLED / "py.typed").is_file()


def test_the_wheel_brings_the_documentation() -> None:
    pages = sorted((CHECKOUT.parent / "docs").rglob("*.md"))
    assert pages
    for page in pages:
        installed = INSTALLED / "docs" / page.relative_to(CHECKOUT.parent / "docs")
        assert installed.is_file(), f"{page.name} is not in the wheel, or not installed: {AGAIN}"
        assert installed.read_bytes() == page.read_bytes(), f"{page.name} has changed since: {AGAIN}"
