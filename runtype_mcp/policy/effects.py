"""What would this change break, or expose? Pure rules; they decide what is gated, not a tool's name.

An *outage* stops or narrows what visitors of an embedded page can do, or changes what answers them. An *exposure*
lets more people, pages or spending through. A change with neither runs immediately: a gate that asks about
everything teaches people to click.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runtype_mcp.api.models import LIMITS, ClientToken
from runtype_mcp.policy import origins
from runtype_mcp.policy.redaction import PATTERNS_ONLY, Redactor
from runtype_mcp.policy.sanitize import for_question, sanitize_line
from runtype_mcp.policy.visible import visible

Change = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Effect:
    """One consequence, as one sentence for people."""

    kind: Literal["outage", "exposure"]
    severity: Literal["high", "medium"]
    sentence: str


def embedders(entries: Iterable[str]) -> str:
    """What embeds a token of these allowed origins, in the singular: a page has an origin, an app may have none."""
    apps = [entry == "native" or origins.is_custom_scheme(entry) for entry in entries]
    return "page and app" if any(apps) and not all(apps) else "app" if any(apps) else "page"


def _all(token: ClientToken) -> str:
    return embedders(token.allowed_origins).replace("page", "pages").replace("app", "apps").capitalize()


def deleting(token: ClientToken) -> list[Effect]:
    who = embedders(token.allowed_origins)
    return [Effect("outage", "high", f"Every {who} that embeds this token stops working immediately, for good.")]


def regenerating(token: ClientToken) -> list[Effect]:
    who = embedders(token.allowed_origins)
    sentence = f"Every {who} that embeds the present value stops working immediately, until it is updated."
    return [Effect("outage", "high", sentence)]


def showing_value(token: ClientToken) -> list[Effect]:
    """A value is public by design where origins protect it; where none do, whoever reads it can use it."""
    entries = token.allowed_origins
    if entries and not any(origins.is_open(entry) or origins.is_public_wildcard(entry) for entry in entries):
        return []
    sentence = "The value would stand in this conversation, and whoever has it can use it: no origin list protects it."
    return [Effect("exposure", "high", sentence)]


def creating(
    allowed_origins: Iterable[str],
    environment: str,
    config: Mapping[str, Any],
    target_alias: str | None = None,
    redactor: Redactor = PATTERNS_ONLY,
) -> list[Effect]:
    """The effects of a create, worst first. `redactor` knows the caller's own key."""
    live = environment != "test"
    found = [*_opening(allowed_origins, live), *_publishing(config, redactor)]
    return _worst_first([*found, *_following_preview(target_alias if live else None)])


def updating(
    token: ClientToken, change: Change, redactor: Redactor = PATTERNS_ONLY, names: Mapping[str, str] | None = None
) -> list[Effect]:
    """The effects of an update, worst first.

    Args:
        token: as it is now.
        change: the fields that are given, by their names in Python.
        redactor: the caller's, which knows the caller's own key.
        names: of agents and flows, by their ids, as far as they are known.
    """
    found = [effect for rule in (_activity, _origins, _limits) for effect in rule(token, change)]
    found += [effect for rule in (_ids, _answers) for effect in rule(token, change, names or {})]
    before = token.config or {}
    config = {key: value for key, value in change.get("config", {}).items() if before.get(key) != value}
    found += _publishing(config, redactor)
    # Also of one that goes off or on with the same call: the rest stays when it is activated, or comes with it.
    serves = token.is_active or change.get("is_active") is True
    return _worst_first(effect for effect in found if serves or effect.kind == "exposure")


def _worst_first(effects: Iterable[Effect]) -> list[Effect]:
    return sorted(effects, key=lambda effect: (effect.severity != "high", effect.kind != "outage"))


# The rules of an update. They do not ask whether the token is active: `updating` drops the outages of a token that
# serves nobody.


def _activity(token: ClientToken, change: Change) -> Iterator[Effect]:
    active = change.get("is_active", token.is_active)
    if token.is_active and not active:
        who = embedders(token.allowed_origins)
        sentence = f"Every {who} that embeds this token stops working until it is activated again."
        yield Effect("outage", "high", sentence)
    if active and not token.is_active:
        yield Effect("exposure", "medium", "The token's present value works again wherever it is embedded.")


def _origins(token: ClientToken, change: Change) -> Iterator[Effect]:
    if "allowed_origins" not in change:
        return
    before, after = token.allowed_origins, change["allowed_origins"]
    yield from _opening(origins.added(before, after), token.is_live)
    lost = origins.removed(before, after)
    if sites := [entry for entry in lost if entry not in ("*", "native") and not origins.is_custom_scheme(entry)]:
        yield Effect("outage", "high", f"Pages on {_join(sites)} stop working.")
    if schemes := [entry for entry in lost if origins.is_custom_scheme(entry)]:
        yield Effect("outage", "high", f"Apps with the origin {_join(schemes)} stop working.")
    if "native" in lost:
        sentence = "Apps, and whatever else sends no Origin header, stop working ('native' is removed)."
        yield Effect("outage", "high", sentence)
    if "*" in lost:
        yield Effect("outage", "high", "Pages on every site that the new list does not name stop working.")


def labels(ids: Collection[str], names: Mapping[str, str]) -> str:
    """Agents or flows for a sentence: by name and id where the name is known, else by id."""
    return ", ".join(
        f'"{for_question(names[item], "without a name")}" ({_join([item])})' if item in names else _join([item])
        for item in ids
    )


def _ids(token: ClientToken, change: Change, names: Mapping[str, str]) -> Iterator[Effect]:
    for field, noun in (("agent_ids", "agent"), ("flow_ids", "flow")):
        before = getattr(token, field)
        after = change.get(field, before)
        if gained := [item for item in after if item not in before]:
            yield Effect("exposure", "medium", f"Visitors gain the use of {noun} {labels(gained, names)}.")
        if lost := [item for item in before if item not in after]:
            yield Effect("outage", "high", f"{_all(token)} that use {noun} {labels(lost, names)} stop working.")


def _limits(token: ClientToken, change: Change) -> Iterator[Effect]:
    for field in LIMITS:
        before, words = getattr(token, field), field.replace("_", " ")
        after = change.get(field, before)
        if before == after:
            continue
        if before is None:  # older API versions leave limits out
            sentence = f"The {words} becomes {after}, and what it was is not known: more may be spent, or less."
            yield Effect("exposure", "medium", sentence)
        elif after > before:
            yield Effect("exposure", "medium", f"The {words} rises from {before} to {after}, so more can be spent.")
        else:
            yield Effect("outage", "medium", f"The {words} falls from {before} to {after}, so visitors may be cut off.")


def _answers(token: ClientToken, change: Change, names: Mapping[str, str]) -> Iterator[Effect]:
    """What answers visitors. An alias and a version exclude each other, so one that is given ends the other."""
    old_flow = token.default_flow_id
    flow = change.get("default_flow_id", old_flow)
    if old_flow and not flow:
        yield Effect("outage", "medium", f"{_all(token)} that name no flow may stop working.")
    if not token.is_live:
        return
    if old_flow and flow and flow != old_flow:
        sentence = (
            f"{_all(token)} that name no flow run flow {labels([flow], names)} instead of {labels([old_flow], names)}."
        )
        yield Effect("outage", "medium", sentence)
    alias, version = change.get("target_alias"), change.get("target_version_id")
    left = []
    if token.target_alias == "live" and (change.get("target_alias", "live") != "live" or version):
        left.append("follow the release alias live")
    if (old := token.target_version_id) and (change.get("target_version_id", old) != old or alias):
        left.append(f"run version {_join([old])}")
    for past in left:
        yield Effect("outage", "medium", f"{_all(token)} no longer {past}, so visitors may get other answers.")
    if left and version:
        yield Effect("outage", "medium", f"{_all(token)} run version {_join([version])}.")
    if alias != token.target_alias:
        yield from _following_preview(alias)


def _following_preview(alias: str | None) -> list[Effect]:
    if alias in (None, "live"):
        return []
    sentence = (
        f"The token follows the preview {_join([alias])}, which expires after 14 days and never falls back to live."
    )
    return [Effect("outage", "medium", sentence)]


def _opening(entries: Iterable[str], live: bool) -> Iterator[Effect]:
    """What newly allowed origins let in."""
    for entry in entries:
        shown = _join([entry])
        if entry == "native":
            sentence = "'native' admits requests without an Origin header, so whoever has the value can use it."
            yield Effect("exposure", "high", sentence)
        elif origins.is_open(entry):
            sentence = f"'{shown}' lets every website use this token and spend the account's quota."
            yield Effect("exposure", "high", sentence)
        elif origins.is_public_wildcard(entry):
            sentence = f"Anybody can get a site that {shown} admits, use this token and spend the account's quota."
            yield Effect("exposure", "high", sentence)
        elif origins.is_wildcard(entry):
            yield Effect("exposure", "medium", f"Every subdomain of {shown} may use this token.")
        if live and origins.is_custom_scheme(entry):
            sentence = f"{shown} is an app's origin, and any other app can have the same and use the live token."
            yield Effect("exposure", "medium", sentence)
        elif live and origins.is_localhost(entry):
            yield Effect("exposure", "medium", f"{shown} lets any program on a visitor's machine use a live token.")
        elif live and origins.is_plain_http(entry):
            sentence = f"{shown} is not encrypted: whoever shares the network can use the live token."
            yield Effect("exposure", "medium", sentence)


# Keys of other services that people paste by mistake, as their own scanners know them.
_FOREIGN = re.compile(
    r"""
    (?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))
    (?: sk-[\w-]{20} | [rs]k_(?:live|test)_[A-Za-z0-9]{16} | whsec_[A-Za-z0-9]{16} | AIza[\w-]{35}
      | gh[oprsu]_[A-Za-z0-9]{30} | github_pat_\w{20} | gl[a-z]{2,5}-[\w-]{20} | npm_[A-Za-z0-9]{30}
      | A[KS]IA[0-9A-Z]{16} | (?:xox[a-z]|xapp)-[A-Za-z0-9-]{10} | eyJ[\w-]{10,999}+\.[\w-]*+\.[\w-]
    )
  | -----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY
    """,
    re.VERBOSE,
)

# A value that its name gives away: 40 characters near "aws" or "secret", or what "secret" or "password" is set to.
_NAMED = re.compile(
    r"""
    (?i:aws|secret).{0,60}?[^A-Za-z0-9/+](?=[A-Za-z/+]{0,39}[0-9])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])
  | (?i:secret|passw(?:or)?d|private_?key)["']?\s*[:=]\s*["']?(?=[^\s"'/]{0,40}[0-9])[^\s"'/]{12}
    """,
    re.VERBOSE | re.DOTALL,
)


def holds_secret(config: Mapping[str, Any], redactor: Redactor = PATTERNS_ONLY) -> bool:
    """Whether a config holds what looks like a secret: Runtype's, another service's, or one that `redactor` knows."""
    texts = map(visible, _strings(config))
    if any(redactor.contains(text) or _FOREIGN.search(text) or _NAMED.search(text) for text in texts):
        return True
    return bool(_NAMED.search(json.dumps(config, default=str)))  # the name in a key, or beside the value


def _strings(value: object) -> Iterator[str]:
    """Every string in a JSON-like value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _strings(pair)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _publishing(config: Mapping[str, Any], redactor: Redactor) -> list[Effect]:
    # `config` is delivered to every visitor's browser, so a key in it is a published key.
    if not holds_secret(config, redactor):
        return []
    sentence = "config is sent to every visitor's browser, and holds what looks like a secret."
    return [Effect("exposure", "high", sentence)]


def _join(items: Iterable[str]) -> str:
    # Others wrote some of them into the API, and all may end in a question to a person. None is left out, and one that
    # is cut here is longer than any question may be.
    return ", ".join(sanitize_line(item, 10_000) for item in items)
