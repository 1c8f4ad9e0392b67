"""scikit-learn: the searches ``SearchCV``, ``BayesSearchCV`` and ``HalvingSearchCV``.

The first two are used as :class:`sklearn.model_selection.RandomizedSearchCV`, the last as
:class:`sklearn.model_selection.HalvingRandomSearchCV`. They have the same attributes and methods.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.sklearn needs scikit-learn; install it with: "
        "pip install scikit-learn",
        name="sklearn",
    ) from error

from fastopt.integrations.sklearn.bayes_search import BayesSearchCV
from fastopt.integrations.sklearn.halving_search import HalvingSearchCV
from fastopt.integrations.sklearn.search import SearchCV

__all__ = ["BayesSearchCV", "HalvingSearchCV", "SearchCV"]
