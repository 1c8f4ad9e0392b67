"""Trials that have ended are corrected, invalidated and deleted."""

import math

import numpy as np
import pytest
from study_files import told
from tune_objectives import SMALL, SPACE, smooth

from fastopt import tune


def test_a_value_is_corrected_a_trial_invalidated_another_deleted(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path)
    other = tune.Study(SMALL, strategy="grid", storage=path)
    told(study, [1.0, 2.0, 3.0, 4.0])
    assert other.best_value == 1.0
    deleted = study.trials[0]
    study.delete(0)
    study.invalidate(1, "the data were wrong")
    study.correct(3, 2.5)
    for each in (study, other, tune.open(path)):
        assert [t.number for t in each.trials] == [1, 2, 3]
        assert [t.number for t in each.finished] == [2, 1, 3]
        assert [t.state for t in each.trials] == ["failed", "done", "done"]
        assert each.trials[0].error == "the data were wrong"
        assert each.best.number == 3
    assert deleted.state == "deleted"
    # Its point is free again, its number is not.
    trial = other.ask()
    assert (trial.number, trial.params) == (4, deleted.params)
    study.correct(1, 0.5)
    assert other.best_value == 0.5
    assert other.trials[0].error is None


@pytest.mark.filterwarnings("ignore:trial 0 failed")
def test_a_correction_takes_the_traceback_away():
    study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid")
    study.run(lambda params: 1 / params["x"])
    study.invalidate(0, "a division")
    assert "ZeroDivisionError" in study.traceback(0)
    study.correct(0, 9.0)
    assert study.traceback(0) is None
    study.invalidate(0, "the data were wrong")
    assert study.traceback(0) is None


@pytest.mark.parametrize("strategy", ["tpe", "bayes", "random"])
def test_after_a_revision_a_study_goes_on_as_a_resumed_one(tmp_path, strategy):
    path = tmp_path / "study.db"
    lasting = tune.Study(SPACE, strategy=strategy, storage=path)
    lasting.run(smooth, 13)
    lasting.delete(3)
    lasting.correct(5, -1.0)
    lasting.invalidate(7, "no")
    lasting.copy(tmp_path / "twin.db")
    with tune.Study(SPACE, strategy=strategy, storage=tmp_path / "twin.db") as resumed:
        assert [t.number for t in resumed.finished] == [t.number for t in lasting.finished]
        expected = [resumed.ask().params for _ in range(3)]
    assert [lasting.ask().params for _ in range(3)] == expected


@pytest.mark.parametrize("strategy", ["tpe", "bayes"])
def test_a_study_in_memory_notices_its_own_revisions(strategy):
    def study():
        study = tune.Study(SPACE, strategy=strategy)
        study.run(smooth, 12)
        return study

    revised, fresh = study(), study()
    revised.ask()  # the strategy has been shown the first version
    fresh.ask()
    for each in (revised, fresh):
        each.correct(4, -5.0)
    fresh._ledger._driver.forget()
    assert revised.ask().params == fresh.ask().params


def test_only_trials_that_have_ended_are_revised(tmp_path):
    study = tune.Study(SMALL, strategy="grid", storage=tmp_path / "study.db")
    told(study, [1.0])
    study.ask()
    calls = [study.delete, lambda n: study.correct(n, 1.0), lambda n: study.invalidate(n, "no")]
    for call in calls:
        with pytest.raises(ValueError, match="trial 1 is running"):
            call(1)
        with pytest.raises(ValueError, match="trial 7 does not exist"):
            call(7)
    for bad in (math.nan, "1", None):
        with pytest.raises(ValueError, match="correct: the value is"):
            study.correct(0, bad)
    study.delete(0)
    for call in calls:
        with pytest.raises(ValueError, match="trial 0 has been deleted"):
            call(0)


def test_a_trial_may_end_and_be_deleted_between_two_looks_of_another_study(tmp_path):
    study, other = (
        tune.Study(SMALL, strategy="grid", storage=tmp_path / "study.db") for _ in range(2)
    )
    trial = study.ask()
    assert [t.state for t in other.trials] == ["running"]
    study.tell(trial, 1.0)
    study.delete(trial)
    assert other.trials == []
    assert other.ask().params == trial.params


CALLS = {
    "tell": lambda study, trial: study.tell(trial, 1.0),
    "correct": lambda study, trial: study.correct(trial, -1.0),
    "invalidate": lambda study, trial: study.invalidate(trial, "no"),
    "delete": lambda study, trial: study.delete(trial),
    "requeue": lambda study, trial: study.requeue(trial),
    "traceback": lambda study, trial: study.traceback(trial),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_trial_may_be_named_by_an_integer_of_numpy(tmp_path, name):
    def outcome(number):
        study = tune.Study(SMALL, strategy="grid", storage=tmp_path / f"{type(number).__name__}.db")
        study.run(lambda params: 1 / 0, 1, max_failures=None)
        told(study, [1.0])
        study.ask()
        which = {"requeue": 0, "traceback": 0, "tell": 2}.get(name, 1)
        shown = CALLS[name](study, type(number)(which))
        asked = study.ask().params
        study.close()
        with tune.open(study.storage) as study:
            trials = [(t.number, t.state, t.value, t.error, t.params) for t in study.trials]
        return shown if name == "traceback" else None, asked, trials

    assert outcome(np.int64(0)) == outcome(0)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [{"a": 1}, [0], "0", 0.0, True, None])
def test_what_is_no_number_of_a_trial_is_refused(name, wrong):
    study = tune.Study(SMALL, strategy="grid")
    told(study, [1.0])
    with pytest.raises(TypeError, match="trial must be a Trial or its number, got"):
        CALLS[name](study, wrong)


def test_a_deleted_trial_is_replaced_by_a_search_for_a_number_of_trials(tmp_path):
    options = {"strategy": "random", "storage": tmp_path / "study.db"}
    study = tune.minimize(smooth, SPACE, 5, **options)
    study.delete(2)
    study = tune.minimize(smooth, SPACE, 5, **options)
    assert [trial.number for trial in study.trials] == [0, 1, 3, 4, 5]
