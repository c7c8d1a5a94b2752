"""A Slack bot for a team's server: it finds and previews client tokens, and posts what waits for a second person.

The server decides everything. Each call says, signed with the bot's key, on whose behalf it is made: whoever typed or
clicked in Slack. Values of tokens never come here: the bot calls no tool that returns one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import httpx2
import jwt
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

HELP = "`/client-tokens list` · `find TEXT` · `show NAME` · `deactivate NAME` · `delete NAME`"
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "deactivate": ("update_client_token", {"is_active": False}),
    "delete": ("delete_client_token", {}),
}


@dataclass(frozen=True)
class Server:
    """The team's server, the bot's token and name there, and the key with which it says for whom it calls."""

    url: str
    token: str
    name: str
    key: str
    audience: str

    async def call(self, tool: str, person: str | None, **arguments: Any) -> CallToolResult:
        """Call a tool on behalf of a Slack user, or as the bot itself."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if person is not None:
            now = int(time.time())
            says = {"iss": self.name, "sub": person, "aud": self.audience, "iat": now, "exp": now + 60}
            headers["Runtype-On-Behalf-Of"] = jwt.encode(says, self.key, algorithm="EdDSA")
        try:
            async with (
                httpx2.AsyncClient(headers=headers, timeout=120) as http,
                Client(streamable_http_client(self.url, http_client=http)) as client,
            ):
                return await client.call_tool(tool, arguments)
        except* (httpx2.HTTPError, MCPError, OSError):
            lost = TextContent(type="text", text="The server gave no usable answer. Look before you repeat a change.")
        return CallToolResult(content=[lost], is_error=True)


def said(result: CallToolResult) -> str:
    """The server's words."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def plain(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, **more}


def message(title: str, text: str, value: str = "", **buttons: str) -> dict[str, Any]:
    """A message with a button for each action. Text of others is `plain_text`, in which Slack formats nothing."""
    parts = [text[start : start + 3000] for start in range(0, len(text), 3000)]  # who approves sees all of it
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": title}}]
    blocks += [{"type": "section", "text": plain(part, emoji=False)} for part in parts]
    shown = [{"type": "button", "action_id": key, "text": plain(text), "value": value} for key, text in buttons.items()]
    blocks += [{"type": "actions", "elements": shown}] if shown else []
    # In the text of notifications these three characters would make mentions and links.
    return {"text": escape(text[:3000], quote=False), "blocks": blocks}


def table(result: CallToolResult) -> str:
    """Of a list, the facts that tell tokens apart."""
    rows = (result.structured_content or {}).get("rows", [])
    lines = [f"{name or 'no name'} · {kind} · {'on' if on else 'off'} · {key}" for key, name, kind, on, *_ in rows]
    return said(result) if result.is_error else "\n".join(lines) or "No client token."


class Bot:
    def __init__(self, app: AsyncApp, server: Server, channel: str, approvers: frozenset[str]) -> None:
        self.slack, self.server, self.channel, self.approvers = app.client, server, channel, approvers
        self.posted: dict[str, str] = {}  # by the code of a call that waits, its message
        self.problem, self.asking = "", set[str]()  # Slack delivers again what it believes to be lost
        app.command("/client-tokens")(self.command)
        for action in (self.ask, self.approve, self.deny):
            app.action(action.__name__)(action)
        app.view("approved")(self.approved)

    async def command(self, ack: Any, respond: Any, body: Mapping[str, Any]) -> None:
        await ack()  # within three seconds, however long the rest takes
        person, (verb, _, name) = body["user_id"], body.get("text", "").strip().partition(" ")
        if verb == "list" or (verb == "find" and name):
            found = await self.server.call("list_client_tokens", person, **({"name_contains": name} if name else {}))
            await respond(**message("*Client tokens*", table(found)))
        elif verb == "show" and name:
            found = await self.server.call("get_client_token", person, client_token=name)
            await respond(**message("*Client token*", said(found)))
        elif verb in CHANGES and name:
            tool, more = CHANGES[verb]
            shown = await self.server.call(tool, person, client_token=name, **more)
            data = shown.structured_content or {}
            token = data.get("clientToken", {})
            order = json.dumps([verb, token.get("id"), token.get("name") or token.get("id")])
            buttons = {"ask": "Ask for approval"} if data.get("status") == "preview" else {}
            await respond(**message("*Preview*" if buttons else "*Result*", said(shown), order, **buttons))
        else:
            await respond(text=HELP)

    async def ask(self, ack: Any, respond: Any, body: Mapping[str, Any]) -> None:
        """Make the call on behalf of who clicked, and again for as long as it waits for somebody else."""
        await ack()
        person, order = body["user"]["id"], body["actions"][0]["value"]
        if (asked := f"{person} {order}") in self.asking:
            return
        self.asking.add(asked)
        try:
            await respond(**message("*Asked*", "It waits for another person's approval."), replace_original=True)
            verb, token, name = json.loads(order)
            tool, sure = CHANGES[verb][0], {"client_token": token, "confirm": True, "expected_name": name}
            until, waits = time.monotonic() + 15 * 60, True  # for so long the server keeps it
            while waits and time.monotonic() < until:
                result = await self.server.call(tool, person, **sure, **CHANGES[verb][1])
                waits = ((result.meta or {}).get("runtype-mcp/error") or {}).get("outcome") == "waiting"
            await respond(**message("*Result*", said(result)), replace_original=False)
        finally:
            self.asking.discard(asked)

    async def approve(self, ack: Any, client: AsyncWebClient, body: Mapping[str, Any]) -> None:
        """Have the person type the token's name, as everywhere else."""
        await ack()
        entry = {"type": "plain_text_input", "action_id": "name", "max_length": 255}
        field = {"type": "input", "block_id": "name", "element": entry, "label": plain("Type the token's name")}
        texts = {"title": plain("Approve the call"), "submit": plain("Approve"), "close": plain("Cancel")}
        code = body["actions"][0]["value"]
        view = {"type": "modal", "callback_id": "approved", "private_metadata": code, "blocks": [field], **texts}
        await client.views_open(trigger_id=body["trigger_id"], view=view)

    async def approved(self, ack: Any, body: Mapping[str, Any], view: Mapping[str, Any]) -> None:
        await ack()
        typed = view["state"]["values"]["name"]["name"]["value"]
        await self.decide(body["user"]["id"], view["private_metadata"], "approve", expected_name=typed)

    async def deny(self, ack: Any, body: Mapping[str, Any]) -> None:
        await ack()
        await self.decide(body["user"]["id"], body["actions"][0]["value"], "deny")

    async def decide(self, person: str, code: str, decision: str, **more: str) -> None:
        """Decide on behalf of who clicked. The server refuses what somebody decides of their own."""
        problem = "You are not among those who may approve. Nothing was decided."
        if person in self.approvers:  # the server knows what the bot may do, and the bot who its approvers are
            result = await self.server.call("decide_approval", person, approval=code, decision=decision, **more)
            if not result.is_error and code in self.posted:
                done = message(f"*{'Approved' if decision == 'approve' else 'Denied'}* by <@{person}>", said(result))
                await self.slack.chat_update(channel=self.channel, ts=self.posted[code], **done)
                return
            problem = said(result)
        await self.slack.chat_postEphemeral(channel=self.channel, user=person, text=escape(problem, quote=False))

    async def post_what_waits(self) -> None:
        """Post each call that waits, whoever made it and with whatever client, once."""
        result, before = await self.server.call("list_approvals", None), self.problem
        self.problem, data = said(result) if result.is_error else "", result.structured_content or {}
        if self.problem not in ("", before):
            logging.warning("Nothing is posted: %s", self.problem)
        lines = str(data.get("callText", "")).splitlines()
        for code in (item["approval"] for item in data.get("approvals", [])):
            if code not in self.posted:
                text = "\n".join(line.removeprefix(f"{code} ") for line in lines if line.startswith(f"{code} "))
                shown = message("*A call waits for approval*", text, code, approve="Approve …", deny="Deny")
                self.posted[code] = str((await self.slack.chat_postMessage(channel=self.channel, **shown))["ts"])


async def main(env: Mapping[str, str], key: str) -> None:
    slack = AsyncWebClient(token=env["SLACK_BOT_TOKEN"], base_url=env.get("SLACK_API_URL", AsyncWebClient.BASE_URL))
    url, audience = env["RUNTYPE_SERVER_URL"], env.get("RUNTYPE_SERVER_AUDIENCE", "runtype-mcp")
    server = Server(url, env["RUNTYPE_BOT_TOKEN"], env["RUNTYPE_BOT_NAME"], key, audience)
    app = AsyncApp(client=slack)
    bot = Bot(app, server, env["SLACK_CHANNEL"], frozenset(env["SLACK_APPROVERS"].split(",")))
    await AsyncSocketModeHandler(app, env["SLACK_APP_TOKEN"]).connect_async()  # type: ignore[no-untyped-call]
    while True:
        await bot.post_what_waits()
        await asyncio.sleep(float(env.get("SLACK_POLL_SECONDS", "3")))


if __name__ == "__main__":
    asyncio.run(main(os.environ, Path(os.environ["RUNTYPE_BOT_KEY_FILE"]).read_text("utf-8")))
