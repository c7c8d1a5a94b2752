"""Whose program is at the other end of a connection on loopback.

The address of a page is in the browser's command line for a moment, which every user of the machine can read. So it
opens the page for this user's programs alone, where the system says whose they are: Linux does.
"""

from __future__ import annotations

import os
from pathlib import Path

CONNECTIONS = Path("/proc/net/tcp")


def is_of_another_user(port: int, own_port: int, table: Path = CONNECTIONS) -> bool:
    """Whether the program that connected from `port` on loopback to `own_port` runs as another user.

    False where that is not known. The system's own programs pass, because they forward ports for people.
    """
    try:
        rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    except OSError:  # it is not Linux
        return False
    connection = [_address(port), _address(own_port)]
    owners = {int(row[7]) for row in rows if row[1:3] == connection}
    return bool(owners) and owners.isdisjoint({os.getuid(), 0})


def _address(port: int) -> str:
    return f"0100007F:{port:04X}"  # 127.0.0.1, as the kernel writes it
