"""A study is copied into a file, and gets another name."""

import pytest
from study_files import file_of, told
from tune_objectives import SMALL

from fastopt import tune
from fastopt.tune.ledger.sqlite import Storage


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


def test_a_copy_that_cannot_be_written_to_its_end_leaves_no_study(tmp_path, monkeypatch):
    study = tune.Study(SMALL, strategy="random")
    told(study, [1.0, 2.0])
    target, contents = tmp_path / "target.db", Storage.contents

    def with_one_twice(self):
        description, found = contents(self)
        return description, {**found, "trials": found["trials"] * 2}

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "contents", with_one_twice)
        with pytest.raises(OSError, match=r"target\.db"):
            study.copy(target)
    assert tune.studies(target) == []
    study.copy(target)
    assert len(tune.open(target).trials) == 2


def test_a_copy_has_the_space_to_which_another_process_has_extended_the_study(tmp_path):
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    study = tune.Study({"x": tune.Int(0, 9)}, strategy="random", storage=source)
    told(study, [1.0, 2.0])
    wider = {"x": tune.Int(0, 99), "y": tune.Float(0.0, 1.0, initial=0.5)}
    with tune.Study(wider, strategy="random", storage=source, resume="extend") as extended:
        told(extended, [0.0])
        study.copy(target)
        with tune.open(target) as copied:
            assert [t.params for t in copied.trials] == [t.params for t in extended.trials]
            assert repr(copied.space) == repr(extended.space)


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
