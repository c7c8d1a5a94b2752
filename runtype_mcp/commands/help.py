"""What the program says about itself: to a person who starts it, its settings, and to a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from runtype_mcp import __version__
from runtype_mcp.commands.output import print_json, say
from runtype_mcp.setting_variables import VARIABLES

_COMPLETED = {"FILE": "FILE", "PATH": "FILE", "DIR": "DIRECTORY"}
"""What a shell offers for an argument, by what its help calls it; the name of it in shtab."""
_WELCOME = f"""\
runtype-mcp {__version__}: an MCP server that manages Runtype client tokens.

An assistant such as Claude, Cursor or VS Code starts it and speaks with it; you need not.

    runtype-mcp demo                  see what it does, without an account
    runtype-mcp login                 store your API key, where no model sees it
    runtype-mcp install claude-code   give it to your assistant (or cursor, …)
    runtype-mcp doctor                say what keeps it from working
    runtype-mcp --help                all commands\
"""


def welcome() -> int:
    """Tell a person what this is and what to do. Returns the exit code."""
    say(_WELCOME)
    return 0


def settings(*, as_json: bool = False) -> int:
    """Print each setting with its default and its meaning. Returns the exit code."""
    rows = [(name, row.default.replace("`", ""), row.meaning.replace("`", "")) for name, row in VARIABLES.items()]
    if as_json:
        print_json([{"name": name, "default": default, "meaning": meaning} for name, default, meaning in rows])
        return 0
    say("The server reads these variables once, from its environment, when it starts. No model can reach them.")
    for name, default, meaning in rows:
        say(f"\n{name}", "bold")
        say(f"{meaning}\n(default: {default})", indent=4)
    return 0


def completion(parser: argparse.ArgumentParser, shell: str) -> int:
    """Print a script that completes this program's commands in a shell. Returns the exit code."""
    import shtab

    for action in _actions(parser):
        if (what := _COMPLETED.get(str(action.metavar))) and not action.choices:
            action.complete = getattr(shtab, what)  # type: ignore[attr-defined]  # where shtab looks for it
    say(shtab.complete(parser, shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of its commands."""
    for action in parser._actions:  # argparse has no public way to them
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
