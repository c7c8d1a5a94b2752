"""A host's configuration file: read, replaced in one step, and put back.

It belongs to the host and to its user. So a link stays a link, the mode stays, and what was in the file before is kept
in the state directory: beside it, a copy with other servers' secrets could be committed by git.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runtype_mcp.storage import files

MAX_BYTES = 50 * 1024 * 1024
KEPT = 10
"""How many versions of one file are kept."""


class FileRefused(Exception):
    """The file cannot be used. The message says why, that nothing was changed, and what to do."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was at one moment.

    Attributes:
        path: where the host looks for it.
        target: the file itself, behind links.
        text: what is in it; None where it does not exist.
        mode: its permissions.
        stamp: what changes when it is written.
    """

    path: Path
    target: Path
    text: str | None = None
    mode: int = 0o600
    stamp: tuple[int, ...] = ()


def read(path: Path) -> ConfigFile:
    """The file at `path`.

    Raises:
        FileRefused: it is not a text file that this user may replace.
    """
    target = Path(os.path.realpath(path))
    try:
        with files.opened(target, os.O_RDONLY) as fd:
            info = os.fstat(fd)
            with os.fdopen(fd, "rb", closefd=False) as file:
                content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        _check_folder(target)
        return ConfigFile(path, target)
    except OSError as exc:
        raise _refused(f"{path} cannot be read: {exc.strerror}.", "Check the file and its rights.") from None
    if files.current_user() not in (None, info.st_uid):
        raise _refused(f"{path} belongs to another user.", "Run this as that user, without sudo.")
    if not info.st_mode & stat.S_IWUSR:
        raise _refused(f"{path} is read-only.", "Allow writing with chmod u+w, or use --print.")
    if len(content) > MAX_BYTES:
        raise _refused(f"{path} is larger than 50 MiB.", "Edit it by hand: --print shows the entry.")
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise _refused(f"{path} is not UTF-8 text (line {line}).", "Save it as UTF-8, then try again.") from None
    return ConfigFile(path, target, text, stat.S_IMODE(info.st_mode), _stamp(info))


def replace(file: ConfigFile, text: str | None, backups: Path, now: datetime) -> Path | None:
    """Put `text` in the file's place, or delete the file if it is None. Returns where the version before is kept.

    Raises:
        FileRefused: nothing was changed; the file is not as it was read, or the system said no.
    """
    try:
        kept = _keep(file, backups, now)
        if text is None:
            _ensure_unchanged(file)
            file.target.unlink()
        else:
            _write(file, text)
        files.sync_directory(file.target.parent)
    except OSError as exc:
        raise _refused(f"{file.path} cannot be written: {exc.strerror}.", "Check the folder and its rights.") from None
    return kept


def versions(file: ConfigFile, backups: Path) -> Iterator[str]:
    """What was in the file before, newest first."""
    for path in reversed(_kept(file, backups)):
        with suppress(OSError, UnicodeDecodeError):
            yield path.read_bytes().decode()


def _refused(what: str, advice: str) -> FileRefused:
    return FileRefused(f"{what} Nothing was changed. {advice}")


def _write(file: ConfigFile, text: str) -> None:
    file.target.parent.mkdir(parents=True, exist_ok=True)
    staged = file.target.with_name(f".{file.target.name}.{secrets.token_hex(4)}.tmp")
    files.create_private(staged, text.encode())
    replaced = False
    try:
        os.chmod(staged, file.mode)
        _ensure_unchanged(file)
        os.replace(staged, file.target)
        replaced = True
    finally:
        if not replaced:
            with suppress(OSError):
                staged.unlink()


def _ensure_unchanged(file: ConfigFile) -> None:
    try:
        stamp = _stamp(os.stat(file.target))
    except FileNotFoundError:
        stamp = ()
    if stamp != file.stamp:
        raise _refused(f"{file.path} was just changed by another program.", "Close the host, then try again.")


def _keep(file: ConfigFile, backups: Path, now: datetime) -> Path | None:
    if file.text is None:
        return None
    files.private_directory(backups)
    path = backups / f"{_prefix(file)}{now:%Y%m%dT%H%M%S%f}"
    files.create_private(path, file.text.encode())
    for old in _kept(file, backups)[:-KEPT]:
        old.unlink()
    return path


def _kept(file: ConfigFile, backups: Path) -> list[Path]:
    prefix = _prefix(file)
    return sorted(path for path in backups.glob("*") if path.name.startswith(prefix))


def _prefix(file: ConfigFile) -> str:
    return f"{file.target.name}.{hashlib.sha256(os.fsencode(file.target)).hexdigest()[:8]}."


def _stamp(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _check_folder(target: Path) -> None:
    """Refuse to make files as root that their user could not change."""
    folder = next(parent for parent in target.parents if parent.exists())
    if files.current_user() == 0 and os.stat(folder).st_uid != 0:
        raise _refused(f"{folder} belongs to another user.", "Run this as that user, without sudo.")
