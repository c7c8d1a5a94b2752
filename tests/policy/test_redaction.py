import base64
import html
import json
import logging
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from runtype_mcp.policy.redaction import (
    MARK,
    RedactingFormatter,
    Redactor,
    contains_mark,
    contains_secret,
    hint,
    looks_like_value,
    redact_json,
    redact_text,
)
from runtype_mcp.policy.visible import visible

RANDOM = "0123456789abcdef0123456789abcdef"
VALUE = f"ct_live_flow01k7_{RANDOM}"
KEY = "rt_live_9f8e7d6c5b4a39281706f5e4"
# An OAuth access token: no prefix gives it away, and it needs escaping in a URL.
ODD_KEY = "Zk3+/qP9x~Wv5tR7uY1oI0pA2sD4fG6hJ8kL=mN"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        *((VALUE, f"ct_live_{MARK}"), ("ct_test_abcdef", f"ct_test_{MARK}"), ("ct_live_ab-cd_EF", f"ct_live_{MARK}")),
        *((KEY, f"rt_live_{MARK}"), ("rt_test_abcdef", f"rt_test_{MARK}"), ("rt_abcdefghi", f"rt_{MARK}")),
        *(("rt_live_abcd", f"rt_{MARK}"), ("cvt_abcdef123", f"cvt_{MARK}")),
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {MARK}"),
        ("authorization: bearer x", f"authorization: bearer {MARK}"),
        (f"Bearer {KEY}", f"Bearer {MARK}"),
        (rf"Bearer {VALUE}".replace("_", r"\u005f"), rf"Bearer {MARK}\u005flive\u005f{MARK}"),
        ('{"h":"Bearer abc","n":1}', f'{{"h":"Bearer {MARK}","n":1}}'),
        ("Bearer%20abc", f"Bearer%20{MARK}"),
        (f"a {VALUE}, b {KEY}.", f"a ct_live_{MARK}, b rt_live_{MARK}."),
        (f"https://x.example/?t={VALUE}&u=1", f"https://x.example/?t=ct_live_{MARK}&u=1"),
        *((f"%22{VALUE}%22", f"%22ct_live_{MARK}%22"), (f"%2F{VALUE}", f"%2Fct_live_{MARK}")),
        *((f"%252F{KEY}", f"%252Frt_live_{MARK}"), ("%252Fct_live_abcdefg", f"%252Fct_live_{MARK}")),
        *((r"\nrt_abcdefghijk", rf"\nrt_{MARK}"), (f"line\\n{KEY}", f"line\\nrt_live_{MARK}")),
        *((r"\u00eact_live_abcdefg", rf"\u00eact_live_{MARK}"), (r"\x0ert_abcdefghijk", rf"\x0ert_{MARK}")),
        ("\x1b[31mct_live_abcdefg", f"\x1b[31mct_live_{MARK}"),
        (VALUE.replace("_", "%5F"), f"ct%5Flive%5F{MARK}"),
        (VALUE.replace("_", "%255f"), f"ct%255flive%255f{MARK}"),
        (VALUE.replace("_", r"\u005f"), rf"ct\u005flive\u005f{MARK}"),
        (VALUE.replace("_", r"\_"), rf"ct\_live\_{MARK}"),
        (VALUE.replace("_", "&#95;"), f"ct&#95;live&#95;{MARK}"),
        (f"MY{VALUE}", f"MYct_live_{MARK}"),
        (VALUE.upper(), f"CT_LIVE_{MARK}"),
        (f"project_{VALUE}", f"project_ct_live_{MARK}"),
        ("support_test_ct_live_abcdefgh", f"support_test_ct_live_{MARK}"),
    ],
)
def test_a_secret_is_masked_and_its_kind_stays_readable(text: str, masked: str) -> None:
    assert redact_text(text) == masked
    assert contains_secret(text)
    assert redact_text(masked) == masked
    assert not contains_secret(masked)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ct_01k7abcdefghjkmnpqrstvwxyz", "ct_9f8b7c6d", "ct_123", "ct_live_…", "ct_live_", "ct_testing_widget"),
        *("agent_01k7abcdefghjkmnpqrstvwxyz", "product_live_settings_page", "support_test_widget", "start_live_chat"),
        *("project_test_environmentvariables", "CT_LIVE_TOKEN_NAME", "support_widget_for_checkout"),
        *("alert_01k7abcdefghjkmnpqrstvwxyz", "Missing Bearer token."),
        'Bearer realm="x", error="invalid_token"',
        "The bearer",
        "https://shop.example",
    ],
)
def test_ids_names_and_prose_stay_as_they_are(text: str) -> None:
    assert redact_text(text) == text
    assert not contains_secret(text)


@pytest.mark.parametrize(
    "splitter", ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\x00", "\U000e0041", "\x1b[0m"]
)
def test_a_secret_split_by_invisible_characters_is_still_masked(splitter: str) -> None:
    assert redact_text(f"see {splitter.join(VALUE)} ok") == f"see ct_live_{MARK} ok"


def test_invisible_characters_stay_where_no_secret_hides_behind_them() -> None:
    family = "👩\u200d👧 ❤\ufe0f"
    assert redact_text(family) == family
    assert visible(family) == "👩👧 ❤"


def test_every_string_of_a_nested_value_is_masked_and_the_rest_is_kept() -> None:
    value = {VALUE: [1, None, True, 2.5, ("x", KEY)], "ok": {"deep": [f"a {VALUE}"]}}
    before = json.dumps(value)
    assert redact_json(value) == {
        f"ct_live_{MARK}": [1, None, True, 2.5, ("x", f"rt_live_{MARK}")],
        "ok": {"deep": [f"a ct_live_{MARK}"]},
    }
    assert json.dumps(value) == before


@pytest.mark.parametrize("text", [MARK, f"ct_live_{MARK}", "a [REDACTED] b", "[red\u200bacted]"])
def test_our_mark_is_recognised_when_it_comes_back(text: str) -> None:
    assert contains_mark(text)


def test_the_plain_word_is_not_our_mark() -> None:
    assert not contains_mark("the redacted report")


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        f" {VALUE}\n",
        f'"{VALUE}"',
        "ct_live_x",
        "ct_test_",
        "CT_LIVE_abc",
        "ct%5Flive%5Fabc",
        "ct_\u200blive_abc",
    ],
)
def test_a_value_in_place_of_an_id_is_recognised(text: str) -> None:
    assert looks_like_value(text)


@pytest.mark.parametrize("text", ["", "ct_01k7abcdef", f"the value {VALUE}", "flow_live_abc", "ct_livery"])
def test_an_id_or_a_sentence_is_not_a_value(text: str) -> None:
    assert not looks_like_value(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (VALUE, "ct_live_flow01k7_…cdef"),
        (f" {VALUE}\n", "ct_live_flow01k7_…cdef"),
        (f"ct_test_{RANDOM}", "ct_test_…cdef"),
        ("ct_live_flow01k7_0123456789ab_-yz", "ct_live_flow01k7_…_-yz"),
        ("ct_live_short1", "…"),
        ("ct_live_flow01k7_short", "…"),
        ("ct_live_flow01k7_shortshort", "ct_live_…hort"),
        (KEY, "…"),
        ("", "…"),
    ],
)
def test_a_hint_shows_the_start_and_at_most_four_random_characters(value: str, shown: str) -> None:
    assert hint(value) == shown
    assert redact_text(f"the value {shown} is set") == f"the value {shown} is set"


def test_a_value_behind_an_ellipsis_is_no_hint() -> None:
    assert contains_secret(f"ct_live_flow01k7_…{RANDOM}")
    assert contains_secret(f"ct_live_{RANDOM}_…cdef")


ENCODED: dict[str, Callable[[str], str]] = {
    "raw": str,
    "url": lambda key: quote(key, safe=""),
    "url, lower case": lambda key: quote(key, safe="").lower(),
    "url, every byte": lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    "url, twice": lambda key: quote(quote(key, safe="")),
    "json": json.dumps,
    "json in json": lambda key: json.dumps(json.dumps({"key": key})),
    "json, every character": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "repr": repr,
    "repr, every byte": lambda key: "".join(f"\\x{byte:02x}" for byte in key.encode()),
    "markdown": lambda key: re.sub(r"(\W)", r"\\\1", key),
    "html": html.escape,
    "html, decimal": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "html, hexadecimal": lambda key: "".join(f"&#x{ord(c):X};" for c in key),
    "html, padded": lambda key: "".join(f"&#{ord(c):06d}" for c in key),
    "html, twice": lambda key: html.escape("".join(f"&#{ord(c)};" for c in key)),
    "html, named": lambda key: key.replace("+", "&plus;").replace("/", "&sol;").replace("=", "&equals;"),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal, dumped": lambda key: key.encode().hex(" ", 2).upper(),
    "hexadecimal, listed": lambda key: ", ".join(f"0x{byte:02x}" for byte in key.encode()),
    "reversed": lambda key: key[::-1],
    "wrapped": lambda key: f"{key[:9]}\r\n  {key[9:20]}\n{key[20:]}",
    "wrapped in json": lambda key: json.dumps(f"{key[:9]}\n{key[9:]}"),
    "spaced": " ".join,
    "split by what is not seen": "\u200b".join,
    "split by escapes": lambda key: f"{key[:9]}\x1b[1m{key[9:]}\x1b[0m",
    "base64, for urls": lambda key: base64.urlsafe_b64encode(f"ab{key}c".encode()).decode(),
    "base64, wrapped": lambda key: base64.encodebytes(f"user:{key}{key}".encode()).decode(),
}


@pytest.mark.parametrize("encode", ENCODED.values(), ids=ENCODED.keys())
@pytest.mark.parametrize("key", [ODD_KEY, 'pa"ss\\wörd-12 & <more>', "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d"])
def test_a_configured_secret_is_masked_however_it_is_spelled(key: str, encode: Callable[[str], str]) -> None:
    redactor, text = Redactor([key]), f"the API said {encode(key)} is wrong"
    masked = redactor.redact_text(text)
    assert masked.startswith("the API said ")
    assert masked.endswith(" is wrong")
    # Beside the mark stays what stood around the key in the encoding, and nothing that the key alone decides.
    assert len(masked.replace(MARK, "")) <= len("the API said  is wrong") + 30
    assert redactor.contains(text)
    assert redactor.redact_text(masked) == masked


def test_a_text_full_of_the_key_is_masked_whole_and_quickly() -> None:
    assert Redactor([ODD_KEY]).redact_text(f"a {ODD_KEY[::-1]} b" * 2000) == MARK


def test_a_configured_secret_is_masked_whole_before_a_pattern_can_take_half_of_it() -> None:
    assert Redactor(["rt_live_abcdef.0123456789"]).redact_text("key=rt_live_abcdef.0123456789") == f"key={MARK}"


def test_of_two_configured_secrets_the_longer_one_is_masked_whole() -> None:
    assert Redactor(["abcdefgh", "abcdefgh-ijklmnop"]).redact_text("abcdefgh-ijklmnop") == MARK


@pytest.mark.parametrize("secret", ["", "short", "       ", "1234567", "redacted", MARK])
def test_a_secret_that_would_garble_ordinary_text_is_ignored(secret: str) -> None:
    text = f"a short redacted text 1234567 {MARK}"
    assert Redactor([secret]).redact_text(text) == text


def test_a_configured_redactor_masks_nested_values_and_patterns_too() -> None:
    assert Redactor([ODD_KEY]).redact_json({"a": [ODD_KEY, VALUE]}) == {"a": [MARK, f"ct_live_{MARK}"]}


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "ct_live_", "xct_test_", "xct_live_abcdefghijkl_", "rt_", "bearer ", "bearer'", "\\", "%5F", "c\u200b"),
        *("\x1b[0;", "\x1b]", "&amp;", "amp;", "%25", "\\n", "0x5a,", "Z ", ODD_KEY[:-1], ODD_KEY[1:]),
    ],
)
def test_the_longest_text_is_read_once(piece: str) -> None:
    # Backtracking over half a million characters would never end, let alone within a test run.
    assert len(Redactor([ODD_KEY]).redact_text(piece * (500_000 // len(piece)))) > 0


def _record(message: str, *args: object, failure: BaseException | None = None) -> logging.LogRecord:
    info = (type(failure), failure, failure.__traceback__) if failure else None
    return logging.LogRecord("runtype_mcp", logging.ERROR, "x.py", 1, message, args, info)


def test_a_log_line_is_masked_with_its_arguments_and_traceback() -> None:
    with pytest.raises(KeyError) as failure:
        dict[str, str]()[f"the API said {KEY} is wrong"]
    formatter = RedactingFormatter(logging.Formatter("%(levelname)s %(message)s"), Redactor())
    line = formatter.format(_record("call with %s failed", VALUE, failure=failure.value))
    assert line.startswith(f"ERROR call with ct_live_{MARK} failed\nTraceback")
    assert f"KeyError: 'the API said rt_live_{MARK} is wrong" in line
    assert not contains_secret(line)


def test_a_log_line_is_masked_where_only_message_and_argument_together_make_the_secret() -> None:
    assert (
        RedactingFormatter(logging.Formatter(), Redactor()).format(_record("ct_live_%s", "flow01k7abc"))
        == f"ct_live_{MARK}"
    )


def test_a_log_line_is_masked_by_the_redactor_that_was_given() -> None:
    line = RedactingFormatter(logging.Formatter(), Redactor([ODD_KEY])).format(_record("sent %s", ODD_KEY))
    assert line == f"sent {MARK}"
