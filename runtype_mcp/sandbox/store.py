"""What the sandbox remembers: client tokens, their secret values, their conversations."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def ulid(number: int) -> str:
    """`number` as 26 characters that look like a present-day ULID in lower case."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return "01k" + "".join(alphabet[number >> shift & 31] for shift in range(0, 115, 5))


def digest(label: str) -> int:
    """A large number that is the same for the same label, on every machine."""
    return int.from_bytes(hashlib.sha256(label.encode()).digest())


@dataclass(frozen=True, slots=True)
class Record:
    """A client token: the wire object without `tokenValue`, its value (None: never stored), its conversations.

    Conversations are wire objects, newest first. Nothing in a record is ever changed in place.
    """

    token: Json
    value: str | None
    conversations: list[Json] = field(default_factory=list)

    def with_value(self, random: str) -> "Record":
        """The same token with the value that ends in `random`."""
        owner = [*self.token["flowIds"], *self.token["agentIds"], self.token["id"]][0].replace("_", "")[:8]
        prefix = f"ct_{self.token['environment']}_{owner}"
        shown = {"tokenPrefix": prefix, "tokenHint": random[-4:]}
        return Record(self.token | shown, f"{prefix}_{random}", self.conversations)


class Store:
    """Client tokens by id, in memory; in the JSON file at `path` as well, if one is given.

    Raises:
        OSError: the file cannot be read, or holds something else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        self.is_new = True  # until something is put, in this run or an earlier one
        if path and path.exists():
            try:
                self._records = {entry["token"]["id"]: Record(**entry) for entry in json.loads(path.read_bytes())}
            except (ValueError, TypeError, KeyError, RecursionError):
                raise OSError(f"{path} holds something other than a sandbox's data") from None
            self.is_new = False

    def get(self, token_id: str) -> Record | None:
        return self._records.get(token_id)

    def newest_first(self) -> list[Record]:
        return list(reversed(self._records.values()))

    def put(self, *records: Record) -> None:
        """Add the records, or replace those with the same id: all of them or none."""
        self._keep(self._records | {record.token["id"]: record for record in records})

    def delete(self, token_id: str) -> None:
        self._keep({other: record for other, record in self._records.items() if other != token_id})

    def _keep(self, records: dict[str, Record]) -> None:
        if self._path:
            new = self._path.with_name(f"{self._path.name}.new")
            new.write_text(json.dumps([asdict(record) for record in records.values()]))
            new.replace(self._path)
        self._records, self.is_new = records, False

    def __len__(self) -> int:
        return len(self._records)
