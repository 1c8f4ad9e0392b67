"""Expected improvement in logarithms, stable at any distance (arXiv 2310.20708)."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_HALF_LOG_HALF_PI = 0.5 * math.log(0.5 * math.pi)


def log_h(z):
    r"""Logarithm of :math:`h(z) = \phi(z) + z \Phi(z)`, the expected improvement in standard units.

    Three forms are used, each where it loses no digits. Above -1 it is the definition. Below,
    ``phi`` is factored out, and what remains is ``1 - |z| erfcx(|z|/sqrt 2) sqrt(pi/2)``. Below
    -1000 it is the asymptotic series of that.

    Parameters
    ----------
    z : array of float64

    Returns
    -------
    array of float64

    Examples
    --------
    >>> float(log_h(0.0)) == -0.5 * math.log(2 * math.pi)
    True
    >>> np.isfinite(log_h(np.array([-1e8, 40.0]))).all()
    np.True_
    """
    z = np.asarray(z, dtype=np.float64)
    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near * near - _LOG_SQRT_2PI) + near * ndtr(near))
    if z.size and z.min() > -1.0:
        return direct
    middle = np.clip(z, -1e3, -1.0)
    w = np.log(-middle * erfcx(-middle / math.sqrt(2.0))) + _HALF_LOG_HALF_PI
    # log(1 - exp(w)) for w < 0: expm1 while exp(w) is near one, log1p when it is small
    rest = np.where(w > -math.log(2.0), np.log(-np.expm1(w)), np.log1p(-np.exp(w)))
    far = np.minimum(z, -1e3)
    series = np.log1p(-3.0 / (far * far)) - 2.0 * np.log(-far)
    tail = np.where(z < -1e3, series, rest) - 0.5 * z * z - _LOG_SQRT_2PI
    return np.where(z > -1.0, direct, tail)


def log_ei(mean, deviation, best, noise=0.0):
    r"""Logarithm of the augmented expected improvement below ``best`` (minimisation).

    .. math:: \sigma\, h\left(\frac{best - \mu}{\sigma}\right)
              \left(1 - \frac{\tau}{\sqrt{\sigma^2 + \tau^2}}\right)

    The second factor (Huang et al. 2006) measures how much another noisy observation can still
    tell. It keeps the search from measuring the incumbent again and again.

    Parameters
    ----------
    mean, deviation : arrays of float64
        Of the posterior; the deviation is positive.
    best : float
        The incumbent.
    noise : float
        Standard deviation tau of the observations.
    """
    root = np.sqrt(deviation * deviation + noise * noise)
    # 1 - tau / root without cancellation
    informative = deviation * deviation / (root * (root + noise))
    return log_h((best - mean) / deviation) + np.log(deviation * informative)


def log_ei_gradient(mean, deviation, best, noise=0.0):
    """`log_ei` and its derivatives by ``mean`` and by ``deviation``."""
    z = (best - mean) / deviation
    h = log_h(z)
    by_mean = -np.exp(log_ndtr(z) - h) / deviation
    by_deviation = np.exp(-0.5 * z * z - _LOG_SQRT_2PI - h) / deviation
    root = np.sqrt(deviation * deviation + noise * noise)
    informative = deviation * deviation / (root * (root + noise))
    by_deviation += noise * (root + noise) / (root * root * deviation)
    return h + np.log(deviation * informative), by_mean, by_deviation
