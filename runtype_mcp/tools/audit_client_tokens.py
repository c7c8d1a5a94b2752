from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from runtype_mcp import results
from runtype_mcp.api.models import LIMITS, ClientToken, CreateClientToken
from runtype_mcp.policy import effects, origins
from runtype_mcp.policy.redaction import PATTERNS_ONLY, Redactor
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools.arguments import Arguments
from runtype_mcp.tools.spec import ToolContext, ToolSpec

STALE_AFTER = timedelta(days=90)
"""Unused or inactive for longer is a finding."""
FAR_ABOVE = 10
"""A limit at this many times the API's default, or more, is a finding."""
MAX_FINDINGS = 100
"""The worst of them are given; the counts say how many there are."""
MAX_NAMES = 100_000
"""Names remembered to find duplicates. Beyond it they are no longer looked for, so that memory stays bounded."""
_USUAL_LIMITS = {name: CreateClientToken.model_fields[name].default for name in LIMITS[:3]}
_SEVERITIES = ("high", "medium", "low")

Severity = Literal["high", "medium", "low"]


class Flaw(NamedTuple):
    severity: Severity
    rule: str
    reason: str
    fix: dict[str, Any] | None  # what to update; None: delete it

    def finding(self, token: ClientToken) -> results.Finding:
        tool = "delete_client_token" if self.fix is None else "update_client_token"
        return results.Finding(
            severity=self.severity,
            rule=self.rule,
            id=token.id,
            name=token.name and sanitize_line(token.name, results.MAX_NAME),
            reason=self.reason,
            fix=f"{tool} {results.compact({'client_token': token.id} | (self.fix or {}))}",
        )


class AuditClientTokens(Arguments):
    pass


async def audit_client_tokens(args: AuditClientTokens, context: ToolContext) -> results.Audit:
    """Review all client tokens for security: findings, worst first, each with the call that fixes it."""
    # So many findings of each severity are enough to give the worst of all, in bounded memory.
    found: dict[str, list[results.Finding]] = {severity: [] for severity in _SEVERITIES}
    counts: Counter[str] = Counter()
    names: set[int] = set()
    checked = 0
    now = datetime.now(UTC)
    async for page in context.api.iterate_client_tokens():
        for token in page:
            checked += 1
            for flaw in (*flaws(token, now, context.caller.redactor), *_duplicate(token, names)):
                counts[flaw.severity] += 1
                if len(found[flaw.severity]) < MAX_FINDINGS:
                    found[flaw.severity].append(flaw.finding(token))
        await context.mcp.report_progress(checked, message=f"{checked} tokens checked")
    worst = [finding for severity in _SEVERITIES for finding in found[severity]][:MAX_FINDINGS]
    return results.Audit(
        findings=worst,
        checked=checked,
        high=counts["high"],
        medium=counts["medium"],
        low=counts["low"],
        has_more=counts.total() > len(worst),
    )


def flaws(token: ClientToken, now: datetime, redactor: Redactor = PATTERNS_ONLY) -> Iterator[Flaw]:
    """What a security reviewer would say of one token."""
    if token.is_live:
        yield from _origin_flaws(token)
        yield from _target_flaws(token)
    if token.config and effects.holds_secret(token.config, redactor):
        reason = "config goes to every browser, and holds what looks like a secret."
        rest = {k: v for k, v in token.config.items() if not effects.holds_secret({k: v}, redactor)}
        yield Flaw("high", "secret_in_config", reason, {"config": rest})
    for name, usual in _USUAL_LIMITS.items():
        value = getattr(token, name)
        if value is not None and value >= FAR_ABOVE * usual:
            yield Flaw("low", "high_limit", f"{name} is {value}; the default is {usual}.", {name: usual})
    off = {"is_active": False}
    if not token.is_active:
        if _older(token.updated_at, now):
            yield Flaw("low", "long_inactive", f"Inactive since {_day(token.updated_at)} or longer.", None)
    elif token.last_used_at is None:
        if _older(token.created_at, now):
            yield Flaw("medium", "never_used", f"Never used since {_day(token.created_at)}.", off)
    elif _older(token.last_used_at, now):
        yield Flaw("medium", "long_unused", f"Last used {_day(token.last_used_at)}.", off)


YOUR_SITE = "https://<your-site>"
"""Stands for what only the user knows. It is not a valid origin, so a fix copied verbatim is refused."""


class _Rule(NamedTuple):
    fits: Callable[[str], bool]
    severity: Severity
    name: str
    reason: str


_ORIGIN_RULES = (
    _Rule(origins.is_plain_http, "medium", "plain_http", "admits {entry} unencrypted"),
    _Rule(origins.is_localhost, "medium", "localhost", "admits {entry}, which is the visitor's own machine"),
    _Rule(origins.is_custom_scheme, "medium", "custom_scheme", "admits {entry}, which every app of that kind has"),
    _Rule(origins.is_wildcard, "low", "wildcard", "admits every subdomain of {entry}"),
    _Rule(
        origins.is_public_wildcard,
        "high",
        "public_wildcard",
        "admits {entry}: anybody can have a site below that domain",
    ),
    _Rule(origins.is_open, "high", "any_origin", "{entry} lets every website use it"),
    _Rule(lambda entry: entry == "native", "high", "no_origin", "requests without an Origin header pass"),
)
"""Of several that fit an entry, the last counts."""


def _origin_flaws(token: ClientToken) -> Iterator[Flaw]:
    found = {entry: rule for entry in token.allowed_origins for rule in _ORIGIN_RULES if rule.fits(entry)}
    # One list fixes all of them, so that fixes may be followed one after the other, in any order. Plain http becomes
    # https; whether a wildcard over one's own domain is too wide, only its owner knows.
    safe = [
        f"https{entry[4:]}" if origins.is_plain_http(entry) else entry
        for entry in token.allowed_origins
        if entry not in found or found[entry].name in ("wildcard", "plain_http")
    ]
    fix = {"allowed_origins": list(dict.fromkeys(safe)) or [YOUR_SITE]}
    for entry, rule in found.items():
        reason = f"Live, and {rule.reason.format(entry=sanitize_line(entry, 100))}."
        yield Flaw(rule.severity, rule.name, reason, fix)
    if not token.allowed_origins:
        yield Flaw("high", "any_origin", "Live, and has no list of origins.", fix)


def _target_flaws(token: ClientToken) -> Iterator[Flaw]:
    follow = {"target_alias": "live"}
    if token.target_alias not in (None, "live"):
        reason = f"Live, and follows the preview {sanitize_line(token.target_alias, 80)}, which expires."
        yield Flaw("medium", "preview_on_live", reason, follow)
    if len(token.agent_ids) == 1 and token.target_alias is None and token.target_version_id is None:
        reason = "Live, and follows no release: a saved edit of its agent may reach visitors immediately."
        yield Flaw("low", "no_target", reason, follow)


def _duplicate(token: ClientToken, names: set[int]) -> Iterator[Flaw]:
    key = hash((token.environment, token.name))
    if token.name and key in names:
        reason = f"Another {token.environment} token has this name: calls by name are ambiguous."
        yield Flaw("low", "duplicate_name", reason, {"name": f"{sanitize_line(token.name, 200)} {token.id[-6:]}"})
    elif len(names) < MAX_NAMES:
        names.add(key)


def _day(moment: str) -> str:
    return sanitize_line(moment[:10], 10)


def _older(moment: str, now: datetime) -> bool:
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return False  # an API that writes dates in another way makes no finding
    return now - (then if then.tzinfo else then.replace(tzinfo=UTC)) > STALE_AFTER


AUDIT = ToolSpec(audit_client_tokens, AuditClientTokens, results.Audit, title="Audit client tokens")
