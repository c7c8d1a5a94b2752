"""The command line: `main(argv) -> int`. Serving stdio is the default, and the quick path: see `front.py`.

Everything else is imported by the command that needs it, because most starts only ever say hello.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, on every Python
import sys

USAGE = """\
runtype-mcp: manage Runtype client tokens from any MCP client.

  runtype-mcp [options]              serve one client over stdio (what hosts start)
  runtype-mcp http [options]         serve over Streamable HTTP, on this machine alone
  runtype-mcp demo                   walk through every tool on the embedded sandbox
  runtype-mcp sandbox [--port N] [--data FILE]
                                     the API's behaviour over HTTP, for trying and testing
  runtype-mcp approvals              list what waits for a person's approval
  runtype-mcp approve CODE           approve one call, in a terminal
  runtype-mcp audit show FILE        the audit log as a table
  runtype-mcp audit verify FILE [--head HASH]
                                     find edited, removed or reordered lines

options of serving:
  --sandbox                          the embedded sandbox instead of the API: no account, no key
  --read-only                        list and read only
  --base-url URL                     another API (RUNTYPE_BASE_URL)
  --port N                           http: the port (8765; 0 picks one)

  --version, --help

Set RUNTYPE_API_KEY in the environment. Every other setting is in the README.
"""
_FLAGS = ("--sandbox", "--read-only")
_COMMANDS = ("http", "demo", "sandbox", "approvals", "approve", "audit")


def run() -> None:
    """The console script."""
    # Ctrl+C ends it at once. Python's own handler waits for the loop, which waits for stdin: nothing would happen until
    # a key is pressed. `signal` itself would bring `enum` along, which is a tenth of a warm start.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run a command. Returns the exit code: 0 fine, 1 something differs or failed, 2 wrong usage or setting."""
    if "--help" in argv or "-h" in argv:
        sys.stdout.write(USAGE)
        return 0
    if "--version" in argv:
        from runtype_mcp import __version__

        sys.stdout.write(f"runtype-mcp {__version__}\n")
        return 0
    command = argv[0] if argv and argv[0] in _COMMANDS else "stdio"
    front = None
    if command == "stdio":
        from runtype_mcp.stdio.replay import answered

        left, front = answered(argv)
        if left:
            return 0
        if front and not front.cache.fits(argv):
            # What is loaded from here on would not fit what is loaded already.
            sys.stderr.write("runtype-mcp: it was replaced by another version meanwhile. Start it again.\n")
            return 1
    from runtype_mcp import commands

    return commands.run(command, argv[command != "stdio" :], front)
