"""What belongs to the rows of a population: their numbers, learning rates and indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt import _checks
from fastopt._core import Rule
from fastopt._formats import Storage, from_keywords
from fastopt._groups import is_schedule, rate

__all__ = [
    "count_rows",
    "has_schedule",
    "indices",
    "of_rows",
    "owned",
    "plain",
    "rates",
    "seeds_of",
    "storage_of",
]

Indices = NDArray[np.intp]


def count_rows(params: list[Any], names: list[str]) -> int:
    """The number of rows, which must be the same in all arrays."""
    if not params:
        raise ValueError("params must hold at least one array, got none")
    count = None
    for array, name in zip(params, names, strict=True):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a numpy.ndarray, got {type(array).__name__}")
        if not array.ndim or not array.shape[0]:
            raise ValueError(
                f"{name} must have a leading axis with a row for each model, got shape "
                f"{array.shape}"
            )
        count = count or array.shape[0]
        if array.shape[0] != count:
            raise ValueError(
                f"{name} must have as many rows as {names[0]}, {count}, got {array.shape[0]}"
            )
    assert count is not None
    return count


def owned(value: Any) -> Any:
    """A hyper-parameter as a population keeps it: nobody else's array, and plain bools.

    One number stays one. Several become an array, of float64 but for flags, so that a number in it
    may be changed to any other; several of which some are schedules, a list.
    """
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (list, tuple)) and any(map(is_schedule, value)):
        return list(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        array = np.array(value)
        if array.dtype.kind in "iuf":
            array = array.astype(np.float64)
        return array if array.ndim else array.item()
    return value


def of_rows(value: Any, rows: Indices) -> Any:
    """A hyper-parameter of some rows."""
    if isinstance(value, list) and any(map(is_schedule, value)):
        return owned([value[row] for row in rows])
    if not (isinstance(value, np.ndarray) and value.ndim):
        value = owned(value)
    return value[rows] if isinstance(value, np.ndarray) else value


def has_schedule(lr: Any) -> bool:
    if type(lr) in (float, np.ndarray):
        return False
    return is_schedule(lr) or (isinstance(lr, (list, tuple)) and any(map(is_schedule, lr)))


def rates(lr: Any, steps: NDArray[np.int64]) -> Any:
    """The learning rates at the steps of the rows: a number where all have the same.

    A schedule is asked once for each number of a step.
    """
    if is_schedule(lr):
        by_step = {step: rate(lr, step) for step in dict.fromkeys(steps.tolist())}
        if len(by_step) == 1:
            return by_step[int(steps[0])]
        return np.array([by_step[step] for step in steps.tolist()])
    if not has_schedule(lr):
        return lr
    if len(lr) != len(steps):
        raise ValueError(f"lr must have {len(steps)} rates, one for each row, got {len(lr)}")
    numbers = [rate(one, step) for one, step in zip(lr, steps.tolist(), strict=True)]
    return np.array(numbers)


def storage_of(rule: Rule, given: Mapping[str, Any], count: int) -> Storage:
    """How the rows are stored; the seed is one number, or an array of one for each row."""
    seed = given.get("seed", 0)
    several = isinstance(seed, (list, tuple, np.ndarray))
    numbers = [
        _checks.integer("seed", one, least=0, most=2**64 - 1)
        for one in (list(seed) if several else [seed])
    ]
    if several and len(numbers) != count:
        raise ValueError(
            f"seed must have one number, or {count}, one for each row, got {len(numbers)}"
        )
    storage = from_keywords(rule, {**given, "seed": numbers[0]})
    return storage._replace(seed=np.array(numbers, np.uint64)) if several else storage


def seeds_of(storage: Storage, count: int) -> NDArray[np.uint64] | None:
    """The seeds of the rows, or None where nothing is rounded stochastically."""
    if storage.seed_of_rounding is None:
        return None
    seeds = np.empty(count, np.uint64)
    seeds[:] = storage.seed
    return seeds


def plain(value: Any) -> Any:
    """A hyper-parameter as JSON knows it."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def indices(name: str, rows: Any, count: int, *, distinct: bool) -> Indices:
    """The indices of rows, from integers or from a mask of all rows."""
    array = np.atleast_1d(np.asarray(rows))
    if array.dtype == bool and array.shape == (count,):
        return np.flatnonzero(array)
    if not array.size:
        return np.zeros(0, np.intp)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be indices of rows, or a mask of {count} bools, got {rows!r:.80}"
        )
    if array.min() < 0 or array.max() >= count:
        raise ValueError(f"{name} must be from 0 to {count - 1}, got {rows!r:.80}")
    if distinct and len(np.unique(array)) != len(array):
        raise ValueError(f"{name} must not name a row twice, got {rows!r:.80}")
    return array.astype(np.intp)
