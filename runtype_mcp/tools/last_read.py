"""What each caller was last shown of a token, so that nobody overwrites a change that they never saw.

The API has no ETag: its last write wins, silently. So the server remembers, per caller and token, the settings
that it showed, and refuses a change or a confirmation that was decided on settings which are no longer there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from runtype_mcp.api.models import ClientToken
from runtype_mcp.errors import Refused
from runtype_mcp.policy.sanitize import sanitize_line

SUMMARY = ("name", "environment", "is_active", "allowed_origins")
"""The settings that a summary shows."""
_MOST = 2000
"""Tokens remembered, over all callers. The oldest is forgotten first."""


class Seen:
    def __init__(self) -> None:
        self._shown: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    def show(self, caller: str, token: ClientToken, fields: Iterable[str] | None = None) -> None:
        """Remember that `caller` was shown `token` as it is now.

        Where only `fields` were shown, what was shown before of the others still counts. Of a token that is new to
        the caller all of it does: what changes from now on was changed behind their back.
        """
        key, now = (caller, token.id), token.settings()
        if fields is not None and key in self._shown:
            now = self._shown[key] | {name: now[name] for name in fields}
        self._shown[key] = now
        self._shown.move_to_end(key)
        if len(self._shown) > _MOST:
            self._shown.popitem(last=False)

    def check(self, caller: str, token: ClientToken, fields: Iterable[str] | None = None) -> None:
        """Refuse when `fields` (default: any setting) differ from what `caller` was shown.

        The refusal shows the present settings, so that a repeated call is decided on them.
        """
        shown = self._shown.get((caller, token.id))
        if shown is None:
            return
        now = token.settings()
        changed = [name for name in (fields or now) if name in now and shown.get(name) != now[name]]
        if not changed:
            return
        self.show(caller, token)
        differences = "; ".join(
            "its value was regenerated"
            if name == "token_hint"
            else "{} was {} and is now {}".format(name, *_difference(shown.get(name), now[name]))
            for name in changed[:5]
        )
        raise Refused(
            f"Somebody else changed {token.id} since you were shown it: {differences}.",
            "Check that the change is still right, then call again.",
        )


def _difference(was: Any, now: Any) -> tuple[str, str]:
    """Both, short; of two objects only what differs, or what is new might lie behind the cut."""
    if isinstance(was, dict) and isinstance(now, dict):
        other = [name for name in {**was, **now} if was.get(name) != now.get(name)]
        was, now = ({name: side[name] for name in other if name in side} for side in (was, now))
    return sanitize_line(repr(was), 200), sanitize_line(repr(now), 200)
