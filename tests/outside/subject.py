"""What is tested: the one place that names our server."""

import sys

from runtype_mcp.http import create_app
from runtype_mcp.http.app import HttpApp
from runtype_mcp.http.serve import HttpServer, run
from runtype_mcp.http.sockets import listening_tcp
from runtype_mcp.http.start import Listening
from runtype_mcp.settings import Settings

STDIO = (sys.executable, "-m", "runtype_mcp", "--sandbox")
HTTP = (sys.executable, "-m", "runtype_mcp", "http", "--sandbox", "--port", "0")

_SETTINGS = Settings.from_env({}, sandbox=True)


def build() -> HttpApp:
    """The application that `runtype-mcp http --sandbox` serves."""
    return create_app(_SETTINGS)


def serve(app: HttpApp) -> int:
    """Serve it as that command does, on a free port that is printed on stderr."""
    with listening_tcp("127.0.0.1", 0) as (bound, url):

        async def ready() -> None:
            print(f"{url}/mcp", file=sys.stderr, flush=True)

        run(HttpServer(app, _SETTINGS, Listening(), ready), bound)
    return 0
