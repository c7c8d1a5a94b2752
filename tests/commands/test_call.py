"""`runtype-mcp call`: one tool from a script, and from a terminal, against the server of this machine's settings."""

from __future__ import annotations

import json
import re
import signal
import threading
from pathlib import Path

import anyio.to_thread
import pytest
from starlette.types import Receive, Scope, Send

from runtype_mcp.commands.call_result import EXIT_CODES
from runtype_mcp.sandbox.store import Record
from runtype_mcp.storage import audit_log
from runtype_mcp.tools import SPECS
from tests.confirmations import put
from tests.processes import TIMEOUT, on_terminal, run, started
from tests.support import AGENT, KEY, Api

NAME_OR_STOP = "Type the token's name to go ahead, or nothing to stop: "
FORM = "Name of the token (Type it to approve.), or nothing to decline: "
WAITS = b"Stopping once the call that is under way has ended. Ctrl+C again ends it now.\n"
SURE = ("confirm=true", "expected_name=Shop")


@pytest.fixture
def shop(api: Api) -> str:
    """The id of a live token that is named Shop."""
    return put(api.store, name="Shop")


def environ(api: Api, **more: str) -> dict[str, str]:
    return {"RUNTYPE_API_KEY": KEY, "RUNTYPE_BASE_URL": api.url, **more}


def script(api: Api, *words: str, stdin: str = "", **more: str) -> tuple[int, str, str]:
    """What a script gets: the exit code, stdout and stderr."""
    done = run("call", *words, stdin=stdin, **environ(api, **more))
    return done.returncode, done.stdout, done.stderr


def value_of(api: Api, token: str) -> str:
    record = api.store.get(token)
    assert record is not None
    assert record.value
    return record.value


def person(api: Api, *words: str, types: tuple[tuple[str, str], ...] = (), **more: str) -> tuple[int, str]:
    """What a person gets who types each line once its prompt is shown; `^C` presses Ctrl+C."""
    with on_terminal("call", *words, **environ(api, NO_COLOR="1", **more)) as terminal:
        for number, (after, line) in enumerate(types, 1):
            while terminal.shown.count(after) < number:
                assert terminal.read(), terminal.shown
            terminal.press_ctrl_c() if line == "^C" else terminal.types(f"{line}\n")
        ended = terminal.ended()
    return ended, terminal.shown.replace("\r", "")


# From a script


def test_a_table_is_printed_for_people_and_the_structured_result_for_programs(api: Api) -> None:
    api.seeded()
    code, out, errors = script(api, "list_client_tokens", "environment=live", "limit=3")
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["id", "name", "environment", "isActive", "allowedOrigins", "lastUsedAt"]
    assert [line.startswith("ct_") for line in lines[1:4]] == [True] * 3
    assert "hasMore: true" in lines
    code, out, errors = script(api, "list_client_tokens", "environment=live", "limit=3", "--json")
    data = json.loads(out)
    assert (code, errors, data["count"], len(data["rows"])) == (0, "", 3, 3)


def test_options_may_stand_anywhere(api: Api, shop: str) -> None:
    for words in (
        ("--json", "get_client_token", "client_token=Shop"),
        ("get_client_token", "--json", "client_token=Shop"),
        ("get_client_token", "client_token=Shop", "--read-only", "--json"),
    ):
        code, out, _ = script(api, *words)
        assert (code, json.loads(out)["clientToken"]["id"]) == (0, shop)


def test_a_created_token_is_what_the_words_say(api: Api, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"theme": "dark"}')
    words = ("name=@@home", "allowed_origins=https://a.example,https://b.example", f"agent_ids={AGENT}")
    code, out, _ = script(
        api, "create_client_token", *words, f"config=@{config}", "rate_limit_per_hour=7", "allow_duplicate_name=true"
    )
    assert code == 0
    ((method, _, body),) = api.writes
    assert method == "POST"
    assert (
        body.items()
        >= {
            "name": "@home",
            "allowedOrigins": ["https://a.example", "https://b.example"],
            "agentIds": [AGENT],
            "config": {"theme": "dark"},
            "rateLimitPerHour": 7,
            "environment": "test",
        }.items()
    )
    (record,) = api.store.newest_first()
    assert f"\nvalue: {record.value}\n" in out


def test_stdin_may_be_a_value(api: Api, shop: str) -> None:
    assert script(api, "update_client_token", "client_token=Shop", "config=@-", stdin='{"theme": "dark"}')[0] == 0
    assert api.writes[0][2] == {"config": {"theme": "dark"}}


def test_a_value_is_printed_where_the_tool_returns_it_and_nowhere_else(api: Api, shop: str) -> None:
    value = value_of(api, shop)
    for flags in ((), ("--json",)):
        code, out, errors = script(api, "get_client_token_value", "client_token=Shop", *flags)
        assert (code, out.count(value), errors) == (0, 1, "")
    assert json.loads(out)["value"] == value
    for words in (("get_client_token", "client_token=Shop"), ("list_client_tokens",)):
        assert value not in "".join(script(api, *words)[1:]) + "".join(script(api, *words, "--json")[1:])


def test_a_call_that_asks_first_is_only_previewed(api: Api, shop: str) -> None:
    code, out, errors = script(api, "delete_client_token", "client_token=Shop")
    assert (code, errors) == (EXIT_CODES["preview"], "")
    assert "\n- Every page that embeds this token stops working immediately, for good.\n" in out
    assert out.endswith("A script says confirm=true and expected_name=… as the tool takes them.\n")
    code, out, _ = script(api, "delete_client_token", "client_token=Shop", "--json")
    assert (code, json.loads(out)["status"]) == (EXIT_CODES["preview"], "preview")
    assert not api.writes


def test_a_script_that_names_the_token_is_a_client_without_forms(api: Api, shop: str, tmp_path: Path) -> None:
    """What happens then is the policy's: under `auto` flag and name suffice where nobody can be asked."""
    log = tmp_path / "audit.jsonl"
    code, _, _ = script(api, "delete_client_token", "client_token=Shop", *SURE, RUNTYPE_MCP_AUDIT=str(log))
    assert (code, api.writes) == (0, [("DELETE", f"/v1/client-tokens/{shop}", None)])
    (row,) = audit_log.rows(log)
    assert (row.tool, row.approval, row.outcome) == ("delete_client_token", "flag", "done")
    assert row.caller.startswith("runtype-mcp call ")


def test_under_policy_human_a_script_waits_for_a_person(api: Api, shop: str) -> None:
    human = {"RUNTYPE_MCP_APPROVAL": "human"}
    code, out, errors = script(api, "delete_client_token", "client_token=Shop", *SURE, **human)
    assert (code, out) == (EXIT_CODES["waiting"], "")
    found = re.search(r"`runtype-mcp approve ([0-9A-Z-]{9})`", errors)
    assert found
    code, out, errors = script(api, "delete_client_token", "client_token=Shop", *SURE, "--json", **human)
    error = json.loads(out)["error"]
    assert (code, errors, error["outcome"], error["approval"]) == (7, "", "waiting", found[1])
    assert not api.writes
    with on_terminal("approve", found[1], **environ(api)) as terminal:
        terminal.until("undecided: ")
        terminal.types("Shop\n")
        assert terminal.ended() == 0
    assert script(api, "delete_client_token", "client_token=Shop", *SURE, **human)[0] == 0
    assert len(api.writes) == 1
    assert script(api, "delete_client_token", "client_token=Shop", *SURE, **human)[0] == EXIT_CODES["not_found"]


BAD: dict[str, tuple[tuple[str, ...], dict[str, str], str, str]] = {
    "not a number": (("list_client_tokens", "limit=many"), {}, "bad_input", "limit must be a whole number."),
    "what only the tool knows": (("list_client_tokens", "limit=0"), {}, "bad_input", "limit: must be at least 1."),
    "unknown argument": (
        *(("get_client_token", "client_tokn=Shop"), {}),
        *("bad_input", "client_tokn: unknown argument; did you mean client_token?"),
    ),
    "unknown tool": (
        *(("get_client_tokens", "client_token=Shop"), {}),
        *("bad_input", "get_client_tokens: unknown tool; did you mean get_client_token?"),
    ),
    "what pages alone call": (
        *(("confirm_in_app", "approval_code=1"), {}),
        *("bad_input", "confirm_in_app: unknown tool"),
    ),
    "no such token": (("get_client_token", "client_token=Till"), {}, "not_found", "No client token has the id"),
    "another name": (
        *(("delete_client_token", "client_token=Shop", "confirm=true", "expected_name=Till"), {}),
        *("refused", ""),
    ),
    "policy": (
        *(("delete_client_token", "client_token=Shop", *SURE), {"RUNTYPE_MCP_APPROVAL": "deny"}),
        *("refused", ""),
    ),
    "a tool that is not offered": (
        *(("delete_client_token", "client_token=Shop", *SURE), {"RUNTYPE_MCP_READ_ONLY": "true"}),
        *("refused", "This server is read-only (RUNTYPE_MCP_READ_ONLY), and delete_client_token writes."),
    ),
    "the API": (("list_client_tokens",), {"RUNTYPE_BASE_URL": "http://127.0.0.1:1"}, "failed", ""),
    "no key": (("list_client_tokens",), {"RUNTYPE_API_KEY": ""}, "failed", "No Runtype API key is set."),
}


@pytest.mark.parametrize("case", BAD)
def test_each_outcome_has_its_exit_code_and_says_that_nothing_changed(api: Api, shop: str, case: str) -> None:
    words, more, outcome, says = BAD[case]
    code, out, errors = script(api, *words, **more)
    assert (code, out) == (EXIT_CODES[outcome], "")
    assert errors.startswith(f"runtype-mcp: {says}")
    assert len(errors.splitlines()) == 1
    assert "Nothing was " in errors
    code, out, errors = script(api, *words, "--json", **more)
    error = json.loads(out)["error"]
    assert (code, errors, error["outcome"]) == (EXIT_CODES[outcome], "", outcome)
    assert error["message"].startswith(says)
    assert not api.writes


def test_a_write_whose_answer_is_lost_is_told_as_unknown(api: Api, shop: str) -> None:
    inner = api.stage.app

    async def lost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT":
            api.faults.add("html_502", method="PUT", after_commit=True)
            api.faults.add("status", method="GET", status=403, times=5)
        await inner(scope, receive, send)

    api.stage.app = lost
    code, out, errors = script(api, "update_client_token", "client_token=Shop", 'config={"theme": "dark"}')
    assert (code, out, len(api.writes)) == (EXIT_CODES["unknown"], "", 1)
    assert "answer was lost" in errors


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("client_token=Shop",), "The tool comes first"),
        (("delete_client_token", "client_token=Shop", "--confirm"), "--confirm needs a terminal"),
        (("list_client_tokens", "--token-file", "x"), "--token-file goes with --url"),
        (("list_client_tokens", "--url", "https://x.example/mcp", "--sandbox"), "--url excludes --sandbox"),
        (("list_client_tokens", "--jsn"), "unknown option --jsn"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_sent(api: Api, shop: str, words: tuple[str, ...], says: str) -> None:
    code, out, errors = script(api, *words)
    assert (code, out) == (2, "")
    assert errors.startswith(f"runtype-mcp: {says}")
    assert not api.received


def test_without_a_tool_it_lists_the_tools_with_a_line_each(api: Api) -> None:
    code, out, _ = script(api)
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(SPECS) + 1]] == [spec.name for spec in SPECS]
    assert lines[1].endswith("List the client tokens that pass every given filter.")
    listed = json.loads(script(api, "--json")[1])
    assert [tool["name"] for tool in listed] == [spec.name for spec in SPECS]
    assert all(tool["inputSchema"]["type"] == "object" for tool in listed)
    assert not api.received


def test_help_tells_a_tools_arguments_with_their_descriptions(api: Api) -> None:
    code, out, _ = script(api, "delete_client_token", "--help")
    assert code == 0
    assert re.search(r"^client_token +text, needed +Token id or exact name$", out, re.M)
    assert re.search(r"^confirm +true or false +true once the user agreed to the preview$", out, re.M)
    schema = json.loads(script(api, "delete_client_token", "--help", "--json")[1])
    assert schema["required"] == ["client_token"]
    code, out, _ = script(api, "--help")
    assert code == 0
    assert out.startswith("usage: runtype-mcp call [TOOL]")
    told = {int(number) for number in re.findall(r"^  (\d+) +\w", out, re.M)}
    assert told == set(EXIT_CODES.values())
    assert script(api, "no_such_tool", "--help")[0] == EXIT_CODES["bad_input"]


# At a terminal


def test_confirm_acts_once_the_person_has_read_the_preview_and_typed_the_name(
    api: Api, shop: str, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    code, shown = person(
        *(api, "delete_client_token", "client_token=Shop", "--confirm"),
        types=((NAME_OR_STOP, "Till"), (NAME_OR_STOP, "Shop")),
        RUNTYPE_MCP_AUDIT=str(log),
        RUNTYPE_MCP_APPROVAL="human",
    )
    assert (code, api.writes) == (0, [("DELETE", f"/v1/client-tokens/{shop}", None)])
    effect = shown.index("- Every page that embeds this token stops working immediately, for good.")
    assert effect < shown.index(NAME_OR_STOP) < shown.index("That is not the token's name. Try again.")
    assert shown.count(NAME_OR_STOP) == 2
    assert FORM not in shown  # the name was typed under the same effects: it is not asked for again
    *_, row = audit_log.rows(log)
    assert (row.approval, row.outcome) == ("person", "done")


def test_confirm_needs_no_question_where_the_call_asks_none(api: Api, shop: str) -> None:
    code, shown = person(api, "update_client_token", "client_token=Shop", 'config={"a": 1}', "--confirm")
    assert (code, len(api.writes), NAME_OR_STOP in shown) == (0, 1, False)


def test_a_create_is_confirmed_by_its_own_name(api: Api) -> None:
    words = ("create_client_token", "name=New", "allowed_origins=*", f"agent_ids={AGENT}", "--confirm")
    code, shown = person(api, *words, types=((NAME_OR_STOP, "New"),))
    assert (code, [method for method, _, _ in api.writes]) == (0, ["POST"]), shown


@pytest.mark.parametrize("answers", [("",), ("^C",), ("Till", "till", "SHOP")])
def test_without_the_name_nothing_goes_ahead(api: Api, shop: str, answers: tuple[str, ...]) -> None:
    types = tuple((NAME_OR_STOP, answer) for answer in answers)
    code, shown = person(api, "delete_client_token", "client_token=Shop", "--confirm", types=types)
    assert code == EXIT_CODES["refused"]
    assert shown.endswith("Nobody typed the token's name. Nothing was changed.\n")
    assert not api.writes


def test_a_token_that_changes_after_the_preview_is_not_touched(api: Api, shop: str) -> None:
    with on_terminal("call", "delete_client_token", "client_token=Shop", "--confirm", **environ(api)) as terminal:
        terminal.until(NAME_OR_STOP)
        record = api.store.get(shop)
        assert record is not None
        api.store.put(Record(record.token | {"allowedOrigins": ["https://other.example"]}, record.value))
        terminal.types("Shop\n")
        assert terminal.ended() == EXIT_CODES["refused"]
    assert not api.writes


@pytest.mark.parametrize(
    ("answer", "code"), [("Shop", "done"), ("Till", "refused"), ("", "refused"), ("^C", "refused")]
)
def test_the_servers_question_is_a_form_in_the_terminal(api: Api, shop: str, answer: str, code: str) -> None:
    ended, shown = person(api, "delete_client_token", "client_token=Shop", *SURE, types=((FORM, answer),))
    assert ended == EXIT_CODES[code]
    assert 'The server asks: Delete the live client token "Shop"' in shown
    assert len(api.writes) == (code == "done")
    assert ("Nothing was changed." in shown) is (code == "refused")


def test_confirm_and_a_yes_of_its_own_exclude_each_other(api: Api, shop: str) -> None:
    code, shown = person(api, "delete_client_token", "client_token=Shop", *SURE, "--confirm")
    assert code == EXIT_CODES["bad_input"]
    assert "--confirm asks you here, and confirm says yes already. Nothing was sent." in shown


# Ctrl+C


class Held:
    """Holds every request of a method until `let_go`; `reached` is set by the first."""

    def __init__(self, api: Api, method: str) -> None:
        self.reached, self._free = threading.Event(), threading.Event()
        inner = api.stage.app

        async def hold(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == method:
                self.reached.set()
                await anyio.to_thread.run_sync(self._free.wait, abandon_on_cancel=True)
            await inner(scope, receive, send)

        api.stage.app = hold

    def let_go(self) -> None:
        self._free.set()


def test_ctrl_c_in_a_read_says_that_nothing_was_changed(api: Api) -> None:
    held = Held(api, "GET")
    with started("call", "list_client_tokens", **environ(api)) as process:
        assert held.reached.wait(TIMEOUT)
        process.popen.send_signal(signal.SIGINT)
        ended, errors = process.ended(), process.errors()
    held.let_go()
    assert (ended, errors) == (130, "runtype-mcp: Stopped. Nothing was changed.\n")


def test_ctrl_c_in_a_write_lets_it_end_and_tells_what_came_of_it(api: Api, shop: str, tmp_path: Path) -> None:
    log, held = tmp_path / "audit.jsonl", Held(api, "DELETE")
    words = ("delete_client_token", "client_token=Shop", *SURE)
    with started("call", *words, **environ(api, RUNTYPE_MCP_AUDIT=str(log))) as process:
        assert held.reached.wait(TIMEOUT)
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.stderr is not None
        assert process.popen.stderr.readline() == WAITS
        held.let_go()
        assert (process.ended(), process.errors()) == (0, "")
        assert process.popen.stdout is not None
        assert b"note: Deleted.\n" in process.popen.stdout.read()
    (row,) = audit_log.rows(log)
    assert row.outcome == "done"
    assert len(api.writes) == 1


def test_ctrl_c_pressed_again_ends_it_and_says_that_something_may_have_been_changed(api: Api, shop: str) -> None:
    held = Held(api, "DELETE")
    with started("call", "delete_client_token", "client_token=Shop", *SURE, **environ(api)) as process:
        assert held.reached.wait(TIMEOUT)
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.stderr is not None
        assert process.popen.stderr.readline() == WAITS
        process.popen.send_signal(signal.SIGINT)
        ended, errors = process.ended(), process.errors()
    held.let_go()
    assert ended == EXIT_CODES["unknown"]
    assert errors == (
        "runtype-mcp: Stopped. The call was under way, and may have changed something: look before repeating it.\n"
    )


def test_tools_are_completed_in_a_shell() -> None:
    done = run("completion", "bash")
    assert all(spec.name in done.stdout for spec in SPECS)
    assert "--token-file" in done.stdout
