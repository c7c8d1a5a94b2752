"""What the process that speaks with the system's keyring prints, and its exit code."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backends import fail

from runtype_mcp.keyring_access import NO_KEYRING, NOT_FOUND, main
from tests.keyrings.stand_in_keyrings import Locked, Working

ENTRY = ("runtype-mcp https://api.runtype.com", "default")


@pytest.fixture(autouse=True)
def _one_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STAND_IN_KEYRING", str(tmp_path / "keyring.json"))
    before = keyring.get_keyring()
    keyring.set_keyring(Working())  # type: ignore[no-untyped-call]  # the library's own is untyped
    yield
    keyring.set_keyring(before)


def store(secret: str, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(secret))
        return main("set", *ENTRY)


def test_a_secret_is_stored_read_and_deleted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store("secret", monkeypatch) == 0
    assert capsys.readouterr().out == "Stand-in Keyring"
    assert main("get", *ENTRY) == 0
    assert capsys.readouterr().out == "secret"
    assert main("delete", *ENTRY) == 0
    assert main("get", *ENTRY) == main("delete", *ENTRY) == NOT_FOUND
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("action", ["get", "delete", "set"])
def test_a_keyring_that_keeps_nothing_is_none(action: str) -> None:
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]  # the library's own is untyped
    assert main(action, *ENTRY) == NO_KEYRING


def test_the_failure_of_a_keyring_is_raised_as_it_is() -> None:
    keyring.set_keyring(Locked())  # type: ignore[no-untyped-call]  # the library's own is untyped
    with pytest.raises(keyring.errors.KeyringLocked):
        main("get", *ENTRY)
