"""Rules about the environment that the settings and the cache of replies share.

The warm start imports this module, so it imports only what Python has loaded already.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # what type checkers take for true, without the cost of `typing`
if TYPE_CHECKING:
    from collections.abc import Mapping


def usable(environ: Mapping[str, str]) -> dict[str, str]:
    """The RUNTYPE_* variables that count as set, stripped and sorted by name.

    Hosts fill a form field that a person left empty with an empty string, or leave its placeholder. So they do with a
    reference to a variable that is not set, or to a folder where none is open.
    """
    given = {name: environ[name].strip() for name in sorted(environ) if name.startswith("RUNTYPE_")}
    return {name: value for name, value in given.items() if value and not _is_unfilled(name, value)}


def _is_unfilled(name: str, value: str) -> bool:
    """Whether a value is a reference that the host did not fill in, where to do without it allows nothing more."""
    if value.startswith("${user_config."):
        return True
    whole = value.startswith("$") and value.strip("${}").replace(":", "_").isidentifier()
    return whole and name in ("RUNTYPE_API_KEY", "RUNTYPE_MCP_FILES_ROOT")


def bearer(raw: str) -> str:
    """An API key without the `Bearer ` that people copy along with it, in any case."""
    words = raw.split(None, 1)
    return words[1] if len(words) == 2 and words[0].lower() == "bearer" else raw


def is_client_token(key: str) -> bool:
    """Whether a key is a client token, which browsers use; the server needs an API key."""
    return key.startswith(("ct_live_", "ct_test_"))


def can_log_to(path: str) -> bool:
    """Whether regular files are or can be made at `path` and at its lock's path, folders included; writes nothing."""
    for file in (path, f"{path}.lock"):
        if os.path.lexists(file):
            place, right_kind = file, os.path.isfile(file) and not os.path.islink(file)
        else:
            place = os.path.dirname(os.path.abspath(file))
            while not os.path.lexists(place):
                place = os.path.dirname(place)
            right_kind = os.path.isdir(place)
        if not right_kind or not os.access(place, os.W_OK):
            return False
    return True


def user_folder(environ: Mapping[str, str], xdg: str, unix: str, mac: str, platform: str = sys.platform) -> str:
    """This program's folder in the user's directory for such files; empty where there is no home directory.

    `xdg` names the variable that decides on every system; `unix` and `mac` are where the files are without it.
    """
    base = environ.get(xdg, "")
    if not os.path.isabs(base):  # the XDG rules say that a relative path is to be ignored
        windows = environ.get("LOCALAPPDATA") or "~/AppData/Local"
        base = os.path.expanduser({"win32": windows, "darwin": mac}.get(platform, unix))
    return os.path.join(base, "runtype-mcp") if os.path.isabs(base) else ""
