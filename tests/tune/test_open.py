"""A study's file opens without the program that made it."""

import contextlib
import json
import math
import os
import sqlite3

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from study_files import file_of, square, unchanged
from tune_objectives import SMALL, SPACE, smooth

from fastopt import tune
from fastopt.tune.command_line.main import main
from fastopt.tune.ledger.encoding import describe
from fastopt.tune.ledger.restore import StoredObject, pack_space, unpack_space

RICH = {
    **SPACE,
    "steps": tune.Float(0.1, 0.5, step=0.1, initial=0.2),
    "even": tune.Int(2, 20, step=2, when={"rule": "adam", "width": range(4, 9)}),
    "prior": tune.Float(scipy.stats.norm(3.0, scale=0.5)),
    "mixed": tune.Categorical([None, True, 1.5, "a", [1, (2, 3)], {"k": math.inf}]),
    "child": tune.Int(0, 3, when={"mixed": [[1, (2, 3)], None]}),
}


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


MANY = {
    "n": tune.Int(10, 10**7, step=10),
    "x": tune.Float(0.0, 1e6, step=0.5),
    "far": tune.Int(0, 3, when={"n": range(50, 10**7, 20)}),
    "whole": tune.Int(0, 3, when={"x": range(5, 10**6)}),
    "listed": tune.Int(0, 3, when={"n": list(range(50, 10**5, 10))}),
    "array": tune.Int(0, 3, when={"n": np.arange(50, 10**5, 10)}),
    "few": tune.Int(0, 3, when={"n": range(50, 90, 20)}),
}


def test_a_condition_on_very_many_values_takes_little_of_a_file(tmp_path):
    path = tmp_path / "study.db"
    with tune.Study(MANY, strategy="random", storage=path, seed=0) as study:
        study.run(lambda params: float(len(params)), 5)
        parents, shown = [d.parents for d in study.space.dimensions], repr(study.space)
    with tune.open(path) as study:
        assert [dimension.parents for dimension in study.space.dimensions] == parents
        assert len(repr(study.space)) <= len(shown)
    with tune.Study(MANY, strategy="random", storage=path, seed=0) as study:
        assert len(study.trials) == 5
    without = {**MANY, "listed": MANY["array"]}
    packed = json.dumps([pack_space(tune.Space(MANY)), describe(tune.Space(without), "", "", 0)])
    assert len(packed) < 3000
    assert pack_space(tune.Space(MANY))["few"]["when"] == {"n": [4, 6]}


def test_a_file_that_lists_the_values_of_a_range_still_opens():
    space = tune.Space(MANY)
    listed = pack_space(space)
    for name, dimension in zip(MANY, space.dimensions, strict=True):
        if name in ("listed", "array", "few"):
            listed[name]["when"] = {"n": list(dimension.parents[0][1])}
    back = unpack_space(json.loads(json.dumps(listed)))
    assert [d.parents for d in back.dimensions] == [d.parents for d in space.dimensions]


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


def test_choices_that_are_scalars_of_numpy_come_back_as_they_were(tmp_path, capsys):
    path = str(tmp_path / "study.db")
    choices = [np.int64(3), np.float32(0.1), np.float64("nan"), np.str_("a"), np.bool_(True)]
    space = {"c": tune.Categorical([*choices, [np.uint8(200)]])}
    with tune.Study(space, strategy="grid", storage=path) as study:
        study.run(lambda params: 1.0, 2)
    with tune.open(path, writable=True) as study:
        assert repr(study.space) == repr(tune.Space(space))
        study.run(lambda params: 1.0)
        assert len(study.trials) == 6
    tune.Study(space, strategy="grid", storage=path).close()
    assert main(["best", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == {"c": 3}


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
    """Simulates a folder that cannot be written, since root can write everywhere."""
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
            shown = repr(study.strategy)
    with tune.open(tmp_path / "opened", writable=True) as study:
        assert repr(study.strategy) == shown
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


def test_a_study_that_had_a_constraint_once_is_not_asked_without_it(tmp_path):
    path = tmp_path / "study.db"
    for constraint in (None, lambda params: params["a"] > 2, None):
        tune.Study(SMALL, strategy="random", storage=path, constraint=constraint).close()
    study = tune.open(path, writable=True)
    with pytest.raises(ValueError, match="the study has a constraint of its program's"):
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


@pytest.mark.parametrize("open_file", [tune.open, tune.studies])
def test_an_empty_file_is_called_empty(tmp_path, open_file):
    path = tmp_path / "study.db"
    path.touch()
    with unchanged(tmp_path), pytest.raises(ValueError, match=r"study\.db is empty: no study"):
        open_file(path)


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
