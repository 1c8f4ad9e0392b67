"""Warps of the observed values and of the inputs, towards what a Gaussian process can model.

The values are to be minimised. What counts is their order and the differences among the good ones.
So each warp is monotone, and compresses the worst values.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

LINEAR = 3.0
"""Up to here beyond the median values stay linear, in units of its distance to the best."""
# its square is still finite
LARGEST = 1e100


def finite_scale(values) -> np.ndarray:
    """Values minus their median, in units of its distance to the best; not finite ones come last.

    The unit is taken from the better half, so that the others still differ beside a value of 1e300.
    Halving before subtracting keeps the difference of two huge values finite.
    """
    values = np.asarray(values, dtype=np.float64)
    good = np.isfinite(values)
    if not good.any():
        return np.zeros(len(values))
    halves = 0.5 * np.where(good, values, 0.0)
    centred = halves - _lower_median(halves[good])
    unit = -centred[good].min() or centred[good].max() or 1.0
    with np.errstate(over="ignore"):
        scaled = np.minimum(centred / unit, LARGEST)
    # a failure must rank below every success, also when all successes are equal
    scaled[~good] = 1.1 * scaled[good].max() + 1.0
    return scaled


def _lower_median(values):
    """The lower median: a mean of two would mix in the best value of the worse half."""
    return np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2]


def standardise(values) -> np.ndarray:
    """Zero mean and unit variance; zeros when the values are all equal."""
    centred = values - values.mean()
    deviation = np.sqrt(np.mean(centred * centred))
    if deviation <= 1e-14 * np.abs(values).max(initial=0.0) or deviation < 1e-150:
        return np.zeros(len(values))
    return centred / deviation


def half_rank(values) -> np.ndarray:
    """Replace the worse half by normal quantiles of its ranks; keep the better half (Vizier, arXiv
    2408.11527).

    The quantiles are stretched by the better half's root mean square distance from the median.
    Equal values stay equal.
    """
    n = len(values)
    median = _lower_median(values)
    good = values <= median
    spread = np.sqrt(np.mean((values[good] - median) ** 2))
    # if the better half is all equal there is no unit, and any will do
    spread = spread or 1.0
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    # the middle rank of each set of equal values, in (0, 1)
    rank = (np.cumsum(counts) - 0.5 * counts) / n
    quantile = np.maximum(ndtri(rank), 0.0)
    first_bad = int(good.sum())
    lifted = median + spread * quantile[index]
    return np.where(good, values, lifted) if first_bad < n else values


def yeo_johnson(values, exponent):
    """Yeo and Johnson's power transform; ``exponent`` broadcasts against ``values``."""
    positive = np.log1p(np.maximum(values, 0.0))
    negative = np.log1p(np.maximum(-values, 0.0))
    return _power(positive, exponent) - _power(negative, 2.0 - exponent)


def _power(logarithm, exponent):
    """(exp(logarithm * exponent) - 1) / exponent, continued to exponent zero."""
    safe = np.where(exponent == 0.0, 1.0, exponent)
    return np.where(exponent == 0.0, logarithm, np.expm1(logarithm * safe) / safe)


_EXPONENTS = np.linspace(-2.0, 2.0, 81)[:, None]
EXPONENT_CENTRE, EXPONENT_WIDTH = 0.7, 0.7


def power(values) -> np.ndarray:
    """Yeo-Johnson transform of standardised values, its exponent from a grid from -2 to 2.

    The exponent maximises the normal likelihood times a normal prior. By likelihood alone the first
    few values would determine it at random.
    """
    if not values.any():
        return values
    candidates = yeo_johnson(values, _EXPONENTS)
    variance = candidates.var(axis=1)
    jacobian = (np.sign(values) * np.log1p(np.abs(values))).sum()
    # a transform that makes nearly all values equal would divide by zero
    log_variance = np.log(np.maximum(variance, 1e-12))
    exponents = _EXPONENTS[:, 0]
    likelihood = -0.5 * len(values) * log_variance + (exponents - 1.0) * jacobian
    prior = -0.5 * ((exponents - EXPONENT_CENTRE) / EXPONENT_WIDTH) ** 2
    score = np.where(variance > 1e-12, likelihood + prior, -np.inf)
    return candidates[int(np.argmax(score))]


def outputs(values) -> np.ndarray:
    """The targets of the regression: finite, monotone in ``values``, zero mean, unit variance.

    Failures (NaN) and infinities rank below the worst finite value.

    Examples
    --------
    >>> outputs([1e300, 1.0, float("nan"), 0.0]).argsort().tolist()
    [3, 1, 0, 2]
    """
    scaled = finite_scale(values)
    return standardise(power(standardise(half_rank(scaled))))


def gentle(values) -> np.ndarray:
    """Targets that are linear in the values up to far beyond the median; zero mean, unit variance.

    This is for several objectives and for constraints, where the worse values count too: a point
    that is bad in one objective may be good in another, and the best values may be infeasible.
    """
    scaled = finite_scale(values)
    beyond = np.maximum(scaled / LINEAR - 1.0, 0.0)
    return standardise(np.minimum(scaled, LINEAR) + LINEAR * beyond / (1.0 + beyond))


def signed(constraint) -> tuple[np.ndarray, float]:
    """The targets of a constraint, with unit variance, and the target at its limit of zero.

    Large amounts of either sign are compressed by a logarithm, as by Eriksson and Poloczek, arXiv
    2002.08526, but in units of the median amount.
    """
    amount = np.abs(np.asarray(constraint, dtype=np.float64))
    unit = float(np.median(amount)) or float(amount.max()) or 1.0
    bent = np.sign(constraint) * np.log1p(amount / unit)
    mean, deviation = float(bent.mean()), float(bent.std())
    deviation = deviation if deviation > 1e-12 else 1.0
    return (bent - mean) / deviation, -mean / deviation


def kumaraswamy(features, log_exponents) -> np.ndarray:
    """Kumaraswamy's 1 - (1 - x^a)^b, columnwise; exponents (2, columns) in logarithms."""
    a, b = np.exp(log_exponents)
    inner = np.clip(features, 0.0, 1.0) ** a
    return 1.0 - (1.0 - inner) ** b


def kumaraswamy_slope(features, log_exponents) -> np.ndarray:
    """Derivative of `kumaraswamy` by the features (held finite at the ends)."""
    a, b = np.exp(log_exponents)
    x = np.clip(features, 1e-6, 1.0 - 1e-6)
    inner = x**a
    return a * b * x ** (a - 1.0) * (1.0 - inner) ** (b - 1.0)


def kumaraswamy_gradient(features, log_exponents) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of `kumaraswamy` by log a and by log b."""
    a, b = np.exp(log_exponents)
    x = np.clip(features, 1e-12, 1.0 - 1e-12)
    log_x = np.log(x)
    inner = x**a
    log_outer = np.log1p(-inner)
    outer = np.exp(b * log_outer)
    by_a = b * np.exp((b - 1.0) * log_outer) * inner * log_x * a
    by_b = -outer * log_outer * b
    return by_a, by_b
