"""Failures that strike anywhere cost Bayesian search little; those of a place keep it away."""

import numpy as np
import pytest

from fastopt import tune
from fastopt.tune.strategies.bayes.failures import weigh

SQUARE = {"a": tune.Float(0.0, 1.0), "b": tune.Float(0.0, 1.0)}


def bowl(params):
    a, b = params["a"] - 0.3, params["b"] - 0.6
    return a * a + 2 * b * b + 0.5 * a * b


def search(objective, seed, failing=0.0, n_trials=20, **options):
    """A study some of whose trials fail at random, as ``failing`` says."""
    chance = np.random.default_rng(100 + seed)
    study = tune.Study(SQUARE, strategy=tune.Bayes(**options), seed=seed)
    for _ in range(n_trials):
        trial = study.ask()
        value = objective(trial.params)
        if value is None or chance.random() < failing:
            study.tell(trial, error="no")
        else:
            study.tell(trial, value)
    return study


@pytest.mark.parametrize(
    ("failing", "how", "bound"),
    [(0.1, "neighbours", 1e-4), (0.3, "neighbours", 1e-3), (0.3, "ignore", 1e-3)],
)
def test_random_failures_cost_little(failing, how, bound):
    bests = [search(bowl, seed, failing, failures=how).best_value for seed in range(5)]
    assert np.median(bests) < bound


def test_failures_that_are_chance_are_told_from_a_region():
    """Among few trials chance puts some failures side by side, and some far from all others."""
    space = {"x": tune.Float(-1.0, 1.0), "y": tune.Float(-1.0, 1.0)}
    bests = []
    for seed in (3, 4, 7):
        chance = np.random.default_rng(1000 + seed)
        study = tune.Study(space, seed=seed)
        for _ in range(20):
            trial = study.ask()
            x, y = trial.params["x"], trial.params["y"]
            if chance.random() < 0.3:
                study.tell(trial, error="no")
            else:
                study.tell(trial, (x - 0.3) ** 2 + (y + 0.2) ** 2)
        bests.append(study.best_value)
    assert max(bests) < 1e-2


def test_a_region_that_fails_is_left():
    def cliff(params):
        return None if params["a"] > 0.7 else 1.0 - params["a"] + (params["b"] - 0.4) ** 2

    failed = {
        how: sum(
            trial.state == "failed"
            for seed in range(3)
            for trial in search(cliff, seed, failures=how).trials
        )
        for how in ("neighbours", "worst", "ignore")
    }
    assert failed["worst"] <= failed["neighbours"] < 0.6 * failed["ignore"]


def test_without_failures_the_option_changes_nothing():
    params = [
        [trial.params for trial in search(bowl, 1, failures=how).trials]
        for how in ("neighbours", "worst", "ignore")
    ]
    assert params[0] == params[1] == params[2]


POINTS = np.array([[0.1, 0.1], [0.12, 0.1], [0.1, 0.14], [0.9, 0.9], [0.9, 0.92], [0.1, 0.9]])


def test_the_neighbours_decide_what_a_failure_says():
    values = np.array([np.nan, 1.0, 3.0, np.nan, np.nan, np.nan])
    weighed, kept = weigh(POINTS, values, "neighbours")
    # The first has succeeding neighbours, the pair in the corner each other, the last has none.
    np.testing.assert_array_equal(kept, [False, True, True, True, True, True])
    np.testing.assert_array_equal(weighed[kept], [1.0, 3.0, np.nan, np.nan, 3.0])
    weighed, kept = weigh(POINTS, values, "ignore")
    np.testing.assert_array_equal(kept, [False, True, True, False, False, False])
    np.testing.assert_array_equal(weighed[kept], [1.0, 3.0])
    weighed, kept = weigh(POINTS, values, "worst")
    assert weighed is values
    assert kept.all()


def test_failures_whose_neighbours_do_not_fail_are_dropped_wherever_they_are():
    points = np.array([[0.1, 0.1], [0.12, 0.1], [0.5, 0.5], [0.52, 0.5], [0.9, 0.9], [0.9, 0.1]])
    values = np.array([1.0, np.nan, 3.0, np.nan, np.nan, 2.0])
    assert weigh(points, values, "neighbours")[1].tolist() == (~np.isnan(values)).tolist()


@pytest.mark.parametrize("n", [2, 3, 4, 9])
def test_points_that_are_equal_are_neighbours_of_one_another(n):
    points = np.full((n, 2), 0.5)
    values = np.array([1.0] + [np.nan] * (n - 1))
    weighed, kept = weigh(points, values, "neighbours")
    assert kept[0]
    assert weighed[0] == 1.0


def test_a_failure_at_a_point_that_has_succeeded_is_dropped():
    points = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert weigh(points, np.array([np.nan, 2.0]), "neighbours")[1].tolist() == [False, True]


@pytest.mark.parametrize("how", ["neighbours", "worst", "ignore"])
def test_nothing_but_failures_then_a_success(how):
    study = tune.Study(SQUARE, strategy=tune.Bayes(n_initial=1, failures=how))
    for number in range(9):
        trial = study.ask()
        if number == 5:
            study.tell(trial, 1.0)
        else:
            study.tell(trial, error="no")
    keys = {study.space.key(trial.params) for trial in study.trials}
    assert len(keys) == 9


def test_the_option_is_checked_and_shown_and_part_of_the_file(tmp_path):
    with pytest.raises(ValueError, match="Bayes: failures must be one of"):
        tune.Bayes(failures="drop")
    default = "Bayes(n_initial=None, deterministic=False, min_improvement=0.0)"
    assert repr(tune.Bayes()) == default
    assert repr(tune.Bayes(failures="ignore")) == default[:-1] + ", failures='ignore')"
    path = tmp_path / "study.db"
    tune.Study(SQUARE, storage=path).close()
    with pytest.raises(ValueError, match="failures='ignore'"):
        tune.Study(SQUARE, storage=path, strategy=tune.Bayes(failures="ignore"))
