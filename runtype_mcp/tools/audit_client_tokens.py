from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from runtype_mcp import results
from runtype_mcp.api.models import LIMITS, ClientToken, CreateClientToken
from runtype_mcp.policy import effects, origins
from runtype_mcp.policy.redaction import PATTERNS_ONLY, Redactor
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.policy.timestamps import utc, utc_day
from runtype_mcp.tools.arguments import OFFSET, Arguments
from runtype_mcp.tools.spec import ToolContext, ToolSpec

STALE_AFTER = timedelta(days=90)
"""Unused or inactive for longer is a finding."""
FAR_ABOVE = 10
"""A limit at this many times the API's default, or more, is a finding."""
MAX_NAMES = 100_000
"""Names remembered to find duplicates. Beyond it they are no longer looked for, so that memory stays bounded."""
GROUPED_FROM = 4
"""So many findings of one rule are one entry, unless the call names the rule."""
MAX_FIX = 600
"""Characters of a fix. A longer one, of a long list or a large config, is described."""
_USUAL_LIMITS = {name: CreateClientToken.model_fields[name].default for name in LIMITS[:3]}

Severity = Literal["high", "medium", "low"]
_SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")

RULES = {
    "any_origin": "Live, and every website may use it.",
    "no_origin": "Live, and requests without an Origin header pass.",
    "public_wildcard": "Live, and admits a domain below which anybody can have a site.",
    "secret_in_config": "config goes to every browser, and holds what looks like a secret.",
    "plain_http": "Live, and admits an unencrypted site.",
    "localhost": "Live, and admits the visitor's own machine.",
    "custom_scheme": "Live, and admits an origin that every app of its kind has.",
    "preview_on_live": "Live, and follows a preview, which expires.",
    "never_used": "Never used in more than 90 days.",
    "long_unused": "Not used for more than 90 days.",
    "wildcard": "Live, and admits every subdomain of a domain.",
    "no_target": "Live, and follows no release: a saved edit of its agent may reach visitors immediately.",
    "high_limit": f"A limit is at least {FAR_ABOVE} times the default.",
    "long_inactive": "Inactive for more than 90 days.",
    "duplicate_name": "Another token of the environment has this name: calls by name are ambiguous.",
}
"""What each rule means. A single finding says it of its token."""


class Flaw(NamedTuple):
    severity: Severity
    rule: str
    reason: str
    fix: dict[str, Any] | None  # what to update; None: delete it

    def finding(self, token: ClientToken) -> results.Finding:
        return results.Finding(
            severity=self.severity,
            rule=self.rule,
            id=token.id,
            name=token.name and sanitize_line(token.name, 80),
            reason=self.reason,
            fix=self._call(token),
        )

    def _call(self, token: ClientToken) -> str:
        this = {"client_token": token.id}
        if self.fix is None:
            return f"delete_client_token {results.compact(this)}"
        call = f"update_client_token {results.compact(this | self.fix)}"
        if len(call) <= MAX_FIX:
            return call
        fields = " and ".join(self.fix)
        return f"get_client_token {results.compact(this)}, then update_client_token with {fields} put right"


def _known_rule(name: str) -> str:
    if name not in RULES:
        near = difflib.get_close_matches(name, RULES, 1)
        raise ValueError("is not a rule; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(RULES)}"))
    return name


class AuditClientTokens(Arguments):
    severity: Severity | None = None
    rule: Annotated[str, AfterValidator(_known_rule)] | None = Field(
        default=None, description="Every finding of this rule, ungrouped"
    )
    limit: int = Field(default=20, ge=1, le=100, description="20 unless given")
    offset: int = OFFSET


class _Found:
    """What one rule found: all counted, some kept."""

    def __init__(self, severity: Severity) -> None:
        self.severity, self.count, self.kept = severity, 0, list[results.Finding]()

    def entries(self, rule: str, one_by_one: bool) -> list[results.Finding]:
        if one_by_one or self.count < GROUPED_FROM:
            return self.kept
        return [
            results.Finding(
                severity=self.severity,
                rule=rule,
                count=self.count,
                ids=list(dict.fromkeys(finding.id for finding in self.kept if finding.id)),
                reason=RULES[rule],
                next=f"audit_client_tokens {results.compact({'rule': rule})} lists them, each with its fix",
            )
        ]


async def audit_client_tokens(args: AuditClientTokens, context: ToolContext) -> results.Audit:
    """Review all client tokens for security. Gives findings, worst first, with the call that fixes each."""
    # Of a rule that the call names, the page; of every other rule the first, so that memory is bounded.
    first, last = (args.offset, args.offset + args.limit) if args.rule else (0, GROUPED_FROM - 1)
    found: dict[str, _Found] = {}
    counts: Counter[str] = Counter()
    names: set[int] = set()
    checked = 0
    now = datetime.now(UTC)
    async for page in context.client_tokens():
        for token in page:
            checked += 1
            for flaw in (*flaws(token, now, context.caller.redactor), *_duplicate(token, names)):
                counts[flaw.severity] += 1
                if args.rule in (None, flaw.rule) and args.severity in (None, flaw.severity):
                    of_rule = found.setdefault(flaw.rule, _Found(flaw.severity))
                    if first <= of_rule.count < last:
                        of_rule.kept.append(flaw.finding(token))
                    of_rule.count += 1
    worst_first = sorted(found.items(), key=lambda item: _SEVERITIES.index(item[1].severity))
    entries = [entry for rule, of_rule in worst_first for entry in of_rule.entries(rule, args.rule is not None)]
    shown = entries if args.rule else entries[args.offset : args.offset + args.limit]
    total = sum(of_rule.count for of_rule in found.values()) if args.rule else len(entries)
    has_more = bool(shown) and total > args.offset + len(shown)
    return results.Audit(
        findings=shown,
        checked=checked,
        high=counts["high"],
        medium=counts["medium"],
        low=counts["low"],
        has_more=has_more,
        next_offset=args.offset + len(shown) if has_more else None,
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
            yield Flaw("low", "long_inactive", f"Inactive, and unchanged since {utc_day(token.updated_at)}.", None)
    elif token.last_used_at is None:
        if _older(token.created_at, now):
            yield Flaw("medium", "never_used", f"Never used since {utc_day(token.created_at)}.", off)
    elif _older(token.last_used_at, now):
        yield Flaw("medium", "long_unused", f"Last used {utc_day(token.last_used_at)}.", off)


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
    _Rule(origins.is_wildcard, "low", "wildcard", "admits {entry}, which is every subdomain"),
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
    whole = {"allowed_origins": list(dict.fromkeys(safe)) or [YOUR_SITE]}
    for entry, rule in found.items():
        if rule.name == "wildcard":
            # The widest that is safe is what there is: only the user can say which subdomains are needed.
            narrow = [other for other in safe if not origins.is_wildcard(other)]
            fix = {"allowed_origins": [*dict.fromkeys(narrow), YOUR_SITE]}
        else:
            fix = whole
        reason = f"Live, and {rule.reason.format(entry=sanitize_line(entry, 100))}."
        yield Flaw(rule.severity, rule.name, reason, fix)
    if not token.allowed_origins:
        yield Flaw("high", "any_origin", "Live, and has no list of origins.", whole)


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


def _older(moment: str, now: datetime) -> bool:
    then = utc(moment)
    return then is not None and now - then > STALE_AFTER  # an API that writes dates in another way makes no finding


AUDIT = ToolSpec(audit_client_tokens, AuditClientTokens, results.Audit, title="Audit client tokens", scope="read")
