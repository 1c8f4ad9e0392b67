"""Batched objectives train many rows together, and each row is a trial of its own."""

import time

import numpy as np
import pytest
from tune_objectives import Diverges, dies_in_a_batch, learning, learning_together

from fastopt import tune

A = {"a": tune.Int(0, 99)}


def fates(study):
    return [(trial.number, trial.state, trial.value, trial.values) for trial in study.trials]


def constant(params):
    """Nine epochs in which no loss changes."""
    level = params["a"].astype(float)
    for _ in range(9):
        rows = yield level
        level = level[rows]


@pytest.mark.parametrize("strategy", ["grid", "random", "sobol", "bayes"])
def test_each_row_is_a_trial_with_the_values_of_a_single_one(strategy):
    study = tune.Study(A, strategy=strategy)
    study.run(learning_together, 20, batch=8)
    assert [trial.number for trial in study.finished] == list(range(20))
    assert len({trial.params["a"] for trial in study.trials}) == 20
    for trial in study.trials:
        assert (trial.state, trial.values) == ("done", list(learning(trial.params)))
        assert trial.value == trial.values[-1]
    if strategy != "bayes":  # whose suggestions depend on results
        single = tune.Study(A, strategy=strategy)
        single.run(learning, 20)
        assert fates(single) == fates(study)


def test_of_a_batch_exactly_the_best_part_goes_on():
    study = tune.Study(A, strategy="random")
    study.run(constant, 81, batch=81, scheduler=tune.Halving())
    ranked = sorted(study.trials, key=lambda trial: trial.params["a"])
    assert [len(trial.values) for trial in ranked] == [9] * 9 + [3] * 18 + [1] * 54
    study = tune.Study(A, strategy="random")
    study.run(constant, 40, batch=20, scheduler=tune.TopK(4, after=2))
    first, both = study.trials[:20], study.trials
    best = [sorted(t.params["a"] for t in trials)[3] for trials in (first, both)]
    for trial in study.trials:
        limit = best[trial.number // 20]
        assert (trial.state == "done") is (trial.params["a"] <= limit)


def test_what_yield_returns_are_places_among_the_current_rows():
    seen = []

    def objective(params):
        names = params["a"]
        for _ in range(9):
            rows = yield names.astype(float)
            assert rows.dtype.kind == "i"
            names = names[rows]
            seen.append(names.tolist())

    study = tune.Study(A, strategy="random")
    study.run(objective, 18, batch=18, scheduler=tune.Halving(last=9))
    asked = [trial.params["a"] for trial in study.trials]
    best = sorted(asked)
    assert seen[0] == [a for a in asked if a in best[:6]]
    assert seen[1] == seen[0]
    assert seen[2] == seen[7] == [a for a in asked if a in best[:2]]


def test_when_no_row_is_left_the_objective_ends():
    ended = []

    def objective(params):
        try:
            while True:
                yield params["a"] + 1.0
        finally:
            ended.append(True)

    class Nobody:
        def decide(self, moment):
            return "stop" if moment.epochs == 2 else "go"

    study = tune.Study(A, strategy="random")
    study.run(objective, 6, batch=3, scheduler=Nobody())
    assert {(trial.state, len(trial.values)) for trial in study.trials} == {("stopped", 2)}
    assert ended == [True, True]


@pytest.mark.parametrize(
    ("bad", "n_jobs"), [(np.nan, 1), (np.inf, 1), (np.ma.masked, 1), (np.nan, 2)]
)
def test_a_row_that_diverges_fails_alone(bad, n_jobs):
    study = tune.Study({"a": tune.Int(0, 9)}, strategy="grid")
    study.run(Diverges(bad), 10, batch=5, n_jobs=n_jobs, max_failures=None)
    states = {trial.params["a"]: trial for trial in study.trials}
    for a, trial in states.items():
        if a % 4 == 1:
            assert (trial.state, trial.values) == ("failed", [a, a])
            assert "needs a finite number (epoch 2)" in trial.error
        else:
            assert (trial.state, trial.values) == ("done", [a] * 4)


def test_a_batch_that_diverges_as_a_whole_leaves_the_next_alone():
    def objective(params):
        for _ in range(3):
            yield np.full(5, np.nan if params["a"].min() == 0 else 1.0)

    study = tune.Study({"a": tune.Int(0, 9)}, strategy="grid")
    study.run(objective, 10, batch=5)
    assert [trial.state for trial in study.trials] == ["failed"] * 5 + ["done"] * 5


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([1.0, 2.0], r"yielded an array of shape \(2,\) for 3 rows, needs \(3,\): `rows = yield"),
        (1.0, r"shape \(\) for 3 rows"),
        (np.ones((3, 1)), r"shape \(3, 1\)"),
        (["a", "b", "c"], "could not convert"),
        (None, r"shape \(\)"),
    ],
)
def test_losses_of_another_shape_fail_the_batch(losses, message):
    def objective(params):
        yield losses

    study = tune.Study(A, strategy="random")
    with pytest.raises(RuntimeError, match=message):
        study.run(objective, 6, batch=3)
    assert [trial.state for trial in study.trials] == ["failed"] * 6


def test_rows_that_fail_together_are_one_failure_of_the_objective():
    """Three such failures in a row end a run."""
    sizes = []

    def objective(params):
        sizes.append(len(params["a"]))
        raise OSError("no")
        yield

    study = tune.Study(A, strategy="random")
    with pytest.raises(RuntimeError, match="15 failed, so the run ends"):
        study.run(objective, 50, batch=5)
    assert sizes == [5, 5, 5]


def test_an_objective_that_ignores_which_rows_go_on_is_told():
    def objective(params):
        for _ in range(9):
            yield params["a"]

    study = tune.Study(A, strategy="random")
    study.run(objective, 9, batch=9, scheduler=tune.Halving(), max_failures=None)
    failed = [trial for trial in study.trials if trial.state == "failed"]
    assert len(failed) == 3
    assert "shape (9,) for 3 rows" in failed[0].error


def test_what_the_objective_returns_are_the_results_of_the_rows_that_are_left():
    def objective(params):
        a = params["a"] * 1.0
        rows = yield a
        return np.where(a[rows] < 50, -a[rows], np.nan)

    study = tune.Study(A, strategy="random")
    study.run(objective, 9, batch=9, max_failures=None)
    assert len(study.trials) == 9
    assert {trial.state for trial in study.trials} == {"done", "failed"}
    for trial in study.trials:
        a = trial.params["a"]
        assert trial.values == [a]
        assert (trial.state, trial.value) == (("done", -a) if a < 50 else ("failed", None))


def test_a_batched_objective_may_be_a_plain_function():
    study = tune.Study(A, strategy="random")
    study.run(lambda params: params["a"] / 4, 9, batch=4)
    assert [trial.value for trial in study.trials] == [t.params["a"] / 4 for t in study.trials]


def test_params_are_arrays_of_fixed_kinds():
    kinds, objects = {}, [[1], (2,)]
    space = {
        "lr": tune.Float(0.1, 1.0, log=True),
        "n": tune.Int(1, 5),
        "flag": tune.Categorical([True, False]),
        "name": tune.Categorical(["sgd", "adam"]),
        "size": tune.Categorical([1, 2.5]),
        "any": tune.Categorical(objects),
        "large": tune.Categorical([2**53 + 1, 0.5]),
        "null": tune.Categorical(["a", "a\0"]),
        "beta": tune.Float(0.0, 1.0, when={"name": "adam"}),
        "k": tune.Int(0, 3, when={"name": "adam"}),
        "how": tune.Categorical(["x", "y"], when={"name": "adam"}),
    }

    def objective(params):
        kinds.update({name: column.dtype.kind for name, column in params.items()})
        for i, trial in enumerate(study.trials):
            row = {name: column[i] for name, column in params.items()}
            for name, value in trial.params.items():
                assert row[name] == value
            for name in set(space) - set(trial.params):
                assert row[name] is None or np.isnan(row[name])
        return params["lr"]

    study = tune.Study(space, strategy="random")
    study.run(objective, 16, batch=16)
    assert "".join(kinds[name] for name in space) == "fibUfOOOffO"
    assert {"adam", "sgd"} == {trial.params["name"] for trial in study.trials}


def test_a_list_among_the_choices_is_the_rows_own():
    space = {"a": tune.Int(0, 9), "layers": tune.Categorical([[8], [8, 8]])}

    def objective(params):
        for layers in params["layers"]:
            layers.append(1)
        return params["a"]

    study = tune.Study(space, strategy="random")
    study.run(objective, 6, batch=3)
    assert all(set(trial.params["layers"]) == {8} for trial in study.trials)


@pytest.mark.parametrize("left", [0, 7, 10])
def test_a_batch_is_no_larger_than_what_is_left(left):
    sizes = []

    def objective(params):
        sizes.append(len(params["a"]))
        return params["a"]

    study = tune.Study({"a": tune.Int(0, 16)}, strategy="grid")
    study.run(objective, left, batch=5)
    assert sizes == {0: [], 7: [5, 2], 10: [5, 5]}[left]
    study.run(objective, batch=5)
    assert sum(sizes) == 17
    assert [trial.state for trial in study.trials] == ["done"] * 17


def test_workers_have_a_batch_each():
    study = tune.Study(A, strategy="random")
    study.run(learning_together, 24, batch=6, n_jobs=2, scheduler=tune.Halving(last=9))
    assert len(study.finished) == 24
    for trial in study.trials:
        assert trial.values == list(learning(trial.params))[: len(trial.values)]
        assert len(trial.values) == 9 if trial.state == "done" else len(trial.values) in (1, 3)


def test_a_worker_that_dies_trains_its_batch_again(tmp_path):
    space = {"a": tune.Int(0, 99), "flag": tune.Categorical([str(tmp_path / "flag")])}
    study = tune.Study(space, strategy="random")
    study.run(dies_in_a_batch, 18, batch=18, n_jobs=2, scheduler=tune.Halving())
    straight = tune.Study(space, strategy="random")
    straight.run(dies_in_a_batch, 18, batch=18, scheduler=tune.Halving())
    assert (tmp_path / "flag").exists()
    assert fates(study) == fates(straight)


def test_a_batch_that_was_interrupted_comes_again_without_other_trials():
    sizes = []

    def objective(params):
        sizes.append(params["a"].tolist())
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return params["a"]

    study = tune.Study(A, strategy="random")
    with pytest.raises(KeyboardInterrupt):
        study.run(objective, 12, batch=4)
    study.run(objective, 8, batch=6)
    assert sizes[2] == sizes[1]
    assert list(map(len, sizes)) == [4, 4, 4, 4]


@pytest.mark.parametrize("strategy", ["random", "bayes"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_of_a_batch_that_was_interrupted_while_it_was_asked_nothing_is_left(
    tmp_path, strategy, error
):
    path = tmp_path / "study.db"
    broken, whole = (tune.Study(A, strategy=strategy, storage=where) for where in (path, None))
    insert, calls = broken._ledger.storage.insert, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 7:  # the third row of the second batch
            raise error
        return insert(*arguments)

    broken._ledger.storage.insert = interrupted
    broken.run(lambda params: params["a"], 4, batch=4)
    with pytest.raises(error):
        broken.run(lambda params: params["a"], 4, batch=4)
    assert len(broken.trials) == 4
    broken.run(lambda params: params["a"], 4, batch=4)
    whole.run(lambda params: params["a"], 8, batch=4)
    assert fates(broken) == fates(whole)
    with tune.open(path) as file:
        assert fates(file) == fates(broken)


def test_a_batch_over_its_time_has_failed():
    def objective(params):
        yield params["a"]
        if 0 in params["a"]:
            time.sleep(600)

    study = tune.Study({"a": tune.Int(0, 5)}, strategy="grid")
    study.run(objective, batch=3, trial_timeout=0.3)
    assert [trial.state for trial in study.trials] == ["failed"] * 3 + ["done"] * 3
    assert "timeout" in study.trials[0].error


def test_callbacks_hear_of_every_row():
    heard = []

    class Listen:
        def on_trial_start(self, study, trial):
            heard.append(("start", trial.number))

        def on_report(self, study, trial, step, value):
            heard.append((step, trial.number))

        def on_trial_end(self, study, trial):
            heard.append(("end", trial.number))

    study = tune.Study(A, strategy="random")
    study.run(constant, 6, batch=3, callbacks=[Listen()], scheduler=tune.Halving())
    assert len(study.trials) == 6
    for trial in study.trials:
        mine = [what for what, number in heard if number == trial.number]
        assert mine == ["start", *range(len(trial.values)), "end"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch": 0}, ValueError, "batch must be at least 1"),
        ({"batch": 2.0}, TypeError, "batch must be an integer"),
    ],
)
def test_a_wrong_batch_is_refused(options, error, message):
    study = tune.Study(A, strategy="random")
    with pytest.raises(error, match=message):
        study.run(learning_together, 4, **options)
    assert study.trials == []


def test_an_executor_takes_no_batches():
    from concurrent.futures import ThreadPoolExecutor

    study = tune.Study(A, strategy="random")
    with ThreadPoolExecutor(1) as executor, pytest.raises(TypeError, match="use n_jobs="):
        study.run(learning_together, 4, batch=2, executor=executor)
    assert study.trials == []


def test_minimize_takes_batches():
    study = tune.minimize(
        learning_together, A, 27, strategy="random", batch=27, scheduler=tune.Halving()
    )
    assert len(study.trials) == 27
    assert {trial.state for trial in study.trials} == {"done", "stopped"}
