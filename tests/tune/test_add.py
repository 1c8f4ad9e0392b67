"""Results from elsewhere; and params are copies, which their receiver may change."""

import numpy as np
import pytest

from fastopt import tune

SPACE = {"x": tune.Float(-1.0, 1.0, initial=0.5), "layers": tune.Categorical([[8], [8, 8], (4,)])}
POINT = {"x": 0.25, "layers": [8, 8]}


def test_an_added_result_is_a_trial_of_its_own_and_is_stored(tmp_path):
    """Also if other trials are queued: the value does not go to one of these."""
    path = tmp_path / "study.db"
    study = tune.Study(SPACE, storage=path)
    study.enqueue({"x": -0.5, "layers": [8]})
    trial = study.add(POINT, 2, values=[3, 2])
    assert (trial.params, trial.value, trial.state, trial.values) == (POINT, 2.0, "done", [3, 2])
    failed = study.add({**POINT, "x": 0.0}, error="out of memory")
    stopped = study.add({**POINT, "x": 0.1}, 5.0, state="stopped")
    assert [failed.state, failed.error, failed.value] == ["failed", "out of memory", None]
    assert [stopped.state, stopped.value] == ["stopped", 5.0]
    assert study.ask().params["x"] == 0.5
    study.close()
    again = tune.Study(SPACE, storage=path)
    assert [trial.number for trial in again.finished] == [0, 1, 2]
    assert again.best.params == POINT


@pytest.mark.parametrize("strategy", ["random", "bayes"])
def test_strategies_take_added_results_into_account(strategy):
    space = {"a": tune.Int(0, 3)}
    study = tune.Study(space, strategy=strategy)
    for a in (0, 1, 2):
        study.add({"a": a}, float(a))
    assert study.ask().params == {"a": 3}


def test_an_added_result_is_told_to_callbacks():
    class Seen:
        def __init__(self):
            self.numbers = []

        def on_trial_end(self, study, trial):
            self.numbers.append((trial.number, trial.value))

    seen = Seen()
    tune.Study(SPACE, callbacks=[seen]).add(POINT, 1.0)
    assert seen.numbers == [(0, 1.0)]


@pytest.mark.parametrize(
    ("params", "options", "error", "word"),
    [
        ({"x": 0.0}, {"value": 1.0}, ValueError, "'layers' is missing"),
        ({**POINT, "x": 2.0}, {"value": 1.0}, ValueError, "'x'"),
        ({**POINT, "x": -0.9}, {"value": 1.0}, ValueError, "constraint"),
        (POINT, {"value": float("nan")}, ValueError, "value is nan"),
        (POINT, {"value": "1"}, ValueError, "real number"),
        (POINT, {}, TypeError, "needs a value"),
        (POINT, {"value": 1.0, "error": "no"}, TypeError, "needs a value"),
        (POINT, {"value": 1.0, "state": "failed"}, TypeError, "needs a value"),
        (POINT, {"value": 1.0, "state": "running"}, ValueError, "state must be one of"),
        (POINT, {"value": 1.0, "values": [True]}, TypeError, "values"),
    ],
)
def test_what_is_no_result_is_refused_and_nothing_is_stored(params, options, error, word):
    study = tune.Study(SPACE, constraint=lambda params: params["x"] > -0.8)
    with pytest.raises(error, match=word):
        study.add(params, **options)
    assert study.trials == []


def test_the_objective_may_change_its_params():
    def objective(params):
        layers = params["layers"]
        if isinstance(layers, list):
            layers.append(99)
        return float(len(layers))

    choices = [[8], [8, 8], {"n": [1]}]
    space = {"x": tune.Float(0.0, 1.0), "layers": tune.Categorical(choices)}
    study = tune.Study(space, strategy="bayes")
    study.run(objective, 15)
    assert study.space.parameters["layers"].choices == ([8], [8, 8], {"n": [1]})
    assert all(trial.params["layers"] in choices for trial in study.trials)
    choices[0].append(7)
    assert study.space.parameters["layers"].value(0) == [8]


def test_a_trial_that_was_asked_for_has_copies():
    study = tune.Study({"layers": tune.Categorical([[8], [8, 8]])}, strategy="grid")
    study.ask().params["layers"].append(1)
    assert study.space.parameters["layers"].choices == ([8], [8, 8])


def test_choices_without_equality_stay_themselves():
    thing = object()
    study = tune.Study({"thing": tune.Categorical([thing, None])}, strategy="grid")
    assert study.ask().params["thing"] is thing


def test_notes_are_in_the_file(tmp_path):
    path = tmp_path / "study.db"
    study, other = (tune.Study(SPACE, storage=path) for _ in range(2))
    assert (study.notes, study.storage) == ({}, str(path))
    study.note({"data": "digits", "split": [1, None]})
    other.note({"data": "letters"})
    assert study.notes == {"data": "letters", "split": [1, None]}
    other.note({"classes": np.arange(3), "mean": np.float32(0.5)})
    assert (study.notes["classes"], study.notes["mean"]) == ([0, 1, 2], 0.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fine": 1, "bad": object()}, "'bad' must be what JSON can hold"),
        ({"fine": 1, 3: 1}, "a name must be a string, got 3"),
        (["fine"], r"notes must be a dict, got \['fine'\]"),
    ],
)
def test_of_notes_of_which_one_cannot_be_kept_none_is(wrong, words):
    study = tune.Study(SPACE)
    with pytest.raises(TypeError, match=words):
        study.note(wrong)
    assert study.notes == {}
