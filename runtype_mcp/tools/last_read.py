"""What each caller was last shown of a token, so that nobody overwrites a change that they never saw.

The API has no ETag: its last write wins, silently. So the server remembers, for each caller and token, the settings
that it showed, and refuses a change or a confirmation that was decided on settings which are no longer there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from runtype_mcp.api.models import ClientToken
from runtype_mcp.errors import Refused
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools.spec import ToolContext

SUMMARY = ("name", "environment", "is_active", "allowed_origins")
"""The settings that a summary shows."""


async def record(context: ToolContext, *tokens: ClientToken, fields: Iterable[str] | None = None) -> None:
    """Remember that the caller is shown these tokens as they are now, or only `fields` of them."""
    reads = {token.id: token.settings() for token in tokens}
    await context.state.record_reads(context.caller.subject, reads, fields)


async def ensure_current(context: ToolContext, token: ClientToken, fields: Iterable[str] | None = None) -> None:
    """Refuse if `fields` (default: any setting) differ from what the caller was last shown.

    The refusal shows the present settings, so a repeated call is decided on them.

    Raises:
        Refused: somebody else changed the token. Nothing was changed by this call.
    """
    shown = await context.state.last_read(context.caller.subject, token.id)
    if shown is None or not (found := differences(shown, token.settings(), fields)):
        return
    await record(context, token)
    raise Refused(
        f"Somebody else changed {sanitize_line(token.id, 128)} since you were shown it: {'; '.join(found[:5])}.",
        "Check that the change is still right, then call again.",
    )


def differences(shown: dict[str, Any], now: dict[str, Any], fields: Iterable[str] | None = None) -> list[str]:
    """For each of `fields` (default: all) that differs, a clause that says what it was and is."""
    names = now if fields is None else [name for name in fields if name in now]
    return [
        "its value was regenerated"
        if name == "token_hint"
        else "{} was {} and is now {}".format(name, *_difference(shown.get(name), now[name]))
        for name in names
        if not _same(shown.get(name), now[name])
    ]


def _same(was: Any, now: Any) -> bool:
    # As JSON, because NaN is not equal to itself: a token with one in its config could never be changed again.
    return bool(was == now) or json.dumps(was, sort_keys=True) == json.dumps(now, sort_keys=True)


def _difference(was: Any, now: Any) -> tuple[str, str]:
    """Both, short; of two objects only what differs, or what is new might lie behind the cut."""
    if isinstance(was, dict) and isinstance(now, dict):
        other = [name for name in {**was, **now} if not _same(was.get(name), now.get(name))]
        was, now = ({name: side[name] for name in other if name in side} for side in (was, now))
    return sanitize_line(repr(was), 200), sanitize_line(repr(now), 200)
