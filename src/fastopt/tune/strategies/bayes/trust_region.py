"""A trust region, for spaces of many dimensions, where the model is good only near the best point.

As TuRBO-1 (Eriksson et al. 2019, arXiv 1910.01739), but computed anew from all values each time, so
that it is a function of the history and needs no state of its own.
"""

from __future__ import annotations

import math

import numpy as np

DIMENSION = 20
"""Spaces of more coordinates are searched within a trust region."""
FIRST, SMALLEST, LARGEST = 0.8, 2.0**-7, 1.6
SUCCESSES = 3
PERTURBED = 20
"""Number of coordinates in which a candidate differs from the centre, on average."""


def region_length(values, d: int) -> float:
    """Side of the region after these values (to be minimised, NaN for failures), as told.

    It doubles after three improvements in a row, halves after max(4, d) trials in a row without
    one, and starts again when it has become too small.
    """
    length, successes, failures = FIRST, 0, 0
    best = math.inf
    for value in values:
        # a gain of less than a thousandth does not count; the first value is not a success
        if math.isfinite(best) and value < best - 1e-3 * abs(best):
            successes, failures = successes + 1, 0
        else:
            successes, failures = 0, failures + 1
        if successes == SUCCESSES:
            length, successes = min(2.0 * length, LARGEST), 0
        elif failures == max(4, d):
            length, failures = 0.5 * length, 0
            if length < SMALLEST:
                length = FIRST
        if value < best:
            best = value
    return length


def region(centre, length: float, length_scales, free):
    """Lower and upper corner of the region about ``centre`` within the unit cube.

    Its sides are proportional to the kernel's length scales, with the volume of ``length``;
    coordinates in ``free`` (categorical ones) are not bounded.
    """
    weights = length_scales / np.exp(np.log(length_scales).mean())
    half = np.where(free, 1.0, 0.5 * length * np.clip(weights, 0.05, 20.0))
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def candidates(spread, centre, low, high, rng):
    """Points ``spread`` over the unit cube, moved into the region; most coordinates stay."""
    count, d = spread.shape
    inside = low + spread * (high - low)
    perturbed = rng.random((count, d)) < min(1.0, PERTURBED / d)
    perturbed[np.arange(count), rng.integers(d, size=count)] = True
    return np.where(perturbed, inside, centre)
