"""From a history of trials to a fitted Gaussian process, as a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fastopt.tune.strategies.bayes import gaussian_process, warp

REFIT_ALWAYS = 50
"""Up to this number of observations the kernel is fitted anew at each."""
FIT_LIMIT = 200
"""Most observations of a fit, whose cost grows with their cube."""
MODEL_LIMIT = 500
"""Most observations that the posterior is conditioned on."""
DETERMINISTIC_NOISE = 1e-6


@dataclass(frozen=True)
class ModelOptions:
    """How values become targets, and what the kernel's fit may do."""

    deterministic: bool = False
    prior: gaussian_process.Prior = field(default_factory=gaussian_process.Prior)
    outputs: Callable[[np.ndarray], np.ndarray] = warp.outputs
    input_warping: bool = True
    warp_margin: float = 2.0


def last_refit(n: int) -> int:
    """Number of observations at the last scheduled fit.

    Fits are at each observation up to 50, then in steps of ceil(n / 25). This is a function of
    ``n`` alone, so that a resumed study uses the same kernel as an uninterrupted one.
    """
    if n <= REFIT_ALWAYS:
        return n
    fitted = REFIT_ALWAYS
    while fitted + math.ceil(fitted / 25) <= n:
        fitted += math.ceil(fitted / 25)
    return fitted


def representative(targets, limit: int) -> np.ndarray:
    """Indices of at most ``limit`` observations: half of them the best, then an even choice."""
    n = len(targets)
    if n <= limit:
        return np.arange(n)
    order = np.argsort(targets, kind="stable")
    best, rest = order[: limit // 2], np.sort(order[limit // 2 :])
    spread = rest[np.linspace(0, len(rest) - 1, limit - len(best)).astype(int)]
    return np.sort(np.concatenate([best, spread]))


def fit_kernel(
    encoding, points, values, options: ModelOptions, importance=None
) -> gaussian_process.Kernel:
    """The kernel of the highest posterior density, input-warped if that raises it enough.

    If there are too many observations, those of the lowest ``importance`` are preferred, by default
    those of the lowest values.
    """
    targets = options.outputs(values)
    chosen = representative(targets if importance is None else importance, FIT_LIMIT)
    features, targets = encoding.features(points[chosen]), targets[chosen]
    noise = DETERMINISTIC_NOISE if options.deterministic else None
    arguments = {"prior": options.prior, "noise": noise, "hamming": encoding.categorical}
    kernel = gaussian_process.fit(features, targets, encoding.groups, **arguments)
    enough = len(chosen) >= max(20, 3 * points.shape[1])
    if options.input_warping and enough and encoding.warpable.any():
        warped = gaussian_process.fit(
            features,
            targets,
            encoding.groups,
            warped=encoding.warpable,
            near=kernel,
            **arguments,
        )
        if warped.evidence > kernel.evidence + options.warp_margin:
            return warped
    return kernel
