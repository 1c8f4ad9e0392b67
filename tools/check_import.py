"""Checks what the import leaves alone, and prints how long it takes beyond NumPy's own.

python tools/check_import.py
"""

import re
import subprocess
import sys

# Each takes longer than the rest, and is imported where it is used.
HEAVY = {"scipy", "sqlite3", "difflib", "inspect", "multiprocessing", "fastopt.tune"}
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
    code = "import sys, numpy; before = set(sys.modules); import fastopt; "
    code += "print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = sorted(HEAVY & set(done.stdout.split()))
    best = min(microseconds() for _ in range(TRIES))
    print(f"import fastopt, after NumPy: {best / 1000:.1f} ms; heavy modules: {heavy}")
    if heavy:
        sys.exit(1)


if __name__ == "__main__":
    main()
