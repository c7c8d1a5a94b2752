"""`runtype-mcp install HOST…` and `uninstall HOST…`: this server's entry in the hosts' own files.

A person sees what changes before it does. What was there is kept, and what is not ours stays as it is.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runtype_mcp.commands.output import Report, print_json, say
from runtype_mcp.hosts import config_file, plan
from runtype_mcp.hosts.config_file import ConfigFile, FileRefused
from runtype_mcp.hosts.edit import Format, LibraryMissing
from runtype_mcp.hosts.launch import Launch, Machine, how_to_add, launch
from runtype_mcp.hosts.paths import Malformed
from runtype_mcp.hosts.plan import Choice, NotOurs, Plan
from runtype_mcp.hosts.table import HOSTS, Host, Scope
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.settings import SettingsError

LONGEST = 400
"""Characters of a line that are shown: some hosts write a whole file on one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line."""

    hosts: list[str]
    all: bool
    scope: Scope
    choice: Choice
    remove: bool = False
    print: bool = False
    dry_run: bool = False
    yes: bool = False
    json: bool = False


def run(order: Order, state_dir: Path | None, machine: Machine) -> int:
    """Install or uninstall for each host. Returns 0 if all is as asked, 1 if something failed or a person said no.

    Raises:
        SettingsError: no host was named, or one has no file of this scope.
    """
    if state_dir is None:
        raise SettingsError("there is no home directory to keep the old version in: set RUNTYPE_MCP_STATE_DIR.")
    hosts = _chosen(order, machine)
    if order.print:
        return _print(hosts, order, machine)
    reports, codes = [], []
    for number, host in enumerate(hosts):
        if number and not order.json:
            say()
        report = Report(as_json=order.json, host=host.name, scope=order.scope)
        report.say(f"{host.title}, for {'this project' if order.scope == 'project' else 'all your projects'}", "bold")
        codes.append(_one(host, order, state_dir / "backups", machine, report))
        reports.append(report.facts)
    if order.json:
        print_json(reports)
    return max(codes)


def _chosen(order: Order, machine: Machine) -> list[Host]:
    found = [host for host in HOSTS.values() if host.is_found(machine)]
    if not order.hosts and not order.all:
        here = (
            f"Found here: {', '.join(host.name for host in found)}."
            if found
            else "None was found here; --help lists them."
        )
        raise SettingsError(f"name a host, or use --all for every one that is found. {here}")
    if order.hosts and order.all:
        raise SettingsError("name hosts, or use --all, not both.")
    hosts = found if order.all else [HOSTS[name] for name in dict.fromkeys(order.hosts)]
    if order.all:
        hosts = [host for host in hosts if host.path(machine, order.scope)]
        if not hosts:
            raise SettingsError("no host was found here. Name one: `runtype-mcp install --help` lists them.")
    for host in hosts:
        if host.path(machine, order.scope) is None:
            raise SettingsError(f"{host.title} has no file for one project. Leave out --project.")
    return hosts


def _print(hosts: list[Host], order: Order, machine: Machine) -> int:
    """Print what a person would paste: the entries alone on stdout, where they belong on stderr."""
    entries = []
    for host in hosts:
        path = str(host.path(machine, order.scope))
        entry = plan.snippet(host, plan.server(host, order.scope, launch(machine), order.choice))
        if order.json:
            entries.append({"host": host.name, "scope": order.scope, "path": path, "form": host.form, "entry": entry})
        else:
            sys.stderr.write(f"{host.title}: {path}\n")
            say(entry)
    if order.json:
        print_json(entries)
    return 0


def _one(host: Host, order: Order, backups: Path, machine: Machine, report: Report) -> int:
    path = host.path(machine, order.scope)
    assert path is not None
    starts, say, failed = launch(machine), report.say, functools.partial(report.failed, status="failed")
    try:
        file = config_file.read(path)
        say(str(path) + (f" (a link to {file.target})" if file.target != path else ""), path=str(path))
        new = _planned(host, order, file, backups, starts)
        if new is None or new.text == file.text:
            what = (
                "It has no entry of this server." if order.remove else "It is installed already. Nothing was changed."
            )
            say(what, status="unchanged")
            return 0
        _show(file, new, report)
        if order.dry_run:
            say("Nothing was changed: this is a dry run.", status="dry run")
            return 0
        if not order.yes and (order.json or not (sys.stdin.isatty() and sys.stdout.isatty())):
            return failed("a person has to read this and answer. Nothing was changed. Use --yes in a script.")
        if not order.yes and not _agreed("Write this?" if new.text is not None else "Delete this file?"):
            say("Nothing was changed.")
            return 1
        kept = config_file.replace(file, new.text, backups, datetime.now(UTC))
    except FileRefused as exc:
        return failed(str(exc))
    except Malformed as exc:
        where = f" line {exc.line}" if exc.line else ""
        otherwise = "" if order.remove else ", or paste what --print shows"
        return failed(f"{path}{where}: {exc}. Nothing was changed. Mend the file and try again{otherwise}.")
    except NotOurs as exc:
        return failed(
            f"{path} has another server named '{order.choice.name}': {exc}. Nothing was changed. Use --name NAME."
        )
    except LibraryMissing as exc:
        return failed(_how_to_get(exc.package, host.form, starts, machine))
    kept_in = str(kept) if kept else None
    say("Done." + (f" What was there before is in {kept_in}" if kept else ""), status="done", backup=kept_in)
    if order.remove:
        say(f"{host.title} forgets the server when it is started anew.")
        return 0
    key = _about_key(host, order.choice)
    say(f"Key: {key}", key=key)
    if not (host.has_project or order.choice.files_root):
        files = f"none can be written, because {host.title} has no project. --files-root DIR names a folder."
        say(f"Files: {files}", files=files)
    if order.scope == "project":
        git = "the command is a path of this machine. Keep the file out of git if others have another."
        say(f"Git: {git}", git=git)
    say(f"Next: {host.restart}", next=host.restart)
    return 0


def _planned(host: Host, order: Order, file: ConfigFile, backups: Path, starts: Launch) -> Plan | None:
    text, name = file.text or "", order.choice.name
    if order.remove:
        return plan.uninstall(host, text, name, list(config_file.versions(file, backups))) if file.text else None
    return plan.install(host, text, plan.server(host, order.scope, starts, order.choice))


def _show(file: ConfigFile, new: Plan, report: Report) -> None:
    lines = list(diff(file.text or "", new.text or ""))
    report.facts |= {"diff": lines, "notes": new.notes}
    for line in lines:
        report.say(line, {"+": "green", "-": "red"}.get(line[0], ""), indent=2)
    for note in new.notes:
        report.say(note)


def diff(old: str, new: str) -> Iterator[str]:
    """The lines that change, each with one line around it. Secrets of others are masked: assistants read terminals."""
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=1, lineterm=""))[2:]
    redact = Redactor().redact_text
    for line in lines:
        if not line.startswith("@@"):
            yield _cut(redact(_SECRET.sub(r"\1…", line)), [other for other in lines if other[0] != line[0]])


def _cut(line: str, others: list[str]) -> str:
    """A line that is too long to read, from shortly before where it differs from every other one."""
    if len(line) <= LONGEST:
        return line
    same = max((_common(line[1:], other[1:]) for other in others), default=0)
    start = max(1, same - 20)
    rest = line[start : start + LONGEST]
    return line[0] + "…" * (start > 1) + rest + "…" * (start + LONGEST < len(line))


def _common(one: str, other: str) -> int:
    """How many characters two lines begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


_SECRET = re.compile(
    r"""(?i)( ["']? [\w-]*? (?:key|token|secret|passw|auth|credential) [\w-]* ["']? \s*[:=]\s* ["']? )
    (?! [$"'{\[\s] | true\b | false\b | null\b | \d+\b) [^"',}\s][^"',}]*""",
    re.VERBOSE,
)
"""A value whose name says that it is a secret. References begin with $ and are no secrets."""


def _agreed(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _about_key(host: Host, choice: Choice) -> str:
    if choice.sandbox:
        return "none. The server works on the embedded sandbox, which needs no account and forgets all when it ends."
    account = f"profile '{choice.profile or 'default'}'"
    if choice.key_is_stored:
        return f"the one that `runtype-mcp login` stored, {account}."
    login = f"run `runtype-mcp login{f' --profile {choice.profile}' if choice.profile else ''}`"
    if choice.profile or host.reads_key is None:
        return f"{login}. None is stored yet."
    if host.reads_key.startswith("${input:"):
        return f"{host.title} asks for it at the first start, and stores it. The file only refers to it."
    return f"{login}, or set RUNTYPE_API_KEY in the environment that {host.title} starts in."


def _how_to_get(package: str, form: Format, starts: Launch, machine: Machine) -> str:
    command = how_to_add(package, starts, machine, has_pip=importlib.util.find_spec("pip") is not None)
    return (
        f"to edit {form} without losing comments, this needs {package}, which is not installed. Nothing was changed. "
        f"Run `{command}` and try again, or paste what --print shows."
    )
