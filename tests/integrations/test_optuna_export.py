"""A study written into Optuna's storage: all that it holds."""

import warnings

import optuna
import pytest
import scipy.stats

from fastopt import tune
from fastopt.integrations.optuna import to_optuna


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_a_study_of_ours_becomes_one_of_optunas_with_all_that_it_holds(tmp_path):
    space = {
        "lr": tune.Float(1e-4, 1.0, log=True),
        "step": tune.Float(0.0, 1.0, step=0.3),
        "coarse": tune.Int(1, 100, log=True, step=10),
        "width": tune.Int(4, 30, step=8),
        "prior": tune.Float(scipy.stats.norm(0.0, 1.0)),
        "rule": tune.Categorical(["adam", None, ("a", 1), 0.5, True]),
        "beta": tune.Float(0.5, 1.0, when={"rule": "adam"}),
    }

    def objective(params):
        tune.note(accuracy=0.5)
        if params["width"] == 12:
            raise ValueError("twelve")
        for _ in range(4):
            yield params["lr"]

    ours = tune.Study(space, strategy="random", direction="maximize", name="ours")
    ours.run(objective, 40, max_failures=None, stopper=tune.Median())
    ours.ask()
    names = {"done": "COMPLETE", "failed": "FAIL", "stopped": "PRUNED", "running": "RUNNING"}
    assert {trial.state for trial in ours.trials} == set(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs = to_optuna(ours, f"sqlite:///{tmp_path}/optuna.db")
    assert theirs.study_name == "ours"
    assert theirs.best_value == ours.best_value
    assert theirs.best_trial.number == ours.best.number
    for their, our in zip(theirs.trials, ours.trials, strict=True):
        assert their.state.name == names[our.state]
        shown = {n: repr(v) if isinstance(v, tuple) else v for n, v in our.params.items()}
        assert their.params == shown
        assert their.value == our.value
        assert list(their.intermediate_values.values()) == our.values
        assert their.user_attrs.get("accuracy") == our.notes.get("accuracy")
        assert their.user_attrs.get("error") == our.error
        if our.seconds is not None:
            assert their.duration.total_seconds() == pytest.approx(our.seconds, abs=1e-5)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        to_optuna(ours, f"sqlite:///{tmp_path}/optuna.db")
    again = to_optuna(ours, f"sqlite:///{tmp_path}/optuna.db", study_name="again")
    assert (again.study_name, len(again.trials)) == ("again", len(ours.trials))


def test_trials_that_are_left_after_others_were_deleted_are_numbered_anew():
    ours = tune.Study({"x": tune.Int(0, 4)}, strategy="grid")
    ours.run(lambda params: float(params["x"]))
    ours.delete(1)
    theirs = to_optuna(ours)
    assert [trial.number for trial in theirs.trials] == [0, 1, 2, 3]
    assert [trial.params["x"] for trial in theirs.trials] == [0, 2, 3, 4]


def test_exported_objectives_and_constraints_make_the_same_front():
    space = {"x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)}
    ours = tune.Study(space, strategy="sobol", directions=["minimize", "maximize"])

    def objective(params):
        x, y = params["x"], params["y"]
        return tune.Result((x + y, x - y), constraints=[0.3 - x, y - 0.9])

    ours.run(objective, 24)
    theirs = to_optuna(ours)
    assert 1 < len(ours.front) < 24
    assert {trial.feasible for trial in ours.trials} == {True, False}
    assert {t.number for t in theirs.best_trials} == {t.number for t in ours.front}
    assert [t.values for t in theirs.trials] == [t.objectives for t in ours.trials]


def test_a_point_in_the_tail_of_a_distribution_is_exported():
    study = tune.Study({"x": tune.Float(scipy.stats.norm(0, 1))}, strategy="random")
    assert to_optuna(study).trials == []
    study.add({"x": -50.0}, 1.0)
    study.add({"x": 1e6}, 2.0)
    assert [trial.params["x"] for trial in to_optuna(study).trials] == [-50.0, 1e6]


def test_a_point_of_a_fine_grid_is_exported():
    study = tune.Study({"x": tune.Float(0.0, 1e6, step=0.001)}, strategy="random")
    study.add({"x": 863178.923}, 1.0)
    assert to_optuna(study).best_params == {"x": 863178.923}


def test_choices_that_optuna_takes_for_equal_are_kept_apart(tmp_path):
    study = tune.Study({"x": tune.Categorical([1, True, "(2,)", (2,)])}, strategy="grid")
    study.run(lambda params: float(params["x"] is True))
    theirs = to_optuna(study, f"sqlite:///{tmp_path}/optuna.db")
    assert [trial.params["x"] for trial in theirs.trials] == [
        "0: 1", "1: True", "2: '(2,)'", "3: (2,)"
    ]  # fmt: skip
