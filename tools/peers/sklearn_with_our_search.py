"""A plugin for pytest: scikit-learn's own tests get our searches wherever they ask for its two.

The classes here give ours the arguments of scikit-learn's.
"""

import numpy as np
import sklearn.model_selection

from fastopt.integrations.sklearn import BayesSearchCV, SearchCV

searches = 0


def one_space(space):
    """scikit-learn takes a list of one dict, and for choices a tuple; ours a dict, and a list."""
    if isinstance(space, list) and len(space) == 1:
        [space] = space
    if not isinstance(space, dict):
        return space
    return {
        name: list(values) if isinstance(values, tuple) else values
        for name, values in space.items()
    }


# Tests that want what ours refuse or do otherwise, as the integration's page says.
DIFFER = {
    "several dicts; here when=": {
        "test_grid_search_cv_results",
        "test_random_search_cv_results",
        "test_grid_search_cv_results_multimetric",
        "test_custom_run_search",
    },
    "choices that are equal": {
        "test_grid_search_classifier_all_fits_fail",
        "test_grid_search_cv_splits_consistency",
        "test_callable_multimetric_clf_all_fits_fail",
    },
    "a random search whose candidates come in the order of the list": {
        "test_search_default_iid[RandomizedSearchCV-specialized_params1]",
        "test_search_cv_results_rank_tie_breaking",
        "test_search_cv_timing",
        "test_search_with_2d_array",
    },
    "the words of an error": {"test_grid_search_bad_param_grid"},
    "a search over nothing": {"test_predict_proba_disabled"},
}


def pytest_collection_modifyitems(config, items):
    names = set().union(*DIFFER.values())
    differ = [item for item in items if item.name in names]
    assert len(differ) == len(names), names - {item.name for item in differ}
    config.hook.pytest_deselected(items=differ)
    items[:] = [item for item in items if item.name not in names]


class Scikit:
    """What both need: scikit-learn's searches look at no score before the end, so none is named."""

    def _metric(self, results):
        metrics = [key for key in results if key.startswith("mean_test_")]
        if len(metrics) > 1 and not isinstance(self.refit, str):
            return metrics[0]
        return super()._metric(results)

    def _study(self):
        global searches
        searches += 1
        given = self.random_state
        self.random_state = 0 if given is None else given
        try:
            return super()._study()
        finally:
            self.random_state = given


class GridSearchCV(Scikit, SearchCV):
    """Every point of a grid, in the order in which scikit-learn has them."""

    _parameter_constraints = {  # noqa: RUF012
        **SearchCV._parameter_constraints,
        "param_grid": "no_validation",
    }
    _spaces = ("param_grid",)

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            None,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
            strategy="grid",
            n_iter=10_000,
            n_points=10_000,
        )
        self.param_grid = param_grid

    def _space(self):
        return one_space(self.param_grid)


class RandomizedSearchCV(Scikit, BayesSearchCV):
    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=10,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            param_distributions=param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )

    def _space(self):
        return one_space(self.param_distributions)


sklearn.model_selection.GridSearchCV = GridSearchCV
sklearn.model_selection.RandomizedSearchCV = RandomizedSearchCV


def pytest_sessionfinish(session):
    if not searches:
        session.exitstatus = 1
    print(f"\n{searches} searches of fastopt")
