"""The text of an env file: set one variable, tell what it was, and leave every other character as it is.

Shells, Node, Python and Docker read env files differently. They agree on blank lines, comments, and assignments that
end on their line, so nothing else is edited. A line of another kind stays where it is, unless it could make a reader
see the variable somewhere else.
"""

import re

BOM = "\ufeff"

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_COMMENT = re.compile(r"[ \t]*(?:#.*)?")
# Some readers take a backslash before the last quote for an escape and look for the end on later lines.
_ASSIGNMENT = re.compile(
    r"""(?P<lead>[ \t]*+(?:export[ \t]++)?(?P<name>[A-Za-z0-9_.-]++)[ \t]*+=[ \t]*+)
    (?P<value>
        '[^']*(?<!\\)'
      | "(?:[^"\\]|\\[^\\]|\\\\(?!"))*"
      | `[^`\\]*`
      | (?:(?<==)|(?!\#)) [^ \t'"`]++ (?:[ \t]++ (?!\#)[^ \t'"`]++)*
    )?
    (?P<tail>[ \t]*+(?:(?<!=)\#.*)?)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`""")


class UnclearLine(Exception):
    """A line that readers of env files understand differently; the message names it and its number."""


def assign(content: str, variable: str, value: str) -> tuple[str, list[str]]:
    """The content with every active assignment of the variable set to `value`, or with one added at the end.

    Also the values that it had, in order and without quotes (escapes are left); the last one counts.

    Raises:
        UnclearLine: readers would not all see the same value.
    """
    named = re.compile(rf"(?<!\w){variable}(?!\w)", re.ASCII)
    parts: list[str] = []
    before: list[str] = []
    joined = False
    for number, line in enumerate(_LINES.findall(content), 1):
        bom = BOM if number == 1 and line.startswith(BOM) else ""
        text = line[len(bom) :].rstrip("\r\n")
        eol = line[len(bom) + len(text) :]
        found = _ASSIGNMENT.fullmatch(text)
        own = found is not None and found["name"] == variable
        # Shells join a line that ends in a backslash with the one after it, which then cannot be a comment.
        comment = not joined and _COMMENT.fullmatch(text)
        joins = (len(text) - len(text.rstrip("\\"))) % 2 == 1 and not comment
        known = found or comment or _harmless(text, named)
        if not known or (joined and named.search(text)) or (joins and own):
            raise UnclearLine(f"Line {number}")
        if found and own:
            old = found["value"] or ""
            before.append(old[1:-1] if old.startswith(("'", '"', "`")) else old)
            lead, tail = found["lead"], found["tail"]
            text = (lead if before[-1] else lead.rstrip()) + value + (" " if tail.startswith("#") else "") + tail
        parts.append(bom + text + eol)
        joined = joins
    if not before:
        if joined:
            raise UnclearLine(f"Line {len(parts)}, which ends in a backslash,")
        ending = re.search(r"\r\n|\r|\n", content)
        eol = ending[0] if ending else "\n"
        closed = content in ("", BOM) or content.endswith(("\r", "\n"))
        parts += ["" if closed else eol, f"{variable}={value}{eol}"]
    return "".join(parts), before


def _harmless(text: str, named: re.Pattern[str]) -> bool:
    """A line of another kind that leaves no quote open and does not name the variable."""
    return not (named.search(text) or re.search(r"['\"`]", _CLOSED.sub("", text)) or re.search(r"\\['\"`]", text))
