"""What every strategy keeps, and the strategies that ignore results."""

import numpy as np
import pytest
import scipy.stats
from tune_objectives import SEQUENCES, SMALL, SPACE, STRATEGIES, smooth

from fastopt import tune


def ask_all(study):
    """Points until the space is used up; half of the trials are told only later."""
    points = []
    while True:
        try:
            trial = study.ask()
        except tune.SpaceExhausted:
            return points
        points.append(study.space.key(trial.params))
        if trial.number % 2:
            study.tell(trial, 0.0)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_finite_space_is_covered_without_a_repeat(strategy):
    points = ask_all(tune.Study(SMALL, strategy=strategy))
    assert len(points) == len(set(points)) == 20


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_constraint_is_honoured_by_every_suggestion(strategy):
    space = {"a": tune.Int(0, 9), "b": tune.Int(0, 9)}
    study = tune.Study(space, strategy=strategy, constraint=lambda p: p["a"] <= p["b"])
    points = ask_all(study)
    assert len(points) == len(set(points)) == 55
    assert all(trial.params["a"] <= trial.params["b"] for trial in study.trials)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_an_error_of_the_constraint_does_not_use_up_the_space(strategy):
    broken = False

    def constraint(params):
        if broken:
            raise ZeroDivisionError
        return True

    study = tune.Study(SMALL, strategy=strategy, constraint=constraint)
    study.tell(study.ask(), 0.0)
    broken = True
    with pytest.raises(ZeroDivisionError):
        study.ask()
    broken = False
    assert len(ask_all(study)) == 19


# Of the slowest, test_bayes.py asks as often without a study.
ONE_IS_SLOW = [
    pytest.param(strategy, marks=[pytest.mark.slow] if strategy == "bayes" else [])
    for strategy in STRATEGIES
]


@pytest.mark.parametrize("strategy", ONE_IS_SLOW, ids=str)
def test_a_thousand_asks_bring_no_duplicate(strategy):
    space = {"a": tune.Int(1, 40), "b": tune.Int(1, 1000, log=True)}
    study = tune.Study(space, strategy=strategy)
    keys = {study.space.key(study.ask().params) for _ in range(1000)}
    assert len(keys) == 1000


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_enqueued_points_are_not_suggested_again(strategy):
    study = tune.Study(SMALL, strategy=strategy)
    mine = [{"a": 0, "b": "x"}, {"a": 3, "b": "w"}]
    for params in mine:
        study.enqueue(params)
    assert [study.ask().params for _ in mine] == mine
    assert len(set(ask_all(study))) == 18


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_the_initial_values_come_first(strategy):
    space = {"lr": tune.Float(1e-4, 1e-2, log=True), "n": tune.Int(1, 9, initial=2)}
    first = tune.Study(space, strategy=strategy).ask().params
    assert first == {"lr": pytest.approx(1e-3), "n": 2}


@pytest.mark.parametrize("strategy", SEQUENCES, ids=str)
def test_results_and_their_order_do_not_matter_to_a_sequence(strategy):
    patient = tune.Study(SPACE, strategy=strategy, seed=5)
    hasty = tune.Study(SPACE, strategy=strategy, seed=5)
    expected = []
    for _ in range(20):
        trial = patient.ask()
        patient.tell(trial, smooth(trial.params))
        expected.append(trial.params)
    assert [hasty.ask().params for _ in range(20)] == expected


@pytest.mark.parametrize("strategy", ["random", "sobol"])
def test_the_seed_decides(strategy):
    def points(seed):
        study = tune.Study(SPACE, strategy=strategy, seed=seed)
        return [study.ask().params for _ in range(5)]

    assert points(1) == points(1)
    assert points(1) != points(2)


def test_grid_of_floats_takes_evenly_spaced_points_with_both_bounds():
    space = {"x": tune.Float(1e-4, 1.0, log=True), "y": tune.Float(-1.0, 1.0)}
    study = tune.Study(space, strategy=tune.Grid(points={"x": 5, "y": 3}))
    study.run(lambda params: 0.0)
    xs = sorted({trial.params["x"] for trial in study.trials})
    assert xs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert (xs[0], xs[-1]) == (1e-4, 1.0)
    assert sorted({trial.params["y"] for trial in study.trials}) == [-1.0, 0.0, 1.0]
    assert len(study.trials) == 15


def test_grid_of_one_point_takes_the_middle():
    study = tune.Study({"x": tune.Float(0.0, 4.0)}, strategy=tune.Grid(points=1))
    assert study.ask().params == {"x": 2.0}


@pytest.mark.parametrize(
    ("strategy", "error", "words"),
    [
        ("grid", ValueError, ["'lr'", "Grid(points=n)"]),
        (tune.Grid(points={"lr": 3}), ValueError, ["'beta'", "Grid(points=n)"]),
        (tune.Grid(points={"lr": 3, "beta": 2, "width": 2}), ValueError, ["'width'"]),
        ("annealing", ValueError, ["'grid', 'random', 'sobol', 'bayes'", "'annealing'"]),
        (7, TypeError, ["ask", "7"]),
    ],
)
def test_a_strategy_that_cannot_search_the_space_is_refused_before_trial_1(strategy, error, words):
    with pytest.raises(error) as caught:
        tune.Study(SPACE, strategy=strategy)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("points", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)]
)
def test_grid_refuses_a_bad_number_of_points(points, error):
    with pytest.raises(error, match="points"):
        tune.Grid(points=points)


def test_numbers_of_numpy_are_options_like_those_of_python():
    assert repr(tune.Grid(points=np.int64(3))) == repr(tune.Grid(points=3))
    assert repr(tune.Grid(points={"x": np.int64(3)})) == repr(tune.Grid(points={"x": 3}))
    options = {"n_initial": 5, "deterministic": True, "min_improvement": 0.5}
    types = {"n_initial": np.int32, "deterministic": np.bool_, "min_improvement": np.float32}
    numpy = {name: types[name](value) for name, value in options.items()}
    assert repr(tune.Bayes(**numpy)) == repr(tune.Bayes(**options))
    assert repr(tune.Median(np.int64(2), epochs=np.int8(3))) == repr(tune.Median(2, epochs=3))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"trials": "x"}, TypeError),
        ({"trials": 2.5}, TypeError),
        ({"trials": 0}, ValueError),
        ({"epochs": -1}, ValueError),
        ({"epochs": True}, TypeError),
    ],
)
def test_median_refuses_wrong_options_when_it_is_made(options, error):
    with pytest.raises(error, match=f"Median: {next(iter(options))}"):
        tune.Median(**options)


def test_random_draws_from_a_distribution():
    study = tune.Study({"x": tune.Float(scipy.stats.norm(3.0, 0.5))}, strategy="random", seed=1)
    values = [study.ask().params["x"] for _ in range(1000)]
    assert scipy.stats.kstest(values, scipy.stats.norm(3.0, 0.5).cdf).pvalue > 0.01


def test_random_is_uniform_over_integers():
    space = {"n": tune.Int(1, 10), "x": tune.Float(0.0, 1.0)}
    study = tune.Study(space, strategy="random", seed=1)
    counts = np.bincount([study.ask().params["n"] for _ in range(2000)])[1:]
    assert scipy.stats.chisquare(counts).pvalue > 0.01


def test_sobol_fills_more_evenly_than_random():
    def discrepancy(strategy):
        space = {name: tune.Float(0.0, 1.0) for name in "abc"}
        study = tune.Study(space, strategy=strategy, seed=0)
        return scipy.stats.qmc.discrepancy([list(study.ask().params.values()) for _ in range(256)])

    assert discrepancy("sobol") < 0.2 * discrepancy("random")


@pytest.mark.parametrize("strategy", ["bayes", "tpe", "sobol", "random", tune.Grid(points=3)])
def test_bounds_with_few_floats_between_them_are_used_up(strategy):
    """The error does not mention a constraint, since there is none."""
    study = tune.Study({"x": tune.Float(0.0, 5e-324)}, strategy=strategy, seed=0)
    study.run(lambda params: 1.0, n_trials=4)
    assert sorted(trial.params["x"] for trial in study.trials) == [0.0, 5e-324]
    with pytest.raises(tune.SpaceExhausted) as caught:
        study.ask()
    assert "constraint" not in str(caught.value)


def test_an_impossible_constraint_ends_the_search():
    never = tune.Study(SMALL, strategy="sobol", constraint=lambda params: False)
    with pytest.raises(tune.SpaceExhausted):
        never.ask()
    space = {"x": tune.Float(0.0, 1.0)}
    with pytest.raises(ValueError, match="constraint"):
        tune.Study(space, strategy="random", constraint=lambda params: False).ask()


class Halving:
    """A user's own strategy with a memory: half of the best so far."""

    def __init__(self):
        self.best = (float("inf"), 8.0)

    def __repr__(self):
        return "Halving()"

    def tell(self, view, trial):
        if trial.state == "done":
            self.best = min(self.best, (trial.value, trial.params["x"]))

    def ask(self, view):
        return {"x": self.best[1] / 2}


def test_any_object_with_ask_and_tell_is_a_strategy(tmp_path):
    space = {"x": tune.Float(0.0, 8.0)}
    path = tmp_path / "study.db"
    study = tune.Study(space, strategy=Halving(), storage=path)
    study.run(lambda params: params["x"], 3)
    study.close()
    # A resumed study tells a fresh strategy everything before it asks.
    study = tune.Study(space, strategy=Halving(), storage=path)
    study.run(lambda params: params["x"], 2)
    assert [trial.params["x"] for trial in study.trials] == [4.0, 2.0, 1.0, 0.5, 0.25]


def test_a_strategy_outside_of_the_space_or_the_constraint_is_an_error():
    class Wild(Halving):
        def ask(self, view):
            return {"x": 9.0}

    with pytest.raises(ValueError, match=r"'x'.*9\.0"):
        tune.Study({"x": tune.Float(0.0, 8.0)}, strategy=Wild()).ask()
    study = tune.Study(
        {"x": tune.Float(0.0, 8.0)}, strategy=Halving(), constraint=lambda params: params["x"] > 5
    )
    with pytest.raises(ValueError, match="constraint"):
        study.ask()
    assert study.trials == []


@pytest.mark.parametrize("verdict", [0.5, 1, 0, None, "yes"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_constraint_that_says_neither_true_nor_false_is_refused(strategy, verdict):
    study = tune.Study(SMALL, strategy=strategy, constraint=lambda params: verdict)
    for call in (study.ask, lambda: study.enqueue({"a": 1, "b": "x"})):
        with pytest.raises(TypeError, match=f"constraint returns must be a bool, got {verdict!r}"):
            call()
    assert study.trials == []


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_constraint_may_change_what_it_gets(strategy):
    def small(params):
        params["layers"].append(10)
        return params.pop("n") < 3

    space = {"layers": tune.Categorical([[8], [8, 8]]), "n": tune.Int(0, 9)}
    study = tune.Study(space, strategy=strategy, constraint=small)
    study.enqueue({"layers": [8], "n": 0})
    study.run(lambda params: len(params["layers"]) + params["n"])
    assert study.space.parameters["layers"].choices == ([8], [8, 8])
    points = {(len(trial.params["layers"]), trial.params["n"]) for trial in study.trials}
    assert points == {(length, n) for length in (1, 2) for n in range(3)}


def test_a_constraint_may_return_a_bool_of_numpy():
    study = tune.Study(SMALL, strategy="grid", constraint=lambda p: np.int64(p["a"]) > 3)
    study.run(lambda params: 0.0)
    assert {trial.params["a"] for trial in study.trials} == {4}
