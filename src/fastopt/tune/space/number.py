"""What parameters share, and what the two kinds of numbers share beyond it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from fastopt import _checks

__all__ = ["LARGEST", "Number", "Parameter"]

# Integers beyond this are no longer exact in float64, in which strategies compute.
LARGEST = 2**53


def show(parameter: Any) -> str:
    """The call that makes a parameter, without what is left at its default."""
    given = [
        f"{field.name}={value!r}" if field.kw_only else repr(value)
        for field in fields(parameter)
        if (value := getattr(parameter, field.name)) != field.default
    ]
    return f"{type(parameter).__name__}({', '.join(given)})"


class Parameter:
    """What every parameter is: type checkers find this in a dict of several kinds."""

    initial: Any
    when: Mapping[str, Any] | None

    def check(self, value: Any) -> Any:
        """``value`` as the parameter gives it, or ValueError."""
        raise NotImplementedError

    def index(self, value: Any) -> int:
        """The level of ``value``."""
        raise NotImplementedError

    def indices(self, values: Collection[Any]) -> Collection[int]:
        """The levels of values, which are checked, in any order."""
        return {self.index(self.check(value)) for value in values}

    def __repr__(self) -> str:
        return show(self)


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
