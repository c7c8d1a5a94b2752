"""One of several processes behind `runtype-mcp http --workers`. Only `workers.py` starts it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from runtype_mcp.credentials import ApiKey
from runtype_mcp.http.app import create_app
from runtype_mcp.http.serve import HttpServer, run
from runtype_mcp.http.start import start_lines
from runtype_mcp.http.workers import WorkerStart
from runtype_mcp.logs import log_to_stderr
from runtype_mcp.settings import Settings, SettingsError


def main(told: WorkerStart) -> None:
    settings, listening = Settings.from_env(**told.flags), told.listening
    key = ApiKey(settings)
    log_to_stderr(settings.log_level, key.redactor, settings.log_format)
    app = create_app(
        settings,
        key=key,
        hosts=listening.hosts,
        scheme=listening.scheme,
        processes=listening.workers,
        request_state_keys=[told.request_state_key],
    )

    async def ready() -> None:
        # At the other end of stdin is the process that started this one: when it is closed, that has ended.
        asyncio.get_running_loop().add_reader(0, end)
        lines = await start_lines(settings, listening, key, told.address)
        with os.fdopen(told.ready, "w") as pipe:
            pipe.write("\n".join(lines) + "\n")

    def end() -> None:
        asyncio.get_running_loop().remove_reader(0)
        server.should_exit = True

    server = HttpServer(app, settings, listening, ready)
    # Spelled out, because not every system tells it of a descriptor: without it each answer waits for 40 ms.
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    kind = (socket.AF_UNIX, 0) if listening.socket else (family, socket.IPPROTO_TCP)
    run(server, socket.socket(kind[0], socket.SOCK_STREAM, kind[1], fileno=told.socket))


if __name__ == "__main__":
    try:
        main(WorkerStart.model_validate_json(sys.stdin.buffer.readline()))
    except SettingsError as exc:
        sys.exit(f"runtype-mcp: {exc}")
