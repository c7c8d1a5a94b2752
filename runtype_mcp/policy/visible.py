"""What a reader sees of a text: one notion for redaction, origins, names and every table that is printed."""

import re
import unicodedata

# Terminal sequences. Without its escape character alone, "\x1b[31m" would leave "[31m" in the text.
_ANSI = (
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]"
)

# Drawn as nothing or as a space, although Unicode counts them among letters, marks and symbols.
_BLANK = frozenset(
    map(chr, [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, 0xFFA0, 0x16FE4, 0x1D159])
) | frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))

# Plain ASCII is seen. The rest is rare, and needs a closer look.
_PLAIN = re.compile(r"[\t\n\r -~]*+")
_UNUSUAL = re.compile(rf"(?![\t\n\r -~])(?:{_ANSI}|[\x00-\x1f\x7f-\x9f]|(?P<run>[^\x00-\x9f]+))")


def is_visible(character: str) -> bool:
    """Whether a reader sees it: neither a control, a format character, a filler, nor a code that has no glyph."""
    return character.isprintable() and character not in _BLANK


def visible(text: str) -> str:
    """`text` without terminal sequences and without the characters that a reader does not see. White space stays."""
    return text if _PLAIN.fullmatch(text) else _UNUSUAL.sub(_seen, text)


def _seen(found: re.Match[str]) -> str:
    run = found["run"] or ""
    if run.isprintable() and _BLANK.isdisjoint(run):
        return run
    return "".join(c for c in run if is_visible(c) or unicodedata.category(c)[0] == "Z")
