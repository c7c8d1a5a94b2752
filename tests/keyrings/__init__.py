"""How a process is given one of the keyrings of `stand_in_keyrings.py`."""

from __future__ import annotations

from pathlib import Path


def keyring(kind: str, folder: Path) -> dict[str, str]:
    """The environment of a process whose system has this keyring, which keeps its entries in `folder`."""
    return {
        "PYTHONPATH": str(Path(__file__).parent),
        "PYTHON_KEYRING_BACKEND": f"stand_in_keyrings.{kind}",
        "STAND_IN_KEYRING": str(folder / "keyring.json"),
    }
