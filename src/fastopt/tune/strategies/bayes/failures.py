"""How much a failed trial counts: fully where others fail too, not at all among successes.

Some failures belong to their place: the learning rate that diverges, the batch that does not fit.
Others strike anywhere: a lost node, a full disk. The neighbours tell them apart, first for all
failures together: if a trial's neighbours do not tell whether it fails, the failures are chance.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

__all__ = ["weigh"]

NEIGHBOURS = 3
RADIUS = 0.15
"""Radius of a neighbourhood, in units of the square root of the number of parameters."""
PRIOR = 2
"""The share of failures among neighbours is taken as if as many more had the overall share."""


def weigh(points: np.ndarray, values: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of all points as the model sees them, and which of them it is fitted to.

    All failures are dropped if they are not found together. Otherwise one is dropped if at least
    half of its neighbours have succeeded. It stays NaN, which is worse than the worst, if most have
    failed. One without neighbours gets the median of the values: the search leaves its surroundings
    for a while, but not for ever.

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
    near, distance = _neighbours(points)
    if not _are_together(failed, near):
        return values, ~failed
    values = values.copy()
    middle = np.quantile(values[~failed], 0.5, method="higher")
    close = distance <= RADIUS * points.shape[1] ** 0.5
    for i in np.flatnonzero(failed):
        if not close[i].any():
            values[i] = middle
        elif failed[near[i, close[i]]].mean() <= 0.5:
            kept[i] = False
    return values, kept


def _neighbours(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other points of each point, and their distances."""
    n = len(points)
    distance, near = cKDTree(points).query(points, k=range(1, min(NEIGHBOURS + 1, n) + 1))
    itself = near == np.arange(n)[:, None]
    itself[~itself.any(axis=1), -1] = True  # of many equal points it may not be among the nearest
    return near[~itself].reshape(n, -1), distance[~itself].reshape(n, -1)


def _are_together(failed: np.ndarray, near: np.ndarray) -> bool:
    """Whether the neighbours of a trial predict its failure better than all other trials do.

    Compared is the likelihood of all outcomes, each predicted from the other trials.
    """
    everywhere = (failed.sum() - failed + 0.5) / len(failed)
    there = (failed[near].sum(axis=1) + PRIOR * everywhere) / (near.shape[1] + PRIOR)
    likelihoods = [np.log(np.where(failed, p, 1 - p)).sum() for p in (there, everywhere)]
    return likelihoods[0] >= likelihoods[1]
