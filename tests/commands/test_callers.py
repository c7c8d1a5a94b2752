"""`runtype-mcp callers`: what it prints, what it stores, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runtype_mcp import cli
from runtype_mcp.http.callers_file import PREFIX


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that RUNTYPE_MCP_CALLERS names; there is none yet."""
    monkeypatch.setenv("RUNTYPE_MCP_CALLERS", str(tmp_path / "callers.json"))
    return tmp_path / "callers.json"


def does(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    """What `runtype-mcp callers WORDS` writes to stdout and to stderr."""
    assert cli.main(["callers", *words]) == code
    out, err = capsys.readouterr()
    return out, err


def test_a_token_is_printed_alone_and_its_hash_is_stored(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = does(capsys, "add", "ana", "--scope", "read", "--scope", "client_tokens:write", "--days", "7")
    token = out.strip()
    assert out == f"{token}\n"
    assert token.startswith(PREFIX)
    assert token not in err
    assert "shown once" in err
    (stored,) = json.loads(file.read_text())["callers"]
    until = datetime.fromisoformat(stored.pop("expires"))
    assert timedelta(days=6, hours=23) < until - datetime.now(UTC) <= timedelta(days=7)
    assert stored == {
        "name": "ana",
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "scopes": ["client_tokens:read", "client_tokens:write"],
    }
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_callers_are_listed_without_anything_that_lets_in(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nobody has a token" in does(capsys, "list")[0]
    assert json.loads(does(capsys, "list", "--json")[0]) == {"callers": [], "problem": None}
    token = json.loads(does(capsys, "add", "ana", "--scope", "read", "--json")[0])["token"]
    out, _ = does(capsys, "list")
    assert [line.split() for line in out.splitlines()][1] == ["ana", "read", "it", "is", "removed", "no"]
    listed, _ = does(capsys, "list", "--json")
    assert [caller["name"] for caller in json.loads(listed)["callers"]] == ["ana"]
    assert token not in out + listed


def test_a_removed_caller_is_gone_and_an_unknown_one_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    does(capsys, "add", "ana", "--scope", "read")
    assert "ana is removed" in does(capsys, "remove", "ana")[0]
    assert json.loads(file.read_text()) == {"callers": []}
    assert does(capsys, "remove", "ana", code=1)[1] == (
        f"runtype-mcp: There is no caller ana in {file}. Nothing was changed.\n"
    )
    told = json.loads(does(capsys, "remove", "ana", "--json", code=1)[0])
    assert told["removed"] is False
    assert told["problem"].startswith("There is no caller ana")


def test_another_file_can_be_named(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    does(capsys, "add", "ana", "--scope", "read", "--file", str(other))
    assert other.exists()
    assert not file.exists()


def test_without_a_file_it_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RUNTYPE_MCP_CALLERS", raising=False)
    out, err = does(capsys, "list", code=2)
    assert out == ""
    assert "give --file, or set RUNTYPE_MCP_CALLERS" in err


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (["ana", "--scope", "admin"], "admin", 1),
        (["ana", "--scope", "READ"], "READ", 1),
        (["an/a", "--scope", "read"], "A name is up to 64", 1),
        (["twice", "--scope", "read"], "There is a caller twice already", 1),
        (["ana", "--scope", "read", "--on-behalf-of", "missing.pem"], "missing.pem", 1),
        (["ana"], "--scope", 2),
        (["ana", "--scope", "read", "--days", "0"], "a number of days from 1 to 3650", 2),
        (["ana", "--scope", "read", "--days", "\u0661"], "a number of days from 1 to 3650", 2),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    file: Path, words: list[str], says: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    does(capsys, "add", "twice", "--scope", "read")
    before = file.read_text()
    out, err = does(capsys, "add", *words, code=code)
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert file.read_text() == before


def test_a_bot_is_trusted_by_its_public_key_and_never_by_its_private_one(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _, err = does(capsys, "add", "bot", "--scope", "read", "--on-behalf-of", str(private), code=1)
    assert "PRIVATE" not in err
    assert not file.exists()
    does(capsys, "add", "bot", "--scope", "read", "--on-behalf-of", str(public))
    assert does(capsys, "list")[0].splitlines()[1].split()[-1] == "yes"


@pytest.mark.parametrize("action", [["list"], ["remove", "ana"], ["add", "ben", "--scope", "read"]])
def test_a_damaged_file_is_one_line_and_stays(
    file: Path, action: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('{"callers": [{"name": "ana"}]}')
    out, err = does(capsys, *action, code=1)
    assert out == ""
    assert "no file of callers" in err
    assert err.count("\n") == 1
    assert file.read_text() == '{"callers": [{"name": "ana"}]}'
