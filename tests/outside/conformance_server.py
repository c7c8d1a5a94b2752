"""Serve the real server, with the suite's fixtures, as `runtype-mcp http` does.

`python -m tests.outside.conformance_server` prints its URL on stderr.
"""

import sys

from tests.outside import subject
from tests.outside.conformance_fixtures import add_fixtures


def main() -> int:
    app = subject.build()
    add_fixtures(app.server)
    return subject.serve(app)


if __name__ == "__main__":
    sys.exit(main())
