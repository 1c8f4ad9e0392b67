"""A study is resumed with a wider space."""

import numpy as np
import pytest
import scipy.stats
from study_files import file_of, square, told, unchanged
from tune_objectives import SMALL

from fastopt import tune


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
    for refused in (stale.ask, lambda: stale.enqueue({"x": 0.5, "n": 4, "rule": "adam"})):
        with pytest.raises(ValueError, match="has been extended by another process"):
            refused()


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


def test_a_distribution_may_be_written_otherwise_on_resuming(tmp_path):
    def open_with(*arguments):
        space = {"x": tune.Float(scipy.stats.norm(*arguments))}
        return tune.Study(space, strategy="random", storage=tmp_path / "study.db")

    for arguments in ((0, 1), (0.0, 1.0), (np.float64(0), np.int64(1))):
        open_with(*arguments).close()
    with pytest.raises(ValueError, match="distribution"):
        open_with(0, 2)
    with tune.open(tmp_path / "study.db", writable=True) as opened:
        opened.ask()


def test_a_distribution_that_is_not_of_scipy_is_known_again(tmp_path):
    class Own:
        def ppf(self, u):
            return u

        def cdf(self, x):
            return x

        def support(self):
            return 0.0, 1.0

    for _ in range(2):
        tune.Study({"x": tune.Float(Own())}, storage=tmp_path / "study.db").close()


@pytest.mark.parametrize("written", [1, [1], (1,), {1}, range(1, 2)], ids=repr)
def test_a_condition_may_be_written_otherwise_on_resuming(tmp_path, written):
    def open_with(allowed):
        space = {"n": tune.Int(1, 3), "x": tune.Float(0.0, 1.0, when={"n": allowed})}
        return tune.Study(space, storage=tmp_path / "study.db", seed=0)

    open_with(1).close()
    open_with(written).close()
    with pytest.raises(ValueError, match=r"'x': .*when={'n': 1} there, .*when={'n': 2} here"):
        open_with(2)


def test_a_condition_may_be_written_otherwise_on_extending(tmp_path):
    def open_with(allowed, last):
        space = {
            "rule": tune.Categorical(["adam", "nag"]),
            "x": tune.Float(0.0, last, when={"rule": allowed}),
        }
        return tune.Study(space, storage=tmp_path / "study.db", seed=0, resume="extend")

    open_with("adam", 1.0).close()
    open_with(["adam"], 2.0).close()
    with pytest.raises(ValueError, match=r"'x': when is .*\['adam'\]} there, .*'nag'} here"):
        open_with("nag", 2.0)
