"""The team's page: who signs in there may decide others' calls, and nobody else may, whatever they send."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from playwright.async_api import Browser, expect

from runtype_mcp.http import create_app
from runtype_mcp.settings import SettingsError
from runtype_mcp.storage.sqlite_state import SqliteState
from runtype_mcp.storage.tickets import Ticket
from runtype_mcp.tools.pipeline import ERROR
from tests.confirmations import DELETE, confirmed, prepare, went_ahead
from tests.console.chromium import launched
from tests.console.website import another_website
from tests.http.oidc_provider import ALL, CLIENT, SECRET, Provider, oidc_provider
from tests.http.replicas import replica
from tests.support import MODERN, Api, McpClient, settings_for, text_of
from tests.tools.people import MAY_WRITE, Person, client_of

pytestmark = pytest.mark.anyio

PAGE = "/approvals/"
SAME = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with oidc_provider() as made:
        yield made


@pytest.fixture
def environ(provider: Provider, tmp_path: Path) -> dict[str, str]:
    """The settings of a team's server, with the page."""
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    return {
        "RUNTYPE_MCP_AUTH": "jwt",
        "RUNTYPE_MCP_JWT_ISSUER": provider.url,
        "RUNTYPE_MCP_APPROVAL": "second-person",
        "RUNTYPE_MCP_APPROVAL_WAIT": "0.1",
        "RUNTYPE_MCP_OIDC_CLIENT_ID": CLIENT,
        "RUNTYPE_MCP_OIDC_CLIENT_SECRET_FILE": str(secret),
        "RUNTYPE_MCP_AUDIT": str(tmp_path / "audit.jsonl"),
    }


@dataclass
class Team:
    """A server for a team at `url`, and somebody who asks."""

    api: Api
    url: str
    provider: Provider
    ana: McpClient
    state: SqliteState

    async def asked(self, name: str = "Shop") -> tuple[str, dict[str, Any]]:
        """The code under which a deletion waits, and the call."""
        case = replace(DELETE, token={"name": name})
        call = confirmed(case, prepare(self.api, case))
        result = await self.ana.call(case.tool, **call)
        assert result.is_error, text_of(result)
        return str((result.meta or {})[ERROR]["approval"]), call

    async def ticket(self, code: str) -> Ticket:
        found = await self.state.find_ticket(code)
        assert found is not None
        return found


@pytest.fixture
async def team(api: Api, provider: Provider, environ: dict[str, str]) -> AsyncIterator[Team]:
    folder = Path(os.environ["RUNTYPE_MCP_STATE_DIR"])
    ana, state = Person("Ana", f"jwt:{provider.url}:ana", MAY_WRITE), SqliteState(folder)
    with replica(api, **environ) as url:
        async with client_of(ana, api, SqliteState(folder), MODERN) as model:
            yield Team(api, url, provider, model, state)
    await state.aclose()


class Visitor:
    """A browser, as far as a server sees one. `at` is the replica that answers; None: the public one."""

    def __init__(self, url: str) -> None:
        self.url, self.http = url, httpx.AsyncClient(follow_redirects=False)

    async def get(self, path: str, at: str | None = None, **headers: str) -> httpx.Response:
        own = {"host": urlsplit(self.url).netloc}
        return await self.http.get(f"{at or self.url}{path}", headers=own | headers)

    async def to_issuer(self) -> str:
        """The address at which the page has a person sign in."""
        answer = await self.get(PAGE)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def answered(self) -> str:
        """The path with which the issuer sends the browser back."""
        answer = await self.http.get(await self.to_issuer())
        assert answer.status_code == 302, answer.text
        location: str = answer.headers["location"]
        assert location.startswith(f"{self.url}{PAGE}callback?")
        return location.removeprefix(self.url)

    async def sign_in(self, at: str | None = None) -> httpx.Response:
        back = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        return await self.get(await self.answered(), at, **back)

    async def waiting(self, at: str | None = None) -> list[dict[str, Any]]:
        answer = await self.get(f"{PAGE}api/approvals", at, **SAME)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["approvals"]
        return found

    async def decide(
        self, card: dict[str, Any], decision: str = "approve", name: str = "Shop", at: str | None = None, **headers: Any
    ) -> httpx.Response:
        own = {"host": urlsplit(self.url).netloc, "origin": self.url, **SAME} | headers
        body = {"decision": decision, "name": name, "decisionToken": card["decisionToken"]}
        return await self.http.post(f"{at or self.url}{PAGE}api/approvals/{card['code']}", headers=own, json=body)

    async def is_signed_in(self) -> bool:
        return (await self.get(f"{PAGE}api/session", **SAME)).status_code == 200


@pytest.fixture
async def bob(team: Team) -> AsyncIterator[Visitor]:
    visitor = Visitor(team.url)
    async with visitor.http:
        yield visitor


@pytest.fixture(scope="module")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


# In a browser.


async def test_a_person_signs_in_approves_and_signs_out(team: Team, chromium: Browser) -> None:
    code, call = await team.asked()
    context = await chromium.new_context()
    page = await context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(f"{team.url}/approvals")
    await expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
    assert page.url == f"{team.url}{PAGE}", "neither code nor state stay in the address"
    await expect(page.get_by_text("Signed in as Bob")).to_be_visible()
    await expect(page.get_by_text("Asked by Ana")).to_be_visible()
    cookies = {cookie["name"]: cookie for cookie in await context.cookies(team.url)}
    assert cookies.keys() == {"runtype-mcp-approvals"}
    cookie = cookies["runtype-mcp-approvals"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert 1700 < cookie["expires"] - time.time() <= 1800
    await page.get_by_label("To approve, type the name").fill("Shop")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".outcome")).to_contain_text("Approved")
    ticket = await team.ticket(code)
    assert (ticket.state, ticket.decided_in, ticket.decided_by) == ("approved", "team page", "Bob")
    assert ticket.decided_by_subject == f"jwt:{team.provider.url}:bob"
    await page.reload()
    await expect(page.get_by_text("Nothing waits for approval.")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    assert not await context.cookies(team.url)
    assert not faults
    await context.close()
    assert went_ahead(await team.ana.call(DELETE.tool, **call))


async def test_no_other_website_frames_the_page_or_decides_on_it(team: Team, chromium: Browser) -> None:
    code, _ = await team.asked()
    context = await chromium.new_context()
    page = await context.new_page()
    await page.goto(f"{team.url}{PAGE}")
    await expect(page.get_by_text("Asked by Ana")).to_be_visible()
    card = await page.evaluate("fetch('api/approvals').then(r => r.json()).then(r => r.approvals[0])")
    body = json.dumps({"decision": "approve", "name": "Shop", "decisionToken": card["decisionToken"]})
    with another_website() as site:
        options = json.dumps({"method": "POST", "credentials": "include", "mode": "no-cors", "body": body})
        site.body = f"""<iframe src="{team.url}{PAGE}"></iframe><script>fetch(
            "{team.url}{PAGE}api/approvals/{code}", {options}).catch(() => 0).then(() => document.title = "sent")
            </script>"""
        await page.goto(site.url)
        await page.wait_for_function("document.title === 'sent'")
        framed = [frame for frame in page.frames if frame.parent_frame]
        assert framed
        for frame in framed:
            assert "Asked by" not in await frame.content()
    assert (await team.ticket(code)).state == "waiting"
    await context.close()


# Signing in.


async def test_who_signs_in_is_who_they_are_as_a_caller_and_the_log_names_both(
    team: Team, bob: Visitor, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    answer = await bob.sign_in()
    assert answer.status_code == 200, answer.text
    assert f'content="0;url={PAGE}"' in answer.text
    code, call = await team.asked()
    (card,) = await bob.waiting()
    assert (card["code"], card["requestedBy"], card["name"]) == (code, "Ana", "Shop")
    assert (await bob.decide(card)).json()["state"] == "approved"
    assert went_ahead(await team.ana.call(DELETE.tool, **call))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "ended"]
    for line in lines:
        assert (line["caller"], line["subject"]) == ("Bob", f"jwt:{team.provider.url}:bob")
        assert (line["requested_by"], line["decides"]) == (f"jwt:{team.provider.url}:ana", code)
        assert (line["decision"], line["token"]) == ("approve", call["client_token"])
    assert lines[-1]["outcome"] == "approved"


async def test_the_request_to_the_issuer_proves_itself_and_hides_its_verifier(team: Team, bob: Visitor) -> None:
    query = {name: value for name, (value,) in parse_qs(urlsplit(await bob.to_issuer()).query).items()}
    assert query["redirect_uri"] == f"{team.url}{PAGE}callback"
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
    again = {name: value for name, (value,) in parse_qs(urlsplit(await bob.to_issuer()).query).items()}
    assert not {query["state"], query["nonce"]} & {again["state"], again["nonce"]}
    assert (await bob.sign_in()).status_code == 200
    (form,) = team.provider.received
    assert form["grant_type"] == "authorization_code"
    assert "client_secret" not in form, "the issuer takes it as basic authentication"
    assert form["code_verifier"] not in query.values()


@pytest.mark.parametrize("method", ["client_secret_post", "none"])
async def test_other_ways_to_prove_oneself_to_the_issuer(
    api: Api, provider: Provider, environ: dict[str, str], method: str
) -> None:
    provider.methods = [method]
    if method == "none":
        del environ["RUNTYPE_MCP_OIDC_CLIENT_SECRET_FILE"]
    with replica(api, **environ) as url:
        visitor = Visitor(url)
        async with visitor.http:
            assert (await visitor.sign_in()).status_code == 200
            assert await visitor.is_signed_in()


@pytest.mark.parametrize("granted", ["openid profile", "openid CLIENT_TOKENS:APPROVE client_tokens:approve2", "", None])
async def test_without_the_scope_the_page_says_so_and_opens_nothing(
    team: Team, bob: Visitor, granted: str | None
) -> None:
    team.provider.granted = granted
    answer = await bob.sign_in()
    assert answer.status_code == 403
    assert "Bob is signed in without the scope client_tokens:approve" in answer.text
    assert not await bob.is_signed_in()


@pytest.mark.parametrize("claim", ["scope", "scp", "permissions"])
async def test_the_scope_may_stand_in_the_id_token(team: Team, bob: Visitor, claim: str) -> None:
    team.provider.granted = None
    team.provider.claims = {claim: ALL if claim == "scope" else ALL.split()}
    assert (await bob.sign_in()).status_code == 200
    assert await bob.is_signed_in()


@pytest.mark.parametrize(
    ("changed", "counts"),
    [({}, True), ({"sub": "ana"}, False), ({"aud": CLIENT}, False), ({"iss": "https://evil.example"}, False)],
    ids=str,
)
async def test_the_scope_may_stand_in_an_access_token_of_the_same_person_for_this_server(
    team: Team, bob: Visitor, changed: dict[str, str], counts: bool
) -> None:
    team.provider.granted = None
    team.provider.access = {"aud": f"{team.url}/mcp", "scope": ALL} | changed
    assert (await bob.sign_in()).status_code == (200 if counts else 403)
    assert await bob.is_signed_in() is counts


async def test_on_a_public_address_cookies_are_of_this_host_and_of_tls_alone(api: Api, environ: dict[str, str]) -> None:
    with replica(api, "https://mcp.example.com", **environ) as url:
        visitor = Visitor("https://mcp.example.com")
        async with visitor.http:
            begun = await visitor.get(PAGE, at=url)
            redirect_uri = parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"]
            assert redirect_uri == ["https://mcp.example.com/approvals/callback"]
            back = (await visitor.http.get(begun.headers["location"])).headers["location"]
            kept = begun.headers["set-cookie"]
            assert kept.startswith("__Host-runtype-mcp-sign-in=")
            assert re.search("; HttpOnly; Max-Age=600; Path=/; SameSite=lax; Secure$", kept)
            cookie = kept.partition(";")[0]
            done = await visitor.get(back.removeprefix("https://mcp.example.com"), at=url, cookie=cookie)
            own, _ = done.headers.get_list("set-cookie")
            assert own.startswith("__Host-runtype-mcp-approvals=")
            assert re.search("; HttpOnly; Max-Age=1800; Path=/; SameSite=strict; Secure$", own)


async def refused(visitor: Visitor, answer: httpx.Response, words: str) -> None:
    assert answer.status_code == 403, answer.text
    assert words in answer.text
    assert "Nothing was decided" in answer.text
    assert not await visitor.is_signed_in()


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": "another"}, "another attempt"),
        ({"nonce": None}, "another attempt"),
        ({"iss": "https://evil.example"}, "not signed by it"),
        ({"aud": "another-client"}, "not signed by it"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "not signed by it"),
        ({"exp": 1_000_000}, "not signed by it"),
        ({"sub": ""}, "not signed by it"),
    ],
    ids=str,
)
async def test_an_id_token_that_is_not_for_this_attempt_signs_nobody_in(
    team: Team, bob: Visitor, claims: dict[str, Any], words: str
) -> None:
    team.provider.claims = claims
    await refused(bob, await bob.sign_in(), words)


async def test_an_id_token_of_another_key_signs_nobody_in(team: Team, bob: Visitor) -> None:
    team.provider.signs = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    await refused(bob, await bob.sign_in(), "not signed by it")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"state": "forged"}, "did not begin"),
        ({"state": ""}, "did not begin"),
        ({"iss": "https://evil.example"}, "Another issuer"),
        ({"code": "forged"}, "did not accept the code"),
    ],
    ids=str,
)
async def test_a_forged_answer_of_the_issuer_signs_nobody_in(
    team: Team, bob: Visitor, answers: dict[str, str], words: str
) -> None:
    team.provider.answers = answers
    await refused(bob, await bob.sign_in(), words)


async def test_an_answer_says_each_thing_once_and_names_its_issuer(team: Team, bob: Visitor) -> None:
    path = await bob.answered()
    await refused(bob, await bob.get(f"{path}&state=other"), "something twice")
    await refused(bob, await bob.get(re.sub("&iss=[^&]*", "", path)), "Another issuer")
    refusal = re.sub("code=[^&]*", "error=access_denied%3Cscript%3E", path)
    answer = await bob.get(refusal)
    await refused(bob, answer, "The issuer refused (access_denied&lt;script&gt;)")


async def test_an_answer_is_for_the_browser_that_began_and_works_once(team: Team, bob: Visitor) -> None:
    path = await bob.answered()
    eve = Visitor(team.url)
    async with eve.http:
        await refused(eve, await eve.get(path), "did not begin")
        cookies = dict(bob.http.cookies)
        assert (await bob.get(path)).status_code == 200
        await refused(eve, await eve.get(path), "did not begin")
        eve.http.cookies.update({"runtype-mcp-sign-in": cookies["runtype-mcp-sign-in"]})
        await refused(eve, await eve.get(path), "did not accept the code")
    assert "runtype-mcp-sign-in" not in bob.http.cookies


# Using the page.


async def test_without_a_session_nothing_is_shown_or_decided(team: Team, bob: Visitor) -> None:
    code, _ = await team.asked()
    card = {"code": code, "decisionToken": "0" * 64}
    for cookie in ("", "x" * 43):
        bob.http.cookies.set("runtype-mcp-approvals", cookie)
        assert (await bob.get(f"{PAGE}api/approvals", **SAME)).status_code == 401
        assert (await bob.decide(card)).status_code == 401
        assert (await bob.get(PAGE)).status_code == 303
    assert (await team.ticket(code)).state == "waiting"


async def test_nobody_decides_their_own_call_here(team: Team, bob: Visitor) -> None:
    code, _ = await team.asked()
    await bob.sign_in()
    (card,) = await bob.waiting()
    team.provider.person = {"sub": "ana", "name": "Somebody else"}
    ana = Visitor(team.url)
    async with ana.http:
        await ana.sign_in()
        assert not await ana.waiting()
        for decision in ("approve", "deny"):
            answer = await ana.decide(card, decision)
            assert answer.status_code == 410
            assert "your own" in answer.json()["message"]
    assert (await team.ticket(code)).state == "waiting"


async def test_a_call_is_decided_once_by_what_was_shown_and_by_its_name(team: Team, bob: Visitor) -> None:
    await team.asked()
    await bob.sign_in()
    (card,) = await bob.waiting()
    assert (await bob.decide(card, name="Support")).json()["state"] == "wrong_name"
    assert (await bob.decide(card | {"decisionToken": "0" * 64})).status_code == 403
    eve = Visitor(team.url)
    async with eve.http:
        await eve.sign_in()
        (other,) = await eve.waiting()
        assert other["decisionToken"] != card["decisionToken"], "a token is for one session"
        assert (await eve.decide(card)).status_code == 403
        assert (await bob.decide(card)).json()["state"] == "approved"
        for decision in ("approve", "deny"):
            assert (await eve.decide(other, decision)).status_code == 410
    assert (await team.ticket(card["code"])).state == "approved"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": None},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-dest": "iframe"},
        {"content-type": "text/plain"},
        {"host": "evil.example"},
        {"host": "localhost"},
    ],
    ids=str,
)
async def test_a_decision_from_elsewhere_is_none(team: Team, bob: Visitor, headers: dict[str, str | None]) -> None:
    code, _ = await team.asked()
    await bob.sign_in()
    (card,) = await bob.waiting()
    own = {"host": urlsplit(team.url).netloc, "origin": team.url, "content-type": "application/json", **SAME} | headers
    body = json.dumps({"decision": "approve", "name": "Shop", "decisionToken": card["decisionToken"]})
    given = {name: value for name, value in own.items() if value is not None}
    answer = await bob.http.post(f"{team.url}{PAGE}api/approvals/{code}", headers=given, content=body)
    assert answer.status_code in (403, 415, 421)
    assert (await team.ticket(code)).state == "waiting"


async def test_every_answer_is_protected(team: Team, bob: Visitor) -> None:
    answers = [await bob.get(PAGE), await bob.sign_in(), await bob.get(PAGE), await bob.get(f"{PAGE}nothing")]
    answers.append(await bob.get(f"{PAGE}page.js", **{"sec-fetch-site": "cross-site"}))
    for answer in answers:
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert answers[-1].status_code == 403
    for dest in ("iframe", "frame", "embed", "object"):
        assert (await bob.get(PAGE, **{"sec-fetch-dest": dest})).status_code == 403


async def test_signing_out_ends_the_session_everywhere(team: Team, bob: Visitor) -> None:
    await bob.sign_in()
    cookies = dict(bob.http.cookies)
    own = {"origin": team.url, **SAME}
    assert (await bob.http.post(f"{team.url}{PAGE}api/sign-out", headers=own | {"origin": "null"})).status_code == 403
    assert await bob.is_signed_in()
    assert (await bob.http.post(f"{team.url}{PAGE}api/sign-out", headers=own)).status_code == 200
    assert "runtype-mcp-approvals" not in bob.http.cookies
    bob.http.cookies.update(cookies)
    assert not await bob.is_signed_in()


async def test_a_session_ends_after_half_an_hour(team: Team, bob: Visitor) -> None:
    await bob.sign_in()
    later = SqliteState(Path(os.environ["RUNTYPE_MCP_STATE_DIR"]), now=lambda: time.time() + 1801)
    await later.advance_write_epoch()  # whatever is changed drops what has expired by its clock
    await later.aclose()
    assert not await bob.is_signed_in()


async def test_the_cookie_is_not_kept_and_not_a_key_to_anything_else(team: Team, bob: Visitor) -> None:
    await bob.sign_in()
    cookie = bob.http.cookies["runtype-mcp-approvals"]
    assert cookie.encode() not in _kept()
    assert (await bob.http.post(f"{team.url}/mcp", json={})).status_code == 401


async def test_each_step_may_reach_another_replica(api: Api, team: Team, environ: dict[str, str], bob: Visitor) -> None:
    code, call = await team.asked()
    with replica(api, team.url, **environ) as other:
        assert (await bob.sign_in(at=other)).status_code == 200
        (card,) = await bob.waiting()
        assert (await bob.decide(card, at=other)).json()["state"] == "approved"
        assert not await bob.waiting()
    assert (await team.ticket(code)).state == "approved"
    assert went_ahead(await team.ana.call(DELETE.tool, **call))


async def test_a_caller_with_a_token_of_the_same_issuer_asks_and_is_told_of_the_page(team: Team, bob: Visitor) -> None:
    token = team.provider.token(
        {"sub": "carl", "name": "Carl", "aud": f"{team.url}/mcp", "scope": "client_tokens:read client_tokens:delete"}
    )
    call = confirmed(DELETE, prepare(team.api, DELETE))
    async with (
        httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(f"{team.url}/mcp", http_client=http)) as carl,
    ):
        result = await carl.call_tool(DELETE.tool, call)
        assert f"{team.url}/approvals/" in text_of(result)
        team.provider.person = {"sub": "carl"}
        await bob.sign_in()
        assert not await bob.waiting(), "it is the same person"
        team.provider.person = {"sub": "bob", "name": "Bob"}
        bob.http.cookies.clear()
        await bob.sign_in()
        (card,) = await bob.waiting()
        assert card["requestedBy"] == "Carl"
        assert (await bob.decide(card)).json()["state"] == "approved"
        assert went_ahead(await carl.call_tool(DELETE.tool, call))


# Starting.


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"RUNTYPE_MCP_APPROVAL": "human"}, "RUNTYPE_MCP_OIDC_CLIENT_ID goes with"),
        ({"RUNTYPE_MCP_AUTH": "none"}, "RUNTYPE_MCP_APPROVAL cannot be second-person here"),
        ({"RUNTYPE_MCP_OIDC_CLIENT_ID": ""}, "goes with RUNTYPE_MCP_OIDC_CLIENT_ID"),
        ({"RUNTYPE_MCP_OIDC_CLIENT_SECRET_FILE": "/nowhere"}, "RUNTYPE_MCP_OIDC_CLIENT_SECRET_FILE cannot be read"),
    ],
    ids=str,
)
def test_what_cannot_be_right_together_stops_the_start(
    api: Api, environ: dict[str, str], changed: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        create_app(settings_for(api, RUNTYPE_MCP_PUBLIC_URL="https://mcp.example.com", **environ | changed))


async def test_without_the_client_there_is_no_page(api: Api, environ: dict[str, str]) -> None:
    environ = {name: value for name, value in environ.items() if "OIDC" not in name}
    with replica(api, **environ) as url:
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{url}{PAGE}")).status_code == 404


def _kept() -> bytes:
    """All that is in the files of the state."""
    return b"".join(file.read_bytes() for file in Path(os.environ["RUNTYPE_MCP_STATE_DIR"]).rglob("state.db*"))
