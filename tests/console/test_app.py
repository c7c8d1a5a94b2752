"""The page on loopback, attacked over real HTTP: only the tab that a person opened is shown and decides anything."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from runtype_mcp.console.app import HEADERS, MAX_BODY, shipped_page
from runtype_mcp.console.session import COOKIE, Session
from tests.console.browsing import ASKED, OPENED, Browser, Pages, pages


def test_a_secret_opens_the_page_once_and_the_cookie_opens_it_again(server: Pages) -> None:
    address = server.session.address(server.url)
    with httpx.Client() as client:
        opened = client.get(address, headers=OPENED)
        assert (opened.status_code, opened.history) == (200, [])
        cookie = opened.headers["set-cookie"]
        assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
            "httponly",
            f"path={server.session.path}".lower(),
            "samesite=strict",
        }
        assert client.get(server.base, headers=OPENED).text == opened.text
        assert client.get(server.base, headers=OPENED | {"sec-fetch-site": "same-origin"}).status_code == 200
        again = client.get(address, headers=OPENED)
        assert (again.status_code, "set-cookie" in again.headers) == (403, False)
    with httpx.Client() as other:
        replayed = other.get(address, headers=OPENED)
        assert (replayed.status_code, "set-cookie" in replayed.headers) == (403, False)
        assert "was used already" in replayed.text
        assert other.get(server.base, headers=OPENED).status_code == 403


def test_a_client_on_another_site_may_open_the_page_and_a_second_tab_may_too(server: Pages) -> None:
    elsewhere = OPENED | {"sec-fetch-site": "cross-site"}
    with httpx.Client() as client:
        for _ in range(2):
            assert client.get(server.session.address(server.url), headers=elsewhere).status_code == 200
        assert client.get(f"{server.base}api/session", headers=ASKED).json()["kind"] == "approval"


@pytest.mark.parametrize("secret", ["", "x", "A" * 43, "../open", "%00", "é", "?secret=1"])
def test_a_guessed_secret_opens_nothing(server: Pages, secret: str) -> None:
    server.session.address(server.url)
    answer = httpx.get(f"{server.base}open/{secret}", headers=OPENED)
    assert answer.status_code in (403, 404)
    assert "set-cookie" not in answer.headers


def test_a_secret_expires() -> None:
    now = [0.0]
    session = Session(lambda: now[0])
    early, late = (session.address("").rpartition("/")[2] for _ in range(2))
    now[0] = 899.9
    assert session.exchange(early)
    now[0] = 900.0
    assert session.exchange(late) is None
    now[0] = 0.0
    assert session.exchange(late) is None, "it is used up by being tried too late"


ANY = "api/approvals", "api/session", "page.js", "page.css", ""


@pytest.mark.parametrize("path", ANY)
def test_without_the_cookie_nothing_is_shown(server: Pages, path: str) -> None:
    for cookies in ({}, {COOKIE: ""}, {COOKIE: "A" * 43}, {"other": "x"}):
        with httpx.Client(cookies=cookies) as client:
            answer = client.get(f"{server.base}{path}", headers=ASKED)
            assert (answer.status_code, "Shop" in answer.text) == (403, False)


@pytest.mark.parametrize("path", ANY)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "[::1]:{port}",
        "",
    ],
)
def test_another_name_of_this_machine_is_refused_before_anything_else(
    server: Pages, browser: Browser, path: str, host: str
) -> None:
    port = server.url.rpartition(":")[2]
    assert browser.get(path, host=host.format(port=port)).status_code == 421


def test_a_rebound_name_does_not_use_a_secret_up(server: Pages) -> None:
    address = server.session.address(server.url)
    assert httpx.get(address, headers=OPENED | {"host": "evil.example"}).status_code == 421
    assert httpx.get(address, headers=OPENED).status_code == 200


def test_two_hosts_in_one_request_are_refused(server: Pages) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(f"GET {server.session.path} HTTP/1.1\r\nHost: {host}:{port}\r\nHost: evil\r\n\r\n".encode())
        assert re.match(rb"HTTP/1.1 4(00|21) ", raw.recv(4096))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "whatever", ""])
def test_another_website_reads_and_decides_nothing(server: Pages, browser: Browser, site: str) -> None:
    ticket = server.ask()
    away = {"sec-fetch-site": site}
    assert browser.get("api/approvals", **away).status_code == 403
    assert browser.get("page.js", **away).status_code == 403
    assert browser.decide(ticket, "approve", "Shop", **away).status_code == 403
    assert browser.decide(ticket, "deny", **away).status_code == 403
    assert server.state_of(ticket) == "waiting"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:{port}", "http://127.0.0.1:1", "https://127.0.0.1:{port}", ""],
)
def test_a_post_from_another_origin_decides_nothing(server: Pages, browser: Browser, origin: str) -> None:
    ticket = server.ask()
    port = server.url.rpartition(":")[2]
    answer = browser.decide(ticket, "approve", "Shop", origin=origin.format(port=port))
    assert (answer.status_code, server.state_of(ticket)) == (403, "waiting")


def test_a_post_without_an_origin_decides_nothing(server: Pages, browser: Browser) -> None:
    ticket = server.ask()
    body = {"decision": "approve", "name": "Shop", "decisionToken": browser.cards()[0]["decisionToken"]}
    answer = browser.client.post(f"{server.base}api/approvals/{ticket.code}", json=body, headers=ASKED)
    assert (answer.status_code, server.state_of(ticket)) == (403, "waiting")


def test_a_browser_that_does_not_say_where_a_request_comes_from_still_needs_cookie_and_origin(server: Pages) -> None:
    ticket = server.ask()
    with httpx.Client() as client:
        assert client.get(server.session.address(server.url)).status_code == 200
        (card,) = client.get(f"{server.base}api/approvals").json()["approvals"]
        body = {"decision": "approve", "name": "Shop", "decisionToken": card["decisionToken"]}
        post = f"{server.base}api/approvals/{ticket.code}"
        assert client.post(post, json=body).status_code == 403
        assert server.state_of(ticket) == "waiting"
        assert client.post(post, json=body, headers={"origin": server.url}).status_code == 200
    assert server.state_of(ticket) == "approved"


@pytest.mark.parametrize("dest", ["iframe", "frame", "embed", "object", "fencedframe"])
def test_the_page_is_not_shown_in_a_frame(server: Pages, browser: Browser, dest: str) -> None:
    address = server.session.address(server.url)
    for site in ("cross-site", "same-site", "same-origin", "none"):
        framed = {"sec-fetch-site": site, "sec-fetch-dest": dest, "sec-fetch-mode": "navigate"}
        assert browser.open(address, **framed).status_code == 403
        assert browser.open(server.base, **framed).status_code == 403
    assert browser.open(address).status_code == 200, "the attempts used nothing up"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-purpose": "prefetch"},
        {"sec-purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "empty", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-dest": "script", "sec-fetch-mode": "no-cors"},
    ],
    ids=str,
)
def test_only_a_person_who_opens_the_address_uses_the_secret_up(server: Pages, headers: dict[str, str]) -> None:
    address = server.session.address(server.url)
    assert httpx.get(address, headers=OPENED | headers).status_code == 403
    for method in ("HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE"):
        assert httpx.request(method, address, headers=OPENED).status_code in (403, 405)
    assert httpx.get(address, headers=OPENED).status_code == 200


def test_a_cookie_of_another_server_on_this_machine_is_none_here(tmp_path: Path, server: Pages) -> None:
    with pages(tmp_path / "other") as other, other.browser() as elsewhere:
        cookie = elsewhere.client.cookies[COOKIE]
        with httpx.Client(cookies={COOKIE: cookie}) as client:
            assert client.get(f"{server.base}api/session", headers=ASKED).status_code == 403
            assert client.get(f"{server.url}{other.session.path}", headers=OPENED).status_code == 404


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/api/approvals", "/open/x", "//", "/%2e%2e/"])
def test_beside_the_session_there_is_nothing(server: Pages, path: str) -> None:
    assert httpx.get(f"{server.url}{path}", headers=OPENED).status_code == 404


def test_every_answer_carries_the_browsers_protections(server: Pages, browser: Browser) -> None:
    answers = [
        browser.open(server.session.address(server.url)),
        *(browser.get(path) for path in (*ANY, "nothing")),
        browser.get("", host="evil"),
        browser.post("api/approvals/0000-0000", {}),
        httpx.get(server.url),
    ]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "frame-ancestors 'none'", "form-action 'none'"} <= set(policy.split("; "))


def test_the_page_has_neither_script_nor_style_of_its_own(server: Pages, browser: Browser) -> None:
    shown = browser.get("").text
    assert f'<script type="module" src="{server.session.path}page.js"></script>' in shown
    assert f'<link rel="stylesheet" href="{server.session.path}page.css">' in shown
    assert not re.search(r"<style|<script(?! type=\"module\" src=)|\son\w+=|style=|javascript:|\{base\}", shown)
    for path, kind, text in (
        ("page.js", "javascript", shipped_page().script),
        ("page.css", "css", shipped_page().style),
    ):
        answer = browser.get(path)
        assert (answer.text, kind in answer.headers["content-type"]) == (text, True)
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", shown)


def test_a_body_that_is_too_long_or_no_json_decides_nothing(server: Pages, browser: Browser) -> None:
    ticket = server.ask()
    token = browser.cards()[0]["decisionToken"]
    path = f"api/approvals/{ticket.code}"
    good = {"decision": "approve", "name": "Shop", "decisionToken": token}
    assert browser.post(path, good | {"name": "x" * MAX_BODY}).status_code == 413

    def send(content: Any, kind: str = "application/json") -> int:
        headers = ASKED | {"origin": server.url, "content-type": kind}
        return browser.client.post(f"{server.base}{path}", content=content, headers=headers).status_code

    assert send(iter([b" " * 1000] * 1000)) == 413, "a length that nobody tells is counted"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; x=1", ""):
        assert send(json.dumps(good), kind) == 415
    for body in ("", "{", "[]", "null", '"approve"', b"\xff", "[" * 4000):
        assert send(body) == 400
    assert server.state_of(ticket) == "waiting"


def test_what_is_broken_is_told_and_decides_nothing(server: Pages, browser: Browser, tmp_path: Path) -> None:
    server.ask()
    for file in (tmp_path / "own").glob("state.db*"):
        file.unlink()
        file.mkdir()
    answer = browser.get("api/approvals")
    assert (answer.status_code, "no approval counts" in answer.json()["error"]) == (503, True)
