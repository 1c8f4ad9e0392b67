"""Learning-rate schedules: pure functions from the number of a step to its learning rate.

Steps count from 1, as the update rules do. An optimizer takes a schedule as its learning rate:

>>> import fastopt
>>> schedule = warmup(cosine(1e-3, steps=90), steps=10)
>>> opt = fastopt.Adam(np.zeros(3), lr=schedule)
>>> for step in range(1, 101):
...     opt.step(np.ones(3))  # with the rate schedule(step)

One convention holds for all: step 1 gets the first value of a schedule, and ``steps`` is how many
steps the way to its last value takes, so that step ``steps + 1`` is the first with the last value.
A way of 0 steps is over at step 1. Schedules in torch and optax, which count from 0, give at their
count ``c`` what these give at step ``c + 1``. The one exception is `one_cycle`, which ends exactly
at step ``steps``, as torch's does.

A schedule is called with an integer, or with an array of integers for an array of rates. It is
immutable, knows no state, can be pickled and compared, and prints as a call that makes it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fastopt import _checks

__all__ = [
    "Schedule",
    "chain",
    "constant",
    "cosine",
    "exponential",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "warmup",
]


@dataclass(frozen=True, repr=False)
class Schedule:
    """A formula and its parameters; the functions of this module make it.

    Parameters
    ----------
    formula : callable
        ``formula(count, **parameters) -> float`` of a module, `count` the steps already taken.
    parameters : tuple of (str, object)
        Keywords of the formula.

    Examples
    --------
    >>> schedule = linear(1.0, 0.0, steps=4)
    >>> schedule(1)
    1.0
    >>> schedule(np.array([2, 3, 4, 5, 6]))
    array([0.75, 0.5 , 0.25, 0.  , 0.  ])
    >>> schedule
    linear(start=1.0, end=0.0, steps=4)
    """

    formula: Callable[..., float]
    parameters: tuple[tuple[str, object], ...]

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: NDArray[Any]) -> NDArray[np.float64]: ...
    def __call__(self, step: int | NDArray[Any]) -> float | NDArray[np.float64]:
        """The learning rate of `step`, the first step being 1."""
        if isinstance(step, np.ndarray):
            # One formula serves both, so a plot shows exactly the rates that were used.
            rates = [self(one) for one in step.flat]
            return np.array(rates, dtype=np.float64).reshape(step.shape)
        return self.formula(_checks.integer("step", step, least=1) - 1, **dict(self.parameters))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.parameters)
        return f"{self.formula.__name__.removeprefix('_')}({arguments})"


def constant(lr: float) -> Schedule:
    """The same learning rate for ever.

    Parameters
    ----------
    lr : float
        Learning rate, at least 0.

    Examples
    --------
    >>> constant(0.1)(1000)
    0.1
    """
    return _schedule(_constant, lr=_checks.number("lr", lr, least=0))


def linear(start: float, end: float, steps: int) -> Schedule:
    """A straight line, ``start + (end - start)*(t-1)/steps``, then `end`.

    torch's ``LinearLR(total_iters=steps)`` and optax' ``linear_schedule``.

    Parameters
    ----------
    start, end : float
        Learning rate of step 1, and from step ``steps + 1`` on.
    steps : int
        Length of the way, at least 0.

    Examples
    --------
    >>> [linear(0.0, 1.0, steps=2)(t) for t in (1, 2, 3, 4)]
    [0.0, 0.5, 1.0, 1.0]
    """
    start, end = _checks.number("start", start, least=0), _checks.number("end", end, least=0)
    return _schedule(_linear, start=start, end=end, steps=_length(steps))


def cosine(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine wave, ``end + (lr - end)*(1 + cos(pi*(t-1)/steps))/2``, then `end`.

    torch's ``CosineAnnealingLR(T_max=steps, eta_min=end)`` on its first descent, after which torch
    climbs again; optax' ``cosine_decay_schedule``. For warm restarts `chain` several.

    Parameters
    ----------
    lr : float
        Learning rate of step 1.
    steps : int
        Length of the descent, at least 0.
    end : float
        Learning rate from step ``steps + 1`` on.

    References
    ----------
    Loshchilov & Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017.

    Examples
    --------
    >>> [round(cosine(1.0, steps=4)(t), 3) for t in (1, 2, 3, 4, 5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return _schedule(
        _cosine,
        lr=_checks.number("lr", lr, least=0),
        steps=_length(steps),
        end=_checks.number("end", end, least=0),
    )


def polynomial(lr: float, steps: int, power: float = 1.0, end: float = 0.0) -> Schedule:
    """A power of what is left, ``end + (lr - end)*(1 - (t-1)/steps)**power``, then `end`.

    torch's ``PolynomialLR(total_iters=steps, power=power)`` and optax' ``polynomial_schedule``.

    Parameters
    ----------
    lr : float
        Learning rate of step 1.
    steps : int
        Length of the descent, at least 0.
    power : float
        Exponent, above 0.
    end : float
        Learning rate from step ``steps + 1`` on.

    Examples
    --------
    >>> [polynomial(1.0, steps=4, power=2.0)(t) for t in (1, 2, 3, 4, 5)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0]
    """
    return _schedule(
        _polynomial,
        lr=_checks.number("lr", lr, least=0),
        steps=_length(steps),
        power=_checks.number("power", power, above=0),
        end=_checks.number("end", end, least=0),
    )


def exponential(lr: float, factor: float, steps: int = 1) -> Schedule:
    """A geometric sequence, ``lr * factor**((t-1)/steps)``, without an end.

    With ``steps=1`` torch's ``ExponentialLR(gamma=factor)``; else optax' ``exponential_decay``.

    Parameters
    ----------
    lr : float
        Learning rate of step 1.
    factor : float
        What `steps` steps multiply it by, above 0. Above 1 it grows, as in a range test.
    steps : int
        At least 1.

    Raises
    ------
    OverflowError
        When it is called: the rate of that step is beyond the largest float. `chain` gives a
        growing schedule an end.

    Examples
    --------
    >>> [exponential(1.0, 0.5, steps=2)(t) for t in (1, 3, 5)]
    [1.0, 0.5, 0.25]
    """
    return _schedule(
        _exponential,
        lr=_checks.number("lr", lr, least=0),
        factor=_checks.number("factor", factor, above=0),
        steps=_checks.integer("steps", steps, least=1),
    )


def one_cycle(
    max_lr: float,
    steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up and far down again in exactly `steps` steps, each way half a cosine wave.

    Step 1 gets ``max_lr/div_factor``, step ``pct_start*steps`` gets `max_lr`, and step `steps` and
    all after it get ``max_lr/div_factor/final_div_factor``: torch's ``OneCycleLR(max_lr,
    total_steps=steps)`` with its defaults, without the cycling of momentum. torch raises after the
    last step. optax' ``cosine_onecycle_schedule`` reaches both its turning points one step later.

    Where ``pct_start*steps`` is 1 or less there is no way up: step 1 gets `max_lr`. (torch divides
    by zero at 1, and below starts a little under `max_lr`.) Where ``pct_start`` is 1 there is no
    way down: step `steps` gets `max_lr`, as in torch, and those after it the last rate.

    Parameters
    ----------
    max_lr : float
        Learning rate at the top.
    steps : int
        Length of the whole cycle, at least 1.
    pct_start : float
        Share of the steps, not a percentage, that lead to the top; from 0 to 1.
    div_factor, final_div_factor : float
        Above 0.

    References
    ----------
    Smith & Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates, 2018.

    Examples
    --------
    >>> schedule = one_cycle(1.0, steps=100)
    >>> schedule(1), schedule(30), schedule(100)
    (0.04, 1.0, 4e-06)
    """
    max_lr = _checks.number("max_lr", max_lr, least=0)
    div_factor = _checks.number("div_factor", div_factor, above=0)
    final_div_factor = _checks.number("final_div_factor", final_div_factor, above=0)
    _checks.number("max_lr/div_factor", max_lr / div_factor)
    _checks.number("max_lr/div_factor/final_div_factor", max_lr / div_factor / final_div_factor)
    return _schedule(
        _one_cycle,
        max_lr=max_lr,
        steps=_checks.integer("steps", steps, least=1),
        pct_start=_checks.number("pct_start", pct_start, least=0, most=1),
        div_factor=div_factor,
        final_div_factor=final_div_factor,
    )


def warmup(schedule: Callable[[int], float], steps: int, start: float = 0.0) -> Schedule:
    """A straight line from `start` to ``schedule(1)`` in `steps` steps, then `schedule`.

    With the default step 1 has a learning rate of 0: it only fills the averages of the rule, as in
    optax' ``warmup_cosine_decay_schedule``. Give `start` for another beginning.

    Parameters
    ----------
    schedule : callable
        What follows; its own step 1 is step ``steps + 1`` of the whole.
    steps : int
        Length of the warm-up; 0 leaves it out.
    start : float
        Learning rate of step 1.

    Examples
    --------
    >>> [warmup(constant(1.0), steps=4)(t) for t in (1, 2, 3, 4, 5, 6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    _callable("schedule", schedule)
    return chain([linear(start, schedule(1), steps), schedule], [steps])


def chain(schedules: Sequence[Callable[[int], float]], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another, each beginning with its own step 1.

    torch's ``SequentialLR(milestones=boundaries)`` and optax' ``join_schedules``.

    Parameters
    ----------
    schedules : sequence of callable
        Schedules of this module, or any picklable function of a step counted from 1.
    boundaries : sequence of int
        The last step of every schedule but the last, not decreasing: ``schedules[i]`` serves the
        steps from ``boundaries[i-1] + 1`` to ``boundaries[i]``, and none where these are equal.

    Examples
    --------
    >>> restarts = chain([cosine(1.0, steps=2), cosine(0.5, steps=4)], boundaries=[2])
    >>> [round(restarts(t), 3) for t in range(1, 8)]
    [1.0, 0.5, 0.5, 0.427, 0.25, 0.073, 0.0]
    """
    schedules = _listed("schedules", schedules)
    for i, schedule in enumerate(schedules):
        _callable(f"schedules[{i}]", schedule)
    return _schedule(
        _chain, schedules=schedules, boundaries=_boundaries(boundaries, "schedules", schedules)
    )


def piecewise(lrs: Sequence[float], boundaries: Sequence[int]) -> Schedule:
    """Constant between the boundaries.

    torch's ``MultiStepLR`` and optax' ``piecewise_constant_schedule`` with rates in place of
    factors.

    Parameters
    ----------
    lrs : sequence of float
        Learning rates.
    boundaries : sequence of int
        The last step with each learning rate but the last, not decreasing.

    Examples
    --------
    >>> [piecewise([1.0, 0.1], boundaries=[3])(t) for t in (1, 2, 3, 4, 5)]
    [1.0, 1.0, 1.0, 0.1, 0.1]
    """
    lrs = tuple(
        _checks.number(f"lrs[{i}]", lr, least=0) for i, lr in enumerate(_listed("lrs", lrs))
    )
    return _schedule(_piecewise, lrs=lrs, boundaries=_boundaries(boundaries, "lrs", lrs))


def _constant(count: int, lr: float) -> float:
    return lr


def _linear(count: int, start: float, end: float, steps: int) -> float:
    return _between(start, end, _share(count, steps))


def _cosine(count: int, lr: float, steps: int, end: float) -> float:
    return _between(lr, end, _half_wave(_share(count, steps)))


def _polynomial(count: int, lr: float, steps: int, power: float, end: float) -> float:
    return _between(end, lr, max(1.0 - _share(count, steps), 0.0) ** power)


def _exponential(count: int, lr: float, factor: float, steps: int) -> float:
    try:
        rate = lr * factor ** (count / steps)
    except OverflowError:
        rate = math.inf if lr else 0.0
    if math.isinf(rate):
        raise OverflowError(
            f"{exponential(lr, factor, steps)} is beyond the largest float at step {count + 1}; "
            "chain it with a schedule that ends the growth"
        )
    return rate


def _one_cycle(
    count: int,
    max_lr: float,
    steps: int,
    pct_start: float,
    div_factor: float,
    final_div_factor: float,
) -> float:
    start = max_lr / div_factor
    top = pct_start * steps - 1
    if top <= 0.0:
        top = 0.0
    elif count <= top:
        return _between(start, max_lr, _half_wave(count / top))
    if count <= top:
        return max_lr
    end = start / final_div_factor
    return _between(max_lr, end, _half_wave(_share(count - top, steps - 1 - top)))


def _chain(
    count: int, schedules: tuple[Callable[[int], float], ...], boundaries: tuple[int, ...]
) -> float:
    i = bisect_right(boundaries, count)
    rate: float = schedules[i](count - (0, *boundaries)[i] + 1)
    return rate


def _piecewise(count: int, lrs: tuple[float, ...], boundaries: tuple[int, ...]) -> float:
    return lrs[bisect_right(boundaries, count)]


def _share(count: float, steps: float) -> float:
    """How much of the way is behind; of a way without steps all."""
    return count / steps if steps > 0 else 1.0


def _between(start: float, end: float, fraction: float) -> float:
    # Both ends are exact, which neither of the usual two ways of writing this line gives.
    if fraction >= 1.0:
        return end
    return start + (end - start) * fraction


def _half_wave(fraction: float) -> float:
    return (1.0 - math.cos(math.pi * min(fraction, 1.0))) / 2.0


def _schedule(formula: Callable[..., float], **parameters: object) -> Schedule:
    return Schedule(formula, tuple(parameters.items()))


def _length(steps: Any) -> int:
    return _checks.integer("steps", steps, least=0)


def _boundaries(
    boundaries: Sequence[int], name: str, pieces: tuple[object, ...]
) -> tuple[int, ...]:
    checked = tuple(
        _checks.integer(f"boundaries[{i}]", value, least=0)
        for i, value in enumerate(_listed("boundaries", boundaries))
    )
    if len(checked) != len(pieces) - 1:
        raise ValueError(
            f"boundaries must be one fewer than {name}, got {len(checked)} for {len(pieces)}"
        )
    if any(a > b for a, b in pairwise(checked)):
        raise ValueError(f"boundaries must not decrease, got {checked}")
    return checked


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    """The values in their order, which a dict from steps to rates would not give."""
    if not isinstance(values, Iterable) or isinstance(values, (Mapping, Set)):
        hint = (
            "; rates and the steps at which they end are two lists" if name != "schedules" else ""
        )
        raise TypeError(f"{name} must be a list, got {values!r}{hint}")
    return tuple(values)


def _callable(name: str, schedule: object) -> None:
    if not callable(schedule):
        is_number = isinstance(schedule, (int, float))
        hint = f"; constant({schedule!r}) is one" if is_number else ""
        raise TypeError(f"{name} must be a function of the step, got {schedule!r}{hint}")


def __dir__() -> list[str]:
    return list(__all__)
