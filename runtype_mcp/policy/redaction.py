"""One redactor for every exit: results, errors, logs, spans, audit.

Masks client token values (`ct_live_…`), API keys (`rt_…`), `Bearer` credentials and visitor secrets (`cvt_…`).
Client token ids (`ct_01k7…`) stay readable. Every pattern runs in linear time, since visitors choose the text.
"""

import base64
import html
import json
import logging
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from runtype_mcp.policy.visible import visible

MARK = "[redacted]"

# An underscore as it looks after a URL, JSON, Markdown or HTML encoder; nothing else in a value is ever escaped.
_US = r"(?:_|\\{1,4}_|%(?:25)?5[Ff]|\\{1,4}u005[Ff]|&\#95;)"
_CHAR = rf"(?:[A-Za-z0-9-]|{_US})"

# Where a value may begin. Not after a letter ("product_live_chat" is a name), unless that letter ends an escape:
# %2F, %252F, \n, \u00e9, \xe9, or a terminal colour.
_START = (
    r"(?:(?<![A-Za-z])|(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})|(?<=\\[abfnrtv])"
    r"|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\x[0-9A-Fa-f]{2})|(?<=[0-9;\[]m))"
)

# What `hint` makes may be shown: it holds four characters of the random part.
_HINT = r"[A-Za-z0-9]{0,12}_?…[A-Za-z0-9_-]{0,4}(?![A-Za-z0-9_-])"

# "Bearer token required" and `Bearer realm="…"` are prose, not credentials.
_PROSE = r"(?:tokens?|auth|authentication|authorization|scheme|header|credentials?|keys?|realm|error)(?![A-Za-z0-9_-])"

_SECRET = re.compile(
    rf"""
    (?=[cCrR])  # one cheap look spares nearly every character the looks behind: four times as fast
    (
        {_START}
        (?: (?:ct|rt){_US}(?:live|test){_US}(?!{_HINT})(?={_CHAR}{{6}})
          | rt{_US}(?={_CHAR}{{9}})
          | cvt{_US}(?={_CHAR}{{6}})
        )
      # Glued to a word, or in another case: a value only if what follows looks random.
      | (?i:(?:ct|rt){_US}(?:live|test){_US})
        (?=(?:[A-Za-z0-9]{{1,12}}{_US}){{0,2}}(?=[A-Za-z]{{0,15}}[0-9])[A-Za-z0-9]{{16}})
    )
    {_CHAR}+
    """,
    re.VERBOSE,
)

_BEARER = re.compile(
    rf"""
    ((?i:bearer)(?:[\s:=+]|%20|\\u0020)+(?![\s:=+]|%20|\\u0020)["'<\\]*+)
    (?!{_PROSE})(?:[^\s"'\\<>,;(){{}}\[\]]|{re.escape(MARK)})+
    """,
    re.VERBOSE,
)

_VALUE = re.compile(rf"(?i:ct{_US}(?:live|test){_US})\S*")

# Each costs some twenty passes over the text, so a text with more of them is masked whole.
_MAX_HIDDEN = 10

# A known key is found by undoing encodings in the text and in the key alike, and comparing the two, so every mixture of
# encodings is found.

_ESCAPE = re.compile(r"(?<!\\)\\++(?:u([0-9a-f]{4})|x([0-9a-f]{2})|[nrt])", re.IGNORECASE)
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdef"))


def _unescaped(text: str) -> str:
    """Without the escapes of URLs, HTML, JSON, `repr` and Markdown, without breaks, case and base64's two alphabets."""
    for _ in range(3):  # JSON inside a URL inside HTML
        before = text
        text = unquote(html.unescape(text))
        if "\\" in text:
            text = _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or "20", 16)), text)
        if text == before:
            break
    return "".join(visible(text).split()).replace("\\", "").replace("-", "+").replace("_", "/").lower()


def _hexadecimal(text: str) -> str:
    """The hexadecimal digits alone, as of `5a6b`, `5a:6b` or `0x5a, 0x6b`."""
    return text.lower().replace("0x", "").encode("ascii", "ignore").translate(None, _NOT_HEX).decode()


def _spellings(secret: str) -> Iterator[str]:
    """What `secret` is in an unescaped text: as it stands, reversed, or inside a longer base64 text."""
    yield _unescaped(secret)
    yield _unescaped(secret)[::-1]
    # In base64 it starts at one of three alignments. Only the characters that it alone decides can be looked for.
    raw = secret.encode("utf-8", "replace")
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()[first : (shift + len(raw)) * 8 // 6]
        yield _unescaped(encoded)


def _mask_first(text: str, read: Callable[[str], str], wanted: str) -> str:
    """`text` with the first part that reads as `wanted`, and nothing around it, masked. There must be one."""
    end = bisect_left(range(len(text) + 1), True, key=lambda end: wanted in read(text[:end]))
    start = bisect_left(range(end), True, key=lambda start: wanted not in read(text[start:end])) - 1
    return text[:start] + MARK + text[end:]


class Redactor:
    """Masks everything that looks like a secret, and the given secrets literally whatever they look like.

    A given secret shorter than 8 characters is ignored: masking it would garble ordinary text.
    """

    __slots__ = ("_given", "_hidden", "_literal")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._given: set[str] = set()
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Mask these as well from now on: a key that is read only when a call needs it."""
        self._given.update(s for s in map(str.strip, secrets) if len(s) >= 8 and s.lower() not in MARK)
        # Longest first: a secret must not be cut in two by a shorter one that begins alike.
        given = sorted(self._given, key=len)[::-1]
        forms = {form: None for secret in given for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        self._literal = re.compile("|".join(map(re.escape, forms)), re.IGNORECASE) if given else None
        spellings = [s for secret in given for s in _spellings(secret) if len(s) >= 8 and s not in MARK]
        in_hex = [secret.encode("utf-8", "replace").hex() for secret in given]
        self._hidden = ((_unescaped, spellings), (_hexadecimal, in_hex)) if given else ()

    def redact_text(self, text: str) -> str:
        """`text` with each secret replaced by its harmless start and `MARK`; a second pass changes nothing."""
        masked = self._mask(text)
        seen = visible(masked)
        masked_seen = self._mask(seen) if seen != masked else seen
        return masked_seen if masked_seen != seen else masked

    def redact_json(self, value: object) -> Any:
        """A redacted copy of a JSON-like value: strings, lists, tuples, and dictionaries with their keys."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return {self.redact_json(key): self.redact_json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self.redact_json, value))
        return value

    def contains(self, text: str) -> bool:
        """True if `text` holds something that `redact_text` would mask."""
        return self.redact_text(text) != text

    def _mask(self, text: str) -> str:
        # Literals first: a pattern could mask half of one and leave the rest unrecognisable, and readable.
        if self._literal:
            text = self._literal.sub(MARK, text)
        for read, spellings in self._hidden:
            for _ in range(_MAX_HIDDEN):
                seen = read(text)
                wanted = next((spelling for spelling in spellings if spelling in seen), None)
                if wanted is None:
                    break
                text = _mask_first(text, read, wanted)
            else:
                return MARK
        # Values before Bearer, for the same reason: it ends where an escape begins, which may be inside a value.
        return _BEARER.sub(rf"\1{MARK}", _SECRET.sub(rf"\1{MARK}", text))


PATTERNS_ONLY = Redactor()
"""For pure code, which knows no key: masks what looks like a secret."""

redact_text = PATTERNS_ONLY.redact_text
redact_json = PATTERNS_ONLY.redact_json
contains_secret = PATTERNS_ONLY.contains


def contains_mark(text: str) -> bool:
    """True if `text` holds our own mark: masked output that came back as input, which must not be stored."""
    return MARK in visible(text).lower()


def looks_like_value(text: str) -> bool:
    """True if the whole `text` is a client token value, or starts as one: it was passed where an id belongs."""
    return _VALUE.fullmatch(visible(text).strip().strip("\"'`")) is not None


def hint(value: str) -> str:
    """A client token value made fit to show: `ct_live_flow01k7_…cdef`. Survives `redact_text`.

    A part is left out where showing it would give away too much of a short or unusual value.
    """
    found = re.fullmatch(r"(ct_(?:live|test)_)([A-Za-z0-9]{1,12}_)?([A-Za-z0-9_-]{16,})", value.strip())
    return f"{found[1]}{found[2] or ''}…{found[3][-4:]}" if found else "…"


class RedactingFormatter(logging.Formatter):
    """Formats with `inner`, then redacts the finished line: message, arguments, traceback and stack alike."""

    def __init__(self, inner: logging.Formatter, redactor: Redactor) -> None:
        super().__init__()
        self._inner, self._redactor = inner, redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.redact_text(self._inner.format(record))
