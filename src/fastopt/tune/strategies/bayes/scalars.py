"""Several objectives made one number, or compared with one point."""

from __future__ import annotations

import numpy as np

from fastopt.tune.fronts.domination import non_dominated

__all__ = ["chebyshev", "reference_point"]

SUM = 0.05
"""How much the weighted sum counts beside the largest weighted objective."""
BEYOND = 1.0
"""How far the reference point lies beyond the worst of the front, in units of the front's extent.
It is far, so that the search looks for the ends of the front too."""


def chebyshev(objectives: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The augmented Chebyshev norm of objectives that are scaled to [0, 1].

    The weights determine which point of the front has the least norm. Knowles: ParEGO, IEEE
    Transactions on Evolutionary Computation 10 (2006).

    Parameters
    ----------
    objectives : (n, m) array
        To be minimised; a row of NaN stays NaN.
    weights : (m,) array
    """
    there = ~np.isnan(objectives).any(axis=1)
    if not there.any():
        return np.full(len(objectives), np.nan)
    objectives = 0.5 * objectives  # the difference of two huge values must stay finite
    front = objectives[there][non_dominated(objectives[there])]
    low = front.min(axis=0)
    extent = front.max(axis=0) - low
    whole = objectives[there].max(axis=0) - low
    extent = np.where(extent > 0.0, extent, np.where(whole > 0.0, whole, 1.0))
    weighted = weights * (objectives - low) / extent
    return weighted.max(axis=1) + SUM * weighted.sum(axis=1)


def reference_point(front: np.ndarray) -> np.ndarray:
    """Worse than the worst of the front in each objective.

    Parameters
    ----------
    front : (n, m) array
        Of targets with unit variance, to be minimised.
    """
    low, high = front.min(axis=0), front.max(axis=0)
    # A front of one point has no extent, and a tiny extent says nothing about the scale.
    return high + BEYOND * np.maximum(high - low, 1.0)
