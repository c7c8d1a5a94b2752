"""Before the server listens: what contradicts itself stops it, and what it serves is said in a few lines."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from runtype_mcp.credentials import ApiKey
from runtype_mcp.errors import ClientTokenError
from runtype_mcp.http.auth import check_auth, who_may_call
from runtype_mcp.policy.redis_url import shown_redis_url
from runtype_mcp.server import specs_for
from runtype_mcp.settings import Settings, SettingsError
from runtype_mcp.tools.resources import describe

PORT = 8765


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens, as the command line says.

    Attributes:
        host: an address of this machine.
        port: 0 picks a free one.
        socket: a socket file, instead of both.
        workers: how many processes answer.
        tls_cert: a file with the certificate and those between it and an authority; None: the server speaks no TLS.
        tls_key: a file with its key, where that is not in the same file.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    socket: Path | None = None
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.socket is not None or ipaddress.ip_address(self.host).is_loopback

    @property
    def hosts(self) -> list[str]:
        """The address by which clients may call it, as it stands in `Host`; none where it listens on all."""
        if self.socket is not None or ipaddress.ip_address(self.host).is_unspecified:
            return []
        return [f"[{self.host}]" if ":" in self.host else self.host]


def check_settings(settings: Settings, processes: int) -> None:
    """Refuse what cannot be right together, wherever it is served.

    Raises:
        SettingsError: it says what to do.
    """
    check_auth(settings)
    if settings.secrets == "file":
        raise SettingsError(
            "RUNTYPE_MCP_SECRETS=file leaves no way for a value: over HTTP no env files are written. "
            "Leave it out, and leave tools out with RUNTYPE_MCP_TOOLS instead."
        )
    settings.check_tools(spec.name for spec in specs_for(settings))
    if settings.sandbox and processes > 1:
        raise SettingsError(
            "Each worker would have a sandbox of its own. "
            "Start `runtype-mcp sandbox`, and name its address with --base-url."
        )
    if settings.audit == "redis" and not settings.redis_url:
        raise SettingsError("RUNTYPE_MCP_AUDIT=redis needs RUNTYPE_MCP_REDIS_URL.")
    if settings.redis_url and not settings.request_state_keys:
        raise SettingsError(
            "Servers that share a Redis must share keys for questions to people too: set "
            "RUNTYPE_MCP_REQUEST_STATE_KEYS, to the same everywhere. `openssl rand -hex 32` makes one."
        )
    if processes > 1 and not settings.shares_state:
        raise SettingsError("Several workers must share what they know: set RUNTYPE_MCP_STATE_DIR to a directory.")


def check_listening(settings: Settings, listening: Listening) -> None:
    """Refuse what cannot be listened on, or must not be.

    Raises:
        SettingsError: it says what to do.
    """
    if not listening.is_local and settings.auth == "none":
        raise SettingsError(
            f"--host {listening.host} lets other machines in, and nobody is authenticated. "
            "Set RUNTYPE_MCP_AUTH, leave --host out, or use --socket."
        )
    if not listening.is_local and not listening.hosts and settings.public_url is None:
        raise SettingsError(
            f"--host {listening.host} is every address of this machine, so it is not known by which name clients call. "
            "Set RUNTYPE_MCP_PUBLIC_URL: other names are refused."
        )
    if listening.tls_key and not listening.tls_cert:
        raise SettingsError("--tls-key goes with --tls-cert.")
    if listening.tls_cert:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(listening.tls_cert, listening.tls_key, _no_password)
        except (OSError, ValueError) as exc:  # SSLError is an OSError
            raise SettingsError(
                f"--tls-cert and --tls-key cannot be used ({getattr(exc, 'strerror', None) or exc}). "
                "They name PEM files of a certificate and of its key, which has no password."
            ) from None


def _no_password() -> str:
    raise ValueError("the key has a password")


async def start_lines(settings: Settings, listening: Listening, key: ApiKey, address: str) -> list[str]:
    """What is served, to whom, and under which rules."""
    return [
        f"Serving MCP on {address}",
        *(
            f"  {name:8} {text}"
            for name, text in [
                ("API", await _api(settings, key)),
                ("callers", _callers(settings, listening)),
                ("policy", " ".join(describe(settings))),
                ("state", _state(settings, listening)),
                ("audit", str(settings.audit or "none")),
            ]
        ),
    ]


async def _api(settings: Settings, key: ApiKey) -> str:
    if settings.sandbox:
        return "the embedded sandbox: no account, no key"
    if settings.auth == "passthrough":
        return f"{settings.base_url}, with the caller's key"
    try:
        found = await key.get()
    except ClientTokenError as exc:
        return f"{settings.base_url}; {exc.what}"
    if found is None:
        return f"{settings.base_url}, without a key: run `runtype-mcp login`, or set RUNTYPE_API_KEY"
    return f"{settings.base_url}, with the key of {settings.key_source}"


def _callers(settings: Settings, listening: Listening) -> str:
    if settings.auth != "none":
        return who_may_call(settings)
    where = "uses the socket" if listening.socket else "reaches the port"
    return f"whoever {where}; nobody is authenticated"


def _state(settings: Settings, listening: Listening) -> str:
    if settings.redis_url:
        return shown_redis_url(settings.redis_url)
    where = str(settings.state_dir or "in memory, until the server ends")
    return f"{where}; {listening.workers} workers share it" if listening.workers > 1 else where
