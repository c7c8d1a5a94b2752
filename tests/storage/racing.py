"""What tests of files share: processes that do the same at the same moment, and the full disk."""

from __future__ import annotations

import resource
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes import SECONDS


def race(script: str, count: int, *arguments: object) -> list[str]:
    """Run a script in `count` processes, from its line `# go` on together; returns what each printed.

    The script finds its number in `sys.argv[1]`, and the arguments behind it.
    """
    # Behind all others, so that the package is the installed one.
    lead = f"import sys; sys.path.append({str(Path(__file__).parents[2])!r})\n"
    start = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()\n"
    lead_in, body = textwrap.dedent(script).split("# go\n")
    with ExitStack() as stack:
        racers = []
        for number in range(count):
            command = [sys.executable, "-c", lead + lead_in + start + body, str(number), *map(str, arguments)]
            pipe = subprocess.PIPE
            racer = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
            stack.callback(racer.kill)
            racers.append(racer)
        for racer in racers:
            assert racer.stdout is not None
            assert select.select([racer.stdout], [], [], SECONDS)[0], "it does not start"
            assert racer.stdout.readline() == "ready\n", racer.communicate(timeout=SECONDS)[1]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        ended = [(*racer.communicate(timeout=2 * SECONDS), racer.returncode) for racer in racers]
    for _, err, code in ended:
        assert code == 0, err
    return [out for out, _, _ in ended]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores the signal, so that writes fail
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
