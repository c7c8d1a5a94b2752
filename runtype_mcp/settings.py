"""What the operator decided: one frozen value, read once from the environment and the flags.

Nothing here is reachable by a model. An empty string means "not set", because hosts fill unset
fields of their configuration forms with empty strings. A bad value is a `SettingsError`: one line, exit code 2.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

Approval = Literal["auto", "human", "flag", "deny"]
Secrets = Literal["show", "file"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

DEFAULT_BASE_URL = "https://api.runtype.com"
SANDBOX_BASE_URL = "http://sandbox.invalid"
SANDBOX_KEY = "rt_test_sandbox"
KNOWN = frozenset(
    f"RUNTYPE_MCP_{name}"
    for name in (
        *("APPROVAL", "APPROVAL_LIVE", "AUDIT", "CONNECT_TIMEOUT", "ENVIRONMENT", "FILES_ROOT", "FRONT", "LOG_LEVEL"),
        *("READ_ONLY", "SANDBOX", "SECRETS", "STATE_DIR", "TIMEOUT", "TOOLS"),
    )
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SettingsError(ValueError):
    """A setting that cannot be used. The message names the variable, never a secret's value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every choice that is the operator's. Times are in seconds."""

    api_key: str | None = field(default=None, repr=False)  # a key never shows in a repr
    base_url: str = DEFAULT_BASE_URL
    sandbox: bool = False
    read_only: bool = False
    connect_timeout: float = 5.0
    total_timeout: float = 30.0
    log_level: LogLevel = "WARNING"
    approval: Approval = "auto"
    approval_live: Approval | None = None
    environment: Literal["test", "live"] | None = None
    tools: tuple[str, ...] = ("*",)
    secrets: Secrets = "show"
    files_root: Path | None = None
    audit: Path | None = None

    def approval_for(self, environment: str) -> Approval:
        """The rung of approval for a token's environment. What is not `test` counts as live."""
        if environment != "test" and self.approval_live is not None:
            return self.approval_live
        return self.approval

    def allows_tool(self, name: str) -> bool:
        """Whether the operator's list of tools admits `name`. The last pattern that matches wins; `!` excludes."""
        allowed = self.tools[0].startswith("!")  # a list of exclusions alone starts from everything
        for pattern in self.tools:
            if fnmatchcase(name, pattern.removeprefix("!")):
                allowed = not pattern.startswith("!")
        return allowed


def load(environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
    """Read the settings. A flag that is given (not None) wins over its variable.

    Raises:
        SettingsError: a value cannot be used; the message is one line for a person.
    """
    stripped = {name: value.strip() for name, value in (os.environ if environ is None else environ).items()}
    # Some hosts leave the placeholder of a field that a person left empty.
    env = {name: value for name, value in stripped.items() if value and not value.startswith("${user_config.")}
    # A misspelt READ_ONLY must not be a server that writes.
    for name in sorted(name for name in env if name.startswith("RUNTYPE_MCP_") and name not in KNOWN):
        near = difflib.get_close_matches(name, KNOWN, 1)
        hint = f"; did you mean {near[0]}?" if near else ". The README lists what there is."
        raise SettingsError(f"{name} is no setting{hint}")
    # Both are used elsewhere, and checked here, where a bad value is one line.
    _flag(env, "RUNTYPE_MCP_FAST_START")
    _path("RUNTYPE_MCP_STATE_DIR", env.get("RUNTYPE_MCP_STATE_DIR", "/"))
    given = {name: value for name, value in flags.items() if value is not None}
    sandbox = bool(given.get("sandbox", _flag(env, "RUNTYPE_MCP_SANDBOX")))
    base_url = SANDBOX_BASE_URL
    if not sandbox:
        base_url = _base_url(str(given.get("base_url", env.get("RUNTYPE_BASE_URL", DEFAULT_BASE_URL))))
    audit = env.get("RUNTYPE_MCP_AUDIT")
    return Settings(
        api_key=SANDBOX_KEY if sandbox else _api_key(env.get("RUNTYPE_API_KEY")),
        base_url=base_url,
        sandbox=sandbox,
        read_only=bool(given.get("read_only", _flag(env, "RUNTYPE_MCP_READ_ONLY"))),
        connect_timeout=_seconds(env, "RUNTYPE_MCP_CONNECT_TIMEOUT", 5.0),
        total_timeout=_seconds(env, "RUNTYPE_MCP_TIMEOUT", 30.0),
        log_level=cast(LogLevel, _choice(env, "RUNTYPE_MCP_LOG_LEVEL", get_args(LogLevel), str.upper) or "WARNING"),
        approval=cast(Approval, _choice(env, "RUNTYPE_MCP_APPROVAL", get_args(Approval)) or "auto"),
        approval_live=cast("Approval | None", _choice(env, "RUNTYPE_MCP_APPROVAL_LIVE", get_args(Approval))),
        environment=cast('Literal["test", "live"] | None', _choice(env, "RUNTYPE_MCP_ENVIRONMENT", ("test", "live"))),
        tools=_patterns(env.get("RUNTYPE_MCP_TOOLS")),
        secrets=cast(Secrets, _choice(env, "RUNTYPE_MCP_SECRETS", get_args(Secrets)) or "show"),
        files_root=_files_root(env, "RUNTYPE_MCP_FILES_ROOT"),
        audit=_path("RUNTYPE_MCP_AUDIT", audit) if audit else None,
    )


def _api_key(raw: str | None) -> str | None:
    if raw is None:
        return None
    key = re.sub(r"(?i)^bearer\s+", "", raw)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise SettingsError("RUNTYPE_API_KEY holds spaces or characters that no key has: paste the key again.")
    if key.startswith(("ct_live_", "ct_test_")):
        raise SettingsError(
            "RUNTYPE_API_KEY holds a client token: those are for browsers. Use an API key (rt_live_… or rt_test_…)."
        )
    return key


def _base_url(raw: str) -> str:
    problem = "RUNTYPE_BASE_URL must be an https:// address without a path, such as https://api.runtype.com"
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError:
        raise SettingsError(f"{problem}.") from None
    # The key travels to this host with every call, so it is never sent in the clear beyond this machine.
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SettingsError(f"{problem} (http:// only for this machine).")
    if (
        not parts.hostname
        or parts.username
        or parts.query
        or parts.fragment
        or parts.path not in ("", "/", "/v1", "/v1/")
    ):
        raise SettingsError(f"{problem}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise SettingsError(f"{name} must be true or false.")


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(env.get(name, default))
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 600:
        raise SettingsError(f"{name} must be a number of seconds from 0.1 to 600.")
    return value


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...], fold: object = str.lower) -> str | None:
    raw = env.get(name)
    if raw is None:
        return None
    value = raw.upper() if fold is str.upper else raw.lower()
    if value not in choices:
        raise SettingsError(f"{name} must be one of: {', '.join(choices)}.")
    return value


def _patterns(raw: str | None) -> tuple[str, ...]:
    patterns = tuple(part.strip() for part in (raw or "*").split(",") if part.strip().strip("!"))
    if not patterns or not all(re.fullmatch(r"!?[a-z_*?\[\]]+", pattern) for pattern in patterns):
        raise SettingsError(
            "RUNTYPE_MCP_TOOLS must be tool names or patterns, separated by commas; '!' before one excludes it."
        )
    return patterns


def _files_root(env: Mapping[str, str], name: str) -> Path | None:
    raw = env.get(name)
    if raw is None:
        # Desktop hosts start their servers in / or in the home directory: "below it" would then mean everywhere.
        try:
            here = Path.cwd()
        except OSError:  # it was removed
            return None
        # The working directory comes without links; a home directory may be one.
        return None if here in (Path(here.anchor), Path(os.path.realpath(os.path.expanduser("~")))) else here
    path = _path(name, raw)
    if not path.is_dir():
        raise SettingsError(f"{name} must be an existing directory.")
    return path


def _path(name: str, raw: str) -> Path:
    path = os.path.expanduser(raw)
    if path.startswith("~"):  # nobody whom the system knows
        raise SettingsError(f"{name} begins with ~, and whose home directory that is is not known.")
    return Path(os.path.abspath(path))
