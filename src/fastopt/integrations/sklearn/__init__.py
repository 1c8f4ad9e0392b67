"""scikit-learn: the searches ``SearchCV``, ``BayesSearchCV`` and ``HalvingSearchCV``.

They are used as :class:`sklearn.model_selection.RandomizedSearchCV` is, the last as
:class:`sklearn.model_selection.HalvingRandomSearchCV`, and give what these give.
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
