"""The search: candidates are asked of a study and evaluated by scikit-learn."""

from __future__ import annotations

import copy
import math
import numbers
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
from sklearn.base import _clone_parametrized, clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._split import _yields_constant_splits
from sklearn.utils import check_random_state

from fastopt import tune
from fastopt._checks import integer
from fastopt.integrations.sklearn.callbacks import Watch
from fastopt.integrations.sklearn.memory import Memory, fingerprint
from fastopt.integrations.sklearn.space import parameter
from fastopt.integrations.sklearn.splits import SameSplits

__all__ = ["SearchCV"]


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
        distribution (or ``randint``) of :mod:`scipy.stats`. For parameters that exist only together
        with values of others use ``when=``; a list of dicts is refused.
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
        With several metrics, the one to maximize. By default ``refit``, if that is a name.
    random_state : int, RandomState instance or None, default None
        With ``storage``, None takes the seed that the search in the file was started with.
    storage : str or path, optional
        A SQLite file for the candidates and the scores of their splits, as in
        :class:`fastopt.tune.Study`. A search that was killed goes on where it stopped when the same
        program is run again, up to ``n_iter`` candidates in all.
    name : str, default "study"
        The name of the search, since one file may hold several.

    Raises
    ------
    ValueError
        By ``fit``, if the search in ``storage`` was started with other data (X, y, parameters of
        ``fit``), another estimator, space, strategy, seed, ``cv`` or ``scoring``; the message says
        which.

    Notes
    -----
    All candidates are evaluated on the same splits, even if ``cv`` draws new ones at each call.
    With ``storage`` such a ``cv`` is refused, because a resumed search would have other splits.

    A candidate whose score is not finite (its fit failed, and ``error_score`` is NaN) counts as
    worse than all others. If every fit of a call failed, ``mean_fit_time`` is the time of the call
    divided by its number of fits, since scikit-learn gives no other times. No candidate is
    evaluated twice, except one when ``fit`` is called for a stored search that had ended.

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

    __module__ = "fastopt.integrations.sklearn"

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

    cv: Any

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

    def __sklearn_clone__(self) -> SearchCV:
        # scikit-learn clones each value of a dict by itself: an estimator among the choices of one
        # parameter would be another object than the same estimator in the when= of a second.
        twin = _clone_parametrized(self)
        for name in self._spaces:
            setattr(twin, name, copy.deepcopy(getattr(self, name)))
        return twin

    _spaces: tuple[str, ...] = ("param_distributions",)

    def _space(self) -> Any:
        return self.param_distributions

    def _study(self) -> tune.Study:
        space = self._space()
        if not isinstance(space, Mapping):
            raise TypeError(
                f"param_distributions must be a dict, got {space!r}; "
                "for parameters that exclude each other use when="
            )
        integer("n_iter", self.n_iter, least=1)
        if self.n_points is not None:
            integer("n_points", self.n_points, least=1)
        seed = self.random_state
        if not isinstance(seed, numbers.Integral) and not (seed is None and self.storage):
            seed = check_random_state(seed).randint(2**31 - 1)
        return tune.Study(
            {name: parameter(name, values) for name, values in space.items()},
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
        self._validate_params()
        given: Any = self.cv
        if self.storage is not None:
            self._data = {
                "X": fingerprint("X", X),
                "y": fingerprint("y", y),
                "the parameters of fit": fingerprint("the parameters of fit", params),
            }
        cv = check_cv(given, y, classifier=is_classifier(self.estimator))
        if self.storage is not None:
            if not _yields_constant_splits(cv):
                raise ValueError(
                    "cv must give the same splits each time, since a search in storage may be "
                    "resumed: give its random_state an integer, or set shuffle=False; "
                    f"got {given!r}"
                )
            self._data["cv"] = fingerprint("cv", cv)
        # scikit-learn reads the splitter from here, at every call of evaluate_candidates.
        self.cv = SameSplits(cv)
        try:
            return super().fit(X, y, **params)
        finally:
            self.cv = given
            self.__dict__.pop("_checked_cv_orig", None)
            self.__dict__.pop("_data", None)

    def _facts(self) -> dict[str, str]:
        """What must be equal, besides the study itself, for a search to be resumed."""
        metric = self.search_metric or (self.refit if isinstance(self.refit, str) else None)
        return {
            **self._data,
            "estimator": fingerprint("estimator", clone(self.estimator)),
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
            if metrics == ["score"]:  # scikit-learn's name where there is one, whatever refit says
                return "mean_test_score"
            if not isinstance(self.refit, str) and len(metrics) == 1:
                return f"mean_test_{metrics[0]}"
            if not isinstance(self.refit, str):
                raise ValueError(
                    f"search_metric must be one of {', '.join(metrics)}: there are several "
                    f"metrics, and refit={self.refit!r} names none"
                )
            self._check_refit_for_multimetric(dict.fromkeys(metrics))
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
        """Called by ``evaluate_candidates``: join its results with those of earlier calls."""
        self._memory.add(n_splits, out)
        with warnings.catch_warnings():
            # Not after every candidate: _run_search formats once more at the end, and warns then.
            warnings.filterwarnings("ignore", "One or more of the .* scores are non-finite")
            return self._format_all(n_splits)

    def _format_all(self, n_splits: int) -> dict[str, Any]:
        candidates, splits = self._memory.all()
        return super()._format_results(candidates, n_splits, splits)

    def _run_search(
        self,
        evaluate_candidates: Callable[..., Mapping[str, Any]],
        *,
        callback_ctx: Any = None,
    ) -> None:
        """Called by ``fit``: ask for candidates, have them evaluated, tell their scores."""
        n_splits = self.cv.n_splits
        watch = Watch(self, callback_ctx, self.n_iter * n_splits)
        with self._study() as study, self._remember(study) as memory, watch:

            def evaluate(trials: list[tune.Trial]) -> Any:
                memory.evaluating = trials
                params = [trial.params for trial in trials]
                return evaluate_candidates(params, **watch.keywords(len(trials) * n_splits))

            workers = joblib.effective_n_jobs(self.n_jobs)
            n_points = self.n_points or math.ceil(workers / max(1, n_splits))
            asked = len(study.finished)
            results, failure = None, ValueError("no fit of any candidate has succeeded")
            while asked < self.n_iter:
                trials = list(_ask(study, min(n_points, self.n_iter - asked)))
                if not trials:
                    break
                asked += len(trials)
                started = time.perf_counter()
                try:
                    results = evaluate(trials)
                except ValueError as error:
                    # scikit-learn raises when all fits of a call fail. Here a call may be a single
                    # candidate, so the search goes on.
                    if "fits failed" not in str(error):
                        raise
                    failure = error
                    seconds = (time.perf_counter() - started) / (len(trials) * n_splits)
                    memory.add_failed(trials, n_splits, self.error_score, seconds, str(error))
                    for trial in trials:
                        study.tell(trial, error="all of its fits failed")
                    warnings.warn(str(error), FitFailedWarning, stacklevel=3)
                else:
                    scores = results[self._metric(results)][-len(trials) :]
                    for trial, score in zip(trials, scores, strict=True):
                        study.tell(trial, score)
                if self._stops(study):
                    break
            if results is None:
                known = memory.known()
                if known is None:
                    raise failure
                # scikit-learn needs a call; the result of this one is not recorded.
                memory.replay = True
                results = evaluate([known])
            # scikit-learn goes on with this dict object, so it is changed in place.
            final = self._format_all(n_splits)
            results.clear()
            results.update(final)

    def _stops(self, study: tune.Study) -> bool:
        return False


def _ask(study: tune.Study, count: int) -> Iterator[tune.Trial]:
    """At most ``count`` trials; fewer when the space is used up."""
    for _ in range(count):
        try:
            yield study.ask()
        except tune.SpaceExhausted:
            return
