"""FastoptSampler and objectives that ask for some parameters only under a condition."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from fastopt import tune
from fastopt.integrations.optuna import FastoptSampler
from fastopt.integrations.optuna.taken import Read, Taken

optuna.logging.set_verbosity(optuna.logging.WARNING)

UNIT = FloatDistribution(0.0, 1.0)
RULE = CategoricalDistribution(["adam", "sgd"])


def branches(trial):
    """The best beta is at a bound, so a search tends to repeat exactly this value."""
    if trial.suggest_categorical("rule", ["adam", "sgd"]) == "adam":
        return trial.suggest_float("beta", 0.0, 1.0)
    return trial.suggest_float("mu", 0.0, 1.0) + 0.5


def counted(trial):
    n = trial.suggest_int("n", 1, 4)
    return sum((trial.suggest_float(f"w{i}", 0.0, 1.0) - 0.2 * i) ** 2 for i in range(n))


def steps(trial):
    if trial.suggest_categorical("rule", ["adam", "sgd"]) == "adam":
        return (trial.suggest_int("k", 1, 30) - 9) ** 2
    return (trial.suggest_float("m", 0.0, 3.0, step=0.1) - 0.7) ** 2 + 0.01


def threshold(trial):
    """The condition is on a number, and one of two parameters is read before the other."""
    x = trial.suggest_int("x", 1, 10)
    return x + trial.suggest_int("k", 1, 10) if x > 5 else x


SPACES = {
    branches: {"rule": RULE, "beta": UNIT, "mu": UNIT},
    counted: {"n": IntDistribution(1, 4), **{f"w{i}": UNIT for i in range(4)}},
    steps: {
        "rule": RULE,
        "k": IntDistribution(1, 30),
        "m": FloatDistribution(0.0, 3.0, step=0.1),
    },
    threshold: {"x": IntDistribution(1, 10), "k": IntDistribution(1, 10)},
}


def read(study):
    return [tuple(sorted(trial.params.items())) for trial in study.trials]


@pytest.mark.parametrize("known", [True, False], ids=["known", "by run"])
@pytest.mark.parametrize("objective", SPACES)
@pytest.mark.parametrize("strategy", ["bayes", "tpe"])
def test_no_trial_reads_what_another_one_has_read(strategy, objective, known):
    space = SPACES[objective] if known else None
    study = optuna.create_study(sampler=FastoptSampler(strategy, seed=0, search_space=space))
    study.optimize(objective, n_trials=40)
    assert len(set(read(study))) == 40


@pytest.mark.parametrize("known", [True, False], ids=["known", "by run"])
def test_what_can_be_read_is_all_read_before_anything_is_read_again(known):
    """There are five values of x alone, and five with ten of k. A new sampler goes on likewise."""
    space = SPACES[threshold] if known else None
    study = optuna.create_study(sampler=FastoptSampler("random", seed=0, search_space=space))
    study.optimize(threshold, n_trials=30)
    study.sampler = FastoptSampler("random", seed=0, search_space=space)
    study.optimize(threshold, n_trials=40)
    assert len(set(read(study)[:55])) == 55
    assert len(study.trials) == 70


def test_objective_that_never_reads_a_number_repeats_itself_only_when_it_has_to():
    space = {"n": IntDistribution(0, 4), "never": UNIT}
    study = optuna.create_study(sampler=FastoptSampler("sobol", seed=0, search_space=space))
    study.optimize(lambda trial: trial.suggest_int("n", 0, 4), n_trials=9)
    assert {trial.params["n"] for trial in study.trials[:5]} == {0, 1, 2, 3, 4}


def test_grid_ends_when_all_that_is_read_has_been_read():
    sampler = FastoptSampler("grid", search_space=SPACES[threshold])
    study = optuna.create_study(sampler=sampler)
    study.optimize(threshold, n_trials=200)
    assert len(study.trials) == len(set(read(study))) == 55


def test_early_end_without_a_value_closes_nothing():
    def objective(trial):
        rule = trial.suggest_categorical("rule", ["adam", "sgd"])
        if trial.number < 6:
            raise optuna.TrialPruned
        return trial.suggest_float("beta" if rule == "adam" else "mu", 0.0, 1.0)

    study = optuna.create_study(
        sampler=FastoptSampler("sobol", seed=0, search_space=SPACES[branches])
    )
    study.optimize(objective, n_trials=12)
    assert {trial.params["rule"] for trial in study.trials[6:]} == {"adam", "sgd"}


def test_objective_that_reads_on_where_it_once_ended_opens_the_place_again():
    space = tune.Space({"n": tune.Int(0, 1), "x": tune.Float(0.0, 1.0)})
    taken = Taken(space)
    short = Read(0, (0, 0.5), places=(0,), ended=True)
    taken.add_read([short])
    assert (0, 0.7) in taken
    taken = Taken(space)
    taken.add_read([short, Read(1, (0, 0.2), places=(0, 1), ended=True)])
    assert (0, 0.7) not in taken
    assert (0, 0.2) in taken


def test_results_of_an_older_objective_close_nothing():
    """They have fewer parameters, and were not suggested in this space."""
    study = optuna.create_study(sampler=FastoptSampler(seed=0, search_space=SPACES[threshold]))
    for x in range(1, 11):
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": x}, distributions={"x": IntDistribution(1, 10)}, value=x
            )
        )
    study.optimize(lambda trial: trial.suggest_int("x", 1, 10) + trial.suggest_int("k", 1, 10), 5)
    assert len({trial.params["k"] for trial in study.trials[10:]}) > 1


def test_running_trial_is_not_repeated_by_another_one():
    study = optuna.create_study(sampler=FastoptSampler("random", seed=0))
    study.optimize(steps, n_trials=6)
    assert len({trial.params["rule"] for trial in study.trials}) == 2
    running = [study.ask() for _ in range(24)]
    for trial in running:
        steps(trial)
    assert {trial.state for trial in study.trials[6:]} == {TrialState.RUNNING}
    assert len(set(read(study))) == 30


def test_objective_that_fails_before_it_has_asked_for_all_is_not_asked_again_there():
    """Suggestions that differ only in what it has not asked for would fail in the same way."""

    def narrow(trial):
        x = trial.suggest_float("x", -1.0, 1.0)
        if x < 0.5:
            raise ArithmeticError
        return (x - 0.3) ** 2 + trial.suggest_float("y", -1.0, 1.0) ** 2

    for seed in range(3):
        study = optuna.create_study(sampler=FastoptSampler(seed=seed))
        study.optimize(narrow, n_trials=20, catch=ArithmeticError)
        failed = [trial.params["x"] for trial in study.trials if "y" not in trial.params]
        assert 5 < len(failed) == len(set(failed)) < 15


def test_failure_closes_the_number_that_was_read_but_no_choice():
    space = tune.Space({"n": tune.Int(0, 1), "x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)})
    taken = Taken(space)
    early = Read(0, (0, 0.5, 0.5), places=(0,), ended=False, failed=True)
    taken.add_read([early, Read(1, (1, 0.3, 0.5), places=(0, 1), ended=False, failed=True)])
    assert (0, 0.7, 0.7) not in taken
    assert (1, 0.3, 0.7) in taken
    assert (1, 0.31, 0.5) not in taken
    taken = Taken(space)
    pruned = Read(1, (1, 0.3, 0.5), places=(0, 1), ended=False)
    taken.add_read([early, pruned])
    assert (1, 0.3, 0.7) not in taken
