"""What can be known about the outside suites without Node and without the network."""

import json
import re
from typing import Any

from tests.outside import ledger
from tests.outside.suites import CONVERTERS, HERE, SUITES

UNSCORED = {
    "http-custom-header-server-validation",
    "http-header-validation",
    "json-schema-2020-12",
    "server-session-lifecycle",
    "the suite's own verdict",
}
"""Passed, and not among the scenarios that a revision of the protocol requires."""


def entries() -> dict[str, dict[str, Any]]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), f"named twice: {names}"
        return dict(pairs)

    groups: dict[str, dict[str, Any]] = json.loads(ledger.LEDGER.read_text(), object_pairs_hook=unique)
    return groups


def test_every_suite_has_its_entry_in_the_order_of_running() -> None:
    assert list(entries()) == list(SUITES)


def test_a_check_is_expected_to_have_one_outcome() -> None:
    for suite, groups in entries().items():
        checks = [check for group in groups.values() for check in group]
        assert sorted(set(checks)) == sorted(checks), suite
        assert set(groups) <= {"passed", "warned", "skipped", "failed"}, suite


def test_every_outcome_but_a_pass_has_a_reason() -> None:
    for groups in entries().values():
        for outcome, checks in groups.items():
            if outcome != "passed":
                assert all(isinstance(reason, str) and len(reason) > 20 for reason in checks.values())


def test_nothing_fails_but_the_tasks_extension() -> None:
    failing = {check for groups in entries().values() for check in groups.get("failed", ())}
    assert failing
    assert all(check.startswith("tasks-") for check in failing)


def test_both_revisions_pass_every_scenario_that_they_require() -> None:
    assert len(set(entries()["conformance-2025-11-25"]["passed"]) - UNSCORED) == 30
    assert len(set(entries()["conformance-2026-07-28"]["passed"]) - UNSCORED) == 37


def test_outcomes_as_expected_differ_in_nothing() -> None:
    expected = {"a": "passed", "b": "failed"}
    assert ledger.differences(expected, {"a": "passed", "b": "failed: for a reason"}) == []


def test_an_unexpected_pass_is_a_difference() -> None:
    assert ledger.differences({"a": "failed"}, {"a": "passed"}) == ["a: expected failed, got passed"]


def test_a_check_that_appears_or_goes_missing_is_a_difference() -> None:
    assert ledger.differences({"gone": "passed"}, {"new": "passed"}) == [
        "gone: expected passed, got no such check",
        "new: expected no such check, got passed",
    ]


def test_a_failure_is_shown_with_its_cause() -> None:
    assert ledger.differences({"a": "passed"}, {"a": "failed: no such tool"}) == [
        "a: expected passed, got failed: no such tool"
    ]


def test_the_tools_are_pinned_exactly_and_the_lock_file_names_no_registry() -> None:
    package = json.loads((HERE / "package.json").read_text())
    lock = json.loads((HERE / "package-lock.json").read_text())["packages"]
    for name, version in (package["dependencies"] | package["optionalDependencies"]).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+(-[a-z]+\.\d+)?", version), name
        assert lock[f"node_modules/{name}"]["version"] == version
    for name, locked in lock.items():
        assert "resolved" not in locked, name
        assert name == "" or "integrity" in locked, name


def test_every_environment_is_pinned_exactly_and_names_no_registry() -> None:
    frameworks = sorted(CONVERTERS.glob("*.txt"))
    assert {pins.stem for pins in frameworks} == {
        suite.removesuffix("-strict")
        for suite, groups in entries().items()
        if "the ten tools convert" in groups["passed"]
    }
    for pins in HERE / "schemathesis.txt", HERE / "deployment.txt", *frameworks:
        lines = [line for line in pins.read_text().splitlines() if not line.startswith("#")]
        assert len(lines) > 15
        for line in lines:
            assert re.fullmatch(r"[A-Za-z0-9_.-]+==\d[\w.]*( ; [\w .'<>=!-]+)?", line), line
