"""What a release is made of.

python -m scripts.release version 0.2.0           set the version everywhere
python -m scripts.release repository OWNER/NAME   set where the project is on GitHub, everywhere
python -m scripts.release bundle dist/x.mcpb      pack the bundle for desktop hosts (needs Node.js)
python -m scripts.release server-json dist/x.mcpb dist/server.json
                                                  add the bundle, as it will be downloaded, to the registry's entry
python -m scripts.release check TAG OWNER         fail unless everything agrees with a tag and a GitHub owner
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VERSION = r"(?P<version>\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)"
PLACES = {
    "runtype_mcp/__init__.py": rf'^__version__ = "{VERSION}"$',
    "manifest.json": rf'^  "version": "{VERSION}",$',
    ".claude-plugin/plugin.json": rf'^  "version": "{VERSION}",$',
    "gemini-extension.json": rf'^  "version": "{VERSION}",$',
    "server.json": rf'^ +"version": "{VERSION}",$',
}
"""Each file that holds the version, and the lines that do."""
BUNDLER = ("npx", "--yes", "@anthropic-ai/mcpb@2.1.2")


class ReleaseError(Exception):
    """What is not right, in one sentence."""


def versions(root: Path = ROOT) -> dict[str, set[str]]:
    """The versions that each file holds."""
    return {
        name: {found["version"] for found in re.finditer(pattern, (root / name).read_text("utf-8"), re.M)}
        for name, pattern in PLACES.items()
    }


def set_version(version: str, root: Path = ROOT) -> None:
    """Write a version into every file that holds it."""
    if not re.fullmatch(VERSION, version):
        raise ReleaseError("A version looks like 1.2.3, 1.2.3a1, 1.2.3b1 or 1.2.3rc1.")
    for name, pattern in PLACES.items():
        path = root / name
        text = re.sub(
            pattern, lambda line: line[0].replace(line["version"], version), path.read_text("utf-8"), flags=re.M
        )
        path.write_text(text, "utf-8")


def set_repository(repository: str, root: Path = ROOT) -> None:
    """Write where the project is on GitHub into the registry's entry, the README's mark of it and the metadata."""
    owner, _, name = repository.partition("/")
    if not re.fullmatch(r"[\w-]+/[\w.-]+", repository):
        raise ReleaseError("A repository looks like OWNER/NAME.")
    url = f"https://github.com/{repository}"
    entry = json.loads((root / "server.json").read_text("utf-8"))
    entry = {
        "$schema": entry.pop("$schema"),
        "name": f"io.github.{owner}/{name}",
        "repository": {"url": url, "source": "github"},
    } | {key: value for key, value in entry.items() if key not in ("name", "repository")}
    _write_json(root / "server.json", entry)
    readme = root / "README.md"
    marked = re.sub(r"(?<=<!-- mcp-name: )\S+", entry["name"], readme.read_text("utf-8"))
    readme.write_text(marked, "utf-8")
    project = root / "pyproject.toml"
    without = re.sub(r"\[project\.urls\]\n(?:\w+ = .*\n)*\n", "", project.read_text("utf-8"))
    urls = {"Homepage": url, "Documentation": f"{url}/tree/main/docs", "Issues": f"{url}/issues"}
    urls |= {"Changelog": f"{url}/blob/main/CHANGELOG.md"}
    lines = "".join(f'{label} = "{address}"\n' for label, address in urls.items())
    project.write_text(without.replace("[project.scripts]", f"[project.urls]\n{lines}\n[project.scripts]"), "utf-8")


def bundle(out: Path, bundler: Sequence[str] = BUNDLER, root: Path = ROOT) -> None:
    """Pack the bundle with the host's own tool. What goes in is named by `.mcpbignore`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run([*bundler, "pack", str(root), str(out)], capture_output=True, text=True, check=False)
    if packed.returncode != 0 or not out.is_file():
        raise ReleaseError(f"No bundle was packed:\n{packed.stdout}{packed.stderr}")


def server_json(packed: Path, root: Path = ROOT) -> dict[str, Any]:
    """The registry's entry of a release: the package, and the bundle under the address of the release's files."""
    entry = _entry(root)
    package = {
        "registryType": "mcpb",
        "identifier": f"{entry['repository']['url']}/releases/download/v{entry['version']}/{packed.name}",
        "version": entry["version"],
        "fileSha256": hashlib.sha256(packed.read_bytes()).hexdigest(),
        "transport": {"type": "stdio"},
    }
    return entry | {"packages": [*entry["packages"], package]}


def _entry(root: Path) -> dict[str, Any]:
    """The registry's entry, once it says where the project is on GitHub."""
    entry: dict[str, Any] = json.loads((root / "server.json").read_text("utf-8"))
    if "repository" not in entry:
        raise ReleaseError(
            "Nothing can be released: the project's GitHub repository is not set. "
            "Run `python -m scripts.release repository OWNER/NAME` first."
        )
    return entry


def check(tag: str, owner: str, root: Path = ROOT) -> None:
    """Raise ReleaseError unless the repository is set, every file has the tag's version, and all names agree."""
    entry = _entry(root)
    if {"v" + version for found in versions(root).values() for version in found} != {tag}:
        raise ReleaseError(f"The tag is {tag}, and the files hold {versions(root)}.")
    if not re.search(rf"^## {re.escape(tag[1:])} – \d{{4}}-\d\d-\d\d$", (root / "CHANGELOG.md").read_text(), re.M):  # noqa: RUF001
        raise ReleaseError(f"CHANGELOG.md has no dated heading for {tag[1:]}.")
    name = entry["name"]
    if not name.lower().startswith(f"io.github.{owner.lower()}/"):
        raise ReleaseError(f"server.json is named {name}, and {owner} cannot publish that: run `repository`.")
    if f"<!-- mcp-name: {name} -->" not in (root / "README.md").read_text("utf-8"):
        raise ReleaseError(f"The README does not carry the mark of {name}, by which the registry knows its owner.")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.release")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("version").add_argument("version")
    commands.add_parser("repository").add_argument("repository")
    commands.add_parser("bundle").add_argument("out", type=Path)
    registry = commands.add_parser("server-json")
    registry.add_argument("bundle", type=Path)
    registry.add_argument("out", type=Path)
    checking = commands.add_parser("check")
    checking.add_argument("tag")
    checking.add_argument("owner")
    options = parser.parse_args(argv)
    try:
        match options.command:
            case "version":
                set_version(options.version)
            case "repository":
                set_repository(options.repository)
            case "bundle":
                bundle(options.out)
            case "server-json":
                _write_json(options.out, server_json(options.bundle))
            case "check":
                check(options.tag, options.owner)
    except ReleaseError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
