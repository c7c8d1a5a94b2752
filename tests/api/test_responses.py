"""What each refusal of the API becomes: its class, its kind, its words, and never a secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from runtype_mcp import errors
from runtype_mcp.api.client import RuntypeClient
from tests.api.upstream import ID, KEY, Answer, Upstream

VALIDATION = {
    "error": "Validation failed",
    "details": [
        {
            "path": "allowedOrigins",
            "message": "Array must contain at least 1 element(s)",
            "code": "MISSING_REQUIRED_FIELD",
            "suggestion": "Provide at least one origin",
        },
        {"message": "Too long"},
    ],
}
HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
HINT = {"error": "Token value is not stored", "hint": "Use regenerate"}


def meant(status: int, body: Any = b"", method: str = "GET", **headers: str) -> errors.ClientTokenError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return errors.from_response(method, status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@pytest.mark.parametrize(
    ("status", "method", "kind", "error", "says"),
    [
        (400, "POST", "user_input", errors.UserInputError, "refused the call (400)"),
        (401, "GET", "auth", errors.AuthError, "does not accept the key"),
        (402, "POST", "user_input", errors.UserInputError, "refused the call (402)"),
        (403, "GET", "auth", errors.AuthError, "likely lacks the scope CLIENT_TOKENS:READ"),
        (403, "POST", "auth", errors.AuthError, "likely lacks the scope CLIENT_TOKENS:WRITE"),
        (403, "PUT", "auth", errors.AuthError, "likely lacks the scope CLIENT_TOKENS:WRITE"),
        (403, "DELETE", "auth", errors.AuthError, "likely lacks the scope CLIENT_TOKENS:WRITE"),
        (404, "GET", "user_input", errors.NotFound, "found no such client token"),
        (404, "POST", "user_input", errors.NotFound, "flow, agent or surface"),
        (408, "GET", "retryable", errors.RetryableError, "failed with status 408"),
        (408, "POST", "permanent", errors.OutcomeUnknown, "failed with status 408"),
        (409, "POST", "user_input", errors.UserInputError, "refused the call (409)"),
        (418, "GET", "user_input", errors.UserInputError, "refused the call (418)"),
        (422, "PUT", "user_input", errors.UserInputError, "refused the call (422)"),
        (429, "GET", "retryable", errors.RateLimited, "rate limit"),
        (429, "POST", "retryable", errors.RateLimited, "rate limit"),
        (301, "GET", "permanent", errors.PermanentError, "redirect (301)"),
        (308, "POST", "permanent", errors.PermanentError, "redirect (308)"),
        (500, "GET", "retryable", errors.RetryableError, "failed with status 500"),
        (502, "GET", "retryable", errors.RetryableError, "failed with status 502"),
        (599, "GET", "retryable", errors.RetryableError, "failed with status 599"),
        (500, "POST", "permanent", errors.OutcomeUnknown, "failed with status 500"),
        (504, "DELETE", "permanent", errors.OutcomeUnknown, "failed with status 504"),
    ],
)
def test_each_status_has_its_class_and_kind(
    status: int, method: str, kind: str, error: type[errors.ClientTokenError], says: str
) -> None:
    caught = meant(status, {"error": "Said"}, method)
    assert type(caught) is error
    assert (caught.kind, caught.status) == (kind, status)
    assert says in str(caught)


@pytest.mark.parametrize("body", [b"", HTML, b"404 page not found", b"[]"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_404_that_is_no_word_of_the_api_says_nothing_about_a_token(method: str, body: bytes) -> None:
    caught = meant(404, body, method)
    assert type(caught) is errors.PermanentError
    assert "RUNTYPE_BASE_URL" in str(caught)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305])
def test_a_redirect_after_a_write_may_mean_that_it_was_done(status: int) -> None:
    caught = meant(status, method="POST")
    assert type(caught) is errors.OutcomeUnknown
    assert errors.NOTHING_CHANGED not in str(caught)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429])
def test_a_refused_write_changed_nothing_and_says_so(status: int) -> None:
    assert errors.NOTHING_CHANGED in str(meant(status, method="POST"))


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_write_that_failed_at_the_api_never_says_that_nothing_changed(status: int) -> None:
    caught = meant(status, method="PUT")
    assert errors.NOTHING_CHANGED not in str(caught)
    assert "Read the token before repeating this." in str(caught)


def test_a_missing_scope_is_called_likely_and_not_to_be_retried() -> None:
    text = str(meant(403, {"error": "Insufficient permissions"}))
    assert "likely" in text
    assert "Do not retry" in text
    assert "The API says: Insufficient permissions." in text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"error": "Plain"}, "The API says: Plain."),
        ({"error": "Ends well!"}, "The API says: Ends well!"),
        ({"error": "invalid_grant", "error_description": "The code is old"}, "The API says: The code is old."),
        ({"error": {"code": "X_1", "message": "Inner"}}, "The API says: Inner."),
        ({"error": {"code": "X_1"}}, "The API says: X_1."),
        ({"code": "X_1", "error": "Beside"}, "The API says: Beside."),
        ({"message": "Only a message"}, "The API says: Only a message."),
        ({"error": "", "message": "Fallback"}, "The API says: Fallback."),
        ({"error": 5, "message": "Fallback"}, "The API says: Fallback."),
        (
            VALIDATION,
            "The API says: Validation failed; allowedOrigins: Array must contain at least 1 element(s): "
            "Provide at least one origin; Too long.",
        ),
        ({"error": "No", "details": "text"}, "The API says: No."),
        ({"error": "No", "details": [1, None, {}, {"path": 5, "message": "m"}]}, "The API says: No; m."),
        ({"details": [{"message": "Alone"}]}, "The API says: Alone."),
        (b"upstream connect error", "The API says: upstream connect error."),
        ({"error": "two\nlines\tand   gaps"}, "The API says: two lines and gaps."),
        (b"caf\xe9", "The API says: caf\ufffd."),
        ({"error": "half \ud83d a pair"}, "The API says: half ? a pair."),
    ],
)
def test_an_error_body_of_every_shape_is_quoted(body: Any, says: str) -> None:
    assert says in str(meant(409, body))


@pytest.mark.parametrize(
    "body",
    [b"", b"   ", HTML, b"\n <html>", b"\xef\xbb\xbf<html>", b"{broken", b"[" * 5000, {}, [], {"error": None}],
)
def test_a_body_that_says_nothing_for_people_is_not_quoted(body: Any) -> None:
    text = str(meant(502, body))
    assert "The API says" not in text
    assert "html" not in text
    assert "failed with status 502." in text


def test_a_long_body_is_cut() -> None:
    for body in (
        {"error": "x " * 500},
        b"x" * 9 + b" x" * 5000,
        {"error": "x", "details": [{"message": "y" * 90}] * 50},
    ):
        text = str(meant(500, body))
        assert len(text) < 450
        assert "x" in text
        assert "…" in text


@pytest.mark.parametrize(
    "body", [{"error": "x" * 301}, {"error": "fine " + "x" * 300}, b"x" * 5000, b"x " + b"y" * 1999]
)
def test_a_long_body_is_cut_between_words(body: Any) -> None:
    text = str(meant(500, body))
    assert "xx" not in text
    assert "yy" not in text


def test_a_value_that_was_never_stored_is_told_by_its_hint() -> None:
    stored, malformed = meant(400, HINT), meant(400, {"error": "Invalid client token ID"})
    assert type(stored) is errors.ValueNotStored
    assert "Token value is not stored; Use regenerate." in str(stored)
    assert "regenerate_client_token" in str(stored)
    assert type(malformed) is errors.UserInputError
    assert "Invalid client token ID." in str(malformed)


@pytest.mark.parametrize("hint", [None, 5, []])
def test_a_hint_that_is_no_text_is_no_hint(hint: Any) -> None:
    assert type(meant(400, {"error": "x", "hint": hint})) is errors.UserInputError


NOW = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("7, 7", None),
        ("9" * 400, None),
        ("Wed, 99 Oct 2026 07:28:30 GMT", None),
        ("0x10", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_nonsense_is_ignored(raw: str, seconds: float | None) -> None:
    assert errors.retry_after({"retry-after": raw}, NOW) == seconds


def test_a_missing_retry_after_is_none() -> None:
    assert errors.retry_after({}) is None


@pytest.mark.parametrize(
    ("headers", "wait", "says"),
    [
        ({"retry_after": "7"}, 7.0, "Try again in 7 seconds."),
        ({}, None, "Try again in a minute."),
        ({"retry_after": "soon"}, None, "Try again in a minute."),
    ],
)
def test_a_rate_limit_says_when(headers: dict[str, str], wait: float | None, says: str) -> None:
    caught = meant(429, **headers)
    assert caught.retry_after == wait
    assert says in str(caught)


def test_a_failing_api_may_say_when_too() -> None:
    assert meant(503, Retry_After="7").retry_after is None, "names of headers arrive in lower case"
    assert meant(503, retry_after="7").retry_after == 7.0


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 502, 301])
@pytest.mark.parametrize("shape", [{"error": KEY}, KEY.encode(), {"error": "x" * 285 + KEY}])
async def test_an_error_that_repeats_the_key_never_shows_any_of_it(
    upstream: Upstream, client: RuntypeClient, status: int, shape: Any
) -> None:
    upstream.says(Answer(status, shape, {"retry-after": "600"}))
    with pytest.raises(errors.ClientTokenError) as caught:
        await client.delete_client_token(ID)
    assert KEY[:8] not in str(caught.value)


def test_the_tree_has_a_kind_for_every_class() -> None:
    def below(error: type[errors.ClientTokenError]) -> set[type[errors.ClientTokenError]]:
        return {error}.union(*(below(child) for child in error.__subclasses__()))

    tree = {error.__name__: error for error in below(errors.ClientTokenError) if error.__module__ == errors.__name__}
    drawn = [line.split("── ")[1].split() for line in (errors.__doc__ or "").splitlines() if "──" in line]
    assert {name for name, *_ in drawn} == tree.keys() - {"ClientTokenError"}
    kinds = {"retryable", "permanent", "user_input", "auth"}
    assert {error.kind for error in tree.values()} == kinds
    assert [name for name, kind, *_ in drawn if kind in kinds and tree[name].kind != kind] == []
    # A class without a word of its own is of its parent's kind.
    own = {name for name, error in tree.items() if "kind" in vars(error)}
    assert {name for name, kind, *_ in drawn if kind not in kinds}.isdisjoint(own)
