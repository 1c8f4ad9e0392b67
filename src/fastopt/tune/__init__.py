"""Search for hyper-parameters: spaces, strategies, studies that survive a crash.

Examples
--------
>>> from fastopt import tune
>>> space = {"x": tune.Float(-1.0, 1.0), "n": tune.Int(1, 4)}
>>> result = tune.minimize(lambda p: p["x"] ** 2 + p["n"], space, n_trials=64, strategy="sobol")
>>> result.best.params["n"], abs(result.best.params["x"]) < 0.1
(1, True)
"""

from typing import TYPE_CHECKING, Any

from .grid import Grid
from .minimize import maximize, minimize
from .parameters import Categorical, Float, Int
from .random import Random
from .sobol import Sobol
from .space import Dimension, Space
from .stopper import Median
from .strategy import ImprovementSpent, SpaceExhausted, Strategy, View
from .study import Study
from .trial import Trial

if TYPE_CHECKING:
    from .bayes import Bayes

__all__ = [
    "Bayes",
    "Categorical",
    "Dimension",
    "Float",
    "Grid",
    "ImprovementSpent",
    "Int",
    "Median",
    "Random",
    "Sobol",
    "Space",
    "SpaceExhausted",
    "Strategy",
    "Study",
    "Trial",
    "View",
    "maximize",
    "minimize",
]


def __getattr__(name: str) -> Any:
    # The Gaussian process brings SciPy's linear algebra; the other strategies do without.
    if name == "Bayes":
        from .bayes import Bayes

        return Bayes
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
