"""The example that compares all rules, with few trials."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastopt

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.needs("sklearn", "matplotlib")


def load_example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    spec = importlib.util.spec_from_file_location("compare_rules", EXAMPLES / "compare_rules.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder, *options):
    command = [sys.executable, EXAMPLES / "compare_rules.py", f"--output={folder}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_every_rule_is_in_the_table_and_the_pictures_are_small(tmp_path):
    folder = tmp_path / "new"
    finished = run(folder, "--trials=8", "--seeds=2", "--epochs=1")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()[4:]
    rows = [line.split() for line in lines[: len(fastopt.RULES)]]
    assert {row[0] for row in rows} == set(fastopt.RULES)
    losses = [float(row[3]) for row in rows]
    assert losses == sorted(losses)
    for name in ("rules_paths.png", "rules_digits.png"):
        assert 10_000 < (folder / name).stat().st_size < 150_000


def test_slopes_are_those_of_the_functions(monkeypatch):
    example = load_example(monkeypatch)
    rng = np.random.default_rng(0)
    for function, start, minimum, _ in example.FUNCTIONS.values():
        assert function(*minimum)[0] == pytest.approx(0, abs=1e-12)
        for x, y in [start, *rng.normal(size=(5, 2))]:
            slopes = function(x, y)[1]
            across = (function(x + 1e-6, y)[0] - function(x - 1e-6, y)[0]) / 2e-6
            along = (function(x, y + 1e-6)[0] - function(x, y - 1e-6)[0]) / 2e-6
            assert slopes == pytest.approx((across, along), rel=1e-5, abs=1e-5)


def test_networks_of_a_population_are_trained_as_each_alone(monkeypatch):
    example = load_example(monkeypatch)
    rng = np.random.default_rng(0)
    learn = (
        rng.random((96, 64), np.float32),
        np.eye(10, dtype=np.float32)[rng.integers(10, size=96)],
    )
    for rule in fastopt.RULES:
        rates = np.array([0.01, 0.1])
        together = example.train(rule, [3, 7], learn, 1, lr=rates, weight_decay=0.01)
        for row, seed in enumerate([3, 7]):
            rate = rates[row : row + 1]
            alone = example.train(rule, [seed], learn, 1, lr=rate, weight_decay=0.01)
            for mine, theirs in zip(alone, together, strict=True):
                assert np.array_equal(mine[0], theirs[row]), rule


def test_a_rule_is_named_with_the_best_that_searches_and_seeds_do_not_tell_from_it(monkeypatch):
    example = load_example(monkeypatch)
    base = np.linspace(1, 2, 40).reshape(5, 8)
    by_search = np.array([-0.1, 0.2, 0.2, -0.1, 0.2])[:, None]  # all its seeds agree
    losses = {"clearly worse": base + 1, "worse in some": base + by_search, "best": base}
    found = {rule: (None, values, None) for rule, values in losses.items()}
    assert example.not_told_from(found) == {
        "best": "best",
        "worse in some": "best",
        "clearly worse": "clearly worse",
    }


@pytest.mark.parametrize("option", ["trials", "seeds", "epochs"])
def test_numbers_below_one_are_refused(option, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare_rules.py", f"--{option}=0"])
    with pytest.raises(SystemExit, match="2"):
        load_example(monkeypatch).main()
    assert f"--{option} must be at least 1, got 0" in capsys.readouterr().err
