"""What parameters do to the value, by a Gaussian process.

A Bayesian search looks closely at good places and hardly anywhere else. A forest cuts the space
where the trials are, so it takes the many small differences there for all there is. A process with
long length scales carries what the few other trials say through the rest of the cube.

The shares are first-order Sobol indices of its mean. Saltelli, Annoni, Azzini, Campolongo, Ratto,
Tarantola: Variance based sensitivity analysis of model output, Computer Physics Communications 181,
2010.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import qmc

from fastopt.tune.reporting.plausible import kernels, possible_function
from fastopt.tune.space.space import Space
from fastopt.tune.strategies.bayes import warp
from fastopt.tune.strategies.bayes.blas import one_blas_thread
from fastopt.tune.strategies.bayes.features import Encoding
from fastopt.tune.strategies.bayes.gaussian_process import (
    Evidence,
    Kernel,
    Posterior,
    Prior,
    fit,
)
from fastopt.tune.strategies.bayes.model import (
    FIT_LIMIT,
    MODEL_LIMIT,
    ModelOptions,
    fit_kernel,
)

__all__ = ["drawn_shares", "local_average", "shares", "surface"]

# Trials that the process needs, at least and per parameter, and parameters that it can tell apart.
FEWEST, PER_PARAMETER, DIMENSIONS = 20, 3, 20
# Share of the values' variance that it must predict for trials that are left out.
LEAST_PREDICTED = 0.5
# No smooth function has this factor between two trials' distances from the median, one by one.
GAP = 1e3
PLACES, LOG2_OTHERS, LOG2_SAMPLES = 24, 8, 11
# Others at each place of a surface, which has many places, and of each of many functions.
LOG2_AROUND = 6
# Functions that are drawn: between the least and the greatest of 40 lie 95 % of others.
DRAWS, DRAWN_PLACES, LOG2_DRAWN = 40, 12, 9
# A start for kernels, in logarithms, and how much less likely one may be and count.
SHORT, LITTLE, ABOUT_AS_LIKELY = -1.0, -7.0, 3.0
# Longer length scales than the search assumes, since all of the cube counts here; and any noise,
# which would else be taken for what a parameter does over a short distance.
PRIOR = Prior(
    length_centre=0.0,
    length_width=1.25,
    amplitude_centre=1.0,
    amplitude_width=2.0,
    noise_centre=-4.0,
    noise_width=3.0,
)


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


@dataclass(frozen=True)
class _Data:
    """Trials as a process sees them."""

    encoding: Encoding
    points: np.ndarray
    values: np.ndarray
    targets: np.ndarray

    def part(self, limit: int) -> _Data:
        """At most this number of trials, evenly chosen by their values."""
        if len(self.values) <= limit:
            return self
        even = np.linspace(0, len(self.values) - 1, limit).astype(int)
        chosen = np.sort(np.argsort(self.values, kind="stable")[even])
        values = self.values[chosen]
        return _Data(self.encoding, self.points[chosen], values, _targets(values))

    def evidence(self) -> Evidence:
        features, groups = self.encoding.features(self.points), self.encoding.groups
        return Evidence(features, self.targets, groups, PRIOR, hamming=self.encoding.categorical)

    def kernels(self) -> list[Kernel]:
        """The most likely kernel, and the one that is found from short length scales."""
        options = ModelOptions(prior=PRIOR, outputs=_targets, input_warping=False)
        long = fit_kernel(self.encoding, self.points, self.values, options)
        near = replace(long, log_length=np.full_like(long.log_length, SHORT), log_noise=LITTLE)
        part = self.part(FIT_LIMIT)
        short = fit(
            part.encoding.features(part.points),
            part.targets,
            part.encoding.groups,
            prior=PRIOR,
            hamming=part.encoding.categorical,
            near=near,
        )
        return sorted([long, short], key=lambda kernel: -kernel.evidence)


def _data(space: Space, points: np.ndarray, values: np.ndarray) -> _Data | None:
    """None if these are too few trials for a process, or such that it cannot tell."""
    n, d = points.shape
    if n < max(FEWEST, PER_PARAMETER * d) or d > DIMENSIONS:
        return None
    data = _Data(Encoding(space), points, values, _targets(values)).part(MODEL_LIMIT)
    return None if not data.targets.any() or _diverged(data.targets) else data


def _fit(space: Space, points: np.ndarray, values: np.ndarray) -> _Process | None:
    """None if the process cannot tell."""
    data = _data(space, points, values)
    if data is None:
        return None
    encoding, values = data.encoding, data.values
    features = encoding.features(data.points)
    posterior = Posterior(data.kernels()[0], features, data.targets, encoding.groups)
    if _predicted_share(posterior, data.targets) < LEAST_PREDICTED:
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


def drawn_shares(
    space: Space, points: np.ndarray, values: np.ndarray, seed: int
) -> np.ndarray | None:
    """The shares of functions that the trials leave possible, (DRAWS, d), or None as above."""
    with one_blas_thread():
        data = _data(space, points, values / (np.abs(values).max() or 1.0))
        if data is None:
            return None
        modes, data = data.kernels(), data.part(FIT_LIMIT)
        # A kernel that is about as likely has draws of its own: a chain seldom finds the way.
        modes = [mode for mode in modes if mode.evidence > modes[0].evidence - ABOUT_AS_LIKELY]
        evidence, rng = data.evidence(), np.random.default_rng(seed)
        found = []
        for mode in modes:
            for kernel in kernels(evidence, mode, DRAWS // len(modes), rng):
                function = possible_function(evidence, kernel, rng)
                found.append(_shares_of(function, space, data.encoding, rng))
    return np.array(found)


def _shares_of(
    function: Callable[[np.ndarray], np.ndarray],
    space: Space,
    encoding: Encoding,
    rng: np.random.Generator,
) -> np.ndarray:
    """The first-order shares of a function of features, more roughly than :func:`shares`."""
    d, n_others = len(space), 2**LOG2_AROUND
    samples = qmc.Sobol(d, seed=rng).random_base2(LOG2_DRAWN)
    others = samples[:n_others]
    rows = np.tile(others, (d, DRAWN_PLACES, 1, 1))
    places = (np.arange(DRAWN_PLACES) + rng.random()) / DRAWN_PLACES
    for j in range(d):
        rows[j, :, :, j] = places[:, None]
    every = np.concatenate([rows.reshape(-1, d), samples])
    values = function(encoding.features(space.snap(every)))
    along, whole = (
        values[: -len(samples)].reshape(d, DRAWN_PLACES, n_others),
        values[-len(samples) :],
    )
    found = along.mean(axis=2).var(axis=1) / max(float(whole.var()), 1e-300)
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
