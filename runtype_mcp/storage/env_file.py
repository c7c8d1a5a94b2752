"""Write one variable into an env file below an allowed folder, and compare values without revealing them.

The path comes from a model, so it is walked from the allowed folder down, one descriptor at a time, without
following a symbolic link: what was checked is what is written, even if somebody swaps a folder meanwhile.
Only files named like env files are touched, so that a value can never land in code, a shell's start-up file
or a list of keys.
"""

import errno
import hmac
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from runtype_mcp.storage.files import create_private, exclusive, opened, read_up_to

MAX_BYTES = 1024 * 1024
"""An env file larger than this is not touched."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# Means the same to every reader of env files, shells included, without quotes.
_VALUE = re.compile(r"[A-Za-z0-9_.:/+=@%,-]{1,512}")


class EnvFileError(Exception):
    """Nothing was written (or read); the message says why and what to do, and holds no value."""


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` did. `path` is relative to the allowed folder.

    `created`: the file is new. `replaced`: the variable had a value before. `ignored`: whether git ignores
    the file, None where that is not known. `warning`: sentences for people, or None.
    """

    path: str
    variable: str
    created: bool
    replaced: bool
    ignored: bool | None
    warning: str | None


def check(root: Path, relative: str, variable: str) -> Path:
    """Refuse now whatever `write` would refuse: call this before a value is made. Returns the file's path.

    Room on the disk and the right to write are tried with a file of the same size, which is removed again.
    """
    _check_variable(variable)
    with _place(root, relative) as place:
        seen = place.read()
        content, _ = _edit(seen.content if seen else b"", variable, "x" * 512)
        place.remove(place.stage(bytes(len(content))))
        return place.path


def write(root: Path, relative: str, variable: str, value: str) -> Written:
    """Set `variable` in the env file and keep every other byte; the file has mode 0600 afterwards.

    Every active assignment of the variable is replaced, so that no old value stays; commented lines are left
    alone. The file is replaced in one step, or not at all: EnvFileError means that nothing was written.
    """
    _check_variable(variable)
    if not _VALUE.fullmatch(value):
        raise EnvFileError(
            "The value has characters that env files cannot hold safely. Nothing was written. Store it in another way."
        )
    with _place(root, relative) as place, place.locked():
        for _ in range(2):
            seen = place.read()
            content, replaced = _edit(seen.content if seen else b"", variable, value)
            if place.replace(seen, content):
                break
        else:
            raise EnvFileError(
                f"{place.relative} keeps being changed by another program. Nothing was written. "
                "Close what writes to it, then try again."
            )
    warnings = []
    if seen and seen.mode & 0o077 and sys.platform != "win32":
        warnings.append(f"{place.relative} could be read by others (mode {seen.mode:04o}); it is now 0600.")
    ignored, about_git = _git(place.path, place.relative)
    if about_git:
        warnings.append(about_git)
    return Written(place.relative, variable, seen is None, replaced, ignored, " ".join(warnings) or None)


def values(root: Path, relative: str, variable: str) -> list[str]:
    """The values that the variable is assigned, in order (quotes removed, escapes left). The last one wins.

    For comparing only: they never go into a result. The path rules are those of `write`.
    """
    _check_variable(variable)
    with _place(root, relative) as place:
        seen = place.read()
    return [one.value.decode() for one in _find(seen.content if seen else b"", variable)]


def same_value(root: Path, relative: str, variable: str, value: str) -> bool | None:
    """Whether the variable holds this value, compared in constant time; None when it is not set."""
    found = values(root, relative, variable)
    return hmac.compare_digest(found[-1].encode(), value.encode()) if found else None


# Where


def _refused(what: str, advice: str) -> EnvFileError:
    return EnvFileError(f"{what} Nothing was written. {advice}")


def _check_variable(variable: str) -> None:
    if not _VARIABLE.fullmatch(variable):
        raise _refused(
            "That is not a variable name.", "Use letters, digits and underscores, at most 64, no digit first."
        )


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
    if ".." in parts or path.anchor:
        raise _refused("The path leads out of a folder with '..' or a drive.", f"Give a path below {root}.")
    if not all(part.isprintable() and not (os.name == "nt" and ":" in part) for part in parts):
        raise _refused("The path has characters that do not belong in one.", "Give a plain path.")
    if any(part.casefold() == ".git" for part in parts):
        raise _refused("The path leads into .git.", "Give a path outside it.")
    if not parts or not (parts[-1].startswith(".env.") or parts[-1].endswith(".env")):
        raise _refused(
            "Only env files are written: '.env', '.env.NAME' or 'NAME.env'.", "Give a file with such a name."
        )
    return top, parts


@dataclass(frozen=True, slots=True)
class _Seen:
    """An env file as it was at one moment; equal only to itself, unchanged."""

    content: bytes
    mode: int
    identity: tuple[int, int]
    changed: int


@dataclass(frozen=True, slots=True)
class _Place:
    """An open folder below the allowed one, and the name of the env file in it."""

    path: Path
    relative: str
    fd: int | None  # None: the system has no *at calls, and paths must do

    def _at(self, name: str) -> str:
        return name if self.fd is not None else str(self.path.with_name(name))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other servers out, so that two variables set at once both stay.

        The lock is on the folder: a lock file would litter somebody's project.
        """
        with ExitStack() as stack:
            if self.fd is not None:
                try:
                    stack.enter_context(exclusive(self.fd))
                except TimeoutError:
                    raise
                except OSError:
                    pass  # some network file systems cannot lock a folder; `replace` still compares
            yield

    def read(self) -> _Seen | None:
        """The file's content, None where there is no file; EnvFileError if it must not be replaced."""
        try:
            with opened(self._at(self.path.name), os.O_RDONLY, dir_fd=self.fd) as fd:
                info = os.fstat(fd)
                content = read_up_to(fd, MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        if sys.platform != "win32" and info.st_uid != os.geteuid():
            raise _refused(f"{self.relative} belongs to another user.", "Take it over with chown.")
        if not info.st_mode & 0o200:
            raise _refused(f"{self.relative} is read-only.", "Allow writing with chmod u+w.")
        if info.st_nlink != 1:
            raise _refused(f"{self.relative} has a second name (hard link).", "Replace it with a copy.")
        if len(content) > MAX_BYTES:
            raise _refused(f"{self.relative} is larger than 1 MiB.", "Give a file of its own.")
        try:
            content.decode()
        except UnicodeDecodeError:
            raise _refused(f"{self.relative} is not UTF-8 text.", "Convert it, or give another file.") from None
        if b"\0" in content:
            raise _refused(f"{self.relative} is not a text file.", "Give another file.")
        return _Seen(content, info.st_mode & 0o7777, (info.st_dev, info.st_ino), info.st_mtime_ns)

    def stage(self, content: bytes) -> str:
        """The name of a new file beside the env file, mode 0600, that holds `content` on the disk."""
        name = f"{self.path.name}.{secrets.token_hex(4)}.tmp"
        create_private(self._at(name), content, dir_fd=self.fd)
        return name

    def remove(self, name: str) -> None:
        os.unlink(self._at(name), dir_fd=self.fd)

    def replace(self, seen: _Seen | None, content: bytes) -> bool:
        """Put `content` in the file's place; False, and no change, if the file is not as it was seen."""
        name = self.stage(content)
        try:
            if self.read() != seen:
                return False
            os.replace(self._at(name), self._at(self.path.name), src_dir_fd=self.fd, dst_dir_fd=self.fd)
            name = ""
        finally:
            if name:
                with suppress(OSError):
                    self.remove(name)
        if self.fd is not None:
            with suppress(OSError):  # the value is in place; saying "nothing was written" would be wrong
                os.fsync(self.fd)
        return True


@contextmanager
def _place(root: Path, relative: str) -> Iterator[_Place]:
    top, parts = _parts(root, relative)
    fds: list[int] = []
    flags = os.O_RDONLY
    for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    try:
        if os.open in os.supports_dir_fd:
            fds.append(os.open(top, flags))
            for part in parts[:-1]:
                fds.append(_step(part, flags, fds[-1]))
        elif os.path.normcase(os.path.realpath(top.joinpath(*parts))) != os.path.normcase(top.joinpath(*parts)):
            raise _refused("A part of the path is a symbolic link.", "Give the real path.")
        yield _Place(top.joinpath(*parts), "/".join(parts), fds[-1] if fds else None)
    except OSError as error:
        raise _refused(
            f"{'/'.join(parts)} below {root} cannot be used: {error.strerror}.", "Check the path and its rights."
        ) from error
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


# What

_ASSIGNMENT = re.compile(rb"[ \t]*(?:export[ \t]+)?+(?P<name>[A-Za-z0-9_.-]+)[ \t]*=")
_COMMENT = re.compile(rb"[ \t]*(?:#[^\r\n]*)?(?=[\r\n]|\Z)")
_REST = rb"(?P<tail>[ \t]*(?:#[^\r\n]*)?)(?=[\r\n]|\Z)"
# How readers find the end of a quoted value, which may span lines. Libraries go on after a backslash and a quote
# if a later quote can close the value. Where text follows the end, Node then takes the line as unquoted, and
# Python drops all of it. Shells know no backslash between single quotes, and escape backslashes. Only Node knows
# backticks.
_LOOSE = rb"""'(?:\\'|[^'])*'|"(?:\\"|[^"])*\""""
_READINGS = (
    re.compile(rb"(?P<pad>[ \t]*)(?P<value>" + _LOOSE + rb"|`(?:\\`|[^`])*`)" + _REST),
    re.compile(rb"(?P<pad>[ \t]*)(?P<value>(?>" + _LOOSE + rb"))(?P<tail>[^\r\n]*)"),
    re.compile(rb"""(?P<pad>[ \t]*)(?P<value>'[^']*'|"(?:\\[\s\S]|[^"\\])*")""" + _REST),
)
# A # starts a comment after a space, and belongs to the value where it is the first thing after the =.
_UNQUOTED = re.compile(
    rb"(?:(?P<pad>[ \t]*)(?P<value>(?:(?<==)|(?!#))[^ \t\r\n]+(?:[ \t]+(?!#)[^ \t\r\n]+)*))?(?P<tail>[^\r\n]*)"
)
_TO_NEXT_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class _Assignment:
    """`content[start:end]` is all that follows the =, up to the line end: pad, quotes, value and tail."""

    name: bytes
    value: bytes
    start: int
    end: int
    pad: bytes
    tail: bytes


def _assignments(content: bytes, name: bytes, quoted: re.Pattern[bytes]) -> list[_Assignment]:
    """All active assignments; EnvFileError for other text that some readers take for one."""
    found = []
    at = len(_BOM) if content.startswith(_BOM) else 0
    while at < len(content):
        start = at
        if key := _ASSIGNMENT.match(content, at):
            rest = quoted.match(content, key.end())
            value = rest["value"][1:-1] if rest else None
            rest = rest or _UNQUOTED.match(content, key.end())
            assert rest is not None  # every part of it is optional
            if value is None:
                value = rest["value"] or b""
            at = rest.end()
            found.append(_Assignment(key["name"], value, key.end(), at, pad=rest["pad"] or b"", tail=rest["tail"]))
        line = _TO_NEXT_LINE.match(content, at)
        assert line is not None  # it may be empty
        at = line.end()
        if not key and not _COMMENT.match(content, start):
            text = content[start:at]
            if re.search(rb"['\"`]", text) or re.search(rb"(?<!\w)" + name + rb"(?!\w)", text):
                raise _ambiguous(f"Line {len(_LINE_END.findall(content, 0, start)) + 1}")
    return found


def _find(content: bytes, variable: str) -> list[_Assignment]:
    """The variable's active assignments; EnvFileError where it depends on the reader which those are."""
    name = variable.encode()
    found, *others = ([one for one in _assignments(content, name, way) if one.name == name] for way in _READINGS)
    for other in others:
        if [(one.start, one.end) for one in other] != [(one.start, one.end) for one in found]:
            raise _ambiguous("A quoted value")
    return found


def _ambiguous(what: str) -> EnvFileError:
    return _refused(
        f"{what} in the env file can be read in more than one way, so it is not clear what would change.",
        "Write it as NAME=value with every quote closed on its line, or give another file.",
    )


def _edit(content: bytes, variable: str, value: str) -> tuple[bytes, bool]:
    """The content with the variable set, and whether it was set before."""
    name, new = variable.encode(), value.encode()
    found = _find(content, variable)
    parts, at = [], 0
    for one in found:
        gap = b" " if one.tail.startswith(b"#") else b""
        parts += [content[at : one.start], one.pad, new, gap, one.tail]
        at = one.end
    parts.append(content[at:])
    if not found:
        ending = _LINE_END.search(content)
        eol = ending[0] if ending else b"\n"
        open_line = content not in (b"", _BOM) and not content.endswith((b"\r", b"\n"))
        parts += [eol if open_line else b"", name, b"=", new, eol]
    edited = b"".join(parts)
    if len(edited) > MAX_BYTES:
        raise _refused("The env file would grow beyond 1 MiB.", "Give a file of its own.")
    for way in _READINGS:
        # A quote that somebody left open can pair up anew once another quote is gone: read the result again.
        due = [(one.name, new if one.name == name else one.value) for one in _assignments(content, name, way)]
        if not found:
            due.append((name, new))
        if [(one.name, one.value) for one in _assignments(edited, name, way)] != due:
            raise _ambiguous("An open quote")
    return edited, bool(found)


# Git


def _git(path: Path, relative: str) -> tuple[bool | None, str | None]:
    """Whether git ignores the file (None: not known, or no repository), and a warning where one is due."""
    work = next((folder for folder in path.parents if os.path.lexists(folder / ".git")), None)
    if work is None:
        return None, None
    program = shutil.which("git")
    ignored = None
    # A `git` that comes with the repository is not git.
    if program and not Path(program).resolve().is_relative_to(work):
        name = f"./{path.relative_to(work).as_posix()}"
        if _run(work, program, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", name) == 0:
            return False, (
                f"{relative} is tracked by git: run `git rm --cached` on it and add it to .gitignore, "
                "or the value is committed."
            )
        ignored = {0: True, 1: False}.get(_run(work, program, "check-ignore", "-q", "--", name))
    if ignored:
        return True, None
    state = "It is not known whether git ignores" if ignored is None else "Git does not ignore"
    return ignored, f"{state} {relative}: add it to .gitignore."


def _run(work: Path, program: str, *arguments: str) -> int:
    # A repository's own settings can name programs that git starts. They are not ours to trust.
    settings = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "protocol.allow=never")
    command = [program, *(part for setting in settings for part in ("-c", setting)), *arguments]
    # Without GIT_*, which would point elsewhere, and without our own keys.
    kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "USERPROFILE", "SYSTEMROOT")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the program is from PATH, the name comes after "--"
            command,
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,  # the server speaks to its client on these
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return -1
    return done.returncode
