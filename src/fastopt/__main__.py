"""``python -m fastopt``: look at studies, export and import them, watch one run."""

import sys

from fastopt.tune.command_line.main import main

if __name__ == "__main__":
    sys.exit(main())
