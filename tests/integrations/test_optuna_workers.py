"""FastoptSampler in several workers, threads and processes: no point is drawn twice."""

import multiprocessing
import threading

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from test_optuna import SQUARE, points

from fastopt.integrations.optuna import FastoptSampler
from fastopt.integrations.optuna import sampler as sampler_module


def test_running_trials_are_not_repeated_even_before_their_parameters_are_read(tmp_path):
    storage = f"sqlite:///{tmp_path}/shared.db"
    space = {"n": IntDistribution(0, 11)}
    workers = [
        optuna.create_study(
            storage=storage,
            study_name="s",
            load_if_exists=True,
            sampler=FastoptSampler(strategy, seed=0, search_space=space),
        )
        for strategy in ("bayes", "bayes", "sobol")
    ]
    trials = []
    for i in range(12):
        trial = workers[i % 3].ask()
        assert trial.relative_params  # drawn, while the objective has asked for nothing yet
        trials.append(trial)
    assert sorted(trial.suggest_int("n", 0, 11) for trial in trials) == list(range(12))


def test_threads_of_optuna_get_different_points():
    space = {"n": IntDistribution(0, 39)}
    together = threading.Barrier(2, timeout=20)

    def objective(trial):
        n = trial.suggest_int("n", 0, 39)
        together.wait()
        return (n - 20) ** 2

    study = optuna.create_study(sampler=FastoptSampler(seed=0, search_space=space))
    study.optimize(objective, n_trials=30, n_jobs=2)
    assert len({trial.params["n"] for trial in study.trials}) == 30


def square(trial):
    return trial.suggest_float("x", 0.0, 1.0) ** 2 + trial.suggest_float("y", 0.0, 1.0)


SPACES = {"bayes": SQUARE, "sobol": None}


def work(storage, n_trials):
    """One worker's process, which takes longer to start than to draw: a study of each strategy."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for strategy, space in SPACES.items():
        sampler = FastoptSampler(strategy, seed=0, search_space=space)
        optuna.load_study(study_name=strategy, storage=storage, sampler=sampler).optimize(
            square, n_trials=n_trials
        )


def test_processes_that_share_a_storage_and_a_seed_draw_different_points(tmp_path):
    storage = f"sqlite:///{tmp_path}/shared.db"
    studies = [optuna.create_study(study_name=name, storage=storage) for name in SPACES]
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(storage, 10)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    for study in studies:
        drawn = points(study)
        assert len({tuple(point.items()) for point in drawn}) == len(drawn) == 40


def at_once(samplers):
    """The points of workers whose trials begin before any of them has read the storage."""
    study = optuna.create_study()
    started = [study._storage.create_new_trial(study._study_id) for _ in samplers]
    drawn = []
    for sampler, trial_id in reversed(list(zip(samplers, started, strict=True))):
        study.sampler = sampler
        trial = optuna.Trial(study, trial_id)
        drawn.append((trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)))
    return drawn[::-1]


@pytest.mark.parametrize("strategy", ["bayes", "sobol", "random"])
def test_points_of_trials_that_begin_at_once_are_those_of_one_worker_in_turn(strategy):
    def sampler():
        return FastoptSampler(strategy, seed=0, search_space=SQUARE)

    one = optuna.create_study(sampler=sampler())
    asked = [one.ask(SQUARE) for _ in range(4)]
    expected = [(trial.params["x"], trial.params["y"]) for trial in asked]
    assert at_once([sampler() for _ in range(4)]) == expected


def test_independent_draws_of_workers_with_one_seed_differ():
    drawn = at_once([FastoptSampler("random", seed=0) for _ in range(4)])
    assert len(set(drawn)) == 4


def test_worker_that_meets_another_ones_point_draws_again(monkeypatch):
    """The other one writes between our reading of the storage and our writing to it."""
    ours = FastoptSampler("sobol", seed=0, search_space=SQUARE)
    study = optuna.create_study(sampler=ours)
    first = study.ask()
    first_point = first.relative_params
    second_id = study._storage.create_new_trial(study._study_id)
    write, draws = sampler_module.write_suggestion, []

    def late(study, trial, params):
        if not draws:
            write(study, study._storage.get_trial(second_id), params)
        draws.append(params)
        write(study, trial, params)

    monkeypatch.setattr(sampler_module, "write_suggestion", late)
    third = study.ask().relative_params
    assert len(draws) == 2
    assert third == draws[1] != draws[0]
    assert first_point not in draws


def test_dead_worker_holds_no_point_back():
    study = optuna.create_study(
        sampler=FastoptSampler("grid", seed=0, search_space={"n": IntDistribution(0, 4)})
    )
    dead = study._storage.create_new_trial(study._study_id)
    assert study._storage.get_trial(dead).state == TrialState.RUNNING
    study.optimize(lambda trial: trial.suggest_int("n", 0, 4), n_trials=5)
    assert {trial.params["n"] for trial in study.trials[1:]} == set(range(5))


@pytest.mark.parametrize("space", [SQUARE, None], ids=["known", "inferred"])
@pytest.mark.parametrize("strategy", ["bayes", "sobol", "random"])
def test_brackets_of_hyperband_do_not_repeat_each_other(strategy, space):
    def objective(trial):
        value = square(trial)
        for step in range(9):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        study_name="hyperband",
        sampler=FastoptSampler(strategy, seed=0, search_space=space),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9),
    )
    study.optimize(objective, n_trials=40)
    assert len({tuple(point.items()) for point in points(study)}) == 40


@pytest.mark.parametrize("strategy", ["bayes", "tpe"])
def test_brackets_of_hyperband_learn_from_their_own_results_alone(strategy):
    """In the second study the results of the first bracket have the other sign."""

    def suggestions(sign):
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
        study = optuna.create_study(
            study_name="hyperband",
            sampler=FastoptSampler(strategy, seed=0, search_space=SQUARE),
            pruner=pruner,
        )
        brackets = {}

        def objective(trial):
            # The best point is at no bound, where brackets would keep out of each other's way.
            value = (trial.suggest_float("x", 0, 1) - 0.3) ** 2
            value += (trial.suggest_float("y", 0, 1) - 0.6) ** 2
            trial.report(value, 0)
            trial.should_prune()  # which makes the brackets
            brackets[trial.number] = pruner._get_bracket_id(study, trial)
            return value if brackets[trial.number] else sign * value

        study.optimize(objective, n_trials=30)
        return points(study), brackets

    first, brackets = suggestions(1)
    second, again = suggestions(-1)
    assert brackets == again
    assert set(brackets.values()) == {0, 1, 2}
    differing = {brackets[number] for number in brackets if first[number] != second[number]}
    assert differing == {0}
