"""FastoptSampler: Optuna's own tests of a sampler, and the same suggestions as a study of ours."""

import json
import pickle

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)
from optuna.trial import TrialState

from fastopt import tune
from fastopt.integrations.optuna import FastoptSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("strategy", ["bayes", "tpe", "sobol"])
class TestOptunasOwn(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self, strategy):
        return lambda: FastoptSampler(strategy)


# The same space twice; the names are in the order in which Optuna sorts them.
THEIRS = {
    "a_lr": FloatDistribution(1e-5, 1e-1, log=True),
    "b_rate": FloatDistribution(0.1, 0.5, step=0.1),
    "c_layers": IntDistribution(1, 9, step=2),
    "d_width": IntDistribution(8, 512, log=True),
    "e_rule": CategoricalDistribution(["adam", "nag", None]),
    "f_x": FloatDistribution(-3.0, 3.0),
}
OURS = {
    "a_lr": tune.Float(1e-5, 1e-1, log=True),
    "b_rate": tune.Float(0.1, 0.5, step=0.1),
    "c_layers": tune.Int(1, 9, step=2),
    "d_width": tune.Int(8, 512, log=True),
    "e_rule": tune.Categorical(["adam", "nag", None]),
    "f_x": tune.Float(-3.0, 3.0),
}
SQUARE = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}


def loss(params):
    bonus = {"adam": 0.0, "nag": 0.3, None: 1.0}[params["e_rule"]]
    return (params["f_x"] - 1) ** 2 + params["b_rate"] + params["c_layers"] / 9 + bonus


def by_hand(trial):
    """Suggestions as objectives usually ask for them."""
    params = {
        "f_x": trial.suggest_float("f_x", -3.0, 3.0),
        "a_lr": trial.suggest_float("a_lr", 1e-5, 1e-1, log=True),
        "b_rate": trial.suggest_float("b_rate", 0.1, 0.5, step=0.1),
        "c_layers": trial.suggest_int("c_layers", 1, 9, step=2),
        "d_width": trial.suggest_int("d_width", 8, 512, log=True),
        "e_rule": trial.suggest_categorical("e_rule", ["adam", "nag", None]),
    }
    return loss(params)


def points(study):
    return [dict(sorted(trial.params.items())) for trial in study.trials]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_bayes_suggests_what_a_study_of_ours_suggests(direction):
    ours = tune.Study(OURS, seed=5, direction=direction)
    ours.run(loss, n_trials=14)
    theirs = optuna.create_study(sampler=FastoptSampler(seed=5), direction=direction)
    theirs.optimize(by_hand, n_trials=14)
    assert points(theirs) == points(ours)
    assert theirs.best_value == ours.best.value


@pytest.mark.parametrize("strategy", ["random", "sobol", "bayes", "tpe", "grid"])
def test_every_strategy_suggests_the_same_when_the_space_is_given(strategy):
    theirs, ours = dict(THEIRS), dict(OURS)
    if strategy == "grid":
        for name in ("a_lr", "f_x", "d_width"):
            del theirs[name], ours[name]
    ours = tune.Study(ours, seed=2, strategy=strategy)
    sampler = FastoptSampler(strategy, seed=2, search_space=theirs)
    study = optuna.create_study(sampler=sampler)
    for _ in range(14):
        expected, trial = ours.ask(), study.ask(theirs)
        assert trial.params == expected.params
        ours.tell(expected, expected.params["b_rate"])
        study.tell(trial, trial.params["b_rate"])


def test_failed_pruned_and_infinite_trials_count_as_in_a_study_of_ours():
    space = {"x": FloatDistribution(-1.0, 1.0), "y": FloatDistribution(-1.0, 1.0)}
    ours = tune.Study({"x": tune.Float(-1.0, 1.0), "y": tune.Float(-1.0, 1.0)}, seed=0)
    study = optuna.create_study(sampler=FastoptSampler(seed=0, search_space=space))
    for i in range(10):
        expected, trial = ours.ask(), study.ask(space)
        assert trial.params == expected.params
        value = expected.params["x"] ** 2 + expected.params["y"]
        if i == 2:
            ours.tell(expected, error="crashed")
            study.tell(trial, state=TrialState.FAIL)
        elif i == 3:
            ours.tell(expected, float("inf"))
            study.tell(trial, float("inf"))
        elif i == 4:
            # No other trial reported as often, so the stopped one counts with its best value.
            ours.tell(expected, value)
            trial.report(value, step=3)
            trial.report(9.0, step=1)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            ours.tell(expected, value)
            study.tell(trial, value)


@pytest.mark.parametrize("end", ["failed", "infinite", "pruned"])
def test_trials_without_a_result_are_worse_than_all_others_for_tpe(end):
    """A pruned trial as well, although what it reported is better than any result."""
    ours = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="tpe", seed=0)
    space = {"x": FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(sampler=FastoptSampler("tpe", seed=0, search_space=space))
    for i in range(30):
        expected, trial = ours.ask(), study.ask(space)
        assert trial.params == expected.params
        value = expected.params["x"]
        if i % 3 == 1:
            trial.report(-1.0, step=0)
            if end == "failed":
                ours.tell(expected, error="crashed")
                study.tell(trial, state=TrialState.FAIL)
            elif end == "infinite":
                ours.tell(expected, float("inf"))
                study.tell(trial, float("inf"))
            else:
                ours.tell(expected, 1e6)
                study.tell(trial, state=TrialState.PRUNED)
        else:
            ours.tell(expected, value)
            study.tell(trial, value)


def test_study_that_is_resumed_from_a_storage_goes_on_as_if_never_stopped(tmp_path):
    def run(url, n_trials):
        study = optuna.create_study(
            storage=url, study_name="s", load_if_exists=True, sampler=FastoptSampler(seed=1)
        )
        study.optimize(by_hand, n_trials=n_trials)
        return study

    whole = run(f"sqlite:///{tmp_path}/whole.db", 12)
    run(f"sqlite:///{tmp_path}/parts.db", 8)
    parts = run(f"sqlite:///{tmp_path}/parts.db", 4)
    assert points(parts) == points(whole)


def test_space_that_is_used_up_is_drawn_from_again():
    study = optuna.create_study(sampler=FastoptSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_int("n", 0, 2), n_trials=9)
    assert {trial.params["n"] for trial in study.trials[:3]} == {0, 1, 2}
    assert len(study.trials) == 9


def test_first_trial_of_a_bayesian_search_is_the_centre():
    study = optuna.create_study(sampler=FastoptSampler(seed=0))
    study.optimize(by_hand, n_trials=1)
    centre = tune.Space(OURS).decode([0.5] * 6)
    assert dict(sorted(study.trials[0].params.items())) == centre


def test_reseeding_reaches_the_independent_sampler_alone():
    def draws(reseed):
        sampler = FastoptSampler(
            "sobol",
            seed=0,
            search_space={"x": FloatDistribution(0, 1)},
            independent_sampler=optuna.samplers.RandomSampler(seed=0),
        )
        study = optuna.create_study(sampler=sampler)
        if reseed:
            sampler.reseed_rng()
        trial = study.ask()
        return trial.suggest_float("x", 0, 1), trial.suggest_float("other", 0, 1)

    assert draws(False) == draws(False)
    assert draws(False)[0] == draws(True)[0]
    assert draws(False)[1] != draws(True)[1]


def suggested(study):
    """What the relative sampling gave, whatever the objective made of it."""
    return [
        tuple(sorted(json.loads(trial.system_attrs["fastopt:params:0"]).items()))
        for trial in study.trials
    ]


@pytest.mark.parametrize("strategy", ["bayes", "sobol", "random"])
@pytest.mark.parametrize("end", [RuntimeError, optuna.TrialPruned])
def test_trial_that_ends_before_its_last_parameter_is_not_suggested_again(strategy, end):
    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        if trial.number % 4:
            raise end
        return x + trial.suggest_float("y", 0.0, 1.0)

    sampler = FastoptSampler(strategy, seed=0, search_space=SQUARE)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=20, catch=RuntimeError)
    assert len(set(suggested(study))) == 20


@pytest.mark.parametrize("strategy", ["bayes", "sobol", "random"])
def test_conditional_objective_gets_different_points_and_teaches_the_strategy(strategy):
    def objective(trial):
        if trial.suggest_categorical("rule", ["sgd", "nag"]) == "sgd":
            return 1 + trial.suggest_float("x", 0.0, 1.0)
        return trial.suggest_float("y", 0.0, 1.0)

    space = {**SQUARE, "rule": CategoricalDistribution(["sgd", "nag"])}
    study = optuna.create_study(sampler=FastoptSampler(strategy, seed=0, search_space=space))
    study.optimize(objective, n_trials=20)
    assert len(set(suggested(study))) == 20
    if strategy == "bayes":
        assert study.best_value < 0.01


@pytest.mark.parametrize("strategy", ["bayes", "sobol", "random"])
@pytest.mark.parametrize("asked", [{"high": 0.25}, {"high": 1.0, "step": 0.25}])
def test_objective_with_another_range_or_step_gets_different_points(strategy, asked):
    study = optuna.create_study(
        sampler=FastoptSampler(strategy, seed=0, search_space=SQUARE),
    )
    with pytest.warns(UserWarning, match="search_space: the objective asks for 'x' as"):
        study.optimize(
            lambda trial: trial.suggest_float("x", 0.0, **asked) + trial.suggest_float("y", 0, 1),
            n_trials=20,
        )
    assert len(set(suggested(study))) == 20


def test_results_from_another_range_count_where_they_lie_in_the_space():
    sampler = FastoptSampler(seed=0, search_space={"x": FloatDistribution(0.0, 1.0)})
    study = optuna.create_study(sampler=sampler)
    for x in (0.1, 0.35, 0.45, 0.5, 0.8, 1.7):
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": x}, distributions={"x": FloatDistribution(0, 2)}, value=(x - 0.4) ** 2
            )
        )
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.4) ** 2, n_trials=2)
    # Without them the first suggestion would be the centre.
    assert all(abs(trial.params["x"] - 0.4) < 0.02 for trial in study.trials[-2:])


@pytest.mark.parametrize("strategy", ["bayes", "sobol"])
def test_pruned_trial_takes_no_parameter_out_of_the_space(strategy):
    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        if trial.number == 2:
            raise optuna.TrialPruned
        return x + trial.suggest_float("y", 0.0, 1.0)

    study = optuna.create_study(sampler=FastoptSampler(strategy, seed=0))
    study.optimize(objective, n_trials=5)
    assert study.ask().relative_params.keys() == {"x", "y"}


def test_enqueued_point_is_known_and_costs_the_strategy_none_of_its_own():
    sampler = FastoptSampler("grid", search_space={"n": IntDistribution(0, 4)})
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"n": 3})
    study.optimize(lambda trial: trial.suggest_int("n", 0, 4), n_trials=5)
    assert [trial.params["n"] for trial in study.trials] == [3, 0, 1, 2, 4]


def test_names_that_the_objective_never_asks_for_are_warned_of_once():
    sampler = FastoptSampler("sobol", seed=0, search_space=SQUARE)
    study = optuna.create_study(sampler=sampler)
    with pytest.warns(UserWarning, match=r"search_space: .* asks for 'z', not for 'y'") as caught:
        study.optimize(
            lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("z", 0, 1),
            n_trials=5,
        )
    assert len(caught) == 1
    assert len(set(suggested(study))) == 5


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_used_up_grid_ends_the_study(n_jobs):
    space = {"n": IntDistribution(0, 2), "m": IntDistribution(0, 1)}
    study = optuna.create_study(sampler=FastoptSampler("grid", search_space=space))
    study.optimize(
        lambda trial: trial.suggest_int("n", 0, 2) + trial.suggest_int("m", 0, 1),
        n_trials=40,
        n_jobs=n_jobs,
    )
    drawn = {tuple(point.items()) for point in points(study)}
    assert len(drawn) == 6
    # a second thread may ask before the last point is known
    assert len(study.trials) <= 5 + n_jobs


def test_used_up_grid_of_an_inferred_space_ends_the_study():
    study = optuna.create_study(sampler=FastoptSampler("grid", seed=0))
    study.optimize(lambda trial: trial.suggest_int("n", 0, 4), n_trials=40)
    assert sorted(trial.params["n"] for trial in study.trials) == list(range(5))


def test_grid_that_is_used_up_ends_a_resumed_study_after_one_trial():
    space = {"n": IntDistribution(0, 2)}
    study = optuna.create_study(sampler=FastoptSampler("grid", search_space=space))
    for _ in range(2):
        study.optimize(lambda trial: trial.suggest_int("n", 0, 2), n_trials=40)
    assert len(study.trials) == 4


def test_search_that_expects_too_little_ends_the_study_where_ours_ends():
    strategy = tune.Bayes(min_improvement=1e-3)

    def objective(params):
        return (params["x"] - 0.3) ** 2

    ours = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy=strategy, seed=0)
    ours.run(objective, n_trials=60)
    study = optuna.create_study(sampler=FastoptSampler(strategy, seed=0))
    study.optimize(lambda trial: objective({"x": trial.suggest_float("x", 0, 1)}), n_trials=60)
    assert len(study.trials) < 60
    assert points(study) == points(ours)
    # If asked all the same, the sampler gives its best suggestion.
    asked = study.ask()
    assert asked.relative_params.keys() == {"x"}


def test_integers_beyond_ours_are_sampled_independently():
    def objective(trial):
        return trial.suggest_float("x", 0, 1) + trial.suggest_int("seed", 0, 2**63 - 1) * 0

    study = optuna.create_study(sampler=FastoptSampler(seed=0))
    study.optimize(objective, n_trials=8)
    assert len({trial.params["seed"] for trial in study.trials}) == 8
    assert study.ask().relative_params.keys() == {"x"}


@pytest.mark.skipif(
    not hasattr(optuna.Trial, "set_constraint"), reason="Optuna 5 brings Trial.set_constraint"
)
def test_constraint_is_refused_by_name():
    def objective(trial):
        trial.set_constraint("memory", 1.0)
        return trial.suggest_float("x", 0, 1)

    study = optuna.create_study(sampler=FastoptSampler(seed=0))
    with pytest.raises(NotImplementedError, match="constraints into account, and trial 0 has set"):
        study.optimize(objective, n_trials=3)


@pytest.mark.parametrize("known", [False, True])
def test_grid_over_a_float_says_what_to_do(known):
    space = {"x": FloatDistribution(0.0, 1.0)}

    def run(strategy):
        sampler = FastoptSampler(strategy, search_space=space if known else None)
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=9)
        return {trial.params["x"] for trial in study.trials}

    with pytest.raises(ValueError, match=r"'x' is a Float .* FastoptSampler\(tune.Grid\(points=5"):
        run("grid")
    # and what it says works
    assert run(tune.Grid(points=5)) >= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_sampler_is_pickled_and_suggests_the_same():
    study = optuna.create_study(sampler=FastoptSampler(seed=3))
    study.optimize(by_hand, n_trials=6)
    again = pickle.loads(pickle.dumps(study))
    for each in (study, again):
        each.optimize(by_hand, n_trials=3)
    assert points(again) == points(study)


def test_one_sampler_may_serve_two_studies():
    sampler = FastoptSampler("bayes", seed=0, search_space=THEIRS)
    alone = optuna.create_study(sampler=FastoptSampler("bayes", seed=0, search_space=THEIRS))
    first = optuna.create_study(sampler=sampler)
    second = optuna.create_study(sampler=sampler)
    first.optimize(lambda trial: -by_hand(trial), n_trials=9)
    second.optimize(by_hand, n_trials=9)
    alone.optimize(by_hand, n_trials=9)
    assert points(second) == points(alone)
    assert points(first) != points(second)


def test_pruners_work():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        for step in range(3):
            trial.report(x, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    study = optuna.create_study(
        sampler=FastoptSampler(seed=0), pruner=optuna.pruners.MedianPruner(n_startup_trials=3)
    )
    study.optimize(objective, n_trials=15)
    states = [trial.state for trial in study.trials]
    assert TrialState.PRUNED in states
    assert study.best_value < 0.02


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
        ({"strategy": "best"}, ValueError, "strategy must be one of"),
        ({"search_space": {"x": (0, 1)}}, TypeError, r"'x' must be a distribution of Optuna, got"),
    ],
)
def test_wrong_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        FastoptSampler(**options)
