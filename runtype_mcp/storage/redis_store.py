"""The store of one step, in Redis: what is read is remembered, and changes are made only if it is still so.

Every key begins with `runtype-mcp:`. A kind whose values are listed is one hash, and its field without a name is
another text after each change. All expires by itself, but for the write epoch and for what tells memories apart.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable
from typing import Any

from runtype_mcp.storage.redis_connection import RedisConnection, Script
from runtype_mcp.storage.store import LISTED
from runtype_mcp.storage.tickets import StateError

PREFIX = "runtype-mcp:"
_VERSION = 1

# Scripts run one at a time. Redis gives `false` for what is not there, and so does the JSON here.
_COMMIT = Script("""
local step = cjson.decode(ARGV[1])
for _, seen in ipairs(step.seen) do
  local now
  if seen.hash then now = redis.call('HGET', KEYS[seen.key], '') else now = redis.call('GET', KEYS[seen.key]) end
  if now ~= seen.value then return 0 end
end
for _, change in ipairs(step.changes) do
  redis.call(change.command, KEYS[change.key], unpack(change.arguments))
end
return 1
""")


class RedisStore:
    """The store of one attempt at a step."""

    def __init__(self, redis: RedisConnection, now: float) -> None:
        self._redis, self._now = redis, now
        self._texts: dict[str, str | None] = {}  # by key, as they were read
        self._hashes: dict[str, dict[str, str]] = {}
        self._keys: list[str] = []
        self._changes: list[dict[str, Any]] = []

    @property
    def first_count(self) -> int:
        return int(self._memory()["start"])

    def get(self, kind: str, key: str) -> Any:
        return self.items(kind).get(key) if kind in LISTED else self.get_many(kind, [key]).get(key)

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        names = {key: key_name(kind, key) for key in keys}
        self._read(names.values())
        return {key: json.loads(text) for key, name in names.items() if (text := self._texts[name]) is not None}

    def items(self, kind: str) -> dict[str, Any]:
        kept = {key: json.loads(text) for key, text in self._hash(kind).items() if key}
        return {key: value["value"] for key, value in kept.items() if value["expires"] > self._now}

    def put(self, kind: str, key: str, value: Any, expires: float) -> None:
        if kind in LISTED:
            fields = self._hash(kind)
            kept = json.dumps({"expires": expires, "value": value})
            last = max([expires, *(json.loads(text)["expires"] for name, text in fields.items() if name)])
            self._change_hash(kind, "HSET", key, kept)
            self._change("PEXPIRE", key_name(kind, ""), self._milliseconds(last))
        else:
            ends = [] if math.isinf(expires) else ["PX", self._milliseconds(expires)]
            self._change("SET", key_name(kind, key), json.dumps(value), *ends)

    def delete(self, kind: str, key: str) -> None:
        if kind in LISTED:
            self._change_hash(kind, "HDEL", key)
        else:
            self._change("DEL", key_name(kind, key))

    def commit(self) -> bool:
        """Have Redis make the changes. False, and nothing is changed, if what was read is not so any more."""
        if not self._changes:
            return True
        self._memory()
        seen: list[dict[str, Any]] = [
            {"key": self._number(name), "hash": False, "value": False if text is None else text}
            for name, text in self._texts.items()
        ]
        seen += [
            {"key": self._number(name), "hash": True, "value": fields.get("", False)}
            for name, fields in self._hashes.items()
        ]
        step = json.dumps({"seen": seen, "changes": self._changes})
        return bool(self._redis.run_script(_COMMIT, self._keys, step))

    def _memory(self) -> dict[str, Any]:
        """What tells this memory of Redis from one that was lost. Whoever finds none makes one."""
        self._read([])
        memory: dict[str, Any] = json.loads(self._texts[_MEMORY] or "{}")
        if memory.get("version") != _VERSION:
            raise StateError(
                f"What is kept in {self._redis.shown} was written by another version of runtype-mcp. No approval "
                "counts, and nothing was changed. Use that version, or another database of this Redis."
            )
        return memory

    def _read(self, names: Iterable[str]) -> None:
        unread = [name for name in dict.fromkeys([_MEMORY, *names]) if name not in self._texts]
        if not unread:
            return
        self._texts |= zip(unread, self._redis.run("MGET", *unread), strict=True)
        if self._texts[_MEMORY] is None:
            # The first count differs each time, so that no answer of a person fits that was given before the loss.
            memory = json.dumps({"version": _VERSION, "start": secrets.randbelow(999_999) + 1})
            self._redis.run("SET", _MEMORY, memory, "NX")
            self._texts[_MEMORY] = self._redis.run("GET", _MEMORY)
        self._memory()

    def _hash(self, kind: str) -> dict[str, str]:
        name = key_name(kind, "")
        if name not in self._hashes:
            self._read([])
            self._hashes[name] = self._redis.run("HGETALL", name)
        return self._hashes[name]

    def _change_hash(self, kind: str, command: str, *arguments: str) -> None:
        """Change a field, take out those that have expired, and give the whole a new mark to know it by."""
        fields, name = self._hash(kind), key_name(kind, "")
        if not any(change["key"] == self._number(name) for change in self._changes):
            expired = [key for key, text in fields.items() if key and json.loads(text)["expires"] <= self._now]
            if expired:
                self._change("HDEL", name, *expired)
            self._change("HSET", name, "", secrets.token_hex(8))
        self._change(command, name, *arguments)

    def _change(self, command: str, name: str, *arguments: str) -> None:
        self._changes.append({"command": command, "key": self._number(name), "arguments": arguments})

    def _number(self, name: str) -> int:
        """The number of a key among those of the script, from 1 on."""
        if name not in self._keys:
            self._keys.append(name)
        return self._keys.index(name) + 1

    def _milliseconds(self, expires: float) -> str:
        return str(max(1, math.ceil((expires - self._now) * 1000)))


def key_name(kind: str, key: str) -> str:
    return f"{PREFIX}{kind}:{key}" if key else f"{PREFIX}{kind}"


_MEMORY = key_name("memory", "")
