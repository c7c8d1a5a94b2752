"""`python -m tests.outside.schemathesis_sandbox`: does the sandbox do what its OpenAPI document says?

Schemathesis reads the document from the running sandbox, sends it some 1,600 right and wrong requests, and judges
every answer. `schemathesis.toml` says how, `schemathesis_expected.py` what it may find. The exit code is its own:
0 when it found nothing else.

SCHEMATHESIS names an executable to use; without it, the pinned version is installed at first use.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

from runtype_mcp.sandbox.app import create_app
from runtype_mcp.sandbox.serve import running

HERE = Path(__file__).parent
PINS = HERE / "schemathesis.txt"
# Not the project's environment: Schemathesis is a pytest plugin as well, and would join in every test run there.
ENVIRONMENT = HERE / ".venv"


def _installed() -> Path:
    """The pinned Schemathesis, which is installed unless it is there."""
    done = ENVIRONMENT / PINS.name
    if not done.exists() or done.read_text() != PINS.read_text():
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        pip = [str(ENVIRONMENT / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(PINS)], check=True)
        done.write_text(PINS.read_text())
    return ENVIRONMENT / "bin/schemathesis"


def main() -> int:
    tool = os.environ.get("SCHEMATHESIS") or _installed()
    with running(create_app()) as url:
        command = [str(tool), "--config-file", "schemathesis.toml", "run", f"{url}/openapi.json", "--checks", "all"]
        return subprocess.run(command, cwd=HERE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
