"""What parameters do to the value, by a Gaussian process.

A Bayesian search looks closely at good places and hardly anywhere else. A forest cuts the space
where the trials are, so it takes the many small differences there for all there is. A process with
long length scales carries what the few other trials say through the rest of the cube.

The shares are first-order Sobol indices of its mean. Saltelli, Annoni, Azzini, Campolongo, Ratto,
Tarantola: Variance based sensitivity analysis of model output, Computer Physics Communications 181,
2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from fastopt.tune.space.space import Space
from fastopt.tune.strategies.bayes import warp
from fastopt.tune.strategies.bayes.blas import one_blas_thread
from fastopt.tune.strategies.bayes.features import Encoding
from fastopt.tune.strategies.bayes.gaussian_process import Posterior, Prior
from fastopt.tune.strategies.bayes.model import MODEL_LIMIT, ModelOptions, fit_kernel

__all__ = ["local_average", "shares", "surface"]

# Trials that the process needs, at least and per parameter, and parameters that it can tell apart.
FEWEST, PER_PARAMETER, DIMENSIONS = 20, 3, 20
# Share of the values' variance that it must predict for trials that are left out.
LEAST_PREDICTED = 0.5
# No smooth function has this factor between two trials' distances from the median, one by one.
GAP = 1e3
PLACES, LOG2_OTHERS, LOG2_SAMPLES = 24, 8, 11
# Others at each place of a surface, which has many places.
LOG2_AROUND = 6
# Longer length scales than the search assumes, since all of the cube counts here.
PRIOR = Prior(length_centre=0.0, amplitude_centre=1.0, amplitude_width=2.0)


def _targets(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance; all differences count alike, unlike in the search."""
    return warp.standardise(values / (np.abs(values).max() or 1.0))


def _diverged(targets: np.ndarray) -> bool:
    """Whether some trials are so far off that they hide all differences among the others."""
    far = np.sort(np.abs(targets - np.median(targets)))
    far = far[len(far) // 2 :]
    return bool((far[1:] > GAP * far[:-1]).any())


def _predicted_share(posterior: Posterior, targets: np.ndarray) -> float:
    """Share of the variance that is predicted when each trial in turn is left out."""
    precision = (posterior.inverse_factor**2).sum(axis=0)
    residuals = posterior.weights / precision
    return 1.0 - float(residuals @ residuals) / max(float(targets @ targets), 1e-300)


@dataclass(frozen=True)
class _Process:
    """A process that was fitted to trials, in their values' own unit."""

    space: Space
    encoding: Encoding
    posterior: Posterior
    shift: float
    scale: float

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """The mean at points of the cube."""
        features = self.encoding.features(self.space.snap(rows))
        return self.shift + self.scale * self.posterior.mean(features)


def _fit(space: Space, points: np.ndarray, values: np.ndarray) -> _Process | None:
    """None if the process cannot tell."""
    n, d = points.shape
    if n < max(FEWEST, PER_PARAMETER * d) or d > DIMENSIONS:
        return None
    if n > MODEL_LIMIT:
        even = np.linspace(0, n - 1, MODEL_LIMIT).astype(int)
        chosen = np.sort(np.argsort(values, kind="stable")[even])
        points, values = points[chosen], values[chosen]
    encoding = Encoding(space)
    options = ModelOptions(prior=PRIOR, outputs=_targets, input_warping=False)
    targets = _targets(values)
    if not targets.any() or _diverged(targets):
        return None
    kernel = fit_kernel(encoding, points, values, options)
    posterior = Posterior(kernel, encoding.features(points), targets, encoding.groups)
    if _predicted_share(posterior, targets) < LEAST_PREDICTED:
        return None
    most = float(np.abs(values).max())  # squares of large values are not finite
    small = values / most
    return _Process(space, encoding, posterior, most * small.mean(), most * small.std())


def shares(space: Space, points: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray | None:
    """The first-order share of each parameter, None if the process cannot tell."""
    d = points.shape[1]
    with one_blas_thread():
        process = _fit(space, points, values / (np.abs(values).max() or 1.0))
        if process is None:
            return None
        samples = qmc.Sobol(d, seed=seed).random_base2(LOG2_SAMPLES)
        total = process.mean(samples).var()
        if total <= 1e-12 * process.scale**2:
            return None
        others = qmc.Sobol(d, seed=seed + 1).random_base2(LOG2_OTHERS)
        places = (np.arange(PLACES) + 0.5) / PLACES
        found = np.empty(d)
        for j in range(d):
            # The same others at every place, so that their own differences cancel.
            rows = np.tile(others, (PLACES, 1))
            rows[:, j] = np.repeat(places, len(others))
            found[j] = process.mean(rows).reshape(PLACES, -1).mean(axis=1).var() / total
    return found / max(1.0, found.sum())


def surface(
    space: Space, points: np.ndarray, values: np.ndarray, pair: tuple[int, int], places: np.ndarray
) -> np.ndarray | None:
    """The process's mean over two coordinates, averaged over all others.

    Rows go with the second coordinate, columns with the first. NaN where one of the two is
    inactive; None if the process cannot tell.
    """
    with one_blas_thread():
        process = _fit(space, points, values)
        if process is None:
            return None
        others = qmc.Sobol(points.shape[1], seed=0).random_base2(LOG2_AROUND)
        heights = np.full((len(places), len(places)), np.nan)
        for row, second in enumerate(places):
            rows = np.tile(others, (len(places), 1))
            rows[:, pair[0]], rows[:, pair[1]] = np.repeat(places, len(others)), second
            active = space.active(rows)[:, pair].all(axis=1).reshape(len(places), -1)
            means = process.mean(rows).reshape(len(places), -1)
            counts = active.sum(axis=1)
            np.divide((means * active).sum(axis=1), counts, out=heights[row], where=counts > 0)
    return heights


def local_average(points: np.ndarray, values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What :func:`surface` gives, as a Gaussian-weighted average of the trials themselves."""
    grid = np.stack(np.meshgrid(places, places), axis=-1)
    # Scott's rule in two dimensions for points spread over the unit square.
    width = 0.29 * len(points) ** (-1 / 6)
    distance = ((grid[..., None, :] - points) ** 2).sum(axis=-1) / (2 * width**2)
    weights = np.exp(distance.min(axis=-1, keepdims=True) - distance)
    return (weights * values).sum(axis=-1) / weights.sum(axis=-1)
