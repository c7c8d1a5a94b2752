"""What a write really did: a lost answer is looked up and never guessed, and a 200 is not believed alone.

Looking shows what was done. It cannot show that something will not be done: behind a gateway that gave up, the API
may still be writing. So what is not there is looked for twice, and is then said to be not done *so far*.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from runtype_mcp.api.models import ApiWarning, ClientToken
from runtype_mcp.errors import ClientTokenError, OutcomeUnknown
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.results import compact
from runtype_mcp.tools.spec import ToolContext

PAUSES = (0.0, 1.0)
"""Seconds before each look."""
T = TypeVar("T")


async def look_again(
    context: ToolContext, error: OutcomeUnknown, look: Callable[[], Awaitable[T | None]], as_before: str, next_step: str
) -> T:
    """What `look` finds after a lost answer. It returns None while all is as it was before the write.

    Raises:
        OutcomeUnknown: it was not done so far (`as_before` says what was found instead), the looks failed too, or
            `look` found what it cannot tell.
    """
    for pause in PAUSES:
        await context.services.sleep(pause)
        try:
            found = await look()
        except OutcomeUnknown:
            raise
        except ClientTokenError as failed:
            # That nothing was changed is only true of the look.
            raise unclear(
                error,
                f"Reading again failed too: {failed.what}",
                "Do not repeat it; once the API answers, call list_client_tokens or get_client_token to see what is "
                "there.",
                "It is unknown whether it was done.",
            ) from failed
        if found is not None:
            return found
    raise unclear(error, f"{as_before} so far.", next_step, "Nothing was changed so far.")


def unclear(error: OutcomeUnknown, found: str, next_step: str, changed: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"The API's answer was lost. {error.what} {found}", next_step, changed=changed)


def applied(error: ClientTokenError) -> str:
    return f"The API's answer was lost ({error.what}), so the token was read again: it was done."


def differing(token: ClientToken, asked: Mapping[str, Any]) -> list[str]:
    """The settings in which a token is not what was asked for. What an older API leaves out says nothing."""
    return [
        name
        for name, value in asked.items()
        if name in token.model_fields_set and _comparable(getattr(token, name)) != _comparable(value)
    ]


def _comparable(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def api_warnings(warnings: list[ApiWarning]) -> list[str]:
    """The API's own warnings, marked as its own. One that says nothing is told too, by its type."""
    said = [sanitize_line(warning.message, 300) or sanitize_line(warning.type, 80) for warning in warnings]
    return list(dict.fromkeys(f"The API warns: {text or 'it does not say of what.'}" for text in said))


def not_as_asked(token: ClientToken, asked: Mapping[str, Any]) -> list[str]:
    """A warning for each setting that the API stored differently."""
    return [
        f"The API stored {name} as {compact(getattr(token, name))}, not as asked." for name in differing(token, asked)
    ]
