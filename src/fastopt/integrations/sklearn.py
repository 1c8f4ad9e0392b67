"""scikit-learn: ``SearchCV`` and ``BayesSearchCV``, searches with cross-validation.

They are used as :class:`sklearn.model_selection.RandomizedSearchCV` is, and give what it gives.
"""

from __future__ import annotations

import math
import numbers
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastopt import tune

try:
    import joblib
    from sklearn.base import clone
    from sklearn.exceptions import FitFailedWarning
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.utils import check_random_state
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.sklearn needs scikit-learn; install it with: "
        "pip install scikit-learn",
        name="sklearn",
    ) from error

from fastopt.integrations._search_memory import Memory, fingerprint

__all__ = ["BayesSearchCV", "SearchCV"]

PARAMETERS = (tune.Float, tune.Int, tune.Categorical)


def _parameter(name: str, values: Any) -> Any:
    """What a value of ``param_distributions`` means."""
    if isinstance(values, PARAMETERS):
        return values
    if hasattr(values, "ppf"):
        if not hasattr(values, "pmf"):
            return tune.Float(values)
        if getattr(getattr(values, "dist", None), "name", None) == "randint":
            low, high = values.support()
            return tune.Int(int(low), int(high))
        raise TypeError(
            f"param_distributions: {name!r} is a discrete distribution other than randint, "
            "needs a tune.Int or a list"
        )
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    if isinstance(values, list):
        return tune.Categorical(values)
    raise TypeError(
        f"param_distributions: {name!r} must be a tune.Float, tune.Int or tune.Categorical, a "
        f"list, or a frozen distribution of scipy.stats, got {values!r}"
    )


class SearchCV(BaseSearchCV):
    """Search of an estimator's parameters by any strategy of :mod:`fastopt.tune`.

    What is not listed here (``scoring``, ``n_jobs``, ``refit``, ``cv``, ``verbose``,
    ``pre_dispatch``, ``error_score``, ``return_train_score``, all attributes and methods) is as in
    :class:`sklearn.model_selection.RandomizedSearchCV`.

    Parameters
    ----------
    estimator : estimator
    param_distributions : dict
        Parameter name to :class:`~fastopt.tune.Float`, :class:`~fastopt.tune.Int` or
        :class:`~fastopt.tune.Categorical`, to a list of choices, or to a frozen continuous
        distribution (or ``randint``) of :mod:`scipy.stats`. Parameters that exist only together
        with values of others are told by ``when=``, not by a list of dicts.
    strategy : str or object, default "bayes"
        As in :class:`fastopt.tune.Study`.
    n_iter : int, default 50
        Number of candidates; fewer if the space holds fewer.
    n_points : int, optional
        Candidates that are evaluated at once, before the strategy sees their scores. By default
        just enough that each of the ``n_jobs`` workers has a split to fit.
    constraint : callable, optional
        ``constraint(params) -> bool``: only candidates for which it is true.
    search_metric : str, optional
        With several metrics, the one to search for. By default ``refit``, if that is a name.
    random_state : int, RandomState instance or None, default None
        With ``storage``, None takes the one that the search in the file was started with.
    storage : str or path, optional
        A SQLite file that remembers the candidates and the scores of their splits, as in
        :class:`fastopt.tune.Study`: a search that was killed goes on where it stopped when the same
        program is run again, up to ``n_iter`` candidates in all.
    name : str, default "study"
        One file may hold several searches.

    Raises
    ------
    ValueError
        By ``fit``, if the search in ``storage`` was started with other data (X, y, parameters of
        ``fit``), another estimator, space, strategy, seed, ``cv`` or ``scoring``; the message says
        which.

    Notes
    -----
    A candidate whose score is not finite (its fit failed, and ``error_score`` is NaN) counts as
    worse than all others. If all of its splits failed it is fitted again together with the next,
    for scikit-learn records nothing of a call in which no fit succeeds. No other candidate is
    evaluated twice, except one for form's sake when a search that had ended is taken from its
    ``storage`` again.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from fastopt import tune
    >>> from fastopt.integrations.sklearn import SearchCV
    >>> space = {"C": tune.Float(1e-2, 1e3, log=True), "kernel": ["linear", "rbf"]}
    >>> search = SearchCV(SVC(), space, strategy="sobol", n_iter=8, random_state=0)
    >>> bool(search.fit(*load_iris(return_X_y=True)).best_score_ > 0.95)
    True
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own form)
        **BaseSearchCV._parameter_constraints,
        "random_state": ["random_state"],
        **dict.fromkeys(
            [
                "param_distributions",
                "strategy",
                "n_iter",
                "n_points",
                "constraint",
                "search_metric",
                "storage",
                "name",
            ],
            "no_validation",  # by this class and by Study
        ),
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Mapping[str, Any],
        *,
        strategy: Any = "bayes",
        n_iter: int = 50,
        n_points: int | None = None,
        constraint: Callable[[dict[str, Any]], Any] | None = None,
        search_metric: str | None = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        storage: str | os.PathLike[str] | None = None,
        name: str = "study",
    ) -> None:
        self.param_distributions = param_distributions
        self.strategy = strategy
        self.n_iter = n_iter
        self.n_points = n_points
        self.constraint = constraint
        self.search_metric = search_metric
        self.random_state = random_state
        self.storage = storage
        self.name = name
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )

    def _study(self) -> tune.Study:
        if not isinstance(self.param_distributions, Mapping):
            raise TypeError(
                f"param_distributions must be a dict, got {self.param_distributions!r}; "
                "parameters that exclude each other are told by when="
            )
        for name in ("n_iter", "n_points"):
            value = getattr(self, name)
            if value is None and name == "n_points":
                continue
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value!r}")
        seed = self.random_state
        if not isinstance(seed, numbers.Integral) and not (seed is None and self.storage):
            seed = check_random_state(seed).randint(2**31 - 1)
        return tune.Study(
            {name: _parameter(name, values) for name, values in self.param_distributions.items()},
            strategy=self.strategy,
            direction="maximize",
            seed=None if seed is None else int(seed),
            storage=self.storage,
            name=self.name,
            constraint=self.constraint,
        )

    def fit(self, X: Any, y: Any = None, **params: Any) -> SearchCV:  # noqa: N803
        """Search, then fit the best estimator; as in scikit-learn's searches.

        With ``storage``, go on with the search that it holds.
        """
        if self.storage is None:
            return super().fit(X, y, **params)
        self._data = {
            "X": fingerprint("X", X),
            "y": fingerprint("y", y),
            "the parameters of fit": fingerprint("the parameters of fit", params),
        }
        try:
            return super().fit(X, y, **params)
        finally:
            del self._data

    def _facts(self) -> dict[str, str]:
        """All besides the study itself that must be the same for a search to be resumed."""
        # A generator of splits has been read by now.
        cv = getattr(self, "_checked_cv_orig", self.cv)
        metric = self.search_metric or (self.refit if isinstance(self.refit, str) else None)
        return {
            **self._data,
            "estimator": fingerprint("estimator", clone(self.estimator)),
            "cv": fingerprint("cv", cv),
            "scoring": fingerprint("scoring", self.scoring),
            "search_metric": repr(metric),
            "error_score": repr(self.error_score),
            "return_train_score": repr(self.return_train_score),
        }

    def _metric(self, results: Mapping[str, Any]) -> str:
        """The column of the results to maximize."""
        metrics = [key[len("mean_test_") :] for key in results if key.startswith("mean_test_")]
        metric = self.search_metric
        if metric is None:
            if metrics == ["score"]:
                return "mean_test_score"
            if not isinstance(self.refit, str):
                raise ValueError(
                    f"search_metric must be one of {', '.join(metrics)}: there are several "
                    f"metrics, and refit={self.refit!r} names none"
                )
            metric = self.refit
        if metric not in metrics:
            raise ValueError(f"search_metric must be one of {', '.join(metrics)}, got {metric!r}")
        return f"mean_test_{metric}"

    @contextmanager
    def _remember(self, study: tune.Study) -> Iterator[Memory]:
        self._memory = Memory(study)
        try:
            if self.storage is not None:
                self._memory.compare(self._facts())
            yield self._memory
        finally:
            del self._memory

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> dict[str, Any]:
        """Called by ``evaluate_candidates``: join what it has seen with what earlier fits have."""
        candidate_params, out = self._memory.add(n_splits, out)
        return super()._format_results(candidate_params, n_splits, out, more_results)

    def _run_search(self, evaluate_candidates: Callable[..., Mapping[str, Any]]) -> None:
        """Called by ``fit``: ask for candidates, have them evaluated, tell their scores."""
        with self._study() as study, self._remember(study) as memory:
            workers = joblib.effective_n_jobs(self.n_jobs)
            n_points = self.n_points or workers
            asked, held = len(study.finished), memory.held
            results, failure = None, ValueError("no fit of any candidate has succeeded")
            while asked < self.n_iter:
                trials = list(_ask(study, min(n_points, self.n_iter - asked)))
                if not trials:
                    break
                asked += len(trials)
                held += trials
                memory.evaluating = held
                try:
                    results = evaluate_candidates([trial.params for trial in held])
                except ValueError as error:
                    # scikit-learn gives up when all fits of a call fail, which for one candidate
                    # means little: it is recorded with the next that succeeds.
                    if "fits failed" not in str(error):
                        raise
                    failure = error
                    for trial in trials:
                        study.tell(trial, error="all of its fits failed")
                    continue
                metric = self._metric(results)
                for trial, score in zip(held, results[metric][-len(held) :], strict=True):
                    if trial.state == "running":
                        study.tell(trial, score)
                held = []
                if self.n_points is None:
                    name = metric.removeprefix("mean")
                    splits = sum(key.startswith("split") and key.endswith(name) for key in results)
                    n_points = math.ceil(workers / splits)
            if results is None:
                if not memory:
                    raise failure
                # scikit-learn wants a call; this one adds nothing to what is known.
                memory.evaluating = []
                evaluate_candidates([memory.known().params])
            if held:
                warnings.warn(
                    f"all fits of the last {len(held)} candidates failed; cv_results_ lacks them: "
                    f"{[trial.params for trial in held]!r}",
                    FitFailedWarning,
                    stacklevel=3,
                )


def _ask(study: tune.Study, count: int) -> Iterator[tune.Trial]:
    """Up to so many trials: fewer when the space is used up."""
    for _ in range(count):
        try:
            yield study.ask()
        except tune.SpaceExhausted:
            return


class BayesSearchCV(SearchCV):
    """:class:`SearchCV` under the name that it has in scikit-optimize; it is Bayesian by default.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from fastopt import tune
    >>> from fastopt.integrations.sklearn import BayesSearchCV
    >>> space = {"C": tune.Float(1e-2, 1e3, log=True), "gamma": tune.Float(1e-4, 1e1, log=True)}
    >>> search = BayesSearchCV(SVC(), space, n_iter=12, random_state=0)
    >>> bool(search.fit(*load_iris(return_X_y=True)).best_score_ > 0.95)
    True
    """
