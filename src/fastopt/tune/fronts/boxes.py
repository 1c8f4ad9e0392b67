"""The region that some points dominate, or the region that they do not, cut into disjoint boxes.

A *local upper bound* is a corner of the region that no point dominates. Nothing that is below it in
every objective is dominated, and raising it in one objective would change that. The bounds are
found by adding the points one by one. Each bound keeps, for every objective, the point that bounds
it there; from these points the boxes follow.

Klamroth, Lacour, Vanderpooten: On the representation of the search region in multi-objective
optimization, European Journal of Operational Research 245 (2015); Lacour, Klamroth, Fonseca: A box
decomposition algorithm to compute the hypervolume indicator, Computers & Operations Research 79
(2017).
"""

from __future__ import annotations

import numpy as np

from fastopt.tune.fronts.domination import non_dominated

__all__ = ["Bounds", "hypervolume", "undominated_boxes"]


class Bounds:
    """The local upper bounds of points below a reference point; all is to be minimised.

    Attributes
    ----------
    upper : (bounds, m) array
    defining : (bounds, m, m) array
        ``defining[i, j]`` is the point that bounds ``upper[i]`` in objective j.
    """

    def __init__(self, reference: np.ndarray) -> None:
        m = len(reference)
        self.reference = np.asarray(reference, dtype=np.float64)
        self.upper = self.reference[None].copy()
        self.defining = np.full((1, m, m), -np.inf)
        self.defining[0, range(m), range(m)] = self.reference

    def add(self, point: np.ndarray) -> None:
        """Add a point; one that is dominated changes nothing."""
        m = len(point)
        hit = (point < self.upper).all(axis=1)
        if not hit.any():
            return
        upper, defining = self.upper[hit], self.defining[hit]
        uppers, definings = [self.upper[~hit]], [self.defining[~hit]]
        for j in range(m):
            others = [k for k in range(m) if k != j]
            new = point[j] >= defining[:, others, j].max(axis=1)
            corner, bounding = upper[new].copy(), defining[new].copy()
            corner[:, j] = point[j]
            bounding[:, j] = point
            uppers.append(corner)
            definings.append(bounding)
        self.upper, self.defining = np.concatenate(uppers), np.concatenate(definings)

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corners of boxes that make up the region that the points dominate."""
        m = len(self.reference)
        low = np.empty_like(self.upper)
        high = self.upper.copy()
        low[:, 0] = self.defining[:, 0, 0]
        high[:, 0] = self.reference[0]
        for j in range(1, m):
            low[:, j] = self.defining[:, :j, j].max(axis=1)
        full = (low < high).all(axis=1)
        return low[full], high[full]

    def gains(self, points: np.ndarray) -> np.ndarray:
        """By how much each of other points alone would raise the hypervolume."""
        low, high = self.boxes()
        sides = np.maximum(high - np.maximum(low, points[:, None]), 0.0)
        whole = np.maximum(self.reference - points, 0.0).prod(axis=1)
        return whole - sides.prod(axis=2).sum(axis=1)


def _bounds(points: np.ndarray, reference: np.ndarray) -> Bounds:
    bounds = Bounds(reference)
    inside = points[(points < reference).all(axis=1)]
    for point in inside[non_dominated(inside)]:
        bounds.add(point)
    return bounds


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """The volume of the space that is dominated by the points and dominates the reference point.

    Parameters
    ----------
    points : (n, m) array
    reference : (m,) array

    Examples
    --------
    >>> hypervolume(np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([3.0, 3.0]))
    5.0
    """
    points, reference = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    low, high = _bounds(points, reference).boxes()
    return float((high - low).prod(axis=1).sum())


def undominated_boxes(points: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that make up the region below the reference point that no point dominates.

    The region consists of all that dominates one of the local upper bounds. With all signs changed,
    it is the region that the bounds dominate, for which `Bounds.boxes` has the boxes.

    Returns
    -------
    low, high : (boxes, m) arrays
        Lower corners may be minus infinity.
    """
    if len(reference) == 2:
        return _strips(points, reference)
    upper = _bounds(points, reference).upper
    flipped = Bounds(np.full(len(reference), np.inf))
    for corner in -upper[np.lexsort(upper.T[::-1])]:
        flipped.add(corner)
    low, high = flipped.boxes()
    return -high, -low


def _strips(points: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The boxes for two objectives: strips from each point of the front to the next, below it."""
    inside = points[(points < reference).all(axis=1)]
    front = np.unique(inside[non_dominated(inside)], axis=0)
    x = np.concatenate([[-np.inf], front[:, 0], reference[:1]])
    y = np.concatenate([reference[1:], front[:, 1]])
    low = np.stack([x[:-1], np.full(len(y), -np.inf)], axis=1)
    return low, np.stack([x[1:], y], axis=1)
