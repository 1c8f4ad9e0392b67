"""Which trial is the best by a model of all trials, which averages out the noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastopt.tune.space import Space, Trial
from fastopt.tune.strategies.bayes.blas import one_blas_thread
from fastopt.tune.strategies.bayes.features import Encoding
from fastopt.tune.strategies.bayes.gaussian_process import Posterior
from fastopt.tune.strategies.bayes.model import (
    MODEL_LIMIT,
    ModelOptions,
    fit_kernel,
    representative,
)

__all__ = ["best_expected"]


def best_expected(space: Space, sign: float, done: Sequence[Trial]) -> Trial:
    """The feasible trial, of some that are done, with the lowest expected value.

    Parameters
    ----------
    space : Space
    sign : float
        1 if small values are good, else -1.
    done : sequence of Trial
        Infeasible ones are used by the model too.
    """
    encoding, options = Encoding(space), ModelOptions()
    points = np.array([space.encode(trial.params) for trial in done])
    values = sign * np.array([trial.value for trial in done], dtype=np.float64)
    with one_blas_thread():
        kernel = fit_kernel(encoding, points, values, options)
        targets = options.outputs(values)
        chosen = representative(targets, MODEL_LIMIT)
        features = encoding.features(points)
        posterior = Posterior(kernel, features[chosen], targets[chosen], encoding.groups)
        means = posterior.mean(features)
    means[[not trial.feasible for trial in done]] = np.inf
    return done[int(means.argmin())]
