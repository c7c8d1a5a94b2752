"""What comes of asking whether a gated call may go ahead."""

from __future__ import annotations

from dataclasses import dataclass

from runtype_mcp.errors import AwaitingApproval, Refused
from runtype_mcp.settings import Approval, Settings
from runtype_mcp.storage.tickets import BY_ANOTHER, BY_ONE, DecidedIn

NOT_AGAIN = "Do not call again without new instructions from the user."


@dataclass(frozen=True, slots=True)
class Approved:
    """The call may go ahead.

    Both are for the audit log: `how` is `not gated`, `flag`, `person` or `ticket CODE (page)`, and `by` is the identity
    of a second person.
    """

    how: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """Nobody confirmed the call yet: show what it would do."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The call does not go ahead. Nothing was changed."""

    error: Refused


Verdict = Approved | Preview | Denied


def denied(what: str, next_step: str = NOT_AGAIN) -> Denied:
    """A refusal: what happened, and what to do next."""
    return Denied(Refused(what, next_step))


def waiting(what: str, next_step: str, code: str) -> Denied:
    """Nobody has decided yet: what is waited for, what to do until then, and the code that names it to a person."""
    return Denied(AwaitingApproval(what, next_step, code))


def policy_sentence(approval: Approval) -> str:
    """The policy in force, for a model and for a person."""
    return {
        "auto": "Policy auto: confirm and the name are needed, and a person is asked where one can be.",
        "human": "Policy human: a person must approve: in the client, in a browser or in a terminal.",
        "second-person": "Policy second-person: another person with the scope client_tokens:approve must approve.",
        "flag": "Policy flag: confirm and the name are needed; no person is asked.",
        "deny": "Policy deny: calls with such effects are refused. Only the operator can change that.",
    }[approval]


def counted(settings: Settings, environment: str) -> frozenset[DecidedIn]:
    """Where an approval counts for a token of this environment, beside the client's own form."""
    match settings.approval_for(environment):
        case "auto":
            return BY_ONE
        case "human":
            return BY_ONE if settings.human_in_app else BY_ONE - {"app"}
        case "second-person":
            return BY_ANOTHER
        case "flag" | "deny":  # no person is asked
            return frozenset()
