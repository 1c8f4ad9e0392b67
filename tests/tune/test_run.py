"""Whole studies, wherever the trials run: in this process, in workers, in an executor."""

import pytest
import tune_objectives
from tune_objectives import SMALL, WHERE, small, somewhere

from fastopt import tune
from fastopt.tune.running import processes

A = {"a": tune.Int(0, 4)}


def grid(space=A, **options):
    return tune.Study(space, strategy="grid", **options)


def error_of_the_only_failure(study):
    """Check that the trial with ``a`` = 2 failed and all others are done; return its error."""
    states = {trial.params["a"]: trial.state for trial in study.trials}
    assert states == {0: "done", 1: "done", 2: "failed", 3: "done", 4: "done"}
    (failed,) = [trial for trial in study.trials if trial.state == "failed"]
    return failed.error


@pytest.mark.parametrize("where", WHERE)
def test_every_point_is_evaluated_once(where):
    study = grid(SMALL)
    with somewhere(where) as options:
        study.run(small, **options)
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(20))
    assert [trial.value for trial in trials] == [small(trial.params) for trial in trials]
    assert {trial.state for trial in trials} == {"done"}


@pytest.mark.parametrize("where", WHERE)
def test_a_trial_that_raises_has_failed_and_the_study_goes_on(where):
    study = grid()
    with somewhere(where) as options:
        study.run(tune_objectives.raises_on_two, **options)
    assert error_of_the_only_failure(study).startswith(
        "KeyError: 'two is bad' (at tune_objectives.py:"
    )
    assert study.best.params == {"a": 0}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    ("objective", "word"),
    [
        (tune_objectives.exits, "SystemExit: no more"),
        (tune_objectives.returns_unpicklable, "function"),
    ],
)
def test_what_is_no_result_is_a_failure_everywhere(where, objective, word):
    study = grid()
    with somewhere(where) as options:
        study.run(objective, 2, max_failures=None, **options)
    assert [trial.state for trial in study.trials] == ["failed"] * 2
    assert word in study.trials[0].error


@pytest.mark.parametrize("where", WHERE)
def test_a_generator_reports_each_epoch(where):
    reports = []

    class Listen:
        def on_report(self, study, trial, step, value):
            reports.append((trial.number, step, value))

    study = grid()
    with somewhere(where) as options:
        study.run(tune_objectives.epochs, callbacks=[Listen()], **options)
    for trial in study.trials:
        curve = [trial.params["a"] + 1.0 / (1 + epoch) for epoch in range(4)]
        assert trial.values == curve
        assert trial.value == curve[-1]
        mine = [report for report in reports if report[0] == trial.number]
        assert mine == [(trial.number, step, value) for step, value in enumerate(curve)]


@pytest.mark.parametrize("where", WHERE)
def test_the_median_stops_poor_trials(where):
    study = tune.Study({"a": tune.Int(0, 9)}, strategy="grid")
    with somewhere(where) as options:
        stopper = tune.Median(trials=2, epochs=2)
        study.run(tune_objectives.epochs, stopper=stopper, **{**options, "n_jobs": 1})
    states = [trial.state for trial in study.trials]
    # Values grow with the trial's number, so from the third on each is worse than the median.
    assert states == ["done"] * 2 + ["stopped"] * 8
    assert [len(trial.values) for trial in study.trials] == [4] * 2 + [3] * 8
    assert study.trials[5].value == study.trials[5].values[-1]
    assert study.best.number == 0


def test_a_stopped_trial_is_not_the_best_however_it_looks():
    def objective(params):
        yield 0.8 if params["a"] == 4 else 1.0
        yield 0.9 if params["a"] == 4 else 0.0
        yield 0.5

    study = tune.Study(A, strategy="grid", direction="maximize")
    study.run(objective, stopper=tune.Median(trials=2, epochs=1))
    assert [trial.state for trial in study.trials] == ["done"] * 4 + ["stopped"]
    assert study.best.number == 0


@pytest.mark.parametrize("where", WHERE)
def test_what_a_generator_returns_is_its_value(where):
    study = grid()
    with somewhere(where) as options:
        study.run(tune_objectives.returns_after_epochs, **options)
    for trial in study.trials:
        assert trial.state == "done"
        assert trial.values == [3.0, 1.0, 2.0]
        assert trial.value == 0.25 + trial.params["a"]


def test_a_generator_may_return_without_having_yielded():
    def objective(params):
        if params["a"] < 9:
            return 7
        yield

    study = grid()
    study.run(objective, 1)
    assert (study.trials[0].value, study.trials[0].values) == (7.0, [])


@pytest.mark.parametrize("returned", ["x", float("nan"), True])
def test_a_generator_that_returns_no_number_has_failed(returned):
    def objective(params):
        yield 1.0
        return returned

    study = grid()
    study.run(objective, 1, max_failures=None)
    assert study.trials[0].state == "failed"
    assert study.trials[0].values == [1.0]
    assert "returned" in study.trials[0].error


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_one_bad_epoch_stops_nobody(direction):
    sign = 1.0 if direction == "minimize" else -1.0

    def objective(params):
        level = 5.0 if params["a"] < 4 else 0.0
        for epoch in range(4):
            yield sign * (99.0 if level == 0.0 and epoch == 2 else level - 0.1 * epoch)

    study = grid(direction=direction)
    study.run(objective, stopper=tune.Median(trials=2))
    assert [trial.state for trial in study.trials] == ["done"] * 5
    assert study.best.params == {"a": 4}


def test_nobody_is_stopped_after_the_last_epoch():
    def objective(params):
        yield 0.0
        yield -1.0 + params["a"] / 10

    study = grid()
    study.run(objective, stopper=tune.Median(trials=2, epochs=1))
    assert [trial.state for trial in study.trials] == ["done"] * 5


@pytest.mark.parametrize("yields", [[], [1.0, float("nan")], [1.0, "x"], [1.0, None]])
def test_a_generator_without_results_has_failed(yields):
    def objective(params):
        yield from yields

    study = grid()
    study.run(objective, 1, max_failures=None)
    assert study.trials[0].state == "failed"
    assert study.trials[0].values == yields[:1]
    assert "yielded" in study.trials[0].error


def test_n_trials_counts_this_run():
    study = tune.Study(SMALL, strategy="random")
    study.run(small, 3)
    study.run(small, 4)
    study.run(small, 0)
    assert len(study.trials) == 7


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"n_trials": -1}, ValueError, "n_trials.*-1"),
        ({"n_trials": 2.5}, TypeError, "n_trials.*2.5"),
        ({"n_jobs": 0}, ValueError, "n_jobs.*0"),
        ({"n_jobs": "two"}, TypeError, "n_jobs.*'two'"),
        ({"timeout": 0}, ValueError, "timeout.*0"),
        ({"timeout": "1 s"}, TypeError, "timeout.*'1 s'"),
        ({"trial_timeout": float("nan")}, ValueError, "trial_timeout.*nan"),
        ({"executor": 3}, TypeError, "executor.*3"),
        ({"stopper": "median"}, TypeError, "stopper.*'median'"),
        ({"objective": 3}, TypeError, "objective.*3"),
    ],
)
def test_bad_arguments_are_refused_before_any_trial(options, error, word):
    study = grid()
    with pytest.raises(error, match=word):
        study.run(**{"objective": small, **options})
    assert study.trials == []


def test_all_cpus_may_be_used():
    study = grid()
    study.run(tune_objectives.threads, n_jobs=-1)
    assert [trial.state for trial in study.trials] == ["done"] * 5


class Hesitant:
    """Suggests a point only while nothing runs, three in all."""

    def ask(self, view):
        if view.pending:
            raise tune.ImprovementSpent("wait for the result")
        if len(view.finished) == 3:
            raise tune.SpaceExhausted("that was all")
        return {"a": len(view.finished)}


@pytest.mark.parametrize("where", WHERE)
def test_a_strategy_that_expects_too_little_is_asked_again_after_the_next_result(where):
    study = tune.Study(A, strategy=Hesitant())
    with somewhere(where) as options:
        study.run(tune_objectives.first, **options)
    assert [trial.state for trial in study.trials] == ["done"] * 3


def test_no_more_workers_start_than_there_are_trials(monkeypatch):
    started = []

    class Counted(processes._Worker):
        def __init__(self, payload):
            started.append(payload)
            super().__init__(payload)

    monkeypatch.setattr(processes, "_Worker", Counted)
    grid().run(tune_objectives.first, 1, n_jobs=6)
    assert len(started) == 1
    grid({"a": tune.Int(0, 1)}).run(tune_objectives.first, n_jobs=6)
    assert len(started) == 1 + 2


def test_the_text_of_an_error_is_bounded(tmp_path):
    def objective(params):
        raise ValueError("begin" + "x" * 5_000_000 + "end")

    with grid(storage=tmp_path / "study.db") as study:
        study.run(objective, 1, max_failures=None)
        study.tell(study.ask(), error="y" * 5_000_000)
        study.add({"a": 4}, error="z" * 5_000_000)
        errors = [trial.error for trial in study.trials]
    assert all(5_000 < len(error) < 11_000 for error in errors)
    assert errors[0].startswith("ValueError: begin")
    assert "end (at test_run.py:" in errors[0]
    assert (tmp_path / "study.db").stat().st_size < 200_000
