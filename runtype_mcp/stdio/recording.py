"""Record the SDK's first replies of a session, for `replay.py` to answer the next one with."""

from __future__ import annotations

import json
import os

from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse

from runtype_mcp.stdio.replay import REPLY_HEAD, Replay, classify, printed_id


class RecordingSession:
    """What the rest of a session must know of its replay, and what the next replay must know of this session."""

    def __init__(self, replay: Replay) -> None:
        self._cache, self._known, self._state = replay.cache, replay.replies, replay.state
        self._own_id = f"replay-{os.urandom(8).hex()}"
        self._recording = True
        self._open: dict[str, str] = {}  # the keys of requests without a reply, by their ids
        self._learned: dict[str, str] = {}
        self.backlog = [self._resend(line) if is_request else line.encode() for is_request, line in replay.backlog]
        """The lines that the SDK is sent before any other."""

    def _resend(self, request: str) -> bytes:
        return json.dumps(json.loads(request) | {"id": self._own_id}).encode()

    def observe(self, raw: bytes) -> None:
        """Take note of a line on its way to the SDK: its reply may be worth storing."""
        if not self._recording and not self._open:
            return
        line = classify(raw, self._state)
        if line is None or line.id in self._open:
            self._open.clear()  # or a reply could be taken for another request's
            self._recording = False
            return
        self._recording = self._recording and line.key is not None
        if self._recording and line.key is not None:
            if line.id is not None:
                self._open[line.id] = line.key
            if line.stateful:
                self._state = line.key

    def is_repeat(self, message: JSONRPCMessage) -> bool:
        """Whether it answers a request of the backlog, whose reply the client has."""
        return isinstance(message, JSONRPCResponse | JSONRPCError) and message.id == self._own_id

    def record(self, message: JSONRPCMessage, text: str) -> None:
        """Store a reply, which was sent as `text`, if its request may come again."""
        if not self._open or not isinstance(message, JSONRPCResponse | JSONRPCError):
            return
        name = printed_id(message.id) or ""
        key, head = self._open.pop(name, None), f'{REPLY_HEAD}{name},"result":'
        if key and text.startswith(head):
            reply = text[len(head) : -1]
            if reply != self._known.get(key):
                self._known[key] = self._learned[key] = reply
                self._cache.store(self._learned)
