"""Where the front's answers are kept: a file for each configuration, under the user's cache directory.

A configuration is what shapes the answers, or decides whether the server starts: this package's files, the versions
of the SDK, pydantic and Python, the arguments, and every `RUNTYPE_*` variable. Of the API key, only whether there is
one enters. A file exists only where the ordinary path has accepted exactly these; what may be refused since then, a
key or a directory, is looked at again. Configurations and questions are kept as digests: no setting and no word of a
client is on disk.

A file is its owner's alone (0600 in a 0700 directory), replaced in one step, and believed only if it is the reader's
own and whole. A cache that cannot be read or written is no error: the ordinary path serves.
"""

import os
import stat
import sys

from runtype_mcp import __version__

_SHAPING = ("mcp", "mcp_types", "pydantic", "pydantic_core", "pydantic_settings")  # what shapes what is printed
_KEPT = 64  # answers in a file: about six for each host, and for each version of it
_FILES = 16  # configurations
_LARGEST = 2**22  # bytes of a file
_SUFFIX = ".answers"

try:  # one hash without all of `hashlib`, a fifth of a warm start
    from _blake2 import blake2b

    def _hash(data: bytes) -> str:
        return blake2b(data, digest_size=32).hexdigest()

except ImportError:  # not CPython, or one built for FIPS
    import hashlib

    def _hash(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()


def digest(*parts: str) -> str:
    return _hash(repr(parts).encode())


class Cache:
    """The answers of one configuration by their questions, which are digests."""

    def __init__(self, path: str, configuration: str) -> None:
        self.path, self.configuration = path, configuration

    def load(self) -> dict[str, str]:
        """None if the file is not certainly ours and whole."""
        try:
            # Looked at before it is read: what stands there may be a pipe that nobody writes to.
            with open(os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
                status = os.fstat(file.fileno())
                ours = os.name == "nt" or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
                text = file.read(_LARGEST).decode() if ours and stat.S_ISREG(status.st_mode) else ""
        except (OSError, UnicodeDecodeError):
            return {}
        seal, _, text = text.partition("\n")
        if seal != digest(self.configuration, text):
            return {}
        lines = text.split("\n")
        return dict(zip(lines[::2], lines[1::2], strict=True))

    def fits(self, argv: list[str]) -> bool:
        """Whether what is installed is still what this cache is for. What only `settings` can tell is left to it."""
        try:
            return _configuration(argv) in (self.configuration, "")
        except OSError:  # the package is gone
            return False

    def keep(self, learned: dict[str, str]) -> None:
        """Add answers to the file, which another process may have written meanwhile."""
        kept = self.load() | learned
        text = "\n".join(f"{question}\n{answer}" for question, answer in list(kept.items())[-_KEPT:])
        folder, new = os.path.dirname(self.path), f"{self.path}.{os.urandom(8).hex()}{_SUFFIX}"
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            files = sorted((f for f in os.scandir(folder) if f.name.endswith(_SUFFIX)), key=lambda f: f.stat().st_mtime)
            for old in files[:-_FILES]:
                os.unlink(old)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(f"{digest(self.configuration, text)}\n{text}".encode())
            os.replace(new, self.path)
        except OSError:
            pass  # a cache is a convenience


def cache_for(argv: list[str]) -> Cache | None:
    """The cache of this process's configuration; None if only `settings` can tell, or there is nowhere to keep it."""
    folder, configuration = _folder(), _configuration(argv)
    return Cache(os.path.join(folder, configuration + _SUFFIX), configuration) if folder and configuration else None


def _folder() -> str:
    """The user's own folder for our caches; empty if there is none."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        usual = {"darwin": "~/Library/Caches", "win32": os.environ.get("LOCALAPPDATA", "")}
        folder = os.path.expanduser(usual.get(sys.platform, "~/.cache"))
    return os.path.join(folder, "runtype-mcp") if os.path.isabs(folder) else ""


def _configuration(argv: list[str]) -> str:
    names = [name for name in os.environ if name.startswith("RUNTYPE_")]
    given = {name: os.environ[name].strip() for name in sorted(names)}
    settings = {name: value for name, value in given.items() if value and not value.startswith("${user_config.")}
    key = settings.pop("RUNTYPE_API_KEY", "")
    key = key[7:] if key[:7].lower() == "bearer " else key
    if not key.isascii() or not key.isprintable() or " " in key or key.startswith("ct_"):
        return ""
    if not os.path.isdir(os.path.expanduser(settings.get("RUNTYPE_MCP_FILES_ROOT", "."))):
        return ""
    packages = _packages()
    if not packages or settings.get("RUNTYPE_MCP_FAST_START", "on").lower() not in ("on", "1", "true", "yes"):
        return ""
    package = _files(os.path.dirname(os.path.dirname(__file__)))
    return digest(__version__, sys.version, repr((sys.flags, argv, settings, bool(key), packages, package)))


def _packages() -> list[tuple[str, str, int]]:
    """From where, which version and installed when; empty if no version is to be found."""
    found = []
    for place in sys.path:  # in order: the first one is loaded
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
