"""Survivors that no test can kill, and why."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

EXPLAINED: dict[tuple[str, str, str, str], str] = {}
"""By module, function, what was there and what the mutant has in its place."""


def explanation(mutant: Mutant) -> str | None:
    """Why this mutant may survive; None if nobody has said so."""
    module = "/".join(mutant.path.parts[-2:])
    return EXPLAINED.get((module, mutant.function, mutant.was, mutant.now))
