"""What is told of calls to whoever measures them. Over stdio nobody does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request to the API that has ended.

    Attributes:
        operation: such as `GET /v1/client-tokens/{id}`, without the id.
        attempt: 1, or more where it was tried again.
        status: the HTTP status; None where there was no answer.
        began: unix time in nanoseconds.
        ended: the same.
    """

    operation: str
    attempt: int
    status: int | None
    began: int
    ended: int


class Observer:
    """Is told what happens, and does nothing with it. Nothing it is told is a secret, but names and ids may be."""

    def call_ended(self, tool: str, outcome: str) -> None:
        """A call was answered: `done`, `preview`, `asked`, or the outcome of its error."""

    def approved(self, tool: str, how: str) -> None:
        """A gated call may go ahead: `not gated`, `flag`, `person`, or `ticket` and more about it."""

    def authorized(self, tool: str, began: int, ended: int) -> None:
        """A gated call was planned, and a person asked, from `began` to `ended` (unix time in nanoseconds)."""

    def api_answered(self, request: ApiRequest) -> None:
        """The API answered a request, or did not."""


SILENT = Observer()
