"""The options of `runtype-mcp http`."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runtype_mcp.settings import SettingsError

if TYPE_CHECKING:
    from runtype_mcp.http.start import Listening

PORT = 8765
MOST_WORKERS = 64


def add_options(http: argparse.ArgumentParser, port: Callable[[str], int]) -> None:
    """Add the options. `port` reads the number of a port."""
    http.add_argument("--host", type=_address, metavar="ADDRESS", help="the address to listen on (127.0.0.1)")
    http.add_argument("--port", type=port, metavar="N", help=f"the port ({PORT}; 0 picks one)")
    http.add_argument("--auth", metavar="HOW", help="who may call: static, jwt, passthrough or none (RUNTYPE_MCP_AUTH)")
    http.add_argument("--socket", type=Path, metavar="PATH", help="a socket file instead, for this machine alone")
    http.add_argument("--workers", type=_workers, default=1, metavar="N", help="processes that answer (%(default)s)")
    http.add_argument("--tls-cert", type=Path, metavar="FILE", help="speak TLS, with the certificate in this PEM file")
    http.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's key, where it is not there too")


def listening(options: argparse.Namespace) -> Listening:
    """What the options say.

    Raises:
        SettingsError: they exclude each other.
    """
    from runtype_mcp.http.start import Listening

    if options.socket and (options.host or options.port is not None):
        raise SettingsError("--socket excludes --host and --port.")
    if options.workers > 1 and os.name != "posix":
        raise SettingsError("--workers needs Linux or macOS: there a process can listen where another one does.")
    return Listening(
        host=options.host or "127.0.0.1",
        port=PORT if options.port is None else options.port,
        socket=options.socket.absolute() if options.socket else None,
        workers=options.workers,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
    )


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address("127.0.0.1" if text == "localhost" else text.strip("[]")))
    except ValueError:
        raise argparse.ArgumentTypeError("an address is one such as 127.0.0.1, ::1 or 0.0.0.0") from None


def _workers(text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"workers are a number from 1 to {MOST_WORKERS}")
    return int(text)
