"""An objective with a fault is noticed at once."""

import contextlib
import sqlite3

import pytest
from tune_objectives import faulty, somewhere

from fastopt import tune

SPACE = {"a": tune.Int(0, 19)}


def study():
    return tune.Study(SPACE, strategy="grid")


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
@pytest.mark.parametrize(
    ("options", "ended"), [({}, 3), ({"max_failures": 5}, 5), ({"n_jobs": 2}, 3)]
)
def test_failures_at_the_start_end_the_run_with_the_first_traceback(options, ended):
    search = study()
    with pytest.raises(RuntimeError, match=f"{ended} failed") as caught:
        search.run(faulty, 20, **options)
    assert 'return params["b"]' in str(caught.value)
    assert "KeyError: 'b'" in str(caught.value)
    assert sum(trial.state == "failed" for trial in search.trials) == ended
    search.run(lambda params: params["a"])
    assert len(search.trials) == 20


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_a_run_of_nothing_but_failures_is_an_error():
    with pytest.raises(RuntimeError, match="2 failed"):
        study().run(faulty, 2)


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_none_goes_on():
    search = study()
    search.run(faulty, max_failures=None)
    assert len(search.trials) == 20


def test_failures_after_a_success_do_not_end_a_run_but_the_first_is_warned_of():
    search = study()
    with pytest.warns(RuntimeWarning, match="trial 1 failed, the run goes on: KeyError") as caught:
        search.run(lambda params: params["a"] if params["a"] == 0 else params["b"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert sum(trial.state == "failed" for trial in search.trials) == 19


def test_what_is_no_number_of_failures_is_refused():
    with pytest.raises(ValueError, match="max_failures"):
        study().run(faulty, max_failures=0)
    with pytest.raises(TypeError, match="max_failures"):
        study().run(faulty, max_failures=2.5)


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_trainings_that_diverge_do_not_end_a_run():
    search = study()
    search.run(lambda params: float("nan") if params["a"] < 10 else 1.0)
    assert [trial.state for trial in search.trials] == ["failed"] * 10 + ["done"] * 10


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_trainings_that_diverge_do_not_hide_a_fault():
    def objective(params):
        return params["b"] if params["a"] % 2 else float("nan")

    search = study()
    with pytest.raises(RuntimeError, match="no trial has succeeded and 3 failed") as caught:
        search.run(objective)
    assert "KeyError: 'b'" in str(caught.value)
    assert len(search.trials) == 6
    # Too few of them to end a run, and not all that there is.
    search = study()
    search.run(lambda params: params["b"] if params["a"] == 5 else float("nan"))
    assert len(search.trials) == 20


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
@pytest.mark.parametrize("where", ["serial", "processes", "threads"])
def test_a_failed_trial_keeps_its_traceback_in_the_file(where, tmp_path):
    path = tmp_path / "study.db"
    search = tune.Study(SPACE, strategy="grid", storage=path)
    with somewhere(where) as options:
        search.run(faulty, 2, max_failures=None, **options)
    search.close()
    for trial in (search := tune.Study(SPACE, strategy="grid", storage=path)).trials:
        assert trial.error.startswith("KeyError: 'b' (at ")
        assert search.traceback(trial) == search.traceback(trial.number)
        assert search.traceback(trial).startswith("Traceback (most recent call last):")
        assert 'return params["b"]' in search.traceback(trial)
    assert search.traceback(2) is None


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_a_long_traceback_loses_its_middle():
    def objective(params):
        raise ValueError("begin" + "." * 10**6 + "end")

    search = study()
    search.run(objective, 1, max_failures=None)
    assert len(search.traceback(0)) <= 10_000
    assert search.traceback(0).startswith("Traceback")
    assert search.traceback(0).endswith("end\n")


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_what_failed_without_an_exception_has_no_traceback():
    search = study()
    search.run(lambda params: None, 1, max_failures=None)
    search.tell(search.ask(), error="by hand")
    search.tell(search.ask(), 1.0)
    assert [search.traceback(number) for number in range(4)] == [None] * 4


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_a_file_from_before_tracebacks_is_read_and_gets_them(tmp_path):
    path = tmp_path / "study.db"
    with tune.Study(SPACE, strategy="grid", storage=path) as search:
        search.tell(search.ask(), 1.0)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE tracebacks")
    search = tune.Study(SPACE, strategy="grid", storage=path)
    search.run(faulty, 1, max_failures=None)
    assert "KeyError" in search.traceback(1)


def test_a_requeued_failure_is_a_new_trial_of_the_same_params(tmp_path):
    path = tmp_path / "study.db"
    with tune.Study(SPACE, strategy="grid", storage=path) as search:
        failed = search.ask()
        search.tell(failed, error="the disk was full")
        search.tell(search.ask(), 1.0)
        search.requeue(failed)
        search.requeue(0)
    search = tune.Study(SPACE, strategy="grid", storage=path)
    for number in (2, 3):
        again = search.ask()
        assert (again.number, again.params) == (number, failed.params)
        search.tell(again, 0.5)
    assert search.trials[0].error == "the disk was full"
    assert search.ask().params == {"a": 2}
    assert search.best.number == 2
    for number, state in ((1, "done"), (3, "done")):
        with pytest.raises(ValueError, match=f"trial {number} is not running, it is {state}"):
            search.requeue(number)
    with pytest.raises(ValueError, match="trial 9 does not exist"):
        search.requeue(9)


@pytest.mark.filterwarnings("ignore:trial [0-9]+ failed")
def test_a_grid_with_failures_is_whole_after_they_were_queued_again():
    broken = True

    def objective(params):
        if broken and params["a"] % 3 == 1:
            raise OSError("no space left on device")
        return params["a"]

    search = study()
    search.run(objective)
    broken = False
    for trial in search.trials:
        if trial.state == "failed":
            search.requeue(trial)
    search.run(objective)
    done = {trial.params["a"] for trial in search.trials if trial.state == "done"}
    assert done == set(range(20))
