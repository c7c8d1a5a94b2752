from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from runtype_mcp import views
from runtype_mcp.api.models import LIMITS, ClientToken, CreateClientToken
from runtype_mcp.safety import origins, redaction
from runtype_mcp.safety.untrusted import clean
from runtype_mcp.tools.arguments import Arguments
from runtype_mcp.tools.call import Call, Endpoint

LONG = timedelta(days=90)
"""Unused or inactive for longer is a finding."""
FAR_ABOVE = 10
"""A limit at this many times the API's default, or more, is a finding."""
MOST_FINDINGS = 100
"""The worst of them are given; the counts say how many there are."""
MOST_NAMES = 100_000
"""Names remembered to find duplicates. Beyond it they are no longer looked for, so that memory stays bounded."""
_SEVERITIES = ("high", "medium", "low")

Severity = Literal["high", "medium", "low"]


class Flaw(NamedTuple):
    severity: Severity
    rule: str
    reason: str
    fix: str


class AuditClientTokens(Arguments):
    pass


async def audit_client_tokens(args: AuditClientTokens, call: Call) -> views.Audit:
    """Review all tokens for security: findings, worst first, with fixes."""
    # So many findings of each severity are enough to give the worst of all, in bounded memory.
    found: dict[str, list[views.Finding]] = {severity: [] for severity in _SEVERITIES}
    counts: Counter[str] = Counter()
    names: set[int] = set()
    checked = 0
    today = datetime.now(UTC)
    async for page in call.api.iterate_client_tokens():
        for token in page:
            if call.settings.environment not in (None, token.environment):
                continue
            checked += 1
            for flaw in (*flaws(token, today), *_duplicate(token, names)):
                counts[flaw.severity] += 1
                if len(found[flaw.severity]) < MOST_FINDINGS:
                    name = clean(token.name, views.NAME_LENGTH)
                    found[flaw.severity].append(views.Finding(id=token.id, name=name, **flaw._asdict()))
        await call.context.report_progress(checked, message=f"{checked} tokens checked")
    worst = [finding for severity in _SEVERITIES for finding in found[severity]][:MOST_FINDINGS]
    return views.Audit(
        findings=worst,
        checked=checked,
        high=counts["high"],
        medium=counts["medium"],
        low=counts["low"],
        has_more=counts.total() > len(worst),
    )


def flaws(token: ClientToken, now: datetime) -> Iterator[Flaw]:
    """What a security reviewer would say of one token."""
    exact = _update(token, allowed_origins=["https://YOUR.SITE"])
    for entry in token.allowed_origins if token.is_live else ():
        if entry == "*":
            yield Flaw("high", "any_origin", "Live, and every website may use it.", exact)
        elif entry == "native":
            yield Flaw("high", "no_origin", "Live, and requests without an Origin header pass.", exact)
        elif origins.is_localhost(entry):
            yield Flaw("medium", "localhost", f"Live, and admits {entry}.", _without(token, entry))
        elif origins.is_plain_http(entry):
            secure = [f"https{e[4:]}" if e == entry else e for e in token.allowed_origins]
            yield Flaw(
                "medium", "plain_http", f"Live, and admits {entry} unencrypted.", _update(token, allowed_origins=secure)
            )
    if redaction.contains_secret(json.dumps(token.config or {}, ensure_ascii=False)):
        reason = "config goes to every browser, and holds what looks like a secret."
        yield Flaw("high", "secret_in_config", reason, _update(token, config={}) + " Then replace that secret.")
    if token.is_live and token.target_alias not in (None, "live"):
        reason = f"Live, and follows the preview {clean(token.target_alias, 80)}, which expires."
        yield Flaw("medium", "preview_on_live", reason, _update(token, target_alias="live"))
    if token.is_live and len(token.agent_ids) == 1 and not token.target_alias and not token.target_version_id:
        reason = "Live, and follows no release: a saved edit of its agent may reach visitors at once."
        yield Flaw("low", "no_target", reason, _update(token, target_alias="live"))
    for name in LIMITS[:3]:
        value, usual = getattr(token, name), CreateClientToken.model_fields[name].default
        if value is not None and value >= FAR_ABOVE * usual:
            yield Flaw(
                "low", "high_limit", f"{name} is {value}; the default is {usual}.", _update(token, **{name: usual})
            )
    off = _update(token, is_active=False)
    if not token.is_active:
        if _older(token.updated_at, now):
            yield Flaw("low", "long_inactive", f"Inactive since {token.updated_at[:10]} or longer.", _delete(token))
    elif token.last_used_at is None:
        if _older(token.created_at, now):
            yield Flaw("medium", "never_used", f"Never used since {token.created_at[:10]}.", off)
    elif _older(token.last_used_at, now):
        yield Flaw("medium", "long_unused", f"Last used {token.last_used_at[:10]}.", off)


def _duplicate(token: ClientToken, names: set[int]) -> Iterator[Flaw]:
    key = hash((token.environment, token.name))
    if token.name and key in names:
        reason = f"Another {token.environment} token has this name: calls by name are ambiguous."
        yield Flaw("low", "duplicate_name", reason, _update(token, name=f"{clean(token.name, 200)} 2"))
    elif len(names) < MOST_NAMES:
        names.add(key)


def _older(moment: str, now: datetime) -> bool:
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return False  # an API that writes dates in another way makes no finding
    return now - (then if then.tzinfo else then.replace(tzinfo=UTC)) > LONG


def _update(token: ClientToken, **change: object) -> str:
    return f"update_client_token {json.dumps({'client_token': token.id, **change}, ensure_ascii=False)}"


def _without(token: ClientToken, entry: str) -> str:
    rest = [other for other in token.allowed_origins if other != entry] or ["https://YOUR.SITE"]
    return _update(token, allowed_origins=rest)


def _delete(token: ClientToken) -> str:
    return f"delete_client_token {json.dumps({'client_token': token.id})}"


AUDIT = Endpoint(audit_client_tokens, AuditClientTokens, views.Audit, title="Audit client tokens")
