"""New states for parameters, and the lists in which `_core` steps both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt._blocks import BLOCK8, fill
from fastopt._core import RowList, Rule, TensorList
from fastopt._formats import Storage, compute_type
from fastopt._groups import ParameterGroups, with_rates
from fastopt._placement import Layout, zeros_in_one_block
from fastopt._rows import count_rows, rates, seeds_of
from fastopt._rowstates import initial_values
from fastopt._trees import flatten

__all__ = ["row_list", "tensor_list"]

Arrays = list[NDArray[Any]]
# Of a parameter: its remainder, or its average
Kept = NDArray[Any] | None


def tensor_list(
    rule: Rule,
    storage: Storage,
    parameters: ParameterGroups,
    states: Sequence[Arrays] = (),
    steps: Sequence[int] = (),
    remainders: Sequence[Kept] = (),
    averages: Sequence[Kept] = (),
    *,
    read_only: bool = False,
) -> TensorList:
    """The parameters of an optimizer, with new states for those beyond the ones given."""
    groups, owners = parameters.groups, parameters.owners
    params, names = parameters.arrays, parameters.names
    new = slice(len(states), None)
    all_states = [
        *states,
        *zeros_in_one_block(
            _layouts(rule, storage, groups[owner], array, name)
            for array, name, owner in zip(params[new], names[new], owners[new], strict=True)
        ),
    ]
    tensors = TensorList(
        [rule] * len(groups),
        params,
        all_states,
        owners,
        names,
        [_optional_states(rule, group) for group in groups],
        read_only=read_only,
        remainders=[*remainders, *map(storage.remainder, params[new], names[new])],
        seed=storage.seed_of_rounding,
        averages=[
            *averages,
            *_new_averages(params[new], [parameters.ema[owner] for owner in owners[new]]),
        ],
        ema=parameters.ema,
    )
    tensors.check(with_rates(groups, 1))
    _begin_averages(tensors.averages[new], params[new])
    if rule.initial_value is not None:
        for state, param, owner in list(zip(all_states, params, owners, strict=True))[len(steps) :]:
            _fill(rule, state[0], groups[owner][rule.initial_value], param.size)
    tensors.steps = [*steps, *[0] * (len(params) - len(steps))]
    return tensors


def row_list(
    rule: Rule,
    storage: Storage,
    tree: Any,
    hypers: dict[str, Any],
    states: list[Arrays] | None = None,
    remainders: list[Kept] | None = None,
    steps: NDArray[np.int64] | None = None,
    averages: list[Kept] | None = None,
    *,
    read_only: bool = False,
) -> RowList:
    """The parameters of a population, with new states if there are none."""
    params, names = flatten(tree, "params")
    count = count_rows(params, names)
    is_new = states is None
    if states is None:
        states = zeros_in_one_block(
            _layouts(rule, storage, hypers, array, name, count)
            for array, name in zip(params, names, strict=True)
        )
        remainders = list(map(storage.remainder, params, names))
        averages = _new_averages(params, [storage.ema] * len(params))
    seeds = seeds_of(storage, count)
    tensors = RowList(
        [rule],
        params,
        states,
        [0] * len(params),
        names,
        [_optional_states(rule, hypers)],
        read_only=read_only,
        remainders=remainders,
        seed=None if seeds is None else int(seeds[0]),
        averages=averages,
        ema=[storage.ema],
    )
    tensors.seeds = seeds
    tensors.check({**hypers, "lr": rates(hypers["lr"], np.ones(count, np.int64))})
    if is_new:
        _begin_averages(tensors.averages, params)
    if rule.initial_value is not None:
        initial = initial_values(rule.initial_value, hypers, count)
        for state, param in zip(states, params, strict=True) if is_new else ():
            rows = state[0].reshape(count, state[0].size // count)
            for row, value in zip(rows, np.broadcast_to(initial, count), strict=True):
                _fill(rule, row, value, param.size // count)
    if steps is not None:
        tensors.steps = steps
    return tensors


def _state_names(rule: Rule, group: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the states of the parameters of a group that are shaped like them."""
    present = (name for name, switch in rule.optional.items() if np.any(group[switch]))
    return (*rule.states, *present)


def _optional_states(rule: Rule, group: Mapping[str, Any]) -> int:
    """The set of the optional states of a group, in bits."""
    return sum(1 << k for k, name in enumerate(rule.optional.values()) if np.any(group[name]))


def _new_averages(params: Arrays, shares: Sequence[float | None]) -> list[Kept]:
    """Averages for parameters, of zeros; None for those of which a step keeps no share."""
    averaged = [param for param, share in zip(params, shares, strict=True) if share is not None]
    made = iter(
        zeros_in_one_block(
            [Layout(param.ctypes.data, param.shape, compute_type(param))] for param in averaged
        )
    )
    return [None if share is None else next(made)[0] for share in shares]


def _begin_averages(averages: Sequence[Kept], params: Sequence[NDArray[Any]]) -> None:
    """Before its first step, a parameter is its own average."""
    for average, param in zip(averages, params, strict=True):
        if average is not None:
            average[...] = param


def _fill(rule: Rule, state: NDArray[Any], value: float, count: int) -> None:
    """Set the first state of one parameter, of `count` elements."""
    dtype = np.dtype(np.float32) if state.dtype == BLOCK8 else state.dtype
    with np.errstate(over="ignore", under="ignore"):
        stored = float(np.asarray(value).astype(dtype))
    if math.isinf(stored) or (value > 0 and stored == 0):
        raise ValueError(
            f"{rule.initial_value} must be a number that {dtype} can hold, since the state is in "
            f"it, got {float(value)!r}"
        )
    if state.dtype == BLOCK8:
        fill(state, stored, rule.states[0] in rule.squares, count)
    else:
        state[...] = stored


def _layouts(
    rule: Rule,
    storage: Storage,
    group: Mapping[str, Any],
    param: NDArray[Any],
    called: str,
    rows: int | None = None,
) -> list[Layout]:
    """The layouts of the states of one parameter; last that of what the rule carries."""
    layouts = storage.layouts(_state_names(rule, group), param, called, rows)
    if rule.carried is not None:
        shape = rule.carried_shape if rows is None else (rows, *rule.carried_shape)
        layouts.append(Layout(param.ctypes.data, shape, np.dtype(np.float64)))
    return layouts
