"""The strategies by name."""

from __future__ import annotations

from typing import Any

from fastopt.tune.strategies.grid import Grid
from fastopt.tune.strategies.protocol import Strategy
from fastopt.tune.strategies.random import Random
from fastopt.tune.strategies.sobol import Sobol

__all__ = ["make_strategy"]

STRATEGIES = ("grid", "random", "sobol", "bayes")


def make_strategy(strategy: str | Strategy) -> Any:
    """The strategy of that name with its default options; a strategy is returned as it is."""
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
        if strategy == "bayes":
            from fastopt.tune.strategies.bayes.strategy import Bayes

            return Bayes()
        return {"grid": Grid, "random": Random, "sobol": Sobol}[strategy]()
    if not callable(getattr(strategy, "ask", None)):
        raise TypeError(f"strategy must be a name or an object with ask(view), got {strategy!r}")
    return strategy
