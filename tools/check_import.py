"""Checks the import: less than 30 ms beyond NumPy's own, and SciPy left alone.

python tools/check_import.py
"""

import re
import subprocess
import sys

LIMIT = 30_000  # microseconds
TRIES = 7


def microseconds():
    """What the modules of fastopt, and those that only they need, took."""
    code = [sys.executable, "-X", "importtime", "-c", "import numpy, fastopt"]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    times = {}
    for line in done.stderr.splitlines():
        if match := re.match(r"import time: +\d+ \| +(\d+) \| (\w+)$", line):
            times[match[2]] = int(match[1])
    return times["fastopt"]


def main():
    code = "import sys, fastopt; print([name for name in sys.modules if name.startswith('scipy')])"
    imported = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    best = min(microseconds() for _ in range(TRIES))
    print(f"import fastopt, after NumPy: {best / 1000:.1f} ms; modules of SciPy: {imported}")
    if best > LIMIT or imported != "[]":
        sys.exit(1)


if __name__ == "__main__":
    main()
