"""The sandbox with N client tokens: `python -m benchmarks.sandbox N` prints its port."""

import signal
import sys

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.seed import seed_many
from runtype_mcp.sandbox.serve import running
from runtype_mcp.sandbox.store import Store

store = Store()
seed_many(store, int(sys.argv[1]))
with running(create_app(store)) as url:
    print(url.rsplit(":", 1)[1], flush=True)
    signal.pause()
