"""What the files of `deploy/` say agrees with each other, with the documentation, and with the server's settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtype_mcp.setting_variables import VARIABLES
from tests.deploy.image import ROOT

DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and "secrets" not in path.parts)
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEAMS = (ROOT / "docs/teams.md").read_text("utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNIT = (DEPLOY / "runtype-mcp.service").read_text()
NEITHER = {
    "RUNTYPE_CLIENT_TOKEN",  # the variable of an env file in examples
    "RUNTYPE_MCP_TOKEN",  # of `call --url`, which is no server
}


def manifests() -> list[dict[str, Any]]:
    names = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())]


def manifest(kind: str, name: str = "runtype-mcp") -> dict[str, Any]:
    (found,) = [one for one in manifests() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def container() -> dict[str, Any]:
    (found,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("file", [*FILES, *PAGES], ids=lambda path: path.name)
def test_every_variable_is_a_setting(file: Path) -> None:
    named = set(re.findall(r"\bRUNTYPE_\w+\b", file.read_text("utf-8")))
    assert {name for name in named if not name.endswith("_")} <= VARIABLES.keys() | NEITHER


def drains() -> list[tuple[float, float]]:
    """Where it is deployed: for how long the server drains, and after how long it is killed."""
    env = {entry["name"]: entry.get("value") for entry in container()["env"]}
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    stop = container()["lifecycle"]["preStop"]["exec"]["command"]
    server = COMPOSE["services"]["server"]
    return [
        (float(env["RUNTYPE_MCP_DRAIN"]) + float(stop[1]), pod["terminationGracePeriodSeconds"]),
        (float(server["environment"]["RUNTYPE_MCP_DRAIN"]), float(server["stop_grace_period"].removesuffix("s"))),
        (float(_unit("Environment=RUNTYPE_MCP_DRAIN")), float(_unit("TimeoutStopSec"))),
    ]


def _unit(name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", UNIT, re.M)
    return str(found)


def test_nobody_kills_a_server_that_still_drains() -> None:
    for drain, killed in drains():
        # A call may take 30 s at the API, and wait 30 s for another one on the same token.
        assert drain >= 60
        assert drain + 10 <= killed


def test_the_secrets_of_compose_are_those_that_the_page_makes_or_names() -> None:
    files = {name: secret["file"].removeprefix("./secrets/") for name, secret in COMPOSE["secrets"].items()}
    for file in files.values():
        assert f"`{file}`" in TEAMS or f"deploy/secrets/{file}" in TEAMS
    for service in COMPOSE["services"].values():
        for mounted in re.findall(r"/run/secrets/(\w+)", str(service)):
            assert mounted in service["secrets"]
        assert set(service.get("secrets", [])) <= files.keys()
    for mounted in re.findall(r"/run/secrets/(\w+)", (DEPLOY / "nginx.conf").read_text()):
        assert mounted in COMPOSE["services"]["nginx"]["secrets"]


def test_the_secrets_of_kubernetes_are_the_same_files() -> None:
    files = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    pods = [one["spec"]["template"]["spec"] for one in manifests() if "template" in one.get("spec", {})]
    secrets = [volume["secret"] for pod in pods for volume in pod["volumes"] if "secret" in volume]
    assert {secret["secretName"] for secret in secrets} == {"runtype-mcp"}
    for secret in secrets:
        assert {item["key"] for item in secret["items"]} <= files
    mounted = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}["secrets"]
    own = {f"{mounted}/{item['path']}" for item in secrets[-1]["items"]} | {
        f"{mounted}/{item['path']}" for item in secrets[0]["items"]
    }
    for entry in container()["env"]:
        assert not str(entry["value"]).startswith("/") or entry["value"] in own


def test_no_manifest_holds_a_secret() -> None:
    for file in FILES:
        text = file.read_text()
        assert not re.search(r"rt_(live|test)_|Bearer [A-Za-z0-9]|BEGIN .*PRIVATE|rediss?://[^:]*:[^$@]+@", text), file
        assert not re.search(r"^kind: Secret$", text, re.M)


def test_every_container_has_no_rights_and_cannot_write() -> None:
    for one in manifests():
        if "template" not in one.get("spec", {}):
            continue
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for each in pod["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert each["resources"]["limits"]["memory"]
    for service in COMPOSE["services"].values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_only_nginx_is_reached_from_outside() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["nginx"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert COMPOSE["services"]["redis"]["networks"] == ["inside"]


def test_selectors_find_what_they_are_for() -> None:
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = manifest(kind)["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items(), kind
    assert manifest("PodDisruptionBudget")["spec"]["minAvailable"] < manifest("Deployment")["spec"]["replicas"]


def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd here")
    unit = tmp_path / "runtype-mcp.service"
    unit.write_text(UNIT.replace("/opt/runtype-mcp/bin/runtype-mcp ", f"{shutil.which('true')} "))
    verified = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = [program, "security", "--offline=true", "--no-pager", "--threshold=15", str(unit)]
    judged = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"SYSTEMD_COLORS": "0"}
    )
    assert judged.returncode == 0, judged.stdout[-300:]
