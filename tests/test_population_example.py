"""The example of populations, with few networks."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "population_digits.py"
RULES = ["sgd", "momentum", "nag", "adagrad", "adadelta", "adam"]
pytestmark = pytest.mark.needs("sklearn", "matplotlib")


def run(*options):
    command = [sys.executable, SCRIPT, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_every_rule_learns_and_networks_have_the_bits_that_they_have_alone(tmp_path):
    picture = tmp_path / "absent" / "curves.png"
    finished = run("--networks=27", f"--output={picture}")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    rows = [line.split() for line in finished.stdout.splitlines()[1 : 1 + len(RULES)]]
    assert [row[0] for row in rows] == RULES
    assert all(float(row[1]) < 0.25 for row in rows)
    assert [row[-1] for row in rows] == ["yes"] * len(RULES)
    assert picture.stat().st_size > 10_000


def test_fewer_networks_than_rungs_need_are_refused():
    finished = run("--networks=26")
    assert finished.returncode == 2
    assert "--networks must be at least 27, got 26" in finished.stderr
