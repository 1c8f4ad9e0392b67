"""Search for hyper-parameters: spaces, strategies, studies that survive a crash.

Examples
--------
>>> from fastopt import tune
>>> space = {"x": tune.Float(-1.0, 1.0), "n": tune.Int(1, 4)}
>>> result = tune.minimize(lambda p: p["x"] ** 2 + p["n"], space, n_trials=64, strategy="sobol")
>>> result.best.params["n"], abs(result.best.params["x"]) < 0.1
(1, True)
"""

import sys
from typing import TYPE_CHECKING, Any

from fastopt.tune._habits import tune_has
from fastopt.tune._minimize import maximize, minimize
from fastopt.tune._open import open, studies
from fastopt.tune.running.current import CurrentTrial, current_trial, current_trials, note
from fastopt.tune.running.stoppers import Budget, Patience, TargetValue
from fastopt.tune.schedulers.halving import Halving
from fastopt.tune.schedulers.hyperband import Hyperband
from fastopt.tune.schedulers.median import Median
from fastopt.tune.schedulers.population_based import PopulationBased
from fastopt.tune.schedulers.protocol import Moment, Scheduler
from fastopt.tune.schedulers.top_k import TopK
from fastopt.tune.space import Categorical, Dimension, Float, Int, Result, Space, Trial
from fastopt.tune.strategies.grid import Grid
from fastopt.tune.strategies.protocol import ImprovementSpent, SpaceExhausted, Strategy, View
from fastopt.tune.strategies.random import Random
from fastopt.tune.strategies.sobol import Sobol
from fastopt.tune.strategies.tpe.strategy import TPE
from fastopt.tune.study import Study

if TYPE_CHECKING:
    from fastopt.tune.strategies.bayes.strategy import Bayes

__all__ = [
    "TPE",
    "Bayes",
    "Budget",
    "Categorical",
    "CurrentTrial",
    "Dimension",
    "Float",
    "Grid",
    "Halving",
    "Hyperband",
    "ImprovementSpent",
    "Int",
    "Median",
    "Moment",
    "Patience",
    "PopulationBased",
    "Random",
    "Result",
    "Scheduler",
    "Sobol",
    "Space",
    "SpaceExhausted",
    "Strategy",
    "Study",
    "TargetValue",
    "TopK",
    "Trial",
    "View",
    "current_trial",
    "current_trials",
    "maximize",
    "minimize",
    "note",
    "open",
    "studies",
]


for _name in __all__:
    # Classes are documented and imported from here, whichever room holds them.
    if _name in globals():
        globals()[_name].__module__ = __name__


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    # The Gaussian process brings SciPy's linear algebra; the other strategies do without.
    if name == "Bayes":
        from fastopt.tune.strategies.bayes.strategy import Bayes

        return Bayes
    # With name and obj Python adds which name was probably meant.
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}{tune_has(name)}",
        name=name,
        obj=sys.modules[__name__],
    )
