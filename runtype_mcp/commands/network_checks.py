"""What `runtype-mcp doctor` checks on the way to the API: route, proxy, name, TLS, answer, clock. No key is sent."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.api.probe import Probe
from runtype_mcp.commands.finding import Finding
from runtype_mcp.errors import ClientTokenError, NoConnectionPossible, TimedOut, UntrustedCertificate
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.settings import Settings

_FAR = ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses for documentation. A datagram socket that connects to one asks for a route and sends nothing."""
CLOCK_SECONDS = 120
_PUBLIC = ("let's encrypt", "google trust", "amazon", "digicert", "sectigo", "globalsign", "cloudflare", "zerossl")
"""Authorities that sign public sites. Another one is probably a company's."""


async def check_network(settings: Settings) -> list[Finding]:
    """The findings, up to the first that fails: what comes behind it cannot be known."""
    host = urlsplit(settings.base_url).hostname or ""
    is_here = _is_this_machine(host)
    if not is_here and is_offline():
        return [_offline("it has no route to anywhere")]
    proxy, findings = None, list[Finding]()
    if settings.base_url.startswith("https:"):
        proxy, found = _proxy(host)
        findings.append(found)
    if findings and findings[-1].status == "fail":
        return findings
    findings.append(await _resolves(proxy or host, settings, is_proxy=proxy is not None))
    if findings[-1].status == "fail":
        return findings
    return findings + await _answers(settings, proxy)


def is_offline() -> bool:
    """Whether the system has no route beyond itself. Sends nothing."""
    for family, address in _FAR:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                return False
        except OSError:
            continue
    return True


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _proxy(host: str) -> tuple[str | None, Finding]:
    """The proxy's host, if the environment or the system names one for this API."""
    given = getproxies()
    address = given.get("https") or given.get("all")
    if not address or proxy_bypass(host):
        return None, Finding("ok", "proxy", "No proxy is used.")
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    variable = next(
        (v for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(v)), "system"
    )
    if name is None:
        what = f"The proxy of {variable} is not an address."  # which may hold a password
        return None, Finding("fail", "proxy", what, "Correct it, such as http://proxy.example:8080, or unset it.")
    return name, Finding("ok", "proxy", f"{name}:{port or 'the default port'} is used ({variable}).")


async def _resolves(host: str, settings: Settings, *, is_proxy: bool) -> Finding:
    try:
        async with asyncio.timeout(settings.total_timeout):
            addresses = await _addresses(host)
    except TimeoutError:
        return _offline(f"its DNS server gave no answer within {settings.total_timeout:g} seconds")
    except socket.gaierror as exc:
        if exc.errno == socket.EAI_AGAIN:
            return _offline("no DNS server answers")
        return _unknown(host, settings, is_proxy=is_proxy)
    except (OSError, UnicodeError):
        return _unknown(host, settings, is_proxy=is_proxy)
    return Finding("ok", "DNS", f"{host} is {', '.join(addresses[:4])}.")


def _offline(why: str) -> Finding:
    todo = "Connect it, then run this again. `--sandbox` needs no network."
    return Finding("fail", "network", f"This machine seems to be offline: {why}.", todo)


def _unknown(host: str, settings: Settings, *, is_proxy: bool) -> Finding:
    usual = not is_proxy and settings.base_url == Settings.model_fields["base_url"].default
    spelling = "" if usual else f"the spelling in {'HTTPS_PROXY' if is_proxy else 'RUNTYPE_BASE_URL'}, "
    todo = f"Check {spelling}the DNS server of this machine, and whether a VPN must be on."
    return Finding("fail", "DNS", f"The name {host} is not known.", todo)


async def _addresses(host: str) -> list[str]:
    """The addresses of a name, in a thread that nothing waits for once it is too late: a resolver may take minutes."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            tell = partial(answer.set_exception, exc)
        else:
            tell = partial(answer.set_result, sorted({str(entry[4][0]) for entry in found}))
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: answer.done() or tell())

    threading.Thread(target=ask, daemon=True).start()
    return await answer


async def _answers(settings: Settings, proxy: str | None) -> list[Finding]:
    api = RuntypeClient(
        None, settings.base_url, connect_timeout=settings.connect_timeout, total_timeout=settings.total_timeout
    )
    try:
        probe = await api.probe()
    except UntrustedCertificate as exc:
        return [await _untrusted(api, exc)]
    except NoConnectionPossible as exc:
        todo = "Check the file that SSL_CERT_FILE names, and the addresses in HTTPS_PROXY and ALL_PROXY."
        return [Finding("fail", "TLS", exc.what, todo)]
    except TimedOut as exc:
        todo = "A firewall may drop the connection: try from another network, or set HTTPS_PROXY."
        return [Finding("fail", "API", f"{settings.base_url} does not answer. {exc.what}", todo)]
    except ClientTokenError as exc:
        through = f" through the proxy {proxy}" if proxy else ""
        todo = (
            "Check HTTPS_PROXY and NO_PROXY." if proxy else "Check RUNTYPE_BASE_URL, and whether a firewall is between."
        )
        reason = sanitize_line(str(exc.__cause__ or ""), 200)
        what = f"{settings.base_url} cannot be reached{through}. {exc.what}"
        what += f" It says: {reason}." if reason and reason not in exc.what else ""
        return [Finding("fail", "proxy" if proxy else "API", what, todo)]
    finally:
        await api.aclose()
    return [*_trusted(probe), _is_the_api(settings, probe), *_clock(probe)]


async def _untrusted(api: RuntypeClient, exc: ClientTokenError) -> Finding:
    issuer = sanitize_line(await api.untrusted_issuer(), 120)
    reason = sanitize_line(str(exc.__cause__), 200).partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
    signed = f"It is signed by {issuer}. " if issuer else ""
    todo = (
        "If that is your company's authority, set SSL_CERT_FILE to its PEM file where servers start. If you do not "
        "know it, somebody may be reading along: use another network."
    )
    return Finding(
        "fail", "TLS", f"The certificate is not trusted ({reason or 'no reason given'}). {signed}".strip(), todo
    )


def _trusted(probe: Probe) -> list[Finding]:
    if not probe.issuer:
        return [Finding("skip", "TLS", "TLS is not used: the address is http:// on this machine.")]
    issuer = sanitize_line(probe.issuer, 120)
    if any(name in issuer.lower() for name in _PUBLIC):
        return [Finding("ok", "TLS", f"The certificate is trusted, and signed by {issuer}.")]
    what = f"The certificate is trusted, and signed by {issuer}, which signs few public sites."
    return [Finding("warn", "TLS", what, "If that is your company's proxy, it reads along, your API key included.")]


def _is_the_api(settings: Settings, probe: Probe) -> Finding:
    """Without a key the API answers 401; a gateway before it may say 403 or 429."""
    if probe.status in (401, 403, 429):
        return Finding("ok", "API", f"{settings.base_url} answers.")
    what = f"{settings.base_url} answers {probe.status} to a request without a key, which the API does not."
    if probe.status >= 500:
        return Finding("fail", "API", what, "It may be down: try again in some minutes.")
    return Finding("fail", "API", what, "Check RUNTYPE_BASE_URL, and whether this network first wants you to log in.")


def _clock(probe: Probe, now: datetime | None = None) -> list[Finding]:
    if probe.date is None:
        return [Finding("skip", "clock", "Not checked: the API does not say what time it is.")]
    ahead = ((now or datetime.now(UTC)) - probe.date).total_seconds()
    if abs(ahead) <= CLOCK_SECONDS:
        return [Finding("ok", "clock", "This machine's clock agrees with the API's.")]
    what = f"This machine's clock is {abs(ahead) / 60:.0f} minutes {'ahead of' if ahead > 0 else 'behind'} the API's."
    return [Finding("warn", "clock", what, "Set it: certificates and approvals expire by it.")]
