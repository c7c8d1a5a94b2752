"""Who answers at the API's address: what one request without a key shows, and who signed the certificate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

_COMMON_NAME, _ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"
_SEQUENCE, _SET, _OBJECT_ID, _VERSION = 0x30, 0x31, 0x06, 0xA0


@dataclass(frozen=True, slots=True)
class Probe:
    """An answer to a request without a key.

    Attributes:
        status: the HTTP status. The API answers 401.
        date: the server's clock; None if it does not say.
        issuer: who signed its certificate; empty without TLS.
    """

    status: int
    date: datetime | None
    issuer: str


def issuer(certificate: bytes) -> str:
    """Who signed a certificate in DER: organization and common name; empty if it cannot be read.

    The standard library reads only certificates that it trusts, and the question is who signed one that it does not.
    """
    try:
        ((_, whole),) = _elements(certificate)
        ((_, signed), *_) = _elements(whole)
        fields = [content for tag, content in _elements(signed) if tag != _VERSION]
        names = dict(_names(fields[2]))  # behind the serial number and the algorithm
    except (ValueError, IndexError):
        return ""
    organization, common = names.get(_ORGANIZATION, ""), names.get(_COMMON_NAME, "")
    return f"{organization} ({common})" if organization and common else organization or common


def _names(content: bytes) -> Iterator[tuple[bytes, str]]:
    for tag, group in _elements(content):
        for inner, pair in _elements(group) if tag == _SET else ():
            (kind, oid), (_, value) = _elements(pair) if inner == _SEQUENCE else ((0, b""), (0, b""))
            if kind == _OBJECT_ID:
                yield oid, value.decode(errors="replace")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements side by side in DER: tag and content. Raises IndexError where one is cut off."""
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start])
        content = data[start : start + length]
        if len(content) != length:
            raise IndexError("cut off")
        yield tag, content
        data = data[start + length :]
