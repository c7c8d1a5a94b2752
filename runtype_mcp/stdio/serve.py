"""Serve one client over stdin and stdout, from where its replay ended."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from runtype_mcp.credentials import ApiKey
from runtype_mcp.settings import Settings, SettingsError
from runtype_mcp.stdio.replay import Replay

if TYPE_CHECKING:
    from runtype_mcp.server import RuntypeServer


def serve(settings: Settings, key: ApiKey, replay: Replay | None = None) -> int:
    """Serve until the client leaves. Returns the exit code.

    Raises:
        SettingsError: stdin or stdout is closed.
    """
    if not sys.stdin or not sys.stdout:
        raise SettingsError("stdin and stdout must be open: over them the client speaks with the server.")
    # What is built while the SDK is imported stays: to search it for garbage is an eighth of a cold start.
    gc.disable()
    from runtype_mcp.stdio.transport import diverted

    with diverted() as (source, sink):
        import anyio

        from runtype_mcp.server import build_server

        server = build_server(settings, key=key, pages=True)
        gc.freeze()
        gc.enable()
        anyio.run(run, server, source, sink, replay)
    return 0


async def run(server: RuntypeServer, source: int, sink: int, replay: Replay | None = None) -> None:
    """Serve the client at two descriptors until it leaves, and record its session if it began with a replay."""
    from runtype_mcp.stdio.recording import RecordingSession
    from runtype_mcp.stdio.transport import LineReader, LineWriter

    session = RecordingSession(replay) if replay else None
    write_stream = LineWriter(sink, session)
    read_stream = LineReader(source, write_stream, session, replay.unread if replay else b"")
    sdk = server._lowlevel_server  # the public server's own `run` takes no streams
    await sdk.run(read_stream, write_stream, sdk.create_initialization_options())
