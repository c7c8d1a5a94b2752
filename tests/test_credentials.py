"""The API key: which one counts, when it is read, and what is said where it cannot be."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import sys
from pathlib import Path

import pytest

from runtype_mcp.credentials import ApiKey, Profile, exposure
from runtype_mcp.errors import KeyUnavailable
from runtype_mcp.policy.redaction import MARK, RedactingFormatter
from runtype_mcp.settings import Settings
from tests.keyrings import keyring
from tests.processes import Process, run, started
from tests.stdio.sessions import LEGACY_START, ask, cache_files, warm_up
from tests.support import Api

ONE = "rt_test_one0123456789abcdef0123456789"
TWO = "rt_test_two0123456789abcdef0123456789"
OPAQUE = "Zq7wKxT2mVb9LpRd4HsYc8NfJg3UaEo6WiXyBtQk"


def key_of(environ: dict[str, str], **flags: str) -> str | None:
    return asyncio.run(ApiKey(Settings.from_env(environ, **flags)).get())


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(KeyUnavailable) as refused:
        key_of(environ)
    assert refused.value.changed == "Nothing was sent."
    return refused.value.what


def stored(key: str, profile: str = "default", base_url: str = "https://api.runtype.com") -> Path:
    """A profile of which the file holds the key."""
    found = Profile.of(Settings(profile=profile, base_url=base_url))
    assert found is not None
    asyncio.run(found.store(key, in_keyring=False))
    return found.path


def key_file(tmp_path: Path, content: str = ONE, mode: int = 0o600) -> dict[str, str]:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(mode)
    return {"RUNTYPE_API_KEY_FILE": str(path)}


# Which key counts


def test_the_variable_comes_first_then_the_file_then_the_profile(tmp_path: Path) -> None:
    file, variable = key_file(tmp_path), {"RUNTYPE_API_KEY": TWO}
    assert key_of({}) is None
    stored("rt_test_profile")
    assert key_of({}) == "rt_test_profile"
    assert key_of(file) == ONE
    assert key_of(file | variable) == TWO


def test_a_profile_that_is_named_on_the_command_line_comes_before_all(tmp_path: Path) -> None:
    environ = key_file(tmp_path) | {"RUNTYPE_API_KEY": TWO, "RUNTYPE_MCP_PROFILE": "other"}
    stored("rt_test_work", "work")
    assert key_of(environ, profile="work") == "rt_test_work"
    assert key_of(environ, profile="nobody") is None
    assert key_of(environ) == TWO


def test_a_profile_is_chosen_by_its_name_and_by_the_api(tmp_path: Path) -> None:
    stored(ONE, "work")
    stored(TWO, "work", "http://127.0.0.1:8766")
    work = {"RUNTYPE_MCP_PROFILE": "work"}
    assert key_of(work) == ONE
    assert key_of(work | {"RUNTYPE_BASE_URL": "http://127.0.0.1:8766"}) == TWO
    assert key_of(work | {"RUNTYPE_BASE_URL": "http://127.0.0.1:8767"}) is None
    assert key_of({}) is None
    assert key_of(work | {"RUNTYPE_MCP_SANDBOX": "1"}) not in (ONE, TWO, None)


def test_without_a_home_there_is_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    assert Profile.of(Settings()) is None
    assert key_of({}) is None


# Files


@pytest.mark.parametrize("content", [f"{ONE}\n", f"  Bearer {ONE}\r\n", f"\ufeff{ONE}"], ids=ascii)
def test_a_file_holds_the_key_as_people_paste_it(tmp_path: Path, content: str) -> None:
    assert key_of(key_file(tmp_path, content)) == ONE


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds nothing: paste the key again."),
        (" \n", "holds nothing: paste the key again."),
        (f"{ONE}\n{TWO}\n", "holds spaces or characters that no key has: paste the key again."),
        ("RUNTYPE_API_KEY=<key>", "holds the placeholder of an example: put your own key in its place."),
        ("ct_live_flow01k7_0123456789abcdef", "holds a client token: those are for browsers."),
        ("\udcff", "holds spaces or characters that no key has: paste the key again."),
    ],
    ids=ascii,
)
def test_a_file_that_holds_something_else_is_told_without_its_content(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "key").write_bytes(content.encode(errors="surrogateescape"))
    (tmp_path / "key").chmod(0o600)
    told = refusal({"RUNTYPE_API_KEY_FILE": str(tmp_path / "key")})
    assert told.startswith(f"The file that RUNTYPE_API_KEY_FILE names ({tmp_path / 'key'}) {says}")
    assert "0123456789" not in told


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '"key"', "{}", '{"key": 7}', '{"key": ""}', '{"keyring": false}', '{"key": "a b"}']
)
def test_a_damaged_profile_is_told_without_its_content(content: str) -> None:
    path = stored(ONE)
    path.write_text(content)
    assert refusal({}) == f"The profile 'default' ({path}) holds something else than a key."


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and modes")
def test_a_file_that_is_not_one_is_refused_and_does_not_make_a_server_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", Path(os.devnull)):
        told = refusal({"RUNTYPE_API_KEY_FILE": str(path)})
        assert told == f"The API key cannot be read from {path}: it is not a regular file."
    assert "names" in refusal({"RUNTYPE_API_KEY_FILE": str(tmp_path / "gone")})
    assert "cannot be read" in refusal({"RUNTYPE_API_KEY_FILE": str(tmp_path)})


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
def test_a_key_that_others_could_have_put_there_is_refused(tmp_path: Path) -> None:
    path = stored(ONE)
    for mode in (0o620, 0o602):
        path.chmod(mode)
        assert refusal({}).endswith("others may write to it; `chmod 600` mends that.")
        assert "others may write" in refusal(key_file(tmp_path, mode=mode))
    path.chmod(0o644)
    assert refusal({}).endswith("others may read it; `chmod 600` mends that.")


FILE = stat.S_IFREG


@pytest.mark.parametrize(
    ("mode", "owner", "user", "ours", "refused"),
    [
        (FILE | 0o600, 7, 7, True, False),
        (FILE | 0o600, 7, 7, False, False),
        (FILE | 0o400, 7, 7, False, False),
        # Whose file it is could mend it.
        (FILE | 0o640, 7, 7, False, True),
        (FILE | 0o604, 7, 7, False, True),
        # A container's secret: root's or another user's, and readable for all.
        (FILE | 0o444, 0, 7, False, False),
        (FILE | 0o440, 0, 7, False, False),
        (FILE | 0o444, 0, 0, False, False),
        (FILE | 0o644, 8, 7, False, False),
        (FILE | 0o664, 8, 7, False, True),
        (FILE | 0o646, 0, 0, False, True),
        # A profile is its user's own, whoever that is.
        (FILE | 0o600, 8, 7, True, True),
        (FILE | 0o600, 8, 0, True, False),
        (FILE | 0o444, 0, 0, True, True),
        # Windows says nothing by modes.
        (FILE | 0o666, 0, None, True, False),
        (stat.S_IFIFO | 0o600, 7, 7, False, True),
        (stat.S_IFDIR | 0o700, 7, 7, False, True),
        (stat.S_IFCHR | 0o600, 0, None, False, True),
    ],
)
def test_who_may_read_and_write_a_file_decides(
    mode: int, owner: int, user: int | None, ours: bool, refused: bool
) -> None:
    info = os.stat_result((mode, 0, 0, 1, owner, owner, 0, 0, 0, 0))
    assert bool(exposure(info, user, ours=ours)) is refused


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_mounted_secret_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    """As Kubernetes does it: the name is a link to a link, and the folder behind it is swapped."""
    for name, key in (("old", ONE), ("new", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(key)
        (tmp_path / name / "key").chmod(0o400)
    (tmp_path / "data").symlink_to("old")
    (tmp_path / "key").symlink_to("data/key")
    source = ApiKey(Settings.from_env({"RUNTYPE_API_KEY_FILE": str(tmp_path / "key")}))

    async def read_twice() -> tuple[str | None, str | None]:
        before = await source.get()
        (tmp_path / "next").symlink_to("new")
        (tmp_path / "next").replace(tmp_path / "data")
        return before, await source.get()

    assert asyncio.run(read_twice()) == (ONE, TWO)


def test_a_key_is_masked_from_the_moment_that_it_is_read(tmp_path: Path) -> None:
    source = ApiKey(Settings.from_env(key_file(tmp_path, OPAQUE)))
    formatter = RedactingFormatter(logging.Formatter("%(message)s"), source.redactor)
    record = logging.LogRecord("any", logging.INFO, "any", 1, "sent %s", (OPAQUE,), None)
    assert asyncio.run(source.get()) == OPAQUE
    assert formatter.format(record) == f"sent {MARK}"


# A server


def answer(server: Process) -> str:
    return server.text("list_client_tokens", limit=1)


def test_a_person_logs_in_changes_the_account_and_logs_out_while_a_server_runs(api: Api) -> None:
    api.seeded().install(keys={ONE, TWO})
    with started(RUNTYPE_BASE_URL=api.url) as server:
        server.hello()
        assert answer(server).startswith(
            "Error (auth): No Runtype API key is set. Nothing was changed. Ask the operator"
        )
        stored(ONE, base_url=api.url)
        assert "rows:" in answer(server)
        api.install(keys={TWO})
        assert answer(server).startswith("Error (auth): The API does not accept the key.")
        stored(TWO, base_url=api.url)
        assert "rows:" in answer(server)
        stored(TWO, base_url=api.url).unlink()
        assert "No Runtype API key is set." in answer(server)


def test_servers_take_the_profile_of_their_flag_or_variable(api: Api) -> None:
    api.seeded().install(keys={ONE})
    stored(ONE, "work", api.url)
    with started("--profile", "work", RUNTYPE_BASE_URL=api.url, RUNTYPE_API_KEY=TWO) as server:
        server.hello()
        assert "rows:" in answer(server)
    with started(RUNTYPE_BASE_URL=api.url, RUNTYPE_MCP_PROFILE="work") as server:
        server.hello()
        assert "rows:" in answer(server)


def test_the_key_of_a_file_is_masked_wherever_a_client_repeats_it(api: Api, tmp_path: Path) -> None:
    api.seeded().install(keys={OPAQUE})
    file = key_file(tmp_path, OPAQUE)
    with started(RUNTYPE_BASE_URL=api.url, RUNTYPE_MCP_LOG_LEVEL="DEBUG", **file) as server:
        server.hello()
        assert "rows:" in answer(server)
        for tool in ("get_client_token", OPAQUE):
            found = server.answer(server.ask("tools/call", {"name": tool, "arguments": {"client_token": OPAQUE}}))
            assert OPAQUE not in repr(found)
        assert server.popen.stdin is not None
        server.popen.stdin.close()
        server.ended()
        assert OPAQUE not in server.errors()


# The system's keyring


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("Working", ""),
        ("Locked", "The system's keyring failed (KeyringLocked: Failed to unlock the collection!). It may be locked: "),
        ("Waiting", "The system's keyring gave no answer within 1 seconds. It may be locked: unlock it."),
        ("Crashing", "The system's keyring failed (no reason given). It may be locked: unlock it."),
        ("Plain", "No keyring of the system can be reached from here."),
    ],
)
def test_a_keyring_is_asked_by_the_first_call_and_cannot_hold_up_a_start(
    api: Api, tmp_path: Path, kind: str, says: str
) -> None:
    api.seeded().install(keys={ONE})
    base = {"RUNTYPE_BASE_URL": api.url}
    done = run("login", stdin=ONE, **base, **keyring("Working", tmp_path))
    assert "Stored in Stand-in Keyring, as profile 'default'." in done.stdout, done.stderr
    with started(**base, **keyring(kind, tmp_path), RUNTYPE_MCP_TIMEOUT="1" if kind == "Waiting" else "30") as server:
        server.hello()
        text = answer(server)
        if says:
            assert text.startswith(f"Error (auth): The key of profile 'default' cannot be read. {says}")
            assert "Nothing was sent." in text
            text = answer(server)  # it is asked again, and the server still serves
        assert ("rows:" in text) is not bool(says)
        assert ONE not in text


def test_an_entry_that_left_the_keyring_is_told(api: Api, tmp_path: Path) -> None:
    base = {"RUNTYPE_BASE_URL": api.url}
    run("login", stdin=ONE, **base, **keyring("Working", tmp_path))
    (tmp_path / "keyring.json").unlink()
    with started(**base, **keyring("Working", tmp_path)) as server:
        server.hello()
        says = "The system's keyring has no such entry any more. Nothing was sent. Ask the operator to run"
        assert says in answer(server)


def test_an_installation_without_the_library_says_what_it_lacks(api: Api, tmp_path: Path) -> None:
    base = {"RUNTYPE_BASE_URL": api.url}
    run("login", stdin=ONE, **base, **keyring("Working", tmp_path))
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "keyring.py").write_text("raise ImportError")
    with started(**base, PYTHONPATH=str(tmp_path / "without")) as server:
        server.hello()
        assert "This installation cannot use the system's keyring: it lacks the extra `keyring`." in answer(server)


def test_nothing_in_the_working_directory_passes_for_the_library(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's working directory is somebody's project."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "keyring.py").write_text("open('was here', 'w')")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("PYTHONSAFEPATH")
    run("login", stdin=ONE, RUNTYPE_BASE_URL=api.url, **keyring("Working", tmp_path))
    assert (tmp_path / "keyring.json").exists()
    assert not (tmp_path / "project" / "was here").exists()


# The warm start


def test_a_warm_start_reads_no_key_and_its_first_call_does(api: Api, tmp_path: Path) -> None:
    api.seeded().install(keys={ONE})
    base = {"RUNTYPE_BASE_URL": api.url, "RUNTYPE_MCP_TIMEOUT": "1"}
    warm_up(**base)
    (before,) = cache_files()
    run("login", stdin=ONE, RUNTYPE_BASE_URL=api.url, **keyring("Working", tmp_path))
    with started(**base, **keyring("Waiting", tmp_path)) as server:
        assert len(ask(server, *LEGACY_START)) == 5
        server._ids = 90
        assert "gave no answer within 1 seconds" in answer(server)
    with started(**base, **keyring("Working", tmp_path)) as server:
        assert len(ask(server, *LEGACY_START)) == 5
        server._ids = 90
        assert "rows:" in answer(server)
    assert [file.name for file in cache_files()] == [before.name]  # no reply depends on where the key comes from
