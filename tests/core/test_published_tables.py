"""Every published table is what the committed results make of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "report", ["bench.steps.report", "bench.tune.report", "bench.tune.fronts.report"]
)
def test_the_documents_hold_the_tables_that_the_committed_results_make(report):
    command = [sys.executable, "-m", report, "--check"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
