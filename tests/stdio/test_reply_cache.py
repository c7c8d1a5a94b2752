"""A cache is believed only if it is this user's own, whole, and of exactly this configuration."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from runtype_mcp.server import build_server
from runtype_mcp.settings import Settings
from runtype_mcp.stdio.reply_cache import MAX_FILES, MAX_REPLIES, SUFFIX, ReplyCache, cache_for, digest, fingerprint
from tests.processes import started
from tests.stdio.sessions import LEGACY_START, StdioPair, ask, cache_files, end, hello, in_time, request, say, warm_up

KEY = {"RUNTYPE_API_KEY": "rt_test_1"}


@pytest.fixture
def cache(tmp_path: Path) -> ReplyCache:
    """A cache with two replies."""
    cache = ReplyCache(str(tmp_path / "caches" / f"one{SUFFIX}"), "one")
    cache.store({"key": "reply", "other": "listChanged"})
    return cache


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A place that packages are installed in, with a package of ours and the SDK's version."""
    (tmp_path / "site" / "package" / "folder").mkdir(parents=True)
    (tmp_path / "site" / "package" / "folder" / "module.py").write_text("1")
    (tmp_path / "site" / "mcp-2.3.0.dist-info").mkdir()
    return tmp_path / "site"


def of(site: Path, *places: Path, argv: str = "", python: str = "3.11", **environ: str) -> str:
    return fingerprint(
        argv.split(),
        KEY | environ,
        package=str(site / "package"),
        path=["/no/such/place", *map(str, places or (site,))],
        python=python,
    )


@pytest.mark.parametrize(
    "change", ["setting", "argument", "no key", "source", "new file", "python", "mcp", "reinstalled", "shadow", "order"]
)
def test_another_configuration_is_another_cache(site: Path, tmp_path: Path, change: str) -> None:
    other = tmp_path / "other" / "mcp"
    other.mkdir(parents=True)
    before = of(site, site, other.parent)
    assert of(site, site, other.parent) == before != ""
    after = ""
    match change:
        case "setting":
            after = of(site, site, other.parent, RUNTYPE_MCP_APPROVAL="human")
        case "argument":
            after = of(site, site, other.parent, argv="--read-only")
        case "no key":
            after = of(site, site, other.parent, RUNTYPE_API_KEY="")
        case "source":
            (site / "package" / "folder" / "module.py").write_text("1 ")
        case "new file":
            (site / "package" / "more.py").touch()
        case "python":  # and its flags: -OO takes the docstrings
            after = of(site, site, other.parent, python="3.12")
        case "mcp":
            (site / "mcp-2.3.0.dist-info").rename(site / "mcp-2.3.1.dist-info")
        case "reinstalled":
            os.utime(site / "mcp-2.3.0.dist-info", (1, 1))
        case "shadow":  # a folder of that name is imported instead
            (site / "mcp").mkdir()
        case "order":
            after = of(site, other.parent, site)
    assert (after or of(site, site, other.parent)) not in ("", before)


@pytest.mark.parametrize(
    "environ",
    [
        {"RUNTYPE_API_KEY": " Bearer rt_live_another "},
        {"RUNTYPE_MCP_AUDIT": " ", "RUNTYPE_MCP_FILES_ROOT": "${user_config.files_root}"},
        {"SOMETHING_ELSE": "1"},
    ],
    ids=str,
)
def test_what_does_not_shape_a_reply_does_not_make_another_cache(site: Path, environ: dict[str, str]) -> None:
    assert of(site, **environ) == of(site) != ""


@pytest.mark.parametrize(
    "environ",
    [
        {"RUNTYPE_API_KEY": "rt_test_1 2"},
        {"RUNTYPE_API_KEY": "Bearer rt_é"},
        {"RUNTYPE_API_KEY": "bearer  ct_test_1"},
        {"RUNTYPE_API_KEY": "rt_live_..."},
        {"RUNTYPE_API_KEY": "<YOUR_KEY>"},
        {"RUNTYPE_API_KEY": "Bearer"},
        {"RUNTYPE_MCP_FILES_ROOT": "/no/such/directory"},
        {"RUNTYPE_MCP_AUDIT": "/dev/null/log"},
        {"RUNTYPE_MCP_AUDIT": os.devnull},
        {"RUNTYPE_MCP_FAST_START": "OFF"},
        {"RUNTYPE_MCP_FAST_START": "perhaps"},
    ],
    ids=str,
)
def test_what_the_settings_may_refuse_has_no_cache(site: Path, environ: dict[str, str]) -> None:
    assert of(site, **environ) == ""


def test_an_audit_log_has_a_cache_where_it_can_be_written(site: Path) -> None:
    log = site / "log"
    before = of(site, RUNTYPE_MCP_AUDIT=str(log))
    log.touch()
    assert of(site, RUNTYPE_MCP_AUDIT=str(log)) == before != ""


def test_without_the_version_of_the_sdk_there_is_no_cache(site: Path) -> None:
    (site / "mcp-2.3.0.dist-info").rename(site / "mcp")
    assert of(site) == ""


def test_what_runs_here_has_a_configuration() -> None:
    assert fingerprint([], KEY) == fingerprint([], KEY) != ""
    assert fingerprint([], KEY, python=(sys.version,)) != fingerprint([], KEY)
    assert cache_for([], KEY | {"RUNTYPE_MCP_FAST_START": "off", "XDG_CACHE_HOME": "/x"}) is None


def test_the_cache_is_in_the_users_directory_for_caches_and_nowhere_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = cache_for([], KEY | {"XDG_CACHE_HOME": "/x"})
    assert cache is not None
    assert os.path.dirname(cache.path) == "/x/runtype-mcp"
    monkeypatch.setenv("HOME", "nowhere")
    assert cache_for([], KEY) is None


def test_the_working_directory_does_not_shape_a_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, lines = StdioPair(tmp_path), [*LEGACY_START, request(1, "ping")]
    here = say(pair.sdk, lines)
    monkeypatch.chdir("/")
    pair.server = build_server(Settings.from_env({"RUNTYPE_MCP_SANDBOX": "true"}))
    assert say(pair.sdk, lines) == here


# The file


@pytest.mark.parametrize("damage", ["cut", "flip", "append", "empty", "bytes", "configuration", "directory"])
def test_a_damaged_cache_is_not_believed_and_is_replaced(cache: ReplyCache, damage: str) -> None:
    path = Path(cache.path)
    whole = path.read_bytes()
    seal, _, text = whole.partition(b"\n")
    match damage:
        case "cut":
            path.write_bytes(whole[:-1])
        case "flip":
            path.write_bytes(whole.replace(b"listChanged", b"listchanged"))
        case "append":
            path.write_bytes(whole + b"\n")
        case "empty":
            path.write_bytes(b"")
        case "bytes":
            path.write_bytes(b"\xff" + whole)
        case "configuration":
            path.write_bytes(digest("another", text.decode()).encode() + b"\n" + text)
        case "directory":
            path.unlink()
            path.mkdir()
    assert seal != b""
    assert cache.load() == {}
    cache.store({"key": "reply"})
    assert cache.load() == ({"key": "reply"} if damage != "directory" else {})


@pytest.mark.skipif(sys.platform == "win32", reason="owners and modes")
def test_a_cache_that_another_user_could_have_written_is_not_believed(cache: ReplyCache) -> None:
    assert len(cache.load()) == len(cache.load(os.geteuid())) == 2
    assert cache.load(os.geteuid() + 1) == {}
    os.chmod(cache.path, 0o620)
    assert cache.load() == {}


@pytest.mark.skipif(sys.platform == "win32", reason="special files")
def test_a_cache_that_is_not_a_regular_file_is_not_read(cache: ReplyCache) -> None:
    os.unlink(cache.path)
    os.mkfifo(cache.path)
    assert in_time(cache.load) == {}
    os.unlink(cache.path)
    os.symlink("/dev/zero", cache.path)
    assert cache.load() == {}


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
def test_the_cache_is_its_owners_alone(cache: ReplyCache) -> None:
    path = Path(cache.path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_the_cache_stays_small(cache: ReplyCache) -> None:
    folder = Path(cache.path).parent
    (folder / "not ours").touch()
    for n in range(20):
        (folder / f"{n}{SUFFIX}").touch()
        os.utime(folder / f"{n}{SUFFIX}", (n, n))
    for n in range(MAX_REPLIES + 5):
        cache.store({f"key {n}": "reply"})
    assert list(cache.load()) == [f"key {n}" for n in range(5, MAX_REPLIES + 5)]
    left = {file.name for file in folder.iterdir()}
    assert len(left) == MAX_FILES + 1
    assert {"not ours", f"one{SUFFIX}", f"19{SUFFIX}"} <= left
    assert f"0{SUFFIX}" not in left


def test_a_cache_that_cannot_be_written_is_not_an_error(cache: ReplyCache) -> None:
    shutil.rmtree(Path(cache.path).parent)
    Path(cache.path).parent.touch()
    cache.store({"key": "reply"})
    assert cache.load() == {}
    with started("--sandbox", XDG_CACHE_HOME=str(Path(cache.path).parent)) as process:
        assert len(ask(process, *LEGACY_START)) == 5
        assert end(process) == (0, b"", b"")


def test_the_key_is_nowhere_on_disk_and_does_not_make_another_cache() -> None:
    for key in "rt_test_x1q", " rt_live_x2q ", "Bearer rt_test_x3q":
        warm_up(RUNTYPE_API_KEY=key)
    (file,) = cache_files()
    assert not any(word in file.read_bytes() for word in (b"rt_test", b"rt_live", b"x1q", b"x2q", b"x3q"))


def test_without_the_fast_start_nothing_is_stored() -> None:
    warm_up("--sandbox", lines=[hello()], RUNTYPE_MCP_FAST_START="off")
    assert cache_files() == []
