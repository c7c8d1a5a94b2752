"""Draws the icon, a chat bubble that holds a key, as `icon.svg` and as `icon.png`.

    python -m scripts.icon

Both come from one list of shapes. The standard library suffices for a PNG, so no image library is needed.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZE = 512
"""Pixels of the PNG, and units of the SVG: what every directory of bundles and plugins accepts."""
INDIGO, WHITE = (67, 56, 202), (255, 255, 255)


@dataclass(frozen=True)
class Box:
    """A rectangle with round corners; a circle is one whose corners are all of it."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    colour: tuple[int, int, int]

    def svg(self) -> str:
        r, g, b = self.colour
        place = f'x="{self.x:g}" y="{self.y:g}" width="{self.width:g}" height="{self.height:g}" rx="{self.radius:g}"'
        return f'<rect {place} fill="#{r:02x}{g:02x}{b:02x}"/>'

    def coverage(self, x: float, y: float) -> float:
        """How much of the pixel around this point is inside, from 0 to 1."""
        dx = abs(x - self.x - self.width / 2) - self.width / 2 + self.radius
        dy = abs(y - self.y - self.height / 2) - self.height / 2 + self.radius
        distance = math.hypot(max(dx, 0), max(dy, 0)) + min(max(dx, dy), 0) - self.radius
        return min(max(0.5 - distance, 0), 1)


@dataclass(frozen=True)
class Triangle:
    """Three corners, clockwise as seen on the screen."""

    corners: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    colour: tuple[int, int, int]

    def svg(self) -> str:
        r, g, b = self.colour
        points = " ".join(f"{x:g},{y:g}" for x, y in self.corners)
        return f'<polygon points="{points}" fill="#{r:02x}{g:02x}{b:02x}"/>'

    def coverage(self, x: float, y: float) -> float:
        edges = zip(self.corners, self.corners[1:] + self.corners[:1], strict=True)
        inside = (
            ((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)) / math.hypot(x2 - x1, y2 - y1) for (x1, y1), (x2, y2) in edges
        )
        return min(max(min(inside) + 0.5, 0), 1)


Shape = Box | Triangle
SHAPES: Sequence[Shape] = (
    Box(0, 0, SIZE, SIZE, 112, INDIGO),
    Box(84, 104, 344, 256, 72, WHITE),
    Triangle(((150, 340), (250, 340), (150, 432)), WHITE),
    Box(134, 176, 112, 112, 56, INDIGO),  # the key: its bow, the hole in it, its shaft and its two teeth
    Box(166, 208, 48, 48, 24, WHITE),
    Box(236, 217, 146, 30, 15, INDIGO),
    Box(312, 230, 26, 58, 10, INDIGO),
    Box(350, 224, 26, 50, 10, INDIGO),
)


def svg() -> str:
    shapes = "\n".join(f"  {shape.svg()}" for shape in SHAPES)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">\n{shapes}\n</svg>\n'


def row(number: int) -> bytes:
    """One row of the picture, RGBA, after a zero: PNG's own notation for unfiltered."""
    return bytes([0]) + b"".join(bytes(_pixel(column + 0.5, number + 0.5)) for column in range(SIZE))


def _pixel(x: float, y: float) -> tuple[int, int, int, int]:
    background, *others = SHAPES
    colour: tuple[float, ...] = background.colour
    for shape in others:
        if part := shape.coverage(x, y):
            colour = tuple(new * part + old * (1 - part) for new, old in zip(shape.colour, colour, strict=True))
    red, green, blue = map(round, colour)
    return red, green, blue, round(255 * background.coverage(x, y))


def png() -> bytes:
    head = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(map(row, range(SIZE))), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def main() -> None:
    (ROOT / "icon.svg").write_text(svg(), "utf-8")
    (ROOT / "icon.png").write_bytes(png())


if __name__ == "__main__":
    main()
