"""What can go wrong between this server and the API.

ClientTokenError                   what happened; did anything change; what to do next
├── UserInputError    user_input   the call must be changed: bad input, unknown token, refused by a rule
│   ├── NotFound                   no such client token (or a flow, agent or surface that the call names)
│   ├── ValueNotStored             a token from before values were stored
│   └── Refused                    a person or the operator's policy said no
│       ├── AwaitingApproval       nobody has said yes or no yet, outside the conversation
│       └── OutsideEnvironment     the server is locked to tokens of the other environment
├── AuthError         auth         this key may not do this
│   ├── CallerUnknown              nobody is authenticated for this call
│   ├── NoApiKey                   no key is set, so nothing was sent
│   ├── KeyUnavailable             a key is stored and cannot be read, so nothing was sent
│   ├── KeyRejected                the API does not accept the key
│   └── MissingScope               the key lacks a permission, and the API does not say which
│       └── CallerLacksScope       the caller lacks a scope, so nothing was sent
├── RetryableError    retryable    the same call may work later
│   ├── RateLimited                … after `retry_after` seconds
│   ├── TimedOut                   no complete answer in time, and nothing can have changed
│   └── Unreachable                no connection: nothing was sent
├── PermanentError    permanent    the same call will not work
│   ├── NotTheApi                  what answers at this address is not the API that this server knows
│   ├── UntrustedCertificate       this machine does not trust who answers: nothing was sent
│   └── NoConnectionPossible       the environment's proxy or certificate file cannot be used: nothing was sent
└── OutcomeUnknown    permanent    a write was sent and its answer was lost: look before repeating it

What to do next names tools and settings, so it is written here, at the classes, and not in `api/`, which knows neither.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Kind = Literal["retryable", "permanent", "user_input", "auth"]
Outcome = Literal["failed", "bad_input", "not_found", "refused", "waiting", "unknown"]
"""What came of a call that was not done, in a word for programs."""

NOTHING_CHANGED = "Nothing was changed."


class ClientTokenError(Exception):
    """A failure that a model or a person can act on.

    Args:
        what: what happened, one sentence.
        next_step: what to do now; the class's own advice if it is not given.
        changed: whether anything changed; what the class says if it is not given.
        status: the API's HTTP status, when it answered.
        retry_after: seconds to wait before the same call can work.
    """

    kind: ClassVar[Kind] = "permanent"
    outcome: ClassVar[Outcome] = "failed"
    next_step: str = ""
    changed: str = NOTHING_CHANGED

    def __init__(
        self,
        what: str,
        next_step: str | None = None,
        *,
        changed: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.status, self.retry_after = what, status, retry_after
        self.next_step = self.next_step if next_step is None else next_step
        self.changed = self.changed if changed is None else changed

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.changed, self.next_step) if part)


class UserInputError(ClientTokenError):
    kind = "user_input"
    outcome: ClassVar[Outcome] = "bad_input"


class NotFound(UserInputError):
    outcome: ClassVar[Outcome] = "not_found"
    next_step = "Check the ids with the user; list_client_tokens shows which tokens exist."


class ValueNotStored(UserInputError):
    outcome: ClassVar[Outcome] = "not_found"
    next_step = "A fresh value can be made with regenerate_client_token; the old one then stops working."


class Refused(UserInputError):
    """A gate, a person or the operator's policy said no."""

    outcome: ClassVar[Outcome] = "refused"


class AwaitingApproval(Refused):
    """The same call goes ahead once a person has approved it. `code` names it to them."""

    outcome: ClassVar[Outcome] = "waiting"

    def __init__(self, what: str, next_step: str, code: str) -> None:
        super().__init__(what, next_step)
        self.code = code


class OutsideEnvironment(Refused):
    next_step = "Do not retry; tell the user. The operator sets RUNTYPE_MCP_ENVIRONMENT."


class AuthError(ClientTokenError):
    kind = "auth"


class NoApiKey(AuthError):
    next_step = (
        "Ask the operator to run `runtype-mcp login` in a terminal, to set RUNTYPE_API_KEY in this server's "
        "environment, or to start it with --sandbox to try it without an account."
    )


class KeyUnavailable(AuthError):
    next_step = "Tell the user; then call again."


class KeyRejected(AuthError):
    next_step = "Ask the operator to run `runtype-mcp whoami`, which says which key is used and for which address."


class MissingScope(AuthError):
    next_step = "Do not retry; tell the user which permission is missing."


class CallerUnknown(AuthError):
    outcome: ClassVar[Outcome] = "refused"
    next_step = "Do not retry; the user has to sign in again."


class CallerLacksScope(MissingScope):
    outcome: ClassVar[Outcome] = "refused"
    next_step = "Do not retry; tell the user which scope is missing. Whoever runs this server can grant it."


class RetryableError(ClientTokenError):
    kind = "retryable"
    next_step = "Try again later."


class RateLimited(RetryableError):
    next_step = "Try again in a minute."


class TimedOut(RetryableError):
    next_step = "Try again later; if it happens again, the operator can raise RUNTYPE_MCP_TIMEOUT."


class Unreachable(RetryableError):
    next_step = "Check the network and RUNTYPE_BASE_URL, then try again."


class PermanentError(ClientTokenError):
    """The same call will not work, whoever repeats it."""


class NotTheApi(PermanentError):
    next_step = "Ask the operator to check RUNTYPE_BASE_URL."


class UntrustedCertificate(PermanentError):
    next_step = (
        "Ask the operator to check RUNTYPE_BASE_URL, and whether a proxy's own certificate must be trusted here "
        "(SSL_CERT_FILE)."
    )


class NoConnectionPossible(PermanentError):
    next_step = "Ask the operator to check RUNTYPE_BASE_URL, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE."


class OutcomeUnknown(PermanentError):
    outcome: ClassVar[Outcome] = "unknown"
    next_step = "Read the token before repeating this."
    changed = ""
