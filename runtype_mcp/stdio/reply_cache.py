"""Keep the replies of one configuration in a file under the user's cache directory.

A configuration is what shapes the replies, or decides whether the server starts: this package's files, the versions of
the SDK, pydantic and Python, the arguments, and every RUNTYPE_* variable. Of the API key, only whether there is one
counts. A file exists only where the ordinary path has accepted exactly these. What that path may refuse on another
day, a key or a directory, is checked again. Configurations and requests are kept as digests: no setting and no word of
a client is on disk.

A file is its owner's alone (0600 in a 0700 directory), is replaced in one step, and is believed only if it belongs to
the user who reads it and its seal fits. A cache that cannot be read or written is not an error: the SDK answers.
"""

from __future__ import annotations

import os
import stat
import sys

from runtype_mcp import __version__
from runtype_mcp.environment import TYPE_CHECKING, bearer, can_log_to, is_client_token, usable, user_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHAPING = ("mcp", "mcp_types", "pydantic", "pydantic_core")  # packages that shape what is printed
MAX_REPLIES = 64  # in a file: about six for each host, and for each version of it
MAX_FILES = 16  # configurations
_MAX_BYTES = 2**22  # of a file
SUFFIX = ".answers"

try:  # one hash without all of `hashlib`, a fifth of a warm start
    from _blake2 import blake2b

    def _hash(data: bytes) -> str:
        return blake2b(data, digest_size=32).hexdigest()

except ImportError:  # not CPython, or one built for FIPS
    import hashlib

    def _hash(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()


def digest(*parts: str) -> str:
    """A hash of the parts, in hexadecimal. Parts that are divided otherwise give another one."""
    return _hash(repr(parts).encode())


class ReplyCache:
    """The replies of one configuration, by the digests of their requests."""

    def __init__(self, path: str, configuration: str, *, max_replies: int = MAX_REPLIES) -> None:
        self.path, self.configuration, self._max_replies = path, configuration, max_replies

    def load(self, user: int | None = None) -> dict[str, str]:
        """The stored replies; none if the file is missing, damaged, or not certainly `user`'s own (this process's)."""
        try:
            # Checked before it is read: at this path may be a pipe that nobody writes to.
            with open(os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
                text = file.read(_MAX_BYTES).decode() if _is_own(os.fstat(file.fileno()), user) else ""
        except (OSError, UnicodeDecodeError):
            return {}
        seal, _, text = text.partition("\n")
        if seal != digest(self.configuration, text):
            return {}
        lines = text.split("\n")
        return dict(zip(lines[::2], lines[1::2], strict=True))

    def store(self, learned: dict[str, str]) -> None:
        """Add replies to the file, which another process may have written since it was loaded."""
        replies = self.load() | learned
        text = "\n".join(f"{key}\n{reply}" for key, reply in list(replies.items())[-self._max_replies :])
        folder, new = os.path.dirname(self.path), f"{self.path}.{os.urandom(8).hex()}{SUFFIX}"
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            files = sorted((f for f in os.scandir(folder) if f.name.endswith(SUFFIX)), key=lambda f: f.stat().st_mtime)
            for old in files[:-MAX_FILES]:
                os.unlink(old)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(f"{digest(self.configuration, text)}\n{text}".encode())
            os.replace(new, self.path)
        except OSError:
            pass  # a cache is a convenience

    def is_current(self, argv: list[str]) -> bool:
        """Whether the package on disk is still the one of this cache, or only the settings can judge it."""
        try:
            return fingerprint(argv, os.environ) in (self.configuration, "")
        except OSError:  # the package was removed
            return False


def _is_own(status: os.stat_result, user: int | None) -> bool:
    if not stat.S_ISREG(status.st_mode):
        return False
    if os.name == "nt":
        return True  # pragma: no cover - the cache directory's access list is Windows' only answer
    return status.st_uid == (os.geteuid() if user is None else user) and not status.st_mode & 0o022


def cache_for(argv: list[str], environ: Mapping[str, str]) -> ReplyCache | None:
    """The cache of a process's configuration; None if only the settings can judge it, or no directory can hold it.

    Raises:
        OSError: a file of the package has just gone.
    """
    folder = user_folder(environ, "XDG_CACHE_HOME", "~/.cache", "~/Library/Caches")
    configuration = fingerprint(argv, environ) if folder else ""
    return ReplyCache(os.path.join(folder, configuration + SUFFIX), configuration) if configuration else None


def fingerprint(
    argv: list[str],
    environ: Mapping[str, str],
    *,
    package: str = os.path.dirname(os.path.dirname(__file__)),
    path: Sequence[str] | None = None,
    python: object = (__version__, sys.version, sys.flags),
) -> str:
    """A digest of the configuration; empty if there must be no cache, or only the settings can judge it.

    `package` is this package's folder, `path` is where packages are imported from (`sys.path`), and `python` is what
    else shapes a reply: versions and flags.

    Raises:
        OSError: a file of the package has just gone.
    """
    settings = usable(environ)
    key = bearer(settings.pop("RUNTYPE_API_KEY", ""))
    enabled = settings.get("RUNTYPE_MCP_FAST_START", "on").lower() in ("on", "1", "true", "yes")
    root, log = (os.path.expanduser(settings.get(f"RUNTYPE_MCP_{name}", "")) for name in ("FILES_ROOT", "AUDIT"))
    paths = os.path.isdir(root or ".") and (not log or can_log_to(log))  # as when the settings accepted them
    packages = _packages(sys.path if path is None else path)
    if not (enabled and _is_plain_key(key) and paths and packages):
        return ""
    return digest(repr((python, argv, settings, bool(key), packages, _files(package))))


def _is_plain_key(key: str) -> bool:
    """Whether the settings certainly accept this key. They accept more, and refuse the examples' placeholders."""
    odd = any(part in key.lower() for part in (*"<>${} ", "...", "your", "bearer"))
    return key.isascii() and key.isprintable() and not odd and not is_client_token(key)


def _packages(path: Sequence[str]) -> list[tuple[str, str, int]]:
    """The shaping packages: from where, which version and when installed; empty if no version is found."""
    found = []
    for place in path:  # in order: the first one is imported
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue
        shaping = [name for name in names if name.replace("-", ".").partition(".")[0] in _SHAPING]
        versions = [name for name in shaping if name.endswith(".dist-info")]
        found += [(place, name, 0) for name in shaping]
        found += [(place, name, os.stat(os.path.join(place, name)).st_mtime_ns) for name in versions]
    return found if any(installed for _, _, installed in found) else []


def _files(folder: str) -> list[tuple[str, int, int]]:
    found = []
    for entry in os.scandir(folder):
        if entry.is_dir():
            found += _files(entry.path)
        elif entry.name.endswith(".py"):
            status = entry.stat()
            found.append((entry.path, status.st_mtime_ns, status.st_size))
    return sorted(found)
