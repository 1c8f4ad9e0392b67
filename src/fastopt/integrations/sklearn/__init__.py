"""scikit-learn: ``SearchCV`` and ``BayesSearchCV``, searches with cross-validation.

They are used as :class:`sklearn.model_selection.RandomizedSearchCV` is, and give what it gives.
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
from fastopt.integrations.sklearn.search import SearchCV

__all__ = ["BayesSearchCV", "SearchCV"]
