import base64
import json
from collections.abc import Callable
from urllib.parse import quote

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtype_mcp.policy.redaction import (
    MARK,
    Redactor,
    contains_mark,
    contains_secret,
    hint,
    looks_like_value,
    redact_json,
    redact_text,
)
from runtype_mcp.policy.visible import visible

modest = settings(max_examples=150, deadline=None)

HEX = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda s: any(c.isdigit() for c in s[:16]))
VALUES = st.builds(
    "ct_{}_{}{}".format, st.sampled_from(["live", "test"]), st.sampled_from(["", "flow01k7_", "a1_"]), HEX
)
KEYS = st.builds("rt_{}_{}".format, st.sampled_from(["live", "test"]), HEX)

# Pieces that sit at the edges of the patterns, so that their chance combinations are the interesting ones.
# fmt: off
PIECES = st.sampled_from([
    "ct", "rt", "cvt", "_", "live", "test", "_live_", "ct_live_", "rt_", "Bearer", "bearer ", " ", "token", "…", "-",
    "a1", "abcdef", "0123456789abcdef", "%5F", "%25", "%2F", "\\u005f", "\\", "\\n", "\u200b", "\x1b[0m", '"', "'",
    "<", ":", MARK, "&#95;", "[", "]", "\n", "é", "x",
])
# fmt: on
TEXTS = st.one_of(st.lists(PIECES, max_size=14).map("".join), st.text(max_size=40))

ENCODINGS: list[Callable[[str], str]] = [
    str,
    json.dumps,
    lambda s: json.dumps(json.dumps({"k": s})),
    lambda s: quote(f"?t={s}", safe=""),
    lambda s: quote(quote(f"/{s}/", safe=""), safe=""),
    lambda s: s.replace("_", "%5F"),
    lambda s: s.replace("_", "\\u005f"),
    lambda s: s.replace("_", "\\_"),
    lambda s: repr({"k": s}),
    lambda s: f"Authorization: Bearer {s}",
]


@modest
@given(st.one_of(VALUES, KEYS), st.sampled_from(ENCODINGS), TEXTS, TEXTS)
def test_no_secret_survives_however_it_is_embedded(
    secret: str, encode: Callable[[str], str], before: str, after: str
) -> None:
    assume(secret[-32:] not in before + after)
    assert secret[-32:] not in redact_text(before + encode(secret) + after)


@modest
@given(
    st.one_of(VALUES, KEYS), st.sampled_from(["\u200b", "\u2060", "\x00", "\ufe0f", "\U000e0061", "\x1b[1m"]), st.data()
)
def test_no_secret_survives_split_anywhere(secret: str, splitter: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(secret) - 1))
    masked = redact_text(f"see {secret[:at]}{splitter}{secret[at:]}.")
    assert secret not in visible(masked)
    assert MARK in masked


@modest
@given(TEXTS)
def test_a_text_is_masked_exactly_where_it_holds_a_secret_and_once(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once
    assert contains_secret(text) == (once != text)
    assert contains_mark(once) or once == text


@modest
@given(st.text("ghijkmnopqsuwxyz0123456789 .,:/-", max_size=60))
def test_text_without_a_prefix_is_never_touched(text: str) -> None:
    assert redact_text(text) == text


@modest
@given(st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=1, max_size=26).filter(lambda s: "bearer" not in s))
def test_a_token_id_survives(ulid: str) -> None:
    text = f'{{"id":"ct_{ulid}"}}, ct_{ulid} and /v1/client-tokens/ct_{ulid}'
    assert redact_text(text) == text
    assert not looks_like_value(f"ct_{ulid}")


@modest
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | VALUES | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.one_of(VALUES, st.text(max_size=5)), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_a_nested_value_keeps_its_shape_and_loses_its_secrets(value: object) -> None:
    masked = redact_json(value)
    assert not contains_secret(json.dumps(masked))
    assert redact_json(masked) == masked
    assert type(masked) is type(value)
    if not contains_secret(json.dumps(value)):
        assert masked == value


@modest
@given(VALUES)
def test_a_hint_survives_and_gives_away_four_characters(value: str) -> None:
    shown = hint(value)
    assert redact_text(shown) == shown
    assert shown.endswith(f"…{value[-4:]}")
    assert value[-5:] not in shown
    assert looks_like_value(value)


# Brackets could spell the mark itself; everything else that a header can carry may be in a key.
ODD_SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="[]"), min_size=8, max_size=60
).filter(lambda s: s.lower() not in MARK)


@modest
@given(ODD_SECRETS, st.binary(max_size=5), st.binary(max_size=5), TEXTS, TEXTS)
def test_a_configured_secret_survives_in_no_encoding(
    secret: str, head: bytes, tail: bytes, before: str, after: str
) -> None:
    redactor = Redactor([secret])
    for encoded in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
        assert encoded not in redactor.redact_text(before + encoded + after)
    packed = base64.b64encode(head + secret.encode() + tail).decode()
    masked = redactor.redact_text(packed)
    assert MARK in masked
    # The secret's own characters are gone, but for one at each end that it shares with its neighbours.
    assert len(masked.replace(MARK, "")) <= 4 * (len(head + tail) // 3 + 3)


SPELLED: list[Callable[[str], str]] = [
    str,
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#x{ord(c):x};",
    lambda c: f"%{ord(c):02X}",
    lambda c: f"%25{ord(c):02x}",
    lambda c: f"\\u{ord(c):04x}",
    lambda c: f"\\x{ord(c):02x}",
    lambda c: f"\u200b{c}",
    lambda c: f"\n {c}",
    lambda c: f"\\r\\n{c}",
]
PLAIN_SECRETS = st.text("ABCabcXYZxyz0123456789-._~+/=$", min_size=12, max_size=40)


@modest
@given(PLAIN_SECRETS, st.booleans(), st.data())
def test_a_configured_secret_survives_in_no_mixture_of_spellings(secret: str, back: bool, data: st.DataObject) -> None:
    letters = [data.draw(st.sampled_from(SPELLED))(c) for c in (reversed(secret) if back else secret)]
    masked = Redactor([secret]).redact_text(f"see {''.join(letters)} .")
    # Beside the mark stays at most what the first and the last character were wrapped in.
    assert MARK in masked
    assert len(masked) <= len(f"see {MARK} .") + 8
