"""The front of stdio: it answers what is always answered alike, before the SDK is loaded.

Most sessions of most hosts start every server, say hello, list its tools, and never call one. Loading the SDK for
that takes twenty times as long as starting Python, and six times the memory. So the server remembers. While the SDK
answers the first questions of a conversation, each answer is kept as it was printed; when the same questions come
again, in the same order, under the same configuration, this module prints the same answers. At the first line that
it has no answer for, the SDK is loaded, is told what was said so far, and speaks from then on.

What makes that safe:

- It knows no protocol. An answer is found by what was said before it (`state`) and by the whole question, its id and
  its progress token aside, so another client, version or capability is another question. Only methods whose answers
  are fixed for the life of a process are kept (`_FIXED`), and only results, never errors.
- In doubt, the SDK: any line that is not plainly such a question or a notification ends the front, and the keeping.
- The cache belongs to one configuration: this package's files, the versions of the SDK, pydantic and Python, the
  arguments, and every `RUNTYPE_*` variable. A file exists only where the ordinary path has accepted exactly these,
  and what may be refused since then, a key or a directory, is looked at again. Of the API key, only whether there is
  one enters. Configurations and questions are kept as digests: no setting and no word of a client is on disk.
- The file is its owner's alone (0600 in a 0700 directory), replaced in one step, and believed only if it is the
  reader's own and whole. A cache that cannot be read or written is no error: the ordinary path serves.
- The SDK is told again only what may bear on later answers: the first request, handshakes and notifications. Those
  requests carry an id of our own there, and what answers that id is dropped, however the client reuses its ids.

`RUNTYPE_MCP_FRONT=off` turns all of it off. The warm path imports next to nothing: the C scanner without `json`, one
hash without `hashlib`, and neither `re` nor `signal`. Together these would nearly double its time.
"""

import io
import os
import sys

from runtype_mcp import __version__

_FIXED = (
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
)
_SHAPING = ("mcp-", "mcp_types-", "pydantic")  # distributions that shape what is printed
_HEAD = '{"jsonrpc":"2.0","id":'
_LONGEST = 65536  # bytes of a line that may still be a plain question
_RETOLD = 32  # lines that the SDK is told again
_KEPT = 64  # answers in a file: about six for each host, and for each version of it
_FILES = 16  # configurations
_SUFFIX = ".answers"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(sorted(pairs, key=lambda pair: pair[0]))  # the order of keys makes no other question
    if len(value) != len(pairs):
        raise ValueError("a key twice: readers may differ on which one counts")
    return value


try:
    from _blake2 import blake2b
    from _json import make_scanner

    class _Scanner:
        strict, object_hook, array_hook = True, None, None
        parse_float, parse_int, parse_constant = float, int, float
        object_pairs_hook = staticmethod(_object)

    _scan = make_scanner(_Scanner)  # type: ignore[arg-type]  # any object with these attributes

    def _hash(data: bytes) -> str:
        return blake2b(data, digest_size=32).hexdigest()

except ImportError:  # not CPython, or one built for FIPS: the public names, and what they bring along
    import hashlib
    import json

    _scan = json.JSONDecoder(object_pairs_hook=_object, parse_constant=float).scan_once  # type: ignore[attr-defined]

    def _hash(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()


conversation: "Conversation | None" = None  # what `answered` leaves to the SDK; None if the front stood aside


def answered(argv: list[str]) -> bool:
    """Answer from the cache. True: the client has left. False: the SDK is needed, to go on with `conversation`."""
    global conversation
    try:
        configuration, folder = _configuration(argv), _folder()
        aside = not configuration or not folder or sys.stdin is None or sys.stdout is None
        conversation = None if aside else Conversation(os.path.join(folder, configuration + _SUFFIX), configuration)
        return conversation is not None and conversation.answer()
    except BrokenPipeError:
        return True
    except OSError:
        return False  # a file that just went, an input that cannot be read: the ordinary path says what there is to say
    except KeyboardInterrupt:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)  # ends at once, as by default, and without a traceback
        return True


class Conversation:
    """What one client says. The front answers first; then the SDK, for whose transport this is both text files."""

    def __init__(self, path: str, configuration: str, source: int = 0, sink: int = 1) -> None:
        self.path, self.configuration, self.source, self.sink = path, configuration, source, sink
        self.answers = _load(path, configuration)
        self.state = ""  # digest of what was said so far and may bear on an answer
        self.unread = b""
        self.retold: list[tuple[str, str]] = []  # the id, if it is a request, and the line
        self.own_id = f"front-{os.urandom(8).hex()}"
        self.text: io.TextIOWrapper | None = None
        self.learning, self.learned = True, dict[str, str]()
        self.asked: dict[str, str] = {}  # the open questions by id, while learning

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
        name, question, bears = _hear(line, self.state) or ("", "", False)
        result = self.answers.get(question) if name else ""
        if not question or result is None or len(self.retold) == _RETOLD:
            return False
        if bears:
            self.state = question
            self.retold.append((name, line))
        if name:
            _send(self.sink, f'{_HEAD}{name},"result":{result}}}\n')
        return True

    def __enter__(self) -> None:
        """Keep the wire to ourselves, as the SDK's own transport does: neither a stray print nor a child reaches it."""
        null = os.open(os.devnull, os.O_RDWR)  # first: it takes the place of a closed stderr
        self.source, self.sink = os.dup(self.source), os.dup(self.sink)
        os.dup2(null, 0)
        os.dup2(2 if sys.stderr else null, 1)
        sys.stdout.flush()

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()  # what was printed meanwhile goes to stderr too
        os.dup2(self.source, 0)  # the duplicates stay open: a thread may still read
        os.dup2(self.sink, 1)

    def readline(self) -> str:
        """The next line for the SDK: what it must be told again, then what is not answered yet. It may block."""
        if line := self.told_again():
            return line
        if self.text is None:
            raw = io.BufferedReader(_Rest(self.unread, self.source))
            self.text = io.TextIOWrapper(raw, encoding="utf-8", errors="replace")
        return self.listen(self.text.readline())

    def told_again(self) -> str:
        """The next line that the SDK must be told again; empty when it knows all."""
        if not self.retold:
            return ""
        name, line = self.retold.pop(0)
        return _renamed(line, self.own_id) if name else line + "\n"

    def listen(self, line: str) -> str:
        """A line on its way to the SDK: what it asks may be answered from the cache next time."""
        if line and (self.learning or self.asked):
            self._learn(line)
        return line

    def _learn(self, line: str) -> None:
        heard = _hear(line, self.state)
        name, question, bears = heard or ("", "", False)
        if heard is None or name in self.asked:
            self.asked.clear()  # or an answer could be taken for another's
            question = ""
        self.learning = self.learning and question != ""
        if self.learning and name:
            self.asked[name] = question
        if self.learning and bears:
            self.state = question

    def write(self, text: str) -> int:
        """Send one line of the SDK's. An answer to a question that may come again is kept."""
        name, _, rest = text.removeprefix(_HEAD).partition(',"')
        if name == f'"{self.own_id}"':
            return len(text)
        try:
            _send(self.sink, text)
        except OSError:
            return 0  # nobody listens; the end of the input will end the server
        if rest.startswith(('result":', 'error":')) and (question := self.asked.pop(name, "")) and rest[0] == "r":
            self.learned[question] = rest.removeprefix('result":').removesuffix("}\n")
            self._save()
        return len(text)

    def flush(self) -> None:
        """Nothing waits: `write` has sent it."""

    def _save(self) -> None:
        kept = _load(self.path, self.configuration) | self.learned
        lines = "\n".join(f"{question}\n{result}" for question, result in list(kept.items())[-_KEPT:])
        folder, new = os.path.dirname(self.path), f"{self.path[: -len(_SUFFIX)]}.{self.own_id}{_SUFFIX}"
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            files = sorted((f for f in os.scandir(folder) if f.name.endswith(_SUFFIX)), key=lambda f: f.stat().st_mtime)
            for old in files[:-_FILES]:
                os.unlink(old)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(f"{_digest(self.configuration, lines)}\n{lines}".encode())
            os.replace(new, self.path)
        except OSError:
            pass  # a cache is a convenience


class _Rest(io.RawIOBase):
    """What was read already, then the descriptor."""

    def __init__(self, read: bytes, fd: int) -> None:
        self.read_already, self.fd = read, fd

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # what io.BufferedReader passes
        data = self.read_already[: len(buffer)] or os.read(self.fd, len(buffer))
        self.read_already = self.read_already[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _hear(line: str, state: str) -> tuple[str, str, bool] | None:
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
        return name, _digest(state, repr(message)) if plain else "", bears
    except (ValueError, RecursionError, StopIteration):
        return None


def _name(given: object) -> str:
    if type(given) is int and abs(given) < 2**53:
        return str(given)
    if type(given) is str and given.isascii() and given.isprintable() and '"' not in given and "\\" not in given:
        return f'"{given}"'
    return ""


def _renamed(line: str, name: str) -> str:
    import json

    return json.dumps(json.loads(line) | {"id": name}) + "\n"


def _send(fd: int, text: str) -> None:
    data = text.replace("\n", os.linesep).encode()
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # some hosts hand over a pipe that does not block
            import select

            select.select((), (fd,), ())


def _digest(*parts: str) -> str:
    return _hash(repr(parts).encode())


def _load(path: str, configuration: str) -> dict[str, str]:
    """The answers by question; none if the file is not certainly ours and whole."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            digest, _, text = file.read().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    ours = os.name == "nt" or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
    if not ours or digest != _digest(configuration, text):
        return {}
    lines = text.split("\n")
    return dict(zip(lines[::2], lines[1::2], strict=True))


def _folder() -> str:
    """The user's own folder for our caches; empty if there is none."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        usual = {"darwin": "~/Library/Caches", "win32": os.environ.get("LOCALAPPDATA", "")}
        folder = os.path.expanduser(usual.get(sys.platform, "~/.cache"))
    return os.path.join(folder, "runtype-mcp") if os.path.isabs(folder) else ""


def _configuration(argv: list[str]) -> str:
    """A digest of what shapes the answers, or decides whether the server starts; empty if only `settings` can tell."""
    names = [name for name in os.environ if name.startswith("RUNTYPE_")]
    settings = {name: value for name in sorted(names) if (value := os.environ[name].strip())}
    key = settings.pop("RUNTYPE_API_KEY", "")
    key = key[7:] if key[:7].lower() == "bearer " else key
    if not key.isascii() or not key.isprintable() or " " in key or key.startswith("ct_"):
        return ""
    if not os.path.isdir(os.path.expanduser(settings.get("RUNTYPE_MCP_FILES_ROOT", "."))):
        return ""
    packages = _packages()
    if not packages or settings.get("RUNTYPE_MCP_FRONT", "").lower() == "off":
        return ""
    package = _files(os.path.dirname(__file__))
    return _digest(__version__, sys.version, repr((argv, settings, bool(key), packages, package)))


def _packages() -> list[tuple[str, int]]:
    found = []
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        shaping = (name for name in names if name.endswith(".dist-info") and name.startswith(_SHAPING))
        found += [(name, os.stat(os.path.join(place, name)).st_mtime_ns) for name in shaping]
    return sorted(found)


def _files(folder: str) -> list[tuple[str, int, int]]:
    found = []
    for entry in os.scandir(folder):
        if entry.is_dir():
            found += _files(entry.path)
        elif entry.name.endswith(".py"):
            status = entry.stat()
            found.append((entry.path, status.st_mtime_ns, status.st_size))
    return sorted(found)
