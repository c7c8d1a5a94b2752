"""`runtype-mcp callers`: who has a token of a team's server, and what each may do."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from runtype_mcp.commands.output import Report, add_json_option, print_json, print_table, say

if TYPE_CHECKING:
    from runtype_mcp.http.callers_file import CallersFile, KnownCaller


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be done with callers."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, does in (
        ("add", "make a token for somebody, and print it once"),
        ("list", "list who has a token, and what each may do"),
        ("remove", "take somebody's token back"),
    ):
        action = actions.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        action.set_defaults(run=run)
        add_json_option(action)
        action.add_argument(
            "--file", type=Path, metavar="FILE", help="the file of callers (what RUNTYPE_MCP_CALLERS names)"
        )
        if name == "list":
            continue
        action.add_argument("name", metavar="NAME", help="what the audit log calls them, such as deploy-bot")
        if name == "add":
            action.add_argument(
                "--scope",
                action="append",
                required=True,
                metavar="SCOPE",
                help="what they may do: read, write, delete, reveal or approve; once for each",
            )
            action.add_argument("--days", type=_days, metavar="N", help="for how long (until it is removed)")
            action.add_argument(
                "--on-behalf-of",
                dest="public_key",
                type=Path,
                metavar="FILE",
                help="trust a bot to say for whom it calls, signed with the key of this public Ed25519 key (PEM)",
            )


def run(options: argparse.Namespace, _: object) -> int:
    """Add, list or remove callers. Returns the exit code."""
    from runtype_mcp.http.callers_file import CallersError, CallersFile
    from runtype_mcp.settings import Settings, SettingsError

    path = options.file or Settings.from_env().callers
    if path is None:
        raise SettingsError("No file of callers is named: give --file, or set RUNTYPE_MCP_CALLERS.")
    file, report = CallersFile(path.absolute()), Report(as_json=options.json, file=str(path.absolute()))
    if options.action == "list":
        return _list(file, as_json=options.json)
    try:
        code = _add(file, options, report) if options.action == "add" else _remove(file, options.name, report)
    except CallersError as exc:
        code = report.failed(str(exc))
    report.print()
    return code


def _add(file: CallersFile, options: argparse.Namespace, report: Report) -> int:
    from runtype_mcp.http.callers_file import CallersError, scopes_from

    scopes = scopes_from(options.scope)
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=options.days) if options.days else None
    try:
        public_key = options.public_key.read_text() if options.public_key else None
    except (OSError, UnicodeDecodeError):
        raise CallersError(f"{options.public_key} cannot be read as a public key. Nothing was added.") from None
    token = file.add(options.name, scopes, expires, public_key)
    report.facts |= {"name": options.name, "token": token}
    if not options.json:
        sys.stderr.write(f"This token lets {options.name} call. It is shown once: {file.path} holds only its hash.\n")
        sys.stdout.write(f"{token}\n")  # alone there, so that a script can store it
    return 0


def _remove(file: CallersFile, name: str, report: Report) -> int:
    report.facts["removed"] = file.remove(name)
    if not report.facts["removed"]:
        return report.failed(f"There is no caller {name} in {file.path}. Nothing was changed.")
    report.say(f"{name} is removed. Their token opens nothing from now on.")
    return 0


def _list(file: CallersFile, *, as_json: bool) -> int:
    from runtype_mcp.http.callers_file import CallersError

    report = Report(as_json=as_json, callers=[])
    try:
        found = file.callers() if file.path.exists() else []
    except CallersError as exc:
        code = report.failed(str(exc))
        report.print()
        return code
    if as_json:
        print_json({"callers": [caller.stored() for caller in found], "problem": None})
    elif found:
        print_table(["Name", "Scopes", "Until", "Calls for others"], map(_row, found))
    else:
        say(f"Nobody has a token: {file.path} names no callers.")
    return 0


def _row(caller: KnownCaller) -> list[str]:
    until = caller.expires.isoformat() if caller.expires else "it is removed"
    return [caller.name, " ".join(caller.scopes), until, "yes" if caller.public_key else "no"]


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 3650:
        raise argparse.ArgumentTypeError("a number of days from 1 to 3650")
    return int(text)
