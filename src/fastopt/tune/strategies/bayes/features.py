"""A search space as the Gaussian process sees it.

Points are rows of the space's unit cube, snapped to where they are evaluated. Features are the
kernel's inputs: a categorical coordinate becomes a one-hot block whose squared distances are
Hamming distances. A coordinate that is inactive under its condition gets a constant. So points that
both lack it do not differ in it, and the kernel stays positive semi-definite.
"""

from __future__ import annotations

import math

import numpy as np

ENUMERATED = 16
"""Ordered coordinates of at most this many levels are searched exhaustively."""


class Encoding:
    """The features of the points of a `Space`.

    Attributes
    ----------
    continuous, discrete : arrays of int
        Coordinates with a continuum of values, and coordinates with two or more levels.
    groups : (columns,) array of int
        The coordinate that each feature belongs to.
    continuous_columns : array of int
        The columns of the continuous coordinates.
    warpable : (columns,) array of bool
        Columns that have an order and may be warped.
    """

    def __init__(self, space):
        self.space = space
        dimensions = space.dimensions
        self.categorical = np.array([d.kind == "categorical" for d in dimensions])
        self.continuous = np.array([j for j, d in enumerate(dimensions) if d.levels is None], int)
        self.discrete = np.array(
            [j for j, d in enumerate(dimensions) if d.levels is not None and d.levels > 1], int
        )
        widths = [d.levels if d.kind == "categorical" else 1 for d in dimensions]
        self.groups = np.repeat(np.arange(len(dimensions)), widths)
        self.first_column = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(int)
        self.continuous_columns = self.first_column[self.continuous]
        self.warpable = ~self.categorical[self.groups]
        self.conditional = any(d.parents for d in dimensions)

    def features(self, points) -> np.ndarray:
        """The kernel's inputs, (m, columns), all in [0, 1]."""
        if not self.categorical.any():
            return points.copy()
        features = np.empty((len(points), len(self.groups)))
        plain = ~self.categorical
        features[:, self.first_column[plain]] = points[:, plain]
        for j in np.flatnonzero(self.categorical):
            parameter = self.space.dimensions[j].parameter
            block = parameter.nearest(points[:, j])[:, None] == np.arange(parameter.levels)
            column = self.first_column[j]
            features[:, column : column + parameter.levels] = block * math.sqrt(0.5)
        if self.conditional:
            absent = ~self.space.active(points)[:, self.groups] & ~self.warpable
            features[absent] = 0.0
        return features

    def neighbours(self, j, coordinates) -> np.ndarray:
        """Coordinates to try instead of each of ``coordinates``, one row for each.

        These are all levels if they have no order or are few, else those 1, 2, 4, … levels away.
        """
        parameter = self.space.dimensions[j].parameter
        n = parameter.levels
        if self.categorical[j] or n <= ENUMERATED:
            return np.broadcast_to(parameter.unit(np.arange(n)), (len(coordinates), n))
        powers = 2 ** np.arange(n.bit_length())
        offsets = np.concatenate([-powers, powers])
        levels = parameter.nearest(coordinates)[:, None] + offsets
        return parameter.unit(np.clip(levels, 0, n - 1))
