"""Where trials fail: a Gaussian process of success and failure, unless the failures are chance.

Some failures belong to their place: the learning rate that diverges, the batch that does not fit.
Others strike anywhere: a lost node, a full disk. The process takes what places explain for a
region, and the rest for noise. If it explains no more than noise alone does, it is left out.
"""

from __future__ import annotations

import math

import numpy as np

from fastopt.tune.strategies.bayes.features import Encoding
from fastopt.tune.strategies.bayes.gaussian_process import MEAN_VARIANCE, Kernel, Prior, fit
from fastopt.tune.strategies.bayes.model import FIT_LIMIT

__all__ = ["failure_kernel", "labels", "latest", "noise_evidence"]

# Much of what two outcomes are is noise, and regions reach far.
PRIOR = Prior(length_centre=0.0, noise_centre=-1.0, noise_width=0.5)
LEAST_EVIDENCE, PER_PARAMETER = -1.25, 0.25
"""Failures are chance if the process's evidence is less than this above that of noise alone. More
length scales fit chance more closely."""


def labels(failed: np.ndarray) -> tuple[np.ndarray, float]:
    """Failures and successes as targets of unit variance, and the target of even odds.

    Parameters
    ----------
    failed : (n,) array of bool
        Of both kinds.
    """
    rate, deviation = float(failed.mean()), float(failed.std())
    return (failed - rate) / deviation, (0.5 - rate) / deviation


def latest(n: int, limit: int) -> np.ndarray:
    """Indices of at most ``limit`` trials: the latest for one half, then an even choice."""
    if n <= limit:
        return np.arange(n)
    early = n - limit // 2
    spread = np.linspace(0, early - 1, limit - limit // 2).astype(int)
    return np.concatenate([spread, np.arange(early, n)])


def failure_kernel(encoding: Encoding, points: np.ndarray, failed: np.ndarray) -> Kernel | None:
    """The kernel of the process of failures; None if they are chance, or all trials ended alike.

    Parameters
    ----------
    encoding : Encoding
    points : (n, d) array in [0, 1]
    failed : (n,) array of bool
    """
    chosen = latest(len(failed), FIT_LIMIT)
    failed = failed[chosen]
    if not failed.any() or failed.all():
        return None
    targets, _ = labels(failed)
    features = encoding.features(points[chosen])
    kernel = fit(features, targets, encoding.groups, prior=PRIOR, hamming=encoding.categorical)
    above = LEAST_EVIDENCE + PER_PARAMETER * points.shape[1]
    return kernel if kernel.evidence > noise_evidence(len(targets)) + above else None


def noise_evidence(n: int) -> float:
    """The log evidence of noise of unit variance about an unknown mean, for targets as above."""
    return -0.5 * (n * (1.0 + math.log(2.0 * math.pi)) + math.log(1.0 + n * MEAN_VARIANCE))
