"""Random failures cost Bayesian search little; it avoids regions where trials fail."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from fastopt import tune
from fastopt.tune.strategies.bayes.failures import failure_kernel, labels, latest, noise_evidence
from fastopt.tune.strategies.bayes.features import Encoding
from fastopt.tune.strategies.bayes.gaussian_process import MEAN_VARIANCE

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
    """With few trials, chance puts some failures next to each other, and some far from others."""
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
    # The best place is the region's edge, and to find it about every second trial must fail.
    assert failed["worst"] < failed["neighbours"] < 0.75 * failed["ignore"]


def test_without_failures_the_option_changes_nothing():
    params = [
        [trial.params for trial in search(bowl, 1, failures=how).trials]
        for how in ("neighbours", "worst", "ignore")
    ]
    assert params[0] == params[1] == params[2]


@pytest.mark.parametrize(
    ("fails", "failing"),
    [(lambda p: p["a"] > 0.33, 0.0), (lambda p: p["b"] > 0.65, 0.1)],
    ids=["beside the optimum", "and some by chance"],
)
def test_a_region_that_fails_costs_the_search_little(fails, failing):
    def cut(params):
        return None if fails(params) else bowl(params)

    bests = [search(cut, seed, failing).best_value for seed in range(5)]
    assert np.median(bests) < 1e-4


def kernel_of(points, failed):
    space = tune.Space({str(j): tune.Float(0.0, 1.0) for j in range(points.shape[1])})
    return failure_kernel(Encoding(space), points, failed)


@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_a_region_is_found_and_only_where_there_is_one(d):
    found = {"region": 0, "chance": 0}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        points = rng.random((30, d))
        kernel = kernel_of(points, points[:, 0] > 0.7)
        if kernel is not None:
            found["region"] += 1
            assert kernel.log_length.argmin() == 0
        found["chance"] += kernel_of(points, rng.random(30) < 0.3) is not None
    assert found["region"] == 8
    assert found["chance"] <= 3


def test_equal_outcomes_and_equal_points_give_no_kernel():
    points = np.random.default_rng(0).random((9, 2))
    assert kernel_of(points, np.ones(9, bool)) is None
    assert kernel_of(points, np.zeros(9, bool)) is None
    assert kernel_of(np.full((9, 2), 0.5), np.arange(9) % 2 == 0) is None


def test_the_evidence_of_noise_is_that_of_a_normal_distribution():
    targets, even = labels(np.array([True, False, False, False, True]))
    assert targets.mean() == pytest.approx(0.0)
    assert targets.std() == pytest.approx(1.0)
    assert targets.min() < even < targets.max()
    covariance = np.eye(5) + MEAN_VARIANCE
    expected = multivariate_normal(np.zeros(5), covariance).logpdf(targets)
    assert noise_evidence(5) == pytest.approx(expected)


def test_of_many_trials_the_latest_count_most():
    assert latest(4, 6).tolist() == [0, 1, 2, 3]
    assert latest(20, 6).tolist() == [0, 8, 16, 17, 18, 19]


@pytest.mark.parametrize("how", ["neighbours", "worst", "ignore"])
def test_failures_alone_and_then_one_success_bring_no_point_twice(how):
    study = tune.Study(SQUARE, strategy=tune.Bayes(n_initial=1, failures=how))
    for number in range(9):
        trial = study.ask()
        if number == 5:
            study.tell(trial, 1.0)
        else:
            study.tell(trial, error="no")
    keys = {study.space.key(trial.params) for trial in study.trials}
    assert len(keys) == 9


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
@pytest.mark.parametrize("how", ["neighbours", "ignore"])
def test_a_first_success_after_many_failures_is_learnt_from(how, directions):
    # Beyond 50 trials the kernel is not fitted anew at each, and then all before had failed.
    def told():
        study = tune.Study(SQUARE, strategy=tune.Bayes(failures=how), directions=directions)
        for point in np.linspace(0.0, 1.0, 53):
            study.add({"a": point, "b": point}, error="no")
        study.add({"a": 0.5, "b": 0.6}, 1.0 if len(directions) == 1 else [1.0, 1.0])
        return study

    study, suggested = told(), []
    for _ in range(2):
        suggested.append(study.ask().params)
        study.tell(study.trials[-1], error="no")
    resumed = told()
    resumed.add(suggested[0], error="no")
    assert resumed.ask().params == suggested[1]


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
