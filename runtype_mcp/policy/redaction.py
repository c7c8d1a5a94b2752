"""One redactor for every exit: results, errors, logs, spans, audit.

Masks client token values (`ct_live_…`), API keys (`rt_…`), `Bearer` credentials and visitor secrets (`cvt_…`).
Client token ids (`ct_01k7…`) stay readable. Every pattern runs in linear time, since visitors choose the text.
"""

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

MARK = "[redacted]"

# Characters that a reader does not see, so a value split by one is still the value to whoever copies it.
INVISIBLE = re.compile(
    "\x1b\\[[0-9;]*m"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

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
    {_CHAR}++
    """,
    re.VERBOSE,
)

_BEARER = re.compile(
    rf"""
    ((?i:bearer)(?:[\s:=+]|%20|\\u0020)++["'<\\]*+)
    (?!{_PROSE})(?:[^\s"'\\<>,;(){{}}\[\]]|{re.escape(MARK)})++
    """,
    re.VERBOSE,
)

_VALUE = re.compile(rf"(?i:ct{_US}(?:live|test){_US})\S*")


def bare(text: str) -> str:
    """`text` without the characters that a reader does not see."""
    return INVISIBLE.sub("", text)


def _spellings(secret: str) -> Iterator[str]:
    """`secret` as it looks raw and after a URL, JSON, `repr` or base64 encoder."""
    raw = secret.encode("utf-8", "replace")
    yield secret
    yield quote(raw, safe="")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    # Inside a longer base64 text (Basic credentials, say) the secret starts at one of three alignments.
    # Only the characters that the secret alone decides can be looked for.
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()[first : (shift + len(raw)) * 8 // 6]
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")


class Redactor:
    """Masks everything that looks like a secret, and the given secrets literally whatever they look like.

    A given secret shorter than 8 characters is ignored: masking it would garble ordinary text.
    """

    __slots__ = ("_literal",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long = [s for s in map(str.strip, secrets) if len(s) >= 8 and s.lower() not in MARK]
        # Longest first: a spelling must not be cut in two by a shorter one that begins alike.
        words = sorted({word for secret in long for word in _spellings(secret)}, key=len, reverse=True)
        self._literal = re.compile("|".join(map(re.escape, words)), re.IGNORECASE) if words else None

    def redact_text(self, text: str) -> str:
        """`text` with each secret replaced by its harmless start and `MARK`; a second pass changes nothing."""
        masked = self._mask(text)
        if INVISIBLE.search(masked):
            seen = bare(masked)
            masked_seen = self._mask(seen)
            if masked_seen != seen:
                return masked_seen
        return masked

    def redact_json(self, value: object) -> Any:
        """A redacted copy of a JSON-like value: strings, lists, tuples, and dictionaries with their keys."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return {self.redact_json(key): self.redact_json(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.redact_json(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self.redact_json(item) for item in value)
        return value

    def contains(self, text: str) -> bool:
        """True if `text` holds something that `text()` would mask."""
        return self.redact_text(text) != text

    def _mask(self, text: str) -> str:
        # Literals first: a pattern could mask half of one and leave the rest unrecognisable, and readable.
        if self._literal:
            text = self._literal.sub(MARK, text)
        # Values before Bearer, for the same reason: it ends where an escape begins, which may be inside a value.
        return _BEARER.sub(rf"\1{MARK}", _SECRET.sub(rf"\1{MARK}", text))


_PATTERNS_ONLY = Redactor()

redact_text = _PATTERNS_ONLY.redact_text
redact_json = _PATTERNS_ONLY.redact_json
contains_secret = _PATTERNS_ONLY.contains


def contains_mark(text: str) -> bool:
    """True if `text` holds our own mark: masked output that came back as input, which must not be stored."""
    return MARK in bare(text).lower()


def looks_like_value(text: str) -> bool:
    """True if the whole `text` is a client token value, or starts as one: it was passed where an id belongs."""
    return _VALUE.fullmatch(bare(text).strip().strip("\"'`")) is not None


def hint(value: str) -> str:
    """A client token value made fit to show: `ct_live_flow01k7_…cdef`. Survives `redact`.

    A part is left out where showing it would give away too much of a short or unusual value.
    """
    found = re.fullmatch(r"(ct_(?:live|test)_)([A-Za-z0-9]{1,12}_)?([A-Za-z0-9_-]{16,})", value.strip())
    return f"{found[1]}{found[2] or ''}…{found[3][-4:]}" if found else "…"


class RedactingFormatter(logging.Formatter):
    """Formats with `inner`, then redacts the finished line: message, arguments, traceback and stack alike."""

    def __init__(self, inner: logging.Formatter | None = None, redactor: Redactor = _PATTERNS_ONLY) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.redact_text(self._inner.format(record))
