"""Decisions reach the trials wherever these run, are stored, and survive kill and resume."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from processes import start_script
from tune_objectives import (
    LARGE,
    StopsAfter,
    hangs_after_a_value,
    learning,
    learning_together,
    notes_each_value,
    somewhere,
    until_stopped,
)

from fastopt import tune

A = {"a": tune.Int(0, 19)}
SCHEDULERS = [
    tune.Halving(),
    tune.Hyperband(last=9),
    tune.TopK(2, after=3),
    tune.Median(trials=2),
]
SCRIPT = Path(__file__).parent / "tune_objectives.py"


def fates(study):
    return [(trial.number, trial.state, trial.value, trial.values) for trial in study.trials]


def test_workers_are_stopped_at_rungs_and_nowhere_else():
    study = tune.Study(A, strategy="random")
    study.run(learning, 11, n_jobs=2, scheduler=tune.Halving())
    assert len(study.finished) == 11
    # With two workers the order is chance, but the values of a trial are not.
    for trial in study.trials:
        assert trial.values == list(learning(trial.params))[: len(trial.values)]
        assert trial.state == ("done" if len(trial.values) == 9 else "stopped")
        assert len(trial.values) in (1, 3, 9)


def test_a_worker_stops_at_the_next_value_and_cleans_up(tmp_path):
    space = {"a": tune.Int(0, 5), "folder": tune.Categorical([str(tmp_path)])}
    study = tune.Study(space, strategy="grid")
    study.run(until_stopped, n_jobs=2, scheduler=StopsAfter(3))
    assert [(t.state, t.values) for t in study.trials] == [("stopped", [a] * 3) for a in range(6)]
    assert sorted(os.listdir(tmp_path)) == [str(a) for a in range(6)]


def waiting(levels, scheduler):
    """The trial of each value, in the order of the values; and the study."""
    order = []

    def objective(params):
        for _ in range(9):
            order.append(params["i"])
            yield levels[params["i"]]

    study = tune.Study({"i": tune.Int(0, len(levels) - 1)}, strategy="grid")
    study.run(objective, scheduler=scheduler)
    return order, study


def test_paused_trials_go_on_when_others_have_come():
    order, study = waiting([3.0, 1.0, 2.0, 9.0, 8.0, 7.0, 0.0], tune.Halving(last=9, pause=True))
    # Of three trials the best goes on to the next rung, of six the best two. 0.0 comes last. It
    # goes on as one of the best two of seven. Then three trials are at rung 3.
    assert order == [0, 1, 2, 1, 1, 3, 4, 5, 2, 2, 6, 6, 6, *[6] * 6]
    ended = [(t.state, len(t.values)) for t in study.trials]
    assert ended == [
        ("stopped", 1), ("stopped", 3), ("stopped", 3),
        ("stopped", 1), ("stopped", 1), ("stopped", 1), ("done", 9),
    ]  # fmt: skip


def test_top_k_with_pauses_trains_all_and_then_exactly_the_best():
    order, study = waiting([3.0, 1.0, 2.0, 0.0, 5.0], tune.TopK(2, after=2, pause=True))
    assert order == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, *[3] * 7, *[1] * 7]
    assert [trial.state for trial in study.trials].count("done") == 2


def test_of_few_paused_trials_one_goes_on_in_the_end():
    _, study = waiting([2.0, 1.0], tune.Halving(pause=True, last=9))
    assert [(t.state, len(t.values)) for t in study.trials] == [("stopped", 1), ("done", 9)]


def test_paused_trials_end_when_the_study_is_stopped():
    class Stop:
        def on_report(self, study, trial, step, value):
            if trial.number == 3:
                study.stop()

    closed = []

    def objective(params):
        try:
            yield from [1.0, 1.0]
        finally:
            closed.append(params["a"])

    study = tune.Study(A, strategy="grid")
    study.run(objective, scheduler=tune.TopK(1, pause=True), callbacks=[Stop()])
    assert [(t.state, t.value, t.values) for t in study.trials] == [("stopped", 1.0, [1.0])] * 4
    assert sorted(closed) == [0, 1, 2, 3]


class Pauses:
    """A user's own scheduler, which pauses trials and never resumes one."""

    def decide(self, moment):
        return "pause"


def test_where_nobody_is_resumed_all_end():
    study = tune.Study({"a": tune.Int(0, 2)}, strategy="grid")
    study.run(learning, scheduler=Pauses())
    assert [(t.state, len(t.values)) for t in study.trials] == [("stopped", 1)] * 3


@pytest.mark.parametrize("options", [{"batch": 4}, {"n_jobs": 2}, {"executor": 1}], ids=str)
def test_trials_pause_in_this_process_alone(options):
    study = tune.Study(A, strategy="grid")
    with pytest.raises(TypeError, match="pauses trials"):
        study.run(learning, scheduler=tune.Halving(pause=True), **options)
    assert study.trials == []
    with pytest.raises(TypeError, match="pauses trials"):
        study.run(learning_together, scheduler=Pauses(), batch=4)


@pytest.mark.parametrize("where", ["serial", "threads"])
@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=repr)
def test_an_executor_decides_by_what_is_known_at_the_start(where, scheduler):
    curves = [[a] * 9 for a in (5.0, 3.0, 4.0, 1.0, 2.0, 7.0, 0.0, 8.0)]
    study = tune.Study({"i": tune.Int(0, 7)}, strategy="grid")
    with somewhere(where) as options:
        options.pop("n_jobs", None)
        if options:
            options["n_jobs"] = 1
        study.run(lambda params: iter(curves[params["i"]]), scheduler=scheduler, **options)
    straight = tune.Study({"i": tune.Int(0, 7)}, strategy="grid")
    straight.run(lambda params: iter(curves[params["i"]]), scheduler=scheduler)
    assert fates(study) == fates(straight)
    assert {trial.state for trial in study.trials} == {"done", "stopped"}


def test_a_scheduler_without_limits_is_refused_in_an_executor():
    study = tune.Study(A, strategy="grid")
    with somewhere("threads") as options, pytest.raises(TypeError, match=r"thresholds.*n_jobs="):
        study.run(learning, scheduler=StopsAfter(2), **options)
    assert [trial.state for trial in study.trials] == ["running"]


class InterruptAt:
    """Ctrl-C at the n-th report."""

    def __init__(self, n):
        self.left = n

    def on_report(self, study, trial, step, value):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


PAUSING = [tune.Halving(pause=True), tune.Hyperband(last=9, pause=True), tune.TopK(2, pause=True)]


@pytest.mark.parametrize(
    ("scheduler", "batch"),
    [*((s, batch) for s in SCHEDULERS for batch in (None, 5)), *((s, None) for s in PAUSING)],
    ids=str,
)
def test_interrupted_anywhere_and_resumed_the_decisions_are_the_same(tmp_path, scheduler, batch):
    objective = learning if batch is None else learning_together
    options = {"scheduler": scheduler, "batch": batch}
    whole = tune.Study(A, strategy="random", seed=3)
    whole.run(objective, 10, **options)
    assert {trial.state for trial in whole.trials} == {"done", "stopped"}
    reports = sum(len(trial.values) for trial in whole.trials)
    for n in range(1, reports + 1, 11):
        path = tmp_path / f"{n}.db"
        broken_off = tune.Study(A, strategy="random", seed=3, storage=path)
        with broken_off, pytest.raises(KeyboardInterrupt):
            broken_off.run(objective, 10, callbacks=[InterruptAt(n)], **options)
        with tune.Study(A, strategy="random", seed=3, storage=path) as study:
            study.run(objective, 10 - len(study.finished), **options)
            assert fates(study) == fates(whole)


@pytest.mark.parametrize(
    ("batch", "line"),
    [
        (0, 29),
        (6, 19),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(0, 4), (6, 40)]),
    ],
)
def test_killed_and_resumed_the_decisions_are_the_same(tmp_path, batch, line):
    path = tmp_path / "study.db"
    process = start_script(SCRIPT, "run_scheduled", path, batch)
    for _ in range(line):
        assert process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    objective, options = (learning_together, {"batch": batch}) if batch else (learning, {})
    straight = tune.Study(LARGE, strategy="random")
    straight.run(objective, 24, scheduler=tune.Halving(), **options)
    with tune.Study(LARGE, strategy="random", storage=path) as study:
        study.run(objective, 24 - len(study.finished), scheduler=tune.Halving(), **options)
        assert fates(study) == fates(straight)


def test_where_an_attempt_had_gone_on_the_next_goes_on():
    """However good the trials in between are."""
    study = tune.Study({"i": tune.Int(0, 9)}, strategy="grid")
    values = iter([5.0, 5.0, 5.0])

    def breaks_off(params):
        yield next(values)
        yield next(values)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(breaks_off, 1, scheduler=tune.Halving())
    assert study.trials[0].values == [5.0, 5.0]
    for i in range(5, 8):
        study.add({"i": i}, 0.0, values=[0.0] * 9)
    study.run(lambda params: iter([5.0] * 9), 1, scheduler=tune.Halving())
    # At rung 1 it had been decided that it goes on. It is stopped at rung 3.
    assert (study.trials[0].state, study.trials[0].values) == ("stopped", [5.0] * 3)


def test_what_was_decided_is_not_asked_again():
    asked, attempts = [], iter([2, 4])

    class Asked:
        def decide(self, moment):
            asked.append((moment.decided, moment.epochs))
            return "go"

    def objective(params):
        for _ in range(next(attempts)):
            yield 1.0
        if len(asked) == 2:
            raise KeyboardInterrupt

    study = tune.Study({"i": tune.Int(0, 9)}, strategy="grid")
    with pytest.raises(KeyboardInterrupt):
        study.run(objective, 1, scheduler=Asked())
    study.run(objective, 1, scheduler=Asked())
    assert asked == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_paused_trials_of_an_interrupted_run_come_before_any_goes_on():
    levels, order = [1.0, 5.0, 2.0], []

    def objective(params):
        for _ in range(3):
            order.append(params["i"])
            yield levels[params["i"]]

    study = tune.Study({"i": tune.Int(0, 2)}, strategy="grid")
    scheduler = tune.Halving(eta=2, last=2, pause=True)
    with pytest.raises(KeyboardInterrupt):
        study.run(objective, scheduler=scheduler, callbacks=[InterruptAt(2)])
    study.run(objective, scheduler=scheduler)
    # It was broken off before 0, of which 1 had shown that it is the better, could go on.
    assert order == [0, 1, 0, 1, 0, 0, 2]
    assert [trial.state for trial in study.trials] == ["done", "stopped", "stopped"]


def test_the_values_of_an_interrupted_attempt_are_not_compared_with():
    study = tune.Study({"i": tune.Int(0, 9)}, strategy="grid")
    attempts = iter([[0.0, KeyboardInterrupt], [9.0] * 9])

    def objective(params):
        for value in next(attempts) if params["i"] == 0 else [1.0] * 9:
            if value is KeyboardInterrupt:
                raise value
            yield value

    with pytest.raises(KeyboardInterrupt):
        study.run(objective, scheduler=tune.Halving(first=3, eta=9))
    study.run(objective, 2, scheduler=tune.Halving(first=3, eta=9))
    assert [trial.state for trial in study.trials] == ["done", "done"]


def test_a_decision_and_its_values_are_one_write(tmp_path):
    """A reader of the file sees both or neither, at any moment."""
    path = tmp_path / "study.db"
    seen = []

    class Read:
        def on_report(self, study, trial, step, value):
            with closing(sqlite3.connect(path)) as connection:
                seen.append(
                    connection.execute(
                        "SELECT state, epochs, decided FROM trials WHERE number = ?",
                        (trial.number,),
                    ).fetchone()
                )

    with tune.Study({"i": tune.Int(0, 2)}, strategy="grid", storage=path) as study:
        study.run(
            lambda params: iter([params["i"]] * 4), scheduler=tune.Halving(), callbacks=[Read()]
        )
    rows = dict.fromkeys((state, tuple(json.loads(text)), n) for state, text, n in seen)
    rungs = [(state, list(values), n) for state, values, n in rows if len(values) == n]
    assert rungs == [
        ("running", [0.0], 1),
        ("running", [0.0] * 3, 3),
        ("stopped", [1.0], 1),
        ("stopped", [2.0], 1),
    ]


def test_processes_that_share_a_file_compare_with_each_other(tmp_path):
    one, two = (tune.Study(A, strategy="random", storage=tmp_path / "study.db") for _ in range(2))

    class RunTheOther:
        """While the first trial of the first process is at its second value."""

        def on_report(self, study, trial, step, value):
            if (trial.number, step) == (0, 1):
                two.run(lambda params: iter([7.0] * 9), 1, scheduler=tune.Halving())

    one.run(lambda params: iter([5.0] * 9), 1, scheduler=tune.Halving(), callbacks=[RunTheOther()])
    assert [(t.state, len(t.values)) for t in one.trials] == [("done", 9), ("stopped", 1)]


def test_a_file_of_an_earlier_version_gets_what_schedulers_store(tmp_path):
    path = tmp_path / "study.db"
    with tune.Study(A, strategy="grid", storage=path) as study:
        study.tell(study.ask(), 1.0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE trials DROP COLUMN decided")
    with tune.Study(A, strategy="grid", storage=path) as study:
        study.run(learning, 5, scheduler=tune.Halving())
        assert len(study.finished) == 6


@pytest.mark.slow
def test_a_worker_that_was_told_to_stop_and_hangs_is_replaced():
    study = tune.Study(A, strategy="grid")
    study.run(hangs_after_a_value, 3, n_jobs=2, trial_timeout=5.0, scheduler=StopsAfter(1))
    assert [trial.state for trial in study.trials] == ["stopped"] * 3


@pytest.mark.parametrize(
    ("n_jobs", "scheduler"),
    [(1, StopsAfter(2)), (1, tune.TopK(1, after=2, pause=True)), (2, StopsAfter(2))],
)
def test_a_stopped_trial_keeps_what_it_has_noted(n_jobs, scheduler):
    study = tune.Study({"a": tune.Int(1, 3)}, strategy="grid")
    study.run(notes_each_value, n_jobs=n_jobs, scheduler=scheduler)
    stopped = [trial for trial in study.trials if trial.state == "stopped"]
    assert len(stopped) >= 2
    assert all(trial.notes == {"steps": 2, "a": trial.params["a"]} for trial in stopped)
