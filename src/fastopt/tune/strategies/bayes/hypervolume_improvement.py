r"""The hypervolume that a point is expected to add to a front, in logarithms.

The region that the front does not dominate is cut into boxes. In each box the improvement is a
product over the objectives. These are independent given the models, so the expectation is a product
too:

.. math:: \sum_{boxes} \prod_k \left( G_k(high_k) - G_k(low_k) \right), \qquad
          G_k(a) = E[\max(0, a - Y_k)] = \sigma_k\, h\left(\frac{a - \mu_k}{\sigma_k}\right)

with ``h`` of `log_h`. Yang, Emmerich, Deutz, Bäck: Efficient computation of expected hypervolume
improvement using box decomposition algorithms, Journal of Global Optimization 75 (2019). Here sums
and differences are computed from logarithms, as in arXiv 2310.20708. So the criterion has a slope
also where the improvement itself is zero in floating point.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr, logsumexp

from fastopt.tune.strategies.bayes.expected_improvement import log_h

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
ROWS = 512
"""Rows that are evaluated together; arrays of more would not fit into the caches."""


class HypervolumeImprovement:
    """The expected hypervolume improvement, exact.

    Parameters
    ----------
    posteriors : sequence of Posterior
        One for each objective, which is to be minimised.
    boxes : two (boxes, m) arrays
        As from `undominated_boxes`; lower corners may be minus infinity.
    """

    def __init__(self, posteriors, boxes):
        self.posteriors = posteriors
        self.inverse_length = np.max([p.inverse_length for p in posteriors], axis=0)
        low, high = boxes
        # Many boxes share few bounds: the function is computed once for each.
        self._levels, self._low, self._high = [], [], []
        for k in range(len(posteriors)):
            levels = np.unique(np.concatenate([low[:, k], high[:, k]]))
            self._levels.append(levels)
            self._low.append(np.searchsorted(levels, low[:, k]))
            self._high.append(np.searchsorted(levels, high[:, k]))

    def values(self, features):
        """The criterion at each row."""
        parts = [
            self._logarithm([p.predict(features[i : i + ROWS]) for p in self.posteriors])[0]
            for i in range(0, len(features), ROWS)
        ]
        return np.concatenate(parts)

    def _logarithm(self, moments):
        """The criterion, each box's logarithm, and for each objective what the gradient needs."""
        boxes, sides = 0.0, []
        for k, (mean, deviation) in enumerate(moments):
            z = (self._levels[k] - mean[:, None]) / deviation[:, None]
            with np.errstate(invalid="ignore"):
                below = np.where(np.isneginf(z), -np.inf, log_h(z)) + np.log(deviation)[:, None]
            side = _log_difference(below[:, self._high[k]], below[:, self._low[k]])
            boxes = boxes + side
            sides.append((z, side))
        return logsumexp(boxes, axis=1), boxes, sides

    def gradient(self, features):
        """The criterion, and its derivatives by each feature."""
        moments = [posterior.predict_gradient(features) for posterior in self.posteriors]
        value, boxes, sides = self._logarithm([moment[:2] for moment in moments])
        with np.errstate(invalid="ignore"):
            weights = np.exp(boxes - value[:, None])
        weights = np.nan_to_num(weights)
        gradient = 0.0
        for k, (z, side) in enumerate(sides):
            _, _, mean_by, deviation_by = moments[k]
            with np.errstate(over="ignore", invalid="ignore"):
                by_mean = -self._slope(log_ndtr(z), side, k)
                by_deviation = self._slope(-0.5 * z * z - _LOG_SQRT_2PI, side, k)
            by_mean = (weights * by_mean).sum(axis=1)
            by_deviation = (weights * by_deviation).sum(axis=1)
            gradient = gradient + by_mean[:, None] * mean_by + by_deviation[:, None] * deviation_by
        return value, gradient

    def _slope(self, logarithms, side, k):
        """Differences of a function at the ends of each box's side, relative to the side."""
        upper = np.exp(logarithms[:, self._high[k]] - side)
        lower = np.exp(logarithms[:, self._low[k]] - side)
        return np.nan_to_num(upper - lower, posinf=0.0, neginf=0.0)


def _log_difference(large, small):
    """log(exp(large) - exp(small))."""
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(np.isneginf(small), -np.inf, small - large)
        gap = np.minimum(gap, -1e-300)
        rest = np.where(gap > -math.log(2.0), np.log(-np.expm1(gap)), np.log1p(-np.exp(gap)))
    return large + rest
