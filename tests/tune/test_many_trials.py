"""What a trial costs does not grow with the trials before it.

Work is counted, not time: calls in Python, and instructions of SQLite's machine.
"""

import contextlib
import json
import sqlite3
import sys

import pytest
from tune_objectives import SPACE, smooth

from fastopt import tune

FEW, MANY = 100, 2_000


class Work:
    """Counts the work inside a `with` block."""

    def __init__(self, study=None):
        self.calls = self.instructions = 0
        self.connection = None if study is None else study._ledger.storage.database.connection()

    def __enter__(self):
        if self.connection is not None:
            self.connection.set_progress_handler(self.instruction, 1)
        sys.setprofile(self.call)
        return self

    def __exit__(self, *exception):
        sys.setprofile(None)
        if self.connection is not None:
            self.connection.set_progress_handler(None, 0)

    def instruction(self):
        self.instructions += 1

    def call(self, frame, event, argument):
        # the counting of instructions is not work
        if event == "call" and frame.f_code is not Work.instruction.__code__:
            self.calls += 1


def study_of(path, trials, strategy="random"):
    """A study in which a number of trials have been told, all but ten written by SQL."""
    study = tune.Study(SPACE, strategy=strategy, seed=0, storage=path)
    for _ in range(10):
        trial = study.ask()
        study.tell(trial, smooth(trial.params))
    study.close()
    suggested = tune.Study(SPACE, strategy=strategy, seed=0)
    rows = []
    for number in range(trials):
        params = suggested.ask().params
        if number >= 10:
            version = 2 * number + 1
            rows.append((number, json.dumps(params), smooth(params), version, version + 1))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO trials (study, number, params, state, value, started, finished, asked,"
            " version) VALUES (1, ?, ?, 'done', ?, 0.0, 1.0, ?, ?)",
            rows,
        )
        connection.execute("UPDATE studies SET version = ?", (2 * trials,))
    return tune.Study(SPACE, strategy=strategy, seed=0, storage=path)


def work_of_a_trial(study):
    """What one trial costs: calls and instructions of ask, and those of tell."""
    with Work(study) as asking:
        trial = study.ask()
    with Work(study) as telling:
        study.tell(trial, 1.0)
    return asking.calls, asking.instructions, telling.calls, telling.instructions


@pytest.mark.parametrize("strategy", ["random", "sobol"])
def test_ask_and_tell_cost_the_same_after_twenty_times_the_trials(tmp_path, strategy):
    costs = []
    for trials in (FEW, MANY):
        study = study_of(tmp_path / f"{trials}.db", trials, strategy)
        assert len(study.finished) == trials
        study.tell(study.ask(), 1.0)  # the first one does some work only once
        # The least of several, since a study sometimes checkpoints its file, by the clock.
        works = [work_of_a_trial(study) for _ in range(4)]
        costs.append([min(counts) for counts in zip(*works, strict=True)])
        assert len(study.finished) == trials + 5
        study.close()
    few, many = costs
    assert min(few) > 10
    # A suggestion may need one draw more or less.
    assert all(later <= 1.1 * sooner for sooner, later in zip(few, many, strict=True)), costs


@pytest.mark.slow
def test_opening_costs_the_same_for_each_trial(tmp_path):
    calls = []
    for trials in (200, MANY):
        path = tmp_path / f"{trials}.db"
        study_of(path, trials).close()
        with Work() as opening:
            study = tune.Study(SPACE, strategy="random", seed=0, storage=path)
        assert len(study.finished) == trials
        calls.append(opening.calls / trials)
    assert calls[1] <= 1.1 * calls[0], calls
