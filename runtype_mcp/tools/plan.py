"""What a gated call would do (`Plan`), in the forms in which people are shown it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from pydantic.alias_generators import to_camel

from runtype_mcp import results
from runtype_mcp.api.models import ClientToken
from runtype_mcp.policy.effects import Effect
from runtype_mcp.policy.sanitize import for_question, sanitize_line
from runtype_mcp.settings import Approval


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a call would do, worked out from the live token before anything is asked or sent.

    Attributes:
        operation: the tool's name.
        verb: the operation for people, such as "Delete".
        arguments: the exact call, without the confirmation itself.
        token: as it is now; None for a create.
        name: what confirms the call: the token's present name.
        changes: of an update, the fields that change, by their names in Python.
        undo: what cannot be undone, and what to do instead.
        note: a fact that the question must show, so that an answered question cannot be answered twice.
        write_epoch: of the state, from before the token was read.
        approvals_used: how many approvals this exact plan has consumed.
        policy: decides instead of the operator's policy for the environment. To approve is never approved by another.
        recorded: further facts for the audit log's line.
    """

    operation: str
    verb: str
    arguments: Mapping[str, Any]
    token: ClientToken | None
    name: str
    environment: str
    effects: tuple[Effect, ...]
    undo: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    write_epoch: int = 0
    approvals_used: int = 0
    policy: Approval | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def on(cls, token: ClientToken, **facts: Any) -> Self:
        """A plan for a token that exists."""
        # Nobody can recognise or type a name that has nothing to see: the id stands for it.
        name = token.display_name if sanitize_line(token.display_name, 255) else token.id
        return cls(token=token, name=name, environment=token.environment, **facts)

    @property
    def subject(self) -> str:
        """The token for a one-line text to people. Names come from the API: they cannot reshape the line."""
        kind = f"the {sanitize_line(self.environment, 20)} client token"
        shown = for_question(self.name, "without a name")
        return f'{kind} "{shown}"' + (f" ({sanitize_line(self.token.id, 128)})" if self.token else "")

    @property
    def facts(self) -> str:
        """What tells the token from another of its name: two names that were swapped do not hide that."""
        return results.facts(self.token) if self.token else ""

    @property
    def digest(self) -> str:
        """SHA-256 over the exact call and the token's present state: what an approval is bound to."""
        state = self.token.settings() if self.token else None
        return sha256(self.operation, self.arguments, state, [effect.sentence for effect in self.effects], self.note)

    def masked(self, redact: Callable[[str], str], write_epoch: int) -> Self:
        """The same plan, fit for people: a question and a ticket leave the server too, past the exit of results."""
        effects = tuple(replace(effect, sentence=redact(effect.sentence)) for effect in self.effects)
        return replace(self, effects=effects, note=redact(self.note), write_epoch=write_epoch)

    def what(self) -> str:
        """All that the call would do, whole and worst first, in one paragraph for a person."""
        sentences = " ".join(effect.sentence for effect in self.effects)
        return " ".join(part for part in (f"{self.verb} {self.subject}?", self.facts, sentences, self.undo) if part)

    def question(self) -> str:
        """For a person. Only facts that matter and do not change by themselves, so that it is asked once."""
        # A yes is for one call. Once it is used, the question reads differently, so a copy of it fits no more.
        again = f"-{self.approvals_used}" if self.approvals_used else ""
        return " ".join(part for part in (self.what(), self.note, f"Reference {self.digest[:8]}{again}.") if part)

    def confirm_call(self) -> str:
        """The exact call that would go ahead."""
        confirmation = {"confirm": True} | ({"expected_name": sanitize_line(self.name, 255)} if self.token else {})
        call = json.dumps({**self.arguments, **confirmation}, ensure_ascii=False, separators=(",", ":"))
        return f"{self.operation} {call}"

    def card(self) -> dict[str, Any]:
        """The approval card: the same facts as JSON, for a page or a terminal. Its texts are sanitized."""
        return {
            "operation": self.operation,
            "verb": self.verb,
            "name": sanitize_line(self.name, 255),
            "environment": sanitize_line(self.environment, 20),
            "token": plain(results.summary(self.token).data()) if self.token else None,
            "effects": [plain(asdict(effect)) for effect in self.effects],
            "undo": self.undo,
            "note": plain(self.note),
            "changes": plain(self._changes()),
        }

    def _changes(self) -> list[dict[str, Any]]:
        """Of an update, each field that changes, in the API's names."""
        before = self.token.settings() if self.token else {}
        return [
            {"field": to_camel(name), "before": before[name], "after": after}
            for name, after in self.changes.items()
            if before[name] != after
        ]


def plain(value: Any) -> Any:
    """A copy of JSON whose texts, keys included, are single visible lines, and whole."""
    match value:
        case str():
            return sanitize_line(value, sys.maxsize)
        case dict():
            return {plain(key): plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value


def sha256(*parts: Any) -> str:
    """In hex, over anything that JSON can carry."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
