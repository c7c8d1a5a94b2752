"""Write one variable into an env file below an allowed folder, and compare values without revealing them.

The path comes from a model, so it is walked from the allowed folder down, one descriptor at a time, without following
a symbolic link: what was checked is what is written, even if somebody swaps a folder in between. Only files named
like env files are touched, so that a value can never land in code, a shell's start-up file or a list of keys.
"""

import errno
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from runtype_mcp.storage import dotenv, files, git_ignore

MAX_BYTES = 1024 * 1024
"""An env file larger than this is not touched."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# Needs no quoting in any dotenv dialect or shell.
_VALUE = re.compile(r"[A-Za-z0-9_.:/+=@%,-]{1,512}")

Replaceable = Callable[[str], bool]
"""Whether a value that a variable holds now may be lost."""


class EnvFileError(Exception):
    """Nothing was written (or read). The message says why and what to do, and holds no value."""


class WouldReplace(EnvFileError):
    """The variable holds a value that may not be lost."""


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` did. `path` is absolute; `warning` is sentences for people, or None.

    `replaced` is empty if no other value was lost. Else it is how that value ended: "…" and four characters, or the
    ellipsis alone for a value that four characters would give away.
    """

    path: str
    variable: str
    replaced: str
    warning: str | None


def check(
    root: Path, relative: str, variable: str, *, replaceable: Replaceable | None = None, probe: bool = False
) -> Path:
    """Refuse now what `write` would refuse: call this before a value is made. Returns the file's path.

    Nothing is written, unless `probe`: then a file of the same size is created beside it and removed, because only
    that shows whether there is room on the disk.
    """
    _check_variable(variable)
    with _place(root, relative) as place:
        content, _ = _edited(place, place.read(), variable, "x" * 512, replaceable)
        if not os.access(place.at("."), os.W_OK | os.X_OK, dir_fd=place.fd):
            raise _refused(f"{place.path.parent} is read-only for this server.", "Check the path and its rights.")
        if probe:
            place.remove(place.stage(bytes(len(content))))
        return place.path


def write(
    root: Path, relative: str, variable: str, value: str, *, replaceable: Replaceable, lock_dir: Path | None = None
) -> Written:
    """Set `variable` in the env file and keep every other byte; the file has mode 0600 afterwards.

    Every active assignment of the variable is replaced, so that no old value stays; commented lines are left alone.
    The file is replaced in one step, or not at all: EnvFileError means that nothing was written. `replaceable` is
    asked about each other value that is in the file when it is replaced. `lock_dir`, the state's `locks`, is where
    servers wait for each other, so that two variables set at the same time both stay.
    """
    _check_variable(variable)
    if not _VALUE.fullmatch(value):
        raise EnvFileError(
            "The value has characters that env files cannot hold safely. Nothing was written. Store it in another way."
        )
    with _place(root, relative) as place, place.locked(lock_dir):
        seen = place.read()
        content, lost = _edited(place, seen, variable, value, replaceable)
        place.replace(seen, content)
    warnings = [git_ignore.warning(place.path)]
    if seen and seen.mode & 0o077 and files.current_user() is not None:
        warnings.insert(0, f"{place.path} could be read by others (mode {seen.mode:04o}); it is now 0600.")
    replaced = ", ".join(map(_ending, lost))
    return Written(str(place.path), variable, replaced, " ".join(filter(None, warnings)) or None)


def whole_path(root: Path, relative: str) -> Path:
    """The absolute path of an env file that `write` would write."""
    top, parts = _parts(root, relative)
    return top.joinpath(*parts)


def same_value(root: Path, relative: str, variable: str, value: str) -> bool | None:
    """Whether the variable's last assignment, the one that counts, is this value; None when there is none.

    Compared in constant time. The path rules are those of `write`.
    """
    _check_variable(variable)
    with _place(root, relative) as place:
        _, found = _assigned(place, place.read(), variable, value)
    return hmac.compare_digest(found[-1].encode(), value.encode()) if found else None


def _refused(what: str, advice: str) -> EnvFileError:
    return EnvFileError(f"{what} Nothing was written. {advice}")


def _check_variable(variable: str) -> None:
    if not _VARIABLE.fullmatch(variable):
        raise _refused(
            "That is not a variable name.", "Use letters, digits and underscores, at most 64, no digit first."
        )


def _ending(value: str) -> str:
    return f"…{value[-4:]}" if len(value) >= 16 else "…"


def _edited(
    place: "_Place", seen: "_Seen | None", variable: str, value: str, replaceable: Replaceable | None
) -> tuple[bytes, list[str]]:
    """The file's new content, and the other values that are lost with the old one."""
    text, before = _assigned(place, seen, variable, value)
    lost = [old for old in before if old not in ("", value)]
    for old in lost:
        if replaceable and not replaceable(old):
            raise WouldReplace(
                f"{variable} in {place.path} holds another value, which ends with {_ending(old)} and would be lost. "
                "Nothing was written. Name another variable or file."
            )
    content = text.encode()
    if len(content) > MAX_BYTES:
        raise _refused(f"{place.path} would grow beyond 1 MiB.", "Give a file of its own.")
    return content, lost


def _assigned(place: "_Place", seen: "_Seen | None", variable: str, value: str) -> tuple[str, list[str]]:
    """The file's new text, and the values that the variable has now, in order."""
    try:
        return dotenv.assign(seen.text if seen else "", variable, value)
    except dotenv.UnclearLine as line:
        raise _refused(
            f"{line} of {place.path} can be read in more than one way, so it is not clear what would change.",
            "Write it as NAME=value with every quote closed on its line, or give another file.",
        ) from None


# Where


def _parts(root: Path, relative: str) -> tuple[Path, list[str]]:
    """The real allowed folder, and the checked names that lead from it to the file."""
    top = Path(os.path.realpath(root))
    path = Path(relative)
    if path.is_absolute():
        for start in (Path(os.path.abspath(root)), top):
            if path.is_relative_to(start):
                path = path.relative_to(start)
                break
        else:
            raise _refused("The file is outside the allowed folder.", f"Give a path below {root}.")
    parts = list(path.parts)
    # Windows takes ':' and '\\' for a drive, a stream of a file or a separator, so C:\\me\\.env is no plain name here.
    plain = all(part != ".." and part.isprintable() and not set(":\\") & set(part) for part in parts)
    if not plain or any(part.casefold() == ".git" for part in parts):
        raise _refused(
            "The path has '..', '.git', ':', '\\' or an unprintable character in it.",
            f"Give a plain path below {root}, with / between its folders.",
        )
    if not parts or not (parts[-1].startswith(".env.") or parts[-1].endswith(".env")):
        raise _refused(
            "Only env files are written: '.env', '.env.NAME' or 'NAME.env'.", "Give a file with such a name."
        )
    return top, parts


@dataclass(frozen=True, slots=True)
class _Seen:
    """An env file as it was at one moment; equal only to itself, unchanged."""

    text: str
    mode: int
    identity: tuple[int, int]
    changed: int


@dataclass(frozen=True, slots=True)
class _Place:
    """An open folder below the allowed one, and the name of the env file in it."""

    path: Path
    fd: int | None  # None: the system has no *at calls, and paths must do

    def at(self, name: str) -> str:
        return name if self.fd is not None else os.path.join(self.path.parent, name)

    @contextmanager
    def locked(self, lock_dir: Path | None) -> Iterator[None]:
        """Keep other servers out. The lock is elsewhere: a lock file would litter somebody's project."""
        if lock_dir is None:
            yield
            return
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()
        with files.locked(files.lock_directory(lock_dir) / f"env-{name}.lock"):
            yield

    def read(self) -> _Seen | None:
        """The file's content, None where there is no file; EnvFileError if it must not be replaced."""
        try:
            with files.opened(self.at(self.path.name), os.O_RDONLY, dir_fd=self.fd) as fd:
                info = os.fstat(fd)
                with os.fdopen(fd, "rb", closefd=False) as file:
                    content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        if files.current_user() not in (None, info.st_uid):
            raise _refused(f"{self.path} belongs to another user.", "Take it over with chown.")
        if not info.st_mode & 0o200:
            raise _refused(f"{self.path} is read-only.", "Allow writing with chmod u+w.")
        if info.st_nlink != 1:
            raise _refused(f"{self.path} has a second name (hard link).", "Replace it with a copy.")
        if len(content) > MAX_BYTES:
            raise _refused(f"{self.path} is larger than 1 MiB.", "Give a file of its own.")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise _refused(f"{self.path} is not UTF-8 text.", "Convert it, or give another file.")
        return _Seen(text, info.st_mode & 0o7777, (info.st_dev, info.st_ino), info.st_mtime_ns)

    def stage(self, content: bytes) -> str:
        """The name of a new file beside the env file, mode 0600, that holds `content` on the disk."""
        name = f"{self.path.name}.{secrets.token_hex(4)}.tmp"
        files.create_private(self.at(name), content, dir_fd=self.fd)
        return name

    def remove(self, name: str) -> None:
        os.unlink(self.at(name), dir_fd=self.fd)

    def replace(self, seen: _Seen | None, content: bytes) -> None:
        """Put `content` in the file's place; EnvFileError, and no change, if the file is not as it was seen."""
        name = self.stage(content)
        replaced = False
        try:
            if self.read() != seen:
                raise _refused(f"{self.path} was just changed by another program.", "Close it, then try again.")
            os.replace(self.at(name), self.at(self.path.name), src_dir_fd=self.fd, dst_dir_fd=self.fd)
            replaced = True
        finally:
            if not replaced:
                with suppress(OSError):
                    self.remove(name)
        if self.fd is not None:  # pragma: no branch - Windows
            with suppress(OSError):  # the value is in place; saying "nothing was written" would be wrong
                os.fsync(self.fd)


@contextmanager
def _place(root: Path, relative: str) -> Iterator[_Place]:
    top, parts = _parts(root, relative)
    path = top.joinpath(*parts)
    fds: list[int] = []
    flags = os.O_RDONLY
    for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    try:
        if os.open in os.supports_dir_fd:
            fds.append(os.open(top, flags))
            for part in parts[:-1]:
                fds.append(_step(part, flags, fds[-1]))
        elif os.path.normcase(os.path.realpath(path)) != os.path.normcase(path):  # pragma: no cover - Windows
            raise _refused("A part of the path is a symbolic link.", "Give the real path.")
        yield _Place(path, fds[-1] if fds else None)
    except OSError as error:
        raise _refused(f"{path} cannot be used: {error.strerror}.", "Check the path and its rights.") from error
    finally:
        for fd in fds:
            os.close(fd)


def _step(folder: str, flags: int, fd: int) -> int:
    try:
        return os.open(folder, flags, dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise OSError(error.errno, f"'{folder}' is a symbolic link or not a folder") from None
        raise
