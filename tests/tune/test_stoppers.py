"""Callbacks that end a run."""

import pytest

from fastopt import tune

LINE = {"x": tune.Int(0, 99)}


def study_of_values(values, direction="minimize"):
    """A study with these results; None is a failure."""
    study = tune.Study(LINE, strategy="grid", direction=direction)
    for x, value in enumerate(values):
        if value is None:
            study.add({"x": x}, error="no")
        else:
            study.add({"x": x}, value)
    return study


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_a_run_ends_at_the_target_value(direction, sign):
    study = tune.Study(LINE, strategy="grid", direction=direction)
    study.run(lambda p: sign * (50 - p["x"]), callbacks=[tune.TargetValue(sign * 40)])
    assert len(study.trials) == 11


def test_a_run_ends_when_the_last_trials_were_in_vain():
    study = tune.Study(LINE, strategy="grid")
    study.run(lambda p: abs(p["x"] - 3), callbacks=[tune.Patience(5)])
    assert len(study.trials) == 9


def test_patience_counts_failures_but_not_before_the_first_success():
    assert not tune.Patience(2).is_enough(study_of_values([None] * 5))
    assert not tune.Patience(2).is_enough(study_of_values([None] * 5 + [1.0, None]))
    assert tune.Patience(2).is_enough(study_of_values([1.0, None, 2.0]))
    # An equal value is no better.
    assert tune.Patience(2).is_enough(study_of_values([1.0, 1.0, 1.0]))


def test_a_run_ends_when_the_objective_has_taken_its_budget():
    study = study_of_values([1.0, 2.0, 3.0])
    # During the last one the clock is set back.
    for trial, (started, finished) in zip(study.trials, [(0, 3), (0, 4), (9, 2)], strict=True):
        trial.started, trial.finished = float(started), float(finished)
    assert tune.Budget(7.0).is_enough(study)
    assert not tune.Budget(7.1).is_enough(study)


@pytest.mark.parametrize("stopper", [tune.TargetValue(1.0), tune.Patience(1), tune.Budget(0.0)])
def test_a_study_whose_end_was_reached_before_starts_no_trial(stopper):
    study = study_of_values([1.0, 2.0])
    study.run(lambda p: p["x"], 5, callbacks=[stopper])
    assert len(study.trials) == 2


@pytest.mark.parametrize("stopper", [tune.TargetValue(1.0), tune.Patience(1)])
@pytest.mark.parametrize("of_run", [True, False])
def test_what_goes_by_the_best_value_is_refused_where_there_are_several_objectives(stopper, of_run):
    given, later = ([], [stopper]) if of_run else ([stopper], [])
    study = tune.Study(
        {"x": tune.Int(0, 9)}, strategy="grid", directions=["minimize"] * 2, callbacks=given
    )
    with pytest.raises(TypeError, match=r"callbacks: .*goes by the best value"):
        study.run(lambda p: (p["x"], 0), callbacks=later)
    assert study.trials == []


def test_before_any_success_no_target_is_reached():
    assert not tune.TargetValue(0.0).is_enough(study_of_values([None]))


@pytest.mark.parametrize(
    ("make", "value", "error"),
    [
        (tune.TargetValue, float("nan"), ValueError),
        (tune.TargetValue, "1", TypeError),
        (tune.Patience, 0, ValueError),
        (tune.Patience, 1.5, TypeError),
        (tune.Budget, -1.0, ValueError),
        (tune.Budget, True, TypeError),
    ],
)
def test_a_wrong_argument_is_refused_by_name(make, value, error):
    with pytest.raises(error, match=make.__name__):
        make(value)
