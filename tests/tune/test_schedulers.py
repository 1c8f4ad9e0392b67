"""Whether a trial goes on: the schedulers' rules, as pure functions of what the study holds."""

import dataclasses
import statistics
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt import tune
from fastopt.tune.schedulers.driver import SchedulerDriver
from fastopt.tune.schedulers.rungs import rungs

SCHEDULERS = [
    tune.Halving(),
    tune.Halving(eta=2, first=2, last=6),
    tune.Hyperband(last=9),
    tune.TopK(2, after=3),
    tune.Median(trials=2),
]


def play(curves, scheduler, **options):
    """A study of trials that report these values, one after the other."""

    def objective(params):
        yield from curves[params["i"]]

    study = tune.Study({"i": tune.Int(0, len(curves) - 1)}, strategy="grid", **options)
    study.run(objective, scheduler=scheduler, max_failures=None)
    return study


def fates(study):
    return [(trial.state, list(trial.values)) for trial in study.trials]


def lengths(study):
    return [len(trial.values) for trial in study.trials]


def flat(levels, epochs=9):
    return [[level] * epochs for level in levels]


# The rules once more, written from their definitions


def lot(number):
    return number * 0x9E3779B1 % 2**32


def halving(number, curves, ended, eta, first, last, group):
    """Whether trial ``number`` goes on after the last of its values; ``ended`` came before it."""
    epochs = len(curves[number])
    reached = {first * eta**k for k in range(20)}
    longest = max((len(curves[i]) for i, state in ended.items() if state == "done"), default=0)
    if epochs not in reached or epochs >= last or epochs == longest:
        return True
    others = [
        (min(curves[i][:epochs]), lot(i))
        for i, state in ended.items()
        if state != "failed" and len(curves[i]) >= epochs and group(i) == group(number)
    ]
    better = sum(other < (min(curves[number]), lot(number)) for other in others)
    return better < max(1, (len(others) + 1) // eta)


def simulate(curves, goes_on):
    seen, ended = [], {}
    for number, curve in enumerate(curves):
        seen.append([])
        state = "done"
        for value in curve:
            seen[number].append(value)
            if not goes_on(number, seen, ended):
                state = "stopped"
                break
        ended[number] = state
    return [(ended[i], seen[i]) for i in range(len(curves))]


CURVES = st.lists(
    st.lists(st.integers(0, 5).map(float), min_size=1, max_size=10), min_size=1, max_size=12
)


@given(CURVES, st.integers(2, 4), st.integers(1, 3), st.sampled_from([None, 4, 9]))
@settings(max_examples=25, deadline=None)
def test_halving_decides_as_it_is_defined(curves, eta, first, last):
    def goes_on(number, seen, ended):
        return halving(number, seen, ended, eta, first, last or 99, lambda i: 0)

    study = play(curves, tune.Halving(eta, first, last))
    assert fates(study) == simulate(curves, goes_on)


@given(CURVES)
@settings(max_examples=20, deadline=None)
def test_hyperband_is_halving_within_each_bracket(curves):
    scheduler = tune.Hyperband(last=9)

    def goes_on(number, seen, ended):
        first = 3 ** scheduler.group(number)
        return halving(number, seen, ended, 3, first, 9, scheduler.group)

    assert fates(play(curves, scheduler)) == simulate(curves, goes_on)


@given(CURVES, st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_the_median_decides_as_it_is_defined(curves, trials, epochs):
    def goes_on(number, seen, ended):
        epoch = len(seen[number])
        known = [seen[i] for i in ended]
        others = [min(curve[:epoch]) for curve in known if len(curve) >= epoch]
        longest = max(map(len, known), default=0)
        if epoch <= epochs or epoch >= longest or len(others) < trials:
            return True
        return min(seen[number]) <= statistics.median(others)

    study = play(curves, tune.Median(trials, epochs))
    assert fates(study) == simulate(curves, goes_on)
    limits = tune.Median(trials, epochs).limits("minimize", study.finished)
    assert len(limits) <= max(lengths(study)) - 1


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
def test_maximizing_is_minimizing_the_negative(scheduler):
    curves = np.random.default_rng(0).integers(0, 6, (20, 9)).astype(float)
    least = play(curves.tolist(), scheduler)
    most = play((-curves).tolist(), scheduler, direction="maximize")
    assert [(s, [-v for v in values]) for s, values in fates(most)] == fates(least)
    assert any(trial.state == "stopped" for trial in least.trials)


# The pitfalls.


def test_rungs_are_exact_integers():
    # log(243, 3) is 4.999…
    assert list(rungs(1, 3, 244)) == [1, 3, 9, 27, 81, 243]
    scheduler = tune.Hyperband(last=243)
    brackets = {tuple(scheduler.rungs(number, 1000)) for number in range(400)}
    assert sorted(map(len, brackets)) == [0, 1, 2, 3, 4, 5]
    assert (1, 3, 9, 27, 81) in brackets
    assert list(tune.Halving(eta=10, last=1001).rungs(0, float("inf"))) == [1, 10, 100, 1000]


def test_brackets_have_equal_work_and_are_mixed():
    groups = [tune.Hyperband(last=81).group(number) for number in range(143)]
    assert [groups.count(bracket) for bracket in range(5)] == [81, 34, 15, 8, 5]
    assert set(groups[:13]) == set(range(5))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
def test_a_value_that_is_not_finite_fails_the_trial_and_no_other(scheduler, bad):
    curves = [[1.0, bad, 0.0], *flat([2.0, 3.0, 4.0])]
    study = play(curves, scheduler)
    assert study.trials[0].state == "failed"
    assert study.trials[0].values == [1.0]
    at_once = play([[bad], *curves[1:]], scheduler)
    assert fates(study)[1:] == fates(at_once)[1:]
    if not isinstance(scheduler, tune.Hyperband):  # whose brackets follow from the number
        assert fates(study)[1:] == fates(play(curves[1:], scheduler))


def test_failed_trials_are_not_compared_with():
    curves = [[0.0, 0.0, float("nan")], *flat([2.0, 3.0])]
    assert [trial.state for trial in play(curves, tune.Halving()).trials] == [
        "failed", "done", "stopped",
    ]  # fmt: skip


def decide(scheduler, trials, reporting, decided):
    driver = SchedulerDriver(scheduler, None, "minimize", 0)
    return driver.decide([(trials[reporting], decided)], trials, [], trials)[0]


def test_a_rung_that_was_jumped_over_counts_at_the_next_report():
    trials = [tune.Trial(i, {}, values=[i, i, i, i, i]) for i in range(3)]
    scheduler = tune.Halving()
    # The last decision was after 2 values, and there are 5 now: rung 3 is in between.
    assert scheduler.is_due(2, 2, 5)
    assert decide(scheduler, trials, 2, 2) == "stop"
    assert decide(scheduler, trials, 0, 2) == "go"
    # Now there has been a decision at this rung.
    assert not scheduler.is_due(2, 3, 5)
    assert decide(scheduler, trials, 2, 3) == "go"


def test_a_restarted_trial_is_not_recorded_at_rungs_of_its_first_attempt():
    driver = SchedulerDriver(tune.Halving(), None, "minimize", 0)
    first, second = tune.Trial(0, {}, values=[0.0] * 3), tune.Trial(1, {}, values=[1.0] * 3)
    assert driver.decide([(first, 2)], [first], [], [first, second]) == ["go"]
    first.values = first.values[:1]
    assert driver.decide([(second, 2)], [first, second], [], [first, second]) == ["go"]
    first.values += [0.0, 0.0]
    assert driver.decide([(second, 2)], [first, second], [], [first, second]) == ["stop"]


def test_values_that_came_at_once_are_recorded_at_each_rung():
    study = tune.Study({"i": tune.Int(0, 9)}, strategy="grid")
    study.add({"i": 9}, 0.5, values=[5.0, 0.0, 4.0, 4.0])
    study.run(lambda params: iter([1.0, 1.0, 1.0, 1.0, 1.0]), 1, scheduler=tune.Halving())
    # At the first rung 1.0 is better than 5.0. At the second it is worse than the best of three.
    assert fates(study)[1] == ("stopped", [1.0, 1.0, 1.0])


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
@pytest.mark.parametrize("spike", range(1, 8))
def test_one_bad_value_stops_nobody(scheduler, spike):
    best = [1.0 - 0.01 * epoch for epoch in range(9)]
    best[spike] = 99.0
    study = play([*flat([5.0] * 6), best], scheduler)
    assert study.trials[-1].state == "done"


def test_the_last_value_stops_nobody():
    # 9 is a rung.
    study = play([[1.0] * 9, [0.5] * 8 + [9.0], [0.5] * 9], tune.Halving(first=9))
    assert [trial.state for trial in study.trials] == ["done"] * 3


@pytest.mark.parametrize(
    ("last", "ends"), [(None, ["done", "stopped", "stopped"]), (9, ["done"] * 3)]
)
def test_until_a_trial_is_done_its_last_value_is_a_rung_unless_it_is_known(last, ends):
    def training(params):
        left = -params["i"].astype(float)
        for _ in range(9):
            rows = yield left
            left = left[rows]

    study = tune.Study({"i": tune.Int(0, 53)}, strategy="grid")
    study.run(training, 27, batch=27, scheduler=tune.Halving(last=last))
    assert [t.state for t in study.trials[::-1] if len(t.values) == 9] == ends
    # The best of them is done in any case.
    assert study.best.number == 26
    study.run(training, batch=27, scheduler=tune.Halving(last=last))
    assert [t.state for t in study.trials[27:] if len(t.values) == 9] == ["done"] * 9


def test_there_is_no_rung_at_or_after_the_last():
    assert lengths(play(flat([1.0, 2.0, 3.0], 9), tune.Halving(first=9))) == [9, 9, 9]
    assert list(tune.Halving(last=9).rungs(0, float("inf"))) == [1, 3]
    assert list(tune.Hyperband(last=10).rungs(0, float("inf"))) == [1, 3, 9]


def test_of_equals_about_as_many_go_on_as_of_others():
    study = play(flat([1.0] * 99), tune.Halving(last=3))
    assert 25 <= lengths(study).count(9) <= 40


def test_stopped_trials_stay_visible_and_are_not_the_best():
    study = play([[0.5] * 9, [0.4, 0.9, 0.9, 0.1], [0.45] * 9], tune.TopK(1, after=3))
    stopped = study.trials[2]
    assert (stopped.state, stopped.value, stopped.values) == ("stopped", 0.45, [0.45] * 3)
    assert stopped in study.finished
    assert study.best.number == 1


def test_top_k_keeps_the_best_after_as_many_values():
    study = play(flat([3.0, 1.0, 2.0, 0.0, 4.0]), tune.TopK(2, after=4))
    assert lengths(study) == [9, 9, 9, 9, 4]
    study = play(flat([0.0, 1.0, 2.0, 3.0, 4.0]), tune.TopK(2, after=4))
    assert lengths(study) == [9, 9, 4, 4, 4]


# What a scheduler is.


class Patience:
    """A user's own scheduler: stops a trial that has not improved for two values."""

    def decide(self, moment):
        values = moment.trial.values
        return "stop" if len(values) > 2 and min(values[-2:]) >= min(values[:-2]) else "go"


def test_any_object_that_decides_is_a_scheduler():
    study = play([[3.0, 2.0, 1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 0.0]], Patience())
    assert fates(study) == [("stopped", [3.0, 2.0, 1.0, 1.0, 1.0]), ("stopped", [1.0, 2.0, 3.0])]


def test_the_moment_shows_the_study():
    seen = []

    class Look:
        def decide(self, moment):
            seen.append(moment)
            assert moment.trial in moment.running
            assert moment.trial not in moment.finished
            assert moment.epochs == len(moment.trial.values) == moment.decided + 1
            return "go"

    study = play(flat([1.0, 2.0], 3), Look(), seed=5, direction="maximize")
    assert [moment.decided for moment in seen] == [0, 1, 2] * 2
    assert {(moment.seed, moment.direction, moment.sign) for moment in seen} == {
        (5, "maximize", -1.0)
    }
    assert seen[-1].finished == study.trials


class Limits:
    """A stopper as earlier versions had them."""

    def limits(self, direction, finished):
        return [float("inf"), 10.0 - len(finished)]


@pytest.mark.parametrize("name", ["stopper", "scheduler"])
def test_limits_that_are_taken_at_the_start_are_a_scheduler_too(name):
    study = tune.Study({"i": tune.Int(0, 3)}, strategy="grid")
    study.run(lambda params: iter([99.0, 8.0, 1.0]), **{name: Limits()})
    assert lengths(study) == [3, 3, 3, 2]


@pytest.mark.parametrize("name", ["stopper", "scheduler"])
def test_the_old_name_gives_the_same(name):
    curves = np.random.default_rng(1).random((9, 9))
    study = tune.Study({"i": tune.Int(0, 8)}, strategy="grid")
    study.run(lambda params: iter(curves[params["i"]]), **{name: tune.Halving()})
    assert fates(study) == fates(play(curves.tolist(), tune.Halving()))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scheduler": "halving"}, TypeError, "scheduler.*decide.*'halving'"),
        ({"scheduler": tune.Halving}, TypeError, r"got a class: write Halving\("),
        ({"scheduler": Patience(), "stopper": Patience()}, TypeError, "give one of them"),
        ({"stopper": 3}, TypeError, "stopper.*3"),
    ],
)
def test_what_is_no_scheduler_is_refused_before_the_first_trial(options, error, message):
    study = tune.Study({"i": tune.Int(0, 3)}, strategy="grid")
    with pytest.raises(error, match=message):
        study.run(lambda params: 1.0, **options)
    assert study.trials == []


def test_a_decision_that_is_none_ends_the_run_and_loses_no_trial():
    class Undecided:
        def decide(self, moment):
            return None

    study = tune.Study({"i": tune.Int(0, 3)}, strategy="grid")
    with pytest.raises(ValueError, match="decided None, needs 'go', 'stop' or 'pause'"):
        study.run(lambda params: iter([1.0, 2.0]), scheduler=Undecided())
    assert [(trial.state, trial.values) for trial in study.trials] == [("running", [])]
    study.run(lambda params: iter([1.0, 2.0]))
    assert [trial.state for trial in study.trials] == ["done"] * 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tune.Halving(eta=1), ValueError, "Halving: eta must be at least 2"),
        (lambda: tune.Halving(eta=2.5), TypeError, "Halving: eta must be an integer"),
        (lambda: tune.Halving(first=0), ValueError, "Halving: first"),
        (lambda: tune.Halving(last=0), ValueError, "Halving: last"),
        (lambda: tune.Halving(last=2, first=3), ValueError, "Halving: last.*first=3, got 2"),
        (lambda: tune.Hyperband(last=2, first=3), ValueError, "Hyperband: last.*first=3"),
        (lambda: tune.Hyperband(last="9"), TypeError, "Hyperband: last"),
        (lambda: tune.TopK(0), ValueError, "TopK: k"),
        (lambda: tune.TopK(1, after=True), TypeError, "TopK: after"),
    ],
)
def test_wrong_options_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
def test_schedulers_are_plain_values(scheduler):
    kind = type(scheduler)
    options = {f.name: getattr(scheduler, f.name) for f in dataclasses.fields(kind)}
    assert kind(**options) == scheduler
    assert kind(**{name: np.int64(v) if v else v for name, v in options.items()}) == scheduler
    assert eval(repr(scheduler), vars(tune)) == scheduler


# What a decision costs.


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
def test_a_decision_costs_the_same_after_twenty_times_the_trials(scheduler):
    costs = []
    for n in (200, 4_000):
        rng = np.random.default_rng(0)
        trials = [tune.Trial(i, {}, 0.0, "done", values=rng.random(9).tolist()) for i in range(n)]
        new = tune.Trial(10**6, {}, values=rng.random(3).tolist())
        driver = SchedulerDriver(scheduler, None, "minimize", 0)
        driver.decide([(new, 2)], [*trials, new], trials, [new])
        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            driver.decide([(new, 2)], [new], trials, [new])
        finally:
            sys.setprofile(None)
        costs.append(calls)
    assert costs[1] <= 1.2 * costs[0] < 150, costs
