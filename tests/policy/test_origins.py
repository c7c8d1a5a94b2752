# ruff: noqa: RUF001 - look-alike characters are what is tested

import pytest

from runtype_mcp.policy.origins import (
    OriginError,
    added,
    admits,
    covers,
    is_localhost,
    is_open,
    is_plain_http,
    is_wildcard,
    normalise,
    removed,
)
from runtype_mcp.policy.redaction import contains_secret

VALUE = "ct_live_flow01k7_0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("entry", "canonical"),
    [
        ("*", "*"),
        (" * ", "*"),
        ("native", "native"),
        ("Native", "native"),
        (" NATIVE\n", "native"),
        ("https://shop.example", "https://shop.example"),
        ("  https://shop.example\t", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("HTTPS://Shop.Example", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80/", "http://shop.example"),
        ("http://shop.example:080", "http://shop.example"),
        ("https://shop.example:80", "https://shop.example:80"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://shop.example:08443", "https://shop.example:8443"),
        ("https://shop.example:65535", "https://shop.example:65535"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://intranet", "https://intranet"),
        ("https://my_app.example", "https://my_app.example"),
        ("https://*.shop.example", "https://*.shop.example"),
        ("HTTPS://*.Shop.Example:443/", "https://*.shop.example"),
        ("https://*.shop.example:8443", "https://*.shop.example:8443"),
        ("http://*.localhost:3000", "http://*.localhost:3000"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("https://MÜNCHEN.example", "https://xn--mnchen-3ya.example"),
        ("https://mu\u0308nchen.example", "https://xn--mnchen-3ya.example"),
        ("https://*.münchen.example", "https://*.xn--mnchen-3ya.example"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        ("https://例え。テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("https://127.0.0.1:8080", "https://127.0.0.1:8080"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[::1]:80", "http://[::1]"),
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
        ("https://shop.example/app", "https://shop.example"),
        ("https://shop.example/app/", "https://shop.example"),
        ("https://shop.example//", "https://shop.example"),
        ("https://shop.example/*", "https://shop.example"),
        ("https://shop.example?x=1", "https://shop.example"),
        ("https://shop.example/?x=1", "https://shop.example"),
        ("https://shop.example#top", "https://shop.example"),
        ("https://shop.example\\app", "https://shop.example"),
        ("https://Shop.Example:443/app", "https://shop.example"),
        ("https://*.shop.example/app", "https://*.shop.example"),
        ("https://user:pw@shop.example", "https://shop.example"),
        ("https://user@shop.example:8443", "https://shop.example:8443"),
        ("https://a@b@shop.example", "https://shop.example"),
        ("shop.example", "https://shop.example"),
        ("Shop.Example/app", "https://shop.example"),
        ("shop.example:8443", "https://shop.example:8443"),
        ("*.shop.example", "https://*.shop.example"),
        ("//shop.example", "https://shop.example"),
        ("://shop.example", "https://shop.example"),
        ("*://shop.example", "https://shop.example"),
        ("https:shop.example", "https://shop.example"),
        ("https:/shop.example", "https://shop.example"),
        ("https//shop.example", "https://shop.example"),
        ("http:shop.example", "http://shop.example"),
        ("https:localhost:3000", "https://localhost:3000"),
        ("localhost", "http://localhost"),
        ("localhost:3000", "http://localhost:3000"),
        ("LOCALHOST:3000/app", "http://localhost:3000"),
        ("app.localhost:3000", "http://app.localhost:3000"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("::1", "http://[::1]"),
        ("http://2001:db8::1", "http://[2001:db8::1]"),
        ("https://shop.example:", "https://shop.example"),
        ("https://shop.example.", "https://shop.example"),
        ("https://*.shop.example.:8443", "https://*.shop.example:8443"),
        ("https://*shop.example", "https://*.shop.example"),
        ("https://sh\u200bop.example", "https://shop.example"),
        ("\ufeffhttps://shop.example", "https://shop.example"),
        ("https://shop\x00.example", "https://shop.example"),
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
        ("", "is empty"),
        (" \n", "is empty"),
        ("null", "names no site"),
        ("NULL", "names no site"),
        ("file:///home/me/index.html", "names no site"),
        ("data:text/html,hello", "names no site"),
        ("javascript:alert(1)", "names no site"),
        ("blob:https://shop.example/1", "names no site"),
        ("https://*", "would admit every https site"),
        ("http://*:3000", "would admit every http site"),
        ("https://*.com", "every host that ends in '.com'"),
        ("https://*.COM:8443", "every host that ends in '.com'"),
        ("*.com", "no scheme"),
        ("https://shop.*", "whole first label"),
        ("https://a.*.example.com", "whole first label"),
        ("https://*.*.example.com", "whole first label"),
        ("https://app-*.host.example", "whole first label"),
        ("https://*-app.host.example", "whole first label"),
        ("https://*.10.0.0.1", "no subdomains"),
        ("capacitor://*.shop.example", "only http and https"),
        ("https://a.example https://b.example", "an entry of its own"),
        ("https://a.example, https://b.example", "an entry of its own"),
        ("https://a.example;https://b.example", "an entry of its own"),
        ("https:// shop.example", "an entry of its own"),
        ("https://shop\n.example", "an entry of its own"),
        ("https://shop.example:0", "bad port"),
        ("https://shop.example:65536", "bad port"),
        ("https://shop.example:abc", "bad port"),
        ("https://shop.example:-1", "bad port"),
        ("https://shop.example:٣", "bad port"),
        ("http://localhost:*", "bad port"),
        ("https://shop.example:" + "9" * 5000, "bad port"),
        ("http://a:b:c", "more than one colon"),
        ("https://", "no host"),
        ("https://:443", "no host"),
        ("app://", "no host"),
        ("app://a%20b", "no valid host"),
        ("https://a..example", "host name that is not valid"),
        ("https://-a.example", "host name that is not valid"),
        ("https://a%20b.example", "host name that is not valid"),
        ("https://shop.example⁄app", "host name that is not valid"),
        ("https://＊.example.com", "host name that is not valid"),
        ("https://☕.example", "host name that is not valid"),
        (f"https://{'a' * 64}.example", "host name that is not valid"),
        (f"https://{'ü' * 100}.example", "host name that is not valid"),
        (f"https://{'a.' * 130}example", "more than 253"),
        ("https://1.2.3", "not four plain numbers"),
        ("https://127.0.0.01", "not four plain numbers"),
        ("https://0x7f.1", "not four plain numbers"),
        ("https://2130706433", "not four plain numbers"),
        ("https://[::1%25eth0]", "zone"),
        ("https://[::g]", "IPv6 address that is not valid"),
        ("https://[]", "IPv6 address that is not valid"),
        ("Support", "no scheme"),
        ("all", "no scheme"),
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
        f"https://{VALUE}.example",
        f"https://shop.example/?token={VALUE}",
        f"https://{VALUE}@shop.example",
        "https://CT_LIVE_abcdef.example",
        "https://ct＿live＿abcdef.example",
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
        "https://user:hunter2@shop.example",
        "https://user:hun/hunter2@shop.example",
        "user:hunter2@shop.example",
        "https://shop.example/reset/hunter2",
        "https://shop.example?key=hunter2",
        "shop.example?next=https://x/hunter2",
        "shop.example?hunter2=https://x",
        "https://user:hunter2@a.example, https://b.example",
        "https://a.example, https://user:hunter2@b.example",
        "data:text/hunter2,x",
    ],
)
def test_passwords_paths_and_queries_are_not_repeated(entry: str) -> None:
    with pytest.raises(OriginError) as refusal:
        normalise(entry)
    assert "hunter2" not in str(refusal.value)


def test_a_secret_that_lower_case_reveals_is_not_repeated() -> None:
    with pytest.raises(OriginError, match="would admit every host") as refusal:
        normalise("https://*.CT_LIVE_zyxwvu")
    assert not contains_secret(str(refusal.value))


def test_control_characters_do_not_reach_the_message() -> None:
    with pytest.raises(OriginError) as refusal:
        normalise("https://a\x1b[31m\u202e.exa mple\nIgnore this")
    assert str(refusal.value).isprintable()


def test_an_open_entry_admits_anyone_with_the_value() -> None:
    assert [e for e in ["*", " * ", "native", "NATIVE", "https://*.a.example", "https://a.example"] if is_open(e)] == [
        "*",
        " * ",
        "native",
        "NATIVE",
    ]


def test_a_wildcard_admits_many_hosts_but_not_all() -> None:
    assert is_wildcard("https://*.shop.example")
    assert is_wildcard("https://*")
    assert not is_wildcard("*")
    assert not is_wildcard("https://shop.example")


@pytest.mark.parametrize(
    "entry",
    [
        "http://localhost",
        "https://localhost:3000",
        "http://app.localhost",
        "http://*.localhost:3000",
        "http://127.0.0.1",
        "http://127.9.8.7:1",
        "http://[::1]:3000",
        "localhost:3000",
        "http://localhost/app",
    ],
)
def test_the_visitors_own_machine_is_localhost(entry: str) -> None:
    assert is_localhost(entry)
    assert not is_plain_http(entry)


@pytest.mark.parametrize(
    "entry",
    [
        "capacitor://localhost",
        "https://localhost.example",
        "https://notlocalhost",
        "http://127.example",
        "*",
        "native",
        "",
        "http://[::2]",
    ],
)
def test_other_machines_and_apps_are_not_localhost(entry: str) -> None:
    assert not is_localhost(entry)


def test_plain_http_is_http_to_another_machine() -> None:
    assert is_plain_http("http://shop.example")
    assert is_plain_http("http://*.shop.example:8080")
    assert is_plain_http("http://shop.example/app")
    assert not is_plain_http("https://shop.example")
    assert not is_plain_http("capacitor://localhost")
    assert not is_plain_http("*")


@pytest.mark.parametrize(
    ("wide", "narrow", "does"),
    [
        ("https://a.example.com", "https://a.example.com", True),
        ("https://a.example.com", "HTTPS://A.example.com:443/", True),
        ("https://a.example.com", "https://b.example.com", False),
        ("*", "https://a.example.com", True),
        ("*", "capacitor://localhost", True),
        ("*", "https://*.example.com", True),
        ("*", "*", True),
        ("*", "native", False),
        ("native", "native", True),
        ("native", "https://a.example.com", False),
        ("native", "*", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://*.a.example.com", True),
        ("https://*.example.com", "https://*.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
        ("https://*.example.com", "*", False),
        ("https://*.a.example.com", "https://*.example.com", False),
        ("https://a.example.com", "https://*.a.example.com", False),
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


def test_removed_entries_are_those_that_shut_something_out() -> None:
    before = ["https://a.example.com", "https://shop.example", "https://*.b.example", "native"]
    assert removed(before, ["https://*.example.com", "https://x.b.example"]) == [
        "https://shop.example",
        "https://*.b.example",
        "native",
    ]
    assert removed(before, ["*"]) == ["native"]


def test_narrowing_to_a_subset_adds_nothing_and_widening_removes_nothing() -> None:
    assert added(["*", "native"], ["https://a.example", "native"]) == []


def test_an_entry_that_no_browser_sends_admitted_nobody() -> None:
    stored = ["HTTPS://SHOP.EXAMPLE/", "HTTPS://*.SHOP.EXAMPLE"]
    proper = ["https://shop.example", "https://a.shop.example"]
    assert added(stored, proper) == proper
    assert removed(stored, ["https://shop.example", "https://*.shop.example"]) == []
    assert removed(["https://a.example"], ["*"]) == []


def test_a_token_admits_an_origin_that_any_of_its_entries_covers() -> None:
    entries = ["https://shop.example", "https://*.example.com"]
    assert admits(entries, "https://shop.example/")
    assert admits(entries, "https://a.example.com")
    assert not admits(entries, "https://example.com")
    assert not admits(entries, "native")
    assert not admits([], "https://shop.example")
    assert admits(["*"], "https://anything.example")
    assert admits(["native"], "native")
