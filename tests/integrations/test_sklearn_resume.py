"""A search with a storage goes on where it was killed, and any other search is refused there."""

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from processes import start_script
from sklearn.datasets import load_iris
from sklearn.model_selection import GroupKFold, KFold
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from test_sklearn_failures import Fragile

from fastopt import tune
from fastopt.integrations.sklearn import BayesSearchCV, SearchCV

SCRIPT = Path(__file__).parent / "search_script.py"
X, Y = load_iris(return_X_y=True)
SPACE = {"max_depth": tune.Int(1, 6), "min_samples_leaf": tune.Int(1, 5)}


def start(*arguments):
    return start_script(SCRIPT, *arguments)


def result(*arguments):
    process = start(*arguments)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(output)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_a_killed_search_goes_on_and_fits_again_only_what_it_had_not_told(tmp_path):
    log, storage = tmp_path / "fits", tmp_path / "search.db"
    for count in (7, 17):
        process = start(log, 10, storage)
        while len(lines(log)) < count:
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.wait()
        process.stdout.close()
    resumed = result(log, 10, storage)
    fits = lines(log)
    assert resumed == result(tmp_path / "other fits", 10)
    # Three splits for each candidate. At each of the two kills one candidate was not told yet.
    assert 30 <= len(fits) <= 30 + 2 * 3
    # A search that has ended answers from the storage, but scikit-learn needs one fit.
    assert result(log, 10, storage) == resumed
    assert len(lines(log)) == len(fits) + 3
    # More candidates go on from there.
    longer = result(log, 12, storage)
    assert longer == result(tmp_path / "more fits", 12)
    assert longer[0]["params"][:10] == resumed[0]["params"]
    assert len(lines(log)) == len(fits) + 3 + 2 * 3


def tree(storage, **options):
    arguments = {"n_iter": 3, "cv": 2, "random_state": 0, "storage": storage, **options}
    return SearchCV(DecisionTreeClassifier(random_state=0), SPACE, strategy="sobol", **arguments)


SPLITS = list(KFold(2, shuffle=True, random_state=0).split(X))


@pytest.mark.parametrize(
    ("word", "options", "data"),
    [
        ("X", {}, {"X": X + 1e-9}),
        ("X", {}, {"X": pd.DataFrame(X)}),
        ("X", {}, {"X": scipy.sparse.csr_array(X)}),
        ("y", {}, {"y": 2 - Y}),
        ("the parameters of fit", {}, {"sample_weight": np.full(150, 2.0)}),
        ("estimator", {"estimator": DecisionTreeClassifier(max_features=1, random_state=0)}, {}),
        ("cv", {"cv": 3}, {}),
        ("cv", {"cv": SPLITS}, {}),
        ("scoring", {"scoring": "f1_macro"}, {}),
        ("scoring, search_metric", {"scoring": ["f1_macro", "accuracy"], "refit": "accuracy"}, {}),
        ("error_score", {"error_score": "raise"}, {}),
        ("return_train_score", {"return_train_score": True}, {}),
        (
            "'max_depth': .*high=6.*high=7",
            {"param_distributions": {"max_depth": tune.Int(1, 7)}},
            {},
        ),
        ("strategy", {"strategy": "random"}, {}),
        ("seed: 0 there, 1 here", {"random_state": 1}, {}),
    ],
)
def test_a_search_of_something_else_is_refused_by_its_name(tmp_path, word, options, data):
    storage = tmp_path / "search.db"
    first = tree(storage).fit(X, Y)
    other = tree(storage).set_params(**options)
    with pytest.raises(ValueError, match=rf"search\.db, study 'study'.*(?s:.*){word}"):
        other.fit(**{"X": X, "y": Y, **data})
    again = tree(storage).fit(X, Y)
    assert again.cv_results_["params"] == first.cv_results_["params"]
    other.set_params(name="other").fit(**{"X": X, "y": Y, **data})
    assert len(other.cv_results_["params"]) == 3


def accuracy(estimator, x, y):
    return estimator.score(x, y)


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({}, {"X": pd.DataFrame(X, columns=[*"abcd"]), "y": pd.Series(Y)}),
        ({}, {"X": scipy.sparse.csr_array(X)}),
        ({"cv": SPLITS}, {}),
        ({"cv": GroupKFold(2)}, {"groups": np.arange(150) % 5}),
        ({"scoring": ["f1_macro", "accuracy"], "refit": "accuracy"}, {}),
        ({"scoring": accuracy}, {}),
        ({"return_train_score": True}, {}),
        ({"n_jobs": 2}, {}),
        ({"random_state": None}, {}),
    ],
)
def test_the_same_again_is_taken_from_the_storage(tmp_path, options, data):
    arguments = {"X": X, "y": Y, **data}
    first = tree(tmp_path / "search.db", **options).fit(**arguments)
    arguments = {key: value.copy() for key, value in arguments.items()}
    again = tree(tmp_path / "search.db", **options).fit(**arguments)
    assert list(again.cv_results_) == list(first.cv_results_)
    for key, column in first.cv_results_.items():
        np.testing.assert_array_equal(again.cv_results_[key], column)  # the times too
    assert again.best_params_ == first.best_params_


def test_splits_from_a_generator_are_read_once_and_compared(tmp_path):
    first = tree(tmp_path / "search.db", cv=iter(SPLITS)).fit(X, Y)
    assert tree(tmp_path / "search.db", cv=iter(SPLITS)).fit(X, Y).best_score_ == first.best_score_
    with pytest.raises(ValueError, match="other cv"):
        tree(tmp_path / "search.db", cv=iter(SPLITS[::-1])).fit(X, Y)


@pytest.mark.parametrize("depths", [[5, 2, 6, 4, 1], [2, 5, 6], [5, 6, 2]])
def test_a_search_stopped_after_any_candidate_ends_as_one_that_was_not(tmp_path, depths):
    def fit(n_iter, storage):
        search = SearchCV(Fragile(random_state=0), {"max_depth": depths}, strategy="grid")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            search.set_params(cv=2, n_iter=n_iter, storage=storage, random_state=0).fit(X, Y)
        lost = [str(each.message) for each in caught if "of the last" in str(each.message)]
        return search.cv_results_["params"], list(search.cv_results_["mean_test_score"]), lost

    expected = repr(fit(len(depths), None))
    for n_iter in range(1, len(depths) + 1):
        storage = tmp_path / f"{n_iter}.db"
        if set(depths[:n_iter]) <= {4, 5, 6}:
            with pytest.raises(ValueError, match=r"fits failed|has succeeded"):
                fit(n_iter, storage)
            with pytest.raises(ValueError, match=r"fits failed|has succeeded"):
                fit(n_iter, storage)
        else:
            assert repr(fit(n_iter, storage)) == repr(fit(n_iter, storage))
        assert repr(fit(len(depths), storage)) == expected


def test_a_study_that_is_no_search_is_refused(tmp_path):
    study = tune.Study(SPACE, strategy="sobol", direction="maximize", storage=tmp_path / "s.db")
    study.run(lambda params: 1.0, 2)
    study.close()
    with pytest.raises(ValueError, match=r"s\.db"):
        tree(tmp_path / "s.db").fit(X, Y)
    with tune.open(tmp_path / "s.db") as kept:
        assert [trial.value for trial in kept.trials] == [1.0, 1.0]


def test_a_search_that_had_no_metric_to_search_for_can_be_mended(tmp_path):
    search = tree(tmp_path / "search.db", scoring=["f1_macro", "accuracy"], refit=False)
    with pytest.raises(ValueError, match="search_metric must be one of"):
        search.fit(X, Y)
    search.set_params(search_metric="accuracy").fit(X, Y)
    assert len(search.cv_results_["params"]) == 3


def test_the_storage_is_a_study_to_look_at(tmp_path):
    search = BayesSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=2, storage=tmp_path / "s.db", name="svc")
    search.fit(X, Y)
    study = tune.Study(
        {"C": tune.Categorical([0.1, 1.0])},
        direction="maximize",
        seed=None,
        storage=tmp_path / "s.db",
        name="svc",
    )
    assert [trial.value for trial in study.trials] == list(search.cv_results_["mean_test_score"])


def test_what_cannot_be_compared_is_refused(tmp_path):
    search = tree(tmp_path / "search.db")
    with pytest.raises(TypeError, match="storage: y must be picklable"):
        search.fit(X, (label for label in Y))
    with pytest.raises(TypeError, match="storage: scoring must be picklable"):
        search.set_params(scoring=lambda *arguments: 1.0).fit(X, Y)
