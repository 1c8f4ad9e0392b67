"""Tree-structured Parzen estimators: densities that sum to one, and a pure strategy over them."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
from tune_objectives import SPACE, smooth

from fastopt import tune
from fastopt.tune.strategies.tpe import parzen
from fastopt.tune.strategies.tpe.history import History, _worse
from fastopt.tune.strategies.tpe.strategy import _groups

NUMBERS = {
    "few": tune.Int(0, 6),
    "many": tune.Int(1, 700),
    "few of log": tune.Int(1, 9, log=True),
    "many of log": tune.Int(1, 500, log=True, step=3),
    "steps": tune.Float(0.1, 0.9, step=0.1),
}


def points_of(space, n, seed=0):
    return space.snap(np.random.default_rng(seed).random((n, len(space))))


def suggestions(study, n):
    return [study.ask().params for _ in range(n)]


def test_the_upper_tail_is_about_that_of_the_normal_distribution():
    x = np.linspace(-200.0, 200.0, 40_001)
    tail = parzen._upper_tail(x)
    assert np.abs(tail - scipy.stats.norm.sf(x)).max() < 2e-4
    assert (np.diff(tail) <= 0.0).all()
    assert (tail[x < 15.0] > 0.0).all()
    np.testing.assert_allclose(tail[::-1], 1.0 - tail, atol=1e-15)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_cells_of_a_grid_cover_the_unit_interval_once(name):
    parameter = NUMBERS[name]
    low, high = parameter.cell(np.arange(parameter.levels))
    assert (low[0], high[-1]) == (0.0, 1.0)
    np.testing.assert_allclose(low[1:], high[:-1], rtol=1e-12, atol=1e-15)
    inside = low + (high - low) * np.array([[1e-6], [0.5], [1 - 1e-6]])
    assert (parameter.nearest(inside) == np.arange(parameter.levels)).all()


@pytest.mark.parametrize("n", [0, 1, 5, 60])
@pytest.mark.parametrize("name", [*NUMBERS, "choice"])
def test_a_density_over_levels_sums_to_one(name, n):
    space = tune.Space({"p": NUMBERS.get(name, tune.Categorical(list("abcd")))})
    density = parzen.Parzen(space.dimensions, points_of(space, n))
    parameter = space.parameters["p"]
    levels = np.arange(parameter.levels)
    weight = np.exp(density.log_density(parameter.unit(levels)[:, None]))
    (factor,) = density._factors
    if not getattr(factor, "_coarse", True):  # a density, up to the normal's constant
        low, high = parameter.cell(levels)
        weight *= (high - low) / math.sqrt(2.0 * math.pi)
    assert weight.sum() == pytest.approx(1.0, abs=2e-3)


def plain_log_density(dimensions, kernels, points):
    """The density by its definition, one kernel and one dimension at a time."""
    n = len(kernels)
    weights = np.append(parzen._weights(n), 1.0)
    total = np.tile(np.log(weights / weights.sum()), (len(points), 1))
    for j, dimension in enumerate(dimensions):
        parameter, places, seen = dimension.parameter, points[:, j], kernels[:, j]
        if dimension.kind == "categorical":
            factor = parzen._Choices(dimension, seen)
            factor.add_log_density(places, total)
            continue
        # Of equal places the older comes first.
        order = sorted(range(n), key=lambda i: (seen[i], i))
        scales = np.ones(n + 1)
        for k, i in enumerate(order):
            beside = [seen[order[m]] for m in (k - 1, k + 1) if 0 <= m < n]
            gaps = [abs(seen[i] - other) for other in beside] or [seen[i], 1.0 - seen[i]]
            least = max(parzen.NARROWEST, 1.0 / (n + 2)) if n > 1 else 0.0
            scales[i] = max(*gaps, least)
        centres = np.append(seen, 0.5)
        inside = parzen._between(-centres / scales, (1.0 - centres) / scales)
        coarse = dimension.levels is not None and dimension.levels < 1.0 / parzen.FINE
        if coarse:
            low, high = (edge[:, None] for edge in parameter.cell(parameter.nearest(places)))
            masses = parzen._between((low - centres) / scales, (high - centres) / scales)
            total += np.log(np.maximum(masses / inside, 1e-300))
        else:
            z = places[:, None] / scales - centres / scales
            total += -0.5 * (z * z)
            total -= np.log(scales * inside)
    largest = total.max(axis=1)
    return largest + np.log(np.exp(total - largest[:, None]).sum(axis=1))


@pytest.mark.parametrize("n", [0, 1, 2, 26, 300])
def test_a_density_has_the_bits_of_its_definition(n):
    """Among points that are far from all trials, the last bits decide which is suggested."""
    space = tune.Space(
        {
            "x": tune.Float(0.0, 1.0),
            "lr": tune.Float(1e-5, 1e-1, log=True),
            "layers": tune.Int(1, 6),
            "width": tune.Int(0, 2000),
            "rule": tune.Categorical(list("abcd")),
        }
    )
    rng = np.random.default_rng(n)
    kernels = space.snap(np.clip(0.3 + 0.4 * rng.standard_normal((n, 5)), 0.0, 1.0))
    points = space.snap(np.random.default_rng(9).random((40, 5)))
    found = parzen.Parzen(space.dimensions, kernels).log_density(points)
    assert found.tolist() == plain_log_density(space.dimensions, kernels, points).tolist()


def test_a_continuous_density_integrates_to_one():
    space = tune.Space({"x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)})
    density = parzen.Parzen(space.dimensions, points_of(space, 6))
    middle = (np.arange(400) + 0.5) / 400
    grid = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    mean = np.exp(density.log_density(grid)).mean() / (2.0 * math.pi)
    assert mean == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", [*NUMBERS, "choice", "continuous"])
def test_what_is_drawn_has_the_density(name):
    others = {"choice": tune.Categorical(list("abcd")), "continuous": tune.Float(0.0, 1.0)}
    space = tune.Space({"p": NUMBERS.get(name) or others[name]})
    density = parzen.Parzen(space.dimensions, points_of(space, 4, seed=3))
    drawn = density.draw(20_000, np.random.default_rng(1))[:, 0]
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    edges = np.linspace(0.0, 1.0, 8)
    found = np.histogram(drawn, edges)[0] / len(drawn)
    middle = (np.arange(7000) + 0.5) / 7000
    parameter = space.parameters["p"]
    if parameter.levels is None:
        weight = np.exp(density.log_density(middle[:, None]))
        places = middle
    else:
        places = parameter.unit(np.arange(parameter.levels))
        low, high = parameter.cell(np.arange(parameter.levels)) if name != "choice" else (0.0, 1.0)
        weight = np.exp(density.log_density(places[:, None]))
        if not getattr(density._factors[0], "_coarse", True):
            weight = weight * (high - low)
    expected = np.histogram(places, edges, weights=weight)[0] / weight.sum()
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_kernel_is_as_wide_as_the_distance_to_its_neighbours_within_bounds():
    assert parzen._widths(np.array([])).tolist() == []
    assert parzen._widths(np.array([0.3])).tolist() == [0.7]
    widths = parzen._widths(np.array([0.9, 0.1, 0.4, 0.41]))
    np.testing.assert_allclose(widths, [0.49, 0.3, 0.3, 0.49])
    crowd = parzen._widths(np.full(500, 0.5))
    assert set(crowd) == {parzen.NARROWEST}


def test_of_the_trials_the_newest_weigh_most():
    weights = parzen._weights(100)
    assert weights[-25:].tolist() == [1.0] * 25
    assert weights[0] == 0.01
    assert (np.diff(weights[:75]) > 0.0).all()
    assert parzen._weights(24).tolist() == [1.0] * 24


def test_the_better_trials_are_a_tenth_done_before_stopped_and_never_failed():
    space = tune.Space({"x": tune.Int(0, 999)})
    history = History(space, [-1.0])
    done = [tune.Trial(i, {"x": i}, float(v), "done") for i, v in enumerate([1, 5, 5, 2])]
    stopped = [
        tune.Trial(100 + i, {"x": 100 + i}, 9.0 - i, "stopped", values=[0.0] * steps)
        for i, steps in enumerate([1, 3, 3, 2] * 20)
    ]
    failed = [tune.Trial(500, {"x": 500}, None, "failed", "no")]
    finished = [*stopped, *failed, *done]

    def better(trials):
        history = History(space, [-1.0])
        history.read(trials)
        good, bad = history.split()
        assert len(good) + len(bad) == len(trials)
        return (space.parameters["x"].nearest(good[:, 0])).tolist()

    assert better(done) == [1]  # the first of equals
    # Nine of 84: all that are done, then those that came furthest, by value.
    assert better(finished) == [101, 102, 105, 106, 109, 0, 1, 2, 3]
    history.read(failed)
    assert history.n_results == 0


def test_parameters_under_the_same_condition_are_drawn_together():
    space = tune.Space(
        {
            "rule": tune.Categorical(["adam", "nag"]),
            "beta": tune.Float(0.0, 1.0, when={"rule": "adam"}),
            "lr": tune.Float(0.0, 1.0),
            "eps": tune.Float(0.0, 1.0, when={"rule": ["adam"]}),
            "mu": tune.Float(0.0, 1.0, when={"rule": "nag"}),
        }
    )
    assert _groups(space) == [[0, 2], [1, 3], [4]]


def test_many_worse_trials_are_thinned_evenly_but_for_the_newest():
    thinned = _worse(9000, [])
    assert len(thinned) == 500
    assert thinned[-25:].tolist() == list(range(8975, 9000))
    assert np.ptp(np.diff(thinned[:475])) <= 1.0
    assert len(_worse(500, [])) == 500


@pytest.mark.parametrize("n", [0, 7, 300, 520, 2000])
def test_better_and_worse_trials_are_those_of_a_sort_of_all(n):
    rng = np.random.default_rng(n)
    space = tune.Space({"x": tune.Int(0, 9999)})
    trials = []
    for i in range(n):
        value, state = float(rng.integers(40)), rng.choice(["done"] * 6 + ["stopped", "failed"])
        steps = [0.0] * int(rng.integers(1, 4)) if state == "stopped" else []
        trials.append(tune.Trial(i, {"x": i}, value if state != "failed" else None, state, None))
        trials[-1].values = steps
        if state == "done":
            trials[-1].constraints = [float(rng.integers(-3, 2))]
    history = History(space, [-1.0])
    history.read(trials)
    good, bad = (space.parameters["x"].nearest(part[:, 0]).tolist() for part in history.split())

    def order(trial):
        if trial.state == "stopped":
            return 1, -len(trial.values), -trial.value, trial.number
        if trial.feasible:
            return 0, 0, -trial.value, trial.number
        return 2, 0, trial.violation, trial.number

    ranked = sorted((t for t in trials if t.state != "failed"), key=order)
    better = [t.number for t in ranked[: min(math.ceil(0.1 * len(ranked)), 25)]]
    others = np.array([t.number for t in trials if t.number not in better])
    assert good == sorted(better)
    assert bad == others[_worse(len(others), [])].tolist()


def test_a_suggestion_depends_on_the_trials_alone(tmp_path):
    path = tmp_path / "study.db"
    lasting = tune.Study(SPACE, strategy="tpe", seed=3)
    for i in range(30):
        with tune.Study(SPACE, strategy="tpe", seed=3, storage=path) as study:
            trial, twin = study.ask(), lasting.ask()
            assert trial.params == twin.params
            for each, owner in ((trial, study), (twin, lasting)):
                if i % 7 == 3:
                    owner.tell(each, error="lost")
                else:
                    owner.tell(each, smooth(each.params))


def test_the_seed_and_what_is_pending_change_the_suggestion():
    def study(seed):
        study = tune.Study(SPACE, strategy="tpe", seed=seed)
        study.run(smooth, 12)
        return study

    first = suggestions(study(0), 3)
    assert first == suggestions(study(0), 3)
    assert first != suggestions(study(1), 3)
    assert len({tuple(params.items()) for params in first}) == 3


def test_pending_trials_keep_others_away():
    space = {"x": tune.Float(0.0, 1.0)}
    study = tune.Study(space, strategy="tpe", seed=0)
    study.run(lambda params: (params["x"] - 0.5) ** 2, 30)
    xs = [study.ask().params["x"] for _ in range(40)]
    # Each alone would be drawn from the density of the three best.
    assert np.ptp(xs) > 0.2


def test_a_search_with_categories_and_conditions_is_better_than_chance():
    def objective(params):
        branch = params.get("beta", 0.8) - 0.8 if params["rule"] != "sgd" else 0.5
        return abs(math.log10(params["lr"]) + 1) + params["width"] / 64 + abs(branch)

    def best(strategy, seed):
        study = tune.Study(SPACE, strategy=strategy, seed=seed)
        study.run(objective, 60)
        return study.best_value

    seeds = range(6)
    assert sum(best("tpe", s) < best("random", s) for s in seeds) >= 5


def test_trials_without_a_value_do_not_end_the_first_points():
    study = tune.Study(SPACE, strategy="tpe", seed=0)
    first = tune.Study(SPACE, strategy="tpe", seed=0)
    for _ in range(14):
        study.tell(study.ask(), error="no")
        first.ask()
    assert study.ask().params == first.ask().params


@pytest.mark.parametrize("name", ["n_initial", "n_candidates"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_tpe_refuses_a_bad_option(name, value, error):
    with pytest.raises(error, match=f"TPE: {name}"):
        tune.TPE(**{name: value})


def test_options_are_plain_integers_that_a_file_can_hold():
    made = tune.TPE(n_initial=np.int64(5))
    assert repr(made) == "TPE(n_initial=5, n_candidates=24)"
    assert type(dataclasses.astuple(made)[0]) is int


def test_a_direction_is_a_sign():
    def run(direction, sign):
        study = tune.Study(SPACE, strategy="tpe", seed=1, direction=direction)
        study.run(lambda params: sign * smooth(params), 25)
        return [trial.params for trial in study.trials]

    assert run("minimize", 1.0) == run("maximize", -1.0)
