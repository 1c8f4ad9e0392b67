"""Fits that fail, in a search: what they count as, and what is warned of."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning
from sklearn.tree import DecisionTreeClassifier
from test_sklearn import IRIS, MULTI

from fastopt import tune
from fastopt.integrations.sklearn import BayesSearchCV, SearchCV


class Fragile(DecisionTreeClassifier):
    def fit(self, x, y, **options):
        if self.max_depth > 3:
            raise RuntimeError("too deep")
        return super().fit(x, y, **options)


def test_failed_fits_count_as_error_score_says():
    space = {"max_depth": tune.Int(1, 6)}
    search = BayesSearchCV(Fragile(), space, n_iter=6, cv=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, for every one
        search.fit(*IRIS)
    depth = search.cv_results_["param_max_depth"]
    failed = np.isnan(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(failed, depth > 3)
    assert failed.any()
    assert set(depth) >= {1, 2, 3}
    assert search.best_params_["max_depth"] <= 3
    with pytest.raises(RuntimeError, match="too deep"):
        search.set_params(error_score="raise").fit(*IRIS)


@pytest.mark.filterwarnings("ignore:.*non-finite")
@pytest.mark.parametrize("depths", [[5, 2], [2, 5], [5, 2, 6, 4, 1]])
def test_candidate_that_fails_alone_does_not_end_the_search(depths):
    search = SearchCV(
        Fragile(), {"max_depth": depths}, strategy="grid", cv=2, return_train_score=True
    )
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        search.fit(*IRIS)
    results = search.cv_results_
    assert list(results["param_max_depth"]) == depths
    failed = [depth > 3 for depth in depths]
    for key in ("mean_test_score", "split1_test_score", "mean_train_score"):
        assert np.isnan(results[key]).tolist() == failed
    assert (
        results["rank_test_score"][failed].min() > results["rank_test_score"][~np.array(failed)][0]
    )
    assert search.best_params_["max_depth"] <= 3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:.*non-finite")
def test_candidates_that_fail_are_fitted_once(tmp_path):
    fits = tmp_path / "fits"

    class Logged(Fragile):
        def fit(self, x, y, **options):
            with fits.open("a") as file:
                print(self.max_depth, file=file)
            return super().fit(x, y, **options)

    depths = [4, 5, 6, 7, 8, 9, 2, 10, 11]
    SearchCV(Logged(), {"max_depth": depths}, strategy="grid", cv=2, refit=False).fit(*IRIS)
    assert fits.read_text().split() == [str(depth) for depth in depths for _ in range(2)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:.*non-finite")
def test_failed_candidates_have_a_score_for_every_metric():
    search = SearchCV(
        Fragile(), {"max_depth": [5, 2]}, strategy="grid", cv=2, scoring=MULTI, refit="f1_macro"
    ).fit(*IRIS)
    for metric in MULTI:
        assert np.isnan(search.cv_results_[f"mean_test_{metric}"]).tolist() == [True, False]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_scores_that_are_not_finite_are_warned_of_once():
    search = SearchCV(Fragile(), {"max_depth": [5, 2, 6, 3, 7]}, strategy="grid", cv=2)
    with pytest.warns(UserWarning, match="test scores are non-finite") as caught:
        search.fit(*IRIS)
    assert sum("non-finite" in str(each.message) for each in caught) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_search_in_which_everything_fails_says_so():
    search = SearchCV(Fragile(), {"max_depth": [4, 5]}, strategy="grid", cv=2)
    with pytest.raises(ValueError, match=r"(?s)All the 2 fits failed.*too deep"):
        search.fit(*IRIS)
