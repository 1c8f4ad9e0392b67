"""What an objective can note about its trial, and know about it."""

import contextlib
import json
import sqlite3
import threading

import numpy as np
import pytest
from tune_objectives import WHERE, notes_and_folder, notes_of_rows, somewhere

from fastopt import tune

LINE = {"a": tune.Int(0, 3)}


@pytest.mark.parametrize("where", WHERE)
def test_notes_and_the_folder_reach_the_study_from_wherever_the_objective_runs(tmp_path, where):
    path = tmp_path / "study.db"
    with somewhere(where) as options, tune.Study(LINE, strategy="grid", storage=path) as study:
        study.run(notes_and_folder, **options)
    with tune.Study(LINE, strategy="grid", storage=path) as study:
        assert [trial.state for trial in study.trials] == ["done", "done", "failed", "done"]
        for trial in study.trials:
            assert trial.notes["number"] == trial.number
            assert trial.notes["half"] == trial.params["a"] / 2
            written = tmp_path / "study.db-trials" / "study" / str(trial.number) / "checkpoint"
            assert written.read_text() == str(trial.params["a"])


def test_notes_are_what_json_can_hold():
    def objective(params):
        tune.note(array=np.arange(3), number=np.float32(0.5), nested={"a": (1, None)})
        tune.note(number=2)
        with pytest.raises(TypeError, match="'thing'"):
            tune.note(thing=object())
        return 1.0

    study = tune.Study(LINE, strategy="grid")
    study.run(objective, 1)
    assert study.best.notes == {"array": [0, 1, 2], "number": 2, "nested": {"a": [1, None]}}


def test_a_generator_notes_between_its_values_and_callbacks_run_outside_of_the_trial():
    outside = []

    class Callback:
        def on_report(self, study, trial, step, value):
            with pytest.raises(RuntimeError, match="no trial"):
                tune.current_trial()
            outside.append(step)

    def objective(params):
        for epoch in range(3):
            tune.note(epochs=epoch + 1)
            yield float(tune.current_trial().number)

    study = tune.Study(LINE, strategy="grid", callbacks=[Callback()])
    study.run(objective, 2)
    assert outside == [0, 1, 2] * 2
    assert [trial.notes for trial in study.trials] == [{"epochs": 3}] * 2
    assert [trial.value for trial in study.trials] == [0.0, 1.0]


def test_outside_of_an_objective_there_is_no_trial():
    for call in (tune.current_trial, tune.current_trials, lambda: tune.note(a=1)):
        with pytest.raises(RuntimeError, match=r"objective of study\.run"):
            call()


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_batched_objective_notes_of_each_row_what_stands_in_its_place(tmp_path, n_jobs):
    path = tmp_path / "study.db"
    line = {"a": tune.Int(0, 8)}
    with tune.Study(line, strategy="grid", storage=path) as study:
        study.run(notes_of_rows, batch=9, n_jobs=n_jobs, scheduler=tune.Halving(last=9))
    with tune.Study(line, strategy="grid", storage=path) as study:
        assert [trial.state for trial in study.trials] == ["done", "failed", *["stopped"] * 7]
        for trial in study.trials:
            assert trial.notes["double"] == 2 * trial.params["a"]
            assert trial.notes["epochs"] == len(trial.values) + (trial.state == "failed")
            written = tmp_path / "study.db-trials" / "study" / str(trial.number) / "checkpoint"
            assert written.read_text() == str(trial.params["a"])


def test_a_batched_objective_has_many_trials_and_not_one():
    def objective(params):
        assert [trial.number for trial in tune.current_trials()] == [0, 1, 2, 3]
        with pytest.raises(RuntimeError, match=r"tune\.current_trials\(\)"):
            tune.current_trial()
        return params["a"]

    study = tune.Study(LINE, strategy="grid")
    study.run(objective, batch=4)
    assert [trial.state for trial in study.trials] == ["done"] * 4


@pytest.mark.parametrize("bad", [0.5, "four", [1, 2], {"a": 1, "b": 2}, np.array(1.0), None])
def test_a_note_without_an_entry_for_each_row_is_refused(bad):
    def objective(params):
        with pytest.raises(ValueError, match=r"'thing' must have an entry for each of the 4 rows"):
            tune.note(fine=[1, 2, 3, 4], thing=bad)
        with pytest.raises(TypeError, match="'thing'"):
            tune.note(thing=[1, 2, 3, object()])
        return params["a"]

    study = tune.Study(LINE, strategy="grid")
    study.run(objective, batch=4)
    assert [(trial.state, trial.notes) for trial in study.trials] == [("done", {})] * 4


def test_one_trial_is_a_list_of_one():
    numbers = []

    def objective(params):
        numbers.append([trial.number for trial in tune.current_trials()])
        return 1.0

    tune.Study(LINE, strategy="grid").run(objective, 2)
    assert numbers == [[0], [1]]


def test_each_thread_has_its_own_trial():
    barrier = threading.Barrier(2)

    def objective(params):
        barrier.wait(timeout=30)
        tune.note(seen=tune.current_trial().number)
        return 1.0

    study = tune.Study(LINE, strategy="grid")
    with somewhere("threads") as options:
        study.run(objective, **options)
    assert [trial.notes["seen"] for trial in study.trials] == [0, 1, 2, 3]


@pytest.mark.parametrize("where", ["serial", "threads", "batch"])
def test_a_generator_that_is_stopped_knows_its_trial_while_it_cleans_up(where):
    class Stop:
        def decide(self, moment):
            return "stop"

        def thresholds(self, moment):
            return {1: -1.0}

    def objective(params):
        try:
            yield params["a"]
            yield params["a"]
        finally:
            cleaned.extend(trial.number for trial in tune.current_trials())

    cleaned = []
    study = tune.Study(LINE, strategy="grid")
    with somewhere("serial" if where == "batch" else where) as options:
        options["batch"] = 2 if where == "batch" else None
        study.run(objective, 2, scheduler=Stop(), **options)
    assert [trial.state for trial in study.trials] == ["stopped"] * 2
    assert sorted(cleaned) == [0, 1]


def test_an_objective_may_change_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere, folders = tmp_path / "elsewhere", []
    elsewhere.mkdir()

    def objective(params):
        folders.append(tune.current_trial().folder)
        monkeypatch.chdir(elsewhere)
        return params["x"]

    study = tune.Study({"x": tune.Int(0, 1)}, strategy="grid", storage="s.db")
    study.run(objective)
    assert folders == [tmp_path / "s.db-trials" / "study" / str(number) for number in (0, 1)]
    with pytest.raises(ValueError, match="is the file of the study itself"):
        study.report(tmp_path / "s.db")


def test_a_study_in_memory_has_no_folders():
    def objective(params):
        with pytest.raises(RuntimeError, match="storage="):
            tune.current_trial().folder  # noqa: B018 (it is made on access)
        return 1.0

    tune.Study(LINE, strategy="grid").run(objective, 1)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "ü %", "ü" * 200])
def test_a_folder_lies_beside_the_file_whatever_the_study_is_called(tmp_path, name):
    folders = []

    def objective(params):
        folders.append(tune.current_trial().folder)
        return 1.0

    with tune.Study(LINE, strategy="grid", storage=tmp_path / "s.db", name=name) as study:
        study.run(objective, 1)
    assert folders[0].resolve().parent.parent == (tmp_path / "s.db-trials").resolve()


def test_ask_and_tell_and_add_take_notes():
    study = tune.Study(LINE, strategy="grid")
    study.tell(study.ask(), 1.0, notes={"a": 1})
    study.tell(study.ask(), error="no", notes={"b": np.int64(2)})
    study.add({"a": 3}, 2.0, notes={"c": [3]})
    assert [trial.notes for trial in study.trials] == [{"a": 1}, {"b": 2}, {"c": [3]}]
    with pytest.raises(TypeError, match="notes: 'c'"):
        study.add({"a": 2}, 2.0, notes={"c": {1, 2}})
    trial = study.ask()
    with pytest.raises(TypeError, match="must be a dict"):
        study.tell(trial, 1.0, notes=[1])
    study.tell(trial, 1.0)


def test_a_file_without_notes_gets_them(tmp_path):
    path = tmp_path / "study.db"
    with tune.Study(LINE, strategy="grid", storage=path) as study:
        study.tell(study.ask(), 1.0)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE trials DROP COLUMN notes")
    with tune.Study(LINE, strategy="grid", storage=path) as study:
        assert study.best.notes == {}
        study.tell(study.ask(), 2.0, notes={"a": 1})
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT notes FROM trials ORDER BY number").fetchall()
    assert [json.loads(text) for (text,) in rows] == [{}, {"a": 1}]


@pytest.mark.needs("pandas")
def test_the_table_has_a_column_for_each_note():
    study = tune.Study(LINE, strategy="grid")
    study.tell(study.ask(), 1.0, notes={"accuracy": 0.5})
    study.tell(study.ask(), 2.0)
    frame = study.to_pandas()
    assert frame["note_accuracy"].tolist()[0] == 0.5
    assert frame["note_accuracy"].isna().tolist() == [False, True]


@pytest.mark.needs("matplotlib")
def test_the_report_shows_notes_escaped(tmp_path):
    study = tune.Study(LINE, strategy="grid")
    study.tell(study.ask(), 1.0, notes={"<b>": "<i>"})
    study.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;" in text
    assert "&lt;i&gt;" in text
    assert "<b>" not in text
    assert "<i>" not in text
