"""From values of a dict of spaces to parameters of :mod:`fastopt.tune`."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from fastopt import tune

__all__ = ["parameter", "range_of_tuple"]

PARAMETERS = (tune.Float, tune.Int, tune.Categorical)


def parameter(name: str, values: Any) -> Any:
    """The parameter for a value of ``param_distributions``."""
    if isinstance(values, PARAMETERS):
        return values
    if hasattr(values, "ppf"):
        if not hasattr(values, "pmf"):
            return tune.Float(values)
        if getattr(getattr(values, "dist", None), "name", None) == "randint":
            low, high = values.support()
            return tune.Int(int(low), int(high))
        raise TypeError(
            f"param_distributions: {name!r} is a discrete distribution other than randint, "
            "needs a tune.Int or a list"
        )
    if isinstance(values, range) and values:
        low, high = sorted((values[0], values[-1]))
        return tune.Int(low, high, step=abs(values.step))
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    if isinstance(values, list):
        return tune.Categorical(values)
    hint = (
        "; a tuple means a range to scikit-optimize and choices to scikit-learn: write a "
        "tune.Float or tune.Int for the one, a list for the other"
        if isinstance(values, tuple)
        else ""
    )
    raise TypeError(
        f"param_distributions: {name!r} must be a tune.Float, tune.Int or tune.Categorical, a "
        f"list, a range, or a frozen distribution of scipy.stats, got {values!r}{hint}"
    )


def range_of_tuple(name: str, values: Any) -> Any:
    """The parameter for a tuple as scikit-optimize reads it: bounds and a prior, else choices."""
    if not isinstance(values, tuple):
        return values
    bounds, prior = values[:2], values[2:]
    is_range = len(bounds) == 2 and all(
        isinstance(bound, numbers.Real) and not isinstance(bound, bool) for bound in bounds
    )
    if not is_range or len(prior) > 1 or not set(prior) <= {"uniform", "log-uniform"}:
        if is_range and prior and isinstance(prior[0], str):
            raise ValueError(
                f"search_spaces: the prior of {name!r} must be 'uniform' or 'log-uniform', "
                f"got {prior!r}"
            )
        return tune.Categorical(list(values))
    kind = tune.Int if all(isinstance(bound, numbers.Integral) for bound in bounds) else tune.Float
    return kind(*bounds, log="log-uniform" in prior)
