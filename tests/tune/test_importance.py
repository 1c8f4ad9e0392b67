"""The importance of parameters is right whatever the strategy that chose the trials."""

import math

import numpy as np
import pytest
from tune_objectives import SPACE, smooth

from fastopt import tune
from fastopt.tune.reporting import surrogate
from fastopt.tune.reporting.plausible import kernels, possible_function
from fastopt.tune.strategies.bayes.gaussian_process import Posterior

CENTRES = {"a": 0.3, "b": 0.6, "c": 0.4, "d": 0.7, "e": 0.2}
WEIGHTS = {"a": 0.43, "b": 0.35, "c": 0.16, "d": 0.04, "e": 0.01}
CUBE = {name: tune.Float(0.0, 1.0) for name in CENTRES}


def bowl(params):
    return sum(math.sqrt(WEIGHTS[n]) * (params[n] - CENTRES[n]) ** 2 for n in CENTRES)


def bowl_shares():
    """In closed form: E (x - m)^4 - (E (x - m)^2)^2 of a uniform x, by the weight."""

    def moment(m, power):
        return ((1 - m) ** (power + 1) - (-m) ** (power + 1)) / (power + 1)

    parts = {n: WEIGHTS[n] * (moment(m, 4) - moment(m, 2) ** 2) for n, m in CENTRES.items()}
    return {name: part / sum(parts.values()) for name, part in parts.items()}


@pytest.mark.parametrize("strategy", ["bayes", "sobol", "random"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_shares_of_a_smooth_function_after_any_search(strategy, seed):
    study = tune.minimize(bowl, CUBE, n_trials=60, strategy=strategy, seed=seed)
    assert study.importance() == pytest.approx(bowl_shares(), abs=0.08)
    assert study.importance() == study.importance()


def test_noise_does_not_hide_what_counts_after_a_bayesian_search():
    chance = np.random.default_rng(0)
    study = tune.minimize(lambda p: bowl(p) + 0.01 * chance.standard_normal(), CUBE, n_trials=60)
    shares = study.importance()
    assert next(iter(shares)) == "a"
    assert shares["a"] + shares["b"] > 0.6
    assert max(shares["d"], shares["e"]) < 0.15


def test_steps_and_conditions_do_not_hide_what_counts_after_a_bayesian_search():
    space = {
        "kind": tune.Categorical(["x", "y"]),
        "a": tune.Float(0.0, 1.0),
        "b": tune.Float(0.0, 1.0, when={"kind": "x"}),
        "idle": tune.Float(0.0, 1.0),
    }

    def objective(params):
        return math.floor(5 * params["a"]) / 5 + 0.1 * params.get("b", 0.5)

    shares = tune.minimize(objective, space, n_trials=50).importance()
    assert next(iter(shares)) == "a"
    assert shares["idle"] < 0.1


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e290])
def test_the_unit_of_the_values_does_not_count(scale):
    study = tune.Study(CUBE, strategy="sobol")
    for _ in range(40):
        trial = study.ask()
        study.tell(trial, scale * bowl(trial.params))
    assert study.importance() == pytest.approx(bowl_shares(), abs=0.08)


@pytest.mark.parametrize(
    ("strategy", "noise", "seed"), [("random", 0.7, 4), ("sobol", 0.7, 6), ("sobol", 0.2, 2)]
)
def test_under_noise_the_intervals_hold_what_is_true(strategy, noise, seed):
    """Studies in which one fit, and each that leaves out some trials, misses a parameter."""
    chance = np.random.default_rng([seed, int(10 * noise), 40])
    scale = noise * 0.1173  # in units of the bowl's own deviation

    def objective(params):
        return bowl(params) + scale * chance.standard_normal()

    study = tune.minimize(objective, CUBE, n_trials=40, strategy=strategy, seed=seed)
    found = study.importance_intervals()
    for name, true in bowl_shares().items():
        low, high = found[name]
        assert low <= true <= high, name


def process_of(points, values):
    space = tune.Space({str(j): tune.Float(0.0, 1.0) for j in range(points.shape[1])})
    data = surrogate._data(space, points, values)
    return data.evidence(), data.kernels()[0]


def test_possible_functions_are_those_of_the_posterior():
    rng = np.random.default_rng(0)
    points = rng.random((20, 2))
    evidence, kernel = process_of(points, np.sin(3 * points[:, 0]) + 0.1 * rng.random(20))
    places = rng.random((5, 2))
    drawn = np.array([possible_function(evidence, kernel, rng)(places) for _ in range(1500)])
    posterior = Posterior(kernel, evidence.features, evidence.targets, evidence.groups)
    mean, deviation = posterior.predict(places)
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=5 * deviation.max() / math.sqrt(1500))
    assert drawn.std(axis=0) == pytest.approx(deviation, rel=0.15)


def test_kernels_are_drawn_by_their_posterior():
    """Against weights on a grid of a length scale, the amplitude and the noise."""
    rng = np.random.default_rng(0)
    points = rng.random((20, 1))
    evidence, mode = process_of(points, points[:, 0] ** 2 + 0.1 * rng.standard_normal(20))
    drawn = list(kernels(evidence, mode, 800, rng))
    theta = np.array([[*k.log_length, k.log_amplitude, k.log_noise] for k in drawn])
    low, high = theta.min(axis=0), theta.max(axis=0)
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 16).T, indexing="ij"), axis=-1)
    grid = grid.reshape(-1, 3)
    weights = np.array([-evidence(place)[0] for place in grid])
    weights = np.exp(weights - weights.max())
    mean = weights @ grid / weights.sum()
    deviation = np.sqrt(weights @ (grid - mean) ** 2 / weights.sum())
    assert (np.abs(theta.mean(axis=0) - mean) < 0.2 * deviation).all()
    assert theta.std(axis=0) == pytest.approx(deviation, rel=0.2)


def test_what_the_process_cannot_foretell_it_does_not_judge():
    points = np.random.default_rng(0).random((60, 5))
    space = tune.Space(CUBE)
    assert surrogate.shares(space, points, np.random.default_rng(1).random(60), 0) is None
    assert surrogate.shares(space, points[:19], points[:19, 0], 0) is None
    assert surrogate.shares(space, points, points[:, 0], 0)[0] > 0.95


def test_the_intervals_hold_the_shares_and_shrink_with_the_noise():
    widths = []
    for noise in (0.0, 0.3):
        chance = np.random.default_rng(0)
        study = tune.Study(CUBE, strategy="sobol")
        for _ in range(32):
            trial = study.ask()
            study.tell(trial, bowl(trial.params) + noise * chance.standard_normal())
        shares = study.importance()
        found = study.importance_intervals()
        assert list(found) == list(shares)
        for name, (low, high) in found.items():
            assert 0.0 <= low <= shares[name] <= high <= 1.0
        widths.append(sum(high - low for low, high in found.values()))
        if noise == 0.0:
            for name, true in bowl_shares().items():
                assert found[name][0] - 0.05 < true < found[name][1] + 0.05
    assert widths[0] < widths[1]


ABC = {name: tune.Float(0.0, 1.0) for name in "abc"}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (lambda p: 3.0 * p["b"], {"a": 0.0, "b": 1.0, "c": 0.0}),
        (lambda p: p["a"] + p["b"] + p["c"], {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        (lambda p: (p["a"] - 0.5) * (p["c"] - 0.5), {"a": 0.0, "b": 0.0, "c": 0.0}),
        (lambda p: 7.0, {"a": 0.0, "b": 0.0, "c": 0.0}),
    ],
    ids=["one", "sum", "product", "constant"],
)
def test_importance_of_known_functions(objective, expected):
    study = tune.minimize(objective, ABC, n_trials=96, strategy="sobol")
    shares = study.importance()
    assert shares == pytest.approx(expected, abs=0.08)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert study.importance() == shares


def test_importance_does_not_see_how_far_diverged_trials_are():
    def objective(params):
        return params["a"] if params["b"] > 0.02 else 1e30

    study = tune.minimize(objective, ABC, n_trials=96, strategy="sobol")
    assert study.importance()["a"] > 0.8


@pytest.mark.parametrize("strategy", ["sobol", "random"])
def test_diverged_trials_hide_nothing_of_a_smooth_function(strategy):
    def objective(params):
        return bowl(params) if params["e"] < 0.95 else 1e6

    # The shares of the ranks, from many points
    points = np.random.default_rng(0).random((4000, len(CUBE)))
    values = [objective(dict(zip(CUBE, point, strict=True))) for point in points.tolist()]
    ranks = np.argsort(np.argsort(values))
    study = tune.minimize(objective, CUBE, n_trials=60, strategy=strategy)
    shares = study.importance()
    for name, places in zip(CUBE, points.T, strict=True):
        along = ranks[np.argsort(places)].reshape(40, 100).mean(axis=1)
        true = along.var() / ranks.var()
        assert shares[name] == pytest.approx(true, abs=0.16)


def test_importance_tells_choices_and_conditions_that_count_from_what_does_not():
    study = tune.minimize(smooth, SPACE, n_trials=64, strategy="random")
    shares = study.importance()
    assert set(shares) == set(SPACE)
    assert min(shares, key=shares.get) == "dropout"
    assert shares["dropout"] < 0.02 < 0.05 < min(shares["rule"], shares["beta"])


def test_importance_needs_some_trials():
    study = tune.minimize(smooth, SPACE, n_trials=7, strategy="random")
    with pytest.raises(ValueError, match="at least 8 done trials, got 7"):
        study.importance()
