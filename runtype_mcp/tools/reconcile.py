"""A write whose answer was lost: it is looked up and told as it is, never guessed and never repeated.

Looking shows what was done. It cannot show that something will not be done: behind a gateway that gave up, the API
may still be writing. So what is not there is looked for twice, and is then said to be not done *so far*.
"""

from __future__ import annotations

from runtype_mcp.errors import ClientTokenError, OutcomeUnknown

PAUSES = (0.0, 1.0)
"""Seconds before each look."""


def applied(error: ClientTokenError) -> str:
    return f"The API's answer was lost ({error.what}), so the token was read again: it was done."


def not_applied_yet(error: OutcomeUnknown, seen: str, next_step: str) -> OutcomeUnknown:
    """`seen`: what the looks found, which is what there was before."""
    return OutcomeUnknown(
        f"The API's answer was lost. {error.what} {seen} so far.", next_step, changed="Nothing was changed so far."
    )


def undetermined(error: OutcomeUnknown, look: ClientTokenError) -> OutcomeUnknown:
    """The look failed too. That nothing was changed is only true of the look."""
    return OutcomeUnknown(
        f"The API's answer was lost. {error.what} Reading again failed too: {look.what}",
        "Do not repeat it; once the API answers, call list_client_tokens or get_client_token to see what is there.",
        changed="It is unknown whether it was done.",
    )
