"""From the bytes of an answer to a typed model, or to the class of error that it means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from runtype_mcp import errors

T = TypeVar("T", bound=BaseModel)
Method = Literal["GET", "POST", "PUT", "DELETE"]

_MAX_QUOTED = 300


def parsed(method: Method, answer: type[T], raw: bytes) -> T:
    """The model in the body of a 2xx.

    Raises:
        NotTheApi: a read's answer does not fit the model.
        OutcomeUnknown: a write's does not, so it may have been done.
    """
    try:
        return _validated(answer, raw)
    except ValidationError as exc:
        # The places that do not fit, never what stands there: it may be a value.
        places = {".".join(str(part) for part in error["loc"]) or "the whole" for error in exc.errors()}
        what = f"The API's answer cannot be understood ({', '.join(sorted(places)[:5])})."
        raise unfinished(method, what, errors.NotTheApi) from None


def _validated(answer: type[T], raw: bytes) -> T:
    try:
        return answer.model_validate_json(raw)
    except ValidationError as exc:
        # A text that JavaScript cut inside a character ends in half a surrogate pair: legal JSON, but no text here.
        # One visitor's words must not hide a whole page, so the half becomes a question mark.
        try:
            whole = json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8", "replace")
        except (ValueError, RecursionError):
            raise exc from None
        return answer.model_validate_json(whole)


def unfinished(
    method: Method, what: str, read: type[errors.ClientTokenError], status: int | None = None
) -> errors.ClientTokenError:
    """The error where no usable answer came back: `read` for a read; a write may have been done."""
    return (read if method == "GET" else errors.OutcomeUnknown)(what, status=status)


def from_response(
    method: Method, status: int, headers: Mapping[str, str], body: bytes, key: str = ""
) -> errors.ClientTokenError:
    """The error that an answer outside 2xx means. An answer that repeats `key` is not quoted."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    data = data if isinstance(data, dict) else None
    quoted = _quoted(body, data, key)
    says = f" The API says: {quoted}" if quoted else ""
    if 300 <= status < 400:
        what = f"The API answered with a redirect ({status}); none is followed, because the key would travel along."
        # 307 and 308 promise that nothing was done here; the others may follow a write that was done.
        return unfinished("GET" if status in (307, 308) else method, what, errors.NotTheApi, status)
    if not 400 <= status < 500 or status == 408:
        what = f"The API failed with status {status}.{says}"
        if method == "GET":
            return errors.RetryableError(what, status=status, retry_after=retry_after(headers))
        return errors.OutcomeUnknown(what, status=status)
    if status == 401:
        return errors.KeyRejected("The API does not accept the key.", status=status)
    if status == 403:
        scope = "CLIENT_TOKENS:READ" if method == "GET" else "CLIENT_TOKENS:WRITE"
        return errors.MissingScope(f"The key may not do this; it likely lacks the scope {scope}.{says}", status=status)
    if status == 404 and data is None:
        # A gateway's page says nothing about a token: a delete must not take it for "gone".
        return errors.NotTheApi("There is no client-token API at this address (404).", status=status)
    if status == 404:
        return errors.NotFound(f"The API found no such client token, flow, agent or surface.{says}", status=status)
    if status == 429:
        wait = retry_after(headers)
        when = f"Try again in {wait:.0f} seconds." if wait is not None else None
        return errors.RateLimited(f"The API's rate limit is reached.{says}", when, status=status, retry_after=wait)
    if method == "GET" and status == 400 and data is not None and isinstance(data.get("hint"), str):
        return errors.ValueNotStored(f"The API does not hold this token's value.{says}", status=status)
    what = f"The API refused the call ({status}).{says}"
    return errors.UserInputError(what, "Correct it and call again.", status=status)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """`Retry-After` in seconds, from its seconds or its date form. None when it is absent or nonsense."""
    raw = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", raw):
        return float(raw)
    try:
        when = parsedate_to_datetime(raw)
    except (ValueError, IndexError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def date(headers: Mapping[str, str]) -> datetime | None:
    """The server's clock; None when it does not say, or says nonsense."""
    try:
        when = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, IndexError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _quoted(body: bytes, data: dict[str, Any] | None, key: str) -> str:
    """What an error body says to people, in any of the platform's shapes. Never markup, the key, or a long text."""
    text = body.decode("utf-8-sig", "replace").strip() if data is None else "; ".join(_texts(_parts(data)))
    if (data is None and text[:1] in ("<", "{", "[")) or (key and key in "".join(text.split())):
        return ""
    # Half a surrogate pair is legal in JSON, and in no text that leaves this process.
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    if len(text) > _MAX_QUOTED:
        # Between words: half of a secret is no longer known as one, and is still half of a secret.
        text = text[: _MAX_QUOTED + 1].rpartition(" ")[0] + "…"
    return text if not text or text.endswith((".", "!", "?", "…")) else text + "."


def _parts(data: dict[str, Any]) -> Iterator[Any]:
    error, details = data.get("error"), data.get("details")
    inner = error if isinstance(error, dict) else {}
    candidates = (data.get("error_description"), error, data.get("message"), inner.get("message"), inner.get("code"))
    yield next((text for text in candidates if isinstance(text, str) and text), "")
    yield data.get("hint")
    for detail in details[:5] if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield ": ".join(_texts(detail.get(name) for name in ("path", "message", "suggestion")))


def _texts(values: Iterable[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str) and value]
