"""The sandbox with N client tokens: `python -m benchmarks.sandbox N` prints its port."""

import signal
import sys

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.store import Store
from tests.support import running, seed_many

store = Store()
seed_many(store, int(sys.argv[1]))
with running(create_app(store)) as url:
    print(url.rsplit(":", 1)[1], flush=True)
    signal.pause()
