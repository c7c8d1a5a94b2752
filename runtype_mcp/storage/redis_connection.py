"""Commands to one Redis server, whose every failure is a clause for people that holds no password.

redis-py (the extra `team`) is imported, and a connection opened, at the first command.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from runtype_mcp.policy.redis_url import redis_password, shown_redis_url

if TYPE_CHECKING:
    from redis import Redis

CONNECT_TIMEOUT, ANSWER_TIMEOUT = 1.0, 2.0
"""Seconds. A Redis that is slower than this serves nobody who waits for an answer."""
RECOVERY = 1.0
"""Seconds in which nothing is sent to a server that did not answer in time: each attempt would block a thread."""


class RedisFailure(Exception):
    """A command that failed, or whose answer was lost. The message names the server and says what is wrong."""


class Script:
    """A script that Redis runs as one step. All keys that it touches are among its keys."""

    def __init__(self, lua: str) -> None:
        self.lua = lua
        self.sha = sha1(lua.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """A pool of connections to the server at `url`, for any number of threads.

    It connects again by itself. A command is never sent twice: where its answer is lost, nobody knows whether it was
    run. `trace` is called with the name of each command before that is sent.
    """

    def __init__(self, url: str, *, trace: Callable[[str], object] | None = None) -> None:
        self.shown = shown_redis_url(url)
        self._url, self._trace = url, trace
        self._mutex = threading.Lock()
        self._client: Redis | None = None
        self._silent_until = 0.0

    def run(self, name: str, *arguments: str | float) -> Any:
        """The answer to one command, as Python has it; blocks. RedisFailure if there is none, or it is an error."""
        if time.monotonic() < self._silent_until:
            raise RedisFailure(f"{self.shown} has just not answered in time")
        if self._trace:
            self._trace(name)
        with self._plainly():
            return self._connected().execute_command(name, *arguments)  # type: ignore[no-untyped-call]  # redis-py's

    def run_script(self, script: Script, keys: list[str], *arguments: str | float) -> Any:
        """What a script returns; blocks. RedisFailure as above; the script has then run as a whole or not at all."""
        from redis.exceptions import NoScriptError

        try:
            return self.run("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except RedisFailure as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return self.run("EVAL", script.lua, len(keys), *keys, *arguments)  # the first time since the server started

    def close(self) -> None:
        with self._mutex:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _connected(self) -> Redis:
        with self._mutex:
            if self._client is None:
                from redis import Redis
                from redis.backoff import NoBackoff
                from redis.retry import Retry

                # Over TLS the certificate and its name are checked, which is redis-py's default, and no option of an
                # accepted address changes that.
                self._client = Redis.from_url(
                    self._url,
                    decode_responses=True,
                    protocol=2,
                    socket_connect_timeout=CONNECT_TIMEOUT,
                    socket_timeout=ANSWER_TIMEOUT,
                    retry=Retry(NoBackoff(), 0),
                )
            return self._client

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        from redis.exceptions import ConnectionError as ConnectionFailed
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as NoAnswer

        try:
            yield
        except NoAnswer as error:
            self._silent_until = time.monotonic() + RECOVERY
            raise RedisFailure(f"{self.shown} did not answer in time") from error
        except ConnectionFailed as error:
            raise RedisFailure(f"{self.shown} cannot be reached ({self._said(error)})") from error
        except (RedisError, OSError) as error:
            raise RedisFailure(f"{self.shown} refused a command ({self._said(error)})") from error

    def _said(self, error: Exception) -> str:
        text = " ".join(str(error).split())[:200].rstrip(".")
        password = redis_password(self._url)
        return text.replace(password, "***") if password else text
