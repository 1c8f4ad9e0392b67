"""The parameters of a search space: Float, Int, Categorical.

Each parameter maps its values to the unit interval and back. ``kind`` and ``levels`` tell a
strategy what the interval holds:

=============  ==================================================================================
kind           the unit interval
=============  ==================================================================================
"continuous"   every point is a value; ``levels`` is None
"ordered"      ``levels`` values in ascending order, the bounds widened by half a step so that
               every level owns its share of the interval: half an interval would otherwise be
               missing at either end
"categorical"  ``levels`` cells of equal width, one per choice; their order means nothing
=============  ==================================================================================

``unit(i)`` is the position of level ``i``, ``nearest(u)`` the level that owns ``u``; both take
arrays. ``value(i)`` and ``index(value)`` do the same with values.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _checks
from fastopt.tune.space.number import LARGEST, Number, Parameter

if TYPE_CHECKING:
    from typing_extensions import Never

__all__ = ["Categorical", "Float", "Int", "copy_containers"]

# A distribution's infinite tails are cut here: the quantile at 0 or 1 would be infinite.
TAIL = 2.0**-40
# Types whose values are equal only if their hashes are.
PLAIN = (str, bytes, int, float, bool, type(None))


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
        low, high = (float(bound) for bound in distribution.support())
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
        if isinstance(value, numbers.Real) and not math.isfinite(value):
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


@dataclass(frozen=True, repr=False, init=False)
class Categorical(Parameter):
    """A parameter with a fixed list of choices, which have no order.

    Parameters
    ----------
    choices : list or tuple
        At least one; no two equal. Any objects: in a study's file, text, numbers, booleans and
        None are stored as they are, everything else as its place in the list. Each trial gets its
        own copies of lists, dicts and sets; other objects are handed out themselves.
    initial : object, optional
        Value in the study's first trial.
    when : dict, optional
        As for :class:`Float`.

    Raises
    ------
    ValueError
        For no choice, two equal choices, an ``initial`` that is not a choice.
    TypeError
        For choices without a fixed order (a set, a string, a generator).

    Examples
    --------
    >>> from fastopt import tune
    >>> rule = tune.Categorical(["adam", "nag"], initial="nag")
    >>> rule.value(0), rule.index("nag")
    ('adam', 1)
    """

    choices: Sequence[Any]
    _: KW_ONLY
    initial: Any = None
    when: Mapping[str, Any] | None = None

    kind = "categorical"
    if TYPE_CHECKING:  # not fields
        _places: dict[tuple[Any, Any], int]
        _others: list[int]

    def __init__(
        self,
        choices: Sequence[Any],
        *others: Never,
        initial: Any = None,
        when: Mapping[str, Any] | None = None,
    ) -> None:
        if others:
            listed = ", ".join(map(repr, (choices, *others)))
            raise TypeError(f"Categorical takes its choices as one list: Categorical([{listed}])")
        for name, value in (("choices", choices), ("initial", initial), ("when", when)):
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        choices = self.choices
        if isinstance(choices, np.ndarray) and choices.ndim == 1:
            choices = choices.tolist()
        if isinstance(choices, (str, bytes)) or not isinstance(choices, Sequence):
            raise TypeError(f"Categorical: choices must be a list or a tuple, got {choices!r}")
        # What the caller does to a list later must not reach the space.
        object.__setattr__(self, "choices", tuple(copy_containers(choice) for choice in choices))
        if not self.choices:
            raise ValueError("Categorical: choices must hold at least one, got none")
        self._find_places()
        if self.initial is not None:
            object.__setattr__(self, "initial", self.check(self.initial))

    def _find_places(self) -> None:
        """Sort the choices; ValueError if two are equal.

        Into those that are compared by a key, and those that are compared one by one: hashes cannot
        be relied upon in general (an enum of strings equals a string of another hash), and a search
        is slow.
        """
        object.__setattr__(self, "_places", {})
        object.__setattr__(self, "_others", [])
        for i, choice in enumerate(self.choices):
            if self._find(choice, i) is not None:
                raise ValueError(f"Categorical: choices must differ, got {choice!r} twice")
            key = _key(choice)
            if key is None:
                self._others.append(i)
            else:
                self._places[key] = i

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("choices", "initial", "when")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self._find_places()  # anew, since some keys are the identities of objects

    @property
    def levels(self) -> int:
        """Number of choices."""
        return len(self.choices)

    def value(self, i: int) -> Any:
        """Choice ``i``."""
        return self.choices[int(i)]

    def index(self, value: Any) -> int:
        """Place of ``value`` in the list of choices."""
        i = self._find(value, self.levels)
        if i is None:
            raise ValueError(f"Categorical: {value!r} is not one of the choices {self.choices!r}")
        return i

    def _find(self, value: Any, end: int) -> int | None:
        """Place of ``value`` among the first ``end`` choices."""
        others: Iterable[int] = range(end)
        key = _key(value)
        if key is not None:
            place = self._places.get(key)
            if place is not None:
                return place
            others = self._others
        return next((i for i in others if _same(self.choices[i], value)), None)

    def unit(self, i: Any) -> Any:
        """Position in the unit interval of choice ``i`` (an integer or an array)."""
        return (np.asarray(i, float) + 0.5) / self.levels

    def nearest(self, u: Any) -> Any:
        """Place of the choice whose cell holds ``u`` (a number or an array)."""
        i = np.floor(np.clip(np.asarray(u, float), 0.0, 1.0) * self.levels)
        return np.minimum(i, self.levels - 1).astype(np.int64)

    def check(self, value: Any) -> Any:
        """The choice that equals ``value``, or ValueError."""
        return self.choices[self.index(value)]

    def to_unit(self, value: Any) -> float:
        """Position of ``value`` in the unit interval."""
        return float(self.unit(self.index(value)))

    def from_unit(self, u: float) -> Any:
        """The choice at position ``u`` of the unit interval."""
        return self.choices[self.nearest(u)]


def copy_containers(value: Any) -> Any:
    """A copy of a list, dict or set, and of a tuple that holds one.

    Anything else is returned itself, since many objects equal nothing but themselves.
    """
    if type(value) is dict:
        return {key: copy_containers(item) for key, item in value.items()}
    if type(value) is set:
        return set(value)
    if type(value) in (list, tuple):
        items = [copy_containers(item) for item in value]
        if type(value) is list:
            return items
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else tuple(items)
    return value


def _key(value: Any) -> tuple[Any, Any] | None:
    """What two values have in common if they are the same; None if that cannot be said.

    Of plain values, lists, tuples and dicts of them, and objects that equal only themselves.
    """
    if type(value) in PLAIN:
        return isinstance(value, bool), value
    if type(value) is dict:
        names, items = list(value), list(value.values())
        if any(type(name) not in PLAIN for name in names):
            return None
    elif type(value) in (list, tuple):
        names, items = [], value
    else:
        return (object, id(value)) if type(value).__eq__ is object.__eq__ else None
    keys = [item if type(item) in PLAIN else _key(item) for item in items]
    if any(key is None and item is not None for key, item in zip(keys, items, strict=True)):
        return None
    content = frozenset(zip(names, keys, strict=True)) if type(value) is dict else tuple(keys)
    return type(value), content


def _same(a: Any, b: Any) -> bool:
    """Whether two choices are one; True and 1 are two, and so are arrays that are not identical."""
    if a is b:
        return True
    if isinstance(a, (bool, np.bool_)) is not isinstance(b, (bool, np.bool_)):
        return False
    try:
        equal = a == b
    except Exception:  # arrays of different shapes, for one
        return False
    return isinstance(equal, (bool, np.bool_)) and bool(equal)
