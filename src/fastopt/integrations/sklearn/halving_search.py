"""The search over epochs: candidates are trained on from rung to rung."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from joblib import Parallel
from sklearn.base import clone
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import indexable
from sklearn.utils.validation import _check_method_params

from fastopt import tune
from fastopt._checks import integer
from fastopt.integrations.sklearn.epochs import Data, Epochs
from fastopt.integrations.sklearn.search import SearchCV

__all__ = ["HalvingSearchCV"]


class HalvingSearchCV(SearchCV):
    """Search over epochs: many candidates are trained a little, and the best of them trained on.

    As :class:`sklearn.model_selection.HalvingRandomSearchCV` with ``resource="max_iter"``, but a
    candidate that goes on keeps its models and is trained for the epochs that it lacks, by
    ``partial_fit``; scikit-learn's search fits it anew at each rung. Any strategy proposes the
    candidates and any scheduler of :mod:`fastopt.tune` decides.

    What is not listed here is as in :class:`SearchCV`.

    Parameters
    ----------
    estimator : estimator
        With ``partial_fit``, of which a call is an epoch, and the parameter ``max_iter``: those of
        :mod:`fastopt.integrations.sklearn_mlp` (with ``early_stopping=False``), scikit-learn's
        perceptrons, ``SGDClassifier`` and others.
    param_distributions : dict
        As in :class:`SearchCV`, without ``max_iter``.
    scheduler : object, optional
        Decides which candidates are trained on. By default ``tune.Halving(last=max_resources)``:
        after 1, 3, 9, … epochs the best third. It must not pause trials or copy rows.
    max_resources : int, optional
        Epochs of a whole training; by default ``max_iter`` of the estimator.
    strategy : str or object, default "bayes"
    n_iter : int, default 81
        Number of candidates; fewer if the space holds fewer.
    n_points : int or None, default 27
        Candidates that are trained side by side and compared with each other at each rung. The
        strategy proposes them when it has seen the results of those before. None: all at once.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As scikit-learn's search has it: a row for each candidate at each rung, with ``max_iter``
        among its params, ``iter``, the number of the rung from 0, and ``n_resources``, its epochs
        so far. ``mean_fit_time`` counts the epochs since the rung before.
    best_index_ : int
        The best of the candidates with the most epochs. ``refit`` fits it anew to all data.
    n_resources_, n_candidates_ : list of int
        The epochs of all rungs, and how many candidates came to each.

    Raises
    ------
    TypeError
        By ``fit``, for an estimator or a scheduler that cannot be used.
    ValueError
        By ``fit``, if ``max_iter`` is among ``param_distributions``, or if all fits failed.

    Notes
    -----
    If the estimator's ``random_state`` is an integer, each model shuffles by a generator that is
    seeded with it and goes on from epoch to epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastopt import tune
    >>> from fastopt.integrations.sklearn import HalvingSearchCV
    >>> from fastopt.integrations.sklearn_mlp import MLPClassifier
    >>> space = {"learning_rate_init": tune.Float(1e-4, 1.0, log=True)}
    >>> model = MLPClassifier((16,), batch_size=16, max_iter=9, random_state=0)
    >>> search = HalvingSearchCV(model, space, n_iter=9, cv=3, refit=False, random_state=0)
    >>> search.fit(*load_iris(return_X_y=True)).n_candidates_
    [9, 3, 1]
    """

    __module__ = "fastopt.integrations.sklearn"

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own form)
        **{
            name: constraint
            for name, constraint in SearchCV._parameter_constraints.items()
            if name not in ("storage", "name", "verbose", "pre_dispatch")
        },
        **dict.fromkeys(["scheduler", "max_resources"], "no_validation"),
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Mapping[str, Any],
        *,
        scheduler: Any = None,
        max_resources: int | None = None,
        strategy: Any = "bayes",
        n_iter: int = 81,
        n_points: int | None = 27,
        constraint: Callable[[dict[str, Any]], Any] | None = None,
        search_metric: str | None = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        self.scheduler = scheduler
        self.max_resources = max_resources
        super().__init__(
            estimator,
            param_distributions,
            strategy=strategy,
            n_iter=n_iter,
            n_points=n_points,
            constraint=constraint,
            search_metric=search_metric,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )

    def _epochs(self) -> int:
        """Those of a whole training."""
        params = self.estimator.get_params(deep=False)
        if not hasattr(self.estimator, "partial_fit") or "max_iter" not in params:
            raise TypeError(
                "estimator must have partial_fit and a parameter max_iter, as those of "
                f"fastopt.integrations.sklearn_mlp have, got {self.estimator!r}; put transformers "
                "before the search: make_pipeline(StandardScaler(), HalvingSearchCV(…))"
            )
        if "max_iter" in self._space():
            raise ValueError(
                "param_distributions must not hold 'max_iter', which the scheduler decides about"
            )
        given = params["max_iter"] if self.max_resources is None else self.max_resources
        return integer("max_resources", given, least=1)

    def fit(self, X: Any, y: Any = None, **params: Any) -> SearchCV:  # noqa: N803
        """Search, then fit the best estimator; as in scikit-learn's searches."""
        if hasattr(self.scheduler, "exchange"):
            raise TypeError(
                f"scheduler: {self.scheduler!r} copies rows, which a search of estimators cannot"
            )
        self._given = X, y, params
        try:
            return super().fit(X, y, **params)
        finally:
            self.__dict__.pop("_given", None)

    def _run_search(
        self,
        evaluate_candidates: Callable[..., Any],
        *,
        callback_ctx: Any = None,
    ) -> None:
        """Called by ``fit``: train and compare, then give scikit-learn its results."""
        records = self._search()
        n_splits = self.cv.n_splits
        # Raises if all have failed.
        _warn_or_raise_about_fit_failures(records.splits, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(records.splits, self.error_score)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # scikit-learn wants a call, and goes on with the very dict that comes from it: one
            # epoch of a candidate that could be fitted.
            fitted = next(i for i, split in enumerate(records.splits) if not split["fit_error"])
            params = {**records.params[fitted // n_splits], "max_iter": 1}
            results = evaluate_candidates([params])
        results.clear()
        results.update(self._format_results(records.params, n_splits, records.splits, records.more))
        self.n_resources_ = np.unique(results["n_resources"]).tolist()
        self.n_candidates_ = [
            int((results["n_resources"] == epochs).sum()) for epochs in self.n_resources_
        ]

    def _search(self) -> Any:
        inputs, targets, params = self.__dict__.pop("_given")
        inputs, targets = indexable(inputs, targets)
        params = _check_method_params(inputs, params=params)
        routed = self._get_routed_params_for_fit(params)
        scorer, _ = self._get_scorers()
        data = Data(
            inputs,
            targets,
            self.cv.split(inputs, targets, **routed.splitter.split),
            routed.estimator.fit,
            routed.scorer.score,
            scorer,
            self.error_score,
            self.return_train_score,
        )
        max_iter = self._epochs()
        scheduler = tune.Halving(last=max_iter) if self.scheduler is None else self.scheduler
        with self._study() as study, Parallel(n_jobs=self.n_jobs) as parallel:
            objective = Epochs(
                study, parallel, clone(self.estimator), data, scheduler, max_iter, self._metric
            )
            with warnings.catch_warnings():
                # scikit-learn gives one warning for all that failed.
                warnings.filterwarnings("ignore", "trial .* failed", RuntimeWarning)
                study.run(
                    objective,
                    self.n_iter,
                    batch=self.n_points or self.n_iter,
                    scheduler=scheduler,
                    max_failures=None,
                    progress=False,
                )
        if objective.error is not None:
            raise objective.error
        return objective.records

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> dict[str, Any]:
        return BaseSearchCV._format_results(self, candidate_params, n_splits, out, more_results)

    @staticmethod
    def _select_best_index(refit: Any, refit_metric: str, results: Mapping[str, Any]) -> int:
        """The best of the candidates with the most epochs, or what a callable ``refit`` returns."""
        if callable(refit):
            return BaseSearchCV._select_best_index(refit, refit_metric, results)
        scores = results[f"mean_test_{refit_metric}"]
        known = np.isfinite(scores)
        epochs = np.where(known, results["n_resources"], -1)
        return int(np.argmax(np.where(known & (epochs == epochs.max()), scores, -np.inf)))
