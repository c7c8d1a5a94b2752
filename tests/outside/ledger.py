"""What is expected of every check in every suite, and why where it is not a pass.

`ledger.json` is compared exactly: a failure that went away, a check that appeared and one that went missing are
differences too, so the file always says what is true.
"""

import json
from collections import Counter
from pathlib import Path

LEDGER = Path(__file__).with_name("ledger.json")


def load() -> dict[str, dict[str, str]]:
    """Suite -> check -> `passed`, `warned`, `skipped` or `failed`."""
    expected: dict[str, dict[str, str]] = {}
    for suite, groups in json.loads(LEDGER.read_text()).items():
        expected[suite] = {check: outcome for outcome, checks in groups.items() for check in checks}
    return expected


def differences(expected: dict[str, str], got: dict[str, str]) -> list[str]:
    """One line for each check whose outcome is not the expected one."""
    return [
        f"{check}: expected {expected.get(check, 'no such check')}, got {got.get(check, 'no such check')}"
        for check in sorted(expected.keys() | got.keys())
        if expected.get(check) != _word(got.get(check))
    ]


def summary(outcomes: dict[str, str]) -> str:
    """Such as `37 passed, 9 failed`."""
    counted = Counter(_word(outcome) for outcome in outcomes.values())
    return ", ".join(f"{counted[word]} {word}" for word in ("passed", "warned", "skipped", "failed") if counted[word])


def _word(outcome: str | None) -> str | None:
    return outcome.partition(":")[0] if outcome else None
