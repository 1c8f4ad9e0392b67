"""The main example with few trials: what it prints and draws, and that it is reproducible."""

import argparse
import contextlib
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastopt

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.needs("sklearn", "matplotlib")
RULES = ("sgd", "momentum", "nag", "adagrad", "adadelta", "adam")
STRATEGIES = ("grid", "random", "sobol", "bayes")
TRIALS = 2
LABEL, CELL = 20, 10


def command(folder, jobs):
    script = EXAMPLES / "tune_digits.py"
    return [sys.executable, script, f"--trials={TRIALS}", f"--jobs={jobs}", f"--output={folder}"]


def run(folder, jobs=1):
    finished = subprocess.run(
        command(folder, jobs), capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


def studies(folder):
    """The trials of each study, by its rule and strategy: without when, and by which process."""
    with contextlib.closing(sqlite3.connect(folder / "digits.db")) as connection:
        rows = connection.execute(
            "SELECT name, number, params, state, value, epochs FROM trials"
            " JOIN studies ON studies.id = study ORDER BY name, number"
        ).fetchall()
    found = {}
    for name, *row in rows:
        rule, _, strategy = name.partition(",")[0].split()
        found.setdefault((rule, strategy), []).append(row)
    return found


def without_times(output):
    """What is printed, except the last two lines: the folder, and the seconds."""
    return output.rsplit("\n\n", 1)[0]


def table(output, title):
    """The cells of a table by row and column; each is in its column and nowhere else."""
    lines = output.split("\n")
    (start,) = (i for i, line in enumerate(lines) if line.startswith(title))
    header = lines[start]
    columns = header[LABEL:].split()
    assert len(header) == LABEL + CELL * len(columns)
    cells = {}
    for line in lines[start + 2 :]:
        if not line:
            break
        assert len(line) <= len(header) <= 80
        for i, column in enumerate(columns):
            cell = line[LABEL + CELL * i : LABEL + CELL * (i + 1)]
            # A cell that overflows would fill its first place.
            assert cell[:1] in (" ", ""), line
            cells[line[:LABEL].strip(), column] = cell.strip()
    return columns, cells


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    return folder, run(folder)


def test_every_strategy_gets_the_same_number_of_trials_for_every_rule(first):
    found = studies(first[0])
    assert set(found) == {(rule, strategy) for rule in RULES for strategy in STRATEGIES}
    assert {len(trials) for trials in found.values()} == {TRIALS}


def test_best_of_a_rule_is_the_lowest_loss_of_all_strategies(first):
    folder, output = first
    columns, cells = table(output, "the best of all")
    assert columns == list(RULES)
    found = studies(folder)
    for rule in RULES:
        lowest = {s: min(trial[3] for trial in found[rule, s] if trial[3]) for s in STRATEGIES}
        assert cells["validation loss", rule] == f"{min(lowest.values()):.4f}"
        assert lowest[cells["found by", rule]] == min(lowest.values())


def test_hyper_parameters_in_the_table_are_those_of_the_rule(first):
    _, cells = table(first[1], "the best of all")
    training = {"schedule", "batch", "width"}
    other = {"found by", "validation loss", "test accuracy, %"}
    for rule in RULES:
        named = {row for (row, column), cell in cells.items() if column == rule and cell}
        assert {"found by", "lr", "validation loss", "test accuracy, %"} <= named
        assert named - training - other <= set(fastopt.RULES[rule].class_hypers)


def test_networks_read_the_test_images(first):
    _, cells = table(first[1], "the best of all")
    accuracies = [float(cells["test accuracy, %", rule]) for rule in RULES]
    # There are ten digits, so a guess is right in one of ten cases.
    assert 85 < max(accuracies) <= 100


def test_losses_of_the_strategies_are_those_of_their_studies(first):
    folder, output = first
    columns, cells = table(output, f"loss, {TRIALS} trials")
    assert columns == list(STRATEGIES)
    for (rule, strategy), trials in studies(folder).items():
        assert cells[rule, strategy] == f"{min(trial[3] for trial in trials if trial[3]):.4f}"


def load_example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_optimizer_of_networks_side_by_side_takes_the_steps_of_each_alone():
    example = load_example("tune_digits")
    rng = np.random.default_rng(0)
    together = example.network(rng, 4)
    alone = [[array[k : k + 1].copy() for array in together] for k in range(example.FOLDS)]
    images = rng.standard_normal((example.FOLDS, 5, 64)).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[rng.integers(10, size=(example.FOLDS, 5))]
    for rule, (optimizer, _) in example.RULES.items():
        optimizer(together, lr=0.1).step(example.backward(together, images, targets))
        for k, params in enumerate(alone):
            part = slice(k, k + 1)
            optimizer(params, lr=0.1).step(example.backward(params, images[part], targets[part]))
            for mine, theirs in zip(params, together, strict=True):
                assert np.array_equal(mine, theirs[part]), rule


def test_gradient_is_that_of_the_loss():
    example = load_example("tune_digits")
    rng = np.random.default_rng(0)
    params = [array.astype(float) for array in example.network(rng, 4)]
    images = rng.standard_normal((example.FOLDS, 5, 64))
    targets = np.eye(10)[rng.integers(10, size=(example.FOLDS, 5))]
    gradients = example.backward(params, images, targets)
    for array, gradient in zip(params, gradients, strict=True):
        for place in zip(*(rng.integers(size, size=8) for size in array.shape), strict=True):
            shifted = []
            for sign in (1, -1):
                array[place] += sign * 1e-6
                shifted.append(example.loss(params, images, targets))
                array[place] -= sign * 1e-6
            # The loss is the mean over the networks, the gradient that of each one's own.
            slope = example.FOLDS * (shifted[0] - shifted[1]) / 2e-6
            assert gradient[place] == pytest.approx(slope, abs=1e-7)


def test_picture_shows_something(first):
    from matplotlib import image

    pixels = image.imread(first[0] / "digits.png")
    height, width, _ = pixels.shape
    assert width > 900
    assert height > 1000
    # Black text, a white ground and colours.
    assert pixels[..., :3].min() < 0.1
    assert pixels[..., :3].max() == 1.0
    assert (pixels[..., 0] != pixels[..., 2]).any()


def test_rings_are_round_the_lowest_points_of_their_panels(first, monkeypatch, tmp_path):
    from matplotlib import pyplot as plt

    report, example = load_example("digits_report"), load_example("tune_digits")
    options = argparse.Namespace(trials=TRIALS, seed=0, output=first[0])
    trials = {rule: {} for rule in RULES}
    for rule, strategy in studies(first[0]):
        with example.open_study(rule, strategy, options) as study:
            trials[rule][strategy] = study.finished
    monkeypatch.setattr(plt, "close", lambda figure: None)
    report.draw(trials, example.choose(trials), tmp_path / "digits.png")
    figure = plt.gcf()
    monkeypatch.undo()
    for axes, rule in zip(figure.axes[-len(RULES) :], RULES, strict=True):
        assert axes.get_title(loc="left").startswith(f"{rule}, ")
        *points, ring = axes.collections
        heights = np.concatenate([shown.get_offsets()[:, 1] for shown in points])
        ((_, height),) = ring.get_offsets()
        assert len(ring.get_facecolor()) == 0
        assert height == heights.min()
    plt.close(figure)


def test_second_run_resumes_and_says_so(first):
    folder, output = first
    before = studies(folder)
    total = len(RULES) * len(STRATEGIES) * TRIALS
    again = run(folder)
    first_line, rest = again.split("\n", 1)
    assert first_line == f"resuming: {total} of {total} trials have been done before"
    assert without_times(rest) == without_times(output)
    assert studies(folder) == before


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal to a group of processes")
def test_interrupted_run_of_two_processes_is_brought_to_the_end_of_one_process(first, tmp_path):
    folder, output = first
    process = subprocess.Popen(
        command(tmp_path, jobs=2),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline().startswith("sgd      by grid    best loss ")
        # As a terminal sends Ctrl-C: to the workers as well.
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == "stopped; the same command goes on from here\n"
    assert 0 < len(studies(tmp_path)) < len(RULES) * len(STRATEGIES)

    resumed = run(tmp_path, jobs=2)
    assert resumed.startswith("resuming: ")
    assert without_times(resumed.split("\n", 1)[1]) == without_times(output)
    assert studies(tmp_path) == studies(folder)


@pytest.mark.parametrize("option", ["trials", "jobs"])
def test_numbers_below_one_are_refused(option):
    finished = subprocess.run(
        [sys.executable, EXAMPLES / "tune_digits.py", f"--{option}=0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2
    assert f"--{option} must be at least 1, got 0" in finished.stderr
