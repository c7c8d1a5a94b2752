"""Whether git would commit an env file."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtype_mcp.storage.git_ignore import warning

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))  # no global ignore rules
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    repository = tmp_path / "project"
    (repository / "app").mkdir(parents=True)
    git(repository, "init", "-q")
    (repository / ".gitignore").write_text(".env\n")
    return repository


def git(repository: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True, timeout=30)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o700)
    return path


def first_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("path", [".env", "app/.env"])
def test_an_ignored_file_needs_no_warning(repository: Path, path: str) -> None:
    assert warning(repository / path) is None


def test_a_file_outside_every_repository_needs_no_warning(tmp_path: Path) -> None:
    assert warning(tmp_path / "prod.env") is None


@pytest.mark.parametrize("path", ["prod.env", "app/.env.local", "*.env", "app/-x.env"])
def test_a_file_that_git_would_commit_is_reported(repository: Path, path: str) -> None:
    git(repository, "config", "--add", "safe.directory", "*")
    (repository / "a.env").touch()
    git(repository, "add", "a.env")  # which *.env does not stand for
    assert warning(repository / path) == (
        f"Git may commit {repository / path}: add it to .gitignore, and if git tracks it, run `git rm --cached` on it."
    )


@pytest.mark.parametrize("path", [".env", "app/prod.env"])
def test_a_file_that_git_tracks_is_reported_even_if_a_rule_ignores_it(repository: Path, path: str) -> None:
    (repository / path).touch()
    git(repository, "add", "-f", path)
    assert f"Git may commit {repository / path}" in str(warning(repository / path))


def test_variables_that_point_git_elsewhere_are_not_passed_on(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository.parent / "none"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository))
    assert warning(repository / "app/.env") is None


def test_a_program_that_the_repository_names_is_not_run(repository: Path) -> None:
    marker = repository / "ran"
    monitor = program(repository / "monitor.sh", f"#!/bin/sh\ntouch '{marker}'\n")
    git(repository, "add", ".gitignore")
    git(repository, "config", "core.fsmonitor", str(monitor))
    git(repository, "ls-files")
    assert marker.exists(), "this git does run it, so the next lines mean something"
    marker.unlink()
    assert warning(repository / ".env") is None
    assert not marker.exists()


def test_a_git_that_comes_with_the_repository_is_not_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_on_path(monkeypatch, program(repository / "bin/git", f"#!/bin/sh\ntouch '{repository}/ran'\n").parent)
    assert "Git may commit" in str(warning(repository / ".env"))
    assert not (repository / "ran").exists()


def no_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))


def killed_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_on_path(monkeypatch, program(folder / "bin/git", "#!/bin/sh\nkill -9 $$\n").parent)


def no_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_on_path(monkeypatch, program(folder / "bin/git", "not a program").parent)


def broken_repository(folder: Path, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder / "project/.git")
    (folder / "project/.git").write_text("nonsense")


@pytest.mark.parametrize("fail", [no_git, killed_git, no_program, broken_repository])
def test_without_an_answer_from_git_the_warning_stands(
    repository: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    fail(repository.parent, monkeypatch)
    assert f"Git may commit {repository / '.env'}" in str(warning(repository / ".env"))
