"""Keyrings for the `keyring` library, which finds them by PYTHON_KEYRING_BACKEND: one works, the others fail."""

import json
import os
import time
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class Working(KeyringBackend):
    """Keeps its entries in the file STAND_IN_KEYRING."""

    name = "Stand-in Keyring"
    priority = 5  # the library takes a number for its property of classes

    def _entries(self) -> dict[str, str]:
        path = Path(os.environ["STAND_IN_KEYRING"])
        return json.loads(path.read_text()) if path.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        return self._entries().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        entries = self._entries() | {f"{service} {username}": password}
        Path(os.environ["STAND_IN_KEYRING"]).write_text(json.dumps(entries))

    def delete_password(self, service: str, username: str) -> None:
        entries = self._entries()
        if entries.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError("no such password")
        Path(os.environ["STAND_IN_KEYRING"]).write_text(json.dumps(entries))


class Locked(Working):
    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("Failed to unlock the collection!")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked(f"Failed to unlock the collection for {password}!")

    def delete_password(self, service: str, username: str) -> None:
        raise KeyringLocked("Failed to unlock the collection!")


class Waiting(Working):
    """Waits for a person who never comes."""

    def get_password(self, service: str, username: str) -> str | None:
        time.sleep(600)
        return None


class Crashing(Working):
    """Fails in a library of the system, which raises nothing."""

    def get_password(self, service: str, username: str) -> str | None:
        os.abort()


class Plain(Working):
    """A keyring that the library itself does not recommend: it keeps plain text."""

    priority = 0.5  # type: ignore[assignment]  # as above
