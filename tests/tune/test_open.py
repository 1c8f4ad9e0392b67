"""A study's file opens without the program that made it, and what is in it can be revised."""

import contextlib
import json
import math
import os
import sqlite3

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from tune_objectives import SMALL, SPACE, smooth

from fastopt import tune
from fastopt.tune.ledger.restore import StoredObject, pack_space, unpack_space


def square(x):
    return x * x


RICH = {
    **SPACE,
    "steps": tune.Float(0.1, 0.5, step=0.1, initial=0.2),
    "even": tune.Int(2, 20, step=2, when={"rule": "adam", "width": range(4, 9)}),
    "prior": tune.Float(scipy.stats.norm(3.0, scale=0.5)),
    "mixed": tune.Categorical([None, True, 1.5, "a", [1, (2, 3)], {"k": math.inf}]),
    "child": tune.Int(0, 3, when={"mixed": [[1, (2, 3)], None]}),
}


def file_of(path, space=SMALL, n=3, **options):
    with tune.Study(space, strategy="random", storage=path, **options) as study:
        study.run(lambda params: float(len(params)), n)
        return study.trials


@contextlib.contextmanager
def unchanged(folder):
    def contents():
        return {name: (folder / name).read_bytes() for name in os.listdir(folder)}

    before = contents()
    yield
    assert contents() == before


def test_a_space_comes_back_from_its_file_as_it_was(tmp_path):
    trials = file_of(tmp_path / "study.db", RICH, 12)
    with tune.open(tmp_path / "study.db") as study:
        assert [trial.params for trial in study.trials] == [trial.params for trial in trials]
        assert study.space.names == tuple(RICH)
        for name, parameter in RICH.items():
            found = study.space.parameters[name]
            for u in (0.0, 0.13, 0.5, 0.77, 1.0):
                assert found.from_unit(u) == parameter.from_unit(u)
            assert found.initial == parameter.initial
        assert [d.parents for d in study.space.dimensions] == [
            d.parents for d in tune.Space(RICH).dimensions
        ]


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.tuples(inner, inner), max_leaves=6
)


@settings(max_examples=30, deadline=None)
@given(st.lists(values, min_size=1, max_size=6))
def test_choices_come_back_with_their_types(choices):
    try:
        space = tune.Space({"c": tune.Categorical(choices)})
    except ValueError:  # two equal ones
        return
    back = unpack_space(json.loads(json.dumps(pack_space(space))))
    assert repr(back.parameters["c"].choices) == repr(space.parameters["c"].choices)


def test_of_an_object_the_text_comes_back_and_nothing_is_asked(tmp_path):
    path = tmp_path / "study.db"
    space = {"f": tune.Categorical([square, math.sqrt]), "x": tune.Int(0, 3)}
    with tune.Study(space, strategy="grid", storage=path) as study:
        study.run(lambda params: params["f"](params["x"]), 3)
    with tune.open(path, writable=True) as study:
        assert isinstance(study.best_params["f"], StoredObject)
        assert repr(study.best_params["f"]).endswith("square")
        with pytest.raises(ValueError, match=r"only the text of some choices.*tune\.Study"):
            study.ask()
        study.correct(0, 5.0)
    with tune.Study(space, strategy="grid", storage=path) as study:
        assert study.trials[0].value == 5.0
        assert study.best_params["f"] is square


def test_to_open_a_file_changes_nothing_in_its_folder(tmp_path):
    path = tmp_path / "study.db"
    file_of(path)
    with unchanged(tmp_path):
        with tune.open(path) as study:
            assert len(study.trials) == 3
            assert study.best_value == 2.0
            for call in (
                study.ask,
                lambda: study.enqueue({"a": 1, "b": "x"}),
                lambda: study.add({"a": 1, "b": "x"}, 1.0),
                lambda: study.note({"a": 1}),
                lambda: study.delete(0),
                lambda: study.rename("other"),
                lambda: study.run(lambda params: 1.0, 1),
            ):
                with pytest.raises(PermissionError, match=r"writable=True"):
                    call()
        assert tune.studies(path) == ["study"]


def test_a_file_in_a_folder_without_room_for_sqlites_own_files_can_be_read(tmp_path, monkeypatch):
    """As in a folder that cannot be written; for root every folder can."""
    path = tmp_path / "study.db"
    file_of(path)
    connect = sqlite3.connect

    class Unable(sqlite3.Connection):
        def execute(self, *arguments):
            raise sqlite3.OperationalError("unable to open database file")

    def refuse(database, **options):
        factory = sqlite3.Connection if "immutable" in database else Unable
        return connect(database, **options, factory=factory)

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with unchanged(tmp_path), tune.open(path) as study:
        assert len(study.trials) == 3


def test_no_connection_is_left_to_a_file_that_is_no_database(tmp_path, monkeypatch):
    path = tmp_path / "study.db"
    path.write_bytes(b"no database" * 500)
    connect, connections = sqlite3.connect, []

    def keep(*arguments, **options):
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", keep)
    with pytest.raises(ValueError, match="is not a SQLite file"):
        tune.open(path)
    assert connections
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_an_open_file_shows_what_another_process_does(tmp_path):
    path = tmp_path / "study.db"
    with tune.Study(SMALL, strategy="grid", storage=path) as running:
        trial = running.ask()
        with tune.open(path) as study:
            assert [t.state for t in study.trials] == ["running"]
            running.tell(trial, 2.0)
            assert study.best_value == 2.0
        assert len(running.trials) == 1


@pytest.mark.parametrize(
    "strategy",
    [
        "random",
        "sobol",
        tune.TPE(n_initial=3),
        tune.Bayes(n_initial=3),
        tune.Grid(points={"lr": 3, "beta": 2}),
    ],
    ids=str,
)
def test_a_study_goes_on_where_it_is_opened_as_where_it_is_resumed(tmp_path, strategy):
    for name in ("opened", "resumed"):
        with tune.Study(SPACE, strategy=strategy, storage=tmp_path / name, seed=4) as study:
            study.run(smooth, 6)
    with tune.open(tmp_path / "opened", writable=True) as study:
        assert repr(study.strategy) == repr(strategy) or strategy in ("random", "sobol")
        study.run(smooth, 4)
        opened = [trial.params for trial in study.trials]
    with tune.Study(SPACE, strategy=strategy, storage=tmp_path / "resumed", seed=4) as study:
        study.run(smooth, 4)
        assert [trial.params for trial in study.trials] == opened


class Own:
    def __repr__(self):
        return "Own()"

    def ask(self, view):
        return {"a": 0, "b": "x"}


@pytest.mark.parametrize(
    ("options", "word"),
    [({"strategy": Own()}, r"strategy Own\(\)"), ({"constraint": lambda p: True}, "constraint")],
)
def test_what_a_file_cannot_hold_is_not_asked_for(tmp_path, options, word):
    path = tmp_path / "study.db"
    with tune.Study(SMALL, storage=path, **options) as study:
        study.add({"a": 1, "b": "x"}, 1.0)
    with tune.open(path, writable=True) as study:
        assert study.best_value == 1.0
        with pytest.raises(ValueError, match=word):
            study.ask()


def test_a_file_that_does_not_hold_its_space_says_so_until_a_study_has_stored_it(tmp_path):
    path = tmp_path / "study.db"
    file_of(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE studies SET description = json_remove(description, '$.restore')")
    with pytest.raises(ValueError, match=r"earlier fastopt.*tune\.Study\(space"):
        tune.open(path)
    file_of(path, n=0)
    with tune.open(path) as study:
        assert len(study.trials) == 3


def test_a_distribution_that_is_not_of_scipy_cannot_be_opened(tmp_path):
    class Mine:
        def ppf(self, u):
            return u

        def cdf(self, x):
            return x

        def support(self):
            return 0.0, 1.0

        def __repr__(self):
            return "Mine()"

    file_of(tmp_path / "study.db", {"x": tune.Float(Mine())})
    with pytest.raises(ValueError, match=r"'x' has a distribution.*Mine\(\)"):
        tune.open(tmp_path / "study.db")


def test_of_several_studies_one_is_named(tmp_path):
    path = tmp_path / "study.db"
    with pytest.raises(FileNotFoundError):
        tune.open(path)
    with pytest.raises(FileNotFoundError):
        tune.studies(path)
    assert os.listdir(tmp_path) == []
    file_of(path, name="first")
    file_of(path, {"x": tune.Int(0, 9)}, name="second")
    assert tune.studies(path) == ["first", "second"]
    with pytest.raises(ValueError, match="name must be given, as the file holds 'first', 'second'"):
        tune.open(path)
    with pytest.raises(ValueError, match="holds no study 'third'; there are: 'first', 'second'"):
        tune.open(path, "third")
    with tune.open(path, "second") as study:
        assert study.space.names == ("x",)


# Revisions


def told(study, values):
    for value in values:
        study.tell(study.ask(), value)


def test_a_value_is_corrected_a_trial_invalidated_another_deleted(tmp_path):
    path = tmp_path / "study.db"
    study = tune.Study(SMALL, strategy="grid", storage=path)
    other = tune.Study(SMALL, strategy="grid", storage=path)
    told(study, [1.0, 2.0, 3.0, 4.0])
    assert other.best_value == 1.0
    deleted = study.trials[0]
    study.delete(0)
    study.invalidate(1, "the data were wrong")
    study.correct(3, 2.5)
    for each in (study, other, tune.open(path)):
        assert [t.number for t in each.trials] == [1, 2, 3]
        assert [t.number for t in each.finished] == [2, 1, 3]
        assert [t.state for t in each.trials] == ["failed", "done", "done"]
        assert each.trials[0].error == "the data were wrong"
        assert each.best.number == 3
    assert deleted.state == "deleted"
    # Its point is free again, its number is not.
    trial = other.ask()
    assert (trial.number, trial.params) == (4, deleted.params)
    study.correct(1, 0.5)
    assert other.best_value == 0.5
    assert other.trials[0].error is None


@pytest.mark.parametrize("strategy", ["tpe", "bayes", "random"])
def test_after_a_revision_a_study_goes_on_as_a_resumed_one(tmp_path, strategy):
    path = tmp_path / "study.db"
    lasting = tune.Study(SPACE, strategy=strategy, storage=path)
    lasting.run(smooth, 13)
    lasting.delete(3)
    lasting.correct(5, -1.0)
    lasting.invalidate(7, "no")
    lasting.copy(tmp_path / "twin.db")
    with tune.Study(SPACE, strategy=strategy, storage=tmp_path / "twin.db") as resumed:
        assert [t.number for t in resumed.finished] == [t.number for t in lasting.finished]
        expected = [resumed.ask().params for _ in range(3)]
    assert [lasting.ask().params for _ in range(3)] == expected


@pytest.mark.parametrize("strategy", ["tpe", "bayes"])
def test_a_study_in_memory_notices_its_own_revisions(strategy):
    def study():
        study = tune.Study(SPACE, strategy=strategy)
        study.run(smooth, 12)
        return study

    revised, fresh = study(), study()
    revised.ask()  # the strategy has been shown the first version
    fresh.ask()
    for each in (revised, fresh):
        each.correct(4, -5.0)
    fresh._ledger._driver.forget()
    assert revised.ask().params == fresh.ask().params


def test_only_trials_that_have_ended_are_revised(tmp_path):
    study = tune.Study(SMALL, strategy="grid", storage=tmp_path / "study.db")
    told(study, [1.0])
    study.ask()
    calls = [study.delete, lambda n: study.correct(n, 1.0), lambda n: study.invalidate(n, "no")]
    for call in calls:
        with pytest.raises(ValueError, match="trial 1 is running"):
            call(1)
        with pytest.raises(ValueError, match="trial 7 does not exist"):
            call(7)
    for bad in (math.nan, "1", None):
        with pytest.raises(ValueError, match="correct: the value is"):
            study.correct(0, bad)
    study.delete(0)
    for call in calls:
        with pytest.raises(ValueError, match="trial 0 has been deleted"):
            call(0)


def test_a_deleted_trial_is_replaced_by_a_search_for_a_number_of_trials(tmp_path):
    options = {"strategy": "random", "storage": tmp_path / "study.db"}
    study = tune.minimize(smooth, SPACE, 5, **options)
    study.delete(2)
    study = tune.minimize(smooth, SPACE, 5, **options)
    assert [trial.number for trial in study.trials] == [0, 1, 3, 4, 5]


# Copies and names


def test_a_copy_holds_all_and_goes_on_by_itself(tmp_path):
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    for storage in (None, source):
        name = "memory" if storage is None else "file"
        study = tune.Study(SMALL, strategy="random", storage=storage, name=name)
        told(study, [1.0, 2.0])
        study.add({"a": 1, "b": "x"}, 0.5, notes={"k": 1}, values=[2.0, 1.0])
        study.enqueue({"a": 2, "b": "y"})
        study.note({"data": "digits"})
        running = study.ask()
        study.copy(target)
        expected = [study.ask().params for _ in range(2)]
        with tune.open(target, name, writable=True) as copied:
            assert [t.params for t in copied.trials] == [t.params for t in study.trials][:4]
            assert copied.best.notes == {"k": 1}
            assert copied.best.values == [2.0, 1.0]
            assert copied.notes == {"data": "digits"}
            assert copied.ask().params == running.params
            assert [copied.ask().params for _ in range(2)] == expected
        with pytest.raises(ValueError, match="already"):
            study.copy(target)
    study.copy(source, "twin")
    assert tune.studies(source) == ["file", "twin"]
    assert tune.studies(target) == ["memory", "file"]


def test_a_study_is_renamed(tmp_path):
    path = tmp_path / "study.db"
    file_of(path, name="first")
    with tune.open(path, writable=True) as study:
        study.rename("best of all")
        assert study.name == "best of all"
        study.copy(path, "first")
        with pytest.raises(ValueError, match="holds a study 'first' already"):
            study.rename("first")
    assert tune.studies(path) == ["best of all", "first"]
    assert len(tune.open(path, "best of all").trials) == 3


# Wider spaces


def test_a_space_is_widened_on_resuming(tmp_path):
    path = tmp_path / "study.db"
    old = {
        "x": tune.Float(0.0, 1.0),
        "n": tune.Int(2, 8, step=2),
        "rule": tune.Categorical(["adam", square]),
    }
    with tune.Study(old, strategy="random", storage=path) as study:
        told(study, [3.0, 1.0, 2.0])
        study.enqueue({"x": 0.5, "n": 4, "rule": "adam"})
        before = [trial.params for trial in study.trials]
        stale = tune.Study(old, strategy="random", storage=path)
    new = {
        "x": tune.Float(-1.0, 2.0),
        "n": tune.Int(0, 12, step=2),
        "rule": tune.Categorical(["adam", square, "nag"]),
        "decay": tune.Float(0.0, 1.0, initial=0.0),
        "beta": tune.Float(0.0, 1.0, initial=0.9, when={"rule": "adam"}),
    }
    with pytest.raises(ValueError, match="started differently"):
        tune.Study(new, strategy="random", storage=path)
    with tune.Study(new, strategy="random", storage=path, resume="extend") as study:
        for trial, params in zip(study.trials, before, strict=True):
            extra = {"beta": 0.9} if params["rule"] == "adam" else {}
            assert trial.params == {**params, "decay": 0.0, **extra}
        assert study.best_value == 1.0
        assert study.ask().params == {
            "x": 0.5, "n": 4, "rule": "adam", "decay": 0.0, "beta": 0.9
        }  # fmt: skip
        study.run(lambda params: params["x"], 40)
        assert study.best_value < 0.0
    # The new space is the study's from now on.
    with tune.Study(new, strategy="random", storage=path) as study:
        assert len(study.trials) == 44
    with pytest.raises(ValueError, match="has been extended by another process"):
        stale.ask()


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"x": tune.Float(0.5, 1.0)}, ["'x'", "outside of the bounds"]),
        ({"x": tune.Float(0.0, 0.5)}, ["'x'", "outside of the bounds"]),
        ({"x": tune.Float(0.0, 1.0, log=False, step=0.1)}, ["'x'", "step"]),
        ({"x": tune.Int(0, 1)}, ["'x'", "type"]),
        ({"n": tune.Int(1, 9, step=2)}, ["'n'", "grid"]),
        ({"c": tune.Categorical(["b", "a", "c"])}, ["'c'", "begin with"]),
        ({"c": tune.Categorical(["a"])}, ["'c'", "begin with"]),
        ({"c": None}, ["'c'", "missing"]),
        ({"new": tune.Float(0.0, 1.0)}, ["'new'", "initial="]),
        ({"x": tune.Float(0.0, 1.0, when={"c": "a"})}, ["'x'", "when"]),
    ],
)
def test_a_space_that_is_not_wider_is_refused_and_nothing_changes(tmp_path, new, words):
    path = tmp_path / "study.db"
    old = {
        "x": tune.Float(0.0, 1.0),
        "n": tune.Int(2, 8, step=2),
        "c": tune.Categorical(["a", "b"]),
    }
    file_of(path, old)
    space = {name: p for name, p in {**old, **new}.items() if p is not None}
    with unchanged(tmp_path), pytest.raises(ValueError, match="cannot be extended") as caught:
        tune.Study(space, strategy="random", storage=path, resume="extend")
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(ValueError, match="seed"):
        tune.Study(old, strategy="random", seed=9, storage=path, resume="extend")


def test_resume_is_one_of_its_words():
    with pytest.raises(ValueError, match=r"resume.*'same', 'extend'"):
        tune.Study(SMALL, resume="wider")
