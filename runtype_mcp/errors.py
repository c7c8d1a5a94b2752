"""What can go wrong between this server and the API.

ClientTokenError                 what happened; did anything change; what to do next
├── UserInputError  user_input   the call must be changed: bad input, unknown token, refused by a rule
│   ├── NotFound                 no such client token (or a flow, agent or surface that the call names)
│   ├── ValueNotStored           a token from before values were stored
│   └── Refused                  a gate or a policy said no
├── AuthError       auth         no key, a wrong key, or a key that may not do this
├── RetryableError  retryable    the same call may work later
│   └── RateLimited              … after `retry_after` seconds
├── PermanentError  permanent    the same call will not work
└── OutcomeUnknown  permanent    a write was sent and its answer was lost: look before repeating it
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar, Literal, cast

Kind = Literal["retryable", "permanent", "user_input", "auth"]

NOTHING_CHANGED = "Nothing was changed."
_MAX_TEXT = 300


class ClientTokenError(Exception):
    """A failure that a model or a person can act on.

    Args:
        what: what happened, one sentence.
        next_step: what to do now.
        changed: whether anything changed.
        status: the API's HTTP status, when it answered.
        retry_after: seconds to wait before the same call can work.
    """

    kind: ClassVar[Kind] = "permanent"

    def __init__(
        self,
        what: str,
        next_step: str = "",
        *,
        changed: str = NOTHING_CHANGED,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.next_step, self.changed = what, next_step, changed
        self.status, self.retry_after = status, retry_after

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.changed, self.next_step) if part)


class UserInputError(ClientTokenError):
    """The call must be changed before it can work."""

    kind = "user_input"


class NotFound(UserInputError):
    """No client token of this id, or a flow, agent or surface that the call names does not exist."""


class ValueNotStored(UserInputError):
    """The token is older than the storing of values, so its value cannot be read again."""


class Refused(UserInputError):
    """A gate, a person or the operator's policy said no."""


class AuthError(ClientTokenError):
    """The key is missing, wrong, or lacks a permission."""

    kind = "auth"


class RetryableError(ClientTokenError):
    """The same call may work later."""

    kind = "retryable"


class RateLimited(RetryableError):
    """The API wants a pause of `retry_after` seconds."""


class PermanentError(ClientTokenError):
    """The same call will not work, whoever repeats it."""


class OutcomeUnknown(PermanentError):
    """A write was sent and its answer was lost. It may have been done: look before repeating it."""


def from_response(method: str, status: int, headers: Mapping[str, str], body: bytes) -> ClientTokenError:
    """The error that an answer outside 2xx means."""
    said = _said(body)
    says = f" The API says: {said}" if said else ""
    likely = "CLIENT_TOKENS:READ" if method == "GET" else "CLIENT_TOKENS:WRITE"
    if status == 401:
        return AuthError(
            "The API does not accept the key.",
            "Ask the operator to check RUNTYPE_API_KEY and RUNTYPE_BASE_URL.",
            status=status,
        )
    if status == 403:
        return AuthError(
            f"The key may not do this; it likely lacks the scope {likely}.{says}",
            "Do not retry; tell the user which permission is missing.",
            status=status,
        )
    if status == 404 and _json(body) is None:
        # A gateway's page is no word about a token: a delete must not take it for "gone".
        return PermanentError(
            "There is no client-token API at this address (404).",
            "Ask the operator to check RUNTYPE_BASE_URL.",
            status=status,
        )
    if status == 404:
        what = "The API found no such client token, flow, agent or surface."
        return NotFound(
            what + says, "Check the ids with the user; list_client_tokens shows which tokens exist.", status=status
        )
    if status == 429:
        wait = retry_after(headers)
        when = f"in {wait:.0f} seconds" if wait is not None else "in a minute"
        return RateLimited(
            f"The API's rate limit is reached.{says}", f"Try again {when}.", status=status, retry_after=wait
        )
    if status == 400 and _has_hint(body):
        return ValueNotStored(
            f"The API does not hold this token's value.{says}",
            "A fresh value can be made with regenerate_client_token; the old one then stops working.",
            status=status,
        )
    what = f"The API failed with status {status}.{says}"
    if 300 <= status < 400:
        what = f"The API answered with a redirect ({status}); none is followed, because the key would travel along."
        if method == "GET" or status in (307, 308):  # the other ones may follow a write that was done
            return PermanentError(what, "Ask the operator to check RUNTYPE_BASE_URL.", status=status)
    if not 400 <= status < 500 or status == 408:
        if method == "GET":
            return RetryableError(what, "Try again later.", status=status, retry_after=retry_after(headers))
        return OutcomeUnknown(what, "Read the token before repeating this.", changed="", status=status)
    return UserInputError(f"The API refused the call ({status}).{says}", "Correct it and call again.", status=status)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """`Retry-After` in seconds, from its seconds or its date form. None when it is absent or nonsense."""
    raw = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", raw):
        return float(raw)
    try:
        when = parsedate_to_datetime(raw)
    except (ValueError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _json(body: bytes) -> dict[str, object] | None:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _has_hint(body: bytes) -> bool:
    data = _json(body)
    return data is not None and isinstance(data.get("hint"), str)


def _said(body: bytes) -> str:
    """What an error body says, from any of the shapes that the platform sends. Never markup, never long."""
    data = _json(body)
    if data is None:
        text = body[:2000].decode("utf-8-sig", "replace").strip()
        if len(body) > 2000:
            text = text.rpartition(" ")[0]
        return "" if text[:1] in ("<", "{", "[") else _cut(text)
    error = data.get("error")
    inner = cast("dict[str, object]", error) if isinstance(error, dict) else {}
    candidates = (
        data.get("error_description"),
        error,
        data.get("message"),
        inner.get("message"),
        inner.get("code"),
    )
    parts = [next((c for c in candidates if isinstance(c, str) and c), "")]
    if isinstance(data.get("hint"), str):
        parts.append(str(data["hint"]))
    details = data.get("details")
    for item in cast("list[object]", details)[:5] if isinstance(details, list) else []:
        if isinstance(item, dict):
            detail = cast("dict[str, object]", item)
            words = [detail.get(k) for k in ("path", "message", "suggestion")]
            parts.append(": ".join(w for w in words if isinstance(w, str) and w))
    return _cut("; ".join(part for part in parts if part))


def _cut(text: str) -> str:
    # Half a surrogate pair is legal in JSON, and in no text that leaves this process.
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    if len(text) > _MAX_TEXT:
        # Between words: half of a secret is no longer known as one, and is still half of a secret.
        text = text[: _MAX_TEXT + 1].rpartition(" ")[0] + "…"
    return text if not text or text.endswith((".", "!", "?", "…")) else text + "."
