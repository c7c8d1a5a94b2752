"""What `runtype-mcp doctor` checks in the hosts' own files: whether they start this server, and whether that works."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtype_mcp import __version__
from runtype_mcp.commands.finding import Finding
from runtype_mcp.hosts import config_file, edit
from runtype_mcp.hosts.config_file import FileRefused
from runtype_mcp.hosts.edit import LibraryMissing
from runtype_mcp.hosts.launch import Machine, is_ours, launch
from runtype_mcp.hosts.paths import Malformed, find
from runtype_mcp.hosts.table import HOSTS, Host, Scope
from runtype_mcp.policy.sanitize import sanitize_line

_SCOPES: tuple[Scope, ...] = ("user", "project")
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "runtype-mcp doctor", "version": __version__},
    },
}


AT_ONCE = 6
"""Entries that are started at the same time."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of this server in a host's file. `folder`: where the host starts it."""

    host: Host
    scope: Scope
    where: str
    entry: dict[str, Any]
    folder: Path


async def check_hosts(machine: Machine, seconds: float, *, has_browser: bool) -> list[Finding]:
    """A finding for each host's file that is found, and for each entry of this server in it.

    Args:
        machine: whose hosts.
        seconds: how long all the starts may take.
        has_browser: whether a page for a person can be opened here.
    """
    found: list[Finding | _Entry] = []
    for host in HOSTS.values():
        for scope in _SCOPES:
            path = host.path(machine, scope)
            if path is not None and (path.exists() or (scope == "user" and host.is_found(machine))):
                found += _in_file(host, scope, path, machine)
    limit, deadline = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop().time() + seconds

    async def finding(one: Finding | _Entry) -> Finding:
        if isinstance(one, Finding):
            return one
        async with limit:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return Finding(
                    "skip", "hosts", f"{one.where} is not tried: the others took all of {seconds:g} seconds."
                )
            return await _started(one, machine, left, has_browser=has_browser)

    return await asyncio.gather(*map(finding, found))


def _in_file(host: Host, scope: Scope, path: Path, machine: Machine) -> list[Finding | _Entry]:
    found: list[Finding | _Entry] = []
    try:
        text = config_file.read(path).text
        data = edit.editor(host.form).parse(text) if text and text.strip() else None
    except FileRefused as exc:
        return [Finding("warn", "hosts", f"{host.title}: {exc}", "Correct the file, then start the host anew.")]
    except Malformed as exc:
        what = f"{host.title}: {path}, line {exc.line or '?'}, cannot be read: {exc}."
        return [Finding("fail", "hosts", what, "Correct the file, then start the host anew.")]
    except LibraryMissing as exc:
        what = f"{host.title}: to read {path}, this needs {exc.package}."
        return [Finding("skip", "hosts", f"{what} Install the extra `install` to have it checked.")]
    for name, entry in _ours(host, find(data, host.servers)):
        found.append(_Entry(host, scope, f"{host.title}: the entry {name} in {path}", entry, machine.folder))
    projects = find(data, host.projects) if host.projects and scope == "user" else None
    for folder, project in projects.items() if isinstance(projects, dict) else ():
        for name, entry in _ours(host, find(project, host.servers)) if os.path.isdir(folder) else ():
            where = f"{host.title}: the entry {name} for {sanitize_line(folder, 200)} in {path}"
            found.append(_Entry(host, scope, where, entry, Path(folder)))
    if not found and scope == "user":
        what = f"{host.title} has no entry of this server. `runtype-mcp install {host.name}` makes one."
        return [Finding("skip", "hosts", what)]
    return found


def _ours(host: Host, servers: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries that start this server, by their names in quotes."""
    command, args, _ = host.keys
    for name, entry in servers.items() if isinstance(servers, dict) else ():
        program = entry.get(command) if isinstance(entry, dict) else None
        if isinstance(program, str) and is_ours(program, _words(entry.get(args))):
            yield f"'{sanitize_line(name, 60)}'", entry


async def _started(one: _Entry, machine: Machine, seconds: float, *, has_browser: bool) -> Finding:
    """Start an entry as the host would, as far as the handshake."""
    host, entry, where = one.host, one.entry, one.where
    machine = replace(machine, folder=one.folder)
    command, args, env = host.keys
    program = _filled(entry[command], machine)
    ours = launch(machine)
    if one.scope == "project" and program not in (ours.command, machine.python):
        # The file came with the project, and may name any program.
        return Finding("skip", "hosts", f"{where} is not tried, because it names another program than this one.")
    given = entry.get(env)
    variables = {key: _filled(str(value), machine) for key, value in given.items()} if isinstance(given, dict) else {}
    # What the host does not pass on must not make it work here alone.
    passed = {k: v for k, v in machine.environ.items() if host.reads_key == "" or not k.startswith("RUNTYPE_")}
    todo = f"Run `runtype-mcp install {host.name}`{' --project' if one.scope == 'project' else ''}."
    words = [program, *(_filled(word, machine) for word in _words(entry.get(args)))]
    try:
        answer = await _handshake(words, passed | variables, machine.folder, seconds)
    except TimeoutError:
        return Finding("fail", "hosts", f"{where} gives no answer within {seconds:.0f} seconds.", todo)
    except FileNotFoundError:
        return Finding("fail", "hosts", f"{where} names a program that does not exist.", todo)
    except OSError as exc:
        return Finding("fail", "hosts", f"{where} cannot be started: {exc.strerror}.", todo)
    if answer is None:
        return Finding("fail", "hosts", f"{where} starts a program that ends without an answer.", todo)
    if reason := find(answer, ("result", "_meta", "runtype-mcp/startup-error")):
        return Finding(
            "fail", "hosts", f"{where} does not start. {sanitize_line(str(reason), 400)}", "Correct the entry."
        )
    version = str(find(answer, ("result", "serverInfo", "version")))
    other = f" It is version {sanitize_line(version, 20)}, and this is {__version__}." if version != __version__ else ""
    return Finding("ok", "hosts", f"{where} starts.{other} {_asking(host, has_browser=has_browser)}")


def _asking(host: Host, *, has_browser: bool) -> str:
    """Where a person is asked, as far as the host's documents tell."""
    if host.forms in ("yes", "in the terminal"):
        return f"It asks you in a form{', in its terminal alone' if host.forms != 'yes' else ''}."
    shows = "It shows no forms" if host.forms == "no" else "Whether it shows forms is not documented"
    if has_browser:
        return f"{shows}{':' if host.forms == 'no' else '; if not,'} you are asked on a page in your browser."
    return f"{shows}, and no browser can be opened here: `--approval human` has you asked by `runtype-mcp approve`."


async def _handshake(words: list[str], environ: dict[str, str], folder: Path, seconds: float) -> Any:
    """The answer of a server to the handshake; None if it ends without one.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it does not answer.
    """
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ,
        cwd=folder,
        limit=2**20,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            process.stdin.write(json.dumps(_HELLO).encode() + b"\n")
            await process.stdin.drain()
            return json.loads(await process.stdout.readline())
    except (ConnectionError, ValueError):
        return None
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


def _filled(text: str, machine: Machine) -> str:
    """The text with the host's variables as it would fill them in; what only the host knows is left empty."""
    text = text.replace("${workspaceFolder}", str(machine.folder))
    return re.sub(r"\$\{(?:env:)?(\w+)(?::-[^}]*)?\}", lambda name: machine.environ.get(name[1], ""), text)


def _words(value: Any) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []
