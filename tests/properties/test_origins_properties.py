import ipaddress
import re
import unicodedata
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtype_mcp.policy.origins import (
    OriginError,
    added,
    admits,
    is_custom_scheme,
    is_localhost,
    is_open,
    is_plain_http,
    is_public_wildcard,
    is_wildcard,
    normalise,
    removed,
)
from runtype_mcp.policy.redaction import contains_secret


def covers(wide: str, narrow: str) -> bool:
    """Whether `wide` admits everything that `narrow` admits."""
    return added([wide], [narrow]) == []


modest = settings(max_examples=150, deadline=None)

# fmt: off
PIECES = st.sampled_from([
    "http", "https", "HTTPS", "capacitor", "file", "data", "*", "native", "null", "://", ":", "/", "//", "?", "#", "\\",
    "@", ".", "..", "*.", "-", "_", "shop", "Example", "com", "localhost", "127.0.0.1", "[::1]", "::", "[", "]", "1",
    "0x7f", ":443", ":80", ":3000", ":0", ":99999", "ü", "ß", "\uff41", "\u3002", "\u200b", "\x00", "\n", " ", ",",
    "%2F", "user:pw@", "ct_live_", "0123456789abcdef", "rt_", "Bearer ", "\ud800", "İ", "a" * 70, "9" * 5000,
])
# fmt: on
ANYTHING = st.one_of(st.lists(PIECES, max_size=9).map("".join), st.text(max_size=40))

HOSTS = st.sampled_from(
    ["example.com", "a.example.com", "b.a.example.com", "evilexample.com", "com.example", "localhost", "a.localhost"]
)
EXACT = st.builds("{}://{}{}".format, st.sampled_from(["http", "https", "app"]), HOSTS, st.sampled_from(["", ":8443"]))
WILDCARD = st.builds(
    "{}://*.{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["example.com", "a.example.com", "b.a.example.com", "localhost"]),
    st.sampled_from(["", ":8443"]),
)
ENTRIES = st.one_of(st.sampled_from(["*", "native"]), EXACT, WILDCARD)
LISTS = st.lists(ENTRIES, max_size=4)


def _outcome(text: str) -> str | OriginError:
    try:
        return normalise(text)
    except OriginError as refusal:
        return refusal


@modest
@given(ANYTHING)
def test_normalising_gives_a_stable_clean_entry_or_an_origin_error(text: str) -> None:
    canonical = _outcome(text)
    if isinstance(canonical, OriginError):
        assert not contains_secret(str(canonical))
        assert len(str(canonical)) < 700
        assert str(canonical).isprintable()
        assert canonical.suggestion is None or normalise(canonical.suggestion) == canonical.suggestion
        return
    assert normalise(canonical) == canonical
    assert normalise(f" {canonical}\n") == canonical
    assert not contains_secret(canonical)
    assert canonical.isascii()
    assert not any(unicodedata.category(c) in ("Cc", "Zs") for c in canonical)
    assert canonical == canonical.lower()
    if canonical not in ("*", "native"):
        _is_an_origin(canonical)


def _is_an_origin(entry: str) -> None:
    """What any reader of URLs says of it: a site that a browser can name, and not more sites than are meant."""
    url = urlsplit(entry)
    assert f"{url.scheme}://{url.netloc}" == entry
    assert url.scheme not in ("file", "data", "blob", "javascript", "about")
    assert (url.username, url.password) == (None, None)
    assert url.hostname
    assert url.port is None or 0 < url.port < 65536
    assert (url.scheme, url.port) not in (("https", 443), ("http", 80))
    if "*" in url.netloc:
        star, _, base = url.hostname.partition(".")
        assert star == "*"
        assert url.scheme in ("http", "https")
        assert base == "localhost" or re.search(
            r"[^.]\.[^.]*[a-z]", base
        )  # neither every host of a kind, nor an address
    elif not url.netloc.startswith("["):
        assert re.fullmatch(r"[a-z0-9._~-]+", url.hostname)


@modest
@given(EXACT | WILDCARD, st.sampled_from(["/a", "/a/b?c=d", "?x", "#y", "//"]))
def test_a_path_is_always_refused_with_the_origin_before_it(entry: str, path: str) -> None:
    with pytest.raises(OriginError) as refusal:
        normalise(entry + path)
    assert refusal.value.suggestion == entry


@modest
@given(ANYTHING | ENTRIES)
def test_facts_about_any_text_agree_and_it_covers_itself(text: str) -> None:
    assert [is_open(text), is_wildcard(text)].count(True) <= 1
    assert [is_custom_scheme(text), is_localhost(text), is_plain_http(text)].count(True) <= 1
    assert is_wildcard(text) or not is_public_wildcard(text)
    assert admits([text], text)


NUMBERS = ["{}", "0x{:x}", "0{:o}", "0X{:X}"]


def _ipv4(address: int, parts: int, forms: list[str], data: st.DataObject) -> str:
    """An IPv4 address in one of the spellings that browsers take: one to four numbers, each in one of three bases."""
    bits = 8 * (5 - parts)
    first = [address >> shift & 255 for shift in (24, 16, 8)][: parts - 1]
    return ".".join(data.draw(st.sampled_from(forms)).format(number) for number in [*first, address & (1 << bits) - 1])


@modest
@given(st.integers(0, 2**24 - 1), st.integers(1, 4), st.sampled_from(["http", "https"]), st.data())
def test_every_spelling_of_this_machine_is_localhost(low: int, parts: int, scheme: str, data: st.DataObject) -> None:
    address = 127 << 24 | low
    plain = str(ipaddress.IPv4Address(address))
    groups = f"{address >> 16:x}:{address & 0xFFFF:04x}"
    for host in (
        _ipv4(address, parts, NUMBERS, data),
        f"[::ffff:{plain}]",
        f"[0:0:0:0:0:FFFF:{groups}]",
        f"[::{plain}]",
    ):
        wide = data.draw(st.sampled_from([host, host.translate({c: c + 0xFEE0 for c in range(48, 58)})]))
        assert is_localhost(f"{scheme}://{wide}:3000"), wide
        assert not is_localhost(f"app://{host}")
    other = data.draw(st.integers(1 << 24, 2**32 - 1).filter(lambda number: number >> 24 != 127))
    assert not is_localhost(f"{scheme}://{_ipv4(other, parts, NUMBERS, data)}")


@modest
@given(ENTRIES, ENTRIES)
def test_an_entry_that_is_not_covered_admits_something_that_the_other_does_not(wide: str, narrow: str) -> None:
    assume(not covers(wide, narrow))
    witnesses = {
        "*": ["https://elsewhere.invalid", "https://x.elsewhere.invalid", "app://elsewhere"],
        "native": ["native"],
    }.get(narrow, [narrow.replace("*", "x"), narrow.replace("*", "y.z")])
    assert any(admits([narrow], origin) and not admits([wide], origin) for origin in witnesses)


@modest
@given(ENTRIES, EXACT)
def test_an_exact_origin_is_admitted_as_a_plain_reading_of_the_rules_says(entry: str, origin: str) -> None:
    scheme, host = origin.split("://")
    if entry == "*":
        expected = True
    elif "*." in entry:
        wide_scheme, suffix = entry.split("://*")
        expected = scheme == wide_scheme and host.endswith(suffix) and host != suffix.removeprefix(".")
    else:
        expected = entry == origin
    assert admits([entry], origin) is expected


@modest
@given(LISTS, LISTS)
def test_added_and_removed_say_exactly_what_changed(before: list[str], after: list[str]) -> None:
    new = added(before, after)
    assert all(entry in after and not any(covers(wide, entry) for wide in before) for entry in new)
    assert all(any(covers(wide, entry) for wide in before) for entry in after if entry not in new)
    assert removed(after, before) == new
    assert added(before + after, after) == []
    assert added(before + new, after) == []
