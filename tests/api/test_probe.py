"""Who answers at an address: the signer of a certificate is read without trusting it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runtype_mcp.api.probe import issuer
from tests.faults.tls import signed_by

CN, ORG = x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME


def der(*attributes: x509.NameAttribute[str]) -> bytes:
    """A certificate that these attributes name the signer of."""
    from datetime import UTC, datetime

    key, when = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name(attributes))
    builder = builder.public_key(key.public_key()).serial_number(1).not_valid_before(when).not_valid_after(when)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ([(ORG, "Let's Encrypt"), (CN, "R11")], "Let's Encrypt (R11)"),
        ([(CN, "Zürich Root"), (x509.NameOID.COUNTRY_NAME, "CH")], "Zürich Root"),
        ([(ORG, "Example " * 30)], ("Example " * 30)),
        ([(x509.NameOID.COUNTRY_NAME, "CH")], ""),
        ([], ""),
    ],
)
def test_the_signer_is_named_by_organization_and_common_name(
    attributes: list[tuple[x509.ObjectIdentifier, str]], says: str
) -> None:
    assert issuer(der(*(x509.NameAttribute(oid, value, _validate=False) for oid, value in attributes))) == says


def test_the_signer_is_not_the_one_whose_certificate_it_is(tmp_path: Path) -> None:
    server, _ = signed_by("An Authority", tmp_path)
    pem = server.read_text()
    assert issuer(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])) == "An Authority"


def test_what_is_no_certificate_has_no_signer() -> None:
    whole = der(x509.NameAttribute(CN, "An Authority"))
    for end in range(len(whole)):
        assert issuer(whole[:end]) == ""
    for place in range(len(whole)):
        spoiled = bytearray(whole)
        spoiled[place] ^= 0xFF
        issuer(bytes(spoiled))  # whatever it says, it ends
