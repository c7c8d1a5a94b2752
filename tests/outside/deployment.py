"""`python -m tests.outside.deployment`: do the programs that will read `deploy/` take it?

hadolint reads the Dockerfile, Docker Compose the compose file, gixy looks for holes in nginx's configuration, and
every Kubernetes manifest is checked against the API's published schemas, of an old release and of a new one, strictly.
Docker's daemon and a cluster are not needed. The exit code is 1 if one of them objects.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.outside.suites import ENVIRONMENT, ROOT, environment

PINS = Path(__file__).with_name("deployment.txt")
DEPLOY = ROOT / "deploy"
KUBERNETES = ("1.30", "1.37")


def commands() -> Iterator[list[str | Path]]:
    programs = environment(PINS)
    yield [programs / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile"]
    yield [programs / "docker-compose", "--file", DEPLOY / "compose.yaml", "config", "--quiet"]
    yield [programs / "gixy", DEPLOY / "nginx.conf"]
    manifests = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.stem != "kustomization")
    for version in KUBERNETES:
        yield [programs / "kubernetes-validate", "--strict", "--kubernetes-version", version, *manifests]
    if kubectl := shutil.which("kubectl"):
        yield [kubectl, "kustomize", DEPLOY / "kubernetes"]


def main() -> int:
    failed = 0
    for command in commands():
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=ENVIRONMENT | {"RUNTYPE_MCP_PUBLIC_URL": "https://mcp.example.com"},
            capture_output=True,
            text=True,
            check=False,
        )
        name = Path(command[0]).name
        if done.returncode:
            failed += 1
            print(f"{name} objects:\n{done.stdout}{done.stderr}")
        else:
            print(f"{name} takes it")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
