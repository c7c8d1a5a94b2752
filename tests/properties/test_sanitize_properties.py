import html
import re
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from runtype_mcp.policy.redaction import contains_secret
from runtype_mcp.policy.sanitize import CUT, fence, for_question, sanitize_line
from runtype_mcp.policy.visible import visible

modest = settings(max_examples=150, deadline=None)

VALUE = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"
NONCE = "0a1b2c3d"
# fmt: off
PIECES = st.sampled_from([
    "&#60;", "&#x3c;", "&amp;",
    "<", "</", "\uff1c", "&lt;", "visitor", "-", "_", " ", "text", "visitor-text", ">", NONCE, NONCE[:4], NONCE[4:],
    NONCE.upper(), VALUE, VALUE[:20], VALUE[20:], "ct_live_", "abcdef", "Bearer ", "Bearer token ", "tok", "…", "[cut]",
    "[redacted]", "\u200b", "\u202e", "\ufe0f", "\U000e0041", "\x1b", "\x1b[31m", "\x1b]8;;", "\x07", "[", "m", "\x9b",
    "\x9d", "\x9c", "\n", "\u2028", "\x00", "\ud800", "\ue000", "\ufffe", "e", "\u0301", "\u0323", "\u0338", "\u3164",
    '"', "'", "`", "\u201c", "(", "](", "\\", "://", "&quot;", "&", ";", "é", "字", "🙂",
])
# fmt: on
MARKERS = st.builds(
    "{}{}visitor{}text".format,
    st.sampled_from(
        ["<", "\uff1c", "\ufe64", "\u2039", "\u276e", "\u02c2", "&lt;", "&LT;", "&#60;", "&#x3c;", "&lang;"]
    ),
    st.sampled_from(["", "/", " ", "\u200b", "&amp;", "&#x3c;"]),
    st.sampled_from(["-", "_", " ", "\u200b-"]),
)
EVERY_CHARACTER = st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"])
TEXTS = st.one_of(st.lists(PIECES | MARKERS, max_size=25).map("".join), st.text(EVERY_CHARACTER, max_size=60))
HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def _has_marker(text: str) -> bool:
    """Whether a reader can take something in it for our marker, whichever way the bracket is written."""
    read = unicodedata.normalize("NFKC", html.unescape(text))
    return (
        re.search(r"[<\u2039\u276e\u02c2\u27e8\u3008][\W_]{0,3}visitor[\W_]{0,3}text", read, re.IGNORECASE) is not None
    )


def _is_plain(text: str) -> bool:
    return (
        not any(unicodedata.category(c) in HIDDEN for c in text)
        and visible(text) == text
        and text == " ".join(text.split())
    )


@modest
@given(TEXTS, st.integers(0, 120))
def test_a_clean_text_is_bounded_visible_and_without_secrets(text: str, limit: int) -> None:
    cleaned = sanitize_line(text, limit)
    assert len(cleaned) <= limit
    assert _is_plain(cleaned)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not contains_secret(cleaned)
    assert not _has_marker(cleaned)


@modest
@given(TEXTS, st.integers(0, 120))
def test_cleaning_twice_changes_nothing(text: str, limit: int) -> None:
    cleaned = sanitize_line(text, limit)
    assert sanitize_line(cleaned, limit) == cleaned


@modest
@given(TEXTS, st.integers(len(CUT), 60))
def test_a_cut_text_is_the_start_of_the_whole_and_says_so(text: str, limit: int) -> None:
    whole, cleaned = sanitize_line(text, 10_000), sanitize_line(text, limit)
    if len(whole) <= limit:
        assert cleaned == whole
    else:
        assert cleaned.endswith(CUT)
        assert whole.startswith(cleaned.removesuffix(CUT))


@modest
@given(TEXTS, TEXTS)
def test_a_token_value_never_gets_through(before: str, after: str) -> None:
    text = f"{before} {VALUE} {after}"
    assert VALUE[-32:] not in sanitize_line(text, 10_000)
    assert VALUE[-32:] not in fence([text], NONCE)
    assert VALUE[-32:] not in for_question(text, "")


@modest
@given(st.lists(TEXTS, max_size=4))
def test_a_fence_cannot_be_closed_from_inside(lines: list[str]) -> None:
    block = fence(lines, NONCE).split("\n")
    _, opening, *body, closing = block
    assert (opening, closing) == (f"<visitor-text {NONCE}>", f"</visitor-text {NONCE}>")
    assert len(body) == len(lines)
    for line in body:
        assert NONCE not in line.lower()
        assert not _has_marker(line)
        assert _is_plain(line)


@modest
@given(TEXTS)
def test_a_name_cannot_leave_its_place_in_a_question(name: str) -> None:
    shown = for_question(name, "fallback")
    assert 0 < len(shown) <= 255
    assert _is_plain(shown)
    assert not contains_secret(shown)
    assert not set(shown) & set('"`<>[]{}\\\u201c\u201d\u2018\u201e\uff1c\uff1e\uff02')
    assert "://" not in shown
    # An apostrophe stays between letters only, where it cannot be taken for a quotation mark.
    assert not re.search(r"'(?!\w)|(?<!\w)'", shown)


@modest
@given(st.text(st.characters(categories=["Lu", "Ll", "Nd"], max_codepoint=0x24F), min_size=1, max_size=80))
def test_an_ordinary_name_is_shown_as_it_is(name: str) -> None:
    composed = unicodedata.normalize("NFC", name)
    assert for_question(name, "fallback") == composed
