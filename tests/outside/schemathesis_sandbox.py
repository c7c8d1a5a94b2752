"""`python -m tests.outside.schemathesis_sandbox`: does the sandbox do what its OpenAPI document says?

Schemathesis reads the document from the running sandbox, sends it some 1,600 right and wrong requests, and judges
every answer. `schemathesis.toml` says how, `schemathesis_expected.py` what it may find. The exit code is its own:
0 when it found nothing else.

SCHEMATHESIS names an executable to use; without it, the pinned version is installed at first use.
"""

import os
import subprocess
import sys
from pathlib import Path

from runtype_mcp.sandbox.app import create_app
from tests.outside.suites import environment
from tests.support import running

HERE = Path(__file__).parent
PINS = HERE / "schemathesis.txt"


def main() -> int:
    # Not from the project's environment: Schemathesis is a pytest plugin as well, and would join in every run there.
    tool = os.environ.get("SCHEMATHESIS") or str(environment(PINS) / "schemathesis")
    with running(create_app()) as url:
        command = [tool, "--config-file", "schemathesis.toml", "run", f"{url}/openapi.json", "--checks", "all"]
        return subprocess.run(command, cwd=HERE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
