"""Acquisition functions: what a point is worth, in logarithms, and its derivatives by the features.

Each class has ``values(features)``; ``gradient(features)``, which gives the values and their
derivatives; and ``inverse_length``, for each feature the inverse of a typical length.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr

from fastopt.tune.strategies.bayes.expected_improvement import log_ei, log_ei_gradient

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class Improvement:
    """The expected improvement of one objective below ``best``.

    Parameters
    ----------
    posterior : Posterior
    best, noise : float
        As for `log_ei`.
    """

    def __init__(self, posterior, best, noise):
        self.posterior = posterior
        self.best, self.noise = best, noise
        self.inverse_length = posterior.inverse_length

    def values(self, features):
        """The criterion at each row."""
        return log_ei(*self.posterior.predict(features), best=self.best, noise=self.noise)

    def gradient(self, features):
        """The criterion, and its derivatives by each feature."""
        mean, deviation, mean_by, deviation_by = self.posterior.predict_gradient(features)
        value, by_mean, by_deviation = log_ei_gradient(mean, deviation, self.best, self.noise)
        gradient = by_mean[:, None] * mean_by
        gradient += by_deviation[:, None] * deviation_by
        return value, gradient


class Feasibility:
    """The probability that a constraint is at most ``limit``.

    Parameters
    ----------
    posterior : Posterior
        Of the constraint.
    limit : float
        In units of the posterior's targets.
    """

    def __init__(self, posterior, limit):
        self.posterior, self.limit = posterior, limit
        self.inverse_length = posterior.inverse_length

    def values(self, features):
        """The criterion at each row."""
        mean, deviation = self.posterior.predict(features)
        return log_ndtr((self.limit - mean) / deviation)

    def gradient(self, features):
        """The criterion, and its derivatives by each feature."""
        mean, deviation, mean_by, deviation_by = self.posterior.predict_gradient(features)
        z = (self.limit - mean) / deviation
        value = log_ndtr(z)
        by_z = np.exp(-0.5 * z * z - _LOG_SQRT_2PI - value)
        by_mean = -by_z / deviation
        return value, by_mean[:, None] * mean_by + (by_mean * z)[:, None] * deviation_by


class Product:
    """The product of criteria: the sum of their logarithms."""

    def __init__(self, parts):
        self.parts = parts
        self.inverse_length = np.max([part.inverse_length for part in parts], axis=0)

    def values(self, features):
        """The criterion at each row."""
        return sum(part.values(features) for part in self.parts)

    def gradient(self, features):
        """The criterion, and its derivatives by each feature."""
        values, gradients = zip(*(part.gradient(features) for part in self.parts), strict=True)
        return sum(values), sum(gradients)
