"""The search with the keywords of scikit-optimize's ``BayesSearchCV``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from fastopt import tune
from fastopt.integrations.sklearn.search import SearchCV
from fastopt.integrations.sklearn.space import range_of_tuple

__all__ = ["BayesSearchCV"]


class BayesSearchCV(SearchCV):
    """:class:`SearchCV` with the keywords of scikit-optimize's; it is Bayesian by default.

    Parameters
    ----------
    search_spaces : dict
        As ``param_distributions``, but tuples mean what they mean in scikit-optimize: ``(low,
        high)`` and ``(low, high, "log-uniform")`` are ranges, of integers if both bounds are
        integers. Any other tuple holds choices.
    **others
        The keywords of :class:`SearchCV`. ``param_distributions`` may be given instead of
        ``search_spaces``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from fastopt.integrations.sklearn import BayesSearchCV
    >>> space = {"C": (1e-2, 1e3, "log-uniform"), "gamma": (1e-4, 1e1, "log-uniform")}
    >>> search = BayesSearchCV(SVC(), space, n_iter=12, random_state=0)
    >>> bool(search.fit(*load_iris(return_X_y=True)).best_score_ > 0.95)
    True
    """

    __module__ = "fastopt.integrations.sklearn"

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own form)
        **SearchCV._parameter_constraints,
        "search_spaces": "no_validation",
    }
    _spaces = ("search_spaces", "param_distributions")

    def __init__(
        self,
        estimator: Any,
        search_spaces: Mapping[str, Any] | None = None,
        *,
        param_distributions: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(estimator, cast(Any, param_distributions), **others)
        self.search_spaces = search_spaces

    def _space(self) -> Any:
        if (self.search_spaces is None) == (self.param_distributions is None):
            raise TypeError(
                "BayesSearchCV needs search_spaces or param_distributions, and not both"
            )
        if self.search_spaces is None:
            return self.param_distributions
        if not isinstance(self.search_spaces, Mapping):
            raise TypeError(
                f"search_spaces must be a dict, got {self.search_spaces!r}; for parameters that "
                "exclude each other use when="
            )
        return {name: range_of_tuple(name, value) for name, value in self.search_spaces.items()}

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        *,
        callback: Callable[[tune.Study], Any] | Iterable[Callable[[tune.Study], Any]] | None = None,
        **params: Any,
    ) -> SearchCV:
        """Search, then fit the best estimator; as in scikit-learn's searches.

        Parameters
        ----------
        callback : callable or list of callables, optional
            ``callback(study)`` after each batch of candidates, with the
            :class:`fastopt.tune.Study` of the search; one that returns True ends it.
        """
        callbacks = [callback] if callable(callback) else list(callback or ())
        for each in callbacks:
            if not callable(each):
                raise TypeError(f"callback must be callable or a list of callables, got {each!r}")
        self._callbacks = callbacks
        try:
            return super().fit(X, y, **params)
        finally:
            del self._callbacks

    def _stops(self, study: tune.Study) -> bool:
        # All are called, also after one that ends the search.
        return any([callback(study) is True for callback in self._callbacks])


def _signature(*methods: Callable[..., Any]) -> inspect.Signature:
    """All named parameters: scikit-learn reads an estimator's parameters from its signature."""
    parameters: dict[str, inspect.Parameter] = {}
    for method in methods:
        for name, parameter in inspect.signature(method).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD:
                parameters.setdefault(name, parameter)
    return inspect.Signature(list(parameters.values()))


BayesSearchCV.__init__.__signature__ = _signature(  # type: ignore[attr-defined]
    BayesSearchCV.__init__, SearchCV.__init__
)
