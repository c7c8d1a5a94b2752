"""The API key: where the server reads it, and where `runtype-mcp login` stores it.

It is RUNTYPE_API_KEY, or in the file that RUNTYPE_API_KEY_FILE names, or in a profile: one account on one API. A
profile is a file in the user's configuration directory that holds the key, or says that the system's keyring does.

Files and the keyring are read when a call first needs the key: neither can delay a start, and a person can log in while
servers run. A file is read again when it has changed.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtype_mcp import keyring_access
from runtype_mcp.environment import user_folder
from runtype_mcp.errors import KeyUnavailable
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.setting_values import checked_key
from runtype_mcp.settings import Settings
from runtype_mcp.storage.files import create_private, current_user, private_directory

MAX_BYTES = 65536

Stamp = tuple[int, int, int]
_IN_KEYRING = {"keyring": True}


class KeyringError(Exception):
    """The keyring did not do it. `code` is one of `keyring_access`, or another one."""

    def __init__(self, what: str, code: int = 1) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class Profile:
    """One account on one API. The key of one API is never sent to another: each has profiles of its own."""

    name: str
    base_url: str
    path: Path
    seconds: float
    """How long the keyring may take, a person who unlocks it included."""

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> Profile | None:
        """The profile that the settings name; None where there is no home directory."""
        folder = config_dir(os.environ if environ is None else environ)
        if folder is None:
            return None
        api = re.sub(r"[^a-z0-9.-]+", "_", settings.base_url)
        path = folder / "profiles" / api / f"{settings.profile}.json"
        return cls(settings.profile, settings.base_url, path, settings.total_timeout)

    def names(self) -> list[str]:
        """The names of all profiles for this API."""
        return sorted(file.stem for file in self.path.parent.glob("*.json"))

    async def store(self, key: str, *, in_keyring: bool) -> str:
        """Store the key, in the keyring or in the file. Returns where it is, in words for people.

        Raises:
            KeyringError: the keyring did not take it. Nothing was stored.
            OSError: the file cannot be written.
        """
        where = await _keyring("set", self, key) if in_keyring else ""
        # Every time a new file: a server sees by it that there is another key.
        content = _IN_KEYRING if in_keyring else {"key": key}
        private_directory(self.path.parent)
        replace_file(self.path, json.dumps(content).encode())
        return where or str(self.path)

    async def remove(self) -> bool:
        """Forget the key. Returns whether there was one.

        Raises:
            KeyringError: the keyring did not delete it. The profile stays.
            OSError: the file cannot be read or deleted.
        """
        try:
            stored = read_private(self.path, ours=True)[1]
        except FileNotFoundError:
            return False
        if stored == json.dumps(_IN_KEYRING):
            try:
                await _keyring("delete", self)
            except KeyringError as exc:
                if exc.code != keyring_access.NOT_FOUND:
                    raise
        self.path.unlink()
        return True

    async def key(self, stored: str) -> str:
        """The key, given what the file holds.

        Raises:
            KeyUnavailable: the keyring does not give it, or the file holds something else.
        """
        again = "Ask the operator to run `runtype-mcp login` again."
        try:
            found = json.loads(stored)
            return checked_key(await _keyring("get", self) if found == _IN_KEYRING else found["key"])
        except KeyringError as exc:
            what = f"The key of profile '{self.name}' cannot be read. {exc}"
            raise _unavailable(what, again if exc.code == keyring_access.NOT_FOUND else None) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _unavailable(
                f"The profile '{self.name}' ({self.path}) holds something else than a key.", again
            ) from None


class ApiKey:
    """The API key of one server.

    Attributes:
        redactor: masks the key wherever it may appear, from the moment that it is read.
    """

    def __init__(self, settings: Settings) -> None:
        self._given, self._file, self._profile = settings.api_key, settings.api_key_file, Profile.of(settings)
        self.redactor = Redactor([self._given] if self._given else [])
        self._known: tuple[Stamp, str] | None = None
        self._reading = asyncio.Lock()

    async def get(self) -> str | None:
        """The key; None if none is set and none is stored.

        Raises:
            KeyUnavailable: it is stored, and cannot be read.
        """
        path = self._file or (self._profile.path if self._profile else None)
        if self._given or path is None:
            return self._given
        async with self._reading:  # two calls do not ask a person to unlock the keyring twice
            try:
                if self._known and self._known[0] == stamp_of(os.stat(path)):
                    return self._known[1]
                stamp, stored = read_private(path, ours=self._file is None)
            except FileNotFoundError:
                if self._file is None:
                    return None
                raise _unavailable(f"RUNTYPE_API_KEY_FILE names {path}, which does not exist.") from None
            except OSError as exc:
                raise _unavailable(f"The API key cannot be read from {path}: {exc.strerror}.") from None
            if self._file is None:
                assert self._profile is not None
                key = await self._profile.key(stored)
            else:
                key = key_in(stored, path)
            self.redactor.learn(key)
            self._known = stamp, key
            return key


def config_dir(environ: Mapping[str, str]) -> Path | None:
    """Where the profiles are; None where there is no home directory."""
    folder = user_folder(environ, "XDG_CONFIG_HOME", "~/.config", "~/Library/Application Support")
    return Path(folder) if folder else None


def key_in(stored: str, path: Path) -> str:
    """The key in a file that holds nothing else.

    Raises:
        KeyUnavailable: it holds something else.
    """
    try:
        return checked_key(stored)
    except ValueError as exc:
        raise _unavailable(f"The file that RUNTYPE_API_KEY_FILE names ({path}) {exc}") from None


def read_private(path: Path, *, ours: bool) -> tuple[Stamp, str]:
    """A small file that holds a secret, and what changes when it is replaced.

    Raises:
        OSError: it cannot be read, or others could have written or read it; `strerror` is a clause for people.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)  # a FIFO must not block
    with open(os.open(path, flags), "rb") as file:
        info = os.fstat(file.fileno())
        if problem := exposure(info, current_user(), ours=ours):
            raise OSError(errno.EPERM, problem)
        raw = file.read(MAX_BYTES)
    return stamp_of(info), raw.decode("utf-8-sig", "replace")


def exposure(info: os.stat_result, user: int | None, *, ours: bool) -> str:
    """Why a file is no place for a key, as a clause; empty if it is one. `user` None: the system has no such modes.

    A file that others may read is refused where its reader made it, since `chmod` mends it. What belongs to root or to
    another user was mounted by somebody who decided its mode: secrets of containers are readable for everybody there,
    and nobody else is. `ours`: a profile, which only this program writes, so nothing excuses it.
    """
    if not stat.S_ISREG(info.st_mode):
        return "it is not a regular file"
    if user is None:
        return ""
    if info.st_mode & 0o022:
        return "others may write to it; `chmod 600` mends that"
    if ours and user not in (0, info.st_uid):
        return "it belongs to another user"
    if info.st_mode & 0o044 and (ours or user == info.st_uid != 0):
        return "others may read it; `chmod 600` mends that"
    return ""


def replace_file(path: Path, data: bytes) -> None:
    """Put a file of mode 0600 with `data` at `path`, in one step."""
    new = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    create_private(new, data)
    try:
        os.replace(new, path)
    except OSError:
        os.unlink(new)
        raise


def stamp_of(info: os.stat_result) -> Stamp:
    """What changes when a file is replaced."""
    return info.st_mtime_ns, info.st_ino, info.st_size


def _unavailable(what: str, next_step: str | None = None) -> KeyUnavailable:
    return KeyUnavailable(what, next_step, changed="Nothing was sent.")


async def _keyring(action: str, profile: Profile, key: str = "") -> str:
    """What the keyring says, in a process of its own. Raises KeyringError."""
    process = await asyncio.create_subprocess_exec(
        # -P: nothing in the working directory, which is somebody's project, may pass for the keyring library.
        *(sys.executable, "-P", keyring_access.__file__),
        *(action, f"runtype-mcp {profile.base_url}", profile.name),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    try:
        async with asyncio.timeout(profile.seconds):
            out, err = await process.communicate(key.encode())
    except TimeoutError:
        what = f"The system's keyring gave no answer within {profile.seconds:g} seconds. It may be locked: unlock it."
        raise KeyringError(what) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    match process.returncode:
        case 0:
            return out.decode()
        case keyring_access.NOT_INSTALLED:
            what = "This installation cannot use the system's keyring: it lacks the extra `keyring`."
        case keyring_access.NOT_FOUND:
            what = "The system's keyring has no such entry any more."
        case keyring_access.NO_KEYRING:
            what = "No keyring of the system can be reached from here."
        case _:
            reason = (err.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
            reason = sanitize_line(Redactor([key]).redact_text(re.sub(r"^[\w.]+\.", "", reason)), 200)
            what = f"The system's keyring failed ({reason}). It may be locked: unlock it."
    raise KeyringError(what, process.returncode or 1)
