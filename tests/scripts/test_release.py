"""What a release is made of: one version, names that agree, and manifests that hosts and registries accept."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from runtype_mcp import __version__
from runtype_mcp.console.mcp_apps import CONFIRM
from runtype_mcp.setting_variables import VARIABLES
from runtype_mcp.settings import Settings
from runtype_mcp.tools import SPECS
from scripts import release
from tests.processes import started

ROOT = release.ROOT
FILES = (*release.PLACES, "README.md", "CHANGELOG.md", "pyproject.toml")
TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
ADDRESS = {"type": "string", "pattern": "^https://"}
VERSION = {"type": "string", "maxLength": 255, "pattern": r"^\d+\.\d+\.\d+[a-z0-9]*$"}  # one version, never a range


def exactly(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object that has these fields and no others."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


VARIABLE = exactly(
    {"name": {"enum": list(VARIABLES)}, "description": TEXT},
    {
        "isRequired": FLAG,
        "isSecret": FLAG,
        "default": TEXT,
        "format": {"enum": ["string", "number", "boolean", "filepath"]},
        "choices": {"type": "array", "items": TEXT},
    },
)
STDIO = exactly({"type": {"const": "stdio"}})
NAME = {"type": "string", "pattern": r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", "minLength": 3, "maxLength": 200}
RELEASED = {"type": "string", "pattern": r"^https://github\.com/[\w.-]+/[\w.-]+/releases/download/[\w./+-]+$"}
"""The registry takes bundles from releases on GitHub and GitLab alone."""
PYPI = exactly(
    {
        "registryType": {"const": "pypi"},
        "identifier": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
        "version": VERSION,
        "transport": STDIO,
    },
    {
        "registryBaseUrl": {"const": "https://pypi.org"},
        "runtimeHint": {"const": "uvx"},
        "environmentVariables": {"type": "array", "items": VARIABLE},
    },
)
MCPB = exactly(
    {
        "registryType": {"const": "mcpb"},
        "identifier": RELEASED,
        "version": VERSION,
        "fileSha256": {"type": "string", "pattern": "^[a-f0-9]{64}$"},
        "transport": STDIO,
    }
)
REGISTRY = exactly(
    {
        "$schema": {"const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"},
        "name": NAME,
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": VERSION,
        "packages": {"type": "array", "items": {"anyOf": [PYPI, MCPB]}},
    },
    {
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "repository": exactly(
            {
                "url": {"type": "string", "pattern": r"^https://github\.com/[\w-]+/[\w.-]+$"},
                "source": {"const": "github"},
            }
        ),
    },
)
"""What the registry's schema of 2025-12-11, and the registry itself, ask of the fields that are used here; no others
are."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout that a test may change."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def read(name: str, root: Path = ROOT) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / name).read_text("utf-8"))
    return found


# The version


def test_every_file_holds_the_same_version() -> None:
    assert release.versions() == {name: {__version__} for name in release.PLACES}


def test_no_other_file_holds_a_version_that_the_script_forgets() -> None:
    for path in ROOT.glob("*.json"):
        assert f'"{__version__}"' not in path.read_text("utf-8") or path.name in release.PLACES, path.name


def test_setting_the_version_changes_it_everywhere_and_nothing_else(copy: Path) -> None:
    before = {name: (copy / name).read_text("utf-8") for name in FILES}
    release.set_version("4.5.6rc1", copy)
    assert release.versions(copy) == {name: {"4.5.6rc1"} for name in release.PLACES}
    for name, text in before.items():
        assert (copy / name).read_text("utf-8").replace('"4.5.6rc1"', f'"{__version__}"') == text


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3 ", "1.2.3.4", "latest"])
def test_what_is_not_a_version_is_refused(version: str, copy: Path) -> None:
    with pytest.raises(release.ReleaseError, match=r"looks like 1\.2\.3"):
        release.set_version(version, copy)


# The registry's entry


def test_the_registrys_entry_is_valid_and_the_readme_carries_its_mark() -> None:
    entry = read("server.json")
    jsonschema.validate(entry, REGISTRY)
    assert f"<!-- mcp-name: {entry['name']} -->" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "io.github.somebody"),
        (("name",), "io.github.somebody/a/b"),
        (("name",), "io.github.somebody/a b"),
        (("name",), f"io.github.somebody/{'x' * 200}"),
        (("name",), None),
        (("description",), ""),
        (("description",), "x" * 101),
        (("description",), None),
        (("version",), "^1.2.3"),
        (("version",), "1.x"),
        (("version",), None),
        (("title",), ""),
        (("title",), "x" * 101),
        (("repository", "url"), "github.com/somebody/x"),
        (("repository", "source"), None),
        (("packages", 0, "registryType"), None),
        (("packages", 0, "identifier"), None),
        (("packages", 0, "version"), "latest"),
        (("packages", 0, "version"), ">=1.2.3"),
        (("packages", 0, "registryBaseUrl"), "https://pypi.example"),
        (("packages", 0, "transport"), None),
        (("packages", 0, "transport", "type"), "pipe"),
        (("packages", 0, "transport"), {"type": "streamable-http"}),
        (("packages", 0, "environmentVariables", 0, "name"), None),
        (("packages", 0, "environmentVariables", 0, "isSecret"), "yes"),
        (("packages", 0, "environmentVariables", 1, "choices"), "auto"),
        (("packages", 0, "environmentVariables", 1, "default"), 1),
        (("packages", 0, "environmentVariables", 2, "format"), "path"),
        (("packages", 1, "fileSha256"), None),
        (("packages", 1, "fileSha256"), "A" * 64),
        (("packages", 1, "identifier"), "https://files.example/x.mcpb"),
    ],
    ids=str,
)
def test_what_the_registry_refuses_is_refused_here(path: tuple[str | int, ...], value: object, copy: Path) -> None:
    """Each rule of the official schema and of the registry on the fields that are used. None: the field is missing."""
    bundle = copy / "x.mcpb"
    bundle.write_bytes(b"a bundle")
    release.set_repository("Somebody/runtype-mcp", copy)
    entry = release.server_json(bundle, copy)
    jsonschema.validate(entry, REGISTRY)
    place: Any = entry
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(entry, REGISTRY)


def test_the_registry_asks_for_settings_that_exist_with_their_defaults_and_choices() -> None:
    (package,) = read("server.json")["packages"]
    for asked in package["environmentVariables"]:
        if "default" in asked:
            assert VARIABLES[asked["name"]].default == f"`{asked['default']}`"
            assert asked["default"] in asked.get("choices", [asked["default"]])
        for choice in asked.get("choices", []):
            Settings.from_env({asked["name"]: choice})
        assert asked.get("isSecret", False) is (asked["name"] == "RUNTYPE_API_KEY")


def test_the_bundle_joins_the_entry_under_the_address_and_checksum_of_its_file(copy: Path) -> None:
    bundle = copy / "runtype-mcp-1.0.0.mcpb"
    bundle.write_bytes(b"a bundle")
    with pytest.raises(release.ReleaseError, match="repository is not set"):
        release.server_json(bundle, copy)
    release.set_repository("Somebody/runtype-mcp", copy)
    entry = release.server_json(bundle, copy)
    jsonschema.validate(entry, REGISTRY)
    package, added = entry["packages"]
    assert package["registryType"] == "pypi"
    at = f"https://github.com/Somebody/runtype-mcp/releases/download/v{__version__}/runtype-mcp-1.0.0.mcpb"
    assert added["identifier"] == at
    assert added["fileSha256"] == hashlib.sha256(b"a bundle").hexdigest()


def test_the_repository_is_set_everywhere_and_can_be_set_again(copy: Path) -> None:
    for repository in ("somebody/runtype-mcp", "else-one/tokens.py"):
        owner, name = repository.split("/")
        release.set_repository(repository, copy)
        entry = read("server.json", copy)
        jsonschema.validate(entry, REGISTRY)
        assert entry["name"] == f"io.github.{owner}/{name}"
        assert f"<!-- mcp-name: {entry['name']} -->" in (copy / "README.md").read_text("utf-8")
        project = tomllib.loads((copy / "pyproject.toml").read_text("utf-8"))["project"]
        assert project["urls"]["Homepage"] == entry["repository"]["url"] == f"https://github.com/{repository}"
        assert set(project["urls"]) == {"Homepage", "Documentation", "Issues", "Changelog"}
        assert project["scripts"]
    with pytest.raises(release.ReleaseError, match="OWNER/NAME"):
        release.set_repository("https://github.com/somebody/x", copy)


def test_a_release_needs_its_version_its_date_its_owner_and_its_mark(copy: Path) -> None:
    tag = f"v{__version__}"

    def problem(tag: str = tag, owner: str = "somebody") -> str:
        with pytest.raises(release.ReleaseError) as found:
            release.check(tag, owner, copy)
        return str(found.value)

    assert "GitHub repository is not set. Run `python -m scripts.release repository OWNER/NAME` first." in problem()
    release.set_repository("Else/runtype-mcp", copy)
    assert "The tag is v9.9.9" in problem("v9.9.9")
    assert "no dated heading" in problem()
    changes = copy / "CHANGELOG.md"
    changes.write_text(re.sub("unreleased", "2026-12-01", changes.read_text("utf-8"), count=1), "utf-8")
    assert "somebody cannot publish that" in problem()
    release.set_repository("Somebody/runtype-mcp", copy)
    release.check(tag, "somebody", copy)
    readme = copy / "README.md"
    readme.write_text(readme.read_text("utf-8").replace("<!-- mcp-name", "<!-- name"), "utf-8")
    assert "does not carry the mark" in problem()


# The hosts' own notations

ENVIRONMENTS = {
    "manifest.json": read("manifest.json")["server"]["mcp_config"],
    ".claude-plugin/plugin.json": read(".claude-plugin/plugin.json")["mcpServers"]["runtype"],
    "gemini-extension.json": read("gemini-extension.json")["mcpServers"]["runtype"],
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_manifest_starts_the_server_of_its_own_folder(name: str) -> None:
    config = ENVIRONMENTS[name]
    assert (config["command"], config["args"][:3]) == ("uv", ["run", "--quiet", "--project"])
    assert re.fullmatch(r"\$\{(__dirname|CLAUDE_PLUGIN_ROOT|extensionPath)\}", config["args"][3])
    assert config["args"][4:] == ["runtype-mcp"]
    assert set(config["env"]) <= set(VARIABLES)
    assert "RUNTYPE_API_KEY" in config["env"]
    assert not re.search("rt_(live|test)_[0-9a-zA-Z]", json.dumps(config))  # a key is asked for, never written


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("manifest.json", "nothing"),
        ("manifest.json", "the placeholder"),
        (".claude-plugin/plugin.json", "nothing"),
        (".claude-plugin/plugin.json", "the placeholder"),
        ("gemini-extension.json", "nothing"),  # this host knows no placeholder that it does not fill
    ],
)
def test_a_form_that_was_left_empty_is_no_value(name: str, left: str) -> None:
    placeholders = ENVIRONMENTS[name]["env"]
    with started(**(placeholders if left == "the placeholder" else dict.fromkeys(placeholders, ""))) as server:
        server.hello()
        listed = server.answer(server.ask("tools/list"))["result"]["tools"]
    assert {tool["name"] for tool in listed} == {spec.name for spec in (*SPECS, CONFIRM)}


def test_every_field_of_a_form_is_used_and_every_use_has_its_field() -> None:
    for name, fields in (("manifest.json", "user_config"), (".claude-plugin/plugin.json", "userConfig")):
        used = set(re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(ENVIRONMENTS[name])))
        declared = read(name)[fields]
        assert used == set(declared)
        assert [key for key, field in declared.items() if field.get("sensitive")] == ["api_key"]
        assert {"api_key", "approval", "files_root", "read_only"} <= used
        for field in declared.values():
            assert set(field) <= {"type", "title", "description", "required", "default", "sensitive"}
            assert field["type"] in ("string", "boolean", "directory")
    asked = {
        setting["envVar"]: setting.get("sensitive", False) for setting in read("gemini-extension.json")["settings"]
    }
    used = set(re.findall(r"\$\{(RUNTYPE_\w+)\}", json.dumps(ENVIRONMENTS["gemini-extension.json"])))
    assert set(asked) == used
    assert [name for name, sensitive in asked.items() if sensitive] == ["RUNTYPE_API_KEY"]


def test_the_marketplace_offers_the_plugin_of_this_folder() -> None:
    plugin, market = read(".claude-plugin/plugin.json"), read(".claude-plugin/marketplace.json")
    (offered,) = market["plugins"]
    assert (offered["name"], offered["source"]) == (plugin["name"], "./")
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", plugin["name"])
    assert (ROOT / plugin["icon"]).is_file()
    assert market["owner"] == plugin["author"] == read("manifest.json")["author"]


def test_the_bundle_says_what_the_package_is() -> None:
    manifest = read("manifest.json")
    assert sorted(tool["name"] for tool in manifest["tools"]) == sorted(spec.name for spec in (*SPECS, CONFIRM))
    assert (ROOT / manifest["icon"]).is_file()
    kept = re.findall(r"^!/(.+)$", (ROOT / ".mcpbignore").read_text("utf-8"), re.M)
    assert {"icon.png", "manifest.json", "pyproject.toml", "README.md", "LICENSE", "docs", "runtype_mcp"} == set(kept)


# The workflow that releases


WORKFLOW = (ROOT / ".github/workflows/release.yml").read_text("utf-8")


def test_every_action_is_pinned_to_a_commit_and_says_its_version() -> None:
    uses = re.findall(r"uses: (.*)", WORKFLOW)
    assert len(uses) >= 8
    for use in uses:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use
    assert not re.findall(r"pip install (?!.*(==|-c constraints))", WORKFLOW)


def test_the_workflow_holds_no_secret_and_each_job_has_the_least_rights() -> None:
    workflow = yaml.safe_load(WORKFLOW)
    assert "secrets." not in WORKFLOW
    assert workflow["permissions"] == {}
    assert {name: sorted(job["permissions"]) for name, job in workflow["jobs"].items()} == {
        "build": ["attestations", "contents", "id-token"],
        "pypi": ["id-token"],
        "github": ["contents"],
        "registry": ["id-token"],
    }
    needs = {name: job.get("needs") for name, job in workflow["jobs"].items()}
    assert needs == {"build": None, "pypi": "build", "github": "pypi", "registry": "github"}
    # What stands in a tag or a branch is passed by the environment: in a script it would be code.
    for job in workflow["jobs"].values():
        assert not any("${{" in step.get("run", "") for step in job["steps"])


def test_the_workflow_checks_builds_attests_and_lists_before_it_publishes() -> None:
    steps = yaml.safe_load(WORKFLOW)["jobs"]["build"]["steps"]
    order = [step.get("run", step.get("uses", "")) for step in steps]
    wanted = ("scripts.release check", "bash .ci/run", "-m build", "cyclonedx-py", "sha256sum", "attest-build", "sbom@")
    places = [next(i for i, step in enumerate(order) if part in step) for part in wanted]
    assert places == sorted(places)
    commands = re.findall(r"python -m scripts\.release ([\w-]+)", WORKFLOW)
    assert commands == ["check", "bundle", "server-json"]


# The command


def test_the_command_says_what_is_wrong_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["version", "latest"]) == 1
    assert capsys.readouterr().err.startswith("A version looks like")
    assert release.main(["check", "v9.9.9", "somebody"]) == 1
    assert "Nothing can be released: the project's GitHub repository is not set." in capsys.readouterr().err
