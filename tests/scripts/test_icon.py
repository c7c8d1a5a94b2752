"""The icon is what its script draws."""

from __future__ import annotations

import struct
import zlib

from scripts import icon


def test_the_files_are_what_the_script_draws() -> None:
    assert (icon.ROOT / "icon.svg").read_text("utf-8") == icon.svg()
    data = (icon.ROOT / "icon.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (icon.SIZE, icon.SIZE)
    length = struct.unpack(">I", data[33:37])[0]
    rows = zlib.decompress(data[41 : 41 + length])
    stride = icon.SIZE * 4 + 1
    for row in range(0, icon.SIZE, 51):  # drawing all of them takes seconds
        drawn = icon.row(row)
        assert rows[row * stride : (row + 1) * stride] == drawn


def test_corners_are_transparent_and_the_middle_is_not() -> None:
    assert icon.row(0)[1:5][3] == 0
    assert icon.row(256)[1:5] == bytes((*icon.INDIGO, 255))
