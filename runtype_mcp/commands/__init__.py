"""The commands behind `cli.py`: each is a function from its options to an exit code.

A command imports what it needs, because most starts only serve stdio.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from runtype_mcp import __version__
from runtype_mcp.commands import call_options, callers, http_options, install_options
from runtype_mcp.commands.output import add_json_option, complain
from runtype_mcp.credentials import ApiKey
from runtype_mcp.logs import log_to_stderr
from runtype_mcp.settings import Settings, SettingsError
from runtype_mcp.stdio.replay import Replay

if TYPE_CHECKING:
    from runtype_mcp.server import RuntypeServer

CLOSED_PIPE = 141
"""The exit code where nobody reads what is printed: what shells report of other programs, which SIGPIPE ends."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """One line for each command: argparse measures their names without the indentation, and breaks the longest."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        self._action_max_length += 2 * isinstance(action, argparse._SubParsersAction)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors do not repeat what was typed: it may be a key, and hosts keep what stderr says."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **options)
        self.takes_words = False
        """Whether the command itself reads what stands between its options."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = super().parse_known_args(args, namespace)
        if self.takes_words:
            found.words = [word for word in rest if not word.startswith("-")]
            rest = [word for word in rest if word.startswith("-")]
        return found, rest

    def error(self, message: str) -> NoReturn:
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            option = re.match(r"--?[a-z][a-z-]{,20}(?=[ =]|$)", words)
            message = f"unknown option {option[0]}." if option else "unexpected argument."
        elif choice := re.search(r": invalid choice: (.*) \(choose from (.*)\)$", message, re.DOTALL):
            names = re.findall(r"[\w-]+", choice[2])
            near = difflib.get_close_matches(choice[1].strip("'"), names, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            message = f"{message[: choice.start()]} must be one of {', '.join(names)}{hint}"
        else:
            message = re.sub(r"""(["']).*\1""", "…", message, flags=re.DOTALL) + "."
        raise SettingsError(f"{message} See {self.prog} --help.")


def main(argv: list[str], replay: Replay | None = None) -> int:
    """Run a command. The one without a name serves stdio.

    Args:
        argv: the arguments behind the program's name.
        replay: the session of a client over stdio so far.

    Returns:
        The exit code: 0 fine, 1 something differs or failed, 2 wrong usage or setting, which is one line on stderr.
    """
    bare = not argv
    if bare or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv = ["stdio", *argv]
    if argv[0] != "stdio":  # which needs both, and says so
        sys.stdin, sys.stdout = sys.stdin or StringIO(), sys.stdout or StringIO()
    try:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a pipe on Windows lacks most of what names are made of
        code = _welcome() if bare and _on_terminal() else _run(argv, replay)
        if sys.stdout:
            sys.stdout.flush()
    except* BrokenPipeError:
        code = CLOSED_PIPE
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains at the exit that the rest cannot be written
    return code


def _on_terminal() -> bool:
    """Whether a person reads and types here. Hosts speak through pipes."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty())


def _welcome() -> int:
    from runtype_mcp.commands.help import welcome

    return welcome()


def _run(argv: list[str], replay: Replay | None) -> int:
    try:
        options = _parser().parse_args(argv)
        return int(options.run(options, replay))
    except SystemExit as printed:  # --help, --version
        return int(printed.code or 0)
    except SettingsError as exc:
        complain(str(exc))
        if argv[0] == "stdio" and sys.stdin and sys.stdout and not sys.stdin.isatty():
            from runtype_mcp.stdio import failed_start

            sys.stderr.flush()  # hosts show it while the client still listens
            failed_start.serve(str(exc), replay.unread if replay else b"")
        return 2


def _parser(tools: Sequence[str] = ()) -> _Parser:
    """`tools` are offered where a shell completes one."""
    parser = _Parser(
        prog="runtype-mcp",
        description="Manage Runtype client tokens from any MCP client.\nWithout a command it serves stdio.",
        epilog="`runtype-mcp COMMAND --help` tells more of one.\n`runtype-mcp settings` lists what you can set.",
    )
    parser.add_argument("--version", action="version", version=f"runtype-mcp {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def command(name: str, run: Any, does: str, **more: Any) -> _Parser:
        made: _Parser = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", **more)
        made.set_defaults(run=run)
        return made

    def profile(of: _Parser) -> None:
        of.add_argument("--profile", metavar="NAME", help="the account of `runtype-mcp login --profile NAME`")

    serving = command("stdio", _stdio, "serve one client over stdin and stdout, as hosts start it")
    http = command("http", _http, "serve many clients over Streamable HTTP")
    console = command("console", _console, "show tokens, findings, approvals and the audit log in your browser")
    flag: dict[str, Any] = {"action": "store_const", "const": True}  # None where it is not given

    def serving_options(of: _Parser) -> None:
        of.add_argument("--sandbox", **flag, help="the embedded sandbox instead of the API: no account, no key")
        of.add_argument("--read-only", **flag, help="only list and read")
        of.add_argument("--base-url", metavar="URL", help="another API than RUNTYPE_BASE_URL says")
        profile(of)

    serving_options(serving)
    serving_options(http)
    serving_options(console)
    http_options.add_options(http, _port)
    console.add_argument("--port", type=_port, default=0, metavar="N", help="the port (a free one unless given)")
    console.add_argument("--no-open", action="store_true", help="print the address instead of opening it")
    install = command("install", install_options.run, "put this server into the configuration of a host")
    install_options.add_options(install, installs=True)
    uninstall = command("uninstall", install_options.run, "take this server out of the configuration of a host")
    install_options.add_options(uninstall, installs=False)
    demo = command("demo", _demo, "walk through every tool on the embedded sandbox")
    demo.add_argument("--browser", action="store_true", help="decide on the page of the last call yourself")
    add_json_option(demo)
    sandbox = command("sandbox", _sandbox, "serve the API's behaviour over HTTP, to try and to test")
    sandbox.add_argument("--port", type=_port, default=8766, metavar="N", help="the port (%(default)s; 0 picks one)")
    sandbox.add_argument("--data", metavar="FILE", type=Path, help="a file that keeps the tokens")
    login = command("login", _login, "store an API key, which is asked for or read from stdin")
    login.add_argument("--file", action="store_true", help="store it in a file, also where there is a keyring")
    logout = command("logout", _login, "forget the stored key")
    whoami = command("whoami", _login, "say which key is used, and what it may do")
    for one in (login, logout, whoami):
        add_json_option(one)
        one.add_argument("--base-url", metavar="URL", help="another API than RUNTYPE_BASE_URL says")
        profile(one)
    check = command("doctor", _doctor, "say what keeps this server from working here, and what to do")
    serving_options(check)
    add_json_option(check)
    call = command("call", _call, "call one tool, from a shell or a script", add_help=False)
    call.set_defaults(parser=call)
    call.takes_words = not tools
    if tools:
        call.add_argument("tool", choices=tools)
    serving_options(call)
    call_options.add_options(call)
    callers.add_options(command("callers", callers.run, "say who may call a team's server, and what each may do"))
    approvals = command("approvals", _approve, "list the calls that wait for a person, or were decided")
    add_json_option(approvals)
    approve = command("approve", _approve, "approve or deny one call, in a terminal")
    approve.add_argument("code", metavar="CODE", help="the code that the refused call named")
    profile(approve)
    audit = command("audit", _audit, "show an audit log, or verify that nobody edited it")
    audit.add_argument("what", choices=("show", "verify"))
    kinds = "what RUNTYPE_MCP_AUDIT names: a file, or `redis`; or what servers printed"
    audit.add_argument("file", metavar="FILE", type=Path, nargs="+", help=kinds)
    audit.add_argument("--head", metavar="HASH", help="verify: a head that was printed before must still be in the log")
    add_json_option(audit)
    add_json_option(command("settings", _print_settings, "list what you can set, with its default and its meaning"))
    completion = command("completion", _completion, "print a script that completes commands in your shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish", "powershell", "tcsh"))
    return parser


def _print_settings(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.commands.help import settings

    return settings(as_json=options.json)


def _completion(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.commands.help import completion
    from runtype_mcp.tools import SPECS

    return completion(_parser([spec.name for spec in SPECS]), options.shell)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    if options.sandbox and options.base_url:
        raise SettingsError("--sandbox and --base-url exclude each other.")
    return {name: getattr(options, name, None) for name in ("sandbox", "read_only", "base_url", "profile", "auth")}


def _settings(options: argparse.Namespace, *, prints: bool = False) -> tuple[Settings, ApiKey]:
    """The settings and the key. `prints`: standard output is for something else than the audit log."""
    settings = Settings.from_env(**_flags(options))
    if prints and settings.audit == "stdout":
        raise SettingsError("RUNTYPE_MCP_AUDIT=stdout is for `runtype-mcp http`: here stdout is for something else.")
    key = ApiKey(settings)
    log_to_stderr(settings.log_level, key.redactor, settings.log_format)
    return settings, key


def _stdio(options: argparse.Namespace, replay: Replay | None) -> int:
    settings, key = _settings(options, prints=True)
    if sys.stdin and sys.stdin.isatty():
        sys.stderr.write(
            "This is an MCP server: a host such as Claude or Cursor starts it and speaks with it here.\n"
            "Ctrl+C ends it. Try `runtype-mcp demo` to see what it does, or `runtype-mcp --help`.\n"
        )
    from runtype_mcp.stdio.serve import serve

    return serve(settings, key, replay)


def _http(options: argparse.Namespace, _: object) -> int:
    settings, key = _settings(options)
    from runtype_mcp.http.serve import serve

    return serve(settings, key, http_options.listening(options), _flags(options))


def _console(options: argparse.Namespace, _: object) -> int:
    settings, key = _settings(options, prints=True)
    from runtype_mcp.commands.console import console
    from runtype_mcp.server import build_server

    return console(build_server(settings, key=key), options.port, opens=not options.no_open)


def _call(options: argparse.Namespace, _: object) -> int:
    def build(options: argparse.Namespace) -> RuntypeServer:
        settings, key = _settings(options, prints=True)
        from runtype_mcp.server import build_server

        return build_server(settings, key=key, pages=True)

    return call_options.run(options, options.parser, build)


def _demo(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.commands.demo import demo

    return demo(as_json=options.json, own_browser=options.browser)


def _sandbox(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.sandbox.serve import serve

    return serve(options.port, options.data)


def _approve(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.commands.approve import approvals, approve

    if "code" not in options:
        return approvals(Settings.from_env(), as_json=options.json)
    return approve(Settings.from_env(profile=options.profile), options.code)


def _login(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.commands import login

    settings = Settings.from_env(base_url=options.base_url, profile=options.profile)
    if settings.sandbox:
        raise SettingsError("The sandbox (RUNTYPE_MCP_SANDBOX) has its own key: nothing is stored for it.")
    if options.command == "login":
        return login.login(settings, use_keyring=not options.file, as_json=options.json)
    if options.command == "logout":
        return login.logout(settings, as_json=options.json)
    return login.whoami(settings, as_json=options.json)


def _doctor(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.commands.doctor import doctor

    return doctor(_flags(options), as_json=options.json)


def _audit(options: argparse.Namespace, _: object) -> int:
    from runtype_mcp.commands.audit import show, verify

    in_redis = [path for path in options.file if str(path) == "redis"]
    redis_url = Settings.from_env().redis_url if in_redis else None
    if in_redis and redis_url is None:
        raise SettingsError("The audit log in Redis is where RUNTYPE_MCP_REDIS_URL says: set it.")
    if options.what == "show":
        return show(options.file, redis_url, as_json=options.json)
    return verify(options.file, redis_url, options.head, as_json=options.json)
