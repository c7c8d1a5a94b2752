"""The command line: `main(argv) -> int`. Serving stdio is the default, and the quick path: see `stdio/replay.py`.

A command imports what it needs, because most starts only ever answer a handshake.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, on every Python
import os
import sys


def run() -> None:
    """The console script."""
    # Let Ctrl+C end the process immediately. Python's own handler waits for the loop, which waits for stdin: nothing
    # would happen until a key is pressed. `signal` itself would import `enum`, which is a tenth of a warm start.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run a command. Returns the exit code: 0 fine, 1 something differs or failed, 2 wrong usage or setting."""
    replay = None
    stdio = not argv or argv[0] == "stdio" or argv[0].startswith("-")
    asks = {"-h", "--help", "--version"}.intersection(argv) or os.isatty(0)  # a person is told what this is
    if stdio and not asks:
        from runtype_mcp.stdio.replay import serve_from_cache

        replay = serve_from_cache(argv)
        if replay and replay.client_left:
            return 0
        if replay and not replay.cache.is_current(argv):
            # What is imported from here on would be another version than what is loaded.
            sys.stderr.write("runtype-mcp: the package was upgraded while starting; start it again.\n")
            return 1
    from runtype_mcp import commands

    return commands.main(argv, replay)
