"""The main example, with few trials: what it prints and writes, and that it resumes."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt

EXAMPLE = Path(__file__).parent.parent / "examples" / "tune_digits.py"
pytestmark = pytest.mark.needs("sklearn", "matplotlib")
RULES = ("sgd", "momentum", "nag", "adagrad", "adadelta", "adam")
TRIALS = 3


def run(folder):
    command = [sys.executable, EXAMPLE, f"--trials={TRIALS}", "--jobs=1", f"--output={folder}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def trials(folder):
    with sqlite3.connect(folder / "digits.db") as connection:
        return connection.execute("SELECT * FROM trials ORDER BY study, number").fetchall()


def tables(output):
    return output[output.index("\nrule ") :]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    return folder, run(folder)


def test_table_has_every_rule_with_its_hyper_parameters_and_accuracies(first):
    lines = tables(first[1]).split("\n")
    accuracies = []
    for rule, line in zip(RULES, lines[3:], strict=False):
        found = re.fullmatch(rf"{rule} +(lr=.+?) +(\S+) % +(\S+) % +(\S+)", line)
        assert found, line
        hypers, validation, test, seconds = found.groups()
        for hyper in re.findall(r"(\w+)=", hypers):
            assert hyper in fastopt.RULES[rule].class_hypers
        assert 0 < float(validation) <= 100
        assert 0 < float(test) <= 100
        assert float(seconds) >= 0
        accuracies.append(float(test))
    assert len(accuracies) == len(RULES)
    # Ten digits: whoever guesses is right in one of ten cases.
    assert max(accuracies) > 80


def test_every_strategy_gets_the_same_number_of_trials_for_every_rule(first):
    folder, output = first
    assert len(trials(folder)) == 3 * len(RULES) * TRIALS
    assert re.search(rf"best loss after +{TRIALS} trials +grid +random +bayes\n", output)


def test_picture_shows_something(first):
    from matplotlib import image

    pixels = image.imread(first[0] / "digits.png")
    height, width, _ = pixels.shape
    assert width > 1000
    assert height > 600
    # Black text, a white ground and colours.
    assert pixels[..., :3].min() < 0.1
    assert pixels[..., :3].max() == 1.0
    assert (pixels[..., 0] != pixels[..., 2]).any()


def test_second_run_resumes_and_says_so(first):
    folder, output = first
    before = trials(folder)
    again = run(folder)
    total = len(before)
    assert again.startswith(f"resuming: {total} of {total} trials have been done before\n")
    assert trials(folder) == before
    assert tables(again) == tables(output)


def test_interrupted_study_is_brought_to_its_end(first, tmp_path):
    whole = trials(first[0])
    with sqlite3.connect(first[0] / "digits.db") as source:
        target = sqlite3.connect(tmp_path / "digits.db")
        source.backup(target)
        target.execute("DELETE FROM trials WHERE number > 0 AND study > 3")
        target.commit()
        target.close()
    left = len(trials(tmp_path))
    output = run(tmp_path)
    assert output.startswith(f"resuming: {left} of {len(whole)} trials have been done before\n")
    # Study, number, params, state, value: the same as if it had not been interrupted.
    assert [row[:5] for row in trials(tmp_path)] == [row[:5] for row in whole]


def test_number_of_trials_below_one_is_refused():
    command = [sys.executable, EXAMPLE, "--trials=0"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "--trials must be at least 1, got 0" in finished.stderr
