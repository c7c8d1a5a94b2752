"""Answer the handshake from a cache, before the SDK is imported.

Most sessions of most hosts start every server, do the handshake, list its tools, and never call one. Importing the
SDK for that takes twenty times as long as starting Python, and six times the memory. So while the SDK answers the
first requests of a session, `recording.py` stores each reply as it was printed. When the same requests come again, in
the same order, under the same configuration, this module prints the same replies. At the first line that it has no
reply for, the SDK is imported, is sent the lines that it missed, and serves from then on. What makes that safe:

- A reply is found by what was sent before it (`state`) and by the whole request, its id and its progress token aside,
  so another client, version or capability is another request. Only methods whose results are fixed for the life of a
  process are stored (`_FIXED_METHODS`), and only results, never errors.
- In doubt, the SDK answers: any line that is not plainly such a request or a notification ends replay and recording.
- A cache belongs to one configuration, and is believed only if it is certainly ours: see `reply_cache.py`.
- The SDK is sent again only what may bear on later replies: the first request, handshakes and notifications. Those
  requests carry an id of our own, and the replies to it are dropped, however the client reuses its ids.

`RUNTYPE_MCP_FAST_START=off` turns it off. A warm start imports next to nothing: the C scanner without `json`, one hash
without `hashlib`, and none of `re`, `typing`, `collections` and `signal`. Together these would nearly double its time.
"""

import os
import sys

from runtype_mcp.stdio.reply_cache import ReplyCache, cache_for, digest

_FIXED_METHODS = (
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
)
REPLY_HEAD = '{"jsonrpc":"2.0","id":'
_MAX_LINE = 65536  # bytes of a line that may still be a plain request
_MAX_BACKLOG = 32  # lines that the SDK is sent again
_MAX_NOTIFICATION = 400  # characters, in which fewer levels and digits fit than the SDK's parser takes


def serve_from_cache(argv: list[str]) -> "Replay | None":
    """Answer what the cache can. The session goes on from what is returned; None if there is no cache to use."""
    replay = None
    try:
        if sys.stdin and sys.stdout and (cache := cache_for(argv, os.environ)):
            replay = Replay(cache)
            replay.run()
    except OSError:
        pass  # a file that has just gone, an input that cannot be read: the ordinary path reports it
    return replay


class Replay:
    """One client's session, as far as it was answered from the cache, or only read."""

    def __init__(self, cache: ReplyCache, source: int = 0, sink: int = 1) -> None:
        self.cache, self.source, self.sink = cache, source, sink
        self.replies = cache.load()
        self.client_left = False
        self.state = ""  # digest of the lines so far that may bear on a reply
        self.backlog: list[tuple[bool, str]] = []  # those lines, and whether each is a request
        self.unread = b""

    def run(self) -> None:
        """Answer until the client leaves, or a line is for the SDK.

        Raises:
            OSError: the input cannot be read.
        """
        while self.replies:
            line, newline, rest = self.unread.partition(b"\n")
            if newline:
                if not self._answer(line):
                    return
                self.unread = rest
            elif len(line) > _MAX_LINE:
                return
            elif data := os.read(self.source, _MAX_LINE):
                self.unread += data
            else:
                self.client_left = not line
                return

    def _answer(self, raw: bytes) -> bool:
        line = classify(raw, self.state)
        if line is None or line.key is None or len(self.backlog) == _MAX_BACKLOG:
            return False
        if line.id is not None and line.key not in self.replies:
            return False
        if line.stateful:
            self.state = line.key
            self.backlog.append((line.id is not None, raw.decode()))
        if line.id is not None:
            try:
                send(self.sink, f'{REPLY_HEAD}{line.id},"result":{self.replies[line.key]}}}\n'.encode())
            except BrokenPipeError:
                self.client_left = True
                return False
        return True


class Line:
    """What can be told of a line without the SDK. (A NamedTuple would import `typing`.)

    `id` is a request's id as the SDK prints it; None for a notification, and for an id that only the SDK prints.
    `key` is the digest of the line and of what was sent before it; None for a line that only the SDK can answer.
    `stateful` says whether the line may bear on later replies.
    """

    __slots__ = ("id", "key", "stateful")

    def __init__(self, name: str | None, key: str | None, stateful: bool) -> None:
        self.id, self.key, self.stateful = name, key, stateful


def classify(raw: bytes, state: str) -> Line | None:
    """What a line is, after lines with the digest `state`. None: it is not certainly one message."""
    try:
        text = raw.decode().strip(" \t\r\n")
        message, end = _scan(text, 0)
        if end != len(text) or type(message) is not dict:
            return None
        is_request, method = "id" in message, message.get("method")
        name = printed_id(message.pop("id", None))
        if is_request:
            plain, stateful = name is not None and method in _FIXED_METHODS, not state or method == "initialize"
        else:
            plain = _is_plain_notification(message, text)
            stateful = method != "notifications/cancelled"  # too late for what is answered here as soon as it is read
        if not state and (not is_request or method == "ping"):
            plain = False  # without a handshake or an envelope, what the SDK answers next is a matter of timing
        params = message.get("params")
        meta = params.get("_meta") if type(params) is dict else None
        if type(meta) is dict and printed_id(meta.get("progressToken")):
            meta["progressToken"] = ""
        return Line(name, digest(state, repr(message)) if plain else None, stateful)
    # SystemError: on Python 3.11 the C scanner fails without an exception where `json.decoder` is not imported.
    except (ValueError, RecursionError, StopIteration, SystemError):
        return None


def _is_plain_notification(message: dict[str, object], text: str) -> bool:
    """Whether the SDK certainly takes it: it would answer one that is malformed."""
    method, params = message.get("method"), message.get("params", {})
    named = type(method) is str and method.startswith("notifications/")
    plain = len(text) <= _MAX_NOTIFICATION and "\\u" not in text  # nor may a lone surrogate be in it
    return named and plain and type(params) is dict and message.get("jsonrpc") == "2.0"


def printed_id(given: object) -> str | None:
    """A request's id as the SDK prints it; None for one that is not printed plainly."""
    if type(given) is int and abs(given) < 2**53:
        return str(given)
    if type(given) is str and given.isascii() and given.isprintable() and '"' not in given and "\\" not in given:
        return f'"{given}"'
    return None


def send(fd: int, data: bytes) -> None:
    """Write all of `data`, to a descriptor that may not block."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # some hosts hand over a pipe that does not block
            import select

            select.select((), (fd,), ())


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(sorted(pairs, key=lambda pair: pair[0]))  # the order of keys does not make another request
    if len(value) != len(pairs):
        raise ValueError("a key twice: parsers differ on which one counts")
    return value


try:
    from _json import make_scanner

    class _Scanner:
        strict, object_hook, array_hook = True, None, None
        parse_float, parse_int, parse_constant = float, int, float
        object_pairs_hook = staticmethod(_object)

    _scan = make_scanner(_Scanner)  # type: ignore[arg-type]  # any object with these attributes

except ImportError:  # not CPython: the public name, and what it imports
    import json

    _scan = json.JSONDecoder(object_pairs_hook=_object, parse_constant=float).scan_once  # type: ignore[attr-defined]
