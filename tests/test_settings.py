"""Settings: what the operator wrote, read once and strictly. A wrong word is never taken for a weaker policy."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from runtype_mcp.settings import DEFAULT_BASE_URL, KNOWN, SANDBOX_BASE_URL, Settings, SettingsError, load

KEY = "rt_live_0a1b2c3d0a1b2c3d"


def test_without_a_word_the_defaults_are_the_safe_ones() -> None:
    settings = load({})
    assert settings.api_key is None
    assert settings.base_url == DEFAULT_BASE_URL == "https://api.runtype.com"
    assert (settings.approval, settings.approval_live, settings.environment) == ("auto", None, None)
    assert (settings.secrets, settings.read_only, settings.sandbox) == ("show", False, False)
    assert settings.tools == ("*",)
    assert settings.audit is None
    assert settings.files_root == Path.cwd()
    assert (settings.connect_timeout, settings.total_timeout, settings.log_level) == (5.0, 30.0, "WARNING")


NAMES = [
    "RUNTYPE_API_KEY",
    "RUNTYPE_BASE_URL",
    "RUNTYPE_MCP_SANDBOX",
    "RUNTYPE_MCP_READ_ONLY",
    "RUNTYPE_MCP_CONNECT_TIMEOUT",
    "RUNTYPE_MCP_TIMEOUT",
    "RUNTYPE_MCP_LOG_LEVEL",
    "RUNTYPE_MCP_APPROVAL",
    "RUNTYPE_MCP_APPROVAL_LIVE",
    "RUNTYPE_MCP_ENVIRONMENT",
    "RUNTYPE_MCP_TOOLS",
    "RUNTYPE_MCP_SECRETS",
    "RUNTYPE_MCP_FILES_ROOT",
    "RUNTYPE_MCP_AUDIT",
]


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_variable_is_one_that_is_not_set(empty: str) -> None:
    assert load(dict.fromkeys(NAMES, empty)) == load({})


@pytest.mark.parametrize(
    ("name", "raw", "field", "value"),
    [
        ("RUNTYPE_API_KEY", KEY, "api_key", KEY),
        ("RUNTYPE_API_KEY", f"  {KEY}\n", "api_key", KEY),
        ("RUNTYPE_API_KEY", f"Bearer {KEY}", "api_key", KEY),
        ("RUNTYPE_API_KEY", "an-oauth-token", "api_key", "an-oauth-token"),
        ("RUNTYPE_MCP_READ_ONLY", "true", "read_only", True),
        ("RUNTYPE_MCP_READ_ONLY", "ON", "read_only", True),
        ("RUNTYPE_MCP_READ_ONLY", "1", "read_only", True),
        ("RUNTYPE_MCP_READ_ONLY", "False", "read_only", False),
        ("RUNTYPE_MCP_READ_ONLY", "0", "read_only", False),
        ("RUNTYPE_MCP_CONNECT_TIMEOUT", "0.5", "connect_timeout", 0.5),
        ("RUNTYPE_MCP_TIMEOUT", "600", "total_timeout", 600.0),
        ("RUNTYPE_MCP_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("RUNTYPE_MCP_APPROVAL", "human", "approval", "human"),
        ("RUNTYPE_MCP_APPROVAL", " DENY ", "approval", "deny"),
        ("RUNTYPE_MCP_APPROVAL_LIVE", "flag", "approval_live", "flag"),
        ("RUNTYPE_MCP_ENVIRONMENT", "Test", "environment", "test"),
        ("RUNTYPE_MCP_SECRETS", "file", "secrets", "file"),
        ("RUNTYPE_MCP_TOOLS", "list_*, !*_value ,", "tools", ("list_*", "!*_value")),
    ],
)
def test_a_variable_is_read(name: str, raw: str, field: str, value: Any) -> None:
    settings = load({name: raw})
    assert getattr(settings, field) == value
    assert {f: getattr(settings, f) for f in Settings.__slots__ if f != field} == {
        f: getattr(load({}), f) for f in Settings.__slots__ if f != field
    }


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("RUNTYPE_MCP_APPROVAL", "none"),
        ("RUNTYPE_MCP_APPROVAL", "off"),
        ("RUNTYPE_MCP_APPROVAL", "false"),
        ("RUNTYPE_MCP_APPROVAL", "humans"),
        ("RUNTYPE_MCP_APPROVAL_LIVE", "denied"),
        ("RUNTYPE_MCP_READ_ONLY", "maybe"),
        ("RUNTYPE_MCP_READ_ONLY", "2"),
        ("RUNTYPE_MCP_SANDBOX", "yes please"),
        ("RUNTYPE_MCP_ENVIRONMENT", "production"),
        ("RUNTYPE_MCP_SECRETS", "hide"),
        ("RUNTYPE_MCP_LOG_LEVEL", "loud"),
        ("RUNTYPE_MCP_TIMEOUT", "0"),
        ("RUNTYPE_MCP_TIMEOUT", "601"),
        ("RUNTYPE_MCP_TIMEOUT", "-1"),
        ("RUNTYPE_MCP_TIMEOUT", "nan"),
        ("RUNTYPE_MCP_TIMEOUT", "inf"),
        ("RUNTYPE_MCP_TIMEOUT", "soon"),
        ("RUNTYPE_MCP_CONNECT_TIMEOUT", "5s"),
        ("RUNTYPE_MCP_TOOLS", ","),
        ("RUNTYPE_MCP_TOOLS", "!"),
        ("RUNTYPE_MCP_TOOLS", "list tokens"),
        ("RUNTYPE_MCP_TOOLS", "delete-client-token"),
        ("RUNTYPE_MCP_FILES_ROOT", "/no/such/folder"),
        ("RUNTYPE_MCP_FILES_ROOT", "~no-such-user/folder"),
        ("RUNTYPE_MCP_AUDIT", "~no-such-user/audit.jsonl"),
        ("RUNTYPE_MCP_STATE_DIR", "~no-such-user/state"),
        ("RUNTYPE_MCP_FAST_START", "perhaps"),
        ("RUNTYPE_MCP_READONLY", "true"),
        ("RUNTYPE_MCP_APROVAL", "human"),
        ("RUNTYPE_MCP_SOMETHING", "else"),
        ("RUNTYPE_BASE_URL", "api.runtype.com"),
        ("RUNTYPE_BASE_URL", "http://api.runtype.com"),
        ("RUNTYPE_BASE_URL", "ftp://api.runtype.com"),
        ("RUNTYPE_BASE_URL", "https://"),
        ("RUNTYPE_BASE_URL", "https://api.runtype.com/v2"),
        ("RUNTYPE_BASE_URL", "https://api.runtype.com/v1/client-tokens"),
        ("RUNTYPE_BASE_URL", "https://user@api.runtype.com"),
        ("RUNTYPE_BASE_URL", "https://api.runtype.com?x=1"),
        ("RUNTYPE_BASE_URL", "https://api.runtype.com#x"),
        ("RUNTYPE_BASE_URL", "https://api.runtype.com:99999"),
        ("RUNTYPE_BASE_URL", "http://localhost.evil.example"),
        ("RUNTYPE_BASE_URL", "http://127.0.0.1.evil.example"),
        ("RUNTYPE_API_KEY", "two words"),
        ("RUNTYPE_API_KEY", "rt_live_\u201c0a1b\u201d"),
        ("RUNTYPE_API_KEY", "rt_live_0a1b\r\nX-Evil: 1"),
        ("RUNTYPE_API_KEY", "ct_live_flow01k7_0123456789abcdef0123456789abcdef"),
        ("RUNTYPE_API_KEY", "ct_test_flow01k7_0123456789abcdef0123456789abcdef"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_that_names_the_variable(name: str, raw: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load({name: raw})
    text = str(refusal.value)
    assert name in text
    assert "\n" not in text
    assert len(text) < 200
    if name == "RUNTYPE_API_KEY":
        assert raw not in text
        assert "0a1b" not in text
        assert "0123456789" not in text


@pytest.mark.parametrize(
    ("raw", "base_url"),
    [
        ("https://api.runtype.com", "https://api.runtype.com"),
        ("https://api.runtype.com/", "https://api.runtype.com"),
        ("https://api.runtype.com/v1", "https://api.runtype.com"),
        ("https://api.runtype.com/v1/", "https://api.runtype.com"),
        ("https://API.runtype.com:8443", "https://api.runtype.com:8443"),
        ("http://localhost:8766", "http://localhost:8766"),
        ("http://127.0.0.1:8766", "http://127.0.0.1:8766"),
        ("http://[::1]:8766/", "http://[::1]:8766"),
    ],
)
def test_an_address_is_brought_to_one_form(raw: str, base_url: str) -> None:
    assert load({"RUNTYPE_BASE_URL": raw}).base_url == base_url


def test_a_misspelt_setting_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(SettingsError, match=r"did you mean RUNTYPE_MCP_READ_ONLY\?"):
        load({"RUNTYPE_MCP_READONLY": "true"})
    assert load({"RUNTYPE_CLIENT_TOKEN": "somebody else's", "RUNTYPE_MCP_READONLY": " "}) == load({})


def test_a_field_that_a_host_left_unfilled_is_unset() -> None:
    fields = ("RUNTYPE_API_KEY", "RUNTYPE_BASE_URL", "RUNTYPE_MCP_FILES_ROOT", "RUNTYPE_MCP_READ_ONLY")
    assert load({name: f"${{user_config.{name.lower()}}}" for name in fields}) == load({})


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_home_behind_a_link_is_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    monkeypatch.chdir(tmp_path / "link")
    assert load({}).files_root is None


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(RUNTYPE_\w+)` \|", readme, re.MULTILINE))
    assert rows == KNOWN | {"RUNTYPE_API_KEY", "RUNTYPE_BASE_URL"}


@pytest.mark.skipif(sys.platform == "win32", reason="a working directory there cannot be removed")
def test_a_working_directory_that_is_gone_is_no_place_for_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert load({}).files_root is None
    monkeypatch.chdir(tmp_path)


def test_files_root_and_audit_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project").mkdir()
    settings = load({"RUNTYPE_MCP_FILES_ROOT": "project", "RUNTYPE_MCP_AUDIT": "~/audit.jsonl"})
    assert settings.files_root == tmp_path / "project"
    assert settings.audit == tmp_path / "audit.jsonl"


def test_the_sandbox_needs_no_key_and_never_calls_the_real_api() -> None:
    environ = {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": "https://api.runtype.com"}
    for settings in (load({**environ, "RUNTYPE_MCP_SANDBOX": "1"}), load(environ, sandbox=True)):
        assert settings.sandbox
        assert settings.base_url == SANDBOX_BASE_URL
        assert settings.api_key != KEY


def test_a_flag_wins_over_its_variable_and_a_flag_that_is_not_given_does_not() -> None:
    environ = {"RUNTYPE_BASE_URL": "https://one.example", "RUNTYPE_MCP_READ_ONLY": "true"}
    assert load(environ, base_url="https://two.example").base_url == "https://two.example"
    assert load(environ, base_url=None, read_only=None).base_url == "https://one.example"
    assert load(environ, read_only=None).read_only is True
    assert load({}, read_only=True).read_only is True


def test_a_key_does_not_show_in_a_repr() -> None:
    assert KEY not in repr(load({"RUNTYPE_API_KEY": KEY}))


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        load({}).approval = "flag"  # type: ignore[misc]  # that is the point


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTYPE_MCP_APPROVAL", "deny")
    assert load().approval == "deny"


@pytest.mark.parametrize(
    ("approval", "live", "environment", "rung"),
    [
        ("auto", None, "live", "auto"),
        ("auto", None, "test", "auto"),
        ("flag", "deny", "live", "deny"),
        ("flag", "deny", "test", "flag"),
        ("human", "flag", "live", "flag"),
        ("human", "flag", "test", "human"),
        ("flag", "human", "staging", "human"),
        ("flag", "human", "TEST", "human"),
        ("flag", "human", "", "human"),
    ],
)
def test_what_is_not_test_follows_the_policy_for_live(approval: Any, live: Any, environment: str, rung: str) -> None:
    assert Settings(approval=approval, approval_live=live).approval_for(environment) == rung


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
        ("nothing_at_all", [], ["get_client_token"]),
    ],
)
def test_the_last_pattern_that_matches_decides(patterns: str, allowed: list[str], left_out: list[str]) -> None:
    settings = load({"RUNTYPE_MCP_TOOLS": patterns})
    assert all(map(settings.allows_tool, allowed))
    assert not any(map(settings.allows_tool, left_out))
