"""`runtype-mcp login`, `logout` and `whoami`: a key is checked before it is stored, and is never shown."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.keyrings import keyring
from tests.processes import on_terminal, run
from tests.support import KEY, Api

ONE = "rt_test_one0123456789abcdef0123456789"
LIVE = "rt_live_two0123456789abcdef0123456789"
SHOWN = "rt_test_…6789"
QUESTION = "(it stays invisible): "


@pytest.fixture
def environ(api: Api) -> dict[str, str]:
    api.seeded().install(keys={ONE, LIVE})
    return {"RUNTYPE_BASE_URL": api.url, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def profiles() -> list[Path]:
    return sorted(Path(os.environ["XDG_CONFIG_HOME"]).rglob("*.json"))


def said(environ: dict[str, str], *arguments: str, code: int = 0, stdin: str = "") -> str:
    """What a command says that ends with `code`: on stdout if it is 0. No key is in it."""
    done = run(*arguments, stdin=stdin, **environ)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "0123456789" not in done.stdout + done.stderr
    assert done.stderr.count("\n") == (code != 0)
    return done.stdout if code == 0 else done.stderr.removeprefix("runtype-mcp: ").rstrip("\n")


def test_a_key_from_stdin_is_checked_told_and_stored_for_its_user_alone(api: Api, environ: dict[str, str]) -> None:
    told = said(environ, "login", stdin=f" Bearer {ONE}\n")
    assert [path for _, path, _ in api.received] == ["/v1/client-tokens?limit=1&offset=0"]
    (file,) = profiles()
    assert told.splitlines() == [
        f"{api.url} accepts the key {SHOWN}. It is a test key.",
        "The key may read client tokens. Whether it may also change them is known only once it does.",
        f"Stored in {file}, as profile 'default'.",
        "Servers on this machine use it from their next call on.",
    ]
    if sys.platform != "win32":
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert said(environ, "whoami").splitlines() == [
        f"API:  {api.url}",
        f"Key:  {SHOWN}, from profile 'default' of runtype-mcp login",
        *told.splitlines()[:2],
    ]
    assert said(environ, "logout").startswith(f"Forgotten: profile 'default' for {api.url}. Runtype still accepts")
    assert profiles() == []
    nobody = f"No key is set, and none is stored as profile 'default' for {api.url}. Run `runtype-mcp login`."
    assert said(environ, "whoami", code=1) == nobody
    assert said(environ, "logout", code=1) == f"No key is stored as profile 'default' for {api.url}."


def test_programs_get_what_happened_as_json(api: Api, environ: dict[str, str]) -> None:
    def told(*arguments: str, stdin: str = "", code: int = 0) -> dict[str, Any]:
        done = run(*arguments, "--json", stdin=stdin, **environ)
        assert (done.returncode, done.stderr) == (code, "")
        assert "0123456789" not in done.stdout
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    assert told("login", stdin="rt_test_unknown", code=1)["stored"] is False
    assert "Nothing was stored." in told("login", stdin="", code=1)["problem"]
    stored = told("login", stdin=ONE)
    (file,) = profiles()
    assert (stored["stored"], stored["problem"], stored["api"], stored["key"]) == (True, None, api.url, SHOWN)
    assert stored["where"] == f"{file}, as profile 'default'"
    assert told("logout") == {
        "forgotten": True,
        "api": api.url,
        "problem": None,
        "where": f"profile 'default' for {api.url}",
        "note": "Runtype still accepts the key: revoke it in the dashboard if nobody is to use it.",
    }
    none = f"No key is stored as profile 'default' for {api.url}."
    assert told("logout", code=1) == {"forgotten": False, "api": api.url, "problem": none}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (LIVE, "rt_live_…6789. It is a live key: it reaches what visitors use.\n"),
        ("an-oauth-token-0123456789", "…6789. It does not say for which environment it is.\n"),
        ("rt_test_0123456", "rt_test_…. It is a test key.\n"),
    ],
)
def test_a_key_is_told_by_its_ends_and_by_its_environment(
    api: Api, environ: dict[str, str], key: str, says: str
) -> None:
    api.install(keys={key})
    assert f"accepts the key {says}" in said(environ, "login", stdin=key)


def test_an_account_without_tokens_is_told(api: Api, environ: dict[str, str]) -> None:
    for record in api.store.newest_first():
        api.store.delete(record.token["id"])
    assert "The key may read client tokens, of which there are none yet." in said(environ, "login", stdin=ONE)


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        ("", "What was given holds nothing: paste the key again."),
        ("rt_test_YOUR_KEY", "What was given holds the placeholder of an example: put your own key in its place."),
        (f"{ONE}\n{LIVE}", "What was given holds spaces or characters that no key has: paste the key again."),
        ("ct_live_flow01k7_0123456789abcdef0", "What was given holds a client token: those are for browsers."),
        ("rt_test_unknown", "does not accept the key rt_test_…. It was mistyped, was revoked, or belongs to another"),
    ],
)
def test_what_is_no_key_of_this_api_is_not_stored(environ: dict[str, str], stdin: str, says: str) -> None:
    told = said(environ, "login", code=1, stdin=stdin)
    assert says in told
    assert told.endswith(" Nothing was stored.")
    assert profiles() == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, f"accepts the key {SHOWN}, but it may not read client tokens. It needs the scope CLIENT_TOKENS:READ"),
        (404, "The key cannot be checked. There is no client-token API at this address (404)."),
    ],
)
def test_a_key_that_cannot_read_is_not_stored(api: Api, environ: dict[str, str], status: int, says: str) -> None:
    api.faults.add("status", status=status, body="Nothing")
    told = said(environ, "login", code=1, stdin=ONE)
    assert says in told
    more = " `runtype-mcp doctor` says more." if status == 404 else ""
    assert told.endswith(f"Nothing was stored.{more}")
    assert profiles() == []


def test_where_the_api_cannot_be_reached_nothing_is_stored(environ: dict[str, str]) -> None:
    told = said(environ | {"RUNTYPE_BASE_URL": "http://127.0.0.1:9"}, "login", code=1, stdin=ONE)
    assert told.startswith("The key cannot be checked. The API at http://127.0.0.1:9 cannot be reached")
    assert profiles() == []


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_person_types_the_key_unseen(api: Api, environ: dict[str, str]) -> None:
    with on_terminal("login", **environ) as terminal:
        terminal.until(f"API key for {api.url} {QUESTION}")
        terminal.types(f"{ONE}\n")
        assert terminal.ended() == 0
    assert "Stored in" in terminal.shown
    assert "0123456789" not in terminal.shown


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_ctrl_c_at_the_question_leaves_a_terminal_that_shows_what_is_typed(environ: dict[str, str]) -> None:
    import signal
    import termios

    with on_terminal("login", **environ) as terminal:
        terminal.until(QUESTION)
        assert not termios.tcgetattr(terminal._master)[3] & termios.ECHO
        terminal.press_ctrl_c()
        assert terminal._popen.wait(60) == -signal.SIGINT
        assert termios.tcgetattr(terminal._master)[3] & termios.ECHO
    assert profiles() == []


def test_profiles_are_accounts_side_by_side(api: Api, environ: dict[str, str]) -> None:
    said(environ, "login", "--profile", "work", stdin=LIVE)
    said({"RUNTYPE_MCP_PROFILE": "home"} | environ, "login", stdin=ONE)
    assert "rt_live_…6789, from profile 'work'" in said(environ, "whoami", "--profile", "work")
    told = said({"RUNTYPE_MCP_PROFILE": "home"} | environ, "whoami")
    assert f"{SHOWN}, from profile 'home' of runtype-mcp login\nAlso stored: work\n" in told
    assert "Stored profiles: home, work." in said(environ, "whoami", code=1)
    said(environ, "logout", "--profile", "work")
    assert [file.stem for file in profiles()] == ["home"]
    # The key of one API is not tried at another.
    api.received.clear()
    other = environ | {"RUNTYPE_BASE_URL": "http://127.0.0.1:9"}
    assert "for http://127.0.0.1:9." in said(other, "whoami", "--profile", "home", code=1)
    assert said(other, "whoami", "--base-url", api.url, "--profile", "home")


def test_whoami_is_read_by_programs_too(api: Api, environ: dict[str, str]) -> None:
    said(environ, "login", stdin=ONE)
    found = json.loads(said(environ, "whoami", "--json"))
    assert (found["api"], found["key"], found["accepted"]) == (api.url, SHOWN, True)
    assert (found["source"], found["otherProfiles"]) == ("profile 'default' of runtype-mcp login", [])
    done = run("whoami", "--json", "--profile", "work", **environ)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["key"], found["otherProfiles"], found["accepted"]) == (None, ["default"], False)
    assert found["says"].startswith("No key is set, and none is stored as profile 'work'")


def test_logging_in_again_replaces_the_key(environ: dict[str, str]) -> None:
    for key in (ONE, LIVE):
        said(environ, "login", stdin=key)
    assert "rt_live_…6789" in said(environ, "whoami")
    (file,) = profiles()
    assert os.listdir(file.parent) == [file.name]


def test_a_key_of_the_environment_wins_and_is_told(environ: dict[str, str]) -> None:
    both = environ | {"RUNTYPE_API_KEY": LIVE}
    assert "RUNTYPE_API_KEY is set here as well, and wins over what is stored." in said(both, "login", stdin=ONE)
    assert "rt_live_…6789, from RUNTYPE_API_KEY\nAlso stored: default\n" in said(both, "whoami")
    assert f"{SHOWN}, from profile 'default'" in said(both, "whoami", "--profile", "default")
    assert said(both, "logout").endswith("RUNTYPE_API_KEY is still set here.\n")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"RUNTYPE_MCP_PROFILE": "../x"}, "RUNTYPE_MCP_PROFILE must be up to 64 letters, digits, dots, dashes and"),
        (
            {"RUNTYPE_MCP_PROFILE": ONE},
            "RUNTYPE_MCP_PROFILE holds a key instead of a name: put the key into RUNTYPE_API",
        ),
        ({"RUNTYPE_API_KEY_FILE": ONE}, "RUNTYPE_API_KEY_FILE holds a key instead of the name of a file: put the key"),
        ({"RUNTYPE_MCP_SANDBOX": "1"}, "The sandbox (RUNTYPE_MCP_SANDBOX) has its own key: nothing is stored for it."),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["login", "logout", "whoami"])
def test_a_wrong_setting_is_told(command: str, environ: dict[str, str], setting: dict[str, str], says: str) -> None:
    assert said(environ | setting, command, code=2, stdin=ONE).startswith(says)


# A file of one's own


def test_a_key_is_stored_in_the_file_that_is_named(api: Api, environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "key"
    named = environ | {"RUNTYPE_API_KEY_FILE": str(file)}
    for key in (ONE, LIVE):  # a key that is there is replaced
        assert f"Stored in {file}.\n" in said(named, "login", stdin=key)
        assert file.read_text() == f"{key}\n"
        assert sys.platform == "win32" or file.stat().st_mode & 0o777 == 0o600
    assert "rt_live_…6789, from RUNTYPE_API_KEY_FILE" in said(named, "whoami")
    assert f"Forgotten: {file}." in said(named, "logout")
    assert not file.exists()
    assert "which does not exist" in said(named, "whoami", code=1)
    assert "cannot be deleted (No such file" in said(named, "logout", code=1)


def test_a_file_that_holds_something_else_is_left_alone(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("RUNTYPE_CLIENT_TOKEN=x\nOTHER=1\n")
    file.chmod(0o600)
    named = environ | {"RUNTYPE_API_KEY_FILE": str(file)}
    told = said(named, "login", code=1, stdin=ONE)
    assert told.startswith(f"The key cannot be stored. The file that RUNTYPE_API_KEY_FILE names ({file}) holds spaces")
    assert said(named, "logout", code=1).endswith("paste the key again. It was left as it is.")
    assert file.read_text() == "RUNTYPE_CLIENT_TOKEN=x\nOTHER=1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes")
def test_where_the_file_cannot_be_written_nothing_is_left_behind(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "folder" / "key").mkdir(parents=True)
    for path in (tmp_path / "folder" / "key", tmp_path / "gone" / "key", Path(os.devnull)):
        told = said(environ | {"RUNTYPE_API_KEY_FILE": str(path)}, "login", code=1, stdin=ONE)
        assert told.startswith("The key cannot be stored. ")
        assert told.endswith("Nothing was stored.")
    assert os.listdir(tmp_path / "folder") == ["key"]
    Path(os.environ["XDG_CONFIG_HOME"]).write_text("in the way")
    assert "cannot be stored. Not a directory" in said(environ, "login", code=1, stdin=ONE)


def test_without_a_home_directory_it_says_what_to_set(environ: dict[str, str]) -> None:
    homeless = environ | {"HOME": "nowhere", "XDG_CONFIG_HOME": ""}
    assert said(homeless, "login", code=1, stdin=ONE).startswith("There is no home directory to store a key in")
    assert "No key is stored" in said(homeless, "logout", code=1)
    assert "No key is set" in said(homeless, "whoami", code=1)


# The system's keyring


def test_a_key_in_the_keyring_is_in_no_file(environ: dict[str, str], tmp_path: Path) -> None:
    working = environ | keyring("Working", tmp_path)
    assert "Stored in Stand-in Keyring, as profile 'default'." in said(working, "login", stdin=ONE)
    (file,) = profiles()
    assert file.read_text() == '{"keyring": true}'
    assert SHOWN in said(working, "whoami")
    said(working, "logout")
    assert (profiles(), (tmp_path / "keyring.json").read_text()) == ([], "{}")


def test_an_entry_that_is_gone_already_does_not_stop_the_logout(environ: dict[str, str], tmp_path: Path) -> None:
    working = environ | keyring("Working", tmp_path)
    said(working, "login", stdin=ONE)
    (tmp_path / "keyring.json").unlink()
    said(working, "logout")
    assert profiles() == []


@pytest.mark.parametrize("kind", ["Plain", "without", "--file"])
def test_without_a_keyring_the_key_goes_into_a_file(environ: dict[str, str], tmp_path: Path, kind: str) -> None:
    choice = {"Plain": keyring("Plain", tmp_path), "--file": keyring("Working", tmp_path)}
    (tmp_path / "keyring.py").write_text("raise ImportError")
    variables = environ | choice.get(kind, {"PYTHONPATH": str(tmp_path)})
    told = said(variables, "login", *(["--file"] if kind == "--file" else []), stdin=ONE)
    (file,) = profiles()
    assert f"Stored in {file}, as profile 'default'." in told
    assert not (tmp_path / "keyring.json").exists()


def test_a_keyring_that_fails_is_told_and_no_file_takes_its_place(environ: dict[str, str], tmp_path: Path) -> None:
    locked = environ | keyring("Locked", tmp_path)
    told = said(locked, "login", code=1, stdin=ONE)
    assert told == (
        "The key cannot be stored. The system's keyring failed (KeyringLocked: Failed to unlock the collection for "
        "[redacted]!). It may be locked: unlock it. Nothing was stored."
    )
    assert profiles() == []
    said(environ | keyring("Working", tmp_path), "login", stdin=ONE)
    assert said(locked, "logout", code=1).startswith("The stored key cannot be deleted. The system's keyring failed (")
    assert len(profiles()) == 1


def test_whoami_says_why_a_stored_key_cannot_be_read(environ: dict[str, str], tmp_path: Path) -> None:
    said(environ | keyring("Working", tmp_path), "login", stdin=ONE)
    told = said(environ | keyring("Locked", tmp_path), "whoami", code=1)
    assert told.startswith("The key of profile 'default' cannot be read. The system's keyring failed (KeyringLocked")


def test_nobody_can_give_a_key_as_an_argument(environ: dict[str, str]) -> None:
    for arguments in (["login", KEY], ["login", f"--key={KEY}"], ["whoami", KEY]):
        told = run(*arguments, **environ)
        assert (told.returncode, KEY in told.stderr) == (2, False)
