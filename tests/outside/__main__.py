"""`python -m tests.outside [SUITE ...]`: run tools that nobody here wrote against the server.

Exits 0 if every outcome is the one in `ledger.json`, 1 if one is not, 2 for an unknown suite.
"""

import sys
import textwrap
import time

from tests.outside import ledger
from tests.outside.suites import SUITES, OutsideError, install


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"No suite {', '.join(unknown)}. There are: {', '.join(SUITES)}.", file=sys.stderr)
        return 2
    install()
    expected = ledger.load()
    different = 0
    print(f"{'suite':26} {'expected':34} {'got':34} seconds")
    for name in names or SUITES:
        began = time.monotonic()
        try:
            got = SUITES[name]()
            said, lines = ledger.summary(got), ledger.differences(expected[name], got)
        except (OutsideError, OSError) as error:
            said, lines = "did not run", [str(error)]
        seconds = time.monotonic() - began
        print(f"{name:26} {ledger.summary(expected[name]):34} {said:34} {seconds:7.1f}", flush=True)
        for line in lines:
            print(textwrap.indent(line[:2000], "    "))
        different += len(lines)
    print(f"{different} differences." if different else "Every outcome is the expected one.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
