"""The page about callers: each of its settings starts a server, and its statement of a bot is taken."""

from __future__ import annotations

import re
import time
from pathlib import Path

import jwt
import pytest

from runtype_mcp.http.callers_file import CallersFile
from runtype_mcp.http.jwt_tokens import signed_by_bot
from tests.http.processes import http_server
from tests.http.team import Bot, issuer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "identities.md").read_text("utf-8")
SETTINGS = re.findall(r"```ini\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.partition("\n")[0])
def test_its_settings_start_a_server(block: str, tmp_path: Path) -> None:
    callers = CallersFile(tmp_path / "callers.json")
    callers.add("ana", ("read",))
    with issuer() as fake:
        fill = {"callers.json": str(callers.path), "https://login.example.com": fake.url}
        environ = dict(line.split("=", 1) for line in block.split())
        environ = {name: fill.get(value, value) for name, value in environ.items()}
        with http_server(**environ) as (process, _):
            assert process.popen.stderr is not None
            lines = [process.popen.stderr.readline().decode() for _ in range(2)]
    said = {"static": "has a token of", "jwt": f"of {fake.url}", "passthrough": "as bearer token, and with that key"}
    assert said[environ["RUNTYPE_MCP_AUTH"]] in lines[1]


def test_there_is_one_for_each_way() -> None:
    assert len(SETTINGS) == 3


def test_its_statement_of_a_bot_is_taken(tmp_path: Path) -> None:
    bot = Bot.added(tmp_path / "callers.json", "slack-bot")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names = {"jwt": jwt, "now": int(time.time()), "private_key": bot.key}
    exec(code, names)
    (caller,) = CallersFile(tmp_path / "callers.json").callers()
    assert caller.public_key is not None
    statement = str(names["statement"])
    place = "https://mcp.example.com/mcp"
    assert signed_by_bot(statement, caller.public_key, "slack-bot", place) == ("U012AB3CD", "Ana")
    for wrong in (("another-bot", place), ("slack-bot", "https://other.example/mcp")):
        assert signed_by_bot(statement, caller.public_key, *wrong) is None
