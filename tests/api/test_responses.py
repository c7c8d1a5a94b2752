"""What each answer of the API becomes: a model, or an error's class, kind and words, and never a secret."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from runtype_mcp import errors
from runtype_mcp.api import models
from runtype_mcp.api.responses import Method, from_response, parsed, retry_after
from runtype_mcp.errors import ClientTokenError
from tests.api.upstream import TOKEN, VALUE

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


def meant(status: int, body: Any = b"", method: Method = "GET", retry_after: str | None = None) -> ClientTokenError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return from_response(method, status, {} if retry_after is None else {"retry-after": retry_after}, raw)


@pytest.mark.parametrize(
    ("status", "method", "error", "says"),
    [
        (301, "GET", errors.NotTheApi, "redirect (301)"),
        (308, "POST", errors.NotTheApi, "redirect (308)"),
        *[(status, "POST", errors.OutcomeUnknown, f"redirect ({status})") for status in (300, 301, 302, 303, 304, 305)],
        (400, "POST", errors.UserInputError, "refused the call (400)"),
        (401, "POST", errors.KeyRejected, "does not accept the key"),
        (402, "GET", errors.UserInputError, "refused the call (402)"),
        (403, "GET", errors.MissingScope, "likely lacks the scope CLIENT_TOKENS:READ"),
        (403, "DELETE", errors.MissingScope, "likely lacks the scope CLIENT_TOKENS:WRITE"),
        (404, "GET", errors.NotFound, "found no such client token"),
        (404, "POST", errors.NotFound, "flow, agent or surface"),
        (408, "GET", errors.RetryableError, "failed with status 408"),
        (408, "POST", errors.OutcomeUnknown, "failed with status 408"),
        (409, "POST", errors.UserInputError, "refused the call (409)"),
        (422, "PUT", errors.UserInputError, "refused the call (422)"),
        (429, "GET", errors.RateLimited, "rate limit"),
        (429, "POST", errors.RateLimited, "rate limit"),
        (500, "GET", errors.RetryableError, "failed with status 500"),
        (599, "GET", errors.RetryableError, "failed with status 599"),
        (500, "POST", errors.OutcomeUnknown, "failed with status 500"),
        (504, "DELETE", errors.OutcomeUnknown, "failed with status 504"),
    ],
)
def test_each_status_has_its_class_and_kind(
    status: int, method: Method, error: type[errors.ClientTokenError], says: str
) -> None:
    caught = meant(status, {"error": "Said"}, method)
    assert type(caught) is error
    assert caught.status == status
    assert says in str(caught)
    assert (errors.NOTHING_CHANGED in str(caught)) == (error is not errors.OutcomeUnknown)


@pytest.mark.parametrize("body", [b"", HTML, b"404 page not found", b"[]"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_404_that_is_not_the_apis_says_nothing_about_a_token(method: Method, body: bytes) -> None:
    caught = meant(404, body, method)
    assert type(caught) is errors.NotTheApi
    assert "RUNTYPE_BASE_URL" in str(caught)


def test_a_missing_scope_is_called_likely_and_not_to_be_retried() -> None:
    caught = meant(403, {"error": "Insufficient permissions"}, "PUT")
    assert isinstance(caught, errors.MissingScope)
    assert re.search(r"likely lacks.*API says: Insufficient permissions\. Nothing was changed\. Do not", str(caught))


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
    assert type(meant(400, HINT, "PUT")) is errors.UserInputError, "a hint at another call is only a hint"
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
    assert retry_after({"retry-after": raw}, NOW) == seconds
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("raw", "wait", "says"),
    [("7", 7.0, "Try again in 7 seconds."), (None, None, "Try again in a minute."), ("soon", None, "in a minute.")],
)
def test_a_rate_limit_says_when_and_a_failing_api_may_too(raw: str | None, wait: float | None, says: str) -> None:
    limited = meant(429, retry_after=raw)
    assert limited.retry_after == meant(503, retry_after=raw).retry_after == wait
    assert says in str(limited)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "the whole"),
        (b"<html>", "the whole"),
        (b"null", "the whole"),
        (b"[]", "the whole"),
        (b"\xff\xfe", "the whole"),
        (b"[" * 100_000, "the whole"),
        (b"{}", "clientToken"),
        (b'{"clientToken":null}', "clientToken"),
        (b'{"clientToken":{"id":"%b","isActive":"%b"}}' % (VALUE.encode(), VALUE.encode()), "clientToken.agentIds"),
    ],
)
def test_an_answer_that_cannot_be_understood_is_told_by_its_places(body: bytes, place: str) -> None:
    with pytest.raises(errors.NotTheApi, match=rf"cannot be understood \({place}") as caught:
        parsed("GET", models.GotClientToken, body)
    with pytest.raises(errors.OutcomeUnknown, match=rf"cannot be understood \({place}") as lost:
        parsed("PUT", models.GotClientToken, body)
    for exc in (caught.value, lost.value):
        assert VALUE not in f"{exc!r} {exc.__cause__!r} {exc.__context__!r}"


@pytest.mark.parametrize("body", [b"{}", b'{"message":"Client token deleted"}', b'{"success":null}'])
def test_a_deletion_that_is_not_confirmed_is_not_believed(body: bytes) -> None:
    with pytest.raises(errors.OutcomeUnknown, match=r"cannot be understood \(success\)"):
        parsed("DELETE", models.Deleted, body)


def test_half_a_character_in_a_visitors_text_does_not_spoil_the_page() -> None:
    def conversation(**texts: str) -> dict[str, Any]:
        return {"id": "conv_1", "createdAt": TOKEN["createdAt"], "updatedAt": TOKEN["updatedAt"], **texts}

    cut = conversation(firstMessage="cut in the middle of \ud83e", name="whole \ud83e\udd50 \\ud83e")
    body = json.dumps({"conversations": [cut, conversation(firstMessage="Hi")]}).encode()
    page = parsed("GET", models.ConversationPage, body)
    assert [item.first_message for item in page.conversations] == ["cut in the middle of ?", "Hi"]
    assert page.conversations[0].name == "whole 🥐 \\ud83e"


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
