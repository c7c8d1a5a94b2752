from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from runtype_mcp import results
from runtype_mcp.api.models import LIMITS, ClientToken, CreateClientToken
from runtype_mcp.policy import effects, origins
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.tools.arguments import Arguments
from runtype_mcp.tools.spec import Call, ToolSpec

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
            name=sanitize_line(token.name, results.NAME_LENGTH),
            reason=self.reason,
            fix=f"{tool} {results.compact({'client_token': token.id} | (self.fix or {}))}",
        )


class AuditClientTokens(Arguments):
    pass


async def audit_client_tokens(args: AuditClientTokens, call: Call) -> results.Audit:
    """Review all tokens for security: findings, worst first, with fixes."""
    # So many findings of each severity are enough to give the worst of all, in bounded memory.
    found: dict[str, list[results.Finding]] = {severity: [] for severity in _SEVERITIES}
    counts: Counter[str] = Counter()
    names: set[int] = set()
    checked = 0
    now = datetime.now(UTC)
    async for page in call.api.iterate_client_tokens():
        for token in page:
            if call.settings.environment not in (None, token.environment):
                continue
            checked += 1
            for flaw in (*flaws(token, now), *_duplicate(token, names)):
                counts[flaw.severity] += 1
                if len(found[flaw.severity]) < MAX_FINDINGS:
                    found[flaw.severity].append(flaw.finding(token))
        await call.context.report_progress(checked, message=f"{checked} tokens checked")
    worst = [finding for severity in _SEVERITIES for finding in found[severity]][:MAX_FINDINGS]
    return results.Audit(
        findings=worst,
        checked=checked,
        high=counts["high"],
        medium=counts["medium"],
        low=counts["low"],
        has_more=counts.total() > len(worst),
    )


def flaws(token: ClientToken, now: datetime) -> Iterator[Flaw]:
    """What a security reviewer would say of one token."""
    if token.is_live:
        yield from _live_flaws(token)
    if token.config and effects.holds_secret(token.config):
        reason = "config goes to every browser, and holds what looks like a secret."
        rest = {name: value for name, value in token.config.items() if not effects.holds_secret({name: value})}
        yield Flaw("high", "secret_in_config", reason, {"config": rest})
    for name, usual in _USUAL_LIMITS.items():
        value = getattr(token, name)
        if value is not None and value >= FAR_ABOVE * usual:
            yield Flaw("low", "high_limit", f"{name} is {value}; the default is {usual}.", {name: usual})
    off = {"is_active": False}
    if not token.is_active:
        if _older(token.updated_at, now):
            yield Flaw("low", "long_inactive", f"Inactive since {token.updated_at[:10]} or longer.", None)
    elif token.last_used_at is None:
        if _older(token.created_at, now):
            yield Flaw("medium", "never_used", f"Never used since {token.created_at[:10]}.", off)
    elif _older(token.last_used_at, now):
        yield Flaw("medium", "long_unused", f"Last used {token.last_used_at[:10]}.", off)


YOUR_SITE = "https://<your-site>"
"""Stands for what only the user knows. It is no origin, so a fix that is followed word for word is refused."""


def _live_flaws(token: ClientToken) -> Iterator[Flaw]:
    # One list mends all of them, so that fixes may be followed one after the other, in any order.
    https = [f"https{e[4:]}" if origins.is_plain_http(e) else e for e in token.allowed_origins]
    safe = [e for e in dict.fromkeys(https) if not (origins.is_open(e) or origins.is_localhost(e))]
    fix = {"allowed_origins": safe or [YOUR_SITE]}
    for entry in token.allowed_origins:
        if entry == "*":
            yield Flaw("high", "any_origin", "Live, and every website may use it.", fix)
        elif entry == "native":
            yield Flaw("high", "no_origin", "Live, and requests without an Origin header pass.", fix)
        elif origins.is_localhost(entry):
            yield Flaw("medium", "localhost", f"Live, and admits {entry}.", fix)
        elif origins.is_plain_http(entry):
            yield Flaw("medium", "plain_http", f"Live, and admits {entry} unencrypted.", fix)
    follow = {"target_alias": "live"}
    if token.target_alias not in (None, "live"):
        reason = f"Live, and follows the preview {sanitize_line(token.target_alias, 80)}, which expires."
        yield Flaw("medium", "preview_on_live", reason, follow)
    if len(token.agent_ids) == 1 and token.target_alias is None and token.target_version_id is None:
        reason = "Live, and follows no release: a saved edit of its agent may reach visitors at once."
        yield Flaw("low", "no_target", reason, follow)


def _duplicate(token: ClientToken, names: set[int]) -> Iterator[Flaw]:
    key = hash((token.environment, token.name))
    if token.name and key in names:
        reason = f"Another {token.environment} token has this name: calls by name are ambiguous."
        yield Flaw("low", "duplicate_name", reason, {"name": f"{sanitize_line(token.name, 200)} {token.id[-6:]}"})
    elif len(names) < MAX_NAMES:
        names.add(key)


def _older(moment: str, now: datetime) -> bool:
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return False  # an API that writes dates in another way makes no finding
    return now - (then if then.tzinfo else then.replace(tzinfo=UTC)) > STALE_AFTER


AUDIT = ToolSpec(audit_client_tokens, AuditClientTokens, results.Audit, title="Audit client tokens")
