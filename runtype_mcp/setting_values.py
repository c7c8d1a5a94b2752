"""How the value of a setting is read. Each raises ValueError: its message is a clause that begins with a verb,
without the value.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from runtype_mcp.environment import bearer, can_log_to, is_client_token
from runtype_mcp.policy.redaction import contains_secret
from runtype_mcp.policy.redis_url import checked_redis_url

_PLACEHOLDER = re.compile(r"(?i)your[-_]?(api[-_]?)?key|[<>${}]|\.\.\.|^bearer$")


def absolute(raw: str | Path) -> Path:
    path = os.path.expanduser(raw)
    if path.startswith("~"):
        raise ValueError("begins with ~, and the system knows no such home directory.")
    return Path(os.path.abspath(path))


def file(raw: str | Path) -> Path:
    return absolute(str(no_key(str(raw))))


def no_key(raw: str) -> str:
    """A text in whose place an API key may have been pasted."""
    if contains_secret(raw):
        raise ValueError("holds a key, which has no place here.")
    return raw


def directory(raw: str | Path) -> Path:
    path = absolute(raw)
    if not os.path.isdir(path):
        raise ValueError("must be an existing directory.")
    return path


def audit(raw: str | Path) -> str | Path:
    """Where the audit log goes: `stdout`, `redis`, or a file."""
    return raw if raw in ("stdout", "redis") else log_file(raw)


def log_file(raw: str | Path) -> Path:
    """The audit log's file. Whether it and its lock can be written is found now, not by the first call."""
    path = absolute(raw)
    if not can_log_to(str(path)):
        raise ValueError("must name a regular file that can be written.")
    return path


def key_file(raw: str | Path) -> Path:
    if contains_secret(str(raw)):
        raise ValueError("holds a key instead of the name of a file: put the key into RUNTYPE_API_KEY.")
    return absolute(raw)


def profile(raw: str) -> str:
    if contains_secret(raw):
        raise ValueError("holds a key instead of a name: put the key into RUNTYPE_API_KEY.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", raw):
        raise ValueError("must be up to 64 letters, digits, dots, dashes and underscores.")
    return raw


def patterns(raw: str | tuple[str, ...]) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    patterns = tuple(part.strip() for part in parts if part.strip().strip("!"))
    if not patterns or not all(re.fullmatch(r"!?[a-z_*?\[\]]+", pattern) for pattern in patterns):
        raise ValueError("must be tool names or patterns, separated by commas; '!' before one excludes it.")
    return patterns


def count(raw: str | int) -> int:
    if not re.fullmatch("[0-9]{1,6}", str(raw)) or int(raw) < 1:
        raise ValueError("must be a whole number from 1 to 999999.")
    return int(raw)


def networks(raw: str | tuple[str, ...]) -> tuple[str, ...]:
    networks = tuple(filter(None, map(str.strip, raw.split(",")))) if isinstance(raw, str) else raw
    try:
        return tuple(str(ip_network(network)) for network in networks)
    except ValueError:
        raise ValueError("must be addresses or networks such as 10.0.0.0/8, separated by commas.") from None


def redis_url(raw: str) -> str:
    url = checked_redis_url(raw)
    if find_spec("redis") is None:
        raise ValueError("needs a package that is not installed: pip install 'runtype-mcp[team]'.")
    return url


def request_state_keys(raw: str | tuple[str, ...]) -> tuple[str, ...]:
    """The keys of a ring. The SDK makes its keys of them, and wants 32 bytes of each."""
    parts = re.split(r"[,\s]+", raw) if isinstance(raw, str) else raw
    keys = tuple(no_key(part) for part in parts if part)
    if not keys or len(set(keys)) < len(keys) or any(len(key.encode()) < 32 for key in keys):
        raise ValueError(
            "must be keys of 32 or more random characters each, separated by commas, none of them twice: "
            "`openssl rand -hex 32` makes one."
        )
    return keys


def plain_address(raw: object) -> SplitResult | None:
    """An address that is read in one way only; None for any other. A host's other characters are read in several."""
    try:
        parts = urlsplit(raw) if isinstance(raw, str) else None
        host, port = (parts.hostname or "", parts.port) if parts else ("", None)
    except ValueError:
        return None
    plain = re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host) and port != 0
    return parts if parts and plain and "@" not in parts.netloc and not parts.fragment else None


def is_secure(parts: SplitResult) -> bool:
    """Whether a secret may be sent there, and the answer be believed: by https, or on this machine."""
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))


def base_url(raw: str) -> str:
    problem = "must be an https:// address without a path, such as https://api.runtype.com"
    parts = plain_address(raw)
    if parts is None or not is_secure(parts):
        raise ValueError(f"{problem}{'' if raw.startswith('https://') else ' (http:// only for this machine)'}.")
    if parts.query or parts.path not in ("", "/", "/v1", "/v1/"):
        raise ValueError(f"{problem}.")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"


def address(raw: str) -> str:
    parts = plain_address(raw)
    if parts is None or not is_secure(parts):
        raise ValueError("must be an https:// address (http:// only for this machine).")
    return raw


def public_url(raw: str) -> str:
    parts = urlsplit(address(raw))
    if parts.query or parts.path not in ("", "/"):
        raise ValueError("must be an address without a path, such as https://mcp.example.com.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def checked_key(raw: str) -> str:
    """An API key as it is sent.

    Raises:
        ValueError: it cannot be one. The message is a clause that begins with a verb, without the key.
    """
    key = bearer(raw.strip())
    if not key:
        raise ValueError("holds nothing: paste the key again.")
    if _PLACEHOLDER.search(key):
        raise ValueError("holds the placeholder of an example: put your own key in its place.")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("holds spaces or characters that no key has: paste the key again.")
    if is_client_token(key):
        raise ValueError("holds a client token: those are for browsers. Use an API key (rt_live_… or rt_test_…).")
    return key
