"""An image without a builder: the steps of `deploy/Dockerfile`, as they stand there, run in a folder.

`/opt/runtype-mcp` and every other place that the file names are below that folder. What the two base images bring, a
system and its Python, is this machine's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("src", "wheels", "opt/runtype-mcp", "tmp")
"""The only folders that the file may name."""


@dataclass
class Stage:
    """What one `FROM` begins."""

    name: str
    base: str
    root: Path
    environment: dict[str, str]
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    """What the last `USER`, `CMD` and so on say."""

    def here(self, text: str) -> str:
        """The text with this stage's places in it."""
        return re.sub(rf"(?<![\w./-])/(?={'|'.join(PLACES)}\b)", f"{self.root}/", text)

    def path(self, name: str) -> Path:
        return Path(self.here(name)) if name.startswith("/") else self.folder / name


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with its arguments, without comments, on one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def is_sent(path: str) -> bool:
    """Whether `.dockerignore` lets a file of the checkout through. The last line that matches decides."""
    parts, sent = path.split("/"), True
    within = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = rule.removeprefix("!").removeprefix("**/")
        if (
            rule
            and not rule.startswith("#")
            and any(fnmatchcase(n, pattern) for n in [*within, *parts * ("**/" in rule)])
        ):
            sent = rule.startswith("!")
    return sent


def context() -> list[str]:
    """The files of the checkout that the builder gets."""
    return sorted(filter(is_sent, (path.relative_to(ROOT).as_posix() for path in _files(ROOT))))


def _files(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in (".git", ".venv", "node_modules"):  # large, and not let through: a test sees to it
                yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def build(scratch: Path) -> Stage:
    """Run every step, and give the last stage."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    arguments: dict[str, str] = {}
    for word, rest in instructions((ROOT / "deploy/Dockerfile").read_text()):
        if stage is None:
            assert word in ("ARG", "FROM"), word
        match word:
            case "ARG":
                name, _, value = rest.partition("=")
                arguments[name] = value
            case "FROM":
                base, _, name = rest.partition(" AS ")
                base = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base)
                name = name or "the image"
                root = scratch / name.replace(" ", "-")
                for place in PLACES:
                    (root / place).parent.mkdir(parents=True, exist_ok=True)
                environment = {"PATH": f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}"}
                environment |= {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_"))}
                stage = stages[name] = Stage(name, base, root, environment, root)
            case "WORKDIR":
                assert stage
                stage.folder = stage.path(rest)
                stage.folder.mkdir(parents=True, exist_ok=True)
            case "ENV":
                assert stage
                for pair in shlex.split(rest):
                    key, _, value = pair.partition("=")
                    stage.environment[key] = stage.here(value.replace("$PATH", stage.environment["PATH"]))
            case "COPY" if rest.startswith("--from="):
                assert stage
                source, origin, target = rest.removeprefix("--from=").split()
                shutil.copytree(stages[source].path(origin), stage.path(target), symlinks=True)
                _move(stages[source], stage)
            case "COPY":
                assert stage
                *sources, target = rest.split()
                for path in context():
                    top = next((one for one in sources if path == one or path.startswith(f"{one}/")), None)
                    if top is not None:
                        inside = path if path == top else path.removeprefix(f"{top}/")
                        copied = stage.path(target) / inside
                        copied.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(ROOT / path, copied)
            case "RUN":
                assert stage
                command = ["/bin/sh", "-euc", stage.here(rest)]
                done = subprocess.run(
                    command, cwd=stage.folder, env=stage.environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{rest}\n{done.stdout}\n{done.stderr}"
            case _:
                assert stage
                stage.settings[word] = rest
    assert stage
    return stage


def _move(old: Stage, new: Stage) -> None:
    """Let programs that were copied find their Python: in an image both stages have the same places."""
    for script in (new.path("/opt/runtype-mcp") / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            script.write_bytes(script.read_bytes().replace(str(old.root).encode(), str(new.root).encode()))


def words(array: str) -> list[str]:
    """The words of an instruction's exec form: no shell stands between the program and its signals."""
    found: list[str] = json.loads(array)
    return found
