"""A density from points of a space: a kernel around each, and a wide one for the rest.

A kernel is a product over the dimensions: a normal, cut off at the bounds, for numbers; for choices
a distribution that prefers the one observed. Where the levels of a number are far apart the
normal's integral over a level's cell stands for its density. Bergstra, Yamins, Cox: Making a
science of model search, ICML 2013; the widths are those of Watanabe: Tree-structured Parzen
estimator, arXiv 2304.11127, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastopt.tune.space import Categorical, Dimension, Float, Int

__all__ = ["Parzen"]

# This number of the newest trials have equal weights; older ones weigh less and less.
NEWEST = 25
# The least width of a kernel, as a share of the range.
NARROWEST = 0.01
# In cells up to this width the density of the narrowest kernel hardly changes.
FINE = 0.005


class Parzen:
    """A mixture of kernels.

    Parameters
    ----------
    dimensions : sequence of Dimension
    points : (n, d) array
        Coordinates in the unit cube, the oldest point first.
    """

    def __init__(self, dimensions: Sequence[Dimension], points: np.ndarray) -> None:
        weights = np.append(_weights(len(points)), 1.0)
        self._weights = weights / weights.sum()
        # All dimensions at once, also categorical ones: with the few kernels of the better trials,
        # NumPy's calls take longer than their arithmetic.
        n, d = points.shape
        centres, scales = np.empty((d, n + 1)), np.ones((d, n + 1))
        centres[:, :n], centres[:, n] = points.T, 0.5
        for j, dimension in enumerate(dimensions):
            if dimension.kind != "categorical":
                scales[j, :n] = _widths(centres[j, :n])
        inside = _between(-centres / scales, (1.0 - centres) / scales)
        self._factors = [
            _Choices(dimension, points[:, j])
            if dimension.kind == "categorical"
            else _Numbers(dimension, centres[j], scales[j], inside[j])
            for j, dimension in enumerate(dimensions)
        ]

    def draw(self, m: int, rng: np.random.Generator) -> np.ndarray:
        """Coordinates of ``m`` points, (m, d), levels at the centre of their cells."""
        kernels = rng.choice(len(self._weights), size=m, p=self._weights)
        return np.stack([factor.draw(kernels, rng) for factor in self._factors], axis=1)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of the density at points of (m, d), up to a constant, (m,)."""
        total = np.tile(np.log(self._weights), (len(points), 1))
        for j, factor in enumerate(self._factors):
            factor.add_log_density(points[:, j], total)
        largest = total.max(axis=1)
        total -= largest[:, None]
        # One term of the sum is 1, so terms below this limit change no bit of it. Many are so far
        # below that their exponentials would underflow, which takes ten times as long.
        np.maximum(total, -700.0, out=total)
        return largest + np.log(np.exp(total, out=total).sum(axis=1))


def _weights(n: int) -> np.ndarray:
    """Weights by age: when older points were chosen, less was known."""
    if n < NEWEST:
        return np.ones(n)
    return np.concatenate([np.linspace(1.0 / n, 1.0, n - NEWEST), np.ones(NEWEST)])


def _widths(places: np.ndarray) -> np.ndarray:
    """The larger of the distances to both neighbours, clipped by the number of kernels."""
    n = len(places)
    if n < 2:
        return np.maximum(places, 1.0 - places)
    order = places.argsort(kind="stable")
    ordered = places[order]
    gaps = ordered[1:] - ordered[:-1]
    larger = np.empty(n)
    larger[0], larger[-1] = gaps[0], gaps[-1]
    np.maximum(gaps[:-1], gaps[1:], out=larger[1:-1])
    np.maximum(larger, max(NARROWEST, 1.0 / (n + 2)), out=larger)
    np.minimum(larger, 1.0, out=larger)
    widths = np.empty(n)
    widths[order] = larger
    return widths


def _upper_tail(x: np.ndarray) -> np.ndarray:
    """The probability that a standard normal exceeds ``x``, within 2e-4.

    Bowling, Khasawneh, Kaewkuekool, Cho: A logistic approximation to the cumulative normal
    distribution, Journal of Industrial Engineering and Management 2, 2009.
    """
    exponents = x * (1.5976 + 0.07056 * x * x)
    # Overflow is an error. Underflow is slow, and below the lower limit the result is 1 anyway.
    np.minimum(exponents, 700.0, out=exponents)
    np.maximum(exponents, -700.0, out=exponents)
    return 1.0 / (1.0 + np.exp(exponents, out=exponents))


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The probability that a standard normal lies between ``low`` and ``high``."""
    return _upper_tail(low) - _upper_tail(high)


class _Numbers:
    """Normals of one continuous or ordered dimension, cut off at the bounds."""

    def __init__(
        self, dimension: Dimension, centres: np.ndarray, scales: np.ndarray, inside: np.ndarray
    ) -> None:
        assert isinstance(dimension.parameter, (Float, Int))
        self._parameter = dimension.parameter
        self._centres, self._scales = centres, scales
        # The share of each normal that lies between the bounds.
        self._inside = inside
        self._levels = dimension.levels
        self._coarse = False
        if self._levels is not None:
            low, high = self._parameter.cell(np.array([0, self._levels - 1]))
            self._coarse = bool((high - low).max() > FINE)

    def draw(self, kernels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        centres, scales = self._centres[kernels], self._scales[kernels]
        drawn = centres + scales * rng.standard_normal(len(kernels))
        # No kernel is wider than the range or has its centre outside, so at least a third of the
        # draws are inside.
        while (outside := (drawn < 0.0) | (drawn > 1.0)).any():
            fresh = centres + scales * rng.standard_normal(len(drawn))
            drawn = np.where(outside, fresh, drawn)
        if self._levels is None:
            return drawn
        return self._parameter.unit(self._parameter.nearest(drawn))

    def add_log_density(self, places: np.ndarray, total: np.ndarray) -> None:
        centres, scales = self._centres, self._scales
        if self._coarse:
            total += self._log_masses(places)
            return
        # Far from all trials, points differ in their ratio of densities only by rounding errors. So
        # another order of operations would suggest other points.
        z = places[:, None] / scales
        z -= centres / scales
        z *= z
        z *= -0.5
        total += z
        total -= np.log(scales * self._inside)

    def _log_masses(self, places: np.ndarray) -> np.ndarray:
        """Log probabilities of the cells of ``places``, computed once for each distinct cell."""
        levels, level = np.unique(self._parameter.nearest(places), return_inverse=True)
        low, high = self._parameter.cell(levels)
        centres, scales = self._centres, self._scales
        masses = _between((low[:, None] - centres) / scales, (high[:, None] - centres) / scales)
        masses /= self._inside
        return np.log(np.maximum(masses, 1e-300))[level]


class _Choices:
    """Distributions over one categorical dimension; each but the last prefers one choice."""

    def __init__(self, dimension: Dimension, places: np.ndarray) -> None:
        assert isinstance(dimension.parameter, Categorical)
        self._parameter = dimension.parameter
        self._preferred = np.append(self._parameter.nearest(places), -1)
        self._other = 1.0 / len(self._preferred)

    def draw(self, kernels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        levels = self._parameter.levels
        drawn = rng.integers(levels, size=len(kernels))
        preferred = self._preferred[kernels]
        any_choice = rng.random(len(kernels)) * (1.0 + levels * self._other) < levels * self._other
        return self._parameter.unit(np.where(any_choice | (preferred < 0), drawn, preferred))

    def add_log_density(self, places: np.ndarray, total: np.ndarray) -> None:
        levels, other = self._parameter.levels, self._other
        equal = self._parameter.nearest(places)[:, None] == self._preferred
        total += math.log(other / (1.0 + levels * other))
        total += math.log((1.0 + other) / other) * equal
        total[:, -1] += math.log((1.0 + levels * other) / (levels * other))
