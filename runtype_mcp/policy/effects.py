"""What would this change break, or expose? Pure rules; they decide what is gated, not a tool's name.

An *outage* stops or narrows what visitors of an embedded page can do. An *exposure* lets more people, pages or
spending through. A change with neither runs at once: a gate that asks about everything teaches people to click.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runtype_mcp.api.models import LIMITS, ClientToken
from runtype_mcp.policy import origins, redaction
from runtype_mcp.policy.sanitize import sanitize_line


@dataclass(frozen=True, slots=True)
class Effect:
    """One consequence, as one sentence for people."""

    kind: Literal["outage", "exposure"]
    severity: Literal["high", "medium"]
    sentence: str


def deleting() -> list[Effect]:
    return [Effect("outage", "high", "Every page that embeds this token stops working at once, for good.")]


def regenerating() -> list[Effect]:
    return [
        Effect("outage", "high", "Every page that embeds the present value stops working at once, until it is updated.")
    ]


def showing_value(token: ClientToken) -> list[Effect]:
    """A value is public by design where origins protect it; where none do, whoever reads it can use it."""
    if not any(map(origins.is_open, token.allowed_origins)):
        return []
    sentence = "The value would stand in this conversation, and whoever has it can use it: no origin list protects it."
    return [Effect("exposure", "high", sentence)]


def creating(allowed_origins: list[str], environment: str, config: Mapping[str, Any]) -> list[Effect]:
    return [*_opening(allowed_origins, environment != "test"), *_config(config)]


def updating(token: ClientToken, change: Mapping[str, Any]) -> list[Effect]:
    """The effects of an update.

    Args:
        token: as it is now.
        change: the fields that are given, by their names in Python.
    """
    found: list[Effect] = []
    if token.is_active and change.get("is_active") is False:
        sentence = "Every page that embeds this token stops working until it is activated again."
        found.append(Effect("outage", "high", sentence))
    if not token.is_active and change.get("is_active") is True:
        found.append(Effect("exposure", "medium", "The token's present value works again wherever it is embedded."))
    if "allowed_origins" in change:
        found += _opening(origins.added(token.allowed_origins, change["allowed_origins"]), token.is_live)
    found += _config({k: v for k, v in change.get("config", {}).items() if (token.config or {}).get(k) != v})
    for field, noun in (("agent_ids", "agent"), ("flow_ids", "flow")):
        gained = [item for item in change.get(field, ()) if item not in getattr(token, field)]
        if gained:
            found.append(Effect("exposure", "medium", f"Visitors gain the use of {noun} {_join(gained)}."))
    for field in LIMITS:
        before, after = getattr(token, field), change.get(field)
        words = field.replace("_", " ")
        if before is not None and after is not None and after > before:
            found.append(
                Effect("exposure", "medium", f"The {words} rises from {before} to {after}: more can be spent.")
            )
        if before is None and after is not None:  # older API versions leave limits out
            sentence = f"The {words} becomes {after}, and what it was is not known: more may be spent, or less."
            found.append(Effect("exposure", "medium", sentence))
    # Also of one that goes off or on with the same call: the rest stays when it is activated, or comes with it.
    if token.is_active or change.get("is_active") is True:
        found += _narrowing(token, change)
    return found


def _narrowing(token: ClientToken, change: Mapping[str, Any]) -> list[Effect]:
    """What the visitors of an active token lose."""
    found: list[Effect] = []
    if lost := origins.removed(token.allowed_origins, change.get("allowed_origins", token.allowed_origins)):
        found.append(Effect("outage", "high", f"Pages on {_join(lost)} stop working."))
    for field, noun in (("agent_ids", "agent"), ("flow_ids", "flow")):
        present: list[str] = getattr(token, field)
        if gone := [item for item in present if item not in change.get(field, present)]:
            found.append(Effect("outage", "high", f"Pages that use {noun} {_join(gone)} stop working."))
    for field in LIMITS:
        before, after = getattr(token, field), change.get(field)
        if before is not None and after is not None and after < before:
            words = field.replace("_", " ")
            found.append(
                Effect("outage", "medium", f"The {words} falls from {before} to {after}: visitors may be cut off.")
            )
    if token.default_flow_id and change.get("default_flow_id", token.default_flow_id) is None:
        found.append(Effect("outage", "medium", "Pages that name no flow may stop working."))
    alias = change.get("target_alias")
    if token.is_live and alias not in (None, "live", token.target_alias):
        sentence = (
            f"Pages follow the release alias {alias}: a preview expires after 14 days and never falls back to live."
        )
        found.append(Effect("outage", "medium", sentence))
    return found


def _opening(entries: list[str], live: bool) -> list[Effect]:
    """What newly allowed origins let in."""
    found: list[Effect] = []
    for entry in entries:
        if entry == "*":
            found.append(
                Effect("exposure", "high", "'*' lets every website use this token and spend the account's quota.")
            )
        elif entry == "native":
            sentence = (
                "'native' admits requests without an Origin header: whoever has the value can use it from anywhere."
            )
            found.append(Effect("exposure", "high", sentence))
        elif origins.is_wildcard(entry):
            found.append(Effect("exposure", "medium", f"Every subdomain of {entry} may use this token."))
        if live and origins.is_localhost(entry):
            found.append(
                Effect("exposure", "medium", f"{entry} lets any program on a visitor's machine use a live token.")
            )
        elif live and origins.is_plain_http(entry):
            sentence = f"{entry} is not encrypted: whoever shares the network can use the live token."
            found.append(Effect("exposure", "medium", sentence))
    return found


# Keys of other services that people paste by mistake, as their own scanners know them.
_FOREIGN = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20}|[rs]k_live_[A-Za-z0-9]{16}|gh[opsu]_[A-Za-z0-9]{30}|github_pat_\w{20}"
    r"|xox[abpr]-[A-Za-z0-9-]{10}|AKIA[0-9A-Z]{16}\b)|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def holds_secret(config: Mapping[str, Any]) -> bool:
    """Whether a config holds what looks like a secret, Runtype's or another service's."""
    return redaction.redact_json(dict(config)) != config or bool(_FOREIGN.search(json.dumps(config, default=str)))


def _config(config: Mapping[str, Any]) -> list[Effect]:
    # `config` is delivered to every visitor's browser, so a key in it is a published key.
    if not holds_secret(config):
        return []
    return [
        Effect("exposure", "high", "config is sent to every visitor's browser, and holds what looks like a secret.")
    ]


def _join(items: list[str], most: int = 5) -> str:
    # Some come from the API, where others wrote them, and all may end in a question to a person.
    items = [sanitize_line(item, 100) for item in items]
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
