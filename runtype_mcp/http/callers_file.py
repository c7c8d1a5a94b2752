"""The file of named callers, which RUNTYPE_MCP_CALLERS names: who has a token of this server, and what it allows.

Only the SHA-256 of a token is kept. A token is 256 random bits, so nobody can guess one from its hash, and a slow hash,
which passwords need, would only make each request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from runtype_mcp.api.scoped_client import SCOPES, Scope, scope_name
from runtype_mcp.credentials import MAX_BYTES, Stamp, read_private, replace_file, stamp_of
from runtype_mcp.storage.files import locked

PREFIX = "rtmcp_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
logger = logging.getLogger("runtype_mcp")


class CallersError(Exception):
    """The file cannot be used. The message is one line for a person."""


class KnownCaller(BaseModel):
    """One caller. `public_key` (Ed25519, PEM) is the key with which it says on whose behalf it calls."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...]
    expires: AwareDatetime | None = None
    public_key: str | None = None

    @field_validator("scopes", mode="before")
    @classmethod
    def _scopes(cls, raw: object) -> object:
        return [str(scope).removeprefix("client_tokens:") for scope in raw] if isinstance(raw, list) else raw

    @field_validator("public_key")
    @classmethod
    def _ed25519(cls, raw: str | None) -> str | None:
        # A private key would do as well, and be where no private key belongs.
        if raw is not None:
            try:
                key = load_pem_public_key(raw.encode())
            except (ValueError, UnsupportedAlgorithm):
                key = None
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("must be a public Ed25519 key")
        return raw

    def stored(self) -> dict[str, object]:
        """As the file has it."""
        return self.model_dump(mode="json", exclude_none=True) | {"scopes": [scope_name(s) for s in self.scopes]}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    callers: list[KnownCaller]


class CallersFile:
    """The callers in the file at `path`, which is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[Stamp, list[KnownCaller]] | None = None

    def callers(self) -> list[KnownCaller]:
        """All of them.

        Raises:
            CallersError: the file cannot be read, or holds something else.
        """
        try:
            stamp = stamp_of(self.path.stat())
            if self._known is None or self._known[0] != stamp:
                stamp, text = read_private(self.path, ours=False)
                self._known = stamp, _File.model_validate_json(text).callers
        except OSError as exc:
            raise CallersError(f"The callers cannot be read from {self.path}: {exc.strerror}.") from None
        except ValidationError as exc:
            where = " ".join(str(part) for part in exc.errors()[0]["loc"]) or "the whole"
            raise CallersError(f"{self.path} is no file of callers ({where} is not as it must be).") from None
        return self._known[1]

    def find(self, token: str, now: datetime | None = None) -> KnownCaller | None:
        """Whose token it is; None if it is nobody's any more. A file that cannot be read lets nobody in."""
        try:
            callers = self.callers()
        except CallersError as exc:
            logger.error("%s Nobody is let in.", exc)  # noqa: TRY400 - the sentence says it all
            return None
        digest = digest_of(token)
        # Every one is compared, and in constant time.
        found = [caller for caller in callers if hmac.compare_digest(caller.sha256, digest)]
        now = now or datetime.now(UTC)
        return next((caller for caller in found if caller.expires is None or now < caller.expires), None)

    def add(
        self, name: str, scopes: tuple[Scope, ...], expires: datetime | None = None, public_key: str | None = None
    ) -> str:
        """Add a caller. Returns its token, which is nowhere else.

        Raises:
            CallersError: there is one of this name, or the file cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise CallersError("A name is up to 64 letters, digits, dots, dashes and underscores. Nothing was added.")
        token = PREFIX + secrets.token_urlsafe(32)
        try:
            made = KnownCaller(
                name=name, sha256=digest_of(token), scopes=scopes, expires=expires, public_key=public_key
            )
        except ValidationError:  # only of the key may that be
            raise CallersError("This is no public Ed25519 key in PEM. Nothing was added.") from None
        with self._alone():
            callers = self.callers() if self.path.exists() else []
            if any(caller.name == name for caller in callers):
                raise CallersError(f"There is a caller {name} already. Nothing was added. Remove it first.")
            self._store([*callers, made])
        return token

    def remove(self, name: str) -> bool:
        """Remove a caller. Returns whether there was one.

        Raises:
            CallersError: the file cannot be read or written.
        """
        with self._alone():
            callers = self.callers()
            kept = [caller for caller in callers if caller.name != name]
            if len(kept) == len(callers):
                return False
            self._store(kept)
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within it nobody else changes the file: of two at the same time, one would undo what the other did."""
        if not self.path.parent.is_dir():
            raise CallersError(f"{self.path.parent} is no directory. Nothing was changed.")
        try:
            with locked(self.path.with_name(f".{self.path.name}.lock")):
                yield
        except OSError as exc:
            raise CallersError(f"{self.path} cannot be written: {exc.strerror}. Nothing was changed.") from None

    def _store(self, callers: list[KnownCaller]) -> None:
        text = json.dumps({"callers": [caller.stored() for caller in callers]}, indent=2) + "\n"
        if len(text) > MAX_BYTES:
            raise CallersError(f"{self.path} would be too long to be read. Nothing was changed.")
        replace_file(self.path, text.encode())


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def scopes_from(names: list[str]) -> tuple[Scope, ...]:
    """Scopes by their names, with or without the prefix.

    Raises:
        CallersError: one of them is none.
    """
    short = [name.removeprefix("client_tokens:") for name in names]
    found = tuple(scope for scope in sorted(SCOPES) if scope in short)
    if unknown := [name for name in short if name not in SCOPES]:
        expected = ", ".join(scope_name(scope) for scope in sorted(SCOPES))
        raise CallersError(f"{unknown[0]} is no scope. There are {expected}. Nothing was added.")
    return found
