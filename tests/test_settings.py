"""Settings: what the operator wrote, read once and strictly. A wrong word is never taken for a weaker policy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runtype_mcp.environment import user_folder
from runtype_mcp.setting_variables import VARIABLES
from runtype_mcp.settings import SANDBOX_BASE_URL, Settings, SettingsError
from runtype_mcp.tools import SPECS

KEY = "rt_live_0a1b2c3d0a1b2c3d"
TOOLS = [spec.name for spec in SPECS]
read = Settings.from_env


def refusal(environ: dict[str, str], **flags: object) -> str:
    """The one line that refuses these settings."""
    with pytest.raises(SettingsError) as refused:
        read(environ, **flags)
    text = str(refused.value)
    assert text.isprintable()
    assert len(text) < 200
    return text


def test_without_a_word_the_defaults_are_the_safe_ones() -> None:
    settings = read({})
    assert (settings.api_key, settings.base_url) == (None, "https://api.runtype.com")
    assert (settings.approval, settings.approval_live, settings.environment) == ("auto", None, None)
    assert (settings.secrets, settings.read_only, settings.sandbox) == ("show", False, False)
    assert (settings.tools, settings.audit, settings.files_root) == (("*",), None, Path.cwd())
    assert (settings.connect_timeout, settings.total_timeout, settings.log_level) == (5.0, 30.0, "WARNING")
    assert settings.fast_start is True


@pytest.mark.parametrize("unset", ["", "  ", "\n", "${user_config.some_field}"])
def test_what_a_host_leaves_of_an_empty_field_is_unset(unset: str) -> None:
    assert read(dict.fromkeys(VARIABLES, unset)) == read({})


@pytest.mark.parametrize("reference", ["${env:RUNTYPE_API_KEY}", "$RUNTYPE_API_KEY", "${workspaceFolder}"])
def test_a_reference_that_a_host_did_not_fill_in_is_unset_where_that_allows_nothing(reference: str) -> None:
    assert read({"RUNTYPE_API_KEY": reference, "RUNTYPE_MCP_FILES_ROOT": reference}) == read({})
    assert "RUNTYPE_MCP_READ_ONLY" in refusal({"RUNTYPE_MCP_READ_ONLY": reference})


def test_the_project_that_the_host_names_is_where_env_files_are_written(tmp_path: Path) -> None:
    assert read({"CLAUDE_PROJECT_DIR": str(tmp_path)}).files_root == tmp_path
    assert read({"CLAUDE_PROJECT_DIR": str(tmp_path / "gone")}).files_root == Path.cwd()
    assert read({"CLAUDE_PROJECT_DIR": "."}).files_root == Path.cwd()
    inside = tmp_path / "inside"
    inside.mkdir()
    chosen = {"CLAUDE_PROJECT_DIR": str(tmp_path), "RUNTYPE_MCP_FILES_ROOT": str(inside)}
    assert read(chosen).files_root == inside


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("RUNTYPE_API_KEY", f"  {KEY}\n", KEY),
        ("RUNTYPE_API_KEY", f"Bearer {KEY}", KEY),
        ("RUNTYPE_API_KEY", "an-oauth.token_", "an-oauth.token_"),
        ("RUNTYPE_MCP_READ_ONLY", "true", True),
        ("RUNTYPE_MCP_READ_ONLY", "ON", True),
        ("RUNTYPE_MCP_READ_ONLY", "1", True),
        ("RUNTYPE_MCP_READ_ONLY", "False", False),
        ("RUNTYPE_MCP_FAST_START", "off", False),
        ("RUNTYPE_MCP_CONNECT_TIMEOUT", "0.5", 0.5),
        ("RUNTYPE_MCP_TIMEOUT", "600", 600.0),
        ("RUNTYPE_MCP_LOG_LEVEL", "debug", "DEBUG"),
        ("RUNTYPE_MCP_APPROVAL", " DENY ", "deny"),
        ("RUNTYPE_MCP_APPROVAL_LIVE", "flag", "flag"),
        ("RUNTYPE_MCP_ENVIRONMENT", "Test", "test"),
        ("RUNTYPE_MCP_SECRETS", "file", "file"),
        ("RUNTYPE_MCP_TOOLS", "list_*, !*_value ,", ("list_*", "!*_value")),
        ("RUNTYPE_MCP_STATE_DIR", "/some/state", Path("/some/state")),
        ("RUNTYPE_MCP_REDIS_URL", "redis://:word@host:6379/1", "redis://:word@host:6379/1"),
        ("RUNTYPE_MCP_REQUEST_STATE_KEYS", f"{'a' * 32}, {'b' * 40},", ("a" * 32, "b" * 40)),
        ("RUNTYPE_BASE_URL", "https://api.runtype.com/", "https://api.runtype.com"),
        ("RUNTYPE_BASE_URL", "https://api.runtype.com/v1/", "https://api.runtype.com"),
        ("RUNTYPE_BASE_URL", "https://API.runtype.com:8443/v1", "https://api.runtype.com:8443"),
        ("RUNTYPE_BASE_URL", "http://localhost:8766", "http://localhost:8766"),
        ("RUNTYPE_BASE_URL", "http://127.0.0.1:8766", "http://127.0.0.1:8766"),
        ("RUNTYPE_BASE_URL", "http://[::1]:8766/", "http://[::1]:8766"),
    ],
)
def test_a_variable_is_read_and_changes_nothing_else(name: str, raw: str, value: Any) -> None:
    field = VARIABLES[name].field
    assert read({name: raw}).model_dump() == read({}).model_dump() | {field: value}


ADDRESS = "must be an https:// address without a path, such as https://api.runtype.com"
HOME = "begins with ~, and the system knows no such home directory."
SECONDS = "must be a number of seconds from 0.1 to 600."
CHARACTERS = "holds spaces or characters that no key has: paste the key again."
PLACEHOLDER = "holds the placeholder of an example: put your own key in its place."
PATTERNS = "must be tool names or patterns, separated by commas; '!' before one excludes it."
REDIS = "must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH"
RING = (
    "must be keys of 32 or more random characters each, separated by commas, none of them twice: "
    "`openssl rand -hex 32` makes one."
)
POLICIES = "must be 'auto', 'human', 'second-person', 'flag' or 'deny'"


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("RUNTYPE_MCP_APPROVAL", "none", f"{POLICIES}."),
        ("RUNTYPE_MCP_APPROVAL", "Humans", f"{POLICIES}; did you mean human?"),
        ("RUNTYPE_MCP_APPROVAL_LIVE", "denied", f"{POLICIES}; did you mean deny?"),
        ("RUNTYPE_MCP_READ_ONLY", "maybe", "must be true or false."),
        ("RUNTYPE_MCP_SANDBOX", "2", "must be true or false."),
        ("RUNTYPE_MCP_ENVIRONMENT", "production", "must be 'test' or 'live'."),
        ("RUNTYPE_MCP_SECRETS", "hide", "must be 'show' or 'file'."),
        ("RUNTYPE_MCP_LOG_LEVEL", "warn", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'; did you mean WARNING?"),
        *(("RUNTYPE_MCP_TIMEOUT", raw, SECONDS) for raw in ("0", "601", "-1", "nan", "inf", "soon")),
        ("RUNTYPE_MCP_CONNECT_TIMEOUT", "5s", SECONDS),
        *(("RUNTYPE_MCP_TOOLS", raw, PATTERNS) for raw in (",", "!", "list tokens", "delete-client-token")),
        ("RUNTYPE_MCP_FILES_ROOT", "/no/such/folder", "must be an existing directory."),
        ("RUNTYPE_MCP_FILES_ROOT", "~no-such-user/folder", HOME),
        ("RUNTYPE_MCP_AUDIT", "~no-such-user/audit.jsonl", HOME),
        ("RUNTYPE_MCP_STATE_DIR", "~no-such-user/state", HOME),
        *(("RUNTYPE_BASE_URL", raw, f"{ADDRESS} (http:// only for this machine).") for raw in (
            "api.runtype.com", "http://api.runtype.com", "ftp://api.runtype.com", SANDBOX_BASE_URL,
            "http://localhost.evil.example", "http://127.0.0.1.evil.example",
        )),
        *(("RUNTYPE_BASE_URL", raw, f"{ADDRESS}.") for raw in (
            "https://", "https://[x", "https://api.runtype.com/v2", "https://api.runtype.com/v1/client-tokens",
            "https://user@api.runtype.com", "https://:password@api.runtype.com", "https://api.runtype.com?x=1",
            "https://api.runtype.com#x", "https://api.runtype.com:99999", "https://api.runtype.com:0",
            "https://evil.example\\.runtype.com", "https://api.runtype\u3002com",
        )),
        ("RUNTYPE_MCP_REDIS_URL", "host:6379", f"{REDIS}."),
        *(("RUNTYPE_MCP_REQUEST_STATE_KEYS", raw, RING) for raw in (",", "a" * 31, f"{'a' * 32},{'a' * 32}")),
        *((f"RUNTYPE_MCP_{name}_FILE", "/no/such/file", "does not name a file that can be read as text.") for name in (
            "REDIS_URL", "REQUEST_STATE_KEYS",
        )),
        *((f"RUNTYPE_MCP_{name}_FILE", "/dev/null", "names a file that holds nothing.") for name in (
            "REDIS_URL", "REQUEST_STATE_KEYS",
        )),
        ("RUNTYPE_API_KEY", "two words", CHARACTERS),
        ("RUNTYPE_API_KEY", "rt_live_\u201c0a1b\u201d", CHARACTERS),
        ("RUNTYPE_API_KEY", "rt_live_0a1b\r\nX-Evil: 1", CHARACTERS),
        *(("RUNTYPE_API_KEY", raw, PLACEHOLDER) for raw in (
            "rt_test_YOUR_KEY", "your-api-key", "rt_live_<key>", "rt_live_${RUNTYPE_KEY}", "rt_live_...", "Bearer",
        )),
        *(
            ("RUNTYPE_API_KEY", f"ct_{kind}_flow01k7_0123456789abcdef",
             "holds a client token: those are for browsers. Use an API key (rt_live_… or rt_test_…).")
            for kind in ("live", "test")
        ),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_one_line_that_names_the_variable_and_not_the_value(
    name: str, raw: str, says: str
) -> None:
    assert refusal({name: raw}) == f"{name} {says}"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("RUNTYPE_MCP_READONLY", "; did you mean RUNTYPE_MCP_READ_ONLY?"),
        ("RUNTYPE_MCP_APROVAL", "; did you mean RUNTYPE_MCP_APPROVAL?"),
        ("RUNTYPE_READ_ONLY", "; did you mean RUNTYPE_MCP_READ_ONLY?"),
        ("RUNTYPE_MPC_READ_ONLY", "; did you mean RUNTYPE_MCP_READ_ONLY?"),
        ("runtype_mcp_read_only", "; did you mean RUNTYPE_MCP_READ_ONLY?"),
        ("RUNTYPE-MCP-SANDBOX", "; did you mean RUNTYPE_MCP_SANDBOX?"),
        ("RUNTYPE_APIKEY", "; did you mean RUNTYPE_API_KEY?"),
        ("RUNTYPE_API_TOKEN", "; did you mean RUNTYPE_API_KEY?"),
        ("RUNTYPE_KEY", "; did you mean RUNTYPE_API_KEY?"),
        ("RUNTYPE_MCP_API_KEY", "; did you mean RUNTYPE_API_KEY?"),
        ("RUNTYPE_BASEURL", "; did you mean RUNTYPE_BASE_URL?"),
        ("RUNTYPE_API_URL", "; did you mean RUNTYPE_BASE_URL?"),
        ("RUNTYPE_MCP_SOMETHING\n", ". `runtype-mcp settings` lists them."),
        ("RUNTYPEMCP_ELSE", ". `runtype-mcp settings` lists them."),
    ],
)
def test_a_name_that_was_meant_for_this_server_stops_the_start(name: str, hint: str) -> None:
    shown = name.replace("-", "?").replace("\n", "?")
    assert refusal({name: "x"}) == f"{shown} is not a setting{hint}"
    assert read({name: " "}) == read({})


def test_the_names_of_other_programs_are_left_alone() -> None:
    others = ("CLIENT_TOKEN", "IDENTITY_HEADERS", "WEBHOOK_SECRET", "AGENT_ID", "HOME", "DEBUG", "WIDGET_URL")
    assert read({f"RUNTYPE_{name}": "somebody else's" for name in others} | {"sandbox": "1"}) == read({})


def test_the_table_has_every_field_and_its_default() -> None:
    assert {row.field for row in VARIABLES.values()} == set(Settings.model_fields) - {"callers_elsewhere"}
    for name, row in VARIABLES.items():
        default = Settings.model_fields[row.field].get_default()
        if row.default == "none":
            assert default is None
        elif row.default.startswith("`"):
            assert getattr(read({name: row.default.strip("`")}), row.field) == default


# Paths and platforms


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project").mkdir()
    names = ("RUNTYPE_MCP_FILES_ROOT", "RUNTYPE_MCP_AUDIT", "RUNTYPE_MCP_STATE_DIR")
    settings = read(dict(zip(names, ("project", "~/audit.jsonl", "state"), strict=True)))
    found = (settings.files_root, settings.audit, settings.state_dir)
    assert found == (tmp_path / "project", tmp_path / "audit.jsonl", tmp_path / "state")


@pytest.mark.skipif(sys.platform == "win32", reason="links, and a working directory cannot be removed there")
def test_what_is_no_project_is_no_place_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    for place in ("/", tmp_path / "link", tmp_path / "real"):  # a home behind a link is home
        monkeypatch.chdir(place)
        assert read({}).files_root is None
    monkeypatch.setenv("HOME", "/")
    assert read({}).files_root == tmp_path / "real"
    (tmp_path / "real").rmdir()
    assert read({}).files_root is None
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("environ", "platform", "home", "folder"),
    [
        ({}, "linux", "/home/me", "/home/me/.unix/runtype-mcp"),
        ({}, "darwin", "/Users/me", "/Users/me/Mac/runtype-mcp"),
        ({"LOCALAPPDATA": "/c/Local"}, "win32", "/c/me", "/c/Local/runtype-mcp"),
        ({}, "win32", "/c/me", "/c/me/AppData/Local/runtype-mcp"),
        ({"XDG": "/state"}, "darwin", "/Users/me", "/state/runtype-mcp"),
        ({"XDG": "relative"}, "linux", "/home/me", "/home/me/.unix/runtype-mcp"),
        ({"XDG": "/state"}, "linux", "nowhere", "/state/runtype-mcp"),
        ({}, "linux", "nowhere", ""),
    ],
)
def test_a_users_files_are_where_the_platform_keeps_them(
    environ: dict[str, str], platform: str, home: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    assert user_folder(environ, "XDG", "~/.unix", "~/Mac", platform) == folder


def test_without_a_home_directory_there_is_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read({"XDG_STATE_HOME": "/state"}).state_dir == Path("/state/runtype-mcp")
    monkeypatch.setenv("HOME", "nowhere")
    assert read({}).state_dir is None


# The audit log is looked at before the first call


def test_an_audit_log_that_can_be_written_is_accepted_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text("kept\n")
    for path in (tmp_path / "old.jsonl", tmp_path / "new.jsonl", tmp_path / "some" / "where" / "new.jsonl"):
        assert read({"RUNTYPE_MCP_AUDIT": str(path)}).audit == path
    assert (tmp_path / "old.jsonl").read_text() == "kept\n"
    assert os.listdir(tmp_path) == ["old.jsonl"]


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and links")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("elsewhere"),
        lambda path: path.with_name("audit.jsonl.lock").mkdir(),
        lambda path: path.parent.rmdir() or path.parent.write_text(""),
        lambda path: path.parent.rmdir() or path.parent.symlink_to("gone"),
    ],
    ids=["folder", "FIFO", "link", "lock", "below a file", "below a dangling link"],
)
def test_an_audit_log_that_cannot_be_written_stops_the_start(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    path.parent.mkdir()
    make(path)
    says = "RUNTYPE_MCP_AUDIT must name a regular file that can be written."
    assert refusal({"RUNTYPE_MCP_AUDIT": str(path)}) == says


# What a value of settings promises


def test_the_sandbox_needs_no_key_and_never_calls_the_real_api() -> None:
    environ = {"RUNTYPE_API_KEY": "two words", "RUNTYPE_BASE_URL": "https://api.runtype.com"}
    for settings in (read({**environ, "RUNTYPE_MCP_SANDBOX": "1"}), read(environ, sandbox=True)):
        assert (settings.sandbox, settings.base_url) == (True, SANDBOX_BASE_URL)
        assert settings.api_key not in (None, "two words")


def test_a_flag_wins_over_its_variable_and_a_flag_that_is_not_given_does_not() -> None:
    environ = {"RUNTYPE_BASE_URL": "https://one.example", "RUNTYPE_MCP_READ_ONLY": "true"}
    assert read(environ, base_url="https://two.example").base_url == "https://two.example"
    assert read(environ, base_url=None, read_only=None).base_url == "https://one.example"
    assert read(environ, read_only=None).read_only is True
    assert read({}, read_only=True).read_only is True
    assert refusal({}, base_url="http://x.example").startswith("RUNTYPE_BASE_URL must be")


def test_settings_cannot_be_changed_afterwards_and_their_repr_has_no_key() -> None:
    settings = read({"RUNTYPE_API_KEY": KEY})
    with pytest.raises(ValidationError):
        settings.approval = "flag"  # type: ignore[misc]  # that is the point
    assert KEY not in repr(settings)


def test_secrets_may_be_in_files_and_a_variable_wins_over_its_file(tmp_path: Path) -> None:
    url, ring = tmp_path / "url", tmp_path / "ring"
    url.write_text("redis://:word@host\n")
    ring.write_text(f"{'a' * 32}\n{'b' * 32}\n")
    files = {"RUNTYPE_MCP_REDIS_URL_FILE": str(url), "RUNTYPE_MCP_REQUEST_STATE_KEYS_FILE": str(ring)}
    settings = read(files)
    assert settings.redis_url == "redis://:word@host"
    assert settings.request_state_keys == ("a" * 32, "b" * 32)
    assert "word" not in repr(settings)
    assert "aaa" not in repr(settings)
    assert read(files | {"RUNTYPE_MCP_REDIS_URL": "redis://other"}).redis_url == "redis://other"
    url.write_text("word")
    assert refusal(files) == f"RUNTYPE_MCP_REDIS_URL {REDIS}."


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTYPE_MCP_APPROVAL", "deny")
    assert read().approval == "deny"


@pytest.mark.parametrize(
    ("approval", "live", "environment", "policy"),
    [
        ("auto", None, "live", "auto"),
        ("flag", "deny", "live", "deny"),
        ("flag", "deny", "test", "flag"),
        ("human", "flag", "live", "flag"),
        ("flag", "human", "staging", "human"),
        ("flag", "human", "TEST", "human"),
        ("flag", "human", "", "human"),
    ],
)
def test_what_is_not_test_follows_the_policy_for_live(approval: Any, live: Any, environment: str, policy: str) -> None:
    assert Settings(approval=approval, approval_live=live).approval_for(environment) == policy


@pytest.mark.parametrize(
    ("patterns", "allowed", "left_out"),
    [
        ("*", ["get_client_token", "delete_client_token"], []),
        ("get_*", ["get_client_token", "get_client_token_value"], ["list_client_tokens"]),
        ("!delete_client_token", ["get_client_token"], ["delete_client_token"]),
        ("get_*,!*_value", ["get_client_token"], ["get_client_token_value", "list_client_tokens"]),
        ("!*_value,get_*", ["get_client_token_value", "list_client_tokens"], []),
        ("[gl]*_client_token*", ["get_client_token", "list_client_tokens"], ["delete_client_token"]),
        ("?et_client_token", ["get_client_token"], ["get_client_token_value"]),
    ],
)
def test_the_last_pattern_that_matches_decides(patterns: str, allowed: list[str], left_out: list[str]) -> None:
    settings = read({"RUNTYPE_MCP_TOOLS": patterns})
    settings.check_tools(TOOLS)
    assert all(map(settings.allows_tool, allowed))
    assert not any(map(settings.allows_tool, left_out))


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ("!delet_client_token", ": no tool matches 'delet_client_token'; did you mean delete_client_token?"),
        ("get_*,list_tokens", ": no tool matches 'list_tokens'; did you mean list_client_tokens?"),
        ("*,!*", " leaves no tool to offer."),
    ],
)
def test_a_list_of_tools_that_misses_them_stops_the_start(patterns: str, says: str) -> None:
    settings = read({"RUNTYPE_MCP_TOOLS": patterns})
    with pytest.raises(SettingsError) as refused:
        settings.check_tools(TOOLS)
    assert str(refused.value) == f"RUNTYPE_MCP_TOOLS{says}"


def test_a_renamed_setting_stops_the_start_and_is_told_the_new_name() -> None:
    assert refusal({"RUNTYPE_MCP_FRONT": "off"}) == "RUNTYPE_MCP_FRONT is called RUNTYPE_MCP_FAST_START now."
