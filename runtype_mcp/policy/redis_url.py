"""Which addresses of a Redis server are accepted, and how one is shown: without its password."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_OPTIONS = {"unix": {"db"}, "redis": set[str](), "rediss": {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}}
"""What may follow the question mark. Nothing of it can turn the check of certificates off."""


def checked_redis_url(raw: str) -> str:
    """The address as it is used.

    Raises:
        ValueError: it cannot be one. The message is a clause that begins with a verb, without the address.
    """
    problem = "must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH"
    try:
        parts = urlsplit(raw)
        options, port = parse_qs(parts.query, strict_parsing=True) if parts.query else {}, parts.port
    except ValueError:
        raise ValueError(f"{problem}.") from None
    if parts.scheme not in _OPTIONS or parts.fragment or re.search(r"[^\x21-\x7e]", raw):
        raise ValueError(f"{problem}.")
    if parts.scheme == "unix":
        usable = not parts.hostname and len(parts.path) > 1 and all(map(str.isdecimal, options.get("db", [])))
    else:
        usable = bool(parts.hostname) and port != 0 and bool(re.fullmatch(r"(/[0-9]*)?", parts.path))
    if not usable:
        raise ValueError(f"{problem}.")
    if unknown := options.keys() - _OPTIONS[parts.scheme]:
        allowed = ", ".join(sorted(_OPTIONS[parts.scheme])) or "nothing"
        raise ValueError(f"has an option that is not taken ({len(unknown)}); after ? it takes {allowed}.")
    return raw


def shown_redis_url(url: str) -> str:
    """The address for people: who connects where, without the password and the options."""
    parts = urlsplit(url)
    account = f"{parts.username or ''}:***@" if parts.password else f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{account}{_place(parts)}{parts.path}"


def _place(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def redis_password(url: str) -> str:
    """The password in an address, as the server gets it; empty if there is none."""
    return unquote(urlsplit(url).password or "")
