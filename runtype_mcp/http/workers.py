"""Several processes that answer at one address: started by one that answers nothing, and started again when one dies.

A worker is a fresh Python that inherits the listening socket. It ends when this process does, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from runtype_mcp.http.start import Listening
from runtype_mcp.settings import Settings

AGAIN_AFTER = 1.0
"""Seconds before a worker that died before it served is started again."""
ENDING = 10.0
"""Seconds that a worker has to end, beside those of its drain and of a write that must not be cut."""
logger = logging.getLogger("runtype_mcp")


class WorkerStart(BaseModel):
    """What a worker is told, in one line of its stdin.

    Attributes:
        flags: those that the settings were made with; the rest is in the environment.
        listening: where the server listens.
        address: how people are told of it.
        socket: the file descriptor that listens.
        ready: the file descriptor of a pipe that takes what is said at the start, once it serves.
        request_state_key: seals what clients bring back, so that any worker can open it.
    """

    flags: dict[str, Any]
    listening: Listening
    address: str
    socket: int
    ready: int = -1
    request_state_key: str


def supervise(
    settings: Settings, listening: Listening, flags: Mapping[str, object], bound: socket.socket, address: str
) -> list[signal.Signals]:
    """Keep the workers running until a signal.

    Returns:
        The signals; none where a worker did not start, which has said why.
    """
    start = WorkerStart(
        flags=dict(flags),
        listening=listening,
        address=address,
        socket=bound.fileno(),
        request_state_key=secrets.token_hex(32),
    )
    patience = settings.drain + settings.total_timeout + ENDING
    with contextlib.ExitStack() as stack:
        environ = dict(os.environ)
        if settings.metrics:  # where Prometheus's client adds up what several processes count
            environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(tempfile.TemporaryDirectory())
        return asyncio.run(_Workers(start, environ, bound, patience).run())


class _Workers:
    def __init__(self, start: WorkerStart, environ: Mapping[str, str], bound: socket.socket, patience: float) -> None:
        self._told, self._environ, self._bound, self._patience = start, environ, bound, patience
        self._ending = asyncio.Event()
        self._running = set[Process]()

    async def run(self) -> list[signal.Signals]:
        received: list[signal.Signals] = []

        def end(number: signal.Signals) -> None:
            received.append(number)
            self._ending.set()

        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            asyncio.get_running_loop().add_signal_handler(number, end, number)
        started = await asyncio.gather(*(self._start() for _ in range(self._told.listening.workers)))
        if all(said for _, said in started):
            sys.stderr.write(started[0][1])
            sys.stderr.flush()
            keeping = [asyncio.create_task(self._keep(process)) for process, _ in started]
            await self._ending.wait()
            self._bound.close()  # or callers would wait for nobody once the workers have closed it
            await self._end()
            await asyncio.gather(*keeping)
        else:
            await self._end()
        for number, handler in before.items():
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, handler)
        return received

    async def _start(self) -> tuple[Process, str]:
        """A new worker, and what it says once it serves; nothing if it died before."""
        read, write = os.pipe()
        # -P: nothing in the working directory, which is somebody's project, may pass for a module of ours.
        command = (sys.executable, "-P", "-m", "runtype_mcp.http.worker")
        inherited = (self._told.socket, write)
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, pass_fds=inherited, env=self._environ)
        finally:
            os.close(write)
        self._running.add(process)
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError), os.fdopen(read) as ready:
            process.stdin.write(self._told.model_copy(update={"ready": write}).model_dump_json().encode() + b"\n")
            await process.stdin.drain()
            return process, await asyncio.to_thread(ready.read)
        return process, ""

    async def _keep(self, process: Process) -> None:
        while True:
            code = await process.wait()
            self._running.discard(process)
            if self._ending.is_set():
                return
            logger.error("A worker ended (exit code %s). It is started again.", code)
            process, said = await self._start()
            if self._ending.is_set():
                process.terminate()  # it came too late to be told with the others
            elif not said:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), AGAIN_AFTER)

    async def _end(self) -> None:
        running = [process for process in self._running if process.returncode is None]
        for process in running:
            process.terminate()
        try:
            async with asyncio.timeout(self._patience):
                for process in running:
                    await process.wait()
        except TimeoutError:
            for process in running:
                if process.returncode is None:
                    process.kill()
