"""Allowed origins: one canonical spelling for each entry, and what one entry admits compared with another.

An entry is an exact origin (`https://app.example.com`), a wildcard subdomain (`https://*.example.com`),
`*` for every origin, or `native` for requests that carry no Origin header. The API compares an entry with a
browser's header as text, so an entry that no browser ever sends admits nobody: it is refused, not stored.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable

from runtype_mcp.policy import redaction

_DEFAULT_PORTS = {"http": "80", "https": "443"}

# Pages of these schemes have the origin `null`.
_OPAQUE = frozenset({"about", "blob", "data", "file", "filesystem", "javascript"})
_NULL = "names no site: its pages send 'null', which sandboxed frames on any site send too"

# What nearly every stored entry is, and canonical as it stands. Without an underscore it is no secret either.
_USUAL = re.compile(r"https://(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class OriginError(ValueError):
    """An entry that cannot be an allowed origin. `suggestion` is the canonical entry that was probably meant."""

    def __init__(self, entry: str, problem: str, suggestion: str | None = None) -> None:
        advice = f"; use '{suggestion}'" if suggestion else ""
        # Whole: a problem may quote a part of the entry after it was lower-cased.
        super().__init__(redaction.redact_text(f"'{_shown(entry)}' {problem}{advice}."))
        self.suggestion = suggestion


def _shown(entry: str) -> str:
    """`entry` fit for a message: no user name, path or query, any of which may hold a password or a login link."""
    parts = re.fullmatch(r"((?:[A-Za-z*][A-Za-z0-9+.-]*)?:?//)?(.*)", redaction.bare(entry).strip(), re.DOTALL)
    assert parts  # both parts are optional
    authority = re.split(r"[/?#\\]", parts[2], maxsplit=1)[0]
    if "@" in parts[2]:
        authority = f"{redaction.MARK}@{authority.rpartition('@')[2] if '@' in authority else '…'}"
    elif authority != parts[2].removesuffix("/"):
        authority += "/…"
    shown = "".join(c if c.isprintable() else "�" for c in (parts[1] or "") + authority)
    shown = redaction.redact_text(shown)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"


def normalise(entry: str) -> str:
    """The canonical spelling of an allowed origin, as a browser would send it.

    Surrounding space, one trailing slash, upper case, a default port and non-ASCII host names are put right
    silently. Raises OriginError for everything else that no browser sends.
    """
    if _USUAL.fullmatch(entry) and len(entry) < 250:
        return entry
    return _normalised(entry)


def _normalised(entry: str) -> str:
    if redaction.contains_secret(entry):
        raise OriginError(entry, "looks like a token value or an API key, which an allowed origin never holds")
    text = entry.strip()
    if not text:
        raise OriginError(entry, "is empty")
    if text == "*":
        return text
    if text.lower() == "native":
        return "native"
    if text.lower() == "null" or text.lower().partition(":")[0] in _OPAQUE:
        raise OriginError(entry, _NULL)
    if re.search(r"[\s,;]", text):
        raise OriginError(entry, "has a space, comma or semicolon inside: give each origin as an entry of its own")
    seen = "".join(c for c in redaction.bare(text) if c.isprintable())
    if seen != text:
        raise OriginError(entry, "holds control or invisible characters", _suggestion(seen))

    parts = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)(.*)", text)
    if not parts:
        raise _without_scheme(entry, text)
    scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
    if rest not in ("", "/"):
        problem = "has a path, query or fragment, which is no part of an origin"
        raise OriginError(entry, problem, _suggestion(f"{scheme}://{authority}"))
    if "@" in authority:
        host = authority.rpartition("@")[2]
        raise OriginError(entry, "holds a user name or password", _suggestion(f"{scheme}://{host}"))

    host, port = _host_and_port(entry, scheme, authority)
    if host.startswith("["):
        host = _ipv6(entry, host)
    elif "*" in host:
        host = f"*.{_wildcard_base(entry, scheme, host, port)}"
    elif scheme in _DEFAULT_PORTS:
        host = _web_host(entry, scheme, host, port)
    else:
        host = host.lower()
        if not re.fullmatch(r"[a-z0-9._~-]{1,253}", host):
            raise OriginError(entry, "has no valid host after '://'")
    canonical = f"{scheme}://{host}{port}"
    # Lower-casing or a change of width can turn harmless letters into a secret's pattern.
    if redaction.contains_secret(canonical):
        raise OriginError(canonical, "looks like a token value or an API key, which an allowed origin never holds")
    return canonical


def _suggestion(candidate: str) -> str | None:
    try:
        return normalise(candidate)
    except OriginError as error:
        return error.suggestion


def _without_scheme(entry: str, text: str) -> OriginError:
    # `//host`, `https:/host`, `https//host` and `*://host` are a host with a broken scheme before it.
    start = re.match(r"(?:(\*|https?)(?::|(?=/))|:(?=/))?/*", text, re.IGNORECASE | re.ASCII)
    assert start  # every part of the pattern is optional
    scheme, host = (start[1] or "").lower(), text[start.end() :]
    local = _suggestion(f"http://{host}")
    if scheme == "http" or (scheme != "https" and local and is_localhost(local)):
        return OriginError(entry, "has no scheme", local)
    # One bare word is more likely a misunderstanding than a host.
    meant = _suggestion(f"https://{host}") if scheme == "https" or "." in host or ":" in host else None
    return OriginError(entry, "has no scheme: an origin starts with 'https://'", meant)


def _host_and_port(entry: str, scheme: str, authority: str) -> tuple[str, str]:
    """The host as written, and the port as `:3000` or an empty string where browsers leave it out."""
    parts = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([^:]*))?", authority)
    if not parts:
        meant = _suggestion(f"{scheme}://[{authority}]") if "[" not in authority else None
        raise OriginError(entry, "has more than one colon: an IPv6 address goes in square brackets", meant)
    host, port = parts[1], parts[2]
    if not host:
        raise OriginError(entry, "has no host after '://'")
    if port is None:
        return host, ""
    if not port:
        raise OriginError(entry, "has a colon but no port", _suggestion(f"{scheme}://{host}"))
    digits = port.lstrip("0")
    if not re.fullmatch(r"[0-9]{1,5}", digits) or int(digits) > 65535:
        raise OriginError(entry, "has a bad port: a port is one number from 1 to 65535")
    return host, "" if digits == _DEFAULT_PORTS.get(scheme) else f":{digits}"


def _ipv6(entry: str, host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise OriginError(entry, "has an IPv6 address that is not valid") from None
    if address.scope_id:
        raise OriginError(entry, "has an IPv6 address with a zone, which browsers do not accept")
    if address.ipv4_mapped:
        # Python versions differ here; browsers write the last 32 bits as two hexadecimal groups.
        high, low = divmod(int(address.ipv4_mapped), 1 << 16)
        return f"[::ffff:{high:x}:{low:x}]"
    return f"[{address}]"


def _wildcard_base(entry: str, scheme: str, host: str, port: str) -> str:
    """What follows `*.`, canonical."""
    if scheme not in _DEFAULT_PORTS:
        raise OriginError(entry, "has a wildcard, which only http and https origins may have")
    if host == "*":
        every = f"would admit every {scheme} site; the entry '*' says so openly, if that is really meant"
        raise OriginError(entry, every)
    base = host[2:]
    if not host.startswith("*.") or "*" in base:
        # Only a narrower reading is offered: '*shop.example' would also match 'evilshop.example'.
        meant = _suggestion(f"{scheme}://*.{host[1:]}{port}") if re.fullmatch(r"\*[^*.-][^*]*", host) else None
        raise OriginError(
            entry, "has a wildcard that is not the whole first label, as in 'https://*.example.com'", meant
        )
    base = _web_host(entry, scheme, base, port, before="*.")
    if base.rpartition(".")[2].isdigit():
        raise OriginError(entry, "has a wildcard before an IP address, which has no subdomains")
    if "." not in base and base != "localhost":
        raise OriginError(entry, f"would admit every host that ends in '.{base}'")
    return base


def _web_host(entry: str, scheme: str, host: str, port: str, before: str = "") -> str:
    """A host as browsers write it in a header: lower case, ASCII, four plain numbers for an IPv4 address."""
    # Not `encodings.idna`: it follows IDNA 2003, which reads 'faß.de' as 'fass.de'. Browsers do not; that
    # would admit another owner's site.
    host = unicodedata.normalize("NFKC", host.lower()).lower().replace("。", ".") if len(host) <= 253 else host
    if len(host) > 253:
        raise OriginError(entry, "has a host name of more than 253 characters")
    if host.endswith("."):
        raise OriginError(entry, "ends in a dot", _suggestion(f"{scheme}://{before}{host.rstrip('.')}{port}"))
    labels = []
    for label in host.split("."):
        ascii_label = label
        if not label.isascii() and all(unicodedata.category(c)[0] in "LMN" or c == "-" for c in label):
            ascii_label = "xn--" + label.encode("punycode").decode("ascii")
        if not _LABEL.fullmatch(ascii_label):
            raise OriginError(entry, "has a host name that is not valid")
        labels.append(ascii_label)
    host = ".".join(labels)
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise OriginError(entry, "has an IPv4 address that is not four plain numbers") from None
    return host


def _canonical(entry: str) -> str | None:
    """Like `normalise`, with None for an entry that is no origin: the API may hold what we would refuse."""
    try:
        return normalise(entry)
    except OriginError:
        return None


def _scheme_and_host(entry: str) -> tuple[str, str]:
    """Scheme and host (brackets kept, port gone) of an entry or of its nearest origin; empty where there is none."""
    scheme, _, rest = (_suggestion(entry) or "").rpartition("://")
    return scheme, re.sub(r":[0-9]+$", "", rest)


def is_open(entry: str) -> bool:
    """True for `*` and `native`: anyone who has the value can use it."""
    return _canonical(entry) in ("*", "native")


def is_wildcard(entry: str) -> bool:
    """True for an entry that admits more than one host but not all: `https://*.example.com`."""
    return "*" in entry and entry.strip() != "*"


def is_localhost(entry: str) -> bool:
    """True for a web page on the visitor's own machine. `capacitor://localhost` is an app, so it is not one."""
    scheme, host = _scheme_and_host(entry)
    if scheme not in _DEFAULT_PORTS:
        return False
    return host in ("localhost", "[::1]") or host.endswith(".localhost") or re.match(r"127\.[0-9.]+$", host) is not None


def is_plain_http(entry: str) -> bool:
    """True for `http://` other than localhost: whoever is on the network path can pose as that site."""
    return _scheme_and_host(entry)[0] == "http" and not is_localhost(entry)


def _covers(wide: str, narrow: str) -> bool:
    """`covers` for canonical entries."""
    if wide == narrow or wide == "*":
        return wide == narrow or narrow != "native"
    wide_scheme, _, wide_rest = wide.partition("://")
    narrow_scheme, _, narrow_rest = narrow.partition("://")
    # The rest ends in the port, so one comparison holds both to the same port.
    return wide_rest.startswith("*.") and wide_scheme == narrow_scheme and narrow_rest.endswith(wide_rest[1:])


def _not_covered(entries: Iterable[str], by: Iterable[str]) -> list[str]:
    """The entries that no single one of `by` covers, each once, in order.

    An entry that is no origin is covered only by its own text, or by `*`. One of `by` that is not canonical covers
    nothing else, because the API compares text, and no browser sends it.
    """
    wide = list(by)
    left = []
    for entry in dict.fromkeys(entries):
        narrow = _canonical(entry)
        covered = any(_covers(w, narrow) for w in wide) if narrow else entry in wide or "*" in wide
        if not covered:
            left.append(entry)
    return left


def covers(wide: str, narrow: str) -> bool:
    """True if `wide` admits everything that `narrow` admits.

    A wildcard admits subdomains at any depth, not the apex, and one scheme and port. `*` does not admit `native`.
    """
    return not _not_covered([narrow], [wide])


def added(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The entries of `after` that admit something which no entry of `before` admitted."""
    return _not_covered(after, before)


def removed(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The entries of `before` that admitted something which no entry of `after` admits."""
    return _not_covered(before, after)


def admits(entries: Iterable[str], origin: str) -> bool:
    """True if one of `entries` admits `origin`."""
    return not _not_covered([origin], entries)
