"""What the tests of faults share: a certificate that nobody trusts."""

from tests.faults.tls import certificate, tls

__all__ = ["certificate", "tls"]
