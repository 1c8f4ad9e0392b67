"""The parameters that are numbers, Float and Int, and what they share."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastopt import _checks
from fastopt.tune.space.parameter import Parameter

__all__ = ["LARGEST", "Float", "Int"]

# Integers beyond this are no longer exact in float64, in which strategies compute.
LARGEST = 2**53
# A distribution's infinite tails are cut here: the quantile at 0 or 1 would be infinite.
TAIL = 2.0**-40


class Number(Parameter):
    """What Float and Int share: bounds, logarithm, and the grid that ``step`` makes."""

    low: Any
    high: Any
    log: bool
    step: Any
    distribution: Any  # of Float only
    # The grid; without one _levels is None and the others do not exist.
    _levels: Any
    _exact: tuple[Fraction, Fraction]
    _edges: tuple[float, float]

    @staticmethod
    def _cast(exact: Fraction) -> Any:
        raise NotImplementedError

    @staticmethod
    def _number(name: str, value: Any) -> Any:
        raise NotImplementedError

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _fail(self, reason: str) -> NoReturn:
        raise ValueError(f"{type(self).__name__}(low={self.low!r}, high={self.high!r}): {reason}")

    def _check_bounds(self) -> None:
        _checks.flag(f"{type(self).__name__}: log", self.log)
        if self.low > self.high:
            self._fail("low must not be greater than high")
        if self.log and self.low <= 0:
            self._fail(f"log=True needs low > 0, got low={self.low!r}")
        if not math.isfinite(float(self.high) - float(self.low)):
            self._fail("high - low must be a finite number")
        if self.step is not None and self.step <= 0:
            self._fail(f"step must be greater than 0, got step={self.step!r}")

    def _make_grid(self, step: Any) -> None:
        # Exact fractions of the decimal text, so that 0.1 + 2 * 0.1 is 0.3 and 0.3 is reached
        # from 0.1 by steps of 0.1; binary arithmetic misses both.
        low, high, step = (Fraction(repr(number)) for number in (self.low, self.high, step))
        levels = (high - low) // step + 1
        if levels > LARGEST:
            self._fail(f"step={self.step!r} makes more than 2**53 points")
        self._set("_exact", (low, step))
        self._set("_levels", int(levels))
        last = float(low + (levels - 1) * step)
        first, half = float(low), float(step) / 2
        if self.log:
            # low - step/2 may not be positive; low/2 is where it stands for low = step.
            edges = math.log(max(first - half, first / 2)), math.log(last + half)
        else:
            edges = first - half, last + half
        self._set("_edges", edges)

    def _check_initial(self) -> None:
        if self.initial is not None:
            self._set("initial", self.check(self.initial))

    @property
    def kind(self) -> str:
        """``"continuous"`` or ``"ordered"``."""
        return "continuous" if self._levels is None else "ordered"

    @property
    def levels(self) -> int | None:
        """Number of points of the grid; None where every number between the bounds is one."""
        return self._levels

    def value(self, i: int) -> Any:
        """Point ``i`` of the grid: ``low + i*step``, rounded once from the decimal sum."""
        low, step = self._exact
        return self._cast(low + int(i) * step)

    def index(self, value: Any) -> int:
        """Number of the grid point ``value``."""
        low, step = self._exact
        i = round((Fraction(repr(value)) - low) / step)
        # A sum like 0.1 + 0.1 + 0.1 is accepted for 0.3: a rounding error is not another point.
        off = abs(float(value) - float(low + i * step))
        if 0 <= i < self._levels and off <= 1e-9 * float(step):
            return i
        if not self.low <= value <= self.high:
            self._fail(f"{value!r} is outside of the bounds")
        self._fail(f"{value!r} is not a point of the grid low + i*step, step={self.step!r}")

    def indices(self, values: Collection[Any]) -> Collection[int]:
        """The levels of values, which are checked, in any order; of a range at no cost."""
        if not isinstance(values, range) or len(values) < 3:
            return super().indices(values)
        low, step = self._exact
        first, apart = (values[0] - low) / step, values.step / step
        if first.denominator > 1 or apart.denominator > 1:  # to the first value that is off
            return super().indices(values)
        levels = range(int(first), int(first + len(values) * apart), int(apart))
        within = range(self._levels)
        if levels[0] in within and levels[-1] not in within:
            beyond = self._levels if apart > 0 else -1
            self.check(values[-(-(beyond - levels[0]) // int(apart))])
        self.check(values[0])
        return levels

    def unit(self, i: Any) -> Any:
        """Position in the unit interval of grid point ``i`` (an integer or an array)."""
        if not self.log:
            return (np.asarray(i, float) + 0.5) / self._levels
        low, step = (float(number) for number in self._exact)
        first, last = self._edges
        return (np.log(low + np.asarray(i, float) * step) - first) / (last - first)

    def cell(self, i: Any) -> tuple[Any, Any]:
        """The ends of the part of the unit interval that belongs to grid point ``i``."""
        i = np.asarray(i, float)
        if not self.log:
            return i / self._levels, (i + 1.0) / self._levels
        low, step = (float(number) for number in self._exact)
        first, last = self._edges
        # As of the grid, the lower edge of its first cell may not be positive.
        edges = [np.maximum(low + (i + side) * step, math.exp(first)) for side in (-0.5, 0.5)]
        below, above = ((np.log(edge) - first) / (last - first) for edge in edges)
        return np.maximum(below, 0.0), np.minimum(above, 1.0)

    def nearest(self, u: Any) -> Any:
        """Number of the grid point whose cell holds ``u`` (a number or an array)."""
        u = np.clip(np.asarray(u, float), 0.0, 1.0)
        if self.log:
            low, step = (float(number) for number in self._exact)
            first, last = self._edges
            i = np.rint((np.exp(first + u * (last - first)) - low) / step)
        else:
            i = np.floor(u * self._levels)
        return np.clip(i, 0, self._levels - 1).astype(np.int64)

    def check(self, value: Any) -> Any:
        """``value`` as the parameter gives it (a Python number, on the grid), or ValueError."""
        value = self._number("value", value)
        if self._levels is not None:
            return self.value(self.index(value))
        if self.low <= value <= self.high:
            return value
        # A rounding error is not another point: exp(log(high)) is accepted for high.
        for bound in (self.low, self.high):
            if math.isclose(value, bound, rel_tol=1e-12):
                return bound
        self._fail(f"{value!r} is outside of the bounds")

    def to_unit(self, value: Any) -> float:
        """Position of ``value`` in the unit interval."""
        return float(self.unit(self.index(value)))

    def from_unit(self, u: float) -> Any:
        """The value at position ``u`` of the unit interval."""
        return self.value(self.nearest(u))


@dataclass(frozen=True, repr=False)
class Float(Number):
    """A real parameter between ``low`` and ``high``, both included.

    Parameters
    ----------
    low, high : float
        Finite bounds, ``low <= high``. Instead of both, one frozen continuous distribution of
        :mod:`scipy.stats`: random search then draws from it. The other strategies see it through
        its quantile function, so they search its quantiles evenly: Sobol points and the
        Gaussian process move in ``cdf(x)``, and ``Grid(points=n)`` takes the quantiles
        ``(i + 1/2)/n``. Infinite tails are cut at the quantiles ``2**-40`` and ``1 - 2**-40``.
    log : bool, default False
        Search the logarithm. Needs ``low > 0``.
    step : float, optional
        Only the points ``low, low + step, low + 2*step, …`` up to ``high`` are suggested, rounded
        from the decimal sum (``0.1 + 2*0.1`` is ``0.3``). A step that does not divide the range is
        kept as it is: then ``high`` is not one of the points.
    initial : float, optional
        Value in the study's first trial.
    when : dict, optional
        The parameter exists only if each parameter named here has one of the values listed:
        ``when={"rule": ["adam", "adamw"]}``. A ``range`` of an integer's values may be of any
        length.

    Raises
    ------
    ValueError
        For bounds in the wrong order, not finite, not positive under ``log``; ``step <= 0``; an
        ``initial`` outside of the bounds or off the grid.
    TypeError
        For bounds which are not real numbers.

    Examples
    --------
    >>> from fastopt import tune
    >>> lr = tune.Float(1e-5, 1e-1, log=True)
    >>> f"{lr.from_unit(0.5):.6f}"
    '0.001000'
    >>> dropout = tune.Float(0.1, 0.5, step=0.1)
    >>> [dropout.value(i) for i in range(dropout.levels)]
    [0.1, 0.2, 0.3, 0.4, 0.5]
    """

    low: Any
    high: Any = None
    _: KW_ONLY
    log: bool = False
    step: float | None = None
    initial: float | None = None
    when: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self._set("distribution", None)
        self._set("_levels", None)
        if self.high is None and all(hasattr(self.low, name) for name in ("ppf", "cdf", "support")):
            self._take_distribution(self.low)
        else:
            if self.high is None:
                raise TypeError(
                    "Float needs low and high, or one frozen scipy.stats distribution; "
                    f"got {self.low!r}"
                )
            self._set("low", self._number("low", self.low))
            self._set("high", self._number("high", self.high))
            if self.step is not None:
                self._set("step", self._number("step", self.step))
            self._check_bounds()
            if self.step is not None or self.low == self.high:
                self._make_grid(1.0 if self.step is None else self.step)
        self._check_initial()

    def _take_distribution(self, distribution: Any) -> None:
        if hasattr(distribution, "pmf"):
            raise TypeError(f"Float needs a continuous distribution, got {distribution!r}")
        if self.log or self.step is not None:
            raise ValueError("Float with a distribution takes neither log nor step")
        self._set("distribution", distribution)
        try:
            low, high = (float(bound) for bound in distribution.support())
        except TypeError as error:  # not frozen, and of a family that has parameters
            raise TypeError(
                f"Float needs a frozen distribution, as scipy.stats.loguniform(1e-3, 1.0) is one, "
                f"got {distribution!r}: {error}"
            ) from None
        if math.isnan(low) or math.isnan(high):
            raise ValueError(f"Float got a distribution with invalid parameters: {distribution!r}")
        self._set("low", low)
        self._set("high", high)

    @staticmethod
    def _cast(exact: Fraction) -> float:
        return float(exact)

    @staticmethod
    def _number(name: str, value: Any) -> float:
        return _checks.number(f"Float: {name}", value)

    def _log_ratio(self, value: float) -> float:
        """log(value / low), also where the ratio of the bounds itself is too large a number."""
        if math.isfinite(self.high / self.low):
            return math.log(value / self.low)
        return math.log(value) - math.log(self.low)

    def to_unit(self, value: float) -> float:
        """Position of ``value`` in the unit interval."""
        if self._levels is not None:
            return super().to_unit(value)
        if self.distribution is not None:
            return float(self.distribution.cdf(value))
        if self.log:
            return self._log_ratio(value) / self._log_ratio(self.high)
        return (value - self.low) / (self.high - self.low)

    def from_unit(self, u: float) -> float:
        """The value at position ``u`` of the unit interval."""
        if self._levels is not None:
            return super().from_unit(u)
        u = float(u)
        if self.distribution is not None:
            return float(self.distribution.ppf(min(max(u, TAIL), 1.0 - TAIL)))
        # The bounds are returned as given: the formula may miss them by a rounding error.
        if u <= 0.0:
            return self.low
        if u >= 1.0:
            return self.high
        if self.log and math.isfinite(self.high / self.low):
            value = self.low * math.exp(u * math.log(self.high / self.low))
        elif self.log:
            value = math.exp(math.log(self.low) + u * self._log_ratio(self.high))
        else:
            value = self.low + u * (self.high - self.low)
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, repr=False)
class Int(Number):
    """An integer parameter between ``low`` and ``high``, both included.

    Parameters
    ----------
    low, high : int
        Bounds, ``low <= high``, within ±2**53. Here and in params ``3.0`` stands for 3.
    log : bool, default False
        Search the logarithm. Needs ``low > 0``.
    step : int, default 1
        Only ``low, low + step, …`` up to ``high`` are suggested.
    initial : int, optional
        Value in the study's first trial.
    when : dict, optional
        As for :class:`Float`.

    Raises
    ------
    ValueError, TypeError
        As for :class:`Float`.

    Examples
    --------
    >>> from fastopt import tune
    >>> width = tune.Int(16, 100, step=16)
    >>> [width.value(i) for i in range(width.levels)]
    [16, 32, 48, 64, 80, 96]
    """

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    step: int = 1
    initial: int | None = None
    when: Mapping[str, Any] | None = None

    if TYPE_CHECKING:  # not a field
        _points: range = field(init=False)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            self._set(name, self._number(name, getattr(self, name)))
        self._check_bounds()
        self._make_grid(self.step)
        self._set("_points", range(self.low, self.high + 1, self.step))
        self._check_initial()

    @staticmethod
    def _cast(exact: Fraction) -> int:
        return int(exact)

    @staticmethod
    def _number(name: str, value: Any) -> int:
        # numpy.timedelta64 counts as Real too.
        is_real = isinstance(value, numbers.Real) and not isinstance(value, np.timedelta64)
        if is_real and not math.isfinite(value):
            raise ValueError(f"Int: {name} must be finite, got {value!r}")
        if isinstance(value, (float, np.floating)) and value == int(value):
            value = int(value)
        number = _checks.integer(f"Int: {name}", value)
        if abs(number) > LARGEST:
            raise ValueError(f"Int: {name} must lie within ±2**53, got {value!r}")
        return number

    # Without fractions for integers, of which a condition may list very many.

    def check(self, value: Any) -> int:
        """``value`` as a Python integer, or ValueError."""
        if type(value) is int and value in self._points:
            return value
        return super().check(value)

    def index(self, value: Any) -> int:
        """Number of the grid point ``value``."""
        if type(value) is int and value in self._points:
            return self._points.index(value)
        return super().index(value)
