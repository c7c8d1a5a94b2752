"""The options of `runtype-mcp call`, apart from what it does, which a start does not load."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from runtype_mcp.commands.output import add_json_option, failed
from runtype_mcp.settings import CALLERS_TOKEN, SettingsError

EPILOG = f"""\
Without TOOL it lists the tools. With it, --help tells that tool's arguments.

A list is items with commas between them, a repeated argument, or JSON. An
object is JSON. @FILE stands for what is in the file, @- for what comes over
stdin, and @@ for an @ at the start.

exit codes:
  0    done
  1    the API or the network failed
  2    bad input
  3    not found
  4    only previewed
  5    refused, by a rule, by a person or by the policy
  6    it is unknown whether anything was changed
  7    it waits for somebody's approval
  130  stopped by Ctrl+C, and nothing was changed

With --url, the bearer token is what {CALLERS_TOKEN}, or the file of
--token-file, holds."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `call` its own options. What is no option is left to `run`, as `words`."""
    parser.usage = "runtype-mcp call [TOOL] [ARGUMENT=VALUE …] [options]"
    parser.epilog = EPILOG
    parser.add_argument("-h", "--help", action="store_true", dest="helps", help="show this, or a tool's arguments")
    parser.add_argument("--url", metavar="URL", help="a server's address over Streamable HTTP, such as …/mcp")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="a file that holds the bearer token for --url")
    parser.add_argument("--confirm", action="store_true", help="show what it would do, and ask you in this terminal")
    add_json_option(parser)


def run(options: argparse.Namespace, parser: argparse.ArgumentParser, build: Any) -> int:
    """Make the call. Returns the exit code. `build` makes the server of this machine's settings."""
    words: list[str] = options.words
    if options.helps and not words:
        parser.print_help()
        return 0
    if words and "=" in words[0]:
        raise SettingsError("The tool comes first: runtype-mcp call TOOL ARGUMENT=VALUE …")
    if options.confirm and not options.helps and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SettingsError(
            "--confirm needs a terminal: a person has to read and type. Nothing was sent. A script says confirm=true "
            "and expected_name=… as the tool takes them, subject to the server's policy."
        )
    # The program starts with Ctrl+C ending it silently. Here it says whether anything may have been changed.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _run(options, words, build)
    except KeyboardInterrupt:  # before the call, which says so itself
        failed("Stopped. Nothing was changed.")
        return 130


def _run(options: argparse.Namespace, words: list[str], build: Any) -> int:
    from runtype_mcp.commands.call import Order, call
    from runtype_mcp.commands.call_server import Local, Remote

    order = Order(words[0] if words else None, tuple(words[1:]), options.confirm, options.json, options.helps)
    if options.url is None:
        if options.token_file is not None:
            raise SettingsError("--token-file goes with --url.")
        return call(order, Local(build(options)))
    if any(getattr(options, name) for name in ("sandbox", "read_only", "base_url", "profile")):
        raise SettingsError("--url excludes --sandbox, --read-only, --base-url and --profile: they are the server's.")
    return call(order, Remote(options.url, os.environ.get(CALLERS_TOKEN), options.token_file))
