"""Serve the real server and the suite's fixtures over HTTP: `python -m tests.outside.conformance_server`.

Prints its URL on stderr once the port is bound.
"""

import socket
import sys

import uvicorn

from tests.outside import subject
from tests.outside.conformance_fixtures import add_fixtures


def main() -> None:
    server = subject.build()
    add_fixtures(server)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The suite checks what a server does with a foreign Host header, against the name it was given.
        print(f"http://localhost:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        config = uvicorn.Config(subject.serve(server), log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
