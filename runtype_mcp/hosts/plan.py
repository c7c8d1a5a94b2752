"""What an install or an uninstall changes in a file, as pure functions. A key is never written: only how to get it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from runtype_mcp.hosts import edit
from runtype_mcp.hosts.launch import Launch, extra_args, is_ours
from runtype_mcp.hosts.paths import REMOVE, Malformed, find
from runtype_mcp.hosts.paths import Path as Place
from runtype_mcp.hosts.table import INPUT, KEY, Host, Scope, Server

ROOT = "RUNTYPE_MCP_FILES_ROOT"
APPROVAL = "RUNTYPE_MCP_APPROVAL"
_OPTIONS = {"--sandbox": 0, "--read-only": 0, "--profile": 1}
_PERSONS = ("enabled", "type", "name", "description", "timeout")
"""What an entry gets when it is made, and keeps as a person has it from then on."""


class NotOurs(Exception):
    """The entry of this name starts another server. The message says which, as a clause."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person wants of the server. `key_is_stored`: `runtype-mcp login` has the key for it."""

    name: str = "runtype"
    sandbox: bool = False
    read_only: bool = False
    approval: str | None = None
    profile: str | None = None
    files_root: str | None = None
    key_is_stored: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """New text for a file, None to delete it, and what to say about it: a sentence each."""

    text: str | None
    notes: list[str] = field(default_factory=list)


def server(host: Host, scope: Scope, launch: Launch, choice: Choice) -> Server:
    """How the host is to start the server."""
    args = [*launch.args]
    args += ["--sandbox"] if choice.sandbox else []
    args += ["--read-only"] if choice.read_only else []
    args += ["--profile", choice.profile] if choice.profile else []
    env = {}
    if host.reads_key and not (choice.sandbox or choice.profile or choice.key_is_stored):
        env[KEY] = host.reads_key
    if root := choice.files_root or host.files_root.get(scope):
        env[ROOT] = root
    if choice.approval:
        env[APPROVAL] = choice.approval
    return Server(choice.name, launch.command, args, env)


def install(host: Host, text: str, wanted: Server) -> Plan:
    """The file with an entry for the server.

    Raises:
        NotOurs: another server has the name.
        Malformed: the file cannot be edited.
        LibraryMissing: the file's format needs a library that is not installed.
    """
    data = edit.editor(host.form).parse(text)
    place = (*host.servers, wanted.name)
    old = find(data, place)
    asked = host.question(wanted)
    changes: list[edit.Change] = [asked] if asked and find(data, asked[0]) is None else []
    if old is None:
        return Plan(edit.apply(host.form, text, [*changes, (place, host.entry(wanted))]))
    _check_ours(host, old)
    more, notes = _update(host, place, old, wanted)
    return Plan(edit.apply(host.form, text, [*changes, *more]), notes)


def uninstall(host: Host, text: str, name: str, before: list[str]) -> Plan | None:
    """The file without the entry; None if it has none.

    Args:
        before: what the file held at other times. If one of them became this file by nothing but an install, that is
            what comes back, to the byte. The last one that is tried is that there was no file.

    Raises:
        NotOurs, Malformed, LibraryMissing: as `install`.
    """
    data = edit.editor(host.form).parse(text)
    place = (*host.servers, name)
    old = find(data, place)
    if old is None:
        return None
    _check_ours(host, old)
    entry: edit.Change = (place, old)
    question = (("inputs", INPUT), find(data, ("inputs", INPUT)))
    added = [question, entry] if question[1] is not None else [entry]
    was_there = False
    for earlier, back in [*((one, one) for one in before), ("", None)]:
        try:
            known = edit.editor(host.form).parse(earlier)
            if find(known, place) is None:
                was_there |= back is not None
                if (back is not None or not was_there) and edit.apply(host.form, earlier, added) == text:
                    return Plan(back)
        except Malformed:
            continue
    left = edit.apply(host.form, text, [(place, REMOVE)])
    if question[1] is not None and f"${{input:{INPUT}}}" not in left:
        left = edit.apply(host.form, left, [(question[0], REMOVE)])
        if find(edit.editor(host.form).parse(left), ("inputs",)) == []:
            left = edit.apply(host.form, left, [(("inputs",), REMOVE)])
    is_hollow = edit.editor(host.form).parse(left) in ({}, {host.servers[0]: {}}) and not re.search("//|/[*]|#", left)
    return Plan(None if is_hollow and not was_there else left)


def snippet(host: Host, wanted: Server) -> str:
    """What a person would paste into an empty file."""
    asked = host.question(wanted)
    data: dict[str, Any] = {"inputs": [asked[1]]} if asked else {}
    entry = host.entry(wanted)
    if host.form == "TOML":
        lines = [f"{key} = {_toml(value)}" for key, value in entry.items()]
        return "\n".join([f"[{host.servers[0]}.{wanted.name}]", *lines])
    if host.form == "YAML":
        lines = [f"    {key}: {json.dumps(value)}" for key, value in entry.items()]
        return "\n".join([f"{host.servers[0]}:", f"  {wanted.name}:", *lines])
    return json.dumps({**data, host.servers[0]: {wanted.name: entry}}, indent=2, ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def _check_ours(host: Host, entry: Any) -> None:
    command, args, _ = host.keys
    given = entry.get(command) if isinstance(entry, dict) else None
    if isinstance(given, str) and is_ours(given, _words(entry.get(args))):
        return
    url = find(entry, ("url",)) or find(entry, ("serverUrl",))
    what = f"the one at {url}" if isinstance(url, str) else f"one that is started by {given!r}" if given else "another"
    raise NotOurs(what)


def _words(value: Any) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


def _update(host: Host, place: Place, old: dict[str, Any], wanted: Server) -> tuple[list[edit.Change], list[str]]:
    """The changes that make an older entry the wanted one, and keep what a person has added; and what to say of it."""
    _, args_key, env_key = host.keys
    was = _words(old.get(args_key))
    new = host.entry(replace(wanted, args=wanted.args + extra_args(was, _OPTIONS)))
    env, old_env = new.pop(env_key, {}), old.get(env_key) or {}
    changes: list[edit.Change] = [
        ((*place, key), value) for key, value in new.items() if not (key in _PERSONS and key in old)
    ]
    notes = []
    if "env_vars" in old:
        named = [one for one in _words(old["env_vars"]) if one != KEY] + _words(new.get("env_vars"))
        changes = [change for change in changes if change[0][-1] != "env_vars"]
        if sorted(named) != sorted(_words(old["env_vars"])):
            changes.append(((*place, "env_vars"), named or REMOVE))
    if "--read-only" in was and "--read-only" not in wanted.args:
        notes.append("It was read-only and no longer is. Add --read-only to keep that.")
    if APPROVAL in old_env and APPROVAL not in env:
        notes.append(f"Its approval policy was '{old_env[APPROVAL]}'. Add --approval to keep one.")
    kept = {name for name in old_env if name not in (KEY, APPROVAL)}
    if not env.get(ROOT, "$").startswith("$"):  # a person names a folder, instead of what the entry has
        kept.discard(ROOT)
    literal = str(old_env.get(KEY, ""))
    if literal and not literal.startswith("$"):
        kept.add(KEY)
        notes.append(
            "It holds an API key in plain text, which stays. After `runtype-mcp login` you can delete it there."
        )
    final = {**{name: value for name, value in old_env.items() if name in kept}}
    final |= {name: value for name, value in env.items() if name not in kept}
    if not final and env_key in old and host.name != "goose":
        changes.append(((*place, env_key), REMOVE))
    elif env_key not in old and final:
        changes.append(((*place, env_key), final))
    else:
        changes += [((*place, env_key, name), REMOVE) for name in old_env if name not in final]
        changes += [((*place, env_key, name), value) for name, value in final.items()]
    return changes, notes
