"""The strategies by name."""

from __future__ import annotations

import ast
from typing import Any, get_args

from fastopt import _checks
from fastopt.tune.strategies.grid import Grid
from fastopt.tune.strategies.protocol import Name, Strategy, View
from fastopt.tune.strategies.random import Random
from fastopt.tune.strategies.sobol import Sobol
from fastopt.tune.strategies.tpe.strategy import TPE

__all__ = ["Unknown", "make_strategy", "restore_strategy"]

# All but the one whose import is slow.
CLASSES: dict[str, Any] = {"grid": Grid, "random": Random, "sobol": Sobol, "tpe": TPE}


def make_strategy(strategy: Name | Strategy) -> Any:
    """The strategy of that name with its default options; a strategy is returned as it is."""
    if isinstance(strategy, str):
        _checks.choice("strategy", strategy, get_args(Name))
        if strategy == "bayes":
            from fastopt.tune.strategies.bayes.strategy import Bayes

            return Bayes()
        return CLASSES[strategy]()
    if isinstance(strategy, type):
        raise TypeError(f"strategy must be an object, got a class: write {strategy.__name__}(…)")
    if not callable(getattr(strategy, "ask", None)):
        raise TypeError(f"strategy must be a name or an object with ask(view), got {strategy!r}")
    return strategy


class Unknown:
    """A placeholder for a strategy that cannot be made from a study's file."""

    def __init__(self, text: str, reason: str) -> None:
        self._text = text
        self._reason = reason

    def __repr__(self) -> str:
        return self._text

    def ask(self, view: View) -> dict[str, Any]:
        """ValueError: what to do instead."""
        raise ValueError(
            f"{self._reason}: to go on with the study, make it by tune.Study(space, …, storage=) "
            "as the program did that started it"
        )


def restore_strategy(text: str) -> Any:
    """The strategy that is described in a study's file, or a placeholder."""
    classes = {kind.__name__: kind for kind in CLASSES.values()}
    try:
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        options = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        if isinstance(points := options.get("points"), str):
            options["points"] = ast.literal_eval(points)
        if call.func.id == "Bayes":
            return type(make_strategy("bayes"))(**options)
        return classes[call.func.id](**options)
    except (AssertionError, KeyError, SyntaxError, TypeError, ValueError):
        return Unknown(text, f"the strategy {text} cannot be made from the file")
