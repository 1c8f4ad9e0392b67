"""Constraints that are known only after the evaluation."""

import json
import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tune_objectives import SEQUENCES, STRATEGIES, disc

from fastopt import tune
from fastopt.tune.command_line.main import main

PLANE = {"x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_the_best_trial_is_feasible_whatever_the_strategy(strategy):
    study = tune.Study(PLANE, strategy=strategy)
    study.run(disc, n_trials=16)
    done = [trial for trial in study.trials if trial.feasible]
    assert study.best.value == min(trial.value for trial in done)
    assert min(trial.value for trial in study.trials) < study.best.value
    assert all(trial.feasible is (trial.constraints[0] <= 0.0) for trial in study.trials)


@pytest.mark.parametrize("strategy", SEQUENCES, ids=str)
def test_sequences_ignore_constraints(strategy):
    with_them, without = (tune.Study(PLANE, strategy=strategy) for _ in range(2))
    with_them.run(disc, n_trials=12)
    without.run(lambda params: disc(params).value, n_trials=12)
    assert [t.params for t in with_them.trials] == [t.params for t in without.trials]


@pytest.mark.parametrize("strategy", ["bayes", "tpe"])
def test_learning_strategies_find_the_edge_of_the_feasible_region(strategy):
    study = tune.Study(PLANE, strategy=strategy)
    study.run(disc, n_trials=30)
    found = study.best_value
    random = tune.Study(PLANE, strategy="random")
    random.run(disc, n_trials=30)
    assert 0.5 <= found < random.best_value
    assert sum(trial.feasible for trial in study.trials) >= 10


def test_bayes_looks_for_feasible_points_while_there_are_none():
    def narrow(params):
        distance = math.hypot(params["x"] - 0.83, params["y"] - 0.21)
        return tune.Result(params["x"], constraints=[distance - 0.05, distance - 0.06])

    study = tune.Study(PLANE, strategy="bayes")
    study.run(narrow, n_trials=25)
    assert study.best.feasible


@pytest.mark.parametrize("strategy", ["bayes", "tpe"])
def test_a_resumed_study_goes_on_as_the_uninterrupted_one(tmp_path, strategy):
    options = {"strategy": strategy, "seed": 3}
    whole = tune.Study(PLANE, **options)
    whole.run(disc, n_trials=20)
    path = tmp_path / "study.db"
    for _ in range(2):
        with tune.Study(PLANE, storage=path, **options) as part:
            part.run(disc, n_trials=10)
    with tune.open(path) as opened:
        assert [t.params for t in opened.trials] == [t.params for t in whole.trials]
        assert [t.constraints for t in opened.trials] == [t.constraints for t in whole.trials]
        assert opened.best.number == whole.best.number


def test_a_copy_holds_the_constraints(tmp_path):
    study = tune.Study(PLANE, strategy="sobol")
    study.run(disc, n_trials=4)
    study.copy(tmp_path / "copy.db")
    with tune.open(tmp_path / "copy.db") as copy:
        assert [t.constraints for t in copy.trials] == [t.constraints for t in study.trials]


def test_without_a_feasible_trial_best_names_the_nearest():
    study = tune.Study({"x": tune.Int(1, 3)}, strategy="grid")
    study.run(lambda params: tune.Result(0.0, [params["x"], -1.0]))
    with pytest.raises(ValueError, match=r"3 done ones violates.*trial 0 comes nearest, by 1"):
        _ = study.best
    assert [trial.violation for trial in study.trials] == [1.0, 2.0, 3.0]


def test_trials_that_are_not_done_are_neither_feasible_nor_not():
    study = tune.Study({"x": tune.Int(1, 3)}, strategy="grid")
    running = study.ask()
    assert running.feasible is None
    study.tell(running, error="no")
    assert running.feasible is None


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        ([0.0, math.nan], "constraint 1 is nan, needs a finite number .*let the trial fail"),
        ([math.inf], "constraint 0 is inf"),
        (["no", 0.0], "constraint 0 is 'no' of type str"),
        (0.5, "constraints must be a list of numbers, got 0.5"),
    ],
)
def test_a_constraint_that_is_no_number_makes_a_failure(constraints, words):
    study = tune.Study(PLANE, strategy="sobol")
    trial = study.ask()
    study.tell(trial, tune.Result(1.0, constraints))
    assert trial.state == "failed"
    assert re.search(words, trial.error), trial.error
    with pytest.raises(ValueError, match=words):
        study.add({"x": 0.5, "y": 0.5}, tune.Result(1.0, constraints))


def test_another_number_of_constraints_makes_a_failure_that_names_the_remedy():
    study = tune.Study({"x": tune.Int(0, 3)}, strategy="grid")
    study.run(lambda params: tune.Result(1.0, [-1.0] * (1 + (params["x"] == 2))))
    assert [trial.state for trial in study.trials] == ["done", "done", "failed", "done"]
    assert "a result with 2 constraints, needs 1" in study.trials[2].error
    with pytest.raises(ValueError, match=r"a result with 0 constraints, needs 1.*study.correct"):
        study.add({"x": 2}, 1.0)


def test_trials_of_other_studies_over_the_file_count_too(tmp_path):
    space, path = {"x": tune.Int(0, 3)}, tmp_path / "study.db"
    one, other = (tune.Study(space, strategy="grid", storage=path) for _ in range(2))
    one.add({"x": 0}, tune.Result(1.0, [-1.0]))
    with pytest.raises(ValueError, match="a result with 0 constraints, needs 1"):
        other.add({"x": 1}, 1.0)


def test_earlier_trials_are_given_constraints_by_correct():
    study = tune.Study({"x": tune.Int(0, 2)}, strategy="grid")
    study.run(lambda params: params["x"])
    for trial in study.trials:
        study.correct(trial, tune.Result(trial.value, [0.5 - trial.value]))
    assert study.best.number == 1
    study.correct(1, 5.0)  # a value alone leaves them
    assert study.trials[1].constraints == [-0.5]
    assert study.best.number == 2


def test_a_corrected_value_does_not_bring_the_old_number_of_constraints_back():
    study = tune.Study({"x": tune.Int(0, 3)}, strategy="bayes")
    study.run(lambda params: params["x"], n_trials=2)
    study.correct(0, tune.Result(1.0, [-1.0]))
    study.correct(1, 5.0)  # which has no constraints, and was revised last
    study.run(lambda params: tune.Result(params["x"], [-1.0]), n_trials=2)
    assert [trial.state for trial in study.trials] == ["done"] * 4


def test_workers_and_executors_bring_constraints_back():
    study = tune.Study(PLANE, strategy="sobol")
    with ThreadPoolExecutor(2) as executor:
        study.run(disc, n_trials=4, executor=executor)
    study.run(disc, n_trials=4, n_jobs=2)
    assert [t.constraints for t in study.trials] == [
        [*disc(t.params).constraints] for t in study.trials
    ]


def test_generators_and_batches_return_constraints_at_their_end():
    def generator(params):
        yield 2.0
        yield 1.0
        return tune.Result(params["x"], [0.5 - params["x"]])

    study = tune.Study(PLANE, strategy="sobol")
    study.run(generator, n_trials=4)
    assert all(t.constraints == [0.5 - t.params["x"]] for t in study.trials)

    def batch(params):
        yield params["x"]
        return tune.Result(params["x"], constraints=np.stack([0.5 - params["x"]], axis=1))

    study.run(batch, n_trials=4, batch=4)
    assert all(t.constraints == [0.5 - t.params["x"]] for t in study.trials)

    unconstrained = tune.Study(PLANE, strategy="sobol")
    unconstrained.run(lambda params: tune.Result(params["x"]), n_trials=4, batch=2)
    assert [t.value for t in unconstrained.trials] == [t.params["x"] for t in unconstrained.trials]


def test_files_and_the_command_line_show_constraints(tmp_path, capsys):
    path = tmp_path / "study.db"
    with tune.Study(PLANE, strategy="sobol", storage=path) as study:
        study.run(disc, n_trials=6)
        best, trials = study.best, study.trials
    main(["best", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["constraints"] == best.constraints
    for kind in ("json", "csv"):
        main(["export", str(path), f"--{kind}", str(tmp_path / f"out.{kind}")])
    main(["import", str(tmp_path / "again.db"), "--json", str(tmp_path / "out.json")])
    main(["import", str(tmp_path / "again.db"), "--csv", str(tmp_path / "out.csv")])
    with tune.open(tmp_path / "again.db") as again:
        told = [trial.constraints for trial in again.trials]
        assert told[:6] == told[6:] == [trial.constraints for trial in trials]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_trials_with_fewer_constraints_than_others_are_imported_as_they_are(tmp_path, kind):
    path, out, again = (str(tmp_path / name) for name in ("study.db", f"out.{kind}", "again.db"))
    with tune.Study({"x": tune.Int(0, 3)}, strategy="grid", storage=path) as study:
        study.run(lambda params: params["x"], n_trials=3)
        study.correct(1, tune.Result(1.0, [0.5]))
    if kind == "csv":
        tune.Study({"x": tune.Int(0, 3)}, strategy="grid", storage=again).close()
    assert main(["export", path, f"--{kind}", out]) == 0
    assert main(["import", again, f"--{kind}", out]) == 0
    with tune.open(again) as study:
        assert [trial.state for trial in study.trials] == ["done"] * 3
        assert [trial.constraints for trial in study.trials] == [[], [0.5], []]


def test_constraints_of_a_table_go_by_their_numbers(tmp_path, capsys):
    path, table = tmp_path / "study.db", tmp_path / "in.csv"
    tune.Study({"x": tune.Int(0, 3)}, strategy="grid", storage=path).close()
    table.write_text("param_x,value,constraint_1,constraint_0\n0,5,2,-1\n")
    assert main(["import", str(path), "--csv", str(table)]) == 0
    table.write_text("param_x,value,constraint_1,constraint_0\n1,5,2,\n")
    assert main(["import", str(path), "--csv", str(table)]) == 1
    assert "line 2: constraints are numbered from 0: needs constraint_0" in capsys.readouterr().err
    with tune.open(path) as study:
        assert [trial.constraints for trial in study.trials] == [[-1.0, 2.0]]


def test_suggestions_depend_on_told_and_pending_trials_alone():
    told = tune.Study(PLANE, strategy="bayes")
    told.run(disc, n_trials=8)
    pending = [told.ask(), told.ask()]
    again = tune.Study(PLANE, strategy="bayes")
    for trial in told.trials[:8]:
        again.add(trial.params, tune.Result(trial.value, trial.constraints))
    asked = [again.ask(), again.ask()]
    assert [t.params for t in asked] == [t.params for t in pending]
    assert pending[0].params != pending[1].params
