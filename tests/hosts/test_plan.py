"""What an install and an uninstall change: the entry, and what a person made of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from ruamel.yaml import YAML

from runtype_mcp.hosts import NAMES, plan
from runtype_mcp.hosts.edit import editor
from runtype_mcp.hosts.launch import Launch
from runtype_mcp.hosts.paths import find
from runtype_mcp.hosts.plan import Choice, NotOurs
from runtype_mcp.hosts.table import HOSTS, Host, Scope, Server

START = Launch("/opt/runtype-mcp")
CURSOR = HOSTS["cursor"]
REFERENCE = "${env:RUNTYPE_API_KEY}"
ROOT = {"RUNTYPE_MCP_FILES_ROOT": "${workspaceFolder}"}


def wanted(host: Host, scope: Scope = "user", **choice: Any) -> Server:
    return plan.server(host, scope, START, Choice(**choice))


def installed(host: Host, text: str = "", **choice: Any) -> plan.Plan:
    return plan.install(host, text, wanted(host, **choice))


def entry(host: Host, text: str | None) -> Any:
    return find(editor(host.form).parse(text or ""), (*host.servers, "runtype"))


def cursor(**fields: Any) -> str:
    return json.dumps({"mcpServers": {"runtype": {"command": "/old/runtype-mcp", "args": [], **fields}}}, indent=2)


SHAPES: dict[str, dict[str, Any]] = {
    "claude-desktop": {"command": "/opt/runtype-mcp", "args": []},
    "claude-code": {"type": "stdio", "command": "/opt/runtype-mcp", "args": []},
    "cursor": {"command": "/opt/runtype-mcp", "args": [], "env": {"RUNTYPE_API_KEY": REFERENCE, **ROOT}},
    "vscode": {
        "type": "stdio",
        "command": "/opt/runtype-mcp",
        "args": [],
        "env": {"RUNTYPE_API_KEY": "${input:runtype-api-key}"},
    },
    "devin": {"command": "/opt/runtype-mcp", "args": [], "env": {"RUNTYPE_API_KEY": REFERENCE}},
    "windsurf": {"command": "/opt/runtype-mcp", "args": [], "env": {"RUNTYPE_API_KEY": REFERENCE}},
    "zed": {"command": "/opt/runtype-mcp", "args": []},
    "codex": {"command": "/opt/runtype-mcp", "args": [], "env_vars": ["RUNTYPE_API_KEY"]},
    "gemini": {"command": "/opt/runtype-mcp", "args": [], "env": {"RUNTYPE_API_KEY": "${RUNTYPE_API_KEY:-}"}},
    "goose": {
        "enabled": True,
        "type": "stdio",
        "name": "runtype",
        "description": "Manage Runtype client tokens",
        "cmd": "/opt/runtype-mcp",
        "args": [],
        "envs": {},
        "timeout": 300,
    },
    "lm-studio": {"command": "/opt/runtype-mcp", "args": []},
}


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_has_the_shape_that_the_host_reads(name: str) -> None:
    assert entry(HOSTS[name], installed(HOSTS[name]).text) == SHAPES[name]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_for_is_in_the_entry_and_on_the_sandbox_no_key_is(name: str) -> None:
    host = HOSTS[name]
    found = entry(host, installed(host, sandbox=True, read_only=True, approval="human").text)
    _, args, env = host.keys
    assert found[args] == ["--sandbox", "--read-only"]
    assert found[env]["RUNTYPE_MCP_APPROVAL"] == "human"
    assert "RUNTYPE_API_KEY" not in json.dumps(found)


@pytest.mark.parametrize("name", NAMES)
def test_where_a_key_is_stored_the_entry_does_without_one_and_names_the_account(name: str) -> None:
    host = HOSTS[name]
    text = installed(host).text or ""
    for choice, args in (({"key_is_stored": True}, []), ({"profile": "work"}, ["--profile", "work"])):
        found = entry(host, installed(host, text, **choice).text)
        assert found == entry(host, installed(host, **choice).text)
        assert found[host.keys[1]] == args
        assert "RUNTYPE_API_KEY" not in json.dumps(found)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_what_would_be_written(name: str) -> None:
    host = HOSTS[name]
    readers: dict[str, Callable[[str], Any]] = {
        "JSON": json.loads,
        "TOML": tomllib.loads,
        "YAML": YAML(typ="safe", pure=True).load,
    }
    choices: tuple[dict[str, Any], ...] = ({}, {"sandbox": True, "approval": "human"})
    for choice in choices:
        printed = plan.snippet(host, wanted(host, **choice))
        read = readers[host.form]
        assert read(printed) == editor(host.form).parse(installed(host, **choice).text or "")


@pytest.mark.parametrize("name", NAMES)
def test_installing_twice_changes_nothing(name: str) -> None:
    choices: tuple[dict[str, Any], ...] = ({}, {"sandbox": True}, {"read_only": True, "approval": "deny"})
    for choice in choices:
        text = installed(HOSTS[name], **choice).text
        assert text is not None
        assert installed(HOSTS[name], text, **choice) == plan.Plan(text)


@pytest.mark.parametrize("name", NAMES)
def test_one_choice_after_another_leaves_what_the_last_one_says(name: str) -> None:
    host = HOSTS[name]
    text = installed(host, sandbox=True, read_only=True, approval="human").text or ""
    assert entry(host, installed(host, text).text) == entry(host, installed(host).text)


def test_a_person_is_told_of_the_locks_that_an_install_takes_off() -> None:
    text = installed(CURSOR, read_only=True, approval="human").text or ""
    assert installed(CURSOR, text).notes == [
        "It was read-only and no longer is. Add --read-only to keep that.",
        "Its approval policy was 'human'. Add --approval to keep one.",
    ]
    assert installed(CURSOR, text, read_only=True, approval="deny").notes == []


def test_an_older_entry_keeps_what_a_person_added() -> None:
    text = cursor(
        args=["--base-url", "http://localhost:1"], disabled=True, env={"RUNTYPE_MCP_TOOLS": "list_*", "X": "1"}
    )
    assert entry(CURSOR, installed(CURSOR, text, read_only=True).text) == {
        "command": "/opt/runtype-mcp",
        "args": ["--read-only", "--base-url", "http://localhost:1"],
        "disabled": True,
        "env": {"RUNTYPE_MCP_TOOLS": "list_*", "X": "1", "RUNTYPE_API_KEY": REFERENCE, **ROOT},
    }


def test_a_files_root_that_a_person_chose_stays() -> None:
    text = cursor(env={"RUNTYPE_MCP_FILES_ROOT": "/srv/site"})
    assert entry(CURSOR, installed(CURSOR, text).text)["env"]["RUNTYPE_MCP_FILES_ROOT"] == "/srv/site"


def test_a_folder_that_is_named_is_the_files_root_of_every_host_whatever_was_there() -> None:
    for name in NAMES:
        host = HOSTS[name]
        for before in ("", installed(host).text or "", installed(host, files_root="/srv/other").text or ""):
            found = entry(host, installed(host, before, files_root="/srv/site").text)
            assert found[host.keys[2]]["RUNTYPE_MCP_FILES_ROOT"] == "/srv/site"


def test_a_key_that_somebody_wrote_down_stays_and_is_spoken_of_and_is_not_repeated() -> None:
    text = cursor(env={"RUNTYPE_API_KEY": "rt_live_0123456789abcdef"})
    after = installed(CURSOR, text)
    assert entry(CURSOR, after.text)["env"]["RUNTYPE_API_KEY"] == "rt_live_0123456789abcdef"
    assert after.notes == [
        "It holds an API key in plain text, which stays. After `runtype-mcp login` you can delete it there."
    ]


def test_what_goose_has_switched_off_stays_off() -> None:
    goose = HOSTS["goose"]
    text = (installed(goose).text or "").replace("enabled: true", "enabled: false").replace("300", "20")
    assert entry(goose, installed(goose, text, sandbox=True).text) | {"args": []} == {
        **SHAPES["goose"],
        "enabled": False,
        "timeout": 20,
    }


def test_codex_keeps_the_other_variables_that_it_passes_on() -> None:
    codex = HOSTS["codex"]
    text = (installed(codex).text or "").replace('["RUNTYPE_API_KEY"]', '["HTTPS_PROXY", "RUNTYPE_API_KEY"]')
    assert installed(codex, text).text == text
    assert entry(codex, installed(codex, text, sandbox=True).text)["env_vars"] == ["HTTPS_PROXY"]
    assert "env_vars" not in entry(codex, installed(codex, installed(codex).text or "", sandbox=True).text)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"url": "https://api.runtype.com/mcp"}, "the one at https://api.runtype.com/mcp"),
        ({"serverUrl": "https://x/mcp"}, "the one at https://x/mcp"),
        ({"command": "npx", "args": ["-y", "@runtype/mcp"]}, "one that is started by 'npx'"),
        ({}, "another"),
        ("nonsense", "another"),
    ],
)
def test_another_server_of_the_same_name_is_left_alone(other: object, what: str) -> None:
    text = json.dumps({"mcpServers": {"runtype": other}})
    with pytest.raises(NotOurs) as refused:
        installed(CURSOR, text)
    assert str(refused.value) == what
    with pytest.raises(NotOurs):
        plan.uninstall(CURSOR, text, "runtype", [])


# Uninstalling

MINE = '{\n  // mine\n  "mcpServers": { "other": { "command": "x" } },\n  "inputs": [],\n}\n'


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_install_made_goes_away(name: str) -> None:
    host = HOSTS[name]
    assert plan.uninstall(host, installed(host).text or "", "runtype", []) == plan.Plan(None)


def test_the_bytes_from_before_come_back() -> None:
    for before in ("{}", "{ }\n", '{"mcpServers": {}}', MINE, "", "// nothing\n"):
        text = installed(CURSOR, before).text or ""
        assert plan.uninstall(CURSOR, text, "runtype", ["nonsense", before]) == plan.Plan(before)


def test_what_changed_since_stays() -> None:
    text = (installed(CURSOR, MINE).text or "").replace("// mine", "// mine, changed")
    assert plan.uninstall(CURSOR, text, "runtype", [MINE]) == plan.Plan(MINE.replace("// mine", "// mine, changed"))


def test_the_question_for_the_key_goes_with_the_last_entry_that_needs_it() -> None:
    vscode = HOSTS["vscode"]
    text = installed(vscode, '{\n  "servers": {}\n}\n').text or ""
    assert [one["id"] for one in json.loads(text)["inputs"]] == ["runtype-api-key"]
    gone = plan.uninstall(vscode, text + "// since", "runtype", [])
    assert gone is not None
    assert editor("JSON").parse(gone.text or "") == {"servers": {}}
    second = plan.install(vscode, text, wanted(vscode, name="runtype-2")).text or ""
    kept = plan.uninstall(vscode, second, "runtype", [])
    assert kept is not None
    assert json.loads(kept.text or "")["inputs"] == json.loads(text)["inputs"]
    assert list(json.loads(kept.text or "")["servers"]) == ["runtype-2"]


def test_a_file_that_install_made_and_changed_again_goes_away_and_one_that_was_empty_stays() -> None:
    for name in ("vscode", "codex", "goose"):
        host = HOSTS[name]
        text = installed(host, installed(host, sandbox=True).text or "").text or ""
        assert plan.uninstall(host, text, "runtype", []) == plan.Plan(None)
        hollow = plan.uninstall(host, text, "runtype", ["  "])
        assert hollow is not None
        assert hollow.text is not None


def test_where_there_is_no_entry_nothing_is_taken_out() -> None:
    assert plan.uninstall(CURSOR, MINE, "runtype", []) is None
