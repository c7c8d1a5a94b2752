"""What the tests of faults share: waits that take no time, and a certificate that nobody trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.faults.clock import hurry
from tests.faults.tls import self_signed


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between tries and looks are short."""
    hurry(monkeypatch)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 in one file, signed by nobody else."""
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture(scope="session")
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side of that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
