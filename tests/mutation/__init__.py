"""Mutants of the modules that decide what is safe."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".mutation"
