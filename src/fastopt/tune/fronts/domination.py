"""Which points are at least as good as others in all objectives, and better in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["dominates", "non_dominated", "ranks"]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether ``a`` is nowhere worse than ``b``, and somewhere better."""
    return tuple(a) != tuple(b) and all(x <= y for x, y in zip(a, b, strict=True))


def non_dominated(points: np.ndarray) -> np.ndarray:
    """For each row of an (n, m) array, whether no other row dominates it; equal rows do not.

    Examples
    --------
    >>> non_dominated(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    array([ True,  True, False])
    """
    points = np.asarray(points, dtype=np.float64)
    kept = np.zeros(len(points), dtype=bool)
    # In this order a point is dominated only by those before it.
    left = np.lexsort(points.T[::-1])
    while len(left):
        first = points[left[0]]
        beaten = (points[left] >= first).all(axis=1)
        kept[left[beaten & (points[left] == first).all(axis=1)]] = True
        left = left[~beaten]
    return kept


def ranks(points: np.ndarray, enough: int | None = None) -> np.ndarray:
    """The rank of each row: 0 if none dominates it, 1 if only those of rank 0 do, and so on.

    Once ``enough`` rows have a rank, all others get the next one.
    """
    rank = np.zeros(len(points), dtype=np.int64)
    left = np.arange(len(points))
    enough = len(points) if enough is None else enough
    level = 0
    while len(left) and len(points) - len(left) < enough:
        front = non_dominated(points[left])
        rank[left[front]] = level
        left = left[~front]
        level += 1
    rank[left] = level
    return rank
