"""What a command prints: sentences and tables for people, or JSON for programs (`--json`).

On a terminal, lines are wrapped at words to its width and may have colours; NO_COLOR, FORCE_COLOR, TERM=dumb and
COLUMNS are honoured. In a pipe nothing is wrapped or coloured, so that `grep` and `cut` see one record in each line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.policy.sanitize import sanitize_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNWRAPPED = 100_000


def add_json_option(parser: ArgumentParser) -> None:
    """Give a command the option `--json`; what it prints then goes through `print_json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def console(*, stderr: bool = False) -> Console:
    """Standard output, or else stderr, as rich sees it. Text is taken literally: no markup, no emoji codes."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704  # to `commands.main`, which ends any command in the same way

    plain = bool(os.environ.get("NO_COLOR"))  # rich would still print bold
    made = Quiet(markup=False, emoji=False, highlight=False, color_system=None if plain else "auto", stderr=stderr)
    if not made.is_terminal:
        made.width = _UNWRAPPED
    return made


def say(text: str = "", style: str = "", *, indent: int = 0, to: Console | None = None) -> None:
    """Print text, with each of its lines wrapped at words and indented. `style` is rich's, such as `bold red`.

    A word that is wider than the terminal stays whole, so that a person can copy it. Text of others is to be
    sanitized before.
    """
    out = to or console()
    for line in text.split("\n"):
        for part in _wrap(line, out.width - indent):
            _print_line(out, " " * indent + part, style)


def _wrap(line: str, width: int) -> Iterator[str]:
    """The line in parts of at most `width` cells of a terminal, broken between words alone."""
    from rich.cells import cell_len

    part, *words = line.split(" ")
    for word in words:
        if cell_len(part) + 1 + cell_len(word) > width:
            yield part
            part = word
        else:
            part += f" {word}"
    yield part


def _print_line(out: Console, text: str | Text, style: str = "") -> None:
    out.print(text, style=style or None, no_wrap=True, overflow="ignore", crop=False)


def failed(text: str) -> int:
    """Say on stderr why a command failed. Returns the exit code."""
    complain(text)
    return 1


def complain(text: str) -> None:
    """Say on stderr what is wrong: one line, or as many as a terminal needs."""
    if sys.stderr and sys.stderr.isatty():
        say(f"runtype-mcp: {text}", to=console(stderr=True))
    else:
        sys.stderr.write(f"runtype-mcp: {text}\n")


@contextmanager
def working(on: str) -> Iterator[None]:
    """Show on a terminal that something is going on, until it is over. Elsewhere nothing is shown.

    Nothing may be printed within.
    """
    if not (sys.stdout.isatty() and sys.stderr.isatty()) or (err := console(stderr=True)).is_dumb_terminal:
        yield
        return
    with interruptible(), err.status(on):
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl+C first put the terminal back in order. Elsewhere it ends every command immediately."""
    ends_immediately = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, ends_immediately)
        signal.raise_signal(signal.SIGINT)
        raise
    finally:
        signal.signal(signal.SIGINT, ends_immediately)


class Report:
    """What a command does, said to a person as it happens, or kept for a program: `facts`, which goes into its JSON."""

    def __init__(self, *, as_json: bool, **facts: Any) -> None:
        self.as_json, self.facts = as_json, {**facts, "problem": None}

    def say(self, text: str, style: str = "", *, indent: int = 0, **facts: Any) -> None:
        """Say a sentence to a person, and keep the facts of it for a program."""
        self.facts |= facts
        if not self.as_json:
            say(text, style, indent=indent)

    def failed(self, text: str, **facts: Any) -> int:
        """Say why it failed. Returns the exit code."""
        self.facts |= {**facts, "problem": text}
        return 1 if self.as_json else failed(text)

    def print(self) -> None:
        """Print the facts, for a program alone."""
        if self.as_json:
            print_json(self.facts)


def print_json(value: Any) -> None:
    """Print a value as JSON, with secrets masked. What is not ASCII is escaped, so nothing can drive a terminal."""
    sys.stdout.write(json.dumps(Redactor().redact_json(value), indent=2) + "\n")


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    lead: int = 1,
    longest: int = 200,
    styles: Mapping[str, str] | None = None,
    to: Console | None = None,
) -> None:
    """Print rows below their headings, as wide as they are. Where a terminal is narrower, each row becomes a block.

    In a block, each cell stands after its heading, unless it is alone.

    Args:
        headings: one for each column.
        rows: the cells. Each is made one plain line: what others wrote cannot drive the terminal or add a row.
        lead: how many columns stand in a block's first line. The others follow, indented, each after its heading.
        longest: the most characters of a cell.
        styles: a style of rich's for cells that start with this word, such as `{"failed": "red"}`.
    """
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    cells = [[sanitize_line(cell, longest) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    out, styles = to or console(), styles or {}

    def line(row: Sequence[str], style: str = "") -> Text:
        padded = [
            Text(set_cell_size(cell, width), styles.get(cell.partition(":")[0], style))
            for cell, width in zip(row, widths, strict=False)
        ]
        joined = Text("  ").join(padded)
        joined.rstrip()
        return joined

    if sum(widths) + 2 * (len(widths) - 1) <= out.width:
        for text in (line(headings, "bold"), *map(line, cells)):
            _print_line(out, text)
        return
    for row in cells:
        _print_line(out, line(row[:lead], "bold"))
        rest = [(name, cell) for name, cell in zip(headings[lead:], row[lead:], strict=True) if cell]
        more = [f"{name}: {cell}" if len(headings) > lead + 1 else cell for name, cell in rest]
        if more:
            say(" · ".join(more), indent=4, to=out)
