"""The commands behind `cli.py`, each a function from its arguments to an exit code."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from contextlib import nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from runtype_mcp.settings import Settings, SettingsError, load
from runtype_mcp.stdio.replay import Front


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from runtype_mcp.policy.redaction import redact_text

        # What stands behind an option that does not exist may be a key, and hosts keep what is written here.
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            message = f"unrecognized argument: {words.partition(' ')[0].partition('=')[0]}"
        raise SettingsError(f"{redact_text(message)}. See runtype-mcp --help.")


def run(command: str, argv: list[str], front: Front | None = None) -> int:
    """Run one command; a wrong setting or usage is one line on stderr and exit code 2.

    `front` is what a client over stdio has said already.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a pipe on Windows lacks most of what names are made of
    try:
        return _stdio(argv, front) if command == "stdio" else _COMMANDS[command](argv)
    except SettingsError as exc:
        sys.stderr.write(f"runtype-mcp: {exc}\n")
        return 2


def _serving(argv: list[str], *, port: bool = False) -> tuple[Settings, argparse.Namespace]:
    parser = _Parser(prog="runtype-mcp", add_help=False, allow_abbrev=False)
    parser.add_argument("--sandbox", action="store_true", default=None)
    parser.add_argument("--read-only", action="store_true", default=None)
    parser.add_argument("--base-url")
    if port:
        parser.add_argument("--port", type=_port, default=8765)
    given = parser.parse_args(argv)
    if given.sandbox and given.base_url:
        raise SettingsError("--sandbox and --base-url exclude each other.")
    settings = load(sandbox=given.sandbox, read_only=given.read_only, base_url=given.base_url)
    _log(settings)
    return settings, given


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _log(settings: Settings) -> None:
    """Log to stderr, through the redactor: a traceback is an exit like any other."""
    from runtype_mcp.policy.redaction import RedactingFormatter, Redactor

    handler = logging.StreamHandler()
    redactor = Redactor([settings.api_key] if settings.api_key else [])
    handler.setFormatter(RedactingFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"), redactor))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)


def _stdio(argv: list[str], front: Front | None) -> int:
    settings, _ = _serving(argv)
    gc.disable()  # what is built while the SDK is loaded stays: to search it for garbage is an eighth of a start
    from runtype_mcp.stdio.transport import Conversation, files

    conversation = Conversation(front) if front else None
    with conversation or nullcontext():
        import anyio
        from mcp.server.stdio import stdio_server

        from runtype_mcp.server import build_server

        server = build_server(settings)
        gc.freeze()
        gc.enable()

        async def go_on(conversation: Conversation) -> None:
            async with stdio_server(*files(conversation)) as (heard, said):
                sdk = server._lowlevel_server  # `run("stdio")` takes no streams
                await sdk.run(heard, said, sdk.create_initialization_options())

        if conversation is None:
            server.run("stdio")
        else:
            anyio.run(go_on, conversation)
    return 0


def _http(argv: list[str]) -> int:
    settings, given = _serving(argv, port=True)
    from runtype_mcp.http.app import serve
    from runtype_mcp.server import build_server

    return serve(build_server(settings), given.port)


def _demo(argv: list[str]) -> int:
    _Parser(prog="runtype-mcp demo", add_help=False).parse_args(argv)
    from runtype_mcp.commands.demo import main

    return main()


def _sandbox(argv: list[str]) -> int:
    parser = _Parser(prog="runtype-mcp sandbox", add_help=False, allow_abbrev=False)
    parser.add_argument("--port", type=_port, default=8766)
    parser.add_argument("--data")
    given = parser.parse_args(argv)
    from runtype_mcp.sandbox.serve import serve

    return serve("127.0.0.1", given.port, given.data)


def _approvals(argv: list[str]) -> int:
    _Parser(prog="runtype-mcp approvals", add_help=False).parse_args(argv)
    from runtype_mcp.commands.approve import approvals

    return approvals()


def _approve(argv: list[str]) -> int:
    parser = _Parser(prog="runtype-mcp approve", add_help=False)
    parser.add_argument("code")
    from runtype_mcp.commands.approve import approve

    return approve(parser.parse_args(argv).code)


def _audit(argv: list[str]) -> int:
    parser = _Parser(prog="runtype-mcp audit", add_help=False, allow_abbrev=False)
    parser.add_argument("what", choices=("show", "verify"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--head")
    given = parser.parse_args(argv)
    from runtype_mcp.storage import audit_log

    try:
        if given.what == "show":
            sys.stdout.write(audit_log.table(audit_log.rows(given.file)) + "\n")
            return 0
        found = audit_log.verify(given.file, given.head)
    except audit_log.AuditError as exc:
        sys.stderr.write(f"runtype-mcp: {exc}\n")
        return 1
    for line, problem in found.problems:
        sys.stdout.write(f"line {line}: {problem}\n")
    sys.stdout.write(f"{found.lines} lines, {len(found.problems)} problems, head {found.head}\n")
    return 1 if found.problems else 0


_COMMANDS = {
    "http": _http,
    "demo": _demo,
    "sandbox": _sandbox,
    "approvals": _approvals,
    "approve": _approve,
    "audit": _audit,
}
