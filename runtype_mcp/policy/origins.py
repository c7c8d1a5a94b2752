"""Allowed origins: one canonical spelling for each entry, and what one entry admits compared with another.

An entry is an exact origin (`https://app.example.com`), a wildcard subdomain (`https://*.example.com`),
`*` for every origin, or `native` for requests that carry no Origin header. The API compares an entry with a
browser's header as text, so an entry that no browser ever sends admits nobody: it is refused, not stored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib import resources
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic_core import Url

from runtype_mcp.policy import redaction
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.policy.visible import is_visible, visible

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_DEFAULT_PORTS = {"http": "80", "https": "443"}

# Pages of these schemes have the origin `null`.
_OPAQUE = frozenset({"about", "blob", "data", "file", "filesystem", "javascript"})

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_IPV4, _NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+){3}"), re.compile(r"[0-9]+|0x[0-9a-f]*")


class OriginError(ValueError):
    """An entry that cannot be an allowed origin. `suggestion` is the canonical entry that was probably meant."""

    def __init__(self, entry: str, problem: str, suggestion: str | None = None) -> None:
        advice = f"; use '{suggestion}'" if suggestion else ""
        # Whole: a problem may quote a part of the entry after it was lower-cased.
        super().__init__(redaction.redact_text(f"'{_shown(entry)}' {problem}{advice}."))
        self.suggestion = suggestion


class _Problem(Exception):
    """The first thing that is wrong with an entry."""


def normalise(entry: str) -> str:
    """The canonical spelling of an allowed origin, as a browser would send it.

    Surrounding space, one trailing slash, upper case, a default port and non-ASCII host names are put right
    silently. Raises OriginError for everything else that no browser sends.
    """
    try:
        return _checked(entry)
    except _Problem as problem:
        raise OriginError(entry, str(problem), _suggestion(entry)) from None


def _checked(entry: str) -> str:
    canonical = "" if redaction.contains_secret(entry) else _parsed(entry.strip())
    # Lower-casing or a change of width can turn harmless letters into a secret's pattern.
    if not canonical or redaction.contains_secret(canonical):
        raise _Problem("looks like a token value or an API key, which an allowed origin never holds")
    return canonical


def _suggestion(entry: str) -> str | None:
    """The origin that is left with a scheme, and without user name, path, empty port and trailing dot."""
    parts = re.fullmatch(
        r"(?:([a-z][a-z0-9+.-]*)://)?(?:[^/?#\\]*@)?([^/?#\\@]+?)\.?(:[0-9]+)?:?(?:[/?#\\].*)?",
        entry.strip(),
        re.IGNORECASE | re.DOTALL,
    )
    if not parts or redaction.contains_secret(entry):
        return None
    scheme, host, port = parts[1], parts[2], parts[3] or ""
    if not scheme:
        if is_localhost(host):
            scheme = "http"
        elif "." in host:
            scheme = "https"
        else:  # one bare word is more likely a misunderstanding than a host
            return None
    try:
        return _checked(f"{scheme}://{host}{port}")
    except _Problem:
        return None


def _parsed(text: str) -> str:
    if not text:
        raise _Problem("is empty")
    if text.lower() in ("*", "native"):
        return text.lower()
    if text.lower() == "null" or text.lower().partition(":")[0] in _OPAQUE:
        raise _Problem("names no site: its pages send 'null', which sandboxed frames on any site send too")
    if re.search(r"[\s,;]", text):
        raise _Problem("has a space, comma or semicolon inside: give each origin as an entry of its own")
    if not all(map(is_visible, text)):
        raise _Problem("holds control or invisible characters")

    parts = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)(.*)", text)
    if not parts:
        raise _Problem("has no scheme: an origin starts with 'https://' or 'http://'")
    scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
    if rest not in ("", "/"):
        raise _Problem("has a path, query or fragment, which is not part of an origin")
    if "@" in authority:
        raise _Problem("holds a user name or password")
    host, port = _host_and_port(scheme, authority)
    if "*" in host:
        host = _wildcard(scheme, host)
    elif host.startswith("["):
        host = _as_browsers_read(host) or ""
        if not host:
            raise _Problem("has an IPv6 address that browsers do not accept")
    elif scheme in _DEFAULT_PORTS:
        host = _web_host(host)
    elif re.fullmatch(r"[a-z0-9._~-]{1,253}", host.lower()):
        host = host.lower()
    else:
        raise _Problem("has no valid host after '://'")
    return f"{scheme}://{host}{port}"


def _host_and_port(scheme: str, authority: str) -> tuple[str, str]:
    """The host as written, and the port as `:3000` or an empty string where browsers leave it out."""
    parts = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([^:]*))?", authority)
    if not parts:
        raise _Problem("has more than one colon: an IPv6 address goes in square brackets")
    host, port = parts[1], parts[2]
    if not host:
        raise _Problem("has no host after '://'")
    if port is None:
        return host, ""
    digits = port.lstrip("0")
    if not re.fullmatch(r"[0-9]{1,5}", digits) or int(digits) > 65535:
        raise _Problem("has a bad port: a port is one number from 1 to 65535")
    return host, "" if digits == _DEFAULT_PORTS.get(scheme) else f":{digits}"


def _as_browsers_read(host: str) -> str | None:
    """The host of a web page as the URL standard spells it; None where no browser accepts it."""
    try:
        return Url(f"https://{host}").host
    except ValueError:
        return None


def _wildcard(scheme: str, host: str) -> str:
    if scheme not in _DEFAULT_PORTS:
        raise _Problem("has a wildcard, which only http and https origins may have")
    if host == "*":
        raise _Problem(f"would admit every {scheme} site; the entry '*' says so openly, if that is really meant")
    if not host.startswith("*.") or "*" in host[2:]:
        raise _Problem("has a wildcard that is not the whole first label, as in 'https://*.example.com'")
    base = _web_host(host[2:])
    if base.rpartition(".")[2].isdigit():
        raise _Problem("has a wildcard before an IP address, which has no subdomains")
    if "." not in base and base != "localhost":
        raise _Problem(f"would admit every host that ends in '.{base}'")
    return f"*.{base}"


def _web_host(host: str) -> str:
    """A host as browsers write it in a header: lower case, ASCII, four plain numbers for an IPv4 address."""
    if host.endswith("."):
        raise _Problem("ends in a dot")
    name = _as_browsers_read(host) if len(host) <= 253 else None
    if len(name or host) > 253:
        raise _Problem("has a host name of more than 253 characters")
    # Browsers take a host for an IPv4 address where its last label is a number, and accept or refuse the whole.
    is_ipv4 = _IPV4.fullmatch(name) if name else _NUMBER.fullmatch(host.lower().rpartition(".")[2])
    if is_ipv4 and name != unicodedata.normalize("NFKC", host):
        raise _Problem("has an IPv4 address that is not four plain numbers")
    if name is None or not all(map(_LABEL.fullmatch, name.split("."))):
        raise _Problem("has a host name that is not valid")
    return name


def _shown(entry: str) -> str:
    """`entry` fit for a message: no user name, path or query, any of which may hold a password or a login link."""
    folded = unquote(unicodedata.normalize("NFKC", visible(entry))).lower()
    text = folded if redaction.contains_secret(folded) else visible(entry)
    parts = re.fullmatch(r"((?:[A-Za-z*][A-Za-z0-9+.-]*)?:?//)?(.*)", text.strip(), re.DOTALL)
    assert parts  # both parts are optional
    authority = re.split(r"[/?#\\]", parts[2], maxsplit=1)[0]
    if "@" in parts[2]:
        authority = f"{redaction.MARK}@{authority.rpartition('@')[2] if '@' in authority else '…'}"
    elif authority != parts[2].removesuffix("/"):
        authority += "/…"
    return sanitize_line((parts[1] or "") + authority, 80)


# What entries admit. The API may hold entries that `normalise` refuses; each is read as the widest it could mean.


def _scheme_and_host(entry: str) -> tuple[str, str]:
    """Scheme (empty where there is none) and host as a browser reads them; a `*` in either stays."""
    text = unicodedata.normalize("NFKC", visible(entry)).strip().lower()
    start = re.match(r"(?:([a-z*][a-z0-9+.*-]*):)?//+|(https?):/?|", text)
    assert start  # it may be empty
    authority = re.split(r"[/?#\\]", text[start.end() :], maxsplit=1)[0].rpartition("@")[2]
    bare_ipv6 = authority.count(":") > 1 and "[" not in authority
    host = f"[{authority}]" if bare_ipv6 else re.sub(r":[^:\]]*$", "", authority)
    return start[1] or start[2] or "", (_as_browsers_read(host) or host).rstrip(".")


def is_open(entry: str) -> bool:
    """True where anyone who has the value can use it: `*`, `native`, `null`, and a wildcard in place of a host."""
    host = _scheme_and_host(entry)[1]
    return visible(entry).strip().lower() in ("native", "null") or bool(re.fullmatch(r"[^a-z0-9]*\*[^a-z0-9]*", host))


def is_wildcard(entry: str) -> bool:
    """True for an entry that admits more than one host but not all: `https://*.example.com`."""
    return ("*" in entry or "*" in _scheme_and_host(entry)[1]) and not is_open(entry)


def is_public_wildcard(entry: str) -> bool:
    """True for a wildcard over hosts that anybody can get: `https://*.vercel.app`, `*.github.io`, `*.co.uk`."""
    host = _scheme_and_host(entry)[1]
    if "*" not in host or is_open(entry) or is_localhost(entry):
        return False
    # What a star leaves open ends at the next dot: 'evilshop.example' fits '*shop.example'.
    base = host.rpartition("*")[2].partition(".")[2]
    suffixes, rules = _public_suffixes()
    # Or what has one below it: `amazonaws.com` has `s3.amazonaws.com`.
    return not base or suffixes.is_public(base) or f".{base}\n" in rules


@cache
def _public_suffixes() -> tuple[PublicSuffixList, str]:
    from publicsuffixlist import PublicSuffixList  # 40 ms: only where there is a wildcard

    source = resources.files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text("utf-8")
    rules = re.sub(r"(?m)^//.*$", "", source)
    return PublicSuffixList(rules), rules


# Addresses that carry an IPv4 address in their last 32 bits: compatible, mapped, translated.
_CARRY_IPV4 = [IPv6Network(net) for net in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")]
_LOCAL_NAME = re.compile(r"(?:.*\.)?localhost[46]?(?:\.localdomain[46]?)?|(?:ip6-)?loopback|ip6-localhost")


def is_localhost(entry: str) -> bool:
    """True for a web page on the visitor's own machine. `capacitor://localhost` is an app, so it is not one."""
    host = _scheme_and_host(entry)[1]
    if is_custom_scheme(entry):
        return False
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return _LOCAL_NAME.fullmatch(host) is not None
    if isinstance(address, IPv6Address) and any(address in network for network in _CARRY_IPV4):
        carried = IPv4Address(int(address) & 0xFFFFFFFF)
        return address.is_loopback or carried.is_loopback or carried.is_unspecified
    return address.is_loopback or address.is_unspecified  # systems take 0.0.0.0 for "this machine" too


def is_plain_http(entry: str) -> bool:
    """True for `http://` other than localhost: whoever is on the network path can pose as that site."""
    return _scheme_and_host(entry)[0] in ("http", "*") and not is_localhost(entry) and not is_open(entry)


def is_custom_scheme(entry: str) -> bool:
    """True for an app's origin, such as `capacitor://localhost`: every app of that framework has the same."""
    return _scheme_and_host(entry)[0] not in ("", "*", *_DEFAULT_PORTS)


def _canonical(entry: str) -> str | None:
    """Like `normalise`, with None for an entry that is not an origin."""
    try:
        return normalise(entry)
    except OriginError:
        return None


def _covers(wide: str, narrow: str) -> bool:
    """Whether `wide` admits everything that `narrow` admits; both are canonical."""
    if wide == narrow or wide == "*":
        return wide == narrow or narrow != "native"
    wide_scheme, _, wide_rest = wide.partition("://")
    narrow_scheme, _, narrow_rest = narrow.partition("://")
    # The rest ends in the port, so one comparison holds both to the same port.
    return wide_rest.startswith("*.") and wide_scheme == narrow_scheme and narrow_rest.endswith(wide_rest[1:])


def added(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The entries of `after`, each once, that admit something which no single entry of `before` admitted.

    An entry that is not an origin is covered only by its own text, or by `*`. An entry of `before` that is not
    canonical covers nothing else, because the API compares text, and no browser sends it.
    """
    wide = list(before)
    new = []
    for entry in dict.fromkeys(after):
        narrow = _canonical(entry)
        covered = any(_covers(w, narrow) for w in wide) if narrow else entry in wide or "*" in wide
        if not covered:
            new.append(entry)
    return new


def removed(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The entries of `before` that admitted something which no entry of `after` admits."""
    return added(after, before)


def admits(entries: Iterable[str], origin: str) -> bool:
    """True if one of `entries` admits `origin`."""
    return not added(entries, [origin])
