"""The basin of the best trial: what lies in it, and when a search has converged there.

A basin is the search's own: the box about the best trial within which it refines. The objective may
have several minima in it, or none.
"""

from __future__ import annotations

import numpy as np

RADIUS = 0.12
"""Half the side of a basin in each ordered coordinate of the unit cube. Another category is always
another basin."""
CONVERGED = 1e-4
"""A search has converged when it expects less than this share of the spread of the first values."""


class Basin:
    """The points within `RADIUS` of the best trial that have its categories.

    Attributes
    ----------
    crowd : (n,) array of bool
        Which of the trials lie in the basin, without the best one.
    """

    def __init__(self, encoding, points, values):
        best = int(np.nanargmin(values))
        self.centre = points[best]
        self.reach = np.where(encoding.categorical, 0.0, RADIUS)
        self.crowd = self.holds(points)
        self.crowd[best] = False

    def holds(self, points) -> np.ndarray:
        """Whether each row lies in the basin."""
        return (np.abs(points - self.centre) <= self.reach).all(axis=1)


def spread(values) -> float:
    """Distance from the median to the best of the values that are known.

    Later trials crowd near the best one, so the first must be given: of all trials the distance
    shrinks as the search converges.
    """
    known = values[~np.isnan(values)]
    return float(np.median(known) - known.min()) if len(known) else 0.0
