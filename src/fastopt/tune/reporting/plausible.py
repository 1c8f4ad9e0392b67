"""Functions that could have given the trials' values: draws from the posterior of a process.

How far a function is known depends on the trials, and on how smooth and how noisy it is taken to
be. One fit of the kernel hides the latter: under noise a long and a short length scale may explain
the values about as well, and make a parameter matter or not. So kernels are drawn too, by
elliptical slice sampling about a normal approximation. Murray, Adams, MacKay: Elliptical slice
sampling, AISTATS 2010; Nishihara, Murray, Adams: Parallel MCMC with generalized elliptical slice
sampling, Journal of Machine Learning Research 15, 2014.

A function is drawn for each kernel: random Fourier features give one of the prior, and the kernel's
weights correct it at the trials. Wilson, Borovitskiy, Terenin, Mostowsky, Deisenroth: Efficiently
sampling functions from Gaussian process posteriors, ICML 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.linalg import lapack

from fastopt.tune.strategies.bayes.gaussian_process import (
    MEAN_VARIANCE,
    Evidence,
    Kernel,
    cholesky,
    matern,
    squared_distances,
)

__all__ = ["kernels", "possible_function"]

FEATURES = 256
# Steps of the chain for one kernel, and the step of a finite difference.
THINNING, DIFFERENCE = 3, 1e-3
# Matern's spectral density is Student's t with twice the kernel's smoothness.
DEGREES = 5


def _normal(evidence: Evidence, mode: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes of the normal approximation at the mode, (k, k), and its precisions along them."""
    steps = DIFFERENCE * np.eye(len(mode))
    slopes = [evidence(mode + step)[1] - evidence(mode - step)[1] for step in steps]
    curvature = np.array(slopes) / (2.0 * DIFFERENCE)
    precision, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    # At a bound it need not be a mode; nowhere is less known than by the prior.
    return axes, np.maximum(precision, evidence.width.max() ** -2.0)


def kernels(
    evidence: Evidence, mode: Kernel, count: int, rng: np.random.Generator
) -> Iterator[Kernel]:
    """Kernels drawn from their posterior, by a chain from its mode."""
    centre = np.array([*mode.log_length, mode.log_amplitude, mode.log_noise])
    low, high = evidence.bounds.T
    axes, precision = _normal(evidence, centre)

    def beyond_normal(along: np.ndarray) -> float:
        theta = centre + axes @ along
        if (theta < low).any() or (theta > high).any():
            return -math.inf
        return -evidence(theta)[0] + 0.5 * float(precision @ along**2)

    here = np.zeros(len(centre))
    height = beyond_normal(here)
    for step in range(count * THINNING):
        other = rng.standard_normal(len(here)) / np.sqrt(precision)
        level = height + math.log(rng.random())
        angle = rng.uniform(0.0, 2.0 * math.pi)
        least, most = angle - 2.0 * math.pi, angle
        while True:
            there = here * math.cos(angle) + other * math.sin(angle)
            height = beyond_normal(there)
            if height > level:
                break
            least, most = (angle, most) if angle < 0.0 else (least, angle)
            angle = rng.uniform(least, most)
        here = there
        if step % THINNING == THINNING - 1:
            yield evidence.kernel(centre + axes @ here)


def possible_function(
    evidence: Evidence, kernel: Kernel, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of rows of features, drawn from the posterior given a kernel."""
    features, targets, groups = evidence.features, evidence.targets, evidence.groups
    inverse_length = np.exp(-kernel.log_length)[groups]
    amplitude, noise = math.exp(kernel.log_amplitude), math.exp(kernel.log_noise)
    tails = np.sqrt(DEGREES / rng.chisquare(DEGREES, FEATURES))
    # In float32, in which a cosine costs a tenth; the noise is larger than its error.
    waves = (rng.standard_normal((len(inverse_length), FEATURES)) * tails).astype(np.float32)
    phases = rng.uniform(0.0, 2.0 * math.pi, FEATURES).astype(np.float32)
    heights = rng.standard_normal(FEATURES) * math.sqrt(2.0 * amplitude / FEATURES)
    constant = rng.normal(scale=math.sqrt(MEAN_VARIANCE))
    told = features * inverse_length

    def prior(z: np.ndarray) -> np.ndarray:
        return constant + np.cos(z.astype(np.float32) @ waves + phases) @ heights

    covariance = amplitude * matern(squared_distances(told, told))[0] + MEAN_VARIANCE
    covariance.flat[:: len(told) + 1] += noise
    missed = targets - prior(told) - rng.standard_normal(len(told)) * math.sqrt(noise)
    weights, _ = lapack.dpotrs(cholesky(covariance), missed, lower=1)

    def draw(rows: np.ndarray) -> np.ndarray:
        z = rows * inverse_length
        there = amplitude * matern(squared_distances(z, told))[0] + MEAN_VARIANCE
        return prior(z) + there @ weights

    return draw
