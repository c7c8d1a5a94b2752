"""Whether git would commit a file that holds a secret."""

import os
import shutil
import subprocess
from pathlib import Path

_SECONDS = 5
_KEPT = ("PATH", "HOME", "XDG_CONFIG_HOME", "USERPROFILE", "SYSTEMROOT")


def warning(path: Path) -> str | None:
    """What to do so that git does not commit the file; None if git ignores it, or there is no repository."""
    work = next((folder for folder in path.parents if os.path.lexists(folder / ".git")), None)
    if work is None or _ignored(work, path):
        return None
    return f"Git may commit {path}: add it to .gitignore, and if git tracks it, run `git rm --cached` on it."


def _ignored(work: Path, path: Path) -> bool:
    """Whether git says that it ignores the file, which it never says of a file that it tracks."""
    program = shutil.which("git")
    # A `git` that comes with the repository is not git.
    if program is None or Path(program).resolve().is_relative_to(work):
        return False
    # A repository's own settings can name programs that git starts. They are not ours to trust.
    settings = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "protocol.allow=never")
    options = [part for setting in settings for part in ("-c", setting)]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the program is from PATH, the name comes after "--"
            [program, *options, "check-ignore", "-q", "--", f"./{path.relative_to(work).as_posix()}"],
            cwd=work,
            # Without GIT_*, which would point elsewhere, and without our own keys.
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            stdin=subprocess.DEVNULL,  # the server speaks to its client on these
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
