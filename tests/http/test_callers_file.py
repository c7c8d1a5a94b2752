"""The file of named callers: what it holds, who may read it, and when it is read again."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runtype_mcp.http.callers_file import CallersError, CallersFile
from tests.processes import TIMEOUT

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> CallersFile:
    return CallersFile(tmp_path / "callers.json")


def public_key(key: ed25519.Ed25519PrivateKey | None = None) -> str:
    key = key or ed25519.Ed25519PrivateKey.generate()
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_only_the_hash_of_a_token_is_kept_and_only_its_owner_may_read_it(file: CallersFile) -> None:
    token = file.add("bot", ("read",))
    assert len(token) >= 40
    assert token not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    found = file.find(token)
    assert found is not None
    assert (found.name, found.scopes) == ("bot", ("read",))


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "A", str.upper, lambda t: "", lambda t: f" {t}"])
def test_another_token_is_nobody_s(file: CallersFile, change: object) -> None:
    token = file.add("bot", ("read",))
    assert callable(change)
    assert file.find(change(token)) is None
    assert file.find(json.loads(file.path.read_text())["callers"][0]["sha256"]) is None
    assert file.find("\u00e9\ud800") is None


def test_a_token_ends_when_it_expires(file: CallersFile) -> None:
    token = file.add("bot", ("read",), NOW)
    assert file.find(token, NOW - timedelta(seconds=1)) is not None
    assert file.find(token, NOW) is None


def test_a_change_by_another_process_counts_at_once(file: CallersFile) -> None:
    token = file.add("bot", ("read",))
    assert file.find(token) is not None
    other = CallersFile(file.path)
    second = other.add("second", ("write",))
    assert file.find(second) is not None
    assert other.remove("bot")
    assert file.find(token) is None
    assert not other.remove("bot")


def test_a_file_that_is_gone_broken_or_open_to_others_lets_nobody_in(
    file: CallersFile, caplog: pytest.LogCaptureFixture
) -> None:
    token = file.add("bot", ("read",))
    whole = file.path.read_text()
    for text in ("", "{", "[]", '{"callers": [{"name": "bot"}]}', whole.replace('"bot"', '"b t"'), f"{whole}x"):
        file.path.write_text(text)
        assert file.find(token) is None, text
    file.path.write_text(whole.replace("client_tokens:read", "client_tokens:all"))
    assert file.find(token) is None
    file.path.write_text(whole)
    assert file.find(token) is not None
    file.path.unlink()
    assert file.find(token) is None
    assert "Nobody is let in." in caplog.text
    assert token not in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are not this system's")
def test_a_file_that_others_may_write_to_is_refused(file: CallersFile) -> None:
    token = file.add("bot", ("read",))
    file.path.chmod(0o622)
    with pytest.raises(CallersError, match="others may write to it"):
        CallersFile(file.path).callers()
    assert CallersFile(file.path).find(token) is None


def test_one_name_is_one_caller_s(file: CallersFile) -> None:
    token = file.add("bot", ("read",))
    with pytest.raises(CallersError, match="Remove it first"):
        file.add("bot", ("write",))
    for name in ("", "a b", "../x", "a:b", "x" * 65, "-a", "é"):
        with pytest.raises(CallersError, match="A name is"):
            file.add(name, ("read",))
    assert file.find(token) is not None
    assert len(file.callers()) == 1


def test_only_a_public_ed25519_key_is_taken_for_a_bot_s(file: CallersFile) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public = public_key(key)
    another = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    spki = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for wrong in (private, another.public_key().public_bytes(*spki).decode(), "", "ssh-ed25519 AAAA", public[:60]):
        with pytest.raises(CallersError, match="public Ed25519 key"):
            file.add("bot", ("read",), public_key=wrong)
        assert not file.path.exists()
    file.add("bot", ("read",), public_key=public)
    stored = file.path.read_text()
    file.path.write_text(stored.replace("PUBLIC KEY", "PRIVATE KEY"))
    with pytest.raises(CallersError, match="public_key"):
        CallersFile(file.path).callers()


def test_a_file_that_would_be_too_long_to_read_is_not_written(file: CallersFile) -> None:
    def fill() -> None:
        for number in range(1000):
            file.add(f"{'bot' * 20}{number}", ("read", "write", "delete", "reveal", "approve"), NOW, public)

    public = public_key()
    with pytest.raises(CallersError, match="too long"):
        fill()
    assert len(CallersFile(file.path).callers()) > 50


def test_of_two_who_add_at_the_same_time_none_is_lost(file: CallersFile) -> None:
    names = [f"bot{number}" for number in range(6)]
    command = [sys.executable, "-m", "runtype_mcp", "callers", "add", "--scope", "read", "--file", str(file.path)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNTYPE")}
    running = [subprocess.Popen([*command, name], env=environ, stdout=subprocess.PIPE, text=True) for name in names]
    tokens = [process.communicate(timeout=TIMEOUT)[0].strip() for process in running]
    found = [file.find(token) for token in tokens]
    assert [caller.name for caller in found if caller] == names
