"""What a newcomer types and sees first: names, messages, notebooks."""

import concurrent.futures
import copy
import io
import os
import pickle
import re
import sys
import types

import numpy as np
import pytest
from tune_objectives import SMALL, small

from fastopt import tune
from fastopt.tune import _habits
from fastopt.tune.running.progress import Progress


def grid(**options):
    return tune.Study(SMALL, strategy="grid", **options)


def message(error, action):
    with pytest.raises(error) as caught:
        action()
    return str(caught.value)


def test_dir_shows_what_is_public_and_nothing_else():
    assert dir(tune) == sorted(tune.__all__)


@pytest.mark.parametrize("name", tune.__all__)
def test_public_objects_come_from_the_package_that_documents_them(name):
    assert getattr(tune, name).__module__ == "fastopt.tune"


def test_choices_given_one_by_one():
    text = message(TypeError, lambda: tune.Categorical("adam", "nag"))
    assert "Categorical(['adam', 'nag'])" in text


@pytest.mark.parametrize("search", [tune.minimize, tune.maximize])
def test_a_misspelt_argument(search):
    text = message(TypeError, lambda: search(small, SMALL, 3, strateg="grid"))
    assert "did you mean 'strategy'?" in text
    assert "n_jobs" in message(TypeError, lambda: search(small, SMALL, 3, quickly=True))


def test_a_misspelt_name():
    text = message(ValueError, lambda: tune.Study(SMALL, strategy="baies"))
    assert "strategy must be one of" in text
    assert "did you mean 'bayes'?" in text
    text = message(ValueError, lambda: tune.Study(SMALL, direction="maximise"))
    assert "did you mean 'maximize'?" in text


def test_a_class_as_a_strategy():
    text = message(TypeError, lambda: tune.Study(SMALL, strategy=tune.Grid))
    assert text == "strategy must be an object, got a class: write Grid(…)"


def test_what_is_no_path_as_storage():
    text = message(TypeError, lambda: tune.Study(SMALL, storage=3))
    assert text == "storage must be the path of a file or None, got 3"


def test_a_url_as_storage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = message(ValueError, lambda: tune.Study(SMALL, storage=":memory:"))
    assert "without it a study is in memory" in text
    text = message(ValueError, lambda: tune.Study(SMALL, storage="sqlite:///study.db"))
    assert "storage='study.db'" in text
    assert list(tmp_path.iterdir()) == []


def test_a_trial_in_a_notebook_shows_params_whatever_else_has_their_names():
    study = tune.Study({"value": tune.Int(3, 3), "x": tune.Categorical([None])}, strategy="grid")
    study.tell(study.ask(), 1.0, notes={"x": 5, "none": None})
    rows = re.findall(r"<th>(.*?)</th><td>(.*?)</td>", study.best._repr_html_())
    shown = [("value", "1.0"), ("value", "3"), ("x", "None"), ("note_x", "5")]
    assert rows == [("state", "done"), *shown]


# Of these systems only Linux has names that are no text.
NAMES = [b"study.db", b"a #?%.db", *[b"caf\xe9.db"] * (sys.platform == "linux")]


@pytest.mark.parametrize("name", NAMES)
def test_bytes_as_storage(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    with tune.Study(SMALL, strategy="grid", storage=path) as study:
        study.ask()
        assert study.storage == os.fsdecode(path)
    assert tune.studies(path) == ["study"]
    assert len(tune.open(path).trials) == 1


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("optimize", "study.run"),
        ("best_trial", "study.best"),
        ("enqueue_trial", "study.enqueue"),
        ("to_csv", "study.to_pandas().to_csv("),
        ("suggest_float", "tune.Float(0.0, 1.0)"),
    ],
)
def test_a_method_of_another_library(name, here):
    assert here in message(AttributeError, lambda: getattr(grid(), name))


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("LogUniform", "tune.Float(low, high, log=True)"),
        ("Integer", "tune.Int(low, high)"),
        ("choice", "tune.Categorical(choices)"),
        ("create_study", "tune.Study(space)"),
        ("Tuner", "tune.Study(space)"),
        ("ASHAScheduler", "tune.Halving()"),
    ],
)
def test_a_name_of_another_librarys_module(name, here):
    text = message(AttributeError, lambda: getattr(tune, name))
    assert text == f"module 'fastopt.tune' has no attribute {name!r}; here it is {here}"


def test_what_other_modules_call_it_exists_here():
    words = {re.match(r"\w+", there)[0] for there in _habits._MODULES.values()}
    assert words <= set(tune.__all__)
    assert not _habits._MODULES.keys() & set(tune.__all__)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_study_as_something_to_copy(copied):
    assert "open its file, tune.open(path)" in message(TypeError, lambda: copied(grid()))


def test_one_plot_for_all():
    assert "study.plot.history()" in message(TypeError, lambda: grid().plot())


def test_a_misspelt_method():
    assert "did you mean 'trials'?" in message(AttributeError, lambda: grid().trails)
    assert not hasattr(grid(), "_repr_svg_")


def test_no_message_names_a_private_class():
    text = message(TypeError, lambda: tune.Study(SMALL, strateg="grid"))
    assert re.search(r"\bStudy\b", text)
    assert not re.search(r"\b_[A-Za-z]", text)


def test_best_value_and_best_params():
    study = grid()
    for name in ("best_value", "best_params"):
        assert "no trial has succeeded" in message(
            ValueError, lambda name=name: getattr(study, name)
        )
    study.run(small)
    assert study.best_value == 1.0
    assert study.best_params == {"a": 0, "b": "x"}
    study.best_params["a"] = 7
    assert study.best.params["a"] == 0


def test_numpy_numbers_are_seconds_and_counts():
    study = grid()
    study.run(small, np.int64(3), timeout=np.float32(60), trial_timeout=np.int64(60))
    assert len(study.trials) == 3


def test_a_study_and_a_trial_show_themselves_in_a_notebook():
    study = grid(name="<mine>")
    assert "0 trials" in study._repr_html_()
    study.run(small)
    text = study._repr_html_()
    assert "&lt;mine&gt;" in text
    assert "20 trials (20 done)" in text
    assert "<b>1</b>, trial 0" in text
    text = study.best._repr_html_()
    assert "Trial 0" in text
    assert "<tr><th>b</th><td>x</td></tr>" in text


def test_repr_counts_failures():
    study = grid()
    study.tell(study.ask(), 1.0)
    assert "1 trials, " in repr(study)
    study.tell(study.ask(), error="no")
    assert "2 trials (1 failed), " in repr(study)


@pytest.mark.needs("matplotlib")
def test_a_plot_shows_itself_in_a_notebook():
    study = grid()
    study.run(small)
    assert study.plot.history()._repr_png_().startswith(b"\x89PNG")


def test_a_notebook_gets_a_bar(monkeypatch):
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    bars = []
    auto = types.SimpleNamespace(tqdm=lambda **options: bars.append(options))
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    Progress(None, 5)
    assert [bar["total"] for bar in bars] == [5]


def plain(study, trial):
    pass


class Misspelt:
    def on_trial_ends(self, study, trial):
        pass


class Callback:
    def on_trial_end(self, study, trial):
        pass


class Useless:
    pass


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ([plain], "on_trial_end"),
        ([Misspelt()], "did you mean on_trial_end?"),
        ([Useless()], "on_study_start"),
        ([Callback], "got the class Callback; Callback(...) makes one"),
        (Useless(), "callbacks must be a list"),
    ],
)
def test_a_callback_that_would_never_be_called_is_refused(callbacks, words):
    assert words in message(TypeError, lambda: grid(callbacks=callbacks))
    study = grid()
    assert words in message(TypeError, lambda: study.run(small, callbacks=callbacks))
    assert study.trials == []


def test_the_class_of_an_executor():
    pool = concurrent.futures.ThreadPoolExecutor
    text = message(TypeError, lambda: grid().run(small, executor=pool))
    assert "executor must be an object, got a class: write ThreadPoolExecutor(…)" in text
