"""What the sandbox remembers: client tokens, their secret values, their conversations."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import sqlite3

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
    """Client tokens by id, in memory; `Store.open` keeps them in a file as well."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._database: sqlite3.Connection | None = None
        self.is_new = True  # until something is put, in this run or an earlier one

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The store in the SQLite file at `path`, made when missing. OSError: no file of ours can be there."""
        import sqlite3  # only a sandbox that keeps its data pays for it

        store = cls()
        try:
            # One event loop uses the store, but not always on the thread that opened it.
            store._database = sqlite3.connect(path, check_same_thread=False)
            tables = [name for (name,) in store._database.execute("SELECT name FROM sqlite_master")]
            if tables and "sandbox_tokens" not in tables:
                raise sqlite3.DatabaseError("it holds something other than a sandbox's data")
            store._database.execute("CREATE TABLE IF NOT EXISTS sandbox_tokens (id TEXT UNIQUE, document TEXT)")
            for token_id, document in store._database.execute("SELECT * FROM sandbox_tokens ORDER BY rowid"):
                store._records[token_id] = Record(**json.loads(document))
            # The file's version number tells "emptied by its user" from "never used".
            store.is_new = store._database.execute("PRAGMA user_version").fetchone() == (0,)
        except sqlite3.Error as error:
            store.close()
            raise OSError(f"cannot keep data in {path}: {error}") from error
        return store

    def get(self, token_id: str) -> Record | None:
        return self._records.get(token_id)

    def newest_first(self) -> list[Record]:
        return list(reversed(self._records.values()))

    def put(self, *records: Record) -> None:
        """Add the records, or replace those with the same id; in a file, all of them or none."""
        self._write(
            "INSERT INTO sandbox_tokens VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            ((record.token["id"], json.dumps(asdict(record))) for record in records),
        )
        self._records.update((record.token["id"], record) for record in records)

    def delete(self, token_id: str) -> None:
        self._write("DELETE FROM sandbox_tokens WHERE id = ?", [(token_id,)])
        del self._records[token_id]

    def _write(self, statement: str, rows: Iterable[tuple[str, ...]]) -> None:
        if self._database:
            with self._database:
                self._database.executemany(statement, rows)
                self._database.execute("PRAGMA user_version = 1")
        self.is_new = False

    def close(self) -> None:
        if self._database:
            self._database.close()

    def __len__(self) -> int:
        return len(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
