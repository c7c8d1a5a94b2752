"""Who may use a page on loopback: whoever came with a one-time secret, in the browser that used it.

Cookies are not isolated by port, so a session lives below a random path of its own. The path is no secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtype_mcp.person import person
from runtype_mcp.storage.tickets import TTL

COOKIE = "runtype-mcp-session"


class Session:
    """One browser's access to the pages of one server. It ends with the server.

    Attributes:
        path: the first part of every path, such as `/kDn4…/`.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self._now = now
        self._cookie = secrets.token_urlsafe(32)
        self._key = secrets.token_bytes(32)
        self._unused: dict[bytes, float] = {}

    def address(self, origin: str) -> str:
        """An address below `origin` that opens the page once, within 15 minutes."""
        secret = secrets.token_urlsafe(32)
        self._unused[_digest(secret)] = self._now() + TTL
        return f"{origin}{self.path}open/{secret}"

    def exchange(self, secret: str) -> str | None:
        """The cookie for a secret that was not used yet; None for any other."""
        given, now = _digest(secret), self._now()
        # Every one is compared, and in constant time: how long it takes tells nothing about any.
        found = [known for known in self._unused if hmac.compare_digest(known, given)]
        valid = [known for known in found if now < self._unused.pop(known)]
        return self._cookie if valid else None

    def knows(self, cookie: str) -> bool:
        """Whether a request with this cookie comes from the browser that used a secret."""
        return hmac.compare_digest(_digest(cookie), _digest(self._cookie))

    async def person(self, _: object) -> Decider:
        """Who decides here: whoever sits at this machine."""
        return Decider(person(), self._key)


@dataclass(frozen=True, slots=True)
class Decider:
    """A person on a page.

    Attributes:
        name: for people.
        key: binds what they decide to what they were shown.
        subject: their identity, where they have one.
    """

    name: str
    key: bytes
    subject: str = ""

    def decision_token(self, code: str, digest: str) -> str:
        """What a decision must carry: it was shown for this ticket, and for exactly this call."""
        return hmac.new(self.key, f"{code} {digest}".encode(), hashlib.sha256).hexdigest()

    def is_decision_token(self, given: str, code: str, digest: str) -> bool:
        """Whether `given` is the token for exactly this call."""
        return hmac.compare_digest(given.encode(), self.decision_token(code, digest).encode())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
