"""The front of stdio: it answers what is always answered alike, before the SDK is loaded.

Most sessions of most hosts start every server, say hello, list its tools, and never call one. Loading the SDK for
that takes twenty times as long as starting Python, and six times the memory. So the server remembers. While the SDK
answers the first questions of a conversation, `wire.py` keeps each answer as it was printed; when the same questions
come again, in the same order, under the same configuration, this module prints the same answers. At the first line
that it has no answer for, the SDK is loaded, is told what was said so far, and speaks from then on.

What makes that safe:

- It knows no protocol. An answer is found by what was said before it (`state`) and by the whole question, its id and
  its progress token aside, so another client, version or capability is another question. Only methods whose answers
  are fixed for the life of a process are kept (`_FIXED`), and only results, never errors.
- In doubt, the SDK: any line that is not plainly such a question or a notification ends the front, and the keeping.
- The cache belongs to one configuration, and is believed only if it is certainly ours: see `cache.py`.
- The SDK is told again only what may bear on later answers: the first request, handshakes and notifications. Those
  requests carry an id of our own there, and what answers that id is dropped, however the client reuses its ids.

`RUNTYPE_MCP_FAST_START=off` turns all of it off. The warm path imports next to nothing: the C scanner without `json`, one
hash without `hashlib`, and neither `re` nor `signal`. Together these would nearly double its time.
"""

import os
import sys

from runtype_mcp.stdio.reply_cache import Cache, cache_for, digest

_FIXED = (
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
)
HEAD = '{"jsonrpc":"2.0","id":'
_LONGEST = 65536  # bytes of a line that may still be a plain question
_RETOLD = 32  # lines that the SDK is told again


def answered(argv: list[str]) -> "tuple[bool, Front | None]":
    """Answer from the cache. True: the client has left. False: the SDK is needed, to go on from there, if anywhere."""
    front = None
    try:
        if sys.stdin and sys.stdout and (cache := cache_for(argv)):
            front = Front(cache)
            return front.answer(), front
    except BrokenPipeError:
        return True, front
    except OSError:
        pass  # a file that just went, an input that cannot be read: the ordinary path says what there is to say
    return False, front


class Front:
    """What one client has said, as far as it was answered from the cache, or only read."""

    def __init__(self, cache: Cache, source: int = 0, sink: int = 1) -> None:
        self.cache, self.source, self.sink = cache, source, sink
        self.answers = cache.load()
        self.state = ""  # digest of what was said so far and may bear on an answer
        self.retold: list[tuple[str, str]] = []  # of that, the id, if it is a request, and the line
        self.unread = b""

    def answer(self) -> bool:
        """Answer what was answered before. True: the client has left. False: the rest is for the SDK."""
        while self.answers:
            line, newline, rest = self.unread.partition(b"\n")
            if newline:
                if not self._answer(line):
                    return False
                self.unread = rest
            elif len(line) > _LONGEST:
                return False
            elif data := os.read(self.source, _LONGEST):
                self.unread += data
            else:
                return not line
        return False

    def _answer(self, raw: bytes) -> bool:
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            return False
        name, question, bears = hear(line, self.state) or ("", "", False)
        result = self.answers.get(question) if name else ""
        if not question or result is None or len(self.retold) == _RETOLD:
            return False
        if bears:
            self.state = question
            self.retold.append((name, line))
        if name:
            send(self.sink, f'{HEAD}{name},"result":{result}}}\n')
        return True


def hear(line: str, state: str) -> tuple[str, str, bool] | None:
    """A line's id as the SDK prints it, its digest, and whether it may bear on later answers; None: it is not JSON.

    Without an id it is a notification. Without a digest it is neither that nor a question that is answered alike.
    """
    line = line.strip(" \t\r\n")
    try:
        message, end = _scan(line, 0)
        if end != len(line) or "\r" in line or type(message) is not dict:  # for the SDK, "\r" ends a line too
            return None
        asks, method = "id" in message, message.get("method")
        name = _name(message.pop("id", None))
        if asks:
            plain, bears = bool(name) and method in _FIXED, not state or method == "initialize"
        else:
            plain = type(method) is str and method.startswith("notifications/")
            bears = method != "notifications/cancelled"  # which is too late: what is answered here is answered at once
        if not state and (not asks or method == "ping"):
            plain = False  # without a handshake or an envelope, what the SDK answers next is a matter of timing
        params = message.get("params")
        meta = params.get("_meta") if type(params) is dict else None
        if type(meta) is dict and _name(meta.get("progressToken")):
            meta["progressToken"] = ""
        return name, digest(state, repr(message)) if plain else "", bears
    except (ValueError, RecursionError, StopIteration):
        return None


def _name(given: object) -> str:
    if type(given) is int and abs(given) < 2**53:
        return str(given)
    if type(given) is str and given.isascii() and given.isprintable() and '"' not in given and "\\" not in given:
        return f'"{given}"'
    return ""


def send(fd: int, text: str) -> None:
    """Write a text whole, to a descriptor that may not block."""
    data = text.replace("\n", os.linesep).encode()
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # some hosts hand over a pipe that does not block
            import select

            select.select((), (fd,), ())


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(sorted(pairs, key=lambda pair: pair[0]))  # the order of keys makes no other question
    if len(value) != len(pairs):
        raise ValueError("a key twice: readers may differ on which one counts")
    return value


try:
    from _json import make_scanner

    class _Scanner:
        strict, object_hook, array_hook = True, None, None
        parse_float, parse_int, parse_constant = float, int, float
        object_pairs_hook = staticmethod(_object)

    _scan = make_scanner(_Scanner)  # type: ignore[arg-type]  # any object with these attributes

except ImportError:  # not CPython: the public name, and what it brings along
    import json

    _scan = json.JSONDecoder(object_pairs_hook=_object, parse_constant=float).scan_once  # type: ignore[attr-defined]
