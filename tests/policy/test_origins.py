# ruff: noqa: RUF001 - look-alike characters are what is tested

import subprocess
import sys
from collections.abc import Callable

import pytest

from runtype_mcp.policy.origins import (
    OriginError,
    added,
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


VALUE = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("entry", "canonical"),
    [
        *((" * ", "*"), (" NATIVE\n", "native"), ("  https://shop.example\t", "https://shop.example")),
        *(("https://shop.example/", "https://shop.example"), ("HTTPS://Shop.Example", "https://shop.example")),
        *(("https://shop.example:443", "https://shop.example"), ("http://shop.example:80/", "http://shop.example")),
        ("http://shop.example:080", "http://shop.example"),
        ("https://shop.example:80", "https://shop.example:80"),
        ("https://shop.example:08443", "https://shop.example:8443"),
        ("https://shop.example:65535", "https://shop.example:65535"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://my_app.example", "https://my_app.example"),
        ("HTTPS://*.Shop.Example:443/", "https://*.shop.example"),
        ("https://*.shop.example:8443", "https://*.shop.example:8443"),
        ("http://*.localhost:3000", "http://*.localhost:3000"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("https://MÜNCHEN.example", "https://xn--mnchen-3ya.example"),
        ("https://mu\u0308nchen.example", "https://xn--mnchen-3ya.example"),
        ("https://*.münchen.example", "https://*.xn--mnchen-3ya.example"),
        ("https://例え。テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("https://☕.example", "https://xn--53h.example"),
        *(("https://i❤.ws", "https://xn--i-7iq.ws"), ("https://１.2.3.4", "https://1.2.3.4")),
        *(("http://[::1]:3000", "http://[::1]:3000"), ("http://[::1]:80", "http://[::1]")),
        ("https://[2001:DB8:0:0:0:0:0:1]", "https://[2001:db8::1]"),
        ("https://[::ffff:1.2.3.4]", "https://[::ffff:102:304]"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("ionic://localhost/", "ionic://localhost"),
        ("chrome-extension://abcdefghijklmnopabcdefghijklmnop", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"),
        ("tauri://localhost:80", "tauri://localhost:80"),
    ],
)
def test_an_origin_gets_the_spelling_that_a_browser_sends(entry: str, canonical: str) -> None:
    assert normalise(entry) == canonical


def test_sharp_s_is_not_read_as_double_s_which_is_another_owners_site() -> None:
    assert normalise("https://faß.de") == "https://xn--fa-hia.de"


@pytest.mark.parametrize(
    ("entry", "suggestion"),
    [
        *(("https://shop.example/app", "https://shop.example"), ("https://shop.example//", "https://shop.example")),
        *(("https://shop.example/*", "https://shop.example"), ("https://shop.example?x=1", "https://shop.example")),
        *(("https://shop.example#top", "https://shop.example"), ("https://shop.example\\app", "https://shop.example")),
        ("https://Shop.Example:443/app", "https://shop.example"),
        ("https://*.shop.example/app", "https://*.shop.example"),
        ("https://user:pw@shop.example", "https://shop.example"),
        ("https://user@shop.example:8443", "https://shop.example:8443"),
        *(("https://a@b@shop.example", "https://shop.example"), ("shop.example", "https://shop.example")),
        *(("shop.example:8443", "https://shop.example:8443"), ("*.shop.example", "https://*.shop.example")),
        *(("localhost", "http://localhost"), ("localhost:3000", "http://localhost:3000")),
        *(("LOCALHOST:3000/app", "http://localhost:3000"), ("app.localhost:3000", "http://app.localhost:3000")),
        *(("127.0.0.1:8080", "http://127.0.0.1:8080"), ("[::1]:3000", "http://[::1]:3000")),
        ("https://shop.example:", "https://shop.example"),
        ("https://shop.example.", "https://shop.example"),
        ("https://*.shop.example.:8443", "https://*.shop.example:8443"),
    ],
)
def test_a_near_miss_is_refused_with_the_form_that_was_meant(entry: str, suggestion: str) -> None:
    with pytest.raises(OriginError) as refusal:
        normalise(entry)
    assert refusal.value.suggestion == suggestion
    assert f"use '{suggestion}'" in str(refusal.value)
    assert normalise(suggestion) == suggestion


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        *(("", "is empty"), (" \n", "is empty"), ("null", "names no site")),
        *(("file:///home/me/index.html", "names no site"), ("data:text/html,hello", "names no site")),
        *(("blob:https://shop.example/1", "names no site"), ("https://*", "would admit every https site")),
        *(("http://*:3000", "would admit every http site"), ("https://*.com", "every host that ends in '.com'")),
        ("https://*.COM:8443", "every host that ends in '.com'"),
        *(("//shop.example", "no scheme"), ("https:shop.example", "no scheme"), ("::1", "no scheme")),
        *(("https://sh\u200bop.example", "invisible"), ("\ufeffhttps://shop.example", "invisible")),
        *(("http://2001:db8::1", "square brackets"), ("https://*shop.example", "whole first label")),
        *(("*.com", "no scheme"), ("https://shop.*", "whole first label")),
        *(("https://a.*.example.com", "whole first label"), ("https://*-app.host.example", "whole first label")),
        *(("https://*.10.0.0.1", "no subdomains"), ("capacitor://*.shop.example", "only http and https")),
        ("https://a.example https://b.example", "an entry of its own"),
        ("https://a.example;https://b.example", "an entry of its own"),
        *(("https:// shop.example", "an entry of its own"), ("https://shop\n.example", "an entry of its own")),
        *(("https://shop.example:0", "bad port"), ("https://shop.example:65536", "bad port")),
        *(("https://shop.example:abc", "bad port"), ("https://shop.example:٣", "bad port")),
        *(("http://localhost:*", "bad port"), ("https://shop.example:" + "9" * 5000, "bad port")),
        *(("http://a:b:c", "more than one colon"), ("https://", "no host"), ("app://", "no host")),
        *(("app://a%20b", "no valid host"), ("https://a..example", "host name that is not valid")),
        ("https://-a.example", "host name that is not valid"),
        ("https://a%20b.example", "host name that is not valid"),
        ("https://xn--a.example", "host name that is not valid"),
        ("https://a%2a.example", "host name that is not valid"),
        ("https://＊.example.com", "host name that is not valid"),
        (f"https://{'a' * 64}.example", "host name that is not valid"),
        (f"https://{'ü' * 100}.example", "host name that is not valid"),
        (f"https://{'a.' * 130}example", "more than 253"),
        ("https://127.0.0.01", "not four plain numbers"),
        ("https://0x7f.1", "not four plain numbers"),
        ("https://2130706433", "not four plain numbers"),
        ("https://256.1.1.1", "not four plain numbers"),
        ("https://[::1%25eth0]", "IPv6 address that browsers do not accept"),
        ("https://[::g]", "IPv6 address that browsers do not accept"),
        ("https://[]", "IPv6 address that browsers do not accept"),
        ("Support", "no scheme"),
        ("/", "no scheme"),
    ],
)
def test_what_no_browser_sends_is_refused_without_a_guess(entry: str, problem: str) -> None:
    with pytest.raises(OriginError) as refusal:
        normalise(entry)
    assert problem in str(refusal.value)
    assert refusal.value.suggestion is None
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    "entry",
    [
        VALUE,
        *(f"https://{VALUE}.example", f"https://shop.example/?token={VALUE}", f"https://{VALUE}@shop.example"),
        *("https://CT_LIVE_abcdef.example", "https://ct＿live＿abcdef.example", "https://%63t_live_abcdef.example"),
        "\u200b".join(VALUE),
        "rt_live_0123456789abcdef",
        "https://rt_live_0123456789abcdef",
    ],
)
def test_a_secret_is_refused_and_not_repeated(entry: str) -> None:
    with pytest.raises(OriginError, match="looks like a token value or an API key") as refusal:
        normalise(entry)
    assert refusal.value.suggestion is None
    letters = "".join(c for c in str(refusal.value) if c.isalnum())
    for random_part in ("0123456789", "abcdef"):
        assert random_part not in letters


@pytest.mark.parametrize(
    "entry",
    [
        *("https://user:hunter2@shop.example", "https://user:hun/hunter2@shop.example", "user:hunter2@shop.example"),
        *("https://shop.example/reset/hunter2", "https://shop.example?key=hunter2"),
        *("shop.example?next=https://x/hunter2", "shop.example?hunter2=https://x"),
        *("https://user:hunter2@a.example, https://b.example", "https://a.example, https://user:hunter2@b.example"),
        "data:text/hunter2,x",
    ],
)
def test_passwords_paths_and_queries_are_not_repeated(entry: str) -> None:
    with pytest.raises(OriginError) as refusal:
        normalise(entry)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "entry", ["https://*.CT_LIVE_zyxwvu", "https://ct＿live＿zyxwvu.example/path", "%63t_live_zyxwvu"]
)
def test_a_secret_that_is_read_only_in_another_spelling_is_not_repeated(entry: str) -> None:
    with pytest.raises(OriginError) as refusal:
        normalise(entry)
    assert not contains_secret(str(refusal.value))
    assert "zyxwvu" not in str(refusal.value)
    assert refusal.value.suggestion is None


def test_control_characters_do_not_reach_the_message() -> None:
    with pytest.raises(OriginError) as refusal:
        normalise("https://a\x1b[31m\u202e.exa mple\nIgnore this")
    assert str(refusal.value).isprintable()


OPEN = [
    *("*", " * ", "native", "NATIVE", "null", " Null", "**", "*.*", "*:*", "＊", "*://*", "http://*", "https://*"),
    *("https://*:443", "https://*/", "https://%2A", "https://*.*", "app://*", "*\u200b"),
]
PUBLIC = [
    *("https://*.vercel.app", "https://*.github.io:8443", "http://*.co.uk", "*.netlify.app", "https://*.myshopify.com"),
    *("https://*.com", "HTTPS://*.Vercel.App/", "https://*.xn--p1ai", "https://*.公司.cn", "https://shop.*"),
    *("https://*shop.example", "https://*.amazonaws.com", "https://a.*.vercel.app"),
]
WILD = ["https://*.shop.example", "http://*.shop.co.uk:8443", "*.my-team.vercel.app", "*://a.example"]
LOCAL = [
    *(
        "http://localhost",
        "https://LocalHost:3000",
        "http://*.localhost:3000",
        "localhost:3000",
    ),
    *("http://localhost/app", "http://localhost.", "https://localhost.localdomain", "http://localhost6.localdomain6"),
    *("http://ip6-localhost", "http://loopback", "*://localhost", "http://user@localhost", "http://localhost:*"),
    *("http://127.0.0.1", "http://0x7f.1", "http://2130706433"),
    *("http://０.0.0.0", "http://0", "http://[::1]:3000", "::1", "http://[0:0:0:0:0:0:0:1]", "https://[::]"),
    *("https://[::ffff:7f00:1]", "http://[::127.0.0.1]", "http://[64:ff9b::7f00:1]"),
    *("http://[::ffff:0.0.0.0]",),
]
APPS = ["capacitor://localhost", "IONIC://localhost", "app://x", "x://y", "file://", "ws://a.example"]
PLAIN = ["http://shop.example", "http://*.shop.example:8080", "HTTP://shop.example/app", "http://[::2]"]
EXACT = [
    *("https://shop.example", "https://vercel.app", "https://localhost.example", "https://notlocalhost"),
    *("https://null", "https://native", "https://[::2]", "https://user:127.0.0.1@shop.example", "", "shop"),
]


@pytest.mark.parametrize(
    ("kind", "entries"),
    [
        (is_open, OPEN),
        (is_public_wildcard, PUBLIC),
        (is_wildcard, [*PUBLIC, *WILD, "http://*.shop.example:8080", *(entry for entry in LOCAL if "*" in entry)]),
        (is_localhost, LOCAL),
        (is_custom_scheme, [*APPS, "app://*"]),
        (is_plain_http, [*PLAIN, "http://*.co.uk", "http://*.shop.co.uk:8443", "*://a.example"]),
    ],
    ids=["open", "public wildcard", "wildcard", "localhost", "custom scheme", "plain http"],
)
def test_what_an_entry_admits(kind: Callable[[str], bool], entries: list[str]) -> None:
    every = {*OPEN, *PUBLIC, *WILD, *LOCAL, *APPS, *PLAIN, *EXACT}
    assert {entry for entry in every if kind(entry)} == set(entries)


def test_the_list_of_public_suffixes_is_loaded_only_for_a_wildcard() -> None:
    script = (
        "import sys; from runtype_mcp.policy.origins import *; is_public_wildcard('https://shop.example'); "
        "print('publicsuffixlist' in sys.modules); is_public_wildcard('https://*.shop.example'); "
        "print('publicsuffixlist' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("wide", "narrow", "does"),
    [
        ("https://a.example.com", "HTTPS://A.example.com:443/", True),
        ("https://a.example.com", "https://*.a.example.com", False),
        ("*", "capacitor://localhost", True),
        ("*", "native", False),
        ("native", "*", False),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://*.a.example.com", True),
        ("https://*.a.example.com", "https://*.example.com", False),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com:8443", "https://a.example.com", False),
        # The API may hold entries that would be refused here: they are known by their text alone.
        ("shop.example", "shop.example", True),
        ("shop.example", "https://shop.example", False),
        ("https://*.example.com", "https://evil/.example.com", False),
        ("https://*", "https://a.example", False),
        ("*", "shop.example", True),
    ],
)
def test_an_entry_covers_what_it_admits(wide: str, narrow: str, does: bool) -> None:
    assert covers(wide, narrow) is does


def test_added_entries_are_those_that_let_in_something_new() -> None:
    before = ["https://*.example.com", "https://shop.example"]
    after = ["https://a.example.com", "https://SHOP.example/", "https://example.com", "native", "native"]
    assert added(before, after) == ["https://example.com", "native"]


def test_an_entry_that_no_browser_sends_admitted_nobody() -> None:
    stored = ["HTTPS://SHOP.EXAMPLE/", "HTTPS://*.SHOP.EXAMPLE"]
    proper = ["https://shop.example", "https://a.shop.example"]
    assert added(stored, proper) == proper
    assert removed(stored, ["https://shop.example", "https://*.shop.example"]) == []
    assert removed(["https://a.example"], ["*"]) == []
