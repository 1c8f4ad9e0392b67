"""The strategies by name."""

from __future__ import annotations

from typing import Any, get_args

from fastopt import _checks
from fastopt.tune.strategies.grid import Grid
from fastopt.tune.strategies.protocol import Name, Strategy
from fastopt.tune.strategies.random import Random
from fastopt.tune.strategies.sobol import Sobol
from fastopt.tune.strategies.tpe.strategy import TPE

__all__ = ["make_strategy"]


def make_strategy(strategy: Name | Strategy) -> Any:
    """The strategy of that name with its default options; a strategy is returned as it is."""
    if isinstance(strategy, str):
        _checks.choice("strategy", strategy, get_args(Name))
        if strategy == "bayes":
            from fastopt.tune.strategies.bayes.strategy import Bayes

            return Bayes()
        return {"grid": Grid, "random": Random, "sobol": Sobol, "tpe": TPE}[strategy]()
    if not callable(getattr(strategy, "ask", None)):
        raise TypeError(f"strategy must be a name or an object with ask(view), got {strategy!r}")
    return strategy
