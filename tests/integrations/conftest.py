"""Workers of a cluster import the objectives by name, so their folder must be importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
