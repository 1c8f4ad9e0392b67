"""An objective with a fault is noticed at once."""

import pytest
from tune_objectives import faulty

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
