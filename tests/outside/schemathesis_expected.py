"""Every difference between the sandbox and its description that Schemathesis may find, and why.

Schemathesis loads this file in an environment of its own, so it imports nothing of the project.
"""

from typing import Any

import schemathesis  # type: ignore[import-not-found]  # it is not in the project's environment

# Operation -> the problems (path, code) that a body which fits its schema may still have.
UNSAYABLE = {
    # JSON Schema cannot say that one field holds a member of another.
    "POST /v1/client-tokens": {("defaultFlowId", "INVALID_VALUE")},
    # Nor can it say anything about the stored token, with which the fields of an update have to agree.
    "PUT /v1/client-tokens/{id}": {
        ("defaultFlowId", "INVALID_VALUE"),
        ("pinToVersion", "INVALID_VALUE"),
        ("agentIds", "INVALID_COMBINATION"),
        ("agentIds", "MISSING_REQUIRED_FIELD"),
        ("targetVersionId", "MUTUALLY_EXCLUSIVE"),
    },
    # A cursor is any text to the description, and only those of a page to the API.
    "GET /v1/agents": {("cursor", "INVALID_VALUE")},
    "GET /v1/flows": {("cursor", "INVALID_VALUE")},
}


def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts: it does, unless a valid request was refused for nothing but the above."""
    if "positive_data_acceptance" not in failure.checks or response.status_code != 400:
        return True
    answer = response.json()
    # A token that is older than stored values has a valid id and no value to reveal.
    if case.operation.label == "GET /v1/client-tokens/{id}/token" and "hint" in answer:
        return False
    found = {(problem["path"], problem["code"]) for problem in answer.get("details", ())}
    return not found or not found <= UNSAYABLE.get(case.operation.label, set())


schemathesis.hook(filter_failure)
