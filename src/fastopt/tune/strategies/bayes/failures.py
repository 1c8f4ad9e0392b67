"""How much a failed trial counts: fully where others fail too, not at all among successes.

Some failures belong to their place: the learning rate that diverges, the batch that does not fit.
Others strike anywhere: a lost node, a full disk. The neighbours tell them apart.
"""

from __future__ import annotations

import numpy as np

__all__ = ["weigh"]

NEIGHBOURS = 3
RADIUS = 0.15
"""Radius of a neighbourhood, in units of the square root of the number of parameters."""


def weigh(points: np.ndarray, values: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of all points as the model sees them, and which of them it is fitted to.

    A failure is dropped if most of its neighbours have succeeded. It stays NaN, which is worse
    than the worst, if half of them or more have failed. One without neighbours gets the median of
    the values: the search leaves its surroundings for a while, but not for ever.

    Parameters
    ----------
    points : (n, d) array in [0, 1]
    values : (n,) array
        NaN for failures.
    how : {"neighbours", "worst", "ignore"}
        "worst" leaves every failure as NaN, "ignore" drops them all.

    Returns
    -------
    values : (n,) array
    kept : (n,) array of bool
    """
    failed = np.isnan(values)
    kept = np.ones(len(values), bool)
    if how == "worst" or not failed.any() or failed.all():
        return values, kept
    if how == "ignore":
        return values, ~failed
    values = values.copy()
    middle = np.quantile(values[~failed], 0.5, method="higher")
    radius = RADIUS * points.shape[1] ** 0.5
    for i in np.flatnonzero(failed):
        distance = np.sqrt(((points - points[i]) ** 2).sum(axis=1))
        distance[i] = np.inf
        near = np.argsort(distance, kind="stable")[:NEIGHBOURS]
        near = near[distance[near] <= radius]
        if len(near) == 0:
            values[i] = middle
        elif failed[near].mean() < 0.5:
            kept[i] = False
    return values, kept
