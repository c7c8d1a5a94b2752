"""Slack as a bot sees it: the web API over HTTP, and Socket Mode's websocket. It listens on loopback, in a thread."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from aiohttp import WSMsgType, web

from tests.processes import TIMEOUT

Json = dict[str, Any]


class FakeSlack:
    """`sent`: what the bot sent, as (method, arguments), in its order. `acknowledged`: the envelopes that it took."""

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[tuple[str, Json]] = []
        self.acknowledged: list[str] = []
        self.connections = 0
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._socket: web.WebSocketResponse | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/api/{method}", self._method)
        app.router.add_post("/response/{person}", self._response)
        app.router.add_get("/link", self._link)
        return app

    async def _method(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        body = await request.text()
        arguments = json.loads(body) if body.startswith("{") else {k: v[0] for k, v in parse_qs(body).items()}
        match method:
            case "auth.test":
                return web.json_response({"ok": True, "bot_id": "B1", "user_id": "U0BOT", "team_id": "T1"})
            case "apps.connections.open":
                return web.json_response({"ok": True, "url": self.url.replace("http", "ws", 1) + "/link"})
        self._add(method, arguments)
        return web.json_response({"ok": True, "ts": str(len(self.sent)), "channel": arguments.get("channel")})

    async def _response(self, request: web.Request) -> web.Response:
        self._add(f"response to {request.match_info['person']}", await request.json())
        return web.Response(text="ok")

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1})
        with self._changed:
            self._socket, self.connections = socket, self.connections + 1
            self._changed.notify_all()
        async for message in socket:
            if message.type == WSMsgType.TEXT and message.data.startswith("{"):
                with self._changed:
                    self.acknowledged.append(json.loads(message.data)["envelope_id"])
                    self._changed.notify_all()
        return socket

    def _add(self, method: str, arguments: Json) -> None:
        with self._changed:
            self.sent.append((method, arguments))
            self._changed.notify_all()

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Wait until `holds` gives something true, and give it."""
        with self._changed:
            assert self._changed.wait_for(holds, TIMEOUT), f"never: {what}; {self.sent}"
        return holds()

    def message(self, method: str, holds: str, after: int = 0) -> Json:
        """The first of what the bot sent by this method in which a text stands."""

        def found() -> list[Json]:
            return [said for name, said in self.sent[after:] if name == method and holds in json.dumps(said)]

        message: Json = self.until(found, f"{method} with {holds!r}")[0]
        return message

    def deliver(self, kind: str, payload: Json, envelope: str | None = None) -> str:
        """Send the bot an envelope, and wait until it has acknowledged it. Returns its id."""
        envelope = envelope or f"e{next(self._numbers)}"
        before = self.acknowledged.count(envelope)
        sent = {"type": kind, "envelope_id": envelope, "payload": payload, "accepts_response_payload": True}
        self._run(lambda socket: socket.send_json(sent))
        self.until(lambda: self.acknowledged.count(envelope) > before, f"{envelope} acknowledged")
        return envelope

    def disconnect(self) -> None:
        """End the websocket, as Slack does every few hours, and wait for the bot to come back."""
        before = self.connections
        self._run(lambda socket: socket.send_json({"type": "disconnect", "reason": "refresh_requested"}))
        self.until(lambda: self.connections > before, "the bot connects again")

    def _run(self, act: Callable[[web.WebSocketResponse], Any]) -> None:
        self.until(lambda: self._socket is not None, "the bot connects")
        assert self._socket is not None
        assert self.loop is not None
        sent: Future[Any] = asyncio.run_coroutine_threadsafe(act(self._socket), self.loop)
        sent.result(TIMEOUT)

    def command(self, person: str, text: str) -> str:
        return self.deliver("slash_commands", self._by(person) | {"command": "/client-tokens", "text": text})

    def click(self, person: str, message: Json, action: str, envelope: str | None = None) -> str:
        """Click a button of a message."""
        (block,) = [block for block in message["blocks"] if block["type"] == "actions"]
        (pressed,) = [item for item in block["elements"] if item["action_id"] == action]
        payload = self._by(person) | {"type": "block_actions", "actions": [pressed | {"block_id": "b"}]}
        return self.deliver("interactive", payload, envelope)

    def submit(self, person: str, view: Json, typed: str, envelope: str | None = None) -> str:
        """Fill in the one field of a form, and send it."""
        values = {"name": {"name": {"type": "plain_text_input", "value": typed}}}
        payload = self._by(person) | {"type": "view_submission", "view": view | {"state": {"values": values}}}
        return self.deliver("interactive", payload, envelope)

    def _by(self, person: str) -> Json:
        return {
            "team_id": "T1",
            "user_id": person,
            "user": {"id": person, "team_id": "T1"},
            "team": {"id": "T1"},
            "channel": {"id": "C1"},
            "channel_id": "C1",
            "trigger_id": f"t{next(self._numbers)}",
            "response_url": f"{self.url}/response/{person}",
        }


@contextmanager
def fake_slack() -> Iterator[FakeSlack]:
    slack, ready, loop = FakeSlack(), threading.Event(), asyncio.new_event_loop()
    slack.loop = loop
    runner = web.AppRunner(slack.app(), shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        slack.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(TIMEOUT)
    try:
        yield slack
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
