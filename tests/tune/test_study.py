"""The methods of a study: ask and tell, callbacks, the best trial, tables."""

import copy
import math
import sys
import threading
import warnings

import numpy as np
import pytest
from tune_objectives import SMALL, SPACE, small, smooth

from fastopt import tune

X = {"x": tune.Float(-1.0, 1.0)}
NOT_RESULTS = [
    (math.nan, "nan"),
    (math.inf, "inf"),
    (-math.inf, "-inf"),
    (np.float32("nan"), "nan"),
    (None, "None"),
    ("0.5", "'0.5'"),
    (1j, "1j"),
    (True, "True"),
    ([0.5], "[0.5]"),
    (np.zeros(3), "array"),
    (10**400, "fits a float"),
    (object(), "object"),
    (np.timedelta64(3, "s"), "timedelta64"),
    (np.timedelta64(3, "ns"), "timedelta64"),
    (np.array(["2020-01-01"], "M8[ns]"), "2020"),
]


def make(**options):
    return tune.Study(X, **{"strategy": "random", **options})


def test_fields_of_a_trial_follow_its_life():
    study = make()
    trial = study.ask()
    assert (trial.number, trial.state, trial.value, trial.error) == (0, "running", None, None)
    assert trial.started is not None
    assert trial.finished is None
    study.tell(trial, 2, values=[3.0, 2.0])
    assert (trial.state, trial.value, trial.values) == ("done", 2.0, [3.0, 2.0])
    assert trial.finished >= trial.started
    assert trial.seconds == trial.finished - trial.started
    assert study.trials == [trial]


@pytest.mark.parametrize("strategy", ["random", "bayes", "tpe"])
def test_what_a_caller_does_to_its_params_does_not_reach_the_history(strategy):
    space = {"layers": tune.Categorical([[8], [8, 8]]), "x": tune.Float(0.0, 1.0)}
    study = tune.Study(space, strategy=strategy)
    asked = []
    for _ in range(12):
        trial = study.ask()
        asked.append(copy.deepcopy(trial.params))
        trial.params["layers"].append(1)
        study.tell(trial, trial.params.pop("x"))
    assert [trial.params for trial in study.trials] == asked
    assert study.best_params == min(asked, key=lambda params: params["x"])


def test_what_is_done_to_a_trial_that_has_ended_does_not_reach_the_study():
    class Careless:
        def on_trial_start(self, study, trial):
            trial.params.clear()

        def on_trial_end(self, study, trial):
            careless(trial)

    def careless(trial):
        trial.params["layers"].append(1)
        del trial.params["x"]
        trial.notes["list"].append(1)
        trial.values.clear()
        trial.objectives.append(1.0)
        trial.constraints[0] = 5.0
        trial.lineage.append({})

    def objective(params):
        tune.note(list=[2], layers=params["layers"])
        yield 3.0
        return tune.Result(params["x"], constraints=[-1.0])

    space = {"layers": tune.Categorical([[8], [8, 8]]), "x": tune.Float(0.0, 1.0)}
    study, other = (
        tune.Study(space, seed=0, callbacks=callbacks) for callbacks in ([Careless()], [])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a callback that raises
        study.run(objective, 5)
    other.run(objective, 5)
    for trial in (*study.trials, *study.finished, study.best):
        careless(trial)
    shown = [(t.params, t.notes, t.values, t.objectives, t.constraints) for t in study.trials]
    assert shown == [
        (t.params, t.notes, t.values, t.objectives, t.constraints) for t in other.trials
    ]
    assert study.ask().params == other.ask().params


def test_what_a_strategy_does_to_a_decoded_point_does_not_reach_the_space():
    space = tune.Space({"layers": tune.Categorical([[8], [8, 8]])})
    layers = space.parameters["layers"]
    for value in (space.decode([0.1])["layers"], layers.value(0), layers.check([8])):
        value.append(1)
    assert layers.choices == ([8], [8, 8])


@pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 2)])
def test_best_is_the_first_of_the_best(direction, best):
    study = make(direction=direction)
    trials = [study.ask() for _ in range(6)]
    study.tell(trials[0], error="no")
    for number, value in [(5, 7.0), (2, 7.0), (1, 1.0), (3, 1.0)]:
        study.tell(trials[number], value)
    assert study.best is trials[best]


def test_best_before_any_success_says_why_there_is_none():
    study = make()
    with pytest.raises(ValueError, match="no trial has succeeded"):
        _ = study.best
    study.tell(study.ask(), error="out of memory")
    with pytest.raises(ValueError, match="1 failed; the last failure: out of memory"):
        _ = study.best


@pytest.mark.parametrize(("value", "word"), NOT_RESULTS)
def test_what_is_no_result_makes_the_trial_failed(value, word):
    study = make()
    trial = study.ask()
    study.tell(trial, value)
    assert (trial.state, trial.value) == ("failed", None)
    assert word in trial.error


@pytest.mark.parametrize(
    "value", [3, np.float32(0.5), np.int8(4), np.array(2.0), np.array([2.0]), -1e300, 5e-324]
)
def test_any_finite_real_number_is_a_result(value):
    study = make()
    trial = study.ask()
    study.tell(trial, value)
    assert type(trial.value) is float
    assert trial.value == np.asarray(value, float).item()


@pytest.mark.parametrize("bad", [math.nan, -math.inf, None, "2"])
def test_told_values_are_finite_numbers_as_yielded_ones(bad):
    study = tune.Study({"x": tune.Int(1, 9)}, strategy="grid")
    for end in ({"value": 1.0}, {"value": bad}, {"error": "diverged"}):
        study.tell(study.ask(), **end, values=[3, np.float32(2.5), bad, 1.0])
    assert [trial.state for trial in study.trials] == ["failed"] * 3
    assert [trial.values for trial in study.trials] == [[3.0, 2.5]] * 3
    assert study.trials[0].error.startswith(f"the value of epoch 2 is {bad!r}")
    assert study.trials[2].error == "diverged"


def test_a_reason_with_a_file_name_that_is_no_text_is_stored(tmp_path):
    with tune.Study(SMALL, strategy="grid", storage=tmp_path / "study.db") as study:
        study.tell(study.ask(), error="no such file: caf\udce9.npz")
        study.tell(study.ask(), 1.0)
        study.invalidate(1, "caf\udce9.npz is damaged")
        study.add({"a": 1, "b": "x"}, error="caf\udce9")
        reasons = [trial.error for trial in study.trials]
    wanted = ["no such file: caf\\udce9.npz", "caf\\udce9.npz is damaged", "caf\\udce9"]
    assert reasons == wanted


def test_tell_refuses_what_does_not_run():
    study = make()
    trial = study.ask()
    with pytest.raises(TypeError, match="either a value or error="):
        study.tell(trial)
    with pytest.raises(TypeError, match="either a value or error="):
        study.tell(trial, 1.0, error="both")
    study.tell(trial.number, 1.0)
    with pytest.raises(ValueError, match="trial 0 is not running, it is done"):
        study.tell(trial, 2.0)
    with pytest.raises(ValueError, match="trial 7 does not exist"):
        study.tell(7, 2.0)
    assert trial.value == 1.0


def test_a_requeued_trial_comes_again_with_number_and_params():
    study = make()
    trials = [study.ask() for _ in range(3)]
    study.requeue(trials[1])
    again = study.ask()
    assert (again.number, again.params) == (1, trials[1].params)
    assert study.ask().number == 3
    study.tell(again, 1.0)
    with pytest.raises(ValueError, match="trial 1 is not running"):
        study.requeue(1)


@pytest.mark.parametrize(
    ("params", "error", "word"),
    [
        ({}, ValueError, "'x' is missing"),
        ({"x": 2.0}, ValueError, "'x'"),
        ({"x": "0"}, TypeError, "'x'"),
        ({"x": 0.0, "y": 1}, ValueError, "'y'"),
        ({"x": 0.5}, ValueError, "constraint"),
    ],
)
def test_enqueue_refuses_what_is_no_point(params, error, word):
    study = make(constraint=lambda params: params["x"] < 0.3)
    with pytest.raises(error, match=word):
        study.enqueue(params)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"direction": "down"}, ValueError, "direction.*'down'"),
        ({"seed": -1}, ValueError, "seed.*-1"),
        ({"seed": 0.5}, TypeError, "seed.*0.5"),
        ({"seed": True}, TypeError, "seed.*True"),
        ({"constraint": 3}, TypeError, "constraint.*3"),
        ({"name": 3}, TypeError, "name.*3"),
        ({"storage": 3}, TypeError, "storage.*3"),
    ],
)
def test_bad_arguments_are_refused(options, error, word):
    with pytest.raises(error, match=word):
        make(**options)


def test_initial_values_that_break_the_constraint_are_refused():
    space = {"a": tune.Int(0, 4, initial=3), "b": tune.Int(0, 4)}
    with pytest.raises(ValueError, match="initial values"):
        tune.Study(space, strategy="random", constraint=lambda p: p["a"] <= p["b"])


def test_no_seed_draws_one():
    assert make(seed=None).seed != make(seed=None).seed


def test_a_numpy_seed_is_a_seed():
    assert make(seed=np.int64(7)).ask().params == make(seed=7).ask().params


class Recorder:
    def __init__(self):
        self.events = []

    def on_study_start(self, study):
        self.events.append("start")

    def on_trial_start(self, study, trial):
        self.events.append(("trial", trial.number, trial.state))

    def on_report(self, study, trial, step, value):
        self.events.append(("report", trial.number, step, value))

    def on_trial_end(self, study, trial):
        self.events.append(("end", trial.number, trial.state))

    def on_study_end(self, study):
        self.events.append("end")


def two_epochs(params):
    yield 2.0
    yield 1.0


def test_callbacks_see_everything_in_order():
    recorder = Recorder()
    study = make(callbacks=[recorder])
    study.run(two_epochs, 2)
    expected = ["start"]
    for number in range(2):
        expected += [("trial", number, "running"), ("report", number, 0, 2.0)]
        expected += [("report", number, 1, 1.0), ("end", number, "done")]
    assert recorder.events == [*expected, "end"]


def test_a_callback_that_raises_is_warned_of_whatever_others_have_done_before():
    class Bad:
        def on_study_start(self, study):
            raise KeyError("oops")

    study = make()
    for _ in range(30):  # of which some get the address of an earlier one
        with pytest.warns(RuntimeWarning, match="oops"):
            study.run(two_epochs, 0, callbacks=[Bad()])


def test_a_callback_that_raises_is_warned_of_once_and_stops_nothing():
    class Bad(Recorder):
        def on_report(self, *arguments):
            raise KeyError("oops")

        on_trial_end = on_report

    bad, good = Bad(), Recorder()
    study = make()
    with pytest.warns(RuntimeWarning, match="oops") as caught:
        study.run(two_epochs, 3, callbacks=[bad, good])
    assert len(caught) == 1
    assert [trial.state for trial in study.trials] == ["done"] * 3
    assert len(good.events) == 2 + 3 * 4
    # Callbacks of a run end with it.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.run(two_epochs, 1)
    assert len(good.events) == 2 + 3 * 4


def test_a_callback_may_stop_the_study():
    class Stop:
        def on_trial_end(self, study, trial):
            if trial.number == 3:
                study.stop()

    study = make()
    study.run(lambda params: 0.0, 100, callbacks=[Stop()])
    assert len(study.trials) == 4
    study.run(lambda params: 0.0, 2)
    assert len(study.trials) == 6


@pytest.mark.needs("pandas")
def test_to_pandas_has_a_row_for_each_trial():
    study = tune.Study(SPACE, strategy="random")
    study.run(smooth, 8)
    study.tell(study.ask(), error="no")
    study.ask()
    frame = study.to_pandas()
    assert list(frame.index) == list(range(10))
    assert list(frame["state"]) == ["done"] * 8 + ["failed", "running"]
    assert frame["value"].min() == study.best.value
    assert frame["error"][8] == "no"
    assert list(frame["param_lr"]) == [trial.params["lr"] for trial in study.trials]
    inactive = [("beta" not in trial.params) for trial in study.trials]
    assert list(frame["param_beta"].isna()) == inactive
    assert frame["seconds"][:9].min() >= 0.0
    assert str(frame["started"].dtype).startswith("datetime64")


@pytest.mark.needs("pandas")
def test_to_pandas_of_an_empty_study():
    assert len(make().to_pandas()) == 0


def test_to_pandas_without_pandas_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas; install it with"):
        make().to_pandas()


def test_threads_may_share_a_study():
    study = tune.Study(SMALL, strategy="grid")
    errors = []

    def work():
        try:
            for _ in range(5):
                trial = study.ask()
                study.tell(trial, small(trial.params))
        except Exception as error:
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    assert len({study.space.key(trial.params) for trial in study.trials}) == 20
    assert study.best.value == 1


def test_minimize_and_maximize_return_the_study():
    result = tune.minimize(small, SMALL, n_trials=20, strategy="grid")
    assert result.best.params["a"] == 0
    assert len(result.trials) == 20
    assert tune.maximize(small, SMALL, n_trials=20, strategy="grid").best.params["a"] == 4


def test_minimize_again_finishes_and_then_does_nothing(tmp_path):
    options = {"strategy": "sobol", "storage": tmp_path / "study.db"}
    assert len(tune.minimize(smooth, SPACE, n_trials=5, **options).trials) == 5
    assert len(tune.minimize(smooth, SPACE, n_trials=8, **options).trials) == 8

    def never(params):
        raise AssertionError

    result = tune.minimize(never, SPACE, n_trials=8, **options)
    assert [trial.state for trial in result.trials] == ["done"] * 8


@pytest.mark.parametrize("stored", [False, True])
def test_the_cost_of_ask_and_tell_stays_flat(tmp_path, stored):
    """Work is counted, not time: the storage is asked for new rows only."""
    study = make(storage=tmp_path / "study.db" if stored else None)
    rows = []
    changes = study._ledger.storage.changes
    study._ledger.storage.changes = lambda version: rows.append(changes(version)) or rows[-1]
    for _ in range(100):
        study.tell(study.ask(), 0.0)
    assert max(len(new) for new in rows) == 1
    assert sum(len(new) for new in rows) == 200


class Tensor:
    """Like torch's: ``size`` is a method, and nothing else shows that it holds a number."""

    def __init__(self, *elements):
        self._elements = elements
        self.shape = (len(elements),)

    def size(self):
        return self.shape

    def item(self):
        (element,) = self._elements
        return element


@pytest.mark.parametrize("value", [Tensor(2.5), np.ma.array([2.5]), np.array([[2.5]])])
def test_a_tensor_of_one_element_is_a_value(value):
    study = tune.Study(X, strategy="sobol")
    study.run(lambda params: value, 1)
    assert study.best.value == 2.5


@pytest.mark.parametrize(
    "value", [np.ma.masked, np.ma.array([0.0], mask=[True]), Tensor(1.0, 2.0), Tensor()]
)
def test_what_is_masked_or_not_one_element_is_no_value(value):
    study = tune.Study(X, strategy="sobol")
    study.tell(study.ask(), value)
    (trial,) = study.trials
    assert (trial.state, trial.value) == ("failed", None)
    assert "needs a real number" in trial.error
