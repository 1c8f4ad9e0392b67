"""For the Bayesian model a stopped trial has a rank among the others, but no result."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt import tune
from fastopt.tune.strategies.bayes.stopped import results


def trial(state, *values, number=0):
    value = None if state == "failed" else values[-1]
    return tune.Trial(number, {}, value, state, values=list(values))


def test_without_stopped_trials_values_are_what_they_were():
    trials = [trial("done", 3.0, 1.0), trial("failed", 1.0), tune.Trial(2, {}, 0.5, "done")]
    assert np.array_equal(results(trials, 1.0), [1.0, np.nan, 0.5], equal_nan=True)
    assert np.array_equal(results(trials, -1.0), [-1.0, np.nan, -0.5], equal_nan=True)


def test_a_stopped_trial_takes_the_result_of_its_rank():
    others = [trial("done", 1.0, 0.3), trial("done", 2.0, 0.1), trial("done", 4.0, 0.2)]
    stopped = [trial("stopped", value) for value in (0.5, 1.5, 3.0, 4.0)]
    assert results([*others, *stopped], 1.0)[3:].tolist() == [0.1, 0.2, 0.3, 0.3]


def test_a_stopped_trial_that_was_worse_than_all_is_worse_than_all_results():
    """Although its last value, after one epoch, is below all results."""
    rising = [trial("done", 0.1 * i, 5.0 + i) for i in range(4)]
    worse = [trial("stopped", 0.4), trial("stopped", 0.9)]
    ended = results([*rising, *worse], 1.0)
    assert ended.max() == ended[5] > ended[4] > ended[:4].max()


def test_a_low_value_after_few_epochs_is_no_result():
    study = tune.Study({"x": tune.Float(0.0, 1.0)}, seed=0)
    for x in np.linspace(0.05, 0.45, 6):  # good in the end, slow
        study.add({"x": x}, x, values=[9.0 - x, 5.0, x])
    for x in np.linspace(0.6, 0.95, 6):
        study.add({"x": x}, 9.5, state="stopped", values=[9.5])
    for x in (0.55, 0.7, 0.9):  # starts well, makes little progress, and is stopped
        study.add({"x": x}, 6.0, state="stopped", values=[9.0, 6.0])
    known = results(study.finished, 1.0)
    assert known[6:].min() >= known[:6].max()
    # The search goes where trials end well.
    assert study.ask().params["x"] < 0.5


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["done", "stopped", "failed"]),
            st.lists(FLOATS, min_size=1, max_size=4),
        ),
        max_size=8,
    ),
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=2, max_size=4)
    ),
    st.sampled_from([1.0, -1.0]),
)
@settings(max_examples=60, deadline=None)
def test_estimates_keep_the_order_within_a_rung_and_are_finite(drawn, rung, sign):
    drawn += [("stopped", values) for values in rung]
    ended = results([trial(state, *values) for state, values in drawn], sign)
    for found, (state, values) in zip(ended, drawn, strict=True):
        assert np.isnan(found) == (state == "failed")
        assert state == "failed" or np.isfinite(found)
        assert state != "done" or found == sign * values[-1]
    compared = 0
    for i, j in itertools.permutations(range(len(drawn)), 2):
        (state, values), (other, theirs) = drawn[i], drawn[j]
        if state == other == "stopped" and len(values) == len(theirs):
            mine, yours = min(sign * v for v in values), min(sign * v for v in theirs)
            assert mine > yours or ended[i] <= ended[j]
            compared += 1
    assert compared >= len(rung) * (len(rung) - 1)


@pytest.mark.parametrize("batch", [pytest.param(None, marks=pytest.mark.slow), 6])
def test_resumed_after_stopped_trials_bayes_goes_on_the_same(tmp_path, batch):
    def single(params):
        for epoch in range(1, 10):
            yield (params["x"] - 0.3) ** 2 + params["y"] / epoch

    def together(params):
        x, y = params["x"], params["y"]
        for epoch in range(1, 10):
            rows = yield (x - 0.3) ** 2 + y / epoch
            x, y = x[rows], y[rows]

    space = {"x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)}
    objective = together if batch else single
    options = {"scheduler": tune.Halving(), "batch": batch}
    whole = tune.Study(space, seed=1)
    whole.run(objective, 24, **options)
    for _ in range(2):
        with tune.Study(space, seed=1, storage=tmp_path / "study.db") as study:
            study.run(objective, 12, **options)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]
    assert any(t.state == "stopped" for t in whole.trials)


def test_what_is_assumed_of_stopped_trials_belongs_to_the_moment_of_the_fit(tmp_path):
    """A study that is opened between two fits of the kernel repeats the earlier fit."""
    space = {"x": tune.Float(0.0, 1.0), "y": tune.Float(0.0, 1.0)}
    suggested = []
    for path in (tmp_path / "open.db", tmp_path / "again.db"):
        study = tune.Study(space, seed=0, storage=path)
        rng = np.random.default_rng(0)
        for i in range(52):
            x, y = rng.random(2)
            options = {"state": "stopped", "values": [x]} if i % 2 else {"values": [x, x * y]}
            study.add({"x": x, "y": y}, options["values"][-1], **options)
        study.tell(study.ask(), error="no")
        # With another result the stopped trials would get other values.
        study.add({"x": 0.9, "y": 0.1}, -5.0, values=[0.6, -5.0])
        if path.stem == "again":
            study.close()
            study = tune.Study(space, seed=0, storage=path)
        suggested.append(study.ask().params)
        study.close()
    assert suggested[0] == suggested[1]


def test_a_large_batch_has_good_points_and_none_twice():
    space = {"x": tune.Float(0.0, 1.0), "n": tune.Int(1, 8)}
    study = tune.Study(space, seed=0)
    study.run(lambda params: (params["x"] - 0.3) ** 2 + params["n"], 60, batch=30)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 60
    first, second = ([t.value for t in trials] for trials in (study.trials[:30], study.trials[30:]))
    assert np.quantile(second, 0.9) < np.quantile(first, 0.3)
