"""The Slack bot as a real process, between a Slack of our own and a real server of a team."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runtype_mcp.storage import audit_log
from tests.confirmations import put
from tests.examples.fake_slack import FakeSlack, Json, fake_slack
from tests.http.team import Bot, team_server
from tests.processes import environment
from tests.support import KEY, Api

BOT = Path(__file__).parents[2] / "examples" / "slack" / "bot.py"
ANA, BOB, EVE = "U0ANA", "U0BOB", "U0EVE"
SCOPES = ("read", "write", "delete", "approve")


@dataclass
class Chat:
    """Slack, the API behind the team's server, and its audit log."""

    slack: FakeSlack
    api: Api
    log: Path

    def asked(self, name: str = "Shop", verb: str = "deactivate") -> Json:
        """Ana asks for a change; the message in the channel with the buttons."""
        before = len(self.slack.sent)
        self.slack.command(ANA, f"{verb} {name}")
        self.slack.click(ANA, self.slack.message(f"response to {ANA}", "Ask for approval", before), "ask")
        return self.slack.message("chat.postMessage", "A call waits for approval", before)

    def form(self, person: str, message: Json) -> Json:
        """What a person gets who clicks on Approve."""
        before = len(self.slack.sent)
        self.slack.click(person, message, "approve")
        view = self.slack.message("views.open", "Type the token's name", before)["view"]
        made: Json = json.loads(view) if isinstance(view, str) else view
        return made


@contextmanager
def running(api: Api, tmp_path: Path, *scopes: str) -> Iterator[Chat]:
    callers, key_file, log = tmp_path / "callers.json", tmp_path / "bot.pem", tmp_path / "audit.jsonl"
    bot = Bot.added(callers, "slack-bot", *scopes)  # type: ignore[arg-type]  # a tuple of scopes
    key_file.write_bytes(bot.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = {
        "RUNTYPE_API_KEY": KEY,
        "RUNTYPE_BASE_URL": api.url,
        "RUNTYPE_MCP_AUTH": "static",
        "RUNTYPE_MCP_CALLERS": str(callers),
        "RUNTYPE_MCP_APPROVAL": "second-person",
        "RUNTYPE_MCP_AUDIT": str(log),
    }
    with fake_slack() as slack, team_server(**server) as (url, _):
        environ = {
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_APP_TOKEN": "xapp-test",
            "SLACK_API_URL": f"{slack.url}/api/",
            "SLACK_CHANNEL": "C1",
            "SLACK_APPROVERS": f"{ANA},{BOB}",
            "SLACK_POLL_SECONDS": "0.1",
            "RUNTYPE_SERVER_URL": f"{url}/mcp",
            "RUNTYPE_BOT_TOKEN": bot.token,
            "RUNTYPE_BOT_NAME": "slack-bot",
            "RUNTYPE_BOT_KEY_FILE": str(key_file),
        }
        process = subprocess.Popen([sys.executable, str(BOT)], env=environment(**environ))
        try:
            slack.until(lambda: slack.connections, "the bot connects")
            yield Chat(slack, api, log)
        finally:
            process.terminate()
            process.wait(10)
        values = [record.value for record in api.store.newest_first() if record.value]
        assert not [value for value in values if value in json.dumps(slack.sent)], "no value is ever posted"


@pytest.fixture
def chat(api: Api, tmp_path: Path) -> Iterator[Chat]:
    with running(api, tmp_path, *SCOPES) as made:
        yield made


def test_another_person_approves_in_slack_and_the_token_changes_once(chat: Chat) -> None:
    token, slack = put(chat.api.store, name="Shop"), chat.slack
    message = chat.asked()
    assert "asked by: U0ANA (via slack-bot)" in json.dumps(message)
    assert "Shop" in json.dumps(message)

    slack.submit(ANA, chat.form(ANA, message), "Shop")
    assert "somebody else must decide it" in slack.message("chat.postEphemeral", "somebody else")["text"]
    slack.submit(BOB, chat.form(BOB, message), "Till")
    assert "not 'Till'" in slack.message("chat.postEphemeral", "Till")["text"]
    slack.click(EVE, message, "deny")
    assert slack.message("chat.postEphemeral", "among those who may approve")["user"] == EVE
    assert not chat.api.writes

    form, before = chat.form(BOB, message), len(slack.sent)
    envelope = slack.submit(BOB, form, "Shop")
    update = slack.message("chat.update", "Approved")
    assert "*Approved* by <@U0BOB>" in json.dumps(update)
    assert "actions" not in json.dumps(update["blocks"])
    slack.message(f"response to {ANA}", "status: done", before)
    assert [method for method, _, _ in chat.api.writes] == ["PUT"]

    slack.submit(BOB, form, "Shop", envelope)  # Slack delivers it again
    slack.submit(BOB, form, "Shop")  # and somebody clicked twice
    slack.until(
        lambda: sum("No call waits" in json.dumps(said) for _, said in slack.sent) == 2, "both are told that it is over"
    )
    assert len(chat.api.writes) == 1
    record = chat.api.store.get(token)
    assert record is not None
    assert record.token["isActive"] is False
    entries = [json.loads(line) for line in chat.log.read_text("utf-8").splitlines()]
    (done,) = [entry for entry in entries if entry["tool"] == "update_client_token" and entry.get("outcome") == "done"]
    assert done["caller"] == "U0ANA (via slack-bot)"
    assert done["approved_by"] == "static:slack-bot:U0BOB"
    assert audit_log.verify(chat.log).problems == []


def test_a_denied_call_changes_nothing(chat: Chat) -> None:
    put(chat.api.store, name="Shop")
    chat.slack.click(BOB, chat.asked(verb="delete"), "deny")
    chat.slack.message("chat.update", "Denied")
    chat.slack.message(f"response to {ANA}", "A person denied this call")
    assert not chat.api.writes


def test_a_bot_without_the_scope_to_approve_says_the_servers_words(api: Api, tmp_path: Path) -> None:
    put(api.store, name="Shop")
    with running(api, tmp_path, "read", "write") as chat:
        button = {"action_id": "deny", "type": "button", "value": "AAAA-AAAA"}
        message = {"blocks": [{"type": "actions", "elements": [button]}]}
        chat.slack.click(BOB, message, "deny")
        assert "client_tokens:approve" in chat.slack.message("chat.postEphemeral", "approve")["text"]


def test_after_a_disconnect_it_comes_back_and_goes_on(chat: Chat) -> None:
    put(chat.api.store, name="Shop")
    chat.slack.disconnect()
    chat.slack.command(ANA, "list")
    assert "Shop" in json.dumps(chat.slack.message(f"response to {ANA}", "Client tokens"))


def test_a_name_can_neither_mention_nor_link(chat: Chat) -> None:
    put(chat.api.store, name="<!channel> & <https://evil.example|Shop>")
    chat.slack.command(ANA, "list")
    said = chat.slack.message(f"response to {ANA}", "channel")
    assert "<!channel>" not in said["text"]
    assert "<https" not in said["text"]
    shown = [block["text"] for block in said["blocks"] if "channel" in json.dumps(block)]
    assert {text["type"] for text in shown} == {"plain_text"}


@pytest.mark.parametrize("text", ["", "help", "find", "value Shop", "regenerate Shop"])
def test_what_it_does_not_offer_is_answered_with_what_it_does(chat: Chat, text: str) -> None:
    chat.slack.command(ANA, text)
    assert "deactivate NAME" in chat.slack.message(f"response to {ANA}", "NAME")["text"]
    assert not chat.api.received
