"""Gaussian-process regression with a Matern-5/2 kernel, one length scale for each parameter.

    k(a, b) = amplitude * (1 + s + s^2/3) exp(-s),   s = sqrt(5 r2),   r2 = sum_i (a_i - b_i)^2 /
    l_i^2

Several columns (a one-hot block, for a categorical) may share one length scale. A one-hot block
scaled by 1/sqrt(2) makes r2 the Hamming distance, so that the kernel stays positive semi-definite.

All parameters live in log space, where their log-normal priors are parabolas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

from fastopt.tune.strategies.bayes import warp

MEAN_VARIANCE = 4.0
"""Prior variance of the constant mean, which is integrated out rather than fitted."""


@dataclass(frozen=True)
class Prior:
    """Parabolas in log space: centre and width of every kernel parameter.

    The length scales' centre grows as the square root of the dimension, because the distances in
    the unit cube do (Hvarfner et al. 2024, arXiv 2402.02229). Centre and width are smaller than in
    that paper, by experiment. Length scales of Hamming distances, which are 0 or 1 in any
    dimension, have a centre of their own.
    """

    length_centre: float = -2.0
    length_width: float = 1.0
    hamming_centre: float = 0.0
    amplitude_centre: float = 0.0
    amplitude_width: float = 1.0
    noise_centre: float = -8.0
    noise_width: float = 2.0
    warp_width: float = math.sqrt(0.75)


LENGTH_BOUNDS = (math.log(0.01), math.log(1e3))
AMPLITUDE_BOUNDS = (math.log(1e-2), math.log(1e2))
NOISE_BOUNDS = (math.log(1e-6), math.log(1.0))
WARP_BOUNDS = (math.log(0.2), math.log(5.0))


@dataclass(frozen=True)
class Kernel:
    """Fitted kernel parameters, all as logarithms.

    ``log_length`` has one entry for each group of columns. ``log_warp``, of shape (2, columns),
    holds the Kumaraswamy exponents; None stands for no input warping.
    """

    log_length: np.ndarray
    log_amplitude: float
    log_noise: float
    log_warp: np.ndarray | None = None
    evidence: float = -math.inf


def matern(r2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matern-5/2 correlation at squared distance ``r2``, and -2 times its derivative."""
    s = np.sqrt(5.0 * r2)
    decay = np.exp(-s)
    s += 1.0
    s *= decay
    decay *= r2
    decay *= 5.0 / 3.0
    decay += s
    s *= 5.0 / 3.0
    return decay, s


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between the rows of ``a`` and of ``b``, by a matrix product."""
    r2 = a @ (-2.0 * b.T)
    r2 += np.einsum("ij,ij->i", a, a)[:, None]
    r2 += np.einsum("ij,ij->i", b, b)
    return np.maximum(r2, 0.0, out=r2)


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor, with the least relative jitter (0, 1e-10, ... 1e-4) that suffices."""
    scale = float(matrix.diagonal().mean())
    for jitter in (0.0, 1e-10, 1e-8, 1e-6, 1e-4):
        shifted = matrix if jitter == 0.0 else matrix + jitter * scale * np.eye(len(matrix))
        factor, info = lapack.dpotrf(shifted, lower=1, clean=1)
        if info == 0:
            return factor
    raise np.linalg.LinAlgError("the kernel matrix is not positive definite even with jitter")


def _inverse_lower(factor: np.ndarray) -> np.ndarray:
    inverse, _ = lapack.dtrtri(factor, lower=1)
    return inverse


class Evidence:
    """Log posterior of the kernel parameters, with its gradient, for one data set.

    Parameters
    ----------
    features : (n, columns) array in [0, 1]
    targets : (n,) array, about standardised
    groups : (columns,) array of int
        Which length scale each column uses.
    prior : Prior
    noise : float, optional
        Fixed noise variance; fitted when None.
    warped : (columns,) array of bool, optional
        Columns whose Kumaraswamy exponents are fitted too.
    hamming : (groups,) array of bool, optional
        Length scales of one-hot blocks.
    """

    def __init__(self, features, targets, groups, prior, noise=None, warped=None, hamming=None):
        self.features = features
        self.targets = targets
        self.groups = groups
        self.n_lengths = int(groups.max()) + 1
        self.noise = noise
        self.warped = np.flatnonzero(warped) if warped is not None else None
        n_warps = 0 if warped is None else 2 * len(self.warped)
        n_noise = 1 if noise is None else 0
        counts = (self.n_lengths, 1, n_noise, n_warps)
        self.centre = np.repeat(
            [prior.length_centre, prior.amplitude_centre, prior.noise_centre, 0.0], counts
        )
        lengths = self.centre[: self.n_lengths]
        lengths += 0.5 * math.log(self.n_lengths)
        if hamming is not None:
            lengths[hamming] = prior.hamming_centre
        self.width = np.repeat(
            [prior.length_width, prior.amplitude_width, prior.noise_width, prior.warp_width], counts
        )
        bounds = np.array([LENGTH_BOUNDS, AMPLITUDE_BOUNDS, NOISE_BOUNDS, WARP_BOUNDS])
        self.bounds = np.repeat(bounds, counts, axis=0)

    def kernel(self, theta: np.ndarray, evidence: float = -math.inf) -> Kernel:
        """The parameters in the vector ``theta`` by name."""
        g = self.n_lengths
        log_noise = math.log(self.noise) if self.noise is not None else float(theta[g + 1])
        log_warp = None
        if self.warped is not None:
            log_warp = np.zeros((2, self.features.shape[1]))
            log_warp[:, self.warped] = theta[len(theta) - 2 * len(self.warped) :].reshape(2, -1)
        return Kernel(theta[:g].copy(), float(theta[g]), log_noise, log_warp, evidence)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log posterior at ``theta``, and its gradient."""
        g = self.n_lengths
        kernel = self.kernel(theta)
        amplitude, noise = math.exp(kernel.log_amplitude), math.exp(kernel.log_noise)
        features = self.features
        if kernel.log_warp is not None:
            features = warp.kumaraswamy(features, kernel.log_warp)
        inverse_length = np.exp(-kernel.log_length)[self.groups]
        z = features * inverse_length
        n = len(z)
        correlation, slope = matern(squared_distances(z, z))
        correlation *= amplitude
        covariance = correlation + MEAN_VARIANCE
        covariance.flat[:: n + 1] += noise
        factor = cholesky(covariance)
        weights, _ = lapack.dpotrs(factor, self.targets, lower=1)
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(inverse)
        # by_covariance = d evidence / d covariance, with the upper triangle filled from the lower
        by_covariance = -0.5 * (inverse + inverse.T)
        by_covariance.flat[:: n + 1] *= 0.5
        by_covariance += np.outer(0.5 * weights, weights)

        gradient = np.empty(len(theta))
        gradient[g] = np.vdot(by_covariance, correlation)
        if self.noise is None:
            gradient[g + 1] = noise * by_covariance.trace()
        slope *= by_covariance
        slope *= amplitude
        row = slope.sum(axis=1)
        # sum_ij slope_ij (z_i - z_j)^2 / 2 = z' (diag(row) - slope) z
        laplacian = row[:, None] * z - slope @ z
        per_column = 2.0 * np.einsum("ij,ij->j", z, laplacian)
        gradient[:g] = np.bincount(self.groups, weights=per_column, minlength=g)
        if kernel.log_warp is not None:
            by_feature = -2.0 * laplacian * inverse_length
            by_a, by_b = warp.kumaraswamy_gradient(self.features, kernel.log_warp)
            both = np.stack([(by_feature * by_a).sum(axis=0), (by_feature * by_b).sum(axis=0)])
            gradient[len(theta) - 2 * len(self.warped) :] = both[:, self.warped].ravel()

        value = (
            -0.5 * float(self.targets @ weights)
            - float(np.log(factor.diagonal()).sum())
            - 0.5 * n * math.log(2.0 * math.pi)
        )
        offset = (theta - self.centre) / self.width
        value -= 0.5 * float(offset @ offset)
        gradient -= offset / self.width
        return -value, -gradient


def fit(
    features, targets, groups, *, prior=None, noise=None, warped=None, hamming=None, near=None
) -> Kernel:
    """Kernel parameters of the highest posterior density (MAP).

    It is searched from two starts: the prior's mode, and long length scales with little noise.
    Short ones are not a start, because in many dimensions the gradient vanishes there (arXiv
    2502.09198).

    Parameters
    ----------
    features, targets, groups, noise, warped, hamming
        As for `Evidence`.
    prior : Prior, optional
    near : Kernel, optional
        Start here alone, with the identity for the warp.
    """
    objective = Evidence(features, targets, groups, prior or Prior(), noise, warped, hamming)
    g = objective.n_lengths
    start = objective.centre.copy()
    if near is None:
        long = start.copy()
        long[:g] += 1.5
        if noise is None:
            long[g + 1] = math.log(1e-5)
        starts = [start, long]
    else:
        start[:g], start[g] = near.log_length, near.log_amplitude
        if noise is None:
            start[g + 1] = near.log_noise
        starts = [start]
    best, best_value = None, math.inf
    for start in starts:
        start = np.clip(start, objective.bounds[:, 0], objective.bounds[:, 1])
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=objective.bounds,
            options={"maxiter": 60, "ftol": 1e-6, "gtol": 1e-3},
        )
        if best is None or found.fun < best_value:
            best, best_value = found.x, float(found.fun)
    return objective.kernel(best, -best_value)


class Posterior:
    """The process given data: mean, standard deviation and their gradients at any points.

    Parameters
    ----------
    kernel : Kernel
    features : (n, columns) array
    targets : (n,) array
    groups : (columns,) array of int
    """

    def __init__(self, kernel: Kernel, features, targets, groups):
        self.kernel = kernel
        self.inverse_length = np.exp(-kernel.log_length)[groups]
        self.amplitude = math.exp(kernel.log_amplitude)
        self.noise = math.exp(kernel.log_noise)
        self.z = self._scale(features)
        covariance = self._covariance(self.z, self.z)
        covariance.flat[:: len(self.z) + 1] += self.noise
        self.factor = cholesky(covariance)
        self.inverse_factor = _inverse_lower(self.factor)
        self.weights, _ = lapack.dpotrs(self.factor, targets, lower=1)

    def _scale(self, features):
        if self.kernel.log_warp is not None:
            features = warp.kumaraswamy(features, self.kernel.log_warp)
        return features * self.inverse_length

    def _covariance(self, a, b):
        covariance, _ = matern(squared_distances(a, b))
        covariance *= self.amplitude
        covariance += MEAN_VARIANCE
        return covariance

    def fantasise(self, features) -> None:
        """Add points whose values are not known yet, at the posterior mean.

        The mean stays as it is (the new weights are zero) and the variance shrinks: only the factor
        grows.
        """
        new = self._scale(features)
        n, q = len(self.z), len(new)
        cross = self._covariance(new, self.z) @ self.inverse_factor.T
        corner = self._covariance(new, new)
        corner.flat[:: q + 1] += self.noise
        corner_factor = cholesky(corner - cross @ cross.T)
        corner_inverse = _inverse_lower(corner_factor)
        factor = np.zeros((n + q, n + q))
        factor[:n, :n] = self.factor
        factor[n:, :n] = cross
        factor[n:, n:] = corner_factor
        inverse = np.zeros((n + q, n + q))
        inverse[:n, :n] = self.inverse_factor
        inverse[n:, :n] = -corner_inverse @ cross @ self.inverse_factor
        inverse[n:, n:] = corner_inverse
        self.factor, self.inverse_factor = factor, inverse
        self.z = np.concatenate([self.z, new])
        self.weights = np.concatenate([self.weights, np.zeros(q)])

    def predict(self, features) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (of the noise-free function) at each row."""
        cross = self._covariance(self._scale(features), self.z)
        mean = cross @ self.weights
        whitened = cross @ self.inverse_factor.T
        return mean, self._deviation(np.einsum("ij,ij->i", whitened, whitened))

    def mean(self, features) -> np.ndarray:
        """The mean alone, which costs a fraction of `predict`."""
        return self._covariance(self._scale(features), self.z) @ self.weights

    def _deviation(self, explained):
        prior = self.amplitude + MEAN_VARIANCE
        # at a noise-free observation the variance is a rounding error
        return np.sqrt(np.maximum(prior - explained, 1e-12 * prior))

    def predict_gradient(self, features):
        """Mean, deviation, and their gradients by ``features``, (m, columns) each."""
        z = self._scale(features)
        cross, slope = matern(squared_distances(z, self.z))
        cross *= self.amplitude
        cross += MEAN_VARIANCE
        slope *= self.amplitude
        mean = cross @ self.weights
        whitened = cross @ self.inverse_factor.T
        deviation = self._deviation(np.einsum("ij,ij->i", whitened, whitened))
        by_mean = slope * self.weights
        by_deviation = slope * (whitened @ self.inverse_factor)
        # d cross_ij / d z_i = -slope_ij (z_i - z_j);  d deviation = -(K^-1 cross) . d cross /
        # deviation
        mean_gradient = by_mean @ self.z - by_mean.sum(axis=1)[:, None] * z
        deviation_gradient = by_deviation.sum(axis=1)[:, None] * z - by_deviation @ self.z
        deviation_gradient /= deviation[:, None]
        scale = self.inverse_length
        if self.kernel.log_warp is not None:
            scale = scale * warp.kumaraswamy_slope(features, self.kernel.log_warp)
        return mean, deviation, mean_gradient * scale, deviation_gradient * scale
